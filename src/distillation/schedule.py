"""Alpha and temperature over the run: constant, or along a straight line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paddle import Tensor

from src.schema import StudentConfig
from src.tokens.stream import POSITION


@dataclass(frozen=True)
class Line:
    """A value that moves from `first` to `last` within `steps` and stays there.

    Attributes:
        first: At step 0.
        last: From step `steps` on; equal to `first` for a constant.
        steps: Length of the way.
    """

    first: float
    last: float
    steps: int

    def at(self, step: int) -> float:
        """The value at a step, counted from 0."""
        share = min(1.0, step / self.steps)
        return self.first + share * (self.last - self.first)


@dataclass(frozen=True)
class Schedule:
    """How much the teacher counts, and how soft both distributions are, step by step.

    Attributes:
        alpha: Share of the teacher's term in the loss.
        temperature: τ.
    """

    alpha: Line
    temperature: Line

    def at(self, micro_batch: Mapping[str, Tensor]) -> tuple[float, float]:
        """Alpha and temperature for a micro-batch of the training stream.

        The stream's position decides, not a counter of its own, so that a resumed run goes on
        with the values of a straight one. A micro-batch without position is the trial run before
        step 0.
        """
        if self.is_constant or POSITION not in micro_batch:
            return self.alpha.first, self.temperature.first
        step = int(micro_batch[POSITION].numpy()[0])
        return self.alpha.at(step), self.temperature.at(step)

    @property
    def is_constant(self) -> bool:
        """Whether every step has the same values."""
        return all(line.first == line.last for line in (self.alpha, self.temperature))


def schedule_of(section: StudentConfig) -> Schedule:
    """The schedule that the student's section describes."""

    def line(first: float, last: float | None) -> Line:
        return Line(first, first if last is None else last, section.kd_schedule_steps or 1)

    return Schedule(
        alpha=line(section.distillation_alpha, section.distillation_alpha_end),
        temperature=line(section.temperature, section.temperature_end),
    )
