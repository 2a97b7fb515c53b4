"""A model with what training adds to it: optimizer state and number format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.models.factory import Model, trainable_parameters
from src.schema import TrainerConfig
from src.training.optim import build_optimizer
from src.training.precision import Precision


@dataclass(frozen=True)
class Trainable:
    """What is trained and what trains it; all of it is state that a checkpoint holds.

    Attributes:
        model: PaddleNLP's model.
        parameters: Its trainable parameters by their names in files.
        optimizer: Updates them.
        precision: Number format of forward, backward and update.
    """

    model: Model
    parameters: Mapping[str, Tensor]
    optimizer: paddle.optimizer.Optimizer
    precision: Precision


def make_trainable(section: TrainerConfig, model: Model) -> Trainable:
    """Adds optimizer and number format to a model, as the section says."""
    if section.gradient_checkpointing:
        model.recompute_enable()
    parameters = trainable_parameters(model)
    optimizer = build_optimizer(section, parameters)
    precision = Precision(section)
    precision.prepare(model, optimizer)
    return Trainable(model, parameters, optimizer, precision)
