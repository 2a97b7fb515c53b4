"""What the strategies are made of: the first rows by a key, threads in order, the threshold."""

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.sampling.coverage_table import Decisions
from src.corpus.sampling.pool import in_order
from src.corpus.sampling.ranking import FirstRows, ascending_bits, find_cut
from src.corpus.sampling.steering import Steering


def test_few_tasks_are_begun_ahead_of_what_is_taken() -> None:
    begun: list[int] = []

    def work(task: int) -> int:
        begun.append(task)
        return task * task

    results = in_order(work, range(50), workers=2)
    for taken in range(50):
        assert next(results) == taken * taken
        assert len(begun) <= taken + 1 + 2 + 1
    assert sorted(begun) == list(range(50))


@given(
    blocks=st.lists(
        st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=20), min_size=1, max_size=5
    ),
    data=st.data(),
)
def test_the_first_rows_are_those_of_a_sort(blocks: list[list[int]], data: Any) -> None:
    keys = [np.array(block, np.uint64) for block in blocks]
    everything = sorted(itertools.chain(*blocks))
    if not everything:
        return
    size = data.draw(st.integers(1, len(everything)))
    cut = find_cut(keys.__getitem__, len(keys), size)
    assert int(cut.key) == everything[size - 1]
    assert cut.below == sum(key < cut.key for key in everything)
    assert cut.equal == everything.count(int(cut.key))
    first = FirstRows(cut, size)
    chosen = [block[first.mask(block)] for block in keys]
    assert sorted(np.concatenate(chosen).tolist()) == everything[:size]


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_bits_of_scores_ascend_as_the_scores(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    bits = ascending_bits(scores)
    assert ((bits[:, None] < bits) == (scores[:, None] < scores)).all()
    assert ((bits[:, None] == bits) == (scores[:, None] == scores)).all()


def test_the_threshold_meets_the_size_though_worth_falls() -> None:
    rng = np.random.default_rng(0)
    steering = Steering(100_000, 20_000)
    kept = seen = 0
    while seen < 100_000:
        count = min(steering.left_in_window, 100_000 - seen)
        levels = (rng.gamma(4, 300, count) * (1 - 0.6 * seen / 100_000)).astype(np.int64)
        levels = np.minimum(levels, 2047)
        if not steering.has_begun:
            steering.begin(levels)
        is_kept = levels > steering.threshold.level
        steering.add(Decisions(levels, is_kept))
        kept, seen = kept + int(is_kept.sum()), seen + count
    assert abs(kept - 20_000) < 200
