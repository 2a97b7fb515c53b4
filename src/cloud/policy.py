"""What to do next with a run: one pure function from what is known to one action.

No clock, no cloud, no memory: everything it may look at is in `View`, so every rule (budget,
deadline, off-peak window, failures, requests to stop) can be tried without renting anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from src.cloud.facts import ON_DEMAND, SPOT, Machine
from src.cloud.off_peak import OffPeak
from src.cloud.run_state import ENDED, Status
from src.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from src.schema import CloudConfig

_HOUR = 3600.0
_DEADLINE_MARGIN = 1.1  # of the work that is left
OFF_PEAK = "outside cloud.off_peak"
BUDGET = "cloud.budget is used up"


@dataclass(frozen=True)
class View:
    """What is known of a run at one moment.

    Attributes:
        now: Seconds since 1970.
        started_at: Of the run.
        machine: The instance that lives, if one does.
        status: Its last report, or that of the last instance when none lives.
        silent_seconds: Since the living instance reported something new, or was launched.
        stopping_seconds: Since it was asked to stop; None if it was not.
        stop_reason: Why the run is asked to stop; None if it is not.
        spent: CNY so far, the living instance included.
        hourly: CNY per hour that the living instance costs, or the next one would.
        hours_left: Of training, on one instance.
        failures: Instances in a row that ended in failure without getting further.
        last_code: Exit code of the last training that failed; None if it did not.
        is_pending: Whether an instance was launched that the cloud does not list yet.
    """

    now: float
    started_at: float
    machine: Machine | None
    status: Status | None
    silent_seconds: float
    stopping_seconds: float | None
    stop_reason: str | None
    spent: float
    hourly: float
    hours_left: float
    failures: int
    last_code: int | None
    is_pending: bool = False


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: launch an instance; keep things as they are; ask the instance to save and end; take
            that request back; release the instance; or end the run.
        reason: Why, for people.
        market: For a launch, "spot" or "on_demand".
        exit_code: For the end.
    """

    kind: Literal["launch", "wait", "stop", "resume", "release", "finish"]
    reason: str = ""
    market: str = SPOT
    exit_code: int = EXIT_DONE


def next_action(view: View, cloud: CloudConfig) -> Action:
    """The action that the view asks for."""
    if view.machine is not None:
        return _with_machine(view, view.machine, cloud)
    return _without_machine(view, cloud)


def in_window(now: float, window: str | None, zone: str) -> bool:
    """Whether a moment lies in hours of the day like "22:00-06:00"; always, without a window."""
    if window is None:
        return True
    moment = datetime.fromtimestamp(now, timezone.utc)
    return OffPeak.parse(window, zone).contains(moment)


def market_for(view: View, cloud: CloudConfig) -> str:
    """Spot, until only an instance that nobody takes away can meet the deadline."""
    if cloud.deadline_hours is None:
        return SPOT
    hours = cloud.deadline_hours - (view.now - view.started_at) / _HOUR
    restart = cloud.restart_minutes / 60
    # Room for one more spot instance that is lost, and the on-demand one after it.
    needed = view.hours_left * _DEADLINE_MARGIN + 2 * restart
    return SPOT if hours > needed else ON_DEMAND


def is_budget_used_up(view: View, cloud: CloudConfig) -> bool:
    """Whether what is left pays for no more than saving and ending."""
    if cloud.budget is None:
        return False
    reserve_hours = (cloud.stop_minutes * 60 + 2 * cloud.poll_seconds) / _HOUR
    return view.spent + view.hourly * reserve_hours >= cloud.budget


def _with_machine(view: View, machine: Machine, cloud: CloudConfig) -> Action:
    reason = _reason_to_release(view, machine, cloud)
    if reason:
        return Action("release", reason)
    if view.stop_reason is None:
        if is_budget_used_up(view, cloud):
            return Action("stop", BUDGET)
        if not in_window(view.now, cloud.off_peak, cloud.timezone):
            return Action("stop", OFF_PEAK)
    return Action("wait")


def _reason_to_release(view: View, machine: Machine, cloud: CloudConfig) -> str:
    """Why the living instance is of no use any more; empty while it is."""
    status = view.status
    if status is not None and status.phase in ENDED:
        return end_reason(status)
    if machine.status in ("Stopping", "Stopped"):
        return "reclaimed" if machine.is_being_reclaimed else "stopped"
    if view.silent_seconds > cloud.silence_minutes * 60:
        return f"silent for {view.silent_seconds / 60:.0f} min"
    if view.stopping_seconds is not None and view.stopping_seconds > cloud.stop_minutes * 60:
        return view.stop_reason or "asked to stop"
    return ""


def _without_machine(view: View, cloud: CloudConfig) -> Action:
    end = _end_of_run(view, cloud)
    if end is not None:
        return end
    if view.is_pending:
        return Action("wait", "the instance is about to appear")
    if not in_window(view.now, cloud.off_peak, cloud.timezone):
        return Action("wait", OFF_PEAK)
    if view.stop_reason == OFF_PEAK:
        return Action("resume", "the off-peak window opens")
    return Action("launch", market=market_for(view, cloud))


def _end_of_run(view: View, cloud: CloudConfig) -> Action | None:
    """The end, if there is a reason for one."""
    status = view.status
    message = f": {status.message}" if status is not None and status.message else ""
    if status is not None and status.phase == "done":
        return Action("finish", "done", exit_code=EXIT_DONE)
    if view.last_code == EXIT_USAGE:
        reason = f"the training refuses to start{message}"
        return Action("finish", reason, exit_code=EXIT_USAGE)
    if view.failures >= cloud.max_failures:
        reason = f"{view.failures} instances in a row got no further{message}"
        return Action("finish", reason, exit_code=EXIT_FAILED)
    reason = BUDGET if is_budget_used_up(view, cloud) else ""
    if view.stop_reason not in (None, OFF_PEAK):
        reason = str(view.stop_reason)
    if reason and not view.is_pending:
        return Action("finish", reason, exit_code=EXIT_INTERRUPTED)
    return None


def end_reason(status: Status) -> str:
    """Why an instance whose work has ended is of no use any more."""
    if status.phase == "failed":
        return f"failed with exit code {status.exit_code}"
    return str(status.phase)
