"""Keys: hashes that make equal what differs only on the surface.

A *side key* is the hash of a sentence's letters and digits (NFKC, case folded, all else stripped).
Pairs that share one say the same thing on that side. A *pair key* also holds the signs that change
a meaning (`-5`, `1.5`, `35%`, `C++`), because two pairs are only duplicates when nothing that
counts differs. A *template key* leaves the digits out: pairs that share one are the same text with
other numbers. A *near key* is a SimHash (Charikar 2002): pairs that share most of their words (of
their neighbouring letters, where a script puts no spaces) differ in few of its bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.corpus.folding import Folding, folded, folding, reading
from src.corpus.key_kernels import hash_pairs
from src.corpus.texts import Texts

Hashes = NDArray[np.uint64]

LEFT, RIGHT, PAIR, TEMPLATE, NEAR = range(5)
KEYS = 5

_PIECE_ROWS = 1 << 20


def pair_keys(left: Texts, right: Texts, *, near: bool = False) -> Hashes:
    """`[5, N]` keys of pairs, in rows LEFT, RIGHT, PAIR, TEMPLATE, NEAR.

    Args:
        left: N first sides.
        right: Their second sides.
        near: Whether near keys are computed; zeros otherwise.
    """
    keys, depends = _hash(left, right, folding(), near=near)
    rows = np.flatnonzero(depends)
    if len(rows):
        one, other = (Texts.of(list(map(folded, side.take(rows)))) for side in (left, right))
        keys[:, rows], _ = _hash(one, other, reading(), near=near)
    return keys


def _hash(
    left: Texts, right: Texts, tables: Folding, *, near: bool
) -> tuple[Hashes, NDArray[np.bool_]]:
    keys = np.zeros((KEYS, len(left)), np.uint64)
    depends = np.zeros(len(left), np.bool_)
    sides = ((left.data, left.offsets), (right.data, right.offsets))
    hash_pairs(*sides, tables.entries, tables.expansions, keys, depends, near)
    return keys, depends


class KeyColumns:
    """The keys of all work units, one after another, read from disk where they are needed.

    Args:
        files: `keys.npy` of each unit, `[K, n]` uint64, in the order of the corpus.

    Attributes:
        starts: `[units + 1]` int64, where the rows of each unit begin in the corpus.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)
        self._data_starts: list[int] = []
        lengths = []
        for file in self._files:
            # Only the header stays: a mapping a unit would be a descriptor a unit.
            unit = np.load(file, mmap_mode="r")
            lengths.append(unit.shape[1])
            self._data_starts.append(unit.offset)
        self.starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, column: int, unit: int, begin: int, end: int) -> Hashes:
        """Keys of the rows `begin` to `end` of a unit."""
        rows = int(self.starts[unit + 1] - self.starts[unit])
        offset = self._data_starts[unit] + (column * rows + begin) * np.dtype(np.uint64).itemsize
        return np.fromfile(self._files[unit], np.uint64, count=end - begin, offset=offset)

    def pieces(self, *columns: int) -> Iterator[tuple[slice, list[Hashes]]]:
        """All rows, at most a million at a time: their place in the corpus and their keys."""
        for unit, start in enumerate(self.starts[:-1].tolist()):
            rows = int(self.starts[unit + 1]) - start
            for begin in range(0, rows, _PIECE_ROWS):
                end = min(rows, begin + _PIECE_ROWS)
                keys = [self.read(column, unit, begin, end) for column in columns]
                yield slice(start + begin, start + end), keys
