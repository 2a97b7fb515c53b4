"""Loops in token rows: found when long enough, cut to their first copy, else left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.loops import (
    LONGEST_LOOP,
    LOOP_REPEATS,
    LOOP_TOKENS,
    loop_lengths,
    without_loop,
)


def found(tokens: list[int]) -> int:
    return int(loop_lengths(np.array([tokens], dtype=np.int64))[0])


@pytest.mark.parametrize(
    ("repeated", "copies", "expected"),
    [
        ([7], LOOP_TOKENS, 1),
        ([7], LOOP_TOKENS - 1, 0),
        ([1, 2], LOOP_TOKENS // 2, 2),
        ([1, 2, 3], 11, 3),
        ([1, 2, 3], 10, 0),
        (list(range(10)), LOOP_REPEATS, 10),
        (list(range(10)), LOOP_REPEATS - 1, 0),
        (list(range(LONGEST_LOOP)), LOOP_REPEATS, LONGEST_LOOP),
        (list(range(LONGEST_LOOP + 1)), 2 * LOOP_REPEATS, 0),
    ],
)
def test_loop_is_found_from_its_stated_length_on(repeated, copies, expected):
    assert found([99, 98] + repeated * copies) == expected


def test_loop_must_stand_at_the_end():
    assert found([7] * LOOP_TOKENS + [8]) == 0


def test_rows_are_judged_apart():
    rows = np.array([[5] * 40, list(range(40)), [1, 2] * 20], dtype=np.int64)
    assert loop_lengths(rows).tolist() == [1, 0, 2]


def test_no_tokens_are_no_loop():
    assert loop_lengths(np.empty([3, 0], dtype=np.int64)).tolist() == [0, 0, 0]


def test_a_row_without_loop_stays_whole():
    assert without_loop(np.array([1, 2, 3]), 0) == [1, 2, 3]


@given(
    start=st.lists(st.integers(100, 200), max_size=6, unique=True),
    length=st.integers(1, LONGEST_LOOP),
)
def test_a_growing_loop_is_cut_to_its_start_and_one_copy(start, length):
    repeated = list(range(length))
    row = list(start)
    while found(row) == 0:  # as decoding does: ask after every token
        row.append(repeated[(len(row) - len(start)) % length])
        assert len(row) < 1000
    assert found(row) == length
    kept = without_loop(np.array(row), length)
    assert kept[: len(start)] == start
    assert sorted(kept[len(start) :]) == repeated
