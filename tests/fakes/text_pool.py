"""Candidates for sampling that lie in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from src.corpus.texts import Texts

Row = tuple[str, str]


def content_keys(rows: Sequence[Row]) -> NDArray[np.uint64]:
    """`[N]` a hash of each pair."""
    digests = (
        hashlib.blake2b(f"{left}\t{right}".encode(), digest_size=8).digest() for left, right in rows
    )
    return np.frombuffer(b"".join(digests), np.uint64)


class TextPool:
    """A `Pool` over rows of text.

    Args:
        rows: N pairs.
        scores: `[N]`; all 1 without.
        ends: Where each block ends; one block without.
        weights: Of each block; all 1 without.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        scores: NDArray[np.float32] | None = None,
        ends: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        self._left = Texts.of([row[0] for row in rows])
        self._right = Texts.of([row[1] for row in rows])
        self._keys = content_keys(rows)
        self._scores = np.ones(len(rows), np.float32) if scores is None else scores
        borders = [0, *([len(rows)] if ends is None else ends)]
        self._blocks = [slice(begin, end) for begin, end in pairwise(borders)]
        self._weights = [1.0] * len(self._blocks) if weights is None else weights

    @property
    def block_count(self) -> int:
        """Blocks."""
        return len(self._blocks)

    def rows(self, block: int) -> int:
        """Candidates in a block."""
        return self._blocks[block].stop - self._blocks[block].start

    def keys(self, block: int) -> NDArray[np.uint64]:
        """`[n]` hashes of the pairs."""
        return self._keys[self._blocks[block]]

    def scores(self, block: int) -> NDArray[np.float32]:
        """`[n]` quality."""
        return self._scores[self._blocks[block]]

    def weight(self, block: int) -> float:
        """Of a block."""
        return self._weights[block]

    def texts(self, block: int) -> tuple[Texts, Texts]:
        """Both sides of a block."""
        rows = self._blocks[block]
        return self._left.slice(rows.start, rows.stop), self._right.slice(rows.start, rows.stop)
