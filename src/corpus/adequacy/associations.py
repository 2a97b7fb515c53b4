"""Which units of one side go with which of the other.

The strength of a left unit l and a right unit r, which stand opposite each other in c of N pairs
(c less one, so that a single chance meeting weighs nothing):

    log(c N / (n(l) n(r)))  +  0.4 log(c/n(l) · c/n(r))

The first term is pointwise mutual information: how much more often than chance (Church and Hanks
1990). Alone it prefers rare units; the second, the squared cosine of both units' pairs, asks that
they are usual translations of each other. A pair of units whose count chance explains, by Dunning's
log-likelihood ratio (1993), is none.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.adequacy.pieces import Piece, Side
from src.corpus.adequacy.tally import (
    COUNT_MASK,
    KEY_SHIFT,
    Table,
    count_key,
    fetch_region,
    make_table,
)
from src.corpus.adequacy.units import Units
from src.corpus.adequacy.vocabulary import Slots, Vocabulary, find_unit, make_slots
from src.corpus.mixing import mix

Numbers = NDArray[np.int32]
Counts = NDArray[np.int64]

MAX_PARTNERS = 16
_ENOUGH = 500
_MEETINGS_PER_CELL = 6
_LEAST_TOGETHER = 3
_LEAST_LIFT = 2.0
_LEAST_RATIO = 25.0
_COSINE_WEIGHT = 0.4
_ID_BITS = np.uint64(20)
_ID_MASK = np.uint64((1 << 20) - 1)
_DRAW_SHIFT = np.uint64(32)


class Numbered(NamedTuple):
    """The numbers of the distinct known units of N texts; laid out like `Side`."""

    numbers: Numbers
    starts: Counts
    counts: Numbers


class Totals(NamedTuple):
    """In how many counted pairs units occur.

    Attributes:
        left: `[V]` pairs with each left unit.
        looked_at: `[V]` those of them that were looked at.
        right: `[W]` pairs with each right unit.
    """

    left: Counts
    looked_at: Counts
    right: Counts


class Meetings:
    """Counts which units stand opposite each other.

    A left unit seen very often is looked at in a share of its pairs only, drawn by the pair's hash:
    five hundred sentences with a word tell its translations as well as a million.

    Attributes:
        table: Counts of (left, right), 20 bits each; no larger than the sample needs.
        pairs: Pairs counted.
        totals: How often the units themselves occur.
    """

    def __init__(self, left: Vocabulary, right: Vocabulary, *, pairs: int, table_mib: int) -> None:
        looks = int(np.minimum(left.counts, _ENOUGH).sum())
        meetings = looks * int(right.counts.sum()) // max(pairs, 1)
        self.table = make_table(table_mib, meetings // _MEETINGS_PER_CELL)
        self.pairs = 0
        sizes = len(left.units), len(left.units), len(right.units)
        self.totals = Totals(*(np.zeros(size, np.int64) for size in sizes))
        self._slots = make_slots(left.units), make_slots(right.units)
        share = np.minimum(_ENOUGH / np.maximum(left.counts, 1), 1.0)
        self._draw_below = (share * (1 << 32)).astype(np.uint64)

    def count(self, piece: Piece, executor: Executor, workers: int) -> None:
        """Counts a piece's pairs; the threads of `executor` share the regions of the table."""
        sides = (piece.left, piece.right)
        left, right = executor.map(
            _number_side, sides, self._slots, (len(self.totals.left), len(self.totals.right))
        )
        self.pairs += len(piece.keys)
        _add_up(right, self.totals.right)
        visits = _visits_by_region(left, piece.keys, self._draw_below, len(self.table), self.totals)

        def count(worker: int) -> None:
            _count_meetings(*visits, right, self.table, worker, workers)

        list(executor.map(count, range(workers)))


class Partners(NamedTuple):
    """The strongest partners of the units of one side.

    Attributes:
        numbers: `[V, MAX_PARTNERS]` partners' numbers by falling strength; -1 where there is none.
        strengths: `[V, MAX_PARTNERS]` float32.
        certainty: `[V]` float32, the largest probability of a partner given the unit.
    """

    numbers: Numbers
    strengths: NDArray[np.float32]
    certainty: NDArray[np.float32]


def strongest_partners(meetings: Meetings) -> tuple[Partners, Partners]:
    """The partners of all left and of all right units."""
    totals = meetings.totals
    left, right = _no_partners(len(totals.left)), _no_partners(len(totals.right))
    _choose_partners(meetings.table, meetings.pairs, totals, left, right)
    return left, right


def _no_partners(units: int) -> Partners:
    return Partners(
        np.full((units, MAX_PARTNERS), -1, np.int32),
        np.full((units, MAX_PARTNERS), -np.inf, np.float32),
        np.zeros(units, np.float32),
    )


def _number_side(side: Side, slots: Slots, vocabulary_size: int) -> Numbered:
    numbers = np.zeros(len(side.units), np.int32)
    counts = np.zeros(len(side.starts), np.int32)
    _find_numbers(side, slots, np.zeros(vocabulary_size, np.uint8), numbers, counts)
    return Numbered(numbers, side.starts, counts)


@compiled
def _find_numbers(
    side: Side, slots: Slots, seen: NDArray[np.uint8], numbers: Numbers, counts: Numbers
) -> None:
    for row in range(len(side.starts)):
        first, count = side.starts[row], 0
        for place in range(first, first + side.counts[row]):
            number = find_unit(slots, side.units[place])
            if number >= 0 and not seen[number]:
                seen[number] = 1
                numbers[first + count] = number
                count += 1
        for place in range(first, first + count):
            seen[numbers[place]] = 0
        counts[row] = count


@compiled
def _add_up(side: Numbered, totals: Counts) -> None:
    for row in range(len(side.starts)):
        for place in range(side.starts[row], side.starts[row] + side.counts[row]):
            totals[side.numbers[place]] += 1


@compiled_part
def _is_drawn(key: np.uint64, number: int, draw_below: Units) -> bool:
    return bool(mix(key + np.uint64(number)) >> _DRAW_SHIFT < draw_below[number])


@compiled
def _visits_by_region(
    side: Numbered, keys: Units, draw_below: Units, regions: int, totals: Totals
) -> tuple[Numbers, Numbers, Counts]:
    """Which left unit to look at in which row, region by region, each in the order of rows."""
    ends = np.zeros(regions + 1, np.int64)
    for row in range(len(side.starts)):
        for place in range(side.starts[row], side.starts[row] + side.counts[row]):
            number = side.numbers[place]
            totals.left[number] += 1
            if _is_drawn(keys[row], number, draw_below):
                totals.looked_at[number] += 1
                ends[number % regions + 1] += 1
    for region in range(regions):
        ends[region + 1] += ends[region]
    rows, numbers = np.empty(ends[regions], np.int32), np.empty(ends[regions], np.int32)
    following = ends[:regions].copy()
    for row in range(len(side.starts)):
        for place in range(side.starts[row], side.starts[row] + side.counts[row]):
            number = side.numbers[place]
            if _is_drawn(keys[row], number, draw_below):
                region = number % regions
                rows[following[region]] = row
                numbers[following[region]] = number
                following[region] += 1
    return rows, numbers, ends


@compiled
def _count_meetings(
    rows: Numbers,
    numbers: Numbers,
    ends: Counts,
    right: Numbered,
    table: Table,
    worker: int,
    workers: int,
) -> np.uint64:
    fetched = np.uint64(0)
    for region in range(worker, len(table), workers):
        cells = table[region]
        fetched |= fetch_region(cells)
        for visit in range(ends[region], ends[region + 1]):
            row = rows[visit]
            high = np.uint64(numbers[visit]) << _ID_BITS
            for place in range(right.starts[row], right.starts[row] + right.counts[row]):
                count_key(cells, high | np.uint64(right.numbers[place]))
    return fetched  # unused, but without it the fetching would be left out


@compiled
def _choose_partners(
    table: Table,
    pairs: int,
    totals: Totals,
    left: Partners,
    right: Partners,
) -> None:
    for cell in table.ravel():
        together = np.float64(cell & COUNT_MASK)
        if together < _LEAST_TOGETHER:
            continue
        key = cell >> KEY_SHIFT
        one, other = int(np.int64(key >> _ID_BITS)), int(np.int64(key & _ID_MASK))
        expected = totals.looked_at[one] * totals.right[other] / pairs
        sure = together - 1
        lift = sure / expected
        if lift < _LEAST_LIFT:
            continue
        ratio = 2 * (together * np.log(together / expected) - (together - expected))
        if ratio < _LEAST_RATIO:
            continue
        of_left = sure / totals.looked_at[one]
        of_right = min(of_left * totals.left[one] / totals.right[other], 1.0)
        strength = np.float32(np.log(lift) + _COSINE_WEIGHT * np.log(of_left * of_right))
        left.certainty[one] = max(left.certainty[one], np.float32(of_left))
        right.certainty[other] = max(right.certainty[other], np.float32(of_right))
        _insert(left.numbers[one], left.strengths[one], other, strength)
        _insert(right.numbers[other], right.strengths[other], one, strength)


@compiled_part
def _insert(
    numbers: Numbers, strengths: NDArray[np.float32], number: int, strength: np.float32
) -> None:
    """Puts a partner in its place; of equally strong ones the more frequent wins."""
    place = len(numbers)
    while place > 0 and (
        strengths[place - 1] < strength
        or (strengths[place - 1] == strength and numbers[place - 1] > number)
    ):
        place -= 1
    if place == len(numbers):
        return
    for move in range(len(numbers) - 1, place, -1):
        numbers[move] = numbers[move - 1]
        strengths[move] = strengths[move - 1]
    numbers[place] = number
    strengths[place] = strength
