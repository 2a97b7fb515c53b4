"""Tables of keys with open addressing, for compiled loops over the whole corpus.

Keys are hashes already, but not of every column well spread, so places come from a spread of them.
A count of zero marks a free place, so any key may be in a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.mixing import mix

Hashes = NDArray[np.uint64]
Counts = NDArray[np.uint32]
Mask = NDArray[np.bool_]

_WORD_BITS = 64
_SMALLEST_BITS = 10
_PART_MULTIPLIER = np.uint64(0xD1B54A32D192ED03)  # odd, and no factor of `mix`
_ZERO, _ONE = np.uint64(0), np.uint64(1)


class Part(NamedTuple):
    """The keys whose product with a constant begins with certain bits.

    Attributes:
        number: These bits.
        shift: How many others there are.
    """

    number: int
    shift: int


def parts(rows: int, part_rows: int) -> Iterator[Part]:
    """Splits all keys into parts, so that the distinct keys of one fit into memory.

    Args:
        rows: Keys there are.
        part_rows: Keys that a part should have, at most and about.
    """
    bits = max(0, -(-rows // part_rows) - 1).bit_length()
    return (Part(number, _WORD_BITS - bits) for number in range(1 << bits))


ALL = Part(0, _WORD_BITS)
"""The part that every key belongs to."""


class KeyTable:
    """How often each key was met; grows as it needs.

    Args:
        expected: Different keys, about.
    """

    def __init__(self, expected: int = 0) -> None:
        bits = max(_SMALLEST_BITS, (2 * max(expected, 1) - 1).bit_length())
        self._keys = np.zeros(1 << bits, np.uint64)
        self._counts = np.zeros(1 << bits, np.uint32)
        self._size = 0

    def add(self, keys: Hashes, chosen: Mask, limit: int, part: Part = ALL) -> Mask:
        """Counts the chosen keys of a part, in order.

        Args:
            keys: `[N]`.
            chosen: `[N]`.
            limit: Counting stops above it.
            part: Other keys are passed over.

        Returns:
            `[N]` the rows counted whose key had been met `limit` times or more.
        """
        is_above = np.zeros(len(keys), np.bool_)
        start = 0
        while start < len(keys):
            table = (self._keys, self._counts, self._size)
            start, self._size = _count(keys, chosen, part, start, limit, table, is_above)
            if start < len(keys):
                self._grow()
        return is_above

    def above(self, keys: Hashes, chosen: Mask, limit: int, part: Part = ALL) -> Mask:
        """`[N]` the chosen rows of a part whose key was met more than `limit` times."""
        found = np.zeros(len(keys), np.bool_)
        if self._size:
            _look_up(keys, chosen, part, limit, (self._keys, self._counts), found)
        return found

    def only_above(self, limit: int) -> KeyTable:
        """The keys that were met more than `limit` times: a smaller, faster table."""
        rows = np.flatnonzero(self._counts > limit)
        smaller = KeyTable(len(rows))
        smaller._size = len(rows)
        _move(self._keys[rows], self._counts[rows], (smaller._keys, smaller._counts))
        return smaller

    def __len__(self) -> int:
        return self._size

    def _grow(self) -> None:
        keys, counts = self._keys, self._counts
        self._keys = np.zeros(2 * len(keys), np.uint64)
        self._counts = np.zeros(2 * len(keys), np.uint32)
        _move(keys, counts, (self._keys, self._counts))


def choose(keys: Hashes, chosen: Mask, part: Part) -> Mask:
    """`[N]` the chosen rows whose key belongs to a part."""
    found = np.zeros(len(keys), np.bool_)
    _choose(keys, chosen, part, found)
    return found


@compiled_part
def is_in(key: np.uint64, part: Part) -> bool:
    """Whether a key belongs to a part."""
    if part.shift == _WORD_BITS:
        return True
    return bool((key * _PART_MULTIPLIER) >> np.uint64(part.shift) == np.uint64(part.number))


@compiled_part
def _place(key: np.uint64, keys: Hashes, counts: Counts) -> np.uint64:
    """Where a key is, or where it would be."""
    last = np.uint64(len(keys) - 1)
    place = mix(key) & last
    while counts[place] != 0 and keys[place] != key:
        place = (place + _ONE) & last
    return place


@compiled
def _count(
    keys: Hashes,
    chosen: Mask,
    part: Part,
    start: int,
    limit: int,
    table: tuple[Hashes, Counts, int],
    is_above: Mask,
) -> tuple[int, int]:
    """Counts from row `start` on until the table is half full; returns the next row, the size."""
    members, counts, size = table
    for row in range(start, len(keys)):
        if not (chosen[row] and is_in(keys[row], part)):
            continue
        place = _place(keys[row], members, counts)
        if counts[place] == 0:
            if 2 * size >= len(members):
                return row, size
            members[place] = keys[row]
            size += 1
        if counts[place] >= limit:
            is_above[row] = True
        if counts[place] <= limit:
            counts[place] += np.uint32(1)
    return len(keys), size


@compiled
def _look_up(
    keys: Hashes,
    chosen: Mask,
    part: Part,
    limit: int,
    table: tuple[Hashes, Counts],
    found: Mask,
) -> None:
    members, counts = table
    for row in range(len(keys)):
        if chosen[row] and is_in(keys[row], part):
            found[row] = counts[_place(keys[row], members, counts)] > limit


@compiled
def _move(keys: Hashes, counts: Counts, target: tuple[Hashes, Counts]) -> None:
    for row in range(len(keys)):
        if counts[row] != 0:
            place = _place(keys[row], target[0], target[1])
            target[0][place] = keys[row]
            target[1][place] = counts[row]


@compiled
def _choose(keys: Hashes, chosen: Mask, part: Part, found: Mask) -> None:
    for row in range(len(keys)):
        found[row] = chosen[row] and is_in(keys[row], part)
