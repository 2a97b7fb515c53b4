"""The calls to ECS that renting needs, and nothing else of the SDK: plain values in and out.

Every call may be repeated without harm, so every call is: those that create carry a ClientToken,
those that delete take "already gone" for success. Repeats are bounded and wait longer each time;
throttling, which the SDK never repeats, is among their reasons. Parameters go by the service's own
names: some setters of the SDK drop what they are given (SystemDisk), others send True for true.
"""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

from src.cloud.ecs import (
    CLOUD_RETRY,
    DEFAULT_REGION,
    Credentials,
    ask,
    make_client,
    not_the_service,
)
from src.cloud.facts import (
    LAUNCH_TAG,
    RUN_TAG,
    Advice,
    Machine,
    PricePoint,
    advice_by_zone,
    changes_of,
    format_time,
    machine_of,
    parse_time,
    stock_by_zone,
)
from src.cloud.refusals import kind_of
from src.errors import CloudError

_SLOW_ACTIONS = {"RunInstances": 60, "DeleteInstances": 60, "DescribeSpotPriceHistory": 25}
_PAGE = 100
_EVENTS_VERSION = "2019-01-01"

Parameters = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Endpoints:
    """Addresses of the services with scheme; None: Alibaba Cloud's own."""

    ecs: str | None = None
    events: str | None = None
    alarms: str | None = None


class EcsApi:
    """ECS in any number of regions.

    Args:
        credentials: Gives the key to sign with; asked before each call, so it may change.
        endpoints: Other addresses, for tests.
        dry_run: Gets each call that would change something, in place of the service.
        sleep: Waits so many seconds.
        jitter: Gives numbers between 0 and 1.
    """

    def __init__(
        self,
        credentials: Callable[[], Credentials],
        *,
        endpoints: Endpoints = Endpoints(),
        dry_run: Callable[[str, str, Parameters], object] | None = None,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._credentials = credentials
        self._endpoints = endpoints
        self._dry_run = dry_run
        self._retry = replace(CLOUD_RETRY, sleep=sleep, jitter=jitter)
        self._clients: dict[str, tuple[Credentials, AcsClient]] = {}

    @property
    def is_dry(self) -> bool:
        """Whether changes are only told."""
        return self._dry_run is not None

    # Looking

    def regions(self) -> list[str]:
        """Regions this account may use."""
        answer = self._read(DEFAULT_REGION, "DescribeRegions", {})
        return [str(item["RegionId"]) for item in _items(answer, "Regions", "Region")]

    def machines(self, region: str, run: str) -> list[Machine]:
        """Instances that carry the tag of this run, in any state."""
        parameters: dict[str, str | int | float] = {
            "Tag.1.Key": RUN_TAG,
            "Tag.1.Value": run,
            "PageSize": _PAGE,
        }
        found = self._pages(region, "DescribeInstances", parameters, "Instances", "Instance")
        return [machine_of(item, region) for item in found]

    def spot_prices(
        self, region: str, instance_type: str, start: datetime, end: datetime
    ) -> list[PricePoint]:
        """Prices in all zones of the region, oldest first; the span may be 30 days long."""
        found: list[PricePoint] = []
        offset = 0
        while True:
            answer = self._read(
                region,
                "DescribeSpotPriceHistory",
                {
                    "InstanceType": instance_type,
                    "NetworkType": "vpc",
                    "StartTime": format_time(start),
                    "EndTime": format_time(end),
                    "OSType": "linux",
                    "Offset": offset,
                },
            )
            points = _items(answer, "SpotPrices", "SpotPriceType")
            found += [
                PricePoint(
                    str(item["ZoneId"]),
                    parse_time(item["Timestamp"]),
                    float(item["SpotPrice"]),
                    float(item["OriginPrice"]),
                )
                for item in points
            ]
            following = int(answer.get("NextOffset") or 0)
            if not points or following <= offset:
                return sorted(found, key=lambda point: (point.since, point.zone))
            offset = following

    def advice(self, region: str, instance_types: tuple[str, ...]) -> dict[tuple[str, str], Advice]:
        """(zone, type) → how often it was interrupted and what it cost; types may lack one."""
        found: dict[tuple[str, str], Advice] = {}
        for first in range(0, len(instance_types), 10):  # the service takes ten types at most
            chosen = instance_types[first : first + 10]
            names = {f"InstanceTypes.{index}": name for index, name in enumerate(chosen, 1)}
            found |= advice_by_zone(self._read(region, "DescribeSpotAdvice", names))
        return found

    def stock(self, region: str, instance_type: str, *, spot: bool) -> dict[str, bool]:
        """Zone → whether an instance of the type can be had there now."""
        parameters: dict[str, str | int | float] = {
            "DestinationResource": "InstanceType",
            "ResourceType": "instance",
            "InstanceChargeType": "PostPaid",
            "IoOptimized": "optimized",
            "InstanceType": instance_type,
            "SpotStrategy": "SpotAsPriceGo" if spot else "NoSpot",
        }
        answer = self._read(region, "DescribeAvailableResource", parameters)
        return stock_by_zone(answer, instance_type)

    def disk_price(self, region: str, zone: str, instance_type: str, disk: Parameters) -> float:
        """CNY per hour of a system disk; `disk` holds the parameters SystemDisk.*."""
        answer = self._read(
            region,
            "DescribePrice",
            {
                "ResourceType": "instance",
                "InstanceType": instance_type,
                "ZoneId": zone,
                "PriceUnit": "Hour",
                "Period": 1,
                **disk,
            },
        )
        try:
            price = answer["PriceInfo"]["Price"]
            details = price["DetailInfos"]["DetailInfo"]
            return sum(
                float(item["TradePrice"]) for item in details if item["Resource"] == "systemDisk"
            )
        except (LookupError, TypeError, ValueError):
            raise not_the_service("ECS service") from None

    def state_changes(self, region: str, instance_id: str, since: datetime) -> dict[str, datetime]:
        """State → when the instance entered it first, by CloudMonitor's record of events."""
        request = CommonRequest(
            domain=f"metrics.{region}.aliyuncs.com",
            version=_EVENTS_VERSION,
            action_name="DescribeSystemEventAttribute",
        )
        request.set_method("POST")
        request.set_protocol_type("https")
        parameters: dict[str, str | int | float] = {
            "Product": "ECS",
            "EventType": "StatusNotification",
            "Name": "Instance:StateChange",
            "SearchKeywords": instance_id,
            "StartTime": int(since.timestamp() * 1000),
            "PageSize": _PAGE,
        }
        if self._endpoints.events:
            request.set_endpoint(self._endpoints.events)
        answer = self._repeat(region, request, parameters, f"CloudMonitor service in {region}")
        return changes_of(_items(answer, "SystemEvents", "SystemEvent"), instance_id)

    # Changing

    def run_instance(self, region: str, parameters: Parameters) -> str:
        """Launches one instance and returns its id; the same ClientToken gives the same instance.

        Raises:
            CloudError: With the service's code; see `src.cloud.refusals.kind_of`.
            ValueError: Without a ClientToken a lost answer would rent a second machine.
        """
        if not parameters.get("ClientToken"):
            raise ValueError("RunInstances without ClientToken")
        answer = self._write(region, "RunInstances", {**parameters, "Amount": 1})
        identifiers = answer.get("InstanceIdSets", {}).get("InstanceIdSet", [])
        if self.is_dry:
            return "i-dry-run"
        if len(identifiers) != 1:
            raise not_the_service("ECS service")
        return str(identifiers[0])

    def delete_machine(self, region: str, machine: Machine, run: str) -> None:
        """Releases an instance of this run with its disks; content if it is gone already.

        Raises:
            ValueError: The instance is not of this run.
        """
        if machine.tags.get(RUN_TAG) != run:
            raise ValueError(f"{machine.instance_id} does not carry the tag of run {run}")
        parameters = {"InstanceId.1": machine.instance_id, "Force": "true"}
        try:
            self._write(region, "DeleteInstances", parameters)
        except CloudError as error:
            if kind_of(error.code) != "gone":
                raise

    def extend_life(self, region: str, instance_id: str, until: datetime) -> None:
        """Moves the moment at which the instance releases itself."""
        parameters = {"InstanceId": instance_id, "AutoReleaseTime": format_time(until)}
        try:
            self._write(region, "ModifyInstanceAutoReleaseTime", parameters)
        except CloudError as error:
            if kind_of(error.code) != "gone":
                raise

    def leftover_disks(self, region: str, run: str) -> list[str]:
        """Disks that carry the tag of this run and hang on no instance."""
        parameters: dict[str, str | int | float] = {
            "Tag.1.Key": RUN_TAG,
            "Tag.1.Value": run,
            "Status": "Available",
            "PageSize": _PAGE,
        }
        answer = self._read(region, "DescribeDisks", parameters)
        return [str(item["DiskId"]) for item in _items(answer, "Disks", "Disk")]

    def delete_disk(self, region: str, disk_id: str) -> None:
        """Deletes a disk that `leftover_disks` named."""
        self._write(region, "DeleteDisk", {"DiskId": disk_id})

    # Networks: `src.cloud.network` knows how they belong together

    def look(self, region: str, action: str, parameters: Parameters) -> Any:
        """The answer to a call that changes nothing."""
        return self._read(region, action, parameters)

    def change(self, region: str, action: str, parameters: Parameters) -> Any:
        """The answer to a call that may be repeated though it changes something."""
        return self._write(region, action, parameters)

    # Calls

    def _pages(
        self, region: str, action: str, parameters: Parameters, outer: str, inner: str
    ) -> Iterator[Any]:
        page = 1
        while True:
            answer = self._read(region, action, {**parameters, "PageNumber": page})
            items = _items(answer, outer, inner)
            yield from items
            if not items or page * _PAGE >= int(answer.get("TotalCount", 0)):
                return
            page += 1

    def _write(self, region: str, action: str, parameters: Parameters) -> Any:
        if self._dry_run is not None:
            self._dry_run(region, action, parameters)
            return {}
        return self._read(region, action, parameters)

    def _read(self, region: str, action: str, parameters: Parameters) -> Any:
        module = importlib.import_module(f"aliyunsdkecs.request.v20140526.{action}Request")
        request = getattr(module, f"{action}Request")()
        request.set_protocol_type("https")  # the endpoint's scheme outranks it, as it should
        if action in _SLOW_ACTIONS:
            request.set_read_timeout(_SLOW_ACTIONS[action])
        return self._repeat(
            region, request, {"RegionId": region, **parameters}, f"ECS service in {region}"
        )

    def _repeat(self, region: str, request: Any, parameters: Parameters, service: str) -> Any:
        for name, value in parameters.items():
            request.add_query_param(name, str(value))

        def once() -> Any:
            credentials, client = self._client(region)
            return ask(client, request, credentials, service)

        return self._retry.call(once)

    def _client(self, region: str) -> tuple[Credentials, AcsClient]:
        credentials = self._credentials()
        held = self._clients.get(region)
        if held is None or held[0] != credentials:
            client = make_client(credentials, region, endpoint=self._endpoints.ecs)
            held = self._clients[region] = (replace(credentials), client)
        return held


def launch_tags(run: str, launch: str) -> dict[str, str]:
    """Parameters that mark what a launch makes."""
    return {
        "Tag.1.Key": RUN_TAG,
        "Tag.1.Value": run,
        "Tag.2.Key": LAUNCH_TAG,
        "Tag.2.Value": launch,
    }


def _items(answer: Any, outer: str, inner: str) -> list[Any]:
    """The list at `answer[outer][inner]`."""
    try:
        return list(answer[outer][inner])
    except (LookupError, TypeError):
        raise not_the_service("ECS service") from None
