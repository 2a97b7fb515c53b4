"""Steps, batch and learning rate: what is known about choosing them.

Every rule comes with its source and its limits; none of them replaces a short trial run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CHINCHILLA_TOKENS_PER_PARAMETER = 20.0
"""Hoffmann et al. (2022): tokens per parameter at which pre-training from scratch is optimal."""
_CRITICAL_TOKENS, _CRITICAL_EXPONENT = 2e8, 1 / 0.21
ASSUMED_LOSS = 2.0
"""Nats per token at which the critical batch is quoted where no run was measured."""


@dataclass(frozen=True)
class Steps:
    """The length of a run.

    Attributes:
        total: Optimizer steps.
        per_epoch: Of one epoch.
        items: Sequences that are trained on in all.
        is_cut: Whether `max_steps` ends it before its epochs do.
        checkpoints: Written in all.
    """

    total: int
    per_epoch: int
    items: float
    is_cut: bool
    checkpoints: int


def steps_of(
    items: int, *, global_batch: int, epochs: int, max_steps: int | None, save_steps: int
) -> Steps:
    """Steps of a run over `items` sequences.

    Args:
        items: Sequences of an epoch.
        global_batch: Sequences of a step.
        epochs: Passes over them.
        max_steps: Ends the run earlier; None: never.
        save_steps: Steps between checkpoints.
    """
    per_epoch = -(-items // global_batch)
    whole = per_epoch * epochs
    total = whole if max_steps is None else min(whole, max_steps)
    return Steps(
        total=total,
        per_epoch=per_epoch,
        items=items * epochs * total / whole if whole else 0.0,
        is_cut=total < whole,
        checkpoints=-(-total // save_steps),
    )


def scaled_rate(rate: float, *, batch: int, new_batch: int, rule: str) -> float:
    """The learning rate for another global batch.

    Args:
        rate: The rate that suits `batch`.
        batch: Pairs per step.
        new_batch: Pairs per step from now on.
        rule: "linear" (Goyal et al. 2017, for SGD) or "square root" (Krizhevsky 2014; Malladi et
            al. 2022 derive it for Adam).
    """
    ratio = new_batch / batch
    return rate * (ratio if rule == "linear" else math.sqrt(ratio))


def critical_batch_tokens(loss: float) -> float:
    """Tokens per step beyond which more devices hardly save steps.

    `B = 2e8 · L^(-1/0.21)`, Kaplan et al. (2020), eq. 1.4, fitted on pre-training language models
    with L in nats per token; translation is more predictable, so take it as an order of magnitude.
    """
    return float(_CRITICAL_TOKENS / loss**_CRITICAL_EXPONENT)


def chinchilla_ratio(tokens: float, parameters: float) -> float:
    """Tokens of the run over 20 per parameter: 1 is compute-optimal pre-training from scratch."""
    return tokens / (CHINCHILLA_TOKENS_PER_PARAMETER * parameters)
