"""A stand-in for CloudMonitor (CMS 2019-01-01) that keeps alarm rules.

It verifies key and signature, refuses actions and parameters that it does not know and values that
cannot be, and answers refusals as the real service does: with HTTP 200 and `Success: false`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.ecs_refusal import Refusal
from tests.fakes.local_server import QuietHandler, serving
from tests.fakes.rpc_signature import COMMON_PARAMETERS, require_known

_ESCALATION = r"Escalations\.(Critical|Warn|Info)\.(Statistics|ComparisonOperator|Threshold|Times)"
_PATTERN = r"EventPattern\.\d+\.(Product|CustomFilters|SQLFilter|((Name|Level|EventType)List\.\d+))"
_CONTACT = r"ContactParameters\.\d+\.(Id|ContactGroupName|Level)"
_PARAMETERS = {
    "PutResourceMetricRule": "RuleId|RuleName|Namespace|MetricName|Resources|ContactGroups|Period|"
    f"Interval|SilenceTime|Webhook|NoDataPolicy|EffectiveInterval|EmailSubject|{_ESCALATION}",
    "DeleteMetricRules": r"Id\.\d+",
    "PutEventRule": f"RuleName|EventType|State|Description|GroupId|SilenceTime|{_PATTERN}",
    "PutEventRuleTargets": f"RuleName|{_CONTACT}",
    "DeleteEventRules": r"RuleNames\.\d+",
    "InstallMonitoringAgent": r"InstanceIds\.\d+|Force|InstallCommand",
}
_REQUIRED = {
    "PutResourceMetricRule": "RuleId RuleName Namespace MetricName Resources ContactGroups",
    "PutEventRule": "RuleName EventPattern.1.Product",
    "PutEventRuleTargets": "RuleName",
}
_METRICS = {"instance_gpu_gpu_usedutilization", "diskusage_utilization"}
_EVENTS = {"Instance:PreemptibleInstanceInterruption", "Instance:StateChange"}
Answer = dict[str, object]


class _Failure(Exception):
    """A refusal that comes with HTTP 200."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class CloudMonitorService:
    """What a test sets up and looks at.

    Attributes:
        keys: Secret of each access key id the service knows.
        contact_groups: Those that exist.
        metric_rules, event_rules, targets: What was put, by name.
        agents: Instances that were given the agent.
        faults: Status and body to answer with next, whatever is asked.
        requests: Parameters of every request that arrived.
    """

    keys: dict[str, str]
    url: str = ""
    contact_groups: set[str] = field(default_factory=lambda: {"trainers"})
    metric_rules: dict[str, dict[str, str]] = field(default_factory=dict)
    event_rules: dict[str, dict[str, str]] = field(default_factory=dict)
    targets: dict[str, dict[str, str]] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)
    faults: deque[tuple[int, str]] = field(default_factory=deque)
    requests: list[dict[str, str]] = field(default_factory=list)

    def answer(self, method: str, parameters: dict[str, str]) -> tuple[int, str]:
        """Status and body for one request."""
        self.requests.append(parameters)
        if self.faults:
            return self.faults.popleft()
        action = parameters["Action"]
        own = {key: value for key, value in parameters.items() if key not in COMMON_PARAMETERS}
        try:
            require_known(method, parameters, self.keys)
            _require_action(action, parameters["Version"])
            _check(action, own)
            content = self._perform(action, own)
        except Refusal as refusal:
            return refusal.answer()
        except _Failure as refusal:
            return 200, json.dumps(
                {"Success": False, "Code": refusal.code, "Message": str(refusal)}
            )
        return 200, json.dumps({"Success": True, "Code": "200", "RequestId": "R-1", **content})

    def _perform(self, action: str, own: dict[str, str]) -> Answer:
        actions: dict[str, Callable[[dict[str, str]], Answer]] = {
            "PutResourceMetricRule": self._put_metric_rule,
            "PutEventRule": self._put_event_rule,
            "PutEventRuleTargets": self._put_targets,
            "DeleteMetricRules": lambda own: self._delete(self.metric_rules, own),
            "DeleteEventRules": lambda own: self._delete(self.event_rules, own),
            "InstallMonitoringAgent": self._install,
        }
        return actions[action](own)

    def _put_metric_rule(self, own: dict[str, str]) -> Answer:
        if own["Namespace"] != "acs_ecs_dashboard" or own["MetricName"] not in _METRICS:
            raise _Failure("400", f"The metric {own['MetricName']} is not exist.")
        self._require_group(own["ContactGroups"])
        _require_instances(own["Resources"])
        _require_whole_escalation(own)
        self.metric_rules[own["RuleId"]] = own
        return {}

    def _put_event_rule(self, own: dict[str, str]) -> Answer:
        names = {value for name, value in own.items() if ".NameList." in name}
        if own["EventPattern.1.Product"] != "ECS" or not names <= _EVENTS:
            raise _Failure("400", f"Unknown event {names}.")
        self.event_rules[own["RuleName"]] = own
        return {}

    def _put_targets(self, own: dict[str, str]) -> Answer:
        if own["RuleName"] not in self.event_rules:
            raise _Failure("404", "The event rule is not exist.")
        if own["ContactParameters.1.ContactGroupName"] not in self.contact_groups:
            return {"FailedParameterCount": "1"}
        self.targets[own["RuleName"]] = own
        return {"FailedParameterCount": "0"}

    def _delete(self, rules: dict[str, dict[str, str]], own: dict[str, str]) -> Answer:
        found = [name for name in own.values() if name in rules]
        if not found:
            raise _Failure("404", "The rule is not exist.")
        for name in found:
            del rules[name]
            self.targets.pop(name, None)
        return {}

    def _install(self, own: dict[str, str]) -> Answer:
        self.agents |= {value for name, value in own.items() if name.startswith("InstanceIds.")}
        return {}

    def _require_group(self, name: str) -> None:
        if name not in self.contact_groups:
            raise _Failure("403", f"The contact group {name} is not exist.")


@contextmanager
def cloud_monitor(keys: dict[str, str]) -> Iterator[CloudMonitorService]:
    """The service, listening on loopback."""
    service = CloudMonitorService(keys)

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
            pairs += parse_qsl(body, keep_blank_values=True)
            self.reply(*service.answer("POST", dict(pairs)), "application/json")

    with serving(Handler) as service.url:
        yield service


def _require_action(action: str, version: str) -> None:
    if action not in _PARAMETERS or version != "2019-01-01":
        raise Refusal(404, "InvalidAction.NotFound", "Specified api is not found.")


def _check(action: str, own: Mapping[str, str]) -> None:
    for name in own:
        if not re.fullmatch(_PARAMETERS[action], name):
            raise _Failure("400", f"Unknown parameter {name}.")
    for name in _REQUIRED.get(action, "").split():
        if not own.get(name):
            raise _Failure("400", f"{name} is mandatory for this action.")


def _require_instances(resources: str) -> None:
    for resource in json.loads(resources):
        if set(resource) != {"instanceId"} or not resource["instanceId"].startswith("i-"):
            raise _Failure("400", f"Illegal resource {resource}.")


def _require_whole_escalation(own: Mapping[str, str]) -> None:
    parts = [name.split(".") for name in own if name.startswith("Escalations.")]
    for level in {level for _, level, _ in parts}:
        if sum(part[1] == level for part in parts) != 4:
            raise _Failure("400", f"The escalation {level} is incomplete.")
    if not parts:
        raise _Failure("400", "There is no escalation.")
