"""The interval between saves against the expected length of a run, computed by brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.checkpoint.interval import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    observed_mean_uptime,
    save_interval,
    young_daly_interval,
)


def expected_length(interval, stall, uptime):
    """Time per second of work with exponential failures (Daly 2006, eq. 20, without restarts)."""
    return uptime * np.expm1((interval + stall) / uptime) / interval


@pytest.mark.parametrize(("stall", "uptime"), [(1, 3600), (30, 3600), (60, 86_400), (300, 1800)])
def test_no_other_interval_gives_a_shorter_run(stall, uptime):
    best = young_daly_interval(stall, uptime)
    candidates = np.geomspace(stall / 10, uptime * 3, 4000)
    shortest = expected_length(candidates, stall, uptime).min()
    assert expected_length(best, stall, uptime) == pytest.approx(shortest, rel=1e-3)


def test_short_stalls_give_young_and_long_ones_the_mean_uptime():
    assert young_daly_interval(0.01, 36_000) == pytest.approx(
        math.sqrt(2 * 0.01 * 36_000), rel=1e-3
    )
    assert young_daly_interval(100, 40) == 40
    assert young_daly_interval(0, 100) == 0


@given(st.floats(0, 1e5), st.floats(1, 1e7))
def test_bounds_hold_and_saving_takes_a_tenth_at_most(stall, uptime):
    seconds = save_interval(stall, uptime)
    assert seconds >= SHORTEST_SECONDS
    assert seconds <= max(LONGEST_SECONDS, 10 * stall)
    assert stall <= 0.1 * seconds * (1 + 1e-9)


def test_mean_uptime_starts_with_an_expectation_and_follows_what_is_seen():
    assert observed_mean_uptime(0, 0) == 4 * 3600
    assert observed_mean_uptime(100 * 3600, 0) == 104 * 3600
    assert observed_mean_uptime(100 * 3600, 99) == pytest.approx(1.04 * 3600)


@pytest.mark.parametrize(("stall", "uptime"), [(-1, 10), (1, 0), (math.nan, 10), (1, math.nan)])
def test_impossible_numbers_are_refused(stall, uptime):
    with pytest.raises(ValueError, match="mean up-time"):
        young_daly_interval(stall, uptime)
