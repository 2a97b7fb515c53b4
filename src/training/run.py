"""What a training run consists of; put together by a recipe, driven by `src.training.loop`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import paddle
from paddle import Tensor

from src.monitoring.alert import Alert, log_alert
from src.monitoring.gpu import IdleWatch
from src.monitoring.metrics import MetricsWriter
from src.schema import TrainerConfig
from src.training.forecast import Pace
from src.training.interrupt import StopRequest
from src.training.losses import TokenLoss
from src.training.parallel import Ranks
from src.training.state import TrainingState
from src.training.trainable import Trainable

MicroBatch: TypeAlias = Mapping[str, Tensor]
LossFunction: TypeAlias = Callable[[MicroBatch], TokenLoss]
StepBatch: TypeAlias = Mapping[str, Any]


class Saver(Protocol):
    """What the loop asks of checkpointing; `src.training.saving` does it. Every rank calls it."""

    def save(self, state: TrainingState, *, blocking: bool = False) -> Path:
        """Saves the state of the finished step; returns where."""

    def keep_best(self, state: TrainingState) -> None:
        """Remembers the weights of this step as the best so far."""

    def roll_back(self, state: TrainingState) -> TrainingState | None:
        """Puts back the last good checkpoint; its state, or None where there is none."""

    def new_failures(self) -> Sequence[str]:
        """Why saves have failed since this was asked last, one sentence each."""


def no_readings() -> Mapping[str, float]:
    """Where there is no GPU."""
    return {}


@dataclass
class Run:
    """Everything a run consists of.

    Attributes:
        config: The teacher's or the student's section.
        ranks: This process among its peers.
        trained: The model, its parameters, optimizer and number format.
        learning_rate: Step (from 0) to learning rate.
        loss: Loss of one micro-batch, summed over its target tokens.
        open_batches: Step batches of this rank from the position of a state on, cut into
            micro-batches of its `micro_batch_size`.
        evaluate: Mean loss on the dev split, nats per target token; the same on every rank.
        state: Where the run stands; changed in place, and replaced by a rollback.
        total_steps: Steps of the whole run.
        saver: Writes checkpoints.
        metrics: Writes records; None on ranks that do not.
        stop: Collects reasons to stop.
        alert: Logs, and tells somebody who is not watching.
        gpu: Readings of the devices for the record of a logged step.
        pace: Takes up how long steps and evaluations take.
        idle: Notices GPUs that are hardly used.
    """

    config: TrainerConfig
    ranks: Ranks
    trained: Trainable
    learning_rate: Callable[[int], float]
    loss: LossFunction
    open_batches: Callable[[TrainingState], Iterator[StepBatch]]
    evaluate: Callable[[], float]
    state: TrainingState
    total_steps: int
    saver: Saver
    metrics: MetricsWriter | None
    stop: StopRequest
    alert: Alert = log_alert
    gpu: Callable[[], Mapping[str, float]] = no_readings
    pace: Pace = field(default_factory=Pace)
    idle: IdleWatch = field(default_factory=IdleWatch)


def to_tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """A micro-batch of NumPy arrays as tensors on the current device."""
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}
