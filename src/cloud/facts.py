"""What the cloud says, as values: instances, prices, stock. Times are UTC, prices CNY per hour."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

RUN_TAG = "linguabridge-run"
LAUNCH_TAG = "linguabridge-launch"
SPOT, ON_DEMAND = "spot", "on_demand"


@dataclass(frozen=True)
class Machine:
    """An instance as DescribeInstances tells of it.

    Attributes:
        instance_id: E.g. "i-bp1…".
        region: E.g. "cn-hangzhou".
        zone: E.g. "cn-hangzhou-i".
        instance_type: E.g. "ecs.gn7i-c16g1.4xlarge".
        status: Pending, Starting, Running, Stopping or Stopped.
        is_being_reclaimed: Whether it is locked for release by the service.
        created: To the minute.
        releases_at: When it releases itself; None if never.
        address: Public address, else the private one; empty while there is none.
        tags: By key.
    """

    instance_id: str
    region: str
    zone: str
    instance_type: str
    status: str
    is_being_reclaimed: bool
    created: datetime
    releases_at: datetime | None
    address: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def launch(self) -> str:
        """Name of the launch it came from."""
        return self.tags.get(LAUNCH_TAG, "")


@dataclass(frozen=True)
class PricePoint:
    """Spot and on-demand price of a type in a zone from a moment on."""

    zone: str
    since: datetime
    spot: float
    on_demand: float


@dataclass(frozen=True)
class Advice:
    """What the cloud knows of a type in a zone over the last 30 days.

    Attributes:
        interruption: Words of the service: "0-3%", "3-5%", "5-10%" or "10-100%".
        discount: Average spot price as a share of the list price.
    """

    interruption: str
    discount: float


def parse_time(text: str) -> datetime:
    """`"2017-12-10T04:04Z"` or `"2019-11-19T06:00:00Z"`: the service uses both."""
    style = "%Y-%m-%dT%H:%MZ" if text.count(":") == 1 else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.strptime(text, style).replace(tzinfo=timezone.utc)


def format_time(moment: datetime) -> str:
    """`"2019-11-19T06:00:00Z"`; what is below a second is cut off."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine_of(item: Mapping[str, Any], region: str) -> Machine:
    """From an entry of DescribeInstances' answer."""
    locks = item.get("OperationLocks", {}).get("LockReason", [])
    public = item.get("PublicIpAddress", {}).get("IpAddress", [])
    private = item.get("VpcAttributes", {}).get("PrivateIpAddress", {}).get("IpAddress", [])
    release = item.get("AutoReleaseTime")
    return Machine(
        instance_id=str(item["InstanceId"]),
        region=region,
        zone=str(item["ZoneId"]),
        instance_type=str(item["InstanceType"]),
        status=str(item["Status"]),
        is_being_reclaimed=any(lock.get("LockReason") == "Recycling" for lock in locks),
        created=parse_time(item["CreationTime"]),
        releases_at=parse_time(release) if release else None,
        address=next(iter([*public, *private]), ""),
        tags={
            # Written as Key and Value, read as TagKey and TagValue.
            str(tag["TagKey"]): str(tag["TagValue"])
            for tag in item.get("Tags", {}).get("Tag", [])
        },
    )


def advice_by_zone(answer: Mapping[str, Any]) -> dict[tuple[str, str], Advice]:
    """(zone, type) → advice, from DescribeSpotAdvice.

    The documented sample puts a zone and its resources into two entries of the list and quotes its
    numbers; the service joins them. Both are read.
    """
    found: dict[tuple[str, str], Advice] = {}
    zone = ""
    for entry in answer.get("AvailableSpotZones", {}).get("AvailableSpotZone", []):
        zone = str(entry.get("ZoneId", zone))
        for item in entry.get("AvailableSpotResources", {}).get("AvailableSpotResource", []):
            found[zone, str(item["InstanceType"])] = Advice(
                str(item.get("InterruptRateDesc", "")),
                float(item.get("AverageSpotDiscount", 100)) / 100,
            )
    return found


def stock_by_zone(answer: Mapping[str, Any], instance_type: str) -> dict[str, bool]:
    """Zone → whether it has the type now, from DescribeAvailableResource."""
    found: dict[str, bool] = {}
    for zone in answer.get("AvailableZones", {}).get("AvailableZone", []):
        supported = [
            item
            for resource in zone.get("AvailableResources", {}).get("AvailableResource", [])
            for item in resource.get("SupportedResources", {}).get("SupportedResource", [])
            if item.get("Value") == instance_type
        ]
        found[str(zone["ZoneId"])] = any(item.get("Status") == "Available" for item in supported)
    return found


def changes_of(events: Sequence[Mapping[str, Any]], instance_id: str) -> dict[str, datetime]:
    """State → when an instance entered it first, from CloudMonitor's Instance:StateChange."""
    changes: dict[str, datetime] = {}
    for item in events:
        content = json.loads(item["Content"])
        if content.get("resourceId") == instance_id:
            moment = datetime.fromtimestamp(int(item["Time"]) / 1000, timezone.utc)
            state = str(content["state"])
            changes[state] = min(moment, changes.get(state, moment))
    return changes
