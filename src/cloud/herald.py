"""What people are told of a run: every event once, whichever controller is there to tell it.

An event is something that the state of the run shows: an instance came, an instance is gone, the
run was asked to stop, it has ended. Telling one is claimed in the bucket first, so that of two
controllers one tells it, and a controller that was killed between an event and its telling leaves
it to its successor. Only one that is killed between the claim and the alert takes it along.
"""

from __future__ import annotations

from src.cloud.run_state import ENDED_EVENT, End, Launch, RunState, new_nonce
from src.errors import EXIT_DONE
from src.monitoring.alert import Alert
from src.units import format_seconds


class Herald:
    """Tells the events of one run.

    Args:
        state: Of the run.
        alert: Told of events: kind and text.
    """

    def __init__(self, state: RunState, alert: Alert) -> None:
        self._state = state
        self._alert = alert
        self._told: set[str] | None = None
        self._name = new_nonce()

    def tell(self) -> None:
        """Tells every event that the state shows and nobody has told.

        Raises:
            StoreError: The bucket is away; what is owed is told by the next call.
        """
        launches, ids, ends = self._state.launches(), self._state.instance_ids(), self._state.ends()
        for launch in launches:
            if launch.name in ids:
                self._begun(launch)
            end = ends.get(launch.number)
            if end is not None and end.instance_id:
                self._gone(launch, end)
        reason = self._state.stop_reason()
        if reason is not None and launches:
            self._stopping(launches[-1], reason)
        finished = self._state.finished()
        if finished is not None:
            self._ended(*finished)

    def reclaimed(self, launch: Launch, instance_id: str) -> None:
        """Tells what only the cloud shows: that it takes an instance back."""
        text = f"{instance_id} will be taken away within 5 minutes"
        self._once(f"reclaimed-{launch.name}", "notice", text)

    def _begun(self, launch: Launch) -> None:
        market = launch.market.replace("_", "-")
        text = f"instance {launch.number}: {launch.instance_type}, {market}"
        self._once(f"begun-{launch.name}", "started" if launch.number == 1 else "resumed", text)

    def _gone(self, launch: Launch, end: End) -> None:
        """Of an instance that the controller released only what failed is news."""
        if not end.is_released:
            text = f"{end.instance_id} in {launch.zone} is gone after {life_of(end)}"
            self._once(f"gone-{launch.name}", "notice", text)
        elif end.reason.startswith(("failed", "silent")):
            text = f"instance {launch.number} is given up, {end.reason}; the run goes on"
            self._once(f"gone-{launch.name}", "failed", text)

    def _stopping(self, launch: Launch, reason: str) -> None:
        self._once(f"stopping-{launch.name}", "budget" if "budget" in reason else "notice", reason)

    def _ended(self, exit_code: int, reason: str) -> None:
        kind = "finished" if exit_code == EXIT_DONE else "failed"
        self._once(ENDED_EVENT, "budget" if "budget" in reason else kind, reason)

    def _once(self, event: str, kind: str, text: str) -> None:
        if self._told is None:
            self._told = self._state.told()
        if event in self._told:
            return
        is_ours = self._state.claim_telling(event, self._name)
        self._told.add(event)  # not before: a claim that the bucket did not take is made again
        if is_ours:
            self._alert(kind, text)


def life_of(end: End) -> str:
    """How long an instance lived, in words."""
    return format_seconds(end.ended_at - end.started_at)
