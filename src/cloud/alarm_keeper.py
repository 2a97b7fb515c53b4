"""The cloud's own alarms for whatever instance a run has now; see `src.cloud.alarms`."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from src.cloud.alarms import CloudMonitor, put_alarms, remove_alarms
from src.cloud.facts import Machine
from src.errors import CloudError

_TRIES = 5

logger = logging.getLogger(__name__)


class AlarmKeeper:
    """Puts the alarms of a run on each new instance, and removes them at the end.

    An alarm is a help, not a condition: what CloudMonitor refuses is said, and the run goes on.

    Args:
        monitor: CloudMonitor.
        run: Name of the run.
        contact_group: Who is told; None puts no alarms.
    """

    def __init__(self, monitor: CloudMonitor, run: str, contact_group: str | None) -> None:
        self._monitor = monitor
        self._run = run
        self._contact_group = contact_group
        self._tries: dict[str, int] = {}

    def keep(self, machine: Machine) -> None:
        """Sees to it that a running instance has its alarms."""
        tries = self._tries.get(machine.instance_id, 0)
        if self._contact_group is None or machine.status != "Running" or tries >= _TRIES:
            return
        try:
            put_alarms(
                self._monitor,
                region=machine.region,
                run=self._run,
                instance_id=machine.instance_id,
                contact_group=self._contact_group,
            )
        except CloudError as error:
            self._tries[machine.instance_id] = tries + 1
            if tries + 1 == _TRIES:
                logger.warning("%s has no alarms: %s", machine.instance_id, error)
            return
        self._tries[machine.instance_id] = _TRIES

    def remove(self, regions: Iterable[str]) -> None:
        """Removes the alarms of the run."""
        if self._contact_group is None:
            return
        for region in regions:
            try:
                remove_alarms(self._monitor, region=region, run=self._run)
            except CloudError as error:
                logger.warning("the alarms of %s in %s are left: %s", self._run, region, error)
