"""Students to judge stored distributions by, before one is trained.

A stored distribution is right or wrong only in the gradient that a student gets from it, and that
depends on the student: against one that is far from its teacher every approximation looks good,
because the true gradient is large. Judged is therefore by students that stand where a trained one
does, `STAND_IN_NATS` from the teacher at the temperature in use, made from the teacher in two ways:

    narrow       hidden states reduced to their main directions, as few as that distance needs: a
                 smaller model that has learned what positions have in common and not what is
                 particular to each
    perturbed    noise on the output projection: a model that orders unlikely tokens otherwise, in
                 all positions alike

Between them they show what a trained student shows, at temperatures 1 to 3
(`benchmarks/distillation_fidelity.py`); noise on the hidden states does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor

from src.distillation.divergences import forward_kl, shift_
from src.distillation.vocabulary import with_columns
from src.training.losses import Projection, chunks, scalar

STAND_IN_NATS = 0.1
_SEARCH_STEPS = 14
_SEARCH_TOKENS = 256
_LEAST_NOISE, _MOST_NOISE = 1.0e-3, 1.0e1
_SEED = 20_480


@dataclass(frozen=True)
class Learner:
    """A student on the sample.

    Attributes:
        name: For reports.
        hidden: Its hidden states at the target positions, `[P, D]`.
        projection: Its output projection.
    """

    name: str
    hidden: Tensor
    projection: Projection


def stand_ins(
    hidden: Tensor, projection: Projection, *, vocab_size: int, temperature: float
) -> list[Learner]:
    """The two students made from a teacher.

    Args:
        hidden: The teacher's hidden states at target positions, `[P, D]`, in random order.
        projection: Its output projection.
        vocab_size: Ids of the tokenizer.
        temperature: τ of training.
    """
    states = hidden.astype("float32")

    def distance(moved: Tensor, learner: Projection) -> float:
        return _mean_nats((states, projection), (moved, learner), vocab_size, temperature)

    narrow = _narrow(states, lambda moved: distance(moved, projection))
    perturbed = _perturbed(projection, lambda learner: distance(states, learner))
    return [Learner("narrow", narrow, projection), Learner("perturbed", states, perturbed)]


def _narrow(states: Tensor, distance: Callable[[Tensor], float]) -> Tensor:
    """The states `[P, D]` in as few main directions as that distance allows, the last in part."""
    left, sizes, right = np.linalg.svd(states.numpy(), full_matrices=False)

    def within(rank: float) -> Tensor:
        shares = np.clip(rank - np.arange(len(sizes)), 0, 1).astype(np.float32)
        return paddle.to_tensor((left * (sizes * shares)) @ right)

    low, high = 0.0, float(len(sizes))
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        is_far = distance(within(middle)) > STAND_IN_NATS
        low, high = (middle, high) if is_far else (low, middle)
    return within(high)


def _perturbed(projection: Projection, distance: Callable[[Projection], float]) -> Projection:
    """The projection with as much noise as that distance allows."""
    weight = projection.weight.astype("float32")
    paddle.seed(_SEED)
    noise = paddle.randn(weight.shape) * paddle.sqrt((weight**2).mean())

    def moved(share: float) -> Projection:
        values = (weight + share * noise).astype(projection.weight.dtype)
        return Projection(values, projection.is_rows)

    low, high = _LEAST_NOISE, _MOST_NOISE
    for _ in range(_SEARCH_STEPS):
        middle = (low * high) ** 0.5
        is_far = distance(moved(middle)) > STAND_IN_NATS
        low, high = (low, middle) if is_far else (middle, high)
    return moved(low)


def _mean_nats(
    teacher: tuple[Tensor, Projection],
    student: tuple[Tensor, Projection],
    vocab_size: int,
    temperature: float,
) -> float:
    """Mean divergence of the distributions at τ, on the first positions."""
    count = min(_SEARCH_TOKENS, int(teacher[0].shape[0]))
    total = 0.0
    for rows in chunks(count, vocab_size):
        theirs, own = (
            shift_(
                with_columns(
                    projection.logits(states[rows].astype(projection.weight.dtype)), vocab_size
                ).scale(1 / temperature)
            )
            for states, projection in (teacher, student)
        )
        total += scalar(forward_kl(theirs, own)[0])
    return total / count
