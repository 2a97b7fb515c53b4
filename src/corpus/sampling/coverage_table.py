"""What the corpus says and how often it was already chosen, in half a byte per cell.

A cell's state is `count + 4 * choices`: in how many pairs its n-gram stands, at most 3, and how
often it was chosen, at most 3. To a pair that has it an n-gram is worth

    1 for a count of 3, 1/4 for 2, nothing for 1;  a quarter of that for every time it was chosen

because what stands in a single pair teaches little and is mostly noise. N-grams share cells once
there are more of them than cells, and then the count of 1 is lost among the others. So that a table
of bounded size is never crowded, a large corpus is judged by a sample of the kinds of n-grams: one
in `2 ** thinning`, chosen by hash.

Measured on 142,000 pairs with 10 % of noise, 10 % of the tokens chosen: the in-domain coverage is
36.9 % with a cell for everything (at random: 32.4 %) and 2.1 % of the choice is noise. With
15 cells per pair it is 32.8 % and 9.5 %; with a quarter of the kinds in those, 35.3 % and 2.9 %.
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.mixing import mix
from src.corpus.sampling.grams import Cells, Features, GramChunk, Hashes, Indices
from src.corpus.sampling.ranking import Bools

MOST_BITS = 29
"""The largest table has `2 ** 29` cells in 256 MiB."""
LEVELS = 2048
"""Worth is told apart in so many levels; level 0 is no worth at all."""

_LEAST_BITS = 12
_CELLS_PER_PAIR = 64  # a pair adds 20 to 30 new kinds of n-grams to a corpus
_MOST_COUNT = _COUNT_MASK = 3
_CHOICE, _LAST_CHOICE = 4, 12
_UNIT = 256.0  # the worth of 1 as an integer: sums are exact and do not depend on their order
_LEVELS_PER_OCTAVE = 128
_LEAST_WORTH = 2.0**-13  # of level 1; the highest is for 8 and more, and no pair has above 3
_ONE, _FOUR, _STATE_MASK = np.uint32(1), np.uint32(4), np.uint32(15)

Levels = NDArray[np.int64]


class Threshold(NamedTuple):
    """What a pair must be worth.

    Attributes:
        level: Pairs of a higher level are kept.
        share: The share of the pairs of this very level that is kept.
    """

    level: int
    share: float


KEEPS_NONE = Threshold(LEVELS, 0.0)


class Decisions(NamedTuple):
    """About consecutive pairs: the levels of their worth, and which were kept."""

    levels: Levels
    is_kept: Bools


class _Cells(NamedTuple):
    """The states, two cells a byte, and `[16]` the worth of each state in 1/256."""

    states: NDArray[np.uint8]
    worths: Indices


def features_for(pairs: int) -> Features:
    """Size of the table and thinning for a corpus of so many pairs; depends on nothing else."""
    wanted = (_CELLS_PER_PAIR * max(pairs, 1) - 1).bit_length()
    bits = min(max(wanted, _LEAST_BITS), MOST_BITS)
    return Features(bits, max(wanted - MOST_BITS, 0))


def _worths() -> Indices:
    states = np.arange(16)
    fresh = np.array([0, 0, 64, 256])[states & _COUNT_MASK]
    return np.asarray(fresh >> 2 * (states // _CHOICE), np.int64)


class CoverageTable:
    """Counts of n-grams, then their current worth.

    All pairs are counted, in any order and from any thread, before the first is decided.

    Args:
        features: Size of the table, and which n-grams count.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        states = np.empty(1 << (features.bits - 1), np.uint8)
        # Unlike zeros, which come in small pages: places in large ones are found in half the time.
        states.fill(0)
        self._cells = _Cells(states, _worths())
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory of the table."""
        return self._cells.states.nbytes

    def count(self, chunk: GramChunk) -> None:
        """Notes that these pairs exist."""
        # A count that stops at three is the same in whatever order it was raised.
        with self._lock:
            _count(self._cells, chunk.cells)

    def decide(
        self,
        chunk: GramChunk,
        pairs: slice,
        factor: float,
        priorities: Hashes,
        threshold: Threshold,
    ) -> Decisions:
        """Values pairs one after another and keeps those above the threshold.

        What a kept pair says is worth less to the pairs after it.

        Args:
            chunk: N-grams of R pairs.
            pairs: Which of them, consecutive.
            factor: Worth is multiplied by it, above 0 and at most 1.
            priorities: `[R]` a hash per pair, which decides in the level of the threshold.
            threshold: What a pair must be worth.
        """
        count = pairs.stop - pairs.start
        decisions = Decisions(np.empty(count, np.int64), np.empty(count, np.bool_))
        unit = factor / (_LEAST_WORTH * _UNIT)
        _decide(self._cells, chunk, pairs.start, unit, priorities, threshold, decisions)
        return decisions

    def levels(self, chunk: GramChunk, pairs: slice, factor: float, priorities: Hashes) -> Levels:
        """`[len(pairs)]` the levels of pairs if they were valued now; nothing is kept."""
        return self.decide(chunk, pairs, factor, priorities, KEEPS_NONE).levels


@compiled_part
def _state(states: NDArray[np.uint8], cell: np.uint32) -> np.uint8:
    return np.uint8(states[cell >> _ONE] >> (cell & _ONE) * _FOUR & _STATE_MASK)


@compiled_part
def _raise_state(states: NDArray[np.uint8], cell: np.uint32, by: np.uint32) -> None:
    states[cell >> _ONE] += np.uint8(by << (cell & _ONE) * _FOUR)


@compiled
def _count(table: _Cells, cells: Cells) -> None:
    for cell in cells:
        if _state(table.states, cell) & _COUNT_MASK < _MOST_COUNT:
            _raise_state(table.states, cell, _ONE)


@compiled
def _decide(
    table: _Cells,
    chunk: GramChunk,
    first: int,
    unit: float,
    priorities: Hashes,
    threshold: Threshold,
    decisions: Decisions,
) -> None:
    states, worths = table
    cells, ends, tokens = chunk
    levels, is_kept = decisions
    for index in range(len(levels)):
        pair = first + index
        begin = ends[pair - 1] if pair else 0
        worth = 0
        for place in range(begin, ends[pair]):
            worth += worths[_state(states, cells[place])]
        levels[index] = _level(worth * unit / max(tokens[pair], 1))
        is_kept[index] = levels[index] > threshold.level or (
            levels[index] == threshold.level and _draw(priorities[pair]) < threshold.share
        )
        if is_kept[index]:
            for place in range(begin, ends[pair]):
                if _state(states, cells[place]) < _LAST_CHOICE:
                    _raise_state(states, cells[place], _FOUR)


@compiled_part
def _level(worth: float) -> int:
    """Level of a worth in units of the least: linear steps within an octave."""
    if worth < 1.0:
        return 1 if worth > 0.0 else 0
    fraction, exponent = math.frexp(worth)
    steps = _LEVELS_PER_OCTAVE * (exponent - 1) + int((2.0 * fraction - 1.0) * _LEVELS_PER_OCTAVE)
    return min(1 + steps, LEVELS - 1)


@compiled_part
def _draw(priority: np.uint64) -> float:
    """A number from 0 to 1 that knows nothing of the order of the priorities."""
    return float(mix(priority) >> np.uint64(11)) * 2.0**-53
