"""What a run has in the cloud: finding all of it, and removing what is not an instance."""

from __future__ import annotations

from src.cloud.ecs_api import EcsApi
from src.cloud.facts import Machine
from src.cloud.network import Networks
from src.cloud.run_state import RunState
from src.schema import CloudConfig


class Leftovers:
    """What carries the tag or the name of a run, in every region that it may have used.

    Args:
        api: The cloud.
        state: The run's objects; its launches name regions that the configuration may not.
        networks: Of the run.
        cloud: Regions, and networks that are the user's own and stay.
    """

    def __init__(
        self, api: EcsApi, state: RunState, networks: Networks, cloud: CloudConfig
    ) -> None:
        self._api = api
        self._state = state
        self._networks = networks
        self._cloud = cloud

    def machines(self) -> list[Machine]:
        """Instances, in any state."""
        return [
            machine
            for region in self._regions()
            for machine in self._api.machines(region, self._cloud.run_name)
        ]

    def list_rest(self) -> list[str]:
        """Ids of stray disks and of networks."""
        return [
            item
            for region in self._regions()
            for item in (
                *self._api.leftover_disks(region, self._cloud.run_name),
                *self._networks.list_own(region),
            )
        ]

    def remove(self) -> list[str]:
        """Deletes stray disks and networks; returns their ids."""
        removed = []
        for region in self._regions():
            for disk in self._api.leftover_disks(region, self._cloud.run_name):
                self._api.delete_disk(region, disk)
                removed.append(disk)
            removed += self._networks.remove(region)
        return removed

    def _regions(self) -> list[str]:
        return sorted({*self._cloud.regions, *(launch.region for launch in self._state.launches())})
