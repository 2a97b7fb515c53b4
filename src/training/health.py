"""Is training well: judging each step by its loss, its gradients and its learning rate.

A step is judged when its gradients are known and before the weights change. What is usual is the
median of the recent good steps, so neither one bad step nor the slow fall of the loss moves the
scale. All that judging remembers is a `HealthRecord`, part of the saved state: a resumed run judges
as the uninterrupted one would. Losses and norms are sums over ranks, so all ranks judge alike.

    loss or gradients not finite                    the step is skipped
    learning rate not finite or negative            the step is skipped
    loss above `spike_skip` times the usual         the step is skipped
    loss above `spike_report` times the usual       reported
    gradient norm above `gradient_report` times     reported
    learning rate above the peak, other than the
    schedule says, or more than doubled at once     reported

`rollback_after` skipped steps in a row send the run back to its last good checkpoint with a lower
learning rate (`src.training.rollback`); the batches of those steps are then passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from src.schema import HealthConfig

# Optimizers keep the learning rate in float32.
_RATE_TOLERANCE = 1e-5
# Linear warm-up doubles the rate at its second step; nothing of ours rises faster.
_LARGEST_RISE = 2.0

Fault = Literal["not_finite", "loss_spike", "gradient_explosion", "learning_rate"]


@dataclass(frozen=True)
class Finding:
    """Something unusual about a step.

    Attributes:
        fault: What kind.
        message: One clause with the numbers.
    """

    fault: Fault
    message: str


@dataclass(frozen=True)
class Measures:
    """What a step is judged by.

    Attributes:
        loss: Mean over the global batch, nats per target token.
        gradient_norm: Global norm before clipping.
        rate: The learning rate the optimizer is about to use.
        scheduled_rate: What the schedule says, rollbacks included.
        peak_rate: What the schedule never exceeds.
        may_overflow: Whether gradients may overflow because the loss is scaled up for float16; the
            scale then falls, and the step is skipped without being sick.
    """

    loss: float
    gradient_norm: float
    rate: float
    scheduled_rate: float
    peak_rate: float
    may_overflow: bool = False


@dataclass(frozen=True)
class Judgement:
    """What to do with a step.

    Attributes:
        is_good: Whether the weights may be changed.
        findings: What was unusual.
        is_news: Whether the step before it was not unusual, so that it is worth an alert.
    """

    is_good: bool
    findings: tuple[Finding, ...] = ()
    is_news: bool = False


@dataclass
class HealthRecord:
    """What judging remembers; saved with every checkpoint.

    Attributes:
        losses: Of the recent good steps, nats per target token, oldest first.
        gradient_norms: Of the same steps, before clipping.
        last_rate: Learning rate of the step before; None before the first.
        skipped_in_a_row: Skipped steps since the last good one.
        is_unusual: Whether something was found at the step before.
        skipped: Skipped steps in all.
        reported: Steps reported but not skipped, in all.
        passed_over: Steps, counted from 0, whose batches are left out after a rollback.
        rolled_back_to: Checkpoint steps that were gone back to, in order.
        learning_rate_factor: What rollbacks have made of the learning rate.
    """

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    last_rate: float | None = None
    skipped_in_a_row: int = 0
    is_unusual: bool = False
    skipped: int = 0
    reported: int = 0
    passed_over: list[int] = field(default_factory=list)
    rolled_back_to: list[int] = field(default_factory=list)
    learning_rate_factor: float = 1.0

    def after_rollback(self, past: HealthRecord, *, step: int, target: int, factor: float) -> None:
        """Goes on from a checkpoint's record, knowing what led back to it.

        Args:
            past: The record of the run that went wrong.
            step: Steps done then.
            target: Steps done at the checkpoint.
            factor: Of the learning rate.
        """
        self.skipped_in_a_row = 0
        self.is_unusual = False
        self.last_rate = None
        self.skipped, self.reported = past.skipped, past.reported
        sick = range(step - past.skipped_in_a_row, step)
        self.passed_over = sorted({*past.passed_over, *sick})
        self.rolled_back_to = [*past.rolled_back_to, target]
        self.learning_rate_factor = past.learning_rate_factor * factor


def judge(measures: Measures, record: HealthRecord, config: HealthConfig) -> Judgement:
    """Judges a step and remembers it."""
    is_overflow = measures.may_overflow and not math.isfinite(measures.gradient_norm)
    if is_overflow and math.isfinite(measures.loss):
        record.skipped += 1
        return Judgement(is_good=False)
    findings = (
        *_finite_findings(measures),
        *_loss_findings(measures, record, config),
        *_gradient_findings(measures, record, config),
        *_rate_findings(measures, record),
    )
    is_good = (
        math.isfinite(measures.loss)
        and math.isfinite(measures.gradient_norm)
        and math.isfinite(measures.rate)
        and measures.rate >= 0
        and not _spike(measures.loss, record, config) > config.spike_skip
    )
    is_news = bool(findings) and not record.is_unusual
    record.is_unusual = bool(findings)
    record.last_rate = measures.rate if math.isfinite(measures.rate) else None
    if is_good:
        record.skipped_in_a_row = 0
        record.reported += bool(findings)
        _remember(record.losses, measures.loss, config)
        _remember(record.gradient_norms, measures.gradient_norm, config)
    else:
        record.skipped_in_a_row += 1
        record.skipped += 1
    return Judgement(is_good, findings, is_news)


def _finite_findings(measures: Measures) -> Iterator[Finding]:
    if not (math.isfinite(measures.loss) and math.isfinite(measures.gradient_norm)):
        yield Finding(
            "not_finite",
            f"loss {measures.loss:g}, gradient norm {measures.gradient_norm:g}: skipped",
        )


def _loss_findings(
    measures: Measures, record: HealthRecord, config: HealthConfig
) -> Iterator[Finding]:
    times = _spike(measures.loss, record, config)
    if times > config.spike_report:
        action = "skipped" if times > config.spike_skip else "kept"
        yield Finding(
            "loss_spike", f"loss {measures.loss:.4g} is {times:.1f} times the usual: {action}"
        )


def _gradient_findings(
    measures: Measures, record: HealthRecord, config: HealthConfig
) -> Iterator[Finding]:
    times = _times(measures.gradient_norm, record.gradient_norms, config)
    if times > config.gradient_report:
        yield Finding(
            "gradient_explosion",
            f"gradient norm {measures.gradient_norm:.4g} is {times:.1f} times the usual",
        )


def _rate_findings(measures: Measures, record: HealthRecord) -> Iterator[Finding]:
    rate, scheduled, last = measures.rate, measures.scheduled_rate, record.last_rate
    if not (math.isfinite(rate) and rate >= 0):
        yield Finding("learning_rate", f"learning rate {rate:g}: skipped")
    elif not math.isclose(rate, scheduled, rel_tol=_RATE_TOLERANCE, abs_tol=1e-12):
        yield Finding(
            "learning_rate", f"learning rate {rate:.4g}, but the schedule says {scheduled:.4g}"
        )
    elif rate > measures.peak_rate * (1 + _RATE_TOLERANCE):
        yield Finding(
            "learning_rate",
            f"learning rate {rate:.4g} is above its peak of {measures.peak_rate:.4g}",
        )
    elif last and rate > _LARGEST_RISE * last * (1 + _RATE_TOLERANCE):
        yield Finding(
            "learning_rate", f"learning rate {rate:.4g} is {rate / last:.1f} times the step before"
        )


def _spike(loss: float, record: HealthRecord, config: HealthConfig) -> float:
    """How many times the usual a loss is; 0 where it is no spike.

    Windows are sorted by length, so batches differ by far more than noise: a loss that was seen
    lately, or that rises by little, belongs to a hard batch.
    """
    times = _times(loss, record.losses, config)
    if times and loss <= max(record.losses):
        return 0.0
    rise = loss - loss / times if times else 0.0
    return times if rise >= config.spike_least_rise else 0.0


def _times(value: float, history: Sequence[float], config: HealthConfig) -> float:
    """How many times the usual a value is; 0 where too little is known or it is not finite."""
    if len(history) < config.min_steps or not math.isfinite(value):
        return 0.0
    usual = median(history)
    return value / usual if usual > 0 else 0.0


def _remember(history: list[float], value: float, config: HealthConfig) -> None:
    history.append(value)
    del history[: -config.window]
