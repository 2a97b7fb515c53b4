import json
import logging
import traceback
from datetime import timedelta

import pytest

from src.cloud.ecs import (
    Credentials,
    credentials_from_environment,
    list_regions,
    make_client,
)
from src.diagnosis.cloud import check_account
from src.errors import CloudError, ConfigError
from tests.fakes.ecs_service import REGIONS, ecs_service
from tests.fakes.local_server import NOWHERE
from tests.fakes.rpc_signature import KEY_ID, SECRET

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def service():
    with ecs_service({KEY_ID: SECRET}) as running:
        yield running


def regions_with(service, key_id=KEY_ID, secret=SECRET):
    return list_regions(
        make_client(Credentials(key_id, secret), "cn-hangzhou", endpoint=service.url)
    )


def set_key(monkeypatch, key_id=KEY_ID, secret=SECRET):
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)


# Calls


def test_regions_are_listed_with_a_signature_the_service_accepts(service):
    assert regions_with(service) == REGIONS
    assert [request["Action"] for request in service.requests] == ["DescribeRegions"]


def test_unknown_key_is_named_as_such(service):
    with pytest.raises(CloudError, match=r"does not know this access key; check ALIBABA_\w+_ID"):
        regions_with(service, key_id="LTAI-other")


def test_wrong_secret_is_named_as_such(service):
    with pytest.raises(CloudError, match="the secret does not belong to this access key"):
        regions_with(service, secret="other")


@pytest.mark.parametrize("hours", [-1, 1])
def test_skewed_clock_is_named_as_such(service, hours):
    service.clock_offset = timedelta(hours=hours)
    with pytest.raises(CloudError, match=r"clock is 15 .*; set the clock: timedatectl"):
        regions_with(service)


def test_request_altered_on_its_way_is_not_blamed_on_the_secret_alone(service):
    message = "Specified signature is not matched. server string to sign is:POST&altered"
    service.fault = (400, json.dumps({"Code": "SignatureDoesNotMatch", "Message": message}))
    with pytest.raises(CloudError, match="a proxy alters the requests"):
        regions_with(service)


def test_unreachable_service_is_named_with_its_region():
    client = make_client(Credentials(KEY_ID, SECRET), "cn-beijing", endpoint=NOWHERE)
    with pytest.raises(CloudError, match="service in cn-beijing cannot be reached"):
        list_regions(client)


def test_a_failed_call_is_not_repeated(service):
    service.fault = (503, json.dumps({"Code": "ServiceUnavailable", "Message": "Later."}))
    with pytest.raises(CloudError, match=r"ServiceUnavailable: Later\.") as caught:
        regions_with(service)
    assert caught.value.code == "ServiceUnavailable"
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>Please log in</html>"),
        (200, "[]"),
        (200, '{"Regions": {}}'),
        # The SDK itself fails on a refusal whose text has no colon.
        (400, '{"Code": "SignatureDoesNotMatch", "Message": "no"}'),
    ],
)
def test_something_else_that_answers_is_not_taken_for_the_service(service, status, body):
    service.fault = (status, body)
    with pytest.raises(CloudError, match=r"not Alibaba Cloud's ECS service"):
        regions_with(service)


@pytest.mark.parametrize("region", ["cn-hangzhou", "cn-newest-region"])
def test_requests_go_over_https_by_default(tunnels, region):
    with pytest.raises(CloudError, match="cannot be reached"):
        list_regions(make_client(Credentials(KEY_ID, SECRET), region))
    assert len(tunnels) == 1
    assert tunnels[0].endswith(".aliyuncs.com:443")


def test_no_proxy_is_honoured(service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert regions_with(service) == REGIONS


# Secrets


def test_credentials_show_neither_half():
    shown = repr(Credentials(KEY_ID, SECRET))
    assert KEY_ID not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "fault",
    [
        None,
        (403, json.dumps({"Code": "Odd", "Message": f"Who is {SECRET}?"})),
        (502, "<html>"),
    ],
)
def test_a_secret_in_the_place_of_the_key_id_is_shown_nowhere(service, caplog, capfd, fault):
    service.fault = fault
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CloudError) as caught:
        regions_with(service, key_id=SECRET, secret=KEY_ID)
    shown = "".join(traceback.format_exception(caught.value))
    output = capfd.readouterr()
    for text in (shown, repr(caught.value), caplog.text, output.out, output.err):
        assert "planted" not in text


# The environment


def test_no_variables_are_no_credentials(monkeypatch):
    set_key(monkeypatch, "", " ")
    assert credentials_from_environment() is None


def test_pasted_white_space_is_no_part_of_the_key(monkeypatch):
    set_key(monkeypatch, f" {KEY_ID}\n", f"{SECRET}\r\n")
    assert credentials_from_environment() == Credentials(KEY_ID, SECRET)


@pytest.mark.parametrize(
    ("key_id", "secret", "missing"),
    [
        (KEY_ID, "", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        ("", SECRET, "ALIBABA_CLOUD_ACCESS_KEY_ID"),
    ],
)
def test_half_a_key_names_the_missing_variable(monkeypatch, key_id, secret, missing):
    set_key(monkeypatch, key_id, secret)
    with pytest.raises(ConfigError, match=f"but {missing} is not; set both") as caught:
        credentials_from_environment()
    assert "planted" not in str(caught.value)


# The finding


def test_account_that_works_is_reported_with_its_regions(service, monkeypatch):
    set_key(monkeypatch)
    (finding,) = check_account(endpoint=service.url)
    assert (finding.status, finding.seen) == ("ok", "the access key works, 4 regions")


def test_account_that_is_refused_is_a_warning_with_advice(service, monkeypatch):
    set_key(monkeypatch, secret="other")
    (finding,) = check_account(endpoint=service.url)
    assert finding.status == "warning"
    assert finding.seen == "the secret does not belong to this access key"
    assert finding.advice.startswith("set ALIBABA_CLOUD_ACCESS_KEY_SECRET")


def test_half_an_account_is_a_warning(monkeypatch):
    set_key(monkeypatch, secret="")
    (finding,) = check_account(endpoint=NOWHERE)
    assert (finding.status, "KEY_SECRET is not" in finding.seen) == ("warning", True)


def test_nothing_is_said_or_asked_without_a_key(service):
    assert list(check_account(endpoint=service.url)) == []
    assert service.requests == []
