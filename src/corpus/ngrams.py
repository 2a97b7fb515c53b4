"""What a pair says, as hashed features: the distinct 1- to 3-grams of both its sides.

The units are words, except that each Chinese character is a unit of its own; punctuation and
letter case do not count. Everything here works on a block of texts at once, because millions of
pairs go through it, and depends on the texts alone: blocks can be cut anywhere and handled by any
process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src.corpus.characters import CharacterClass, Hashes, Indices, TextBlock, mixed

HASH_BITS = 48
_ROW_BITS = 64 - HASH_BITS
MAX_BLOCK = 1 << _ROW_BITS
"""Most pairs that one block may hold."""

LONGEST = 3
"""Units in the longest n-gram."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ENGLISH_SALT = np.uint64(0x2545F4914F6CDD1D)
_CHINESE_SALT = np.uint64(0xD1342543DE82EF95)


class Ngrams(NamedTuple):
    """Hashed n-grams of a block of B pairs.

    Attributes:
        hashes: `[F]`, `HASH_BITS` bits, one per distinct n-gram and pair, sorted within each pair.
        rows: `[F]`, the pair each belongs to, ascending.
        units: `[B]`, words and Chinese characters of both sides of each pair.
    """

    hashes: Hashes
    rows: Indices
    units: Indices


def pair_ngrams(english: Sequence[str], chinese: Sequence[str]) -> Ngrams:
    """The distinct 1- to 3-grams of each of at most `MAX_BLOCK` pairs; sides never share one."""
    grams: list[tuple[Hashes, Indices]] = []
    units = np.zeros(len(english), np.int64)
    for texts, salt in ((english, _ENGLISH_SALT), (chinese, _CHINESE_SALT)):
        unit_hashes, rows = _units(texts)
        units += np.bincount(rows, minlength=len(texts))
        grams += _ngrams(unit_hashes ^ salt, rows)
    hashes = np.concatenate([part for part, _ in grams])
    return Ngrams(*_distinct(hashes, np.concatenate([part for _, part in grams])), units)


def _units(texts: Sequence[str]) -> tuple[Hashes, Indices]:
    """Hash and row of every unit of the texts, in reading order."""
    block = TextBlock(texts)
    words, word_ends = block.words
    han = np.flatnonzero(np.isin(block.classes, CharacterClass.han()))
    begins, ends = np.concatenate([words, han]), np.concatenate([word_ends, han + 1])
    # Two ascending runs: a stable sort only has to merge them.
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], ends[order]
    return block.hashes(begins, ends), block.rows[begins]


def _ngrams(units: Hashes, rows: Indices) -> list[tuple[Hashes, Indices]]:
    """Hash and row of each run of one to `LONGEST` units within a row."""
    grams = [(mixed(units), rows)]
    sequences = units
    for length in range(2, LONGEST + 1):
        # A polynomial: the order of the units counts.
        sequences = sequences[:-1] * _MULTIPLIER + units[length - 1 :]
        starts = rows[: len(sequences)]
        is_within_row = starts == rows[length - 1 :]
        grams.append((mixed(sequences[is_within_row]), starts[is_within_row]))
    return grams


def _distinct(hashes: Hashes, rows: Indices) -> tuple[Hashes, Indices]:
    # Row and hash share one 64-bit key, because one plain sort is many times faster than lexsort.
    keys = (rows.astype(np.uint64) << np.uint64(HASH_BITS)) | (hashes >> np.uint64(_ROW_BITS))
    keys.sort()
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = keys[1:] != keys[:-1]
    keys = keys[is_first]
    hashes = keys & np.uint64((1 << HASH_BITS) - 1)
    return hashes, (keys >> np.uint64(HASH_BITS)).astype(np.int64)
