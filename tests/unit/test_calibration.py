"""Expected calibration error against cases worked out by hand, and what must hold always."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.calibration import BINS, calibrate, reliability_plot


def of(pairs):
    confidence, correct = zip(*pairs, strict=True)
    return calibrate(np.array(confidence, dtype=np.float32), np.array(correct, dtype=np.bool_))


def test_error_is_the_weighted_distance_of_the_bins():
    # 4 tokens at 0.9, half right: distance 0.4; 1 token at 0.3, right: distance 0.7.
    found = of([(0.9, True), (0.9, True), (0.9, False), (0.9, False), (0.3, True)])
    assert found.error == pytest.approx((4 * 0.4 + 0.7) / 5)
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.confidence == pytest.approx((4 * 0.9 + 0.3) / 5)
    assert [part.count for part in found.bins if part.count] == [1, 4]


def test_a_bin_holds_its_upper_edge():
    edge = 1 / BINS
    found = of([(edge, True), (0.0, False), (1.0, True)])
    assert found.bins[0].count == 2
    assert found.bins[-1].count == 1


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60))
def test_error_lies_between_the_distance_of_the_means_and_one(pairs):
    found = of(pairs)
    assert sum(part.count for part in found.bins) == len(pairs)
    assert abs(found.accuracy - found.confidence) - 1e-6 <= found.error <= 1.0
    ElementTree.fromstring(reliability_plot(found, "a & <b>"))  # noqa: S314 - our own


def test_plot_says_its_numbers_to_people_who_hear_the_page():
    plot = reliability_plot(of([(0.8, True), (0.8, False)]), "student")
    label = ElementTree.fromstring(plot).attrib["aria-label"]  # noqa: S314 - our own
    assert label == (
        "student: expected calibration error 30.0 %, mean confidence 80.0 %, accuracy 50.0 %"
    )
