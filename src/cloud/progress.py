"""How far a run is, from what its instances have reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.cloud.run_state import End, Launch, Status

_HOUR = 3600.0
_FAILURES = ("failed", "silent", "stopped")


def hours_left(statuses: Mapping[int, Status | None], expected_hours: float) -> float:
    """Hours of training on one instance until the end.

    From the speed that the run has shown on its instances, each of which began where the best one
    before had come to; from the configuration while nothing has been shown.

    Args:
        statuses: Last report of every launch, by number.
        expected_hours: Of the whole training.
    """
    best = gained = seconds = 0.0
    for number in sorted(statuses):
        status = statuses[number]
        if status is None:
            continue
        gained += max(status.progress - best, 0.0)
        seconds += status.training_seconds
        best = max(best, status.progress)
    if gained <= 0 or seconds <= 0:
        return expected_hours * (1 - best)
    return (1 - best) * seconds / gained / _HOUR


def failures_in_a_row(
    launches: Sequence[Launch], ends: Mapping[int, End], statuses: Mapping[int, Status | None]
) -> int:
    """How many of the last instances failed without getting further than those before them."""
    count, best = 0, 0
    for launch in launches:
        end, status = ends.get(launch.number), statuses.get(launch.number)
        if end is None or not end.instance_id:
            continue
        step = status.step if status is not None else 0
        has_failed = end.reason.startswith(_FAILURES)
        count = count + 1 if has_failed and step <= best else 0
        best = max(best, step)
    return count
