"""What a full run would take, from a short one."""

import pytest

from src.training.forecast import FullRun, Pace, full_run


def pace(steps, evaluations=()):
    result = Pace()
    for seconds in steps:
        result.add_step(seconds)
    for seconds in evaluations:
        result.add_evaluation(seconds)
    return result


def test_first_step_is_left_out_and_evaluations_are_counted():
    forecast = full_run(pace([9.0, 2.0, 4.0], [30.0, 10.0]), steps=100, epochs=2, eval_steps=30)
    assert forecast is not None
    assert forecast.step_seconds == pytest.approx(3.0)
    assert forecast.seconds == pytest.approx(100 * 3.0 + 4 * 20.0)  # after 30, 60, 90 and 100


def test_a_single_step_is_better_than_nothing_and_none_is_none():
    only = full_run(pace([5.0]), steps=10, epochs=1, eval_steps=5)
    assert only is not None
    assert only.seconds == pytest.approx(50.0)
    assert full_run(pace([]), steps=10, epochs=1, eval_steps=5) is None


def test_the_line_names_steps_time_epochs_and_rate():
    line = FullRun(steps=105_300, seconds=44_226, epochs=3, step_seconds=0.42).in_words(10)
    assert line == (
        "max_steps=10 ended this run; all 3 epochs would take 105,300 steps and 12 h 17 min, "
        "4 h 05 min each, at the measured 0.42 s a step"
    )
    once = FullRun(steps=100, seconds=42, epochs=1, step_seconds=0.42)
    assert once.in_words(10) == (
        "max_steps=10 ended this run; the whole epoch would take 100 steps and 42 s, at the "
        "measured 0.42 s a step"
    )
    assert once.as_json()["hours"] == pytest.approx(42 / 3600)
