"""Duplicates: of rows that share a key, some stay.

Keys are read from disk piece by piece and counted in a table, one partition of the keys at a time,
so memory grows with neither the corpus nor the number of rows that share one key. Who stays
depends on the corpus alone, not on pieces or partitions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.corpus.key_tables import KeyTable, Part, parts
from src.corpus.keys import PAIR, KeyColumns

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

PART_ROWS = 1 << 22
"""Rows whose keys are looked at together; 24 bytes of memory each."""

_RANKED_ROWS = 1 << 18


def surplus(
    keys: KeyColumns, column: int, alive: Mask, *, limit: int, part_rows: int = PART_ROWS
) -> Iterator[Positions]:
    """Finds the rows beyond the first `limit` of each key.

    First is whose pair key is lowest, so that sharing a side is decided by content alone, whatever
    the order of the files; among equal pairs it is the one that comes first in the corpus.

    Args:
        keys: Keys of the N rows of the corpus.
        column: Which of them, such as `LEFT`.
        alive: `[N]` the rows that are still in the corpus; must not change meanwhile.
        limit: Rows of a key that stay.
        part_rows: Rows whose keys are looked at together.

    Yields:
        Positions of rows to drop, some at a time, none twice.
    """
    rows = int(np.count_nonzero(alive))
    for part in parts(rows, part_rows):
        table = KeyTable(min(part_rows, rows))
        for place, (here,) in keys.pieces(column):
            is_above = table.add(here, alive[place], limit, part)
            if column == PAIR:
                yield np.flatnonzero(is_above) + place.start
        if column != PAIR:
            crowded = table.only_above(limit)
            del table
            sharing = _rows_of(keys, column, alive, crowded, part)
            yield from _beyond_first(sharing, limit, min(part_rows, _RANKED_ROWS))


Rows = tuple[Positions, Hashes, Hashes]


def _rows_of(
    keys: KeyColumns, column: int, alive: Mask, wanted: KeyTable, part: Part
) -> Iterator[Rows]:
    """Rows of a part whose key is in a table: positions, keys and pair keys."""
    if not len(wanted):
        return
    for place, (here, pairs) in keys.pieces(column, PAIR):
        rows = np.flatnonzero(wanted.above(here, alive[place], 0, part))
        if len(rows):
            yield rows + place.start, here[rows], pairs[rows]


def _beyond_first(pieces: Iterator[Rows], limit: int, ranked_rows: int) -> Iterator[Positions]:
    """Drops rows in rounds, so that no more than the first of each key are ever carried on."""
    waiting: list[Rows] = []
    count = 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece[0])
        if count >= ranked_rows:
            first, surplus_rows = _ranked(waiting, limit)
            yield surplus_rows
            waiting, count = [first], 0
    if waiting:
        yield _ranked(waiting, limit)[1]


def _ranked(pieces: list[Rows], limit: int) -> tuple[Rows, Positions]:
    """The first rows of each key, in the order of the corpus, and the positions of the others."""
    positions, hashes, pairs = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    order = np.lexsort((pairs, hashes))
    ordered = hashes[order]
    places = np.arange(len(ordered))
    is_new = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    rank = places - np.maximum.accumulate(np.where(is_new, places, 0))
    first = np.sort(order[rank < limit])
    return (positions[first], hashes[first], pairs[first]), positions[order[rank >= limit]]
