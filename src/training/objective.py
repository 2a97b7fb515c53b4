"""From a micro-batch to a loss: the model's forward pass on target positions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from src.models.borders import Borders
from src.models.factory import Model, hidden_states, output_projection
from src.models.split import vocabulary_group
from src.training.losses import Projection, TokenLoss, scalar, token_loss
from src.training.parallel import Ranks
from src.training.precision import Precision
from src.training.run import LossFunction, MicroBatch, to_tensors

_SHORTEST = {
    "input_ids": np.zeros([1, 1], dtype=np.int64),
    "target_positions": np.zeros([1], dtype=np.int64),
    "labels": np.zeros([1], dtype=np.int64),
    "directions": np.zeros([1], dtype=np.int64),
}
"""A micro-batch for a rank that has none left."""


def target_hidden(model: Model, micro_batch: MicroBatch) -> Tensor:
    """Hidden states `[P, D]` at the positions whose next token is counted."""
    borders = None
    if "sequence_ends" in micro_batch:
        borders = Borders(micro_batch["position_ids"], micro_batch["sequence_ends"])
    hidden = hidden_states(model, micro_batch["input_ids"], borders)  # [B, T, D]
    flat = hidden.reshape([-1, hidden.shape[-1]])  # [B*T, D]
    return paddle.gather(flat, micro_batch["target_positions"])


def projection_of(model: Model) -> Projection:
    """The model's output projection in the form the losses take."""
    weight, is_rows = output_projection(model)
    return Projection(weight, is_rows, vocabulary_group(model, weight))


def reference_loss(model: Model) -> LossFunction:
    """Cross-entropy against the references, summed over target tokens."""

    def loss(micro_batch: MicroBatch) -> TokenLoss:
        return token_loss(
            target_hidden(model, micro_batch), projection_of(model), micro_batch["labels"]
        )

    return loss


def mean_loss(
    loss: LossFunction,
    micro_batches: Iterable[Mapping[str, Any]],
    *,
    ranks: Ranks,
    precision: Precision,
    in_step: bool = False,
) -> float:
    """Mean cross-entropy in nats per target token over the micro-batches of all ranks.

    Args:
        loss: Of one micro-batch.
        micro_batches: This rank's.
        ranks: This process among its peers.
        precision: Number format.
        in_step: Every rank makes as many passes as the one with most micro-batches, because the
            model exchanges something in each.
    """
    total, tokens = 0.0, 0
    if in_step:
        micro_batches = list(micro_batches)
    with paddle.no_grad(), precision.autocast():
        for arrays in micro_batches:
            total += scalar(loss(to_tensors(arrays)).cross_entropy)
            tokens += len(arrays["labels"])
        if isinstance(micro_batches, list):
            passes = len(micro_batches)
            for _ in range(passes, int(max(ranks.collect(passes)))):
                loss(to_tensors(_SHORTEST))
    total, count = ranks.sum_replicas([total, float(tokens)])
    return total / count
