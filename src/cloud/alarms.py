"""Alarms of Alibaba Cloud's own CloudMonitor, which outlive a machine that can say nothing itself.

For the instance of a run: its GPUs idle, its disk fills up, it stops or is reclaimed. Rules are
bound to an instance, and every reclaim brings a new one, so they are put again for each: the same
names, which the service updates in place. At the end they go; nothing else is touched.

The service's trap: a refusal may come as HTTP 200 with `Success: false`, and the `Code` of success
is the text "200". Names of actions and parameters are those of the official SDK of 2026-10 (CMS
2019-01-01); how the real service matches `CustomFilters` and `SQLFilter` was not tried.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aliyunsdkcore.request import CommonRequest

from src.cloud.ecs import CLOUD_RETRY, Credentials, ask, make_client, not_the_service
from src.errors import CloudError

Parameters = Mapping[str, str | int]

_VERSION = "2019-01-01"
_NAMESPACE = "acs_ecs_dashboard"
_ATTEMPTS = 4
_MINUTE = "60"
_LEAST_GPU_PERCENT = 80
_GPU_MINUTES = 30
_MOST_DISK_PERCENT = 90
_DISK_MINUTES = 5
_SILENCE_SECONDS = 6 * 3600  # until a lasting alarm is told again
_MAIL_AND_DINGTALK = "4"  # the one level that both sites of the cloud know
_SUCCESS = "200"
_ABSENT = ("404", "ResourceNotFound")


class CloudMonitor:
    """CloudMonitor in any number of regions.

    Args:
        credentials: Gives the key to sign with; asked before each call, so it may change.
        endpoint: Another address, with scheme, for tests.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        credentials: Callable[[], Credentials],
        *,
        endpoint: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._credentials = credentials
        self._endpoint = endpoint
        self._retry = replace(CLOUD_RETRY, attempts=_ATTEMPTS, sleep=sleep)

    def call(self, region: str, action: str, parameters: Parameters) -> Any:
        """The answer to one call; all calls made here may be repeated.

        Raises:
            CloudError: The service cannot be reached or refuses; `code` is the service's.
        """
        return self._retry.call(lambda: self._call(region, action, parameters))

    def _call(self, region: str, action: str, parameters: Parameters) -> Any:
        host = f"metrics.{region}.aliyuncs.com"
        credentials = self._credentials()
        client = make_client(credentials, region, endpoint=self._endpoint or f"https://{host}")
        request = CommonRequest(domain=host, version=_VERSION, action_name=action)
        request.set_method("POST")
        request.set_protocol_type("https")
        if self._endpoint is not None:
            request.set_endpoint(self._endpoint)
        for name, value in parameters.items():
            request.add_query_param(name, str(value))
        service = f"CloudMonitor service in {region}"
        answer = ask(client, request, credentials, service)
        if not isinstance(answer.get("Success"), bool):
            raise not_the_service(service)
        code = str(answer.get("Code", ""))
        if not answer["Success"] or code != _SUCCESS:
            raise CloudError(
                f"CloudMonitor refuses {action}: {code} {answer.get('Message', '')}".rstrip(),
                "check that alerts.cloud_contact_group exists in the CloudMonitor console and that "
                "the key may use it (AliyunCloudMonitorFullAccess)",
                code,
            )
        return answer


def put_alarms(
    monitor: CloudMonitor, *, region: str, run: str, instance_id: str, contact_group: str
) -> tuple[str, ...]:
    """Puts all alarms of a run on its present instance; calling it again changes nothing.

    Args:
        monitor: The service.
        region: Of the instance.
        run: Name of the run; it names the rules.
        instance_id: E.g. "i-bp1…".
        contact_group: Alarm contact group of the account that is told.

    Returns:
        Names of the rules.

    Raises:
        CloudError: The service cannot be reached or refuses.
    """
    # What the metrics of GPU and disk come from; images do not always have it.
    monitor.call(region, "InstallMonitoringAgent", {"InstanceIds.1": instance_id, "Force": "false"})
    for rule in (_gpu_rule(run), _disk_rule(run)):
        resources = json.dumps([{"instanceId": instance_id}])
        parameters = {**rule, "Resources": resources, "ContactGroups": contact_group}
        monitor.call(region, "PutResourceMetricRule", parameters)
    for name, pattern in _event_patterns(run, instance_id).items():
        rule = {"RuleName": name, "EventType": "SYSTEM", "State": "ENABLED", **pattern}
        monitor.call(region, "PutEventRule", rule)
        targets = {
            "RuleName": name,
            "ContactParameters.1.Id": "1",
            "ContactParameters.1.ContactGroupName": contact_group,
            "ContactParameters.1.Level": _MAIL_AND_DINGTALK,
        }
        _require_no_failures(monitor.call(region, "PutEventRuleTargets", targets))
    return (*_metric_rules(run), *_event_rules(run))


def remove_alarms(monitor: CloudMonitor, *, region: str, run: str) -> None:
    """Removes the alarms of a run from a region; content if there are none.

    Raises:
        CloudError: The service cannot be reached or refuses.
    """
    metric = {f"Id.{number}": name for number, name in enumerate(_metric_rules(run), 1)}
    event = {f"RuleNames.{number}": name for number, name in enumerate(_event_rules(run), 1)}
    for action, parameters in (("DeleteMetricRules", metric), ("DeleteEventRules", event)):
        try:
            monitor.call(region, action, parameters)
        except CloudError as error:
            if error.code not in _ABSENT:
                raise


def _gpu_rule(run: str) -> dict[str, str | int]:
    """Mean over the instance's GPUs below 80 % in each of 30 minutes."""
    return {
        "RuleId": _metric_rules(run)[0],
        "RuleName": f"LinguaBridge {run}: GPU below {_LEAST_GPU_PERCENT} % for {_GPU_MINUTES} min",
        "Namespace": _NAMESPACE,
        "MetricName": "instance_gpu_gpu_usedutilization",
        "Period": _MINUTE,
        "SilenceTime": _SILENCE_SECONDS,
        "NoDataPolicy": "INSUFFICIENT_DATA",  # before the driver is there, and after the end
        "Escalations.Warn.Statistics": "Average",
        "Escalations.Warn.ComparisonOperator": "LessThanThreshold",
        "Escalations.Warn.Threshold": _LEAST_GPU_PERCENT,
        "Escalations.Warn.Times": _GPU_MINUTES,
    }


def _disk_rule(run: str) -> dict[str, str | int]:
    """Any disk of the instance over 90 % full."""
    return {
        "RuleId": _metric_rules(run)[1],
        "RuleName": f"LinguaBridge {run}: disk over {_MOST_DISK_PERCENT} %",
        "Namespace": _NAMESPACE,
        "MetricName": "diskusage_utilization",
        "Period": _MINUTE,
        "SilenceTime": _SILENCE_SECONDS,
        "NoDataPolicy": "INSUFFICIENT_DATA",
        "Escalations.Critical.Statistics": "Maximum",
        "Escalations.Critical.ComparisonOperator": "GreaterThanThreshold",
        "Escalations.Critical.Threshold": _MOST_DISK_PERCENT,
        "Escalations.Critical.Times": _DISK_MINUTES,
    }


def _event_patterns(run: str, instance_id: str) -> dict[str, dict[str, str]]:
    """Name of each event rule → what it listens to; stopping and reclaiming are no metrics."""
    reclaimed, stopped = _event_rules(run)
    common = {
        "EventPattern.1.Product": "ECS",
        "EventPattern.1.EventTypeList.1": "StatusNotification",
        "EventPattern.1.LevelList.1": "*",
    }
    return {
        reclaimed: {
            **common,
            "EventPattern.1.NameList.1": "Instance:PreemptibleInstanceInterruption",
            "EventPattern.1.CustomFilters": instance_id,
        },
        stopped: {
            **common,
            "EventPattern.1.NameList.1": "Instance:StateChange",
            "EventPattern.1.SQLFilter": f'"{instance_id}" and (Stopped or Deleted)',
        },
    }


def _metric_rules(run: str) -> tuple[str, str]:
    return f"linguabridge-{run}-gpu", f"linguabridge-{run}-disk"


def _event_rules(run: str) -> tuple[str, str]:
    return f"linguabridge-{run}-reclaimed", f"linguabridge-{run}-stopped"


def _require_no_failures(answer: Mapping[str, Any]) -> None:
    """Refuses an answer that counts targets which were not taken, though it says success."""
    count = str(answer.get("FailedParameterCount", "0") or "0")
    if count != "0":
        raise CloudError(
            f"CloudMonitor took {count} targets of an alarm not",
            "check that alerts.cloud_contact_group exists in the CloudMonitor console",
        )
