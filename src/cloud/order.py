"""Putting a run in order before anything new is done, whatever happened since the last look.

What is gone is accounted for, what was being asked for when a controller was killed is asked for
again, and what is too much is released. All of it follows from the bucket and the cloud's list.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from src.cloud.accounts import Accounts
from src.cloud.ecs_api import EcsApi
from src.cloud.facts import Machine
from src.cloud.launcher import Launcher
from src.cloud.leftovers import Leftovers
from src.cloud.policy import end_reason
from src.cloud.run_state import ENDED, End, Launch, RunState

_APPEARS_SECONDS = 120.0  # until a launched instance is listed
_REPEAT_SECONDS = 600.0  # after that a launch that is not listed has not happened

logger = logging.getLogger(__name__)


class Order:
    """The order of one run.

    Args:
        api: The cloud.
        state: The run's objects.
        run: Its name.
        launcher: Asks again for what was not answered.
        accounts: Settle what is gone.
        leftovers: Lists what lives.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        api: EcsApi,
        state: RunState,
        run: str,
        *,
        launcher: Launcher,
        accounts: Accounts,
        leftovers: Leftovers,
        now: Callable[[], float],
    ) -> None:
        self._api = api
        self._state = state
        self._run = run
        self._launcher = launcher
        self._accounts = accounts
        self._leftovers = leftovers
        self._now = now

    def restore(self, seen: Collection[str]) -> tuple[Machine | None, bool]:
        """The one instance that may live, and whether one is about to appear.

        Args:
            seen: Names of launches whose instance has been listed before.
        """
        machines = self._leftovers.machines()
        launches, ends = self._state.launches(), self._state.ends()
        ids = self._state.instance_ids()
        open_launches = [launch for launch in launches if launch.number not in ends]
        names = {launch.name for launch in open_launches}
        kept: Machine | None = None
        for machine in sorted(machines, key=lambda each: each.launch):
            if kept is None and machine.launch in names:
                kept = machine
                continue
            logger.warning("releasing %s: one instance is enough", machine.instance_id)
            self._api.delete_machine(machine.region, machine, self._run)
        listed = {machine.launch for machine in machines}
        pending = False
        for launch in open_launches:
            if launch.name not in listed:
                pending |= self._miss(launch, ids.get(launch.name), is_new=launch.name not in seen)
        if kept is not None and kept.launch not in ids:
            self._state.note_instance(by_name(open_launches, kept.launch), kept.instance_id)
        return kept, pending

    def _miss(self, launch: Launch, instance_id: str | None, *, is_new: bool) -> bool:
        """Deals with a launch whose instance is not listed; whether it may still appear."""
        age = self._now() - launch.requested_at
        if instance_id is None:
            if age > _REPEAT_SECONDS:
                self._state.settle(End(launch.number, "", "never came to be"))
                return False
            return self._launcher.ask(launch)
        status = self._state.status(launch.name)
        if status is None and age < _APPEARS_SECONDS and is_new:
            return True
        has_ended = status is not None and status.phase in ENDED
        reason = end_reason(status) if status is not None and has_ended else "reclaimed"
        self._accounts.settle(launch, instance_id, reason)
        return False


def by_name(launches: Sequence[Launch], name: str) -> Launch:
    """The launch of this name."""
    return next(launch for launch in launches if launch.name == name)
