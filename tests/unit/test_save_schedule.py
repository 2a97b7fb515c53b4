"""When a save is due: every so many steps, or by what saves cost and how long machines last."""

from itertools import pairwise

import pytest

from src.checkpoint.interval import observed_mean_uptime, save_interval
from src.training.forecast import Pace
from src.training.parallel import ALONE
from src.training.save_schedule import SaveSchedule
from src.training.state import TrainingState

STEP_SECONDS = 4.0


def run_steps(setting, state, steps, stall=0.5):
    """Steps after which a save was due; each save stalls for so long."""
    pace = Pace()
    schedule = SaveSchedule(setting, ranks=ALONE, pace=pace)
    saved = []
    for _ in range(steps):
        state.step += 1
        state.seconds += STEP_SECONDS
        pace.add_step(STEP_SECONDS)
        if schedule.is_due(state):
            saved.append(state.step)
            schedule.saved(state, stall)
    return saved


def test_a_number_means_every_so_many_steps():
    assert run_steps(10, TrainingState(), 35) == [10, 20, 30]


@pytest.mark.parametrize("stall", [0.1, 2.0, 30.0])
def test_auto_settles_at_the_interval_that_loses_least(stall):
    state = TrainingState(starts=1)
    saved = run_steps("auto", state, 2000, stall)
    gaps = [later - earlier for earlier, later in pairwise(saved)]
    best = save_interval(stall, observed_mean_uptime(state.seconds, 0)) / STEP_SECONDS
    assert gaps[-1] == pytest.approx(best, rel=0.15)
    assert state.stall_seconds == stall


def test_machines_that_go_often_are_saved_more_often():
    steady = run_steps("auto", TrainingState(starts=1, seconds=36_000.0), 3000, 20.0)
    shaky = run_steps("auto", TrainingState(starts=40, seconds=36_000.0), 3000, 20.0)
    assert len(shaky) > 2 * len(steady)


def test_nothing_is_saved_before_steps_were_timed():
    state = TrainingState(starts=1)
    assert run_steps("auto", state, 4) == []
    assert state.next_save_step == 0
