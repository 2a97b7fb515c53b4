"""When a checkpoint is due: every so many steps, or as often as loses least time.

With `save_steps: auto` the main rank works out the interval (`src.checkpoint.interval`) from what
was measured: how long the last save held training up, how long a step takes, and how long this
run's machines have stayed up between interruptions. The other ranks are told the number of steps,
so all save at the same one.
"""

from __future__ import annotations

import logging
from typing import Literal

from src.checkpoint.interval import observed_mean_uptime, save_interval
from src.training.forecast import Pace
from src.training.parallel import Ranks
from src.training.state import TrainingState
from src.units import format_seconds

logger = logging.getLogger(__name__)

# Steps that must be timed before an interval in seconds can be turned into steps.
_LEAST_STEPS = 5
# Of the first save, before any was measured.
_EXPECTED_STALL_SECONDS = 1.0


class SaveSchedule:
    """Decides for one process; what it must remember is in the training state.

    Args:
        setting: `save_steps`.
        ranks: This process among its peers.
        pace: How long steps take.
    """

    def __init__(self, setting: int | Literal["auto"], *, ranks: Ranks, pace: Pace) -> None:
        self._setting = setting
        self._ranks = ranks
        self._pace = pace
        self._announced = 0

    def is_due(self, state: TrainingState) -> bool:
        """Whether a save is due after the step that was just done; every rank must ask."""
        if self._setting != "auto":
            return state.step % self._setting == 0
        if not state.next_save_step and self._pace.steps >= _LEAST_STEPS:
            self._plan(state)
        return 0 < state.next_save_step <= state.step

    def saved(self, state: TrainingState, stall_seconds: float) -> None:
        """Takes in how long a save held training up; every rank must call it."""
        if self._setting == "auto":
            state.stall_seconds = self._ranks.from_main(stall_seconds)
            state.next_save_step = 0

    def _plan(self, state: TrainingState) -> None:
        stall = state.stall_seconds
        uptime = observed_mean_uptime(state.seconds, max(0, state.starts - 1))
        seconds = save_interval(_EXPECTED_STALL_SECONDS if stall is None else stall, uptime)
        steps = int(
            self._ranks.from_main(max(1, round(seconds / max(1e-9, self._pace.step_seconds))))
        )
        state.next_save_step = state.step + steps
        if steps > 2 * self._announced or 2 * steps < self._announced:
            self._announced = steps
            logger.info(
                "save_steps=auto: a checkpoint every %d steps, about %s (a save stalls %s, mean "
                "up-time %s)",
                steps,
                format_seconds(steps * self._pace.step_seconds),
                "was not measured yet" if stall is None else format_seconds(stall),
                format_seconds(uptime),
            )
