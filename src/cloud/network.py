"""The network of a run in a region: one VPC, one vSwitch per zone, one security group.

Found by name and made when absent, so that asking twice makes one; removed by name at the end. The
names carry the run's (ECS's own calls for networks know no tags); the security group, which has
tags, carries the run's tag too. Port 22 is open only to the addresses that the configuration names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from src.cloud.ecs_api import EcsApi
from src.cloud.facts import RUN_TAG
from src.errors import CloudError
from src.schema import CloudConfig

_CIDR = "10.86.0.0/16"
_PAGE = 50
_POLLS = 40
_POLL_SECONDS = 3.0


@dataclass(frozen=True)
class Place:
    """Where in a network an instance goes."""

    security_group: str
    vswitch: str


class Networks:
    """The networks of one run.

    Args:
        api: The cloud.
        cloud: Networks of the user's, and who may log in.
        sleep: Waits so many seconds.
    """

    def __init__(self, api: EcsApi, cloud: CloudConfig, sleep: Callable[[float], object]) -> None:
        self._api = api
        self._cloud = cloud
        self._sleep = sleep
        self._name = f"linguabridge-{cloud.run_name}"
        self._known: dict[tuple[str, str], Place] = {}

    def place(self, region: str, zone: str) -> Place:
        """Where an instance in this zone goes; makes what is missing.

        Raises:
            CloudError: The cloud refuses, or the user's network has no vSwitch in the zone.
        """
        if (region, zone) not in self._known:
            self._known[region, zone] = self._find(region, zone)
        return self._known[region, zone]

    def remove(self, region: str) -> list[str]:
        """Deletes what was made for the run in a region; returns the ids."""
        removed = []
        for vpc in self._own_vpcs(region):
            vpc_id = str(vpc["VpcId"])
            for group in self._groups(region, vpc_id):
                identifier = str(group["SecurityGroupId"])
                self._delete(region, "DeleteSecurityGroup", "SecurityGroupId", identifier)
                removed.append(identifier)
            for vswitch in self._vswitches(region, vpc_id):
                identifier = str(vswitch["VSwitchId"])
                self._delete(region, "DeleteVSwitch", "VSwitchId", identifier)
                removed.append(identifier)
            self._delete(region, "DeleteVpc", "VpcId", vpc_id)
            removed.append(vpc_id)
        self._known = {key: place for key, place in self._known.items() if key[0] != region}
        return removed

    def list_own(self, region: str) -> list[str]:
        """Ids of what `remove` would delete."""
        found = []
        for vpc in self._own_vpcs(region):
            vpc_id = str(vpc["VpcId"])
            found += [str(item["SecurityGroupId"]) for item in self._groups(region, vpc_id)]
            found += [str(item["VSwitchId"]) for item in self._vswitches(region, vpc_id)]
            found.append(vpc_id)
        return found

    def _find(self, region: str, zone: str) -> Place:
        own = self._cloud.networks.get(region)
        if own is not None:
            if zone not in own.vswitches:
                raise CloudError(
                    f"cloud.networks has no vSwitch for zone {zone}",
                    "add one, or remove the region from cloud.networks",
                    "InvalidVpcZone.NotSupported",
                )
            return Place(own.security_group, own.vswitches[zone])
        vpc_id = self._vpc(region)
        return Place(self._security_group(region, vpc_id), self._vswitch(region, vpc_id, zone))

    def _vpc(self, region: str) -> str:
        for vpc in self._own_vpcs(region):
            return str(vpc["VpcId"])
        answer = self._api.change(
            region,
            "CreateVpc",
            {
                "VpcName": self._name,
                "CidrBlock": _CIDR,
                "Description": f"{RUN_TAG}={self._cloud.run_name}",
                "ClientToken": f"{self._name}-vpc",
            },
        )
        vpc_id = str(answer.get("VpcId", "vpc-dry-run"))
        self._await(lambda: self._own_vpcs(region))
        return vpc_id

    def _vswitch(self, region: str, vpc_id: str, zone: str) -> str:
        present = [] if self._api.is_dry else list(self._vswitches(region, vpc_id))
        for vswitch in present:
            if vswitch["ZoneId"] == zone:
                return str(vswitch["VSwitchId"])
        used = {str(item["CidrBlock"]) for item in present}
        ranges = (f"10.86.{number}.0/24" for number in range(256))
        answer = self._api.change(
            region,
            "CreateVSwitch",
            {
                "VpcId": vpc_id,
                "ZoneId": zone,
                "CidrBlock": next(item for item in ranges if item not in used),
                "VSwitchName": f"{self._name}-{zone}"[:128],
                "ClientToken": f"{vpc_id}-{zone}"[:64],
            },
        )
        self._await(
            lambda: [item for item in self._vswitches(region, vpc_id) if item["ZoneId"] == zone]
        )
        return str(answer.get("VSwitchId", "vsw-dry-run"))

    def _security_group(self, region: str, vpc_id: str) -> str:
        if not self._api.is_dry:
            for group in self._groups(region, vpc_id):
                return str(group["SecurityGroupId"])
        answer = self._api.change(
            region,
            "CreateSecurityGroup",
            {
                "VpcId": vpc_id,
                "SecurityGroupName": self._name,
                "Tag.1.Key": RUN_TAG,
                "Tag.1.Value": self._cloud.run_name,
                "ClientToken": f"{vpc_id}-group"[:64],
            },
        )
        identifier = str(answer.get("SecurityGroupId", "sg-dry-run"))
        if self._cloud.ssh_from:
            self._api.change(
                region,
                "AuthorizeSecurityGroup",
                {
                    "SecurityGroupId": identifier,
                    "IpProtocol": "tcp",
                    "PortRange": "22/22",
                    "SourceCidrIp": self._cloud.ssh_from,
                    "ClientToken": f"{identifier}-ssh",
                },
            )
        return identifier

    def _own_vpcs(self, region: str) -> Iterator[Any]:
        for item in self._all(region, "DescribeVpcs", {}, "Vpcs", "Vpc"):
            if item.get("VpcName") == self._name:
                yield item

    def _vswitches(self, region: str, vpc_id: str) -> Iterator[Any]:
        return self._all(region, "DescribeVSwitches", {"VpcId": vpc_id}, "VSwitches", "VSwitch")

    def _groups(self, region: str, vpc_id: str) -> Iterator[Any]:
        parameters = {
            "VpcId": vpc_id,
            "Tag.1.Key": RUN_TAG,
            "Tag.1.Value": self._cloud.run_name,
        }
        return self._all(
            region, "DescribeSecurityGroups", parameters, "SecurityGroups", "SecurityGroup"
        )

    def _all(
        self, region: str, action: str, parameters: dict[str, str], outer: str, inner: str
    ) -> Iterator[Any]:
        page = 1
        while True:
            answer = self._api.look(
                region, action, {**parameters, "PageSize": _PAGE, "PageNumber": page}
            )
            items = answer.get(outer, {}).get(inner, [])
            yield from items
            if page * _PAGE >= int(answer.get("TotalCount", 0)):
                return
            page += 1

    def _await(self, look: Callable[[], Any]) -> None:
        """Returns when what was made is ready; networks take some seconds."""
        if self._api.is_dry:
            return
        for _ in range(_POLLS):
            if any(item.get("Status") == "Available" for item in look()):
                return
            self._sleep(_POLL_SECONDS)
        raise CloudError("a new network did not become ready in two minutes", "try again")

    def _delete(self, region: str, action: str, name: str, identifier: str) -> None:
        try:
            self._api.change(region, action, {name: identifier})
        except CloudError as error:
            if not error.code.endswith(".NotFound"):
                raise
