"""The actions of the stand-in of ECS: which parameters each takes, and what it answers.

A parameter that an action does not know is refused, so that a misspelt one cannot pass unnoticed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from tests.fakes import ecs_networks
from tests.fakes.ecs_refusal import Refusal
from tests.fakes.ecs_world import DISK_HOURLY, HOUR, Instance, World, region_of
from tests.fakes.rpc_signature import COMMON_PARAMETERS

_TAGS = r"Tag\.\d+\.(Key|Value)"
_DISK = r"SystemDisk\.Size|SystemDisk\.Category|SystemDisk\.PerformanceLevel"
_MOST_USER_DATA = 32 * 1024
_SHORTEST_LIFE = 30 * 60
_PAGE = 100

Answer = dict[str, Any]
Action = Callable[[World, dict[str, str]], Answer]


def perform(world: World, action: str, parameters: dict[str, str]) -> Answer:
    """What the service does and answers.

    Raises:
        Refusal: It would not.
    """
    if action not in _ACTIONS:
        raise Refusal(404, "InvalidAction.NotFound", "Specified api is not found.")
    known, act = _ACTIONS[action]
    for name in parameters:
        if name not in COMMON_PARAMETERS and not re.fullmatch(known, name):
            raise Refusal(400, "InvalidParameter", f"{action} has no parameter {name}.")
    cloud_monitor = action == "DescribeSystemEventAttribute"
    if not cloud_monitor and parameters.get("RegionId") not in world.regions():
        raise Refusal(404, "InvalidRegionId.NotFound", "The specified region does not exist.")
    world.advance()
    with world.lock:
        return act(world, parameters)


def _names(text: str) -> str:
    return "|".join([name.replace(".", r"\.") for name in text.split()])


# Looking


def _regions(world: World, _: dict[str, str]) -> Answer:
    return {"Regions": {"Region": [{"RegionId": name} for name in world.regions()]}}


def _describe_instances(world: World, asked: dict[str, str]) -> Answer:
    tags = _tags(asked)
    found = [
        each
        for each in world.living()
        if each.region == asked["RegionId"]
        and all(key in each.tags and value in ("", each.tags[key]) for key, value in tags.items())
    ]
    return {
        "TotalCount": len(found),
        "PageNumber": 1,
        "PageSize": _PAGE,
        "Instances": {"Instance": [_instance(each) for each in found]},
    }


def _instance(each: Instance) -> Answer:
    locks = [{"LockReason": "Recycling"}] if each.taken_at is not None else []
    return {
        "InstanceId": each.instance_id,
        "InstanceType": each.instance_type,
        "ZoneId": each.zone,
        "Status": each.status,
        "OperationLocks": {"LockReason": locks},
        "CreationTime": _format(each.created, "%Y-%m-%dT%H:%MZ"),
        "AutoReleaseTime": _format(each.releases_at) if each.releases_at else "",
        "PublicIpAddress": {"IpAddress": ["203.0.113.9"]},
        "Tags": {"Tag": [{"TagKey": key, "TagValue": each.tags[key]} for key in each.tags]},
    }


def _spot_prices(world: World, asked: dict[str, str]) -> Answer:
    start, end = _parse(asked["StartTime"]), _parse(asked["EndTime"])
    kind = _instance_type(world, asked)
    hours = range(int(start // HOUR), int(end // HOUR) + 1)
    points = [
        {
            "ZoneId": zone,
            "InstanceType": kind,
            "Timestamp": _format(hour * HOUR),
            "SpotPrice": world.spot(zone, kind, hour * HOUR),
            "OriginPrice": world.on_demand(zone, kind),
        }
        for zone in world.zones
        if region_of(zone) == asked["RegionId"] and kind in world.zones[zone]
        for hour in hours
        if start <= hour * HOUR <= end
    ]
    offset = int(asked.get("Offset", 0))
    page = points[offset : offset + _PAGE]
    following = offset + _PAGE if offset + _PAGE < len(points) else 0
    return {"Currency": "CNY", "NextOffset": following, "SpotPrices": {"SpotPriceType": page}}


def _advice(world: World, asked: dict[str, str]) -> Answer:
    kinds = [value for name, value in asked.items() if name.startswith("InstanceTypes.")]
    entries: list[Answer] = []
    for zone, sold in world.zones.items():
        if region_of(zone) == asked["RegionId"]:
            items = [
                {
                    "InstanceType": kind,
                    "InterruptRateDesc": world.interruption.get(zone, "3-5%"),
                    "InterruptionRate": "3.0",
                    "AverageSpotDiscount": "35",
                }
                for kind in kinds
                if kind in sold
            ]
            # As in the documented sample: the zone stands in an entry before its resources.
            entries += [
                {"ZoneId": zone},
                {"AvailableSpotResources": {"AvailableSpotResource": items}},
            ]
    return {"RegionId": asked["RegionId"], "AvailableSpotZones": {"AvailableSpotZone": entries}}


def _stock(world: World, asked: dict[str, str]) -> Answer:
    kind, spot = _instance_type(world, asked), asked["SpotStrategy"] != "NoSpot"
    zones = []
    for zone, sold in world.zones.items():
        if region_of(zone) != asked["RegionId"] or kind not in sold:
            continue
        status = "SoldOut" if (zone, spot) in world.sold_out else "Available"
        resource = {"Value": kind, "Status": status, "StatusCategory": "WithStock"}
        supported = {"SupportedResource": [resource]}
        available = [{"Type": "InstanceType", "SupportedResources": supported}]
        zones.append({"ZoneId": zone, "AvailableResources": {"AvailableResource": available}})
    return {"AvailableZones": {"AvailableZone": zones}}


def _price(world: World, asked: dict[str, str]) -> Answer:
    machine = world.on_demand(asked["ZoneId"], _instance_type(world, asked))
    disk = float(asked["SystemDisk.Size"]) * DISK_HOURLY
    details = [
        {"Resource": "instanceType", "TradePrice": machine},
        {"Resource": "systemDisk", "TradePrice": f"{disk}"},
    ]
    price = {"TradePrice": machine + disk, "DetailInfos": {"DetailInfo": details}}
    return {"PriceInfo": {"Price": price}}


def _disks(world: World, asked: dict[str, str]) -> Answer:
    found = [disk for disk, region in world.disks.items() if region == asked["RegionId"]]
    return {"TotalCount": len(found), "Disks": {"Disk": [{"DiskId": each} for each in found]}}


def _events(world: World, asked: dict[str, str]) -> Answer:
    instance = world.instances.get(asked["SearchKeywords"])
    found = [
        {
            "Product": "ECS",
            "Name": "Instance:StateChange",
            "Status": "Normal",
            "Time": round(moment * 1000),
            "Content": json.dumps({"resourceId": asked["SearchKeywords"], "state": state}),
        }
        for moment, state in (instance.events if instance else [])
        if moment * 1000 >= float(asked["StartTime"])
    ]
    return {"Success": True, "Code": "200", "SystemEvents": {"SystemEvent": found}}


# Changing


def _run_instances(world: World, asked: dict[str, str]) -> Answer:
    token = asked.get("ClientToken", "")
    without = COMMON_PARAMETERS - {"RegionId"}
    meaning = {key: value for key, value in asked.items() if key not in without}
    if token in world.launches:
        before, instance_id = world.launches[token]
        if before != meaning:
            raise Refusal(400, "IdempotentParameterMismatch", "The token was used otherwise.")
        return {"InstanceIdSets": {"InstanceIdSet": [instance_id]}}
    _check_launch(world, asked)
    release = _parse(asked["AutoReleaseTime"]) if "AutoReleaseTime" in asked else None
    instance_id = world.launch(meaning, _tags(asked), release)
    if token:
        world.launches[token] = (meaning, instance_id)
    return {"InstanceIdSets": {"InstanceIdSet": [instance_id]}, "TradePrice": "0.165"}


def _check_launch(world: World, asked: dict[str, str]) -> None:
    zone, kind = asked["ZoneId"], _instance_type(world, asked)
    if asked.get("SecurityGroupId") not in world.networks:
        raise Refusal(404, "InvalidSecurityGroupId.NotFound", "No such group.")
    vswitch = world.networks.get(asked.get("VSwitchId", ""))
    if vswitch is None or vswitch.facts["ZoneId"] != zone:
        raise Refusal(404, "InvalidVSwitchId.NotFound", "No such vSwitch in the zone.")
    if "ImageId" not in asked and "ImageFamily" not in asked:
        raise Refusal(400, "MissingParameter", "ImageId or ImageFamily.")
    if not {"SystemDisk.Size", "SystemDisk.Category"} <= set(asked):
        raise Refusal(400, "MissingParameter", "The system disk is not described.")
    if len(base64.b64decode(asked["UserData"])) > _MOST_USER_DATA:
        raise Refusal(400, "InvalidUserData.SizeExceeded", "Too long.")
    if (
        "AutoReleaseTime" in asked
        and _parse(asked["AutoReleaseTime"]) < world.now() + _SHORTEST_LIFE
    ):
        raise Refusal(400, "InvalidAutoReleaseTime.Malformed", "Less than 30 minutes ahead.")
    if len(world.living()) >= world.quota:
        raise Refusal(403, "QuotaExceed.ElasticQuota", "No additional quota.")
    spot = asked["SpotStrategy"] != "NoSpot"
    if kind not in world.zones.get(zone, ()) or (zone, spot) in world.sold_out:
        raise Refusal(403, "OperationDenied.NoStock", "The resource is out of stock in the zone.")
    limit = float(asked.get("SpotPriceLimit", "inf"))
    if spot and limit < world.spot(zone, kind, world.now()):
        raise Refusal(400, "InvalidSpotPriceLimit.LowerThanPublicPrice", "Too low.")


def _delete_instances(world: World, asked: dict[str, str]) -> Answer:
    for name, value in asked.items():
        if name.startswith("InstanceId."):
            instance = world.instances.get(value)
            if instance is None or instance.released is not None:
                raise Refusal(404, "InvalidInstanceId.NotFound", "No such instance.")
            if asked.get("Force") != "true" and instance.status == "Running":
                raise Refusal(403, "IncorrectInstanceStatus", "It is running.")
            world.release(instance)
    return {}


def _extend(world: World, asked: dict[str, str]) -> Answer:
    instance = world.instances.get(asked["InstanceId"])
    if instance is None or instance.released is not None:
        raise Refusal(404, "InvalidInstanceId.NotFound", "No such instance.")
    instance.releases_at = _parse(asked["AutoReleaseTime"])
    return {}


def _delete_disk(world: World, asked: dict[str, str]) -> Answer:
    world.disks.pop(asked["DiskId"], None)
    return {}


def _instance_type(world: World, asked: dict[str, str]) -> str:
    kind = asked["InstanceType"]
    if not any(kind in sold for sold in world.zones.values()):
        raise Refusal(403, "InvalidInstanceType.ValueNotSupported", "No such type here.")
    return kind


def _tags(asked: dict[str, str]) -> dict[str, str]:
    numbers = [name.split(".")[1] for name in asked if re.fullmatch(r"Tag\.\d+\.Key", name)]
    return {asked[f"Tag.{n}.Key"]: asked.get(f"Tag.{n}.Value", "") for n in numbers}


def _parse(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()


def _format(moment: float, style: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime(style)


_ACTIONS: dict[str, tuple[str, Action]] = {
    "DescribeRegions": (_names("AcceptLanguage"), _regions),
    "DescribeInstances": (_names("PageSize PageNumber Status") + "|" + _TAGS, _describe_instances),
    "DescribeSpotPriceHistory": (
        _names("InstanceType NetworkType ZoneId OSType SpotDuration StartTime EndTime Offset"),
        _spot_prices,
    ),
    "DescribeSpotAdvice": (r"InstanceTypes\.\d+|ZoneId", _advice),
    "DescribeAvailableResource": (
        _names(
            "DestinationResource ResourceType InstanceChargeType IoOptimized InstanceType "
            "SpotStrategy SpotDuration ZoneId"
        ),
        _stock,
    ),
    "DescribePrice": (
        _names("ResourceType InstanceType ZoneId PriceUnit Period") + "|" + _DISK,
        _price,
    ),
    "DescribeDisks": (_names("Status PageSize PageNumber") + "|" + _TAGS, _disks),
    "DescribeSystemEventAttribute": (
        _names("Product EventType Name SearchKeywords StartTime EndTime PageNumber PageSize"),
        _events,
    ),
    "RunInstances": (
        _names(
            "ClientToken InstanceType ZoneId SecurityGroupId VSwitchId InstanceName "
            "InstanceChargeType InternetChargeType InternetMaxBandwidthOut HttpTokens "
            "HttpEndpoint AutoReleaseTime UserData SpotStrategy SpotDuration SpotPriceLimit "
            "SpotInterruptionBehavior ImageFamily ImageId KeyPairName RamRoleName Amount DryRun"
        )
        + f"|{_DISK}|{_TAGS}",
        _run_instances,
    ),
    "DeleteInstances": (r"InstanceId\.\d+|Force|ForceStop|ClientToken", _delete_instances),
    "ModifyInstanceAutoReleaseTime": (_names("InstanceId AutoReleaseTime"), _extend),
    "DeleteDisk": (_names("DiskId"), _delete_disk),
    **{
        name: (_names(known) + "|" + _TAGS, act)
        for name, (known, act) in ecs_networks.ACTIONS.items()
    },
}
KNOWN_PARAMETERS = {action: known for action, (known, _) in _ACTIONS.items()}
"""What each action takes, as patterns, besides the common parameters."""
