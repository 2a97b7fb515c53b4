"""Retention as tables: which steps a sequence of saves leaves behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.checkpoint.policy import checkpoints_to_delete


@pytest.mark.parametrize(
    ("steps", "keep_last", "best_step", "keep_every", "deleted"),
    [
        ([], 1, None, None, []),
        ([100], 1, None, None, []),
        ([100, 200, 300], 3, None, None, []),
        ([100, 200, 300], 1, None, None, [100, 200]),
        ([300, 100, 200], 2, None, None, [100]),
        ([100, 200, 300], 1, 100, None, [200]),
        ([100, 200, 300], 1, 300, None, [100, 200]),
        ([200, 300], 1, 100, None, [200]),
        ([100, 200, 300, 400, 500], 1, None, 200, [100, 300]),
        ([100, 200, 300, 400, 500], 1, 300, 200, [100]),
        ([0, 50, 100], 1, None, 100, [50]),
        ([100, 100, 200], 1, None, None, [100]),
    ],
)
def test_policy_deletes_what_no_rule_keeps(
    steps: list[int],
    keep_last: int,
    best_step: int | None,
    keep_every: int | None,
    deleted: list[int],
) -> None:
    assert (
        checkpoints_to_delete(
            steps, keep_last=keep_last, best_step=best_step, keep_every=keep_every
        )
        == deleted
    )


def test_a_run_of_saves_leaves_the_last_the_best_and_the_milestones() -> None:
    best_at = {3: 3, 4: 4, 9: 9}
    alive: list[int] = []
    best = None
    for step in range(1, 13):
        alive.append(step)
        best = best_at.get(step, best)
        for gone in checkpoints_to_delete(alive, keep_last=2, best_step=best, keep_every=5):
            alive.remove(gone)
    assert alive == [5, 9, 10, 11, 12]


@given(
    steps=st.sets(st.integers(0, 1000)),
    keep_last=st.integers(1, 5),
    best_step=st.none() | st.integers(0, 1000),
    keep_every=st.none() | st.integers(1, 100),
)
def test_newest_and_best_survive_and_a_second_round_deletes_nothing(
    steps: set[int], keep_last: int, best_step: int | None, keep_every: int | None
) -> None:
    deleted = checkpoints_to_delete(
        steps, keep_last=keep_last, best_step=best_step, keep_every=keep_every
    )
    kept = steps - set(deleted)
    assert set(deleted) <= steps
    assert set(sorted(steps)[-keep_last:]) <= kept
    assert best_step not in deleted
    again = checkpoints_to_delete(
        kept, keep_last=keep_last, best_step=best_step, keep_every=keep_every
    )
    assert again == []


def test_keeping_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_last=0; keep at least 1"):
        checkpoints_to_delete([1], keep_last=0)
    with pytest.raises(ValueError, match="keep_every=0; give a number of steps from 1 on"):
        checkpoints_to_delete([1], keep_last=1, keep_every=0)
