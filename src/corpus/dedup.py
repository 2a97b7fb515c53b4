"""Duplicates: keys that make equal what differs only on the surface, and who stays.

A *side key* is the 64-bit hash of a sentence's letters and digits (NFKC, case folded, all else
stripped). Pairs that share one say the same thing on that side. A *pair key* also holds the signs
that change a meaning (`-5`, `1.5`, `35%`, `C++`), because two pairs are only duplicates when
nothing that counts differs.

Everything works on columns of hashes, 24 bytes a pair, in the order of the corpus, so who stays
does not depend on the number of workers. Only hashes of one partition (by their leading
bits) are sorted at a time, so memory is bounded.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from src.corpus.characters import (
    Codes,
    Hashes,
    Indices,
    alphanumeric_table,
    code_points,
    mixed,
)

ENGLISH, CHINESE, PAIR = 0, 1, 2

_SLICE_ROWS = 4096
_SIGNS = "+#%‰$€£¥￥₩₹°±×÷<>=*/^&@~|\\_"
_BETWEEN_DIGITS = ".,:"
_MINUS = "-−–"


def pair_keys(english: Sequence[str], chinese: Sequence[str]) -> Hashes:
    """`[3, N]` keys of the English sides, the Chinese sides and the pairs."""
    keys = np.zeros((3, len(english)), dtype=np.uint64)
    for start in range(0, len(english), _SLICE_ROWS):
        part = slice(start, start + _SLICE_ROWS)
        keys[ENGLISH, part], english_exact = _side_keys(english[part])
        keys[CHINESE, part], chinese_exact = _side_keys(chinese[part])
        keys[PAIR, part] = mixed(mixed(english_exact) + chinese_exact)
    return keys


def _side_keys(texts: Sequence[str]) -> tuple[Hashes, Hashes]:
    folded = [
        text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
        for text in texts
    ]
    codes = code_points("\n".join(folded) + "\n")
    rows = np.repeat(np.arange(len(folded)), [len(text) + 1 for text in folded])
    is_letter = alphanumeric_table()[codes]
    return (
        _hash_rows(codes, rows, is_letter, len(folded)),
        _hash_rows(codes, rows, is_letter | _means_something(codes, is_letter), len(folded)),
    )


def _means_something(codes: Codes, is_letter: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Signs that count: currencies and operators, decimal points, a minus before a digit."""
    is_digit = (codes >= ord("0")) & (codes <= ord("9"))
    previous_digit = np.concatenate(([False], is_digit[:-1]))
    previous_letter = np.concatenate(([False], is_letter[:-1]))
    next_digit = np.concatenate((is_digit[1:], [False]))
    is_point = _table_of(_BETWEEN_DIGITS)[codes] & previous_digit & next_digit
    is_minus = _table_of(_MINUS)[codes] & next_digit & ~previous_letter
    return np.asarray(_table_of(_SIGNS)[codes] | is_point | is_minus)


@cache
def _table_of(characters: str) -> NDArray[np.bool_]:
    table = np.zeros_like(alphanumeric_table())
    table[[ord(character) for character in characters]] = True
    return table


def _hash_rows(codes: Codes, rows: Indices, is_kept: NDArray[np.bool_], row_count: int) -> Hashes:
    kept = codes[is_kept]
    ends = np.cumsum(np.bincount(rows[is_kept], minlength=row_count)) * kept.itemsize
    starts = np.concatenate(([0], ends[:-1]))
    view = memoryview(kept.tobytes())
    return np.fromiter(
        (
            xxhash.xxh3_64_intdigest(view[start:end])
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ),
        dtype=np.uint64,
        count=row_count,
    )


class KeyColumns:
    """The keys of all work units, one after another, read from disk where they are needed.

    Args:
        files: `keys.npy` of each unit, in the order of the corpus.
        partition_rows: Rows, about, that are sorted at a time; 48 bytes of memory each.
    """

    def __init__(self, files: Sequence[Path], *, partition_rows: int = 1 << 22) -> None:
        self._partition_rows = partition_rows
        self._units = [np.load(file, mmap_mode="r") for file in files]
        lengths = [unit.shape[1] for unit in self._units]
        self.starts: Indices = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def units(self, column: int) -> Iterator[tuple[slice, Hashes]]:
        """Per work unit its place in the corpus and its keys."""
        for index, unit in enumerate(self._units):
            place = slice(int(self.starts[index]), int(self.starts[index + 1]))
            yield place, np.asarray(unit[column])

    def partitions(
        self, column: int, chosen: NDArray[np.bool_]
    ) -> Iterator[tuple[Indices, Hashes, Hashes]]:
        """The chosen rows, in parts that never separate equal keys: positions, keys, pair keys."""
        bits = max(0, (len(self) - 1) // self._partition_rows).bit_length()
        for part in range(1 << bits):
            positions, keys, pairs = [], [], []
            for (place, unit), (_, pair) in zip(self.units(column), self.units(PAIR), strict=True):
                is_here = chosen[place]
                if bits:
                    is_here = is_here & (unit >> np.uint64(64 - bits) == np.uint64(part))
                positions.append(np.flatnonzero(is_here) + place.start)
                keys.append(unit[is_here])
                pairs.append(pair[is_here])
            yield np.concatenate(positions), np.concatenate(keys), np.concatenate(pairs)


def surplus(keys: KeyColumns, column: int, chosen: NDArray[np.bool_], *, limit: int) -> Indices:
    """Positions of the chosen rows beyond the first `limit` of each key.

    First is whose pair key is lowest, so that sharing a side is decided by content alone; among
    equal pairs it is the one that comes first in the corpus.
    """
    found = []
    for positions, hashes, pairs in keys.partitions(column, chosen):
        order = np.lexsort((pairs, hashes))
        ordered = hashes[order]
        places = np.arange(len(ordered))
        is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)]
        rank = places - np.maximum.accumulate(np.where(is_first, places, 0))
        found.append(positions[order[rank >= limit]])
    return np.sort(np.concatenate(found))
