"""A model of real tokens in closed form: a whole vocabulary's distributions without training.

    log p(next | previous) = log unigram(next) + ⟨a(previous), b(next)⟩ + constant

a and b are the first singular directions of the positive pointwise mutual information of
neighbouring tokens (Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix
Factorization"). Fewer directions make a smaller model of the same text. The tails are those of real
text: frequencies by Zipf's law over all ids, most of which never follow a given token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from src.tokens.columns import IntArray
from src.tokens.split import TokenSplit
from src.training.losses import Projection

_PRIOR = 0.1  # added to every id's count, so that none is impossible


@dataclass(frozen=True)
class Bilinear:
    """Such a model.

    Attributes:
        previous: a and a constant one for every id, `[V, D + 1]`.
        following: b and the unigram's logarithm for every id, `[V, D + 1]`.
    """

    previous: NDArray[np.float32]
    following: NDArray[np.float32]

    @property
    def projection(self) -> Projection:
        """Its output projection."""
        return Projection(paddle.to_tensor(self.following), is_rows=True)

    def hidden(self, ids: IntArray) -> paddle.Tensor:
        """Hidden states `[P, D + 1]` after these ids."""
        return paddle.to_tensor(self.previous[ids])


def neighbours(split: TokenSplit) -> tuple[IntArray, IntArray]:
    """Every id and the one after it, in all sentences of both sides."""
    firsts, seconds = [], []
    for side in (0, 1):
        for row in range(len(split)):
            ids = split.ids(side, row).astype(np.int64)
            firsts.append(ids[:-1])
            seconds.append(ids[1:])
    return np.concatenate(firsts), np.concatenate(seconds)


def fit(split: TokenSplit, *, vocab_size: int, widths: tuple[int, ...]) -> list[Bilinear]:
    """Models of these numbers of directions, from the same counts."""
    first, second = neighbours(split)
    shape = (vocab_size, vocab_size)
    counts = sparse.coo_array((np.ones(len(first)), (first, second)), shape=shape).tocsr().tocoo()
    rows, columns = (np.bincount(ids, minlength=vocab_size) for ids in (first, second))
    information = np.log(
        counts.data * len(first) / (rows[counts.coords[0]] * columns[counts.coords[1]])
    )
    is_positive = information > 0
    places = tuple(axis[is_positive] for axis in counts.coords)
    matrix = sparse.coo_array((information[is_positive], places), shape=shape).tocsr()
    left, sizes, right = svds(matrix, k=max(widths), v0=np.ones(vocab_size))
    order = np.argsort(-sizes)
    root = np.sqrt(sizes[order])
    left, right = left[:, order] * root, right[order].T * root
    unigram = np.log((columns + _PRIOR) / (columns + _PRIOR).sum())
    ones = np.ones(vocab_size)
    return [
        Bilinear(_beside(left[:, :width], ones), _beside(right[:, :width], unigram))
        for width in widths
    ]


def _beside(matrix: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float32]:
    beside: NDArray[np.float32] = np.hstack([matrix, column[:, None]]).astype(np.float32)
    return beside
