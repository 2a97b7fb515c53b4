"""Which checkpoints may go: a pure function of the steps that exist.

Kept are the last K, every Nth step for good, and the best one; the rules add up. Nothing here
touches a disk, so retention is tested as a table.
"""

from __future__ import annotations

from collections.abc import Iterable


def checkpoints_to_delete(
    steps: Iterable[int],
    *,
    keep_last: int,
    best_step: int | None = None,
    keep_every: int | None = None,
) -> list[int]:
    """The steps that no rule keeps, oldest first.

    Args:
        steps: Steps of the checkpoints that exist, in any order.
        keep_last: How many of the newest stay, at least 1: the newest is what a resume needs.
        best_step: Stays besides the newest; it need not exist.
        keep_every: Steps divisible by this stay for good; None: there are no such steps.

    Raises:
        ValueError: If keep_last or keep_every is below 1.
    """
    if keep_last < 1:
        raise ValueError(f"keep_last={keep_last}; keep at least 1, or nothing can be resumed")
    if keep_every is not None and keep_every < 1:
        raise ValueError(f"keep_every={keep_every}; give a number of steps from 1 on, or None")
    ordered = sorted(set(steps))
    kept = {*ordered[-keep_last:], best_step}
    if keep_every is not None:
        kept.update(step for step in ordered if step % keep_every == 0)
    return [step for step in ordered if step not in kept]
