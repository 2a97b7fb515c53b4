"""From the teacher's logits to what is stored of them."""

from __future__ import annotations

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from src.distillation.divergences import shift_
from src.distillation.soft_labels.layout import Picture, RecordLayout
from src.tokens.columns import IntArray
from src.training.vocabulary import row_sums

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MOST_TOKENS = np.uint64(1 << 20)  # more than any sequence has


def take_picture(logits: Tensor, layout: RecordLayout, starts: NDArray[np.float32]) -> Picture:
    """The stored form of the distributions of a chunk.

    The tail is drawn from systematically: the points `(start + j) / drawn` of its cumulative
    distribution. A token's expected count is its share of the tail times `drawn`, so what is
    stored is right on average, with less variance than independent draws have.

    Args:
        logits: Teacher's logits over the tokenizer's ids divided by the temperature, `[C, V]`;
            overwritten.
        layout: What is stored.
        starts: A number from 0 to 1 per position, `[C]`, that decides what is drawn.
    """
    shift_(logits)
    logits.subtract_(paddle.log(row_sums(paddle.exp(logits))))
    top, ids = paddle.topk(logits, layout.exact, axis=-1)
    probabilities = paddle.exp(logits)
    entropy = -row_sums(logits.multiply_(probabilities))[:, 0]
    rows = paddle.arange(ids.shape[0]).unsqueeze(-1).expand(ids.shape)
    tail_only = probabilities.index_put_((rows, ids), paddle.zeros_like(top))
    # Summed over the others, as one minus the sum of the top would round to nothing.
    tail = row_sums(tail_only)[:, 0]
    chosen = ids.numpy()
    if layout.drawn:
        drawn = _draw(tail_only, paddle.to_tensor(starts), layout.drawn)
        chosen = np.concatenate([chosen, drawn], axis=1)
    return Picture(
        ids=chosen.astype(np.int64),
        log_probabilities=top.numpy(),
        tail=tail.numpy(),
        entropy=entropy.numpy(),
    )


def _draw(weights: Tensor, starts: Tensor, count: int) -> IntArray:
    """Ids `[C, count]` drawn from unnormalised distributions `[C, V]`."""
    cumulative = paddle.cumsum(weights, axis=-1)
    places = (starts.unsqueeze(-1) + paddle.arange(count, dtype="float32")) / count
    points = places * cumulative[:, -1:]
    found = paddle.searchsorted(cumulative, points, right=True)
    ids: IntArray = paddle.clip(found, max=weights.shape[1] - 1).numpy()
    return ids


def draw_starts(rows: IntArray, counts: IntArray, *, key: int) -> NDArray[np.float32]:
    """A number in [0, 1) for every target token of some pairs, the same in any batch.

    Args:
        rows: Row of each pair `[B]`.
        counts: Target tokens of each pair `[B]`.
        key: Of the direction.

    Returns:
        One after another, `[sum of counts]`: a hash (the finaliser of SplitMix64) of key, row and
        place.
    """
    places = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers = np.repeat(rows, counts).astype(np.uint64) * _MOST_TOKENS + places.astype(np.uint64)
    values = numbers * _GOLDEN + np.uint64(key)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return ((values >> np.uint64(40)) / np.float64(1 << 24)).astype(np.float32)
