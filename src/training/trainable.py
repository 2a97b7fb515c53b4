"""A model with what training adds to it: optimizer state, number format, moving average."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.models.factory import Model, trainable_parameters
from src.schema import TrainerConfig
from src.training.ema import MovingAverage
from src.training.optim import build_optimizer
from src.training.precision import Precision


@dataclass(frozen=True)
class Trainable:
    """What is trained and what trains it; all of it is state that a checkpoint holds.

    Attributes:
        model: PaddleNLP's model.
        parameters: Its trainable parameters by their names in files: all of them, or adapters.
        optimizer: Updates them.
        precision: Number format of forward, backward and update.
        average: Their moving average; None when it is off.
    """

    model: Model
    parameters: Mapping[str, Tensor]
    optimizer: paddle.optimizer.Optimizer
    precision: Precision
    average: MovingAverage | None

    @property
    def published(self) -> Mapping[str, Tensor]:
        """What evaluation, `best` and `final` get: the average where there is one."""
        return self.parameters if self.average is None else self.average.tensors

    def state_tensors(self) -> list[Tensor]:
        """Weights and average, which must be equal on every rank."""
        averages = [] if self.average is None else list(self.average.tensors.values())
        return [*self.parameters.values(), *averages]

    def as_published(self) -> AbstractContextManager[None]:
        """Within it the model computes with the published weights."""
        return nullcontext() if self.average is None else self.average.applied()

    def step(self) -> None:
        """Updates the weights from their gradients, and the average from the weights."""
        self.precision.step(self.optimizer)
        if self.average is not None:
            self.average.update()


def make_trainable(section: TrainerConfig, model: Model) -> Trainable:
    """Adds optimizer, number format and moving average to a model, as the section says."""
    if section.gradient_checkpointing:
        model.recompute_enable()
    parameters = trainable_parameters(model)
    optimizer = build_optimizer(section, parameters)
    precision = Precision(section)
    precision.prepare(model, optimizer)
    average = None
    if section.ema_decay is not None:
        average = MovingAverage(parameters, decay=section.ema_decay)
    return Trainable(model, parameters, optimizer, precision, average)
