"""Alarms against a stand-in of CloudMonitor that verifies signatures."""

import json
import logging

import pytest

from src.cloud.alarms import CloudMonitor, put_alarms, remove_alarms
from src.cloud.ecs import Credentials
from src.errors import CloudError
from tests.fakes.cloud_monitor import cloud_monitor
from tests.fakes.local_server import NOWHERE
from tests.fakes.rpc_signature import KEY_ID, SECRET

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def service():
    with cloud_monitor({KEY_ID: SECRET}) as running:
        yield running


@pytest.fixture
def monitor(service, waits):
    return CloudMonitor(
        lambda: Credentials(KEY_ID, SECRET), endpoint=service.url, sleep=waits.append
    )


def put(monitor, instance_id="i-bp1first", run="demo", group="trainers"):
    return put_alarms(
        monitor, region="cn-hangzhou", run=run, instance_id=instance_id, contact_group=group
    )


def test_alarms_are_put_with_the_thresholds_that_were_asked_for(monitor, service):
    names = put(monitor)
    assert set(names) == set(service.metric_rules) | set(service.event_rules)
    gpu = service.metric_rules["linguabridge-demo-gpu"]
    assert gpu["MetricName"] == "instance_gpu_gpu_usedutilization"
    assert [gpu[f"Escalations.Warn.{key}"] for key in ("ComparisonOperator", "Threshold")] == [
        "LessThanThreshold",
        "80",
    ]
    assert int(gpu["Period"]) * int(gpu["Escalations.Warn.Times"]) == 30 * 60
    disk = service.metric_rules["linguabridge-demo-disk"]
    assert (disk["Escalations.Critical.Threshold"], disk["Escalations.Critical.Statistics"]) == (
        "90",
        "Maximum",
    )
    events = {rule["EventPattern.1.NameList.1"] for rule in service.event_rules.values()}
    assert events == {"Instance:PreemptibleInstanceInterruption", "Instance:StateChange"}
    assert set(service.targets) == set(service.event_rules)
    assert service.agents == {"i-bp1first"}


def test_a_new_instance_takes_the_alarms_over(monitor, service):
    first = put(monitor)
    assert put(monitor, "i-bp1second") == first
    assert (len(service.metric_rules), len(service.event_rules)) == (2, 2)
    everything = json.dumps([service.metric_rules, service.event_rules, service.targets])
    assert "i-bp1second" in everything
    assert "i-bp1first" not in everything


def test_only_the_alarms_of_the_run_are_removed_and_twice_is_no_error(monitor, service):
    put(monitor)
    put(monitor, run="demo-2")
    remove_alarms(monitor, region="cn-hangzhou", run="demo")
    assert set(service.metric_rules) == {"linguabridge-demo-2-gpu", "linguabridge-demo-2-disk"}
    assert len(service.event_rules) == 2
    remove_alarms(monitor, region="cn-hangzhou", run="demo")
    remove_alarms(monitor, region="cn-hangzhou", run="demo-2")
    assert (service.metric_rules, service.event_rules, service.targets) == ({}, {}, {})


def test_refusal_with_http_200_is_an_error_with_the_remedy(monitor):
    with pytest.raises(CloudError, match=r"refuses PutResourceMetricRule: 403 .*; check that al"):
        put(monitor, group="nobody")


def test_targets_that_were_not_taken_are_an_error(monitor, service):
    put(monitor)
    service.contact_groups.clear()
    with pytest.raises(CloudError, match="refuses PutResourceMetricRule"):
        put(monitor)
    service.faults.extend([(200, '{"Success": true, "Code": "200"}')] * 4)
    with pytest.raises(CloudError, match="took 1 targets of an alarm not"):
        put(monitor)


def test_throttling_and_outages_are_waited_for(monitor, service, waits):
    service.faults.append((400, '{"Code": "Throttling.User", "Message": "slow: down"}'))
    service.faults.append((503, '{"Code": "ServiceUnavailable", "Message": "later: please"}'))
    put(monitor)
    assert len(service.metric_rules) == 2
    assert len(waits) == 2
    service.faults.extend([(503, '{"Code": "ServiceUnavailable", "Message": "x: y"}')] * 4)
    with pytest.raises(CloudError, match="ServiceUnavailable"):
        remove_alarms(monitor, region="cn-hangzhou", run="demo")
    assert len(waits) == 5


@pytest.mark.parametrize("body", ["<html>Please log in</html>", "[]", "{}", '{"Success": "yes"}'])
def test_something_else_that_answers_is_not_taken_for_the_service(monitor, service, body):
    service.faults.append((200, body))
    with pytest.raises(CloudError, match="not Alibaba Cloud's CloudMonitor service"):
        put(monitor)


def test_requests_go_over_https_by_default(tunnels):
    plain = CloudMonitor(lambda: Credentials(KEY_ID, SECRET), sleep=lambda seconds: None)
    with pytest.raises(CloudError, match="cannot be reached"):
        put(plain)
    assert set(tunnels) == {"metrics.cn-hangzhou.aliyuncs.com:443"}


def test_unreachable_service_ends_in_a_sentence_without_secrets(waits, caplog):
    caplog.set_level(logging.DEBUG)
    dead = CloudMonitor(lambda: Credentials(KEY_ID, SECRET), endpoint=NOWHERE, sleep=waits.append)
    with pytest.raises(CloudError, match="CloudMonitor service in cn-hangzhou cannot") as caught:
        put(dead)
    assert len(waits) == 3
    assert "planted" not in str(caught.value) + caplog.text
