"""The units seen often enough to learn from, numbered by falling frequency.

Slots of an open-addressing table, a power of two of them and at most half full: 40 bits of the
unit, 24 of its number plus one; 0 is free.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.adequacy.tally import COUNT_MASK, KEY_SHIFT, Table
from src.corpus.adequacy.units import Units

Slots = NDArray[np.uint64]

MAX_WORDS = 1 << 18
"""Units a side keeps; what is rarer than so many others is not worth its memory."""


class Vocabulary(NamedTuple):
    """The frequent units of one side.

    Attributes:
        units: `[V]`, by falling frequency.
        counts: `[V]` occurrences in the sample.
    """

    units: Units
    counts: NDArray[np.int64]


def frequent_units(table: Table, smallest: int) -> Vocabulary:
    """The units counted in a table at least `smallest` times, at most `MAX_WORDS` of them."""
    units, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for region in table:
        found = region[(region & COUNT_MASK) >= smallest]
        units.append(found >> KEY_SHIFT)
        counts.append((found & COUNT_MASK).astype(np.int64))
    unit, count = np.concatenate(units), np.concatenate(counts)
    order = np.lexsort((unit, -count))[:MAX_WORDS]
    return Vocabulary(unit[order], count[order])


def make_slots(units: Units) -> Slots:
    """The table that numbers these distinct units by their places."""
    size = 16
    while size < 2 * len(units):
        size *= 2
    slots = np.zeros(size, np.uint64)
    _fill_slots(units, slots)
    return slots


@compiled_part
def _first_slot(unit: np.uint64, mask: int) -> int:
    # A unit is a hash already, but for the bits of its kind.
    return int(np.int64(unit >> np.uint64(2))) & mask


@compiled
def _fill_slots(units: Units, slots: Slots) -> None:
    mask = len(slots) - 1
    for number in range(len(units)):
        slot = _first_slot(units[number], mask)
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = units[number] << KEY_SHIFT | np.uint64(number + 1)


@compiled_part
def find_unit(slots: Slots, unit: np.uint64) -> int:
    """The unit's number, -1 if it has none."""
    mask = len(slots) - 1
    slot = _first_slot(unit, mask)
    while slots[slot] != 0:
        if slots[slot] >> KEY_SHIFT == unit:
            return int(np.int64(slots[slot] & COUNT_MASK)) - 1
        slot = (slot + 1) & mask
    return -1
