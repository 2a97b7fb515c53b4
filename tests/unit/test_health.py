"""Judging a step: what is found, what is skipped, and that a saved record judges alike."""

import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from src.schema import HealthConfig
from src.training.health import HealthRecord, Measures, judge
from src.training.state import TrainingState

CONFIG = HealthConfig(window=30, min_steps=10)
USUAL = Measures(loss=2.0, gradient_norm=1.0, rate=1e-3, scheduled_rate=1e-3, peak_rate=1e-3)


def after(steps):
    record = HealthRecord()
    for _ in range(steps):
        assert judge(USUAL, record, CONFIG).is_good
    return record


@pytest.mark.parametrize(
    ("change", "fault", "is_good"),
    [
        ({"loss": math.nan}, "not_finite", False),
        ({"loss": math.inf}, "not_finite", False),
        ({"gradient_norm": math.nan}, "not_finite", False),
        ({"loss": 6.1}, "loss_spike", True),
        ({"loss": 20.1}, "loss_spike", False),
        ({"gradient_norm": 10.1}, "gradient_explosion", True),
        ({"rate": 2e-3}, "learning_rate", True),
        ({"rate": 2e-3, "scheduled_rate": 2e-3}, "learning_rate", True),
        ({"rate": math.nan, "scheduled_rate": math.nan}, "learning_rate", False),
        ({"rate": -1e-3, "scheduled_rate": -1e-3}, "learning_rate", False),
    ],
)
def test_each_fault_is_found_and_named(change, fault, is_good):
    judgement = judge(replace(USUAL, **change), after(10), CONFIG)
    assert [finding.fault for finding in judgement.findings] == [fault]
    assert judgement.is_good is is_good
    assert judgement.is_news


@pytest.mark.parametrize("change", [{"loss": 5.9}, {"gradient_norm": 9.9}, {"loss": 0.01}])
def test_what_is_within_the_limits_is_not_mentioned(change):
    assert not judge(replace(USUAL, **change), after(10), CONFIG).findings


def test_too_little_history_says_nothing_about_spikes():
    assert judge(replace(USUAL, loss=1e6), after(9), CONFIG).is_good


@given(st.lists(st.floats(0.01, 2.0), min_size=20, max_size=80))
def test_hard_batches_of_a_learned_corpus_are_no_spikes(losses):
    """Windows are sorted by length: where most is learned, long pairs are many times the usual."""
    record = HealthRecord()
    for loss in losses:
        judgement = judge(replace(USUAL, loss=loss), record, CONFIG)
        assert judgement.is_good
        assert not judgement.findings


def test_a_rate_that_more_than_doubles_is_reported_though_the_schedule_says_so():
    record = after(10)
    jump = replace(USUAL, rate=2.5e-3, scheduled_rate=2.5e-3, peak_rate=1e-2)
    (finding,) = judge(jump, record, CONFIG).findings
    assert finding.message == "learning rate 0.0025 is 2.5 times the step before"


def test_overflow_of_scaled_gradients_is_skipped_without_being_sick():
    record = after(10)
    overflow = replace(USUAL, gradient_norm=math.inf, may_overflow=True)
    for _ in range(20):
        judgement = judge(overflow, record, CONFIG)
        assert not judgement.is_good
        assert not judgement.findings
    assert (record.skipped, record.skipped_in_a_row) == (20, 0)
    assert judge(replace(overflow, loss=math.nan), record, CONFIG).findings


def test_only_the_first_of_a_row_is_news():
    record = after(10)
    spike = replace(USUAL, loss=7.0)
    assert [judge(spike, record, CONFIG).is_news for _ in range(3)] == [True, False, False]
    assert not judge(USUAL, record, CONFIG).findings
    assert judge(replace(spike, loss=8.0), record, CONFIG).is_news


def test_counts_after_a_rollback_are_those_of_the_run():
    past = after(12)
    for _ in range(5):
        judge(replace(USUAL, loss=math.nan), past, CONFIG)
    past.passed_over = [3]
    restored = after(10)
    restored.after_rollback(past, step=17, target=10, factor=0.5)
    assert restored.passed_over == [3, 12, 13, 14, 15, 16]
    assert restored.rolled_back_to == [10]
    assert (restored.skipped, restored.skipped_in_a_row) == (5, 0)
    assert restored.learning_rate_factor == 0.5
    assert restored.losses == [2.0] * 10


losses = st.one_of(st.floats(0.1, 100), st.sampled_from([math.nan, math.inf]))


@given(st.lists(st.tuples(losses, losses, st.floats(0, 1e-2)), max_size=60), st.integers(0, 60))
def test_a_saved_and_restored_record_judges_as_the_old_one(steps, saved_after):
    """At any moment, through JSON, as a resumed run does."""
    straight, record = TrainingState(), TrainingState()
    for index, (loss, norm, rate) in enumerate(steps):
        if index == saved_after:
            record = TrainingState.from_json(json.dumps(json.loads(record.to_json())))
        measures = Measures(loss, norm, rate, scheduled_rate=rate, peak_rate=1e-2)
        expected = judge(measures, straight.health, CONFIG)
        assert judge(measures, record.health, CONFIG) == expected
    assert asdict(record) == asdict(straight)


@given(st.lists(losses, min_size=1, max_size=200))
def test_memory_is_bounded_and_skipped_steps_leave_no_trace_in_it(values):
    record = HealthRecord()
    for value in values:
        before = list(record.losses)
        if not judge(replace(USUAL, loss=value), record, CONFIG).is_good:
            assert record.losses == before
    assert len(record.losses) <= CONFIG.window
    assert all(map(math.isfinite, record.losses))
    assert record.skipped <= len(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"spike_report": 20.0}, "spike_report=20 is above spike_skip=10"),
        ({"window": 5}, "min_steps=20 is more than window=5"),
    ],
)
def test_contradictory_limits_are_refused_with_both_values(values, words):
    with pytest.raises(ValidationError, match=words):
        HealthConfig(**values)
