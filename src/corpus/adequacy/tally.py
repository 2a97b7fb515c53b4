"""Counts of millions of things in a table of fixed size.

A cell is one number of 64 bits: 40 of a key, 24 of its count. Eight cells, a cache line, share a
bucket. A key whose bucket is full takes one from the smallest count in it and moves in where that
reaches 0 (the rule of Misra and Gries): what is frequent stays with its count, a little too small
at most, what is rare goes.

The table is cut into regions, and a region is one thread's alone: it sees its keys in the order of
the sample, so the counts do not depend on the number of threads. A region fits into a processor's
own cache, where a piece's keys are counted region after region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.adequacy.units import UNIT_BITS, Units

Table = NDArray[np.uint64]
"""`[regions, cells]`."""
Cells = NDArray[np.uint64]
"""`[cells]` of one region, eight a bucket."""

KEY_SHIFT = np.uint64(24)
COUNT_MASK = np.uint64((1 << 24) - 1)
_WAYS = 8
_REGION_CELLS = 1 << 14
_REGION_BYTES = 8 * _REGION_CELLS
_WAY_BITS = np.uint64(3)
_WAY_MASK = np.uint64(_WAYS - 1)
_ONE = np.uint64(1)
_REGION_SHIFT = np.uint64(UNIT_BITS - 32)
_HALF = np.uint64(32)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def make_table(mebibytes: int, cells: int) -> Table:
    """An empty table of about so many cells, but not above so many mebibytes."""
    most = max((mebibytes << 20) // _REGION_BYTES, 1)
    return np.zeros((min(cells // _REGION_CELLS + 1, most), _REGION_CELLS), np.uint64)


@compiled
def count_key(cells: Cells, key: np.uint64) -> None:
    """Counts a key of 40 bits in its region.

    Both loops are free of branches, so the compiler makes a few vector instructions of each.
    """
    buckets = np.uint64(len(cells) // _WAYS)
    hashed = key * _MULTIPLIER >> _HALF
    first = (hashed * buckets >> _HALF) * np.uint64(_WAYS)
    hit = np.uint64(_WAYS)
    for way in range(_WAYS):
        if cells[first + np.uint64(way)] >> KEY_SHIFT == key:
            hit = np.uint64(way)
    if hit < _WAYS:
        cell = cells[first + hit]
        cells[first + hit] = cell + np.uint64(cell & COUNT_MASK < COUNT_MASK)
        return
    smallest = ~np.uint64(0)  # a count, then its way in the three lowest bits
    for way in range(_WAYS):
        count = cells[first + np.uint64(way)] & COUNT_MASK
        smallest = min(smallest, count << _WAY_BITS | np.uint64(way))
    at = first + (smallest & _WAY_MASK)
    if smallest >> _WAY_BITS <= _ONE:
        cells[at] = key << KEY_SHIFT | _ONE
    else:
        cells[at] -= _ONE


@compiled_part
def fetch_region(cells: Cells) -> np.uint64:
    """Brings a region into the cache: read in order it comes at the speed of a copy.

    Counting alone would bring its lines one at a time, and wait for each.
    """
    found = np.uint64(0)
    for cell in range(0, len(cells), _WAYS):
        found |= cells[cell]
    return found


@compiled
def count_units(
    units: Units,
    starts: NDArray[np.int64],
    counts: NDArray[np.int32],
    table: Table,
    first: int,
    last: int,
) -> None:
    """Counts those units of a side that belong to the regions from `first` to before `last`."""
    regions = np.uint64(len(table))
    for row in range(len(starts)):
        for place in range(starts[row], starts[row] + counts[row]):
            unit = units[place]
            region = np.int64((unit >> _REGION_SHIFT) * regions >> _HALF)
            if first <= region < last:
                count_key(table[region], unit)
