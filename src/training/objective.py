"""From a micro-batch to a loss: the model's forward pass on target positions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import paddle
from paddle import Tensor

from src.models.factory import Model, hidden_states, output_projection
from src.training.losses import Projection, TokenLoss, scalar, token_loss
from src.training.parallel import Ranks
from src.training.precision import Precision
from src.training.run import LossFunction, MicroBatch, to_tensors


def target_hidden(model: Model, micro_batch: MicroBatch) -> Tensor:
    """Hidden states `[P, D]` at the positions whose next token is counted."""
    hidden = hidden_states(model, micro_batch["input_ids"])  # [B, T, D]
    flat = hidden.reshape([-1, hidden.shape[-1]])  # [B*T, D]
    return paddle.gather(flat, micro_batch["target_positions"])


def projection_of(model: Model) -> Projection:
    """The model's output projection in the form the losses take."""
    return Projection(*output_projection(model))


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
) -> float:
    """Mean cross-entropy in nats per target token over the micro-batches of all ranks."""
    total, tokens = 0.0, 0
    with paddle.no_grad(), precision.autocast():
        for arrays in micro_batches:
            total += scalar(loss(to_tensors(arrays)).cross_entropy)
            tokens += len(arrays["labels"])
    total, count = ranks.sum([total, float(tokens)])
    return total / count
