"""A model with what training adds to it: optimizer state, number format, moving average."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.checkpoint.format import HostTensor
from src.models.factory import Model, trainable_parameters
from src.schema import TrainerConfig
from src.training.ema import MovingAverage
from src.training.optim import build_optimizer, clip_gradients, restore_optimizer
from src.training.parallel import ALONE, Ranks
from src.training.precision import Precision
from src.training.sharding import OptimizerShards


@dataclass(frozen=True)
class Trainable:
    """What is trained and what trains it; all of it is state that a checkpoint holds.

    Attributes:
        model: PaddleNLP's model.
        parameters: Its trainable parameters by their names in files: all of them, or adapters.
        optimizer: Updates them.
        precision: Number format of forward, backward and update.
        average: Their moving average; None when it is off.
        shards: Who updates which parameter; None where every rank updates all.
    """

    model: Model
    parameters: Mapping[str, Tensor]
    optimizer: paddle.optimizer.Optimizer
    precision: Precision
    average: MovingAverage | None
    shards: OptimizerShards | None = None

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
        if self.shards is not None:
            self.shards.share_weights()
        if self.average is not None:
            self.average.update()

    @property
    def spreads_gradients(self) -> bool:
        """Whether ranks exchange gradients within a backward pass (sharding stage 2)."""
        return self.shards is not None and self.shards.stage > 1

    def sum_and_clip(self, ranks: Ranks, *, max_norm: float) -> float:
        """Adds gradients up over ranks and clips them; the global norm before clipping."""
        if self.shards is not None and self.spreads_gradients:
            return self.shards.clip(max_norm=max_norm)
        ranks.sum_gradients(self.parameters)
        self.precision.unscale(self.optimizer)
        return clip_gradients(self.parameters, max_norm=max_norm)

    def clear_gradients(self, *, keep_memory: bool = True) -> None:
        """Makes gradients zero, or with `keep_memory=False` lets their memory go."""
        for value in self.parameters.values():
            value.clear_gradient(keep_memory)

    def restore_optimizer(self, arrays: Mapping[str, HostTensor]) -> None:
        """Puts saved optimizer state back, this rank's part of it.

        Raises:
            CheckpointError: If the state belongs to other parameters.
        """
        own = None if self.shards is None else self.shards.own
        restore_optimizer(self.optimizer, self.parameters, arrays, own)


def make_trainable(section: TrainerConfig, model: Model, ranks: Ranks = ALONE) -> Trainable:
    """Adds optimizer, number format and moving average to a model, as the section says."""
    if section.gradient_checkpointing:
        model.recompute_enable()
    parameters = trainable_parameters(model)
    shards = None
    if section.sharding:
        shards = OptimizerShards(parameters, ranks, stage=section.sharding)
    optimizer = build_optimizer(section, parameters if shards is None else shards.own)
    precision = Precision(section)
    precision.prepare(model, optimizer)
    average = None
    if section.ema_decay is not None:
        average = MovingAverage(parameters, decay=section.ema_decay)
    return Trainable(model, parameters, optimizer, precision, average, shards)
