"""What a full run would take, from the steps of a short one.

`max_steps: 10` is how a new set-up is tried; its last line says what all epochs would take at the
rate that was measured. The first step is left out: it makes buffers and chooses kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

from src.units import format_seconds


@dataclass
class Pace:
    """Time that steps and evaluations took since this process started.

    Attributes:
        steps: Steps timed, the first included.
        first_seconds: Of the first step.
        seconds: Of all steps, loading of data included.
        evaluations: Evaluations timed.
        evaluation_seconds: Of all evaluations.
    """

    steps: int = 0
    first_seconds: float = 0.0
    seconds: float = 0.0
    evaluations: int = 0
    evaluation_seconds: float = 0.0

    def add_step(self, seconds: float) -> None:
        """Takes in one step."""
        if self.steps == 0:
            self.first_seconds = seconds
        self.steps += 1
        self.seconds += seconds

    def add_evaluation(self, seconds: float) -> None:
        """Takes in one evaluation."""
        self.evaluations += 1
        self.evaluation_seconds += seconds

    @property
    def step_seconds(self) -> float:
        """Mean of the steps after the first; of the first where there is no other."""
        if self.steps == 1:
            return self.first_seconds
        return (self.seconds - self.first_seconds) / (self.steps - 1)


@dataclass(frozen=True)
class FullRun:
    """What a run without `max_steps` would take on this machine.

    Attributes:
        steps: Of all epochs.
        seconds: Of all epochs, evaluations included where one was timed.
        epochs: How many.
        step_seconds: The measured rate.
    """

    steps: int
    seconds: float
    epochs: int
    step_seconds: float

    def in_words(self, max_steps: int) -> str:
        """One line for the person who tried `max_steps`."""
        epochs = f"all {self.epochs} epochs" if self.epochs > 1 else "the whole epoch"
        each = f", {format_seconds(self.seconds / self.epochs)} each" if self.epochs > 1 else ""
        return (
            f"max_steps={max_steps} ended this run; {epochs} would take {self.steps:,} steps and "
            f"{format_seconds(self.seconds)}{each}, at the measured {self.step_seconds:.3g} s a "
            "step"
        )

    def as_json(self) -> dict[str, float]:
        """For summary.json: steps, hours, hours_per_epoch, seconds_per_step."""
        return {
            "steps": self.steps,
            "hours": self.seconds / 3600,
            "hours_per_epoch": self.seconds / 3600 / self.epochs,
            "seconds_per_step": self.step_seconds,
        }


def full_run(pace: Pace, *, steps: int, epochs: int, eval_steps: int) -> FullRun | None:
    """What all epochs would take at the measured pace; None where no step was timed.

    Args:
        pace: What was measured.
        steps: Steps of all epochs.
        epochs: How many.
        eval_steps: Steps between evaluations.
    """
    if pace.steps == 0:
        return None
    seconds = steps * pace.step_seconds
    if pace.evaluations:
        each = pace.evaluation_seconds / pace.evaluations
        seconds += -(-steps // eval_steps) * each
    return FullRun(steps, seconds, epochs, pace.step_seconds)
