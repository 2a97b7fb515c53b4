"""What a model thinks of given translations: teacher forcing, without search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from src.evaluation.decode import evaluation_mode
from src.models.factory import Model, hidden_states, logits

# Positions whose logits `[positions, V]` are held at one time.
_CHUNK_POSITIONS = 64


@dataclass(frozen=True)
class TokenPredictions:
    """The model's own choice at every position of the references.

    Attributes:
        confidence: `[P]` float32, the probability of its most likely token.
        correct: `[P]` whether that token is the reference's.
        log_probability: `[P]` float32, of the reference's token, in nats.
    """

    confidence: NDArray[np.float32]
    correct: NDArray[np.bool_]
    log_probability: NDArray[np.float32]


def predict_tokens(
    model: Model,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_size: int,
    pad_id: int,
    progress: Callable[[int], None] | None = None,
) -> TokenPredictions:
    """Reads each prompt with its reference and notes what the model would have written instead.

    Args:
        model: Put into evaluation mode meanwhile; its mode is restored.
        pairs: Ids of a prompt, and of the target with its end token; neither is empty.
        batch_size: Sequences computed together.
        pad_id: Fills the batch on the right, where it is not seen.
        progress: Called after each batch with the number of pairs it held.

    Returns:
        P positions: those of all targets, in no particular order.
    """
    parts: list[tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]] = []
    order = sorted(range(len(pairs)), key=lambda index: -sum(map(len, pairs[index])))
    with evaluation_mode(model), paddle.no_grad():
        for start in range(0, len(order), batch_size):
            batch = [pairs[index] for index in order[start : start + batch_size]]
            states, targets = _target_states(model, batch, pad_id)
            parts += [
                _judge(
                    model, states[at : at + _CHUNK_POSITIONS], targets[at : at + _CHUNK_POSITIONS]
                )
                for at in range(0, len(targets), _CHUNK_POSITIONS)
            ]
            if progress is not None:
                progress(len(batch))
    confidence, correct, log_probability = zip(*parts, strict=True)
    return TokenPredictions(
        np.concatenate(confidence), np.concatenate(correct), np.concatenate(log_probability)
    )


def ends_next(model: Model, ids: Sequence[int], eos_id: int) -> bool:
    """Whether the model's most likely next token is the end token."""
    with evaluation_mode(model), paddle.no_grad():
        states = hidden_states(model, paddle.to_tensor(np.array([ids], dtype=np.int64)))
        values = logits(model, states[:, -1])
        return bool((paddle.argmax(values, axis=-1) == eos_id).item())


def _target_states(
    model: Model, batch: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """Hidden states `[P, D]` before each target token, and those tokens `[P]`."""
    width = max(len(prompt) + len(target) for prompt, target in batch) - 1
    ids = np.full([len(batch), width], pad_id, dtype=np.int64)
    positions, targets = [], []
    for row, (prompt, target) in enumerate(batch):
        sequence = [*prompt, *target]
        ids[row, : len(sequence) - 1] = sequence[:-1]
        first = row * width + len(prompt) - 1
        positions.append(np.arange(first, first + len(target)))
        targets.append(np.array(target, dtype=np.int64))
    states = hidden_states(model, paddle.to_tensor(ids))  # [B, T, D]
    flat = states.reshape([-1, states.shape[-1]])  # [B * T, D]
    counted = paddle.index_select(flat, paddle.to_tensor(np.concatenate(positions)))
    return counted, np.concatenate(targets)


def _judge(
    model: Model, states: Tensor, targets: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    values = logits(model, states).astype("float32")  # [P, V]
    normaliser = paddle.logsumexp(values, axis=-1)
    best = paddle.argmax(values, axis=-1).numpy()
    top = paddle.max(values, axis=-1)
    wanted = paddle.to_tensor(targets).unsqueeze(1)
    chosen = paddle.take_along_axis(values, wanted, axis=1).squeeze(1)
    return (
        paddle.exp(top - normaliser).numpy(),
        best == targets,
        (chosen - normaliser).numpy(),
    )
