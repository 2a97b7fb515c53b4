"""What the student's section refuses, and what its schedules mean."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from src.distillation.schedule import Line, schedule_of
from src.schema import Config, StudentConfig
from src.tokens.stream import POSITION

REFUSED = {
    "alpha above one": ({"distillation_alpha": 1.1}, "less than or equal to 1"),
    "alpha below zero": ({"distillation_alpha": -0.1}, "greater than or equal to 0"),
    "no temperature": ({"temperature": 0}, "greater than or equal to 0.01"),
    "no number of a temperature": ({"temperature": 1e30}, "less than or equal to 100"),
    "nothing drawn": (
        {"kd_method": "sampled_tail", "kd_top_k": 1},
        "kd_method=sampled_tail has no room to draw with kd_top_k=1",
    ),
    "steps missing": ({"temperature_end": 1}, "temperature_end=1 needs kd_schedule_steps"),
    "nothing to move": ({"kd_schedule_steps": 5}, "kd_schedule_steps=5 has nothing to move"),
    "moving cached": (
        {"kd_mode": "cached", "temperature_end": 1, "kd_schedule_steps": 5},
        "kd_mode=cached holds distributions at one temperature",
    ),
    "another divergence cached": (
        {"kd_mode": "cached", "kd_divergence": "jsd"},
        "kd_divergence=jsd needs the teacher's whole distribution",
    ),
    "targets without teacher": (
        {"kd_mode": "none", "kd_targets": "teacher"},
        "set kd_mode=sequence",
    ),
    "whole mixture": ({"kd_mixture": 1.0}, "less than 1"),
}


@pytest.mark.parametrize(("keys", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_contradictions_are_refused_by_name(keys, message):
    with pytest.raises(ValidationError, match=message):
        StudentConfig(**keys)


def test_every_stage_has_a_folder_of_its_own():
    for keys, words in (
        (
            {"student": {"output_dir": "models/teacher"}},
            "teacher.output_dir and student.output_dir",
        ),
        ({"data": {"output_dir": "models/./student"}}, "data.output_dir and student.output_dir"),
        ({"student": {"teacher": "models/student/final"}}, "one in the other"),
        ({"student": {"teacher": "t", "output_dir": "t/final"}}, "one in the other"),
    ):
        with pytest.raises(ValidationError, match=words):
            Config.model_validate(keys)
    Config.model_validate({"student": {"teacher": "models/teacher/final"}})


def test_the_keys_of_old_configurations_mean_what_they_did():
    section = StudentConfig(distillation_alpha=0.7, temperature=3.0)
    assert section.kd_mode == "online"
    assert not section.learns_from_translations
    assert StudentConfig(kd_mode="sequence").learns_from_translations


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 1000), st.integers(0, 3000))
def test_a_line_starts_ends_and_stays_between(first, last, steps, step):
    line = Line(first, last, steps)
    assert line.at(0) == first
    assert line.at(steps + step) == pytest.approx(last)
    assert min(first, last) - 1e-9 <= line.at(step) <= max(first, last) + 1e-9


def test_the_position_in_the_stream_decides():
    section = StudentConfig(
        distillation_alpha=0.8,
        distillation_alpha_end=0.2,
        temperature=3,
        temperature_end=1,
        kd_schedule_steps=4,
    )
    schedule = schedule_of(section)
    assert schedule.at({}) == (0.8, 3)  # the trial run before step 0
    at = {step: {POSITION: paddle.to_tensor(np.array([step]))} for step in (0, 1, 4, 9)}
    assert schedule.at(at[0]) == (0.8, 3)
    assert schedule.at(at[1]) == pytest.approx((0.65, 2.5))
    assert schedule.at(at[4]) == schedule.at(at[9]) == pytest.approx((0.2, 1))
    assert not schedule.is_constant
    assert schedule_of(StudentConfig()).is_constant
