"""Networks of the stand-in of ECS: made at once, ready a little later, deleted from inside out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes.ecs_refusal import Refusal
from tests.fakes.ecs_world import Network, World

_POLLS_UNTIL_READY = 1


def _make(kind: str, field: str) -> Callable[[World, dict[str, str]], dict[str, Any]]:
    def act(world: World, asked: dict[str, str]) -> dict[str, Any]:
        token = asked["ClientToken"]
        for network in world.networks.values():
            if network.facts["ClientToken"] == token and network.region == asked["RegionId"]:
                return {field: network.identifier}
        identifier = world.new_identifier(kind)
        world.networks[identifier] = Network(identifier, asked["RegionId"], dict(asked))
        return {field: identifier}

    return act


def _list(kind: str, outer: str, inner: str, field: str) -> Callable[..., dict[str, Any]]:
    def act(world: World, asked: dict[str, str]) -> dict[str, Any]:
        found = []
        for network in world.networks.values():
            is_kind = network.identifier.startswith(f"{kind}-")
            if not is_kind or network.region != asked["RegionId"]:
                continue
            if any(
                network.facts.get(name) != value
                for name, value in asked.items()
                if name == "VpcId" or name.startswith("Tag.")
            ):
                continue
            status = "Available" if network.polls >= _POLLS_UNTIL_READY else "Pending"
            network.polls += 1
            found.append({**network.facts, field: network.identifier, "Status": status})
        return {"TotalCount": len(found), "PageNumber": 1, outer: {inner: found}}

    return act


def _delete(field: str) -> Callable[[World, dict[str, str]], dict[str, Any]]:
    def act(world: World, asked: dict[str, str]) -> dict[str, Any]:
        identifier = asked[field]
        if identifier not in world.networks:
            raise Refusal(404, f"Invalid{field}.NotFound", "No such thing.")
        inside = [
            each
            for each in world.networks.values()
            if each.facts.get("VpcId") == identifier and each.identifier != identifier
        ]
        used = [
            each
            for each in world.living()
            if identifier in (each.parameters["VSwitchId"], each.parameters["SecurityGroupId"])
        ]
        if inside or used:
            raise Refusal(400, "DependencyViolation", "Something hangs on it.")
        del world.networks[identifier]
        return {}

    return act


def _authorize(world: World, asked: dict[str, str]) -> dict[str, Any]:
    group = world.networks[asked["SecurityGroupId"]]
    group.facts["rule"] = f"{asked['PortRange']} {asked['SourceCidrIp']}"
    return {}


ACTIONS: dict[str, tuple[str, Callable[[World, dict[str, str]], dict[str, Any]]]] = {
    "CreateVpc": ("VpcName CidrBlock Description ClientToken", _make("vpc", "VpcId")),
    "CreateVSwitch": (
        "VpcId ZoneId CidrBlock VSwitchName ClientToken",
        _make("vsw", "VSwitchId"),
    ),
    "CreateSecurityGroup": (
        "VpcId SecurityGroupName ClientToken",
        _make("sg", "SecurityGroupId"),
    ),
    "AuthorizeSecurityGroup": (
        "SecurityGroupId IpProtocol PortRange SourceCidrIp ClientToken",
        _authorize,
    ),
    "DescribeVpcs": ("PageSize PageNumber", _list("vpc", "Vpcs", "Vpc", "VpcId")),
    "DescribeVSwitches": (
        "VpcId PageSize PageNumber",
        _list("vsw", "VSwitches", "VSwitch", "VSwitchId"),
    ),
    "DescribeSecurityGroups": (
        "VpcId PageSize PageNumber",
        _list("sg", "SecurityGroups", "SecurityGroup", "SecurityGroupId"),
    ),
    "DeleteVpc": ("VpcId", _delete("VpcId")),
    "DeleteVSwitch": ("VSwitchId", _delete("VSwitchId")),
    "DeleteSecurityGroup": ("SecurityGroupId", _delete("SecurityGroupId")),
}
