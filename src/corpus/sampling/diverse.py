"""The widest coverage of words and phrases: a threshold greedy in one pass over the pairs.

A pair is worth the sum of the current values of its distinct n-grams, per unit of text. Pairs come
in a pseudo-random order; one above the threshold is kept, and its n-grams are worth a quarter then,
so that what is said again is worth less (feature decay, Biçici and Yuret 2011, with the exact
greedy's priority queue replaced by the threshold). Two things keep it from collecting rubbish,
which is always new: the worst pairs by score cannot enter, and only n-grams that occur in two pairs
or more have a value.

The passes:

1. The gate: the scores' quantile, by radix selection.
2. Counting: which n-grams stand in one, two or more pairs. Order does not matter here.
3. Deciding: threads extract n-grams, this thread decides one pair after another. The order is that
   of stripes (by the upper bits of the pair's hash), of blocks within a stripe (by a hash of their
   number) and of hashes within a block, so that a corpus sorted by source is seen evenly, yet every
   block is read two to eight times only.
4. The size is met exactly: the least worthy of the kept pairs leave, or the worthiest of the others
   enter.

Memory beside the masks: the coverage table, and per thread one block of text and the n-grams of one
slice of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.corpus.sampling.coverage_table import LEVELS, CoverageTable, Decisions, features_for
from src.corpus.sampling.grams import GramChunk, Hashes, gram_chunks
from src.corpus.sampling.pool import Pool, Progress, in_order, priorities
from src.corpus.sampling.ranking import (
    Bools,
    FirstRows,
    ascending_bits,
    find_cut,
    of_ascending_bits,
)
from src.corpus.sampling.steering import Steering

GATE_SHARE = 0.25
"""Share of the candidates, worst by score, that is left out beforehand."""

_MOST_STRIPE_BITS, _LEAST_STRIPE_BITS = 3, 1
_ENOUGH_SLICES = 512
_SLICE_ROWS = 8192  # of a block that are counted at a time

# A row's mark: left out by the gate; then admitted; then rejected or kept, with the worth it had.
_OUT, _ADMITTED, _KEPT = 0, 1, 128
_LEVELS_PER_MARK = LEVELS // _KEPT

Marks = NDArray[np.uint8]


class Gate(NamedTuple):
    """What could not be chosen, however new what it says.

    Attributes:
        left_out: Candidates that were left out.
        lowest: Those with a lower score than this; None where none was left out.
    """

    left_out: int
    lowest: float | None


def choose_diverse(
    pool: Pool, size: int, seed: int, workers: int, progress: Progress
) -> tuple[list[Bools], Gate]:
    """Marks exactly `size` of N rows, `1 <= size < N`; a mask per block, and what the gate did.

    Args:
        pool: The candidates.
        size: Rows to choose.
        seed: Decides the order.
        workers: Threads that read texts and extract n-grams.
        progress: Called with rows done; they add up to N.
    """
    marks, lowest = _gated(pool, size)
    gate = Gate(sum(int(np.count_nonzero(block == _OUT)) for block in marks), lowest)
    admitted = sum(int(np.count_nonzero(block)) for block in marks)
    table = CoverageTable(features_for(admitted))
    counting = _Counting(pool, marks, table)
    for block, _ in enumerate(in_order(counting, range(pool.block_count), workers)):
        progress(pool.rows(block) // 2)
    slicing = _Slicing(pool, marks, table, seed)
    steering = Steering(admitted, size)
    for found in in_order(slicing, slicing.places(), workers):
        _decide_slice(found, marks[found.block], table, steering)
        half = (pool.rows(found.block) + 1) // 2
        progress(_share_of(half, found.stripe, slicing.stripe_count))
    return _exactly(pool, marks, size, seed), gate


def _gated(pool: Pool, size: int) -> tuple[list[Marks], float | None]:
    """A mark per row, `_ADMITTED` or `_OUT`, and the score below which rows are out.

    Equal scores are treated alike: the cut is moved to the nearer end of a run of equal scores.
    """
    rows = [pool.rows(block) for block in range(pool.block_count)]
    # At most half of what has to go anyway: with less choice than that, coverage would have none
    # and the gate alone would decide.
    most = (sum(rows) - size) // 2
    wanted = min(round(sum(rows) * GATE_SHARE), most)
    if not wanted:
        return [np.full(count, _ADMITTED, np.uint8) for count in rows], None
    cut = find_cut(lambda block: ascending_bits(pool.scores(block)), len(rows), wanted)
    above = cut.below + cut.equal
    takes_equal = above <= most and above - wanted <= wanted - cut.below
    least = cut.key + np.uint64(takes_equal)
    marks = [
        (ascending_bits(pool.scores(block)) >= least).astype(np.uint8) for block in range(len(rows))
    ]
    return marks, of_ascending_bits(least)


class _Counting:
    """Counts the n-grams of a block's admitted pairs."""

    def __init__(self, pool: Pool, marks: list[Marks], table: CoverageTable) -> None:
        self._pool = pool
        self._marks = marks
        self._table = table

    def __call__(self, block: int) -> None:
        rows = np.flatnonzero(self._marks[block])
        left, right = self._pool.texts(block)
        for start in range(0, len(rows), _SLICE_ROWS):
            part = rows[start : start + _SLICE_ROWS]
            for chunk in gram_chunks(left, right, part, self._table.features):
                self._table.count(chunk)


class _Slice(NamedTuple):
    """The admitted pairs of one stripe and block.

    Attributes:
        stripe: Which stripe.
        block: Which block.
        rows: `[R]` places of the pairs in it, in order of decision.
        priorities: `[R]` ascending.
        factor: Weight of the block as a share of the largest.
        chunks: N-grams of the R pairs.
    """

    stripe: int
    block: int
    rows: NDArray[np.int64]
    priorities: Hashes
    factor: float
    chunks: list[GramChunk]


class _Slicing:
    """Reads and extracts one slice."""

    def __init__(self, pool: Pool, marks: list[Marks], table: CoverageTable, seed: int) -> None:
        self._pool = pool
        self._marks = marks
        self._features = table.features
        self._seed = seed
        self._heaviest = max(pool.weight(block) for block in range(pool.block_count))

        self._stripe_bits = _stripe_bits(pool.block_count)
        self.stripe_count = 1 << self._stripe_bits

    def places(self) -> Iterator[tuple[int, int]]:
        """Stripe and block of every slice, in the order of decisions."""
        blocks = np.arange(self._pool.block_count, dtype=np.uint64)
        order = np.argsort(priorities(blocks, self._seed), kind="stable").tolist()
        return ((stripe, block) for stripe in range(self.stripe_count) for block in order)

    def __call__(self, place: tuple[int, int]) -> _Slice:
        stripe, block = place
        order = priorities(self._pool.keys(block), self._seed)
        is_in_stripe = order >> np.uint64(64 - self._stripe_bits) == np.uint64(stripe)
        # Marks of other stripes may change meanwhile, but never from or to left out.
        rows = np.flatnonzero(is_in_stripe & (self._marks[block] != _OUT))
        rows = rows[np.argsort(order[rows], kind="stable")]
        factor = self._pool.weight(block) / self._heaviest
        chunks = gram_chunks(*self._pool.texts(block), rows, self._features) if len(rows) else []
        return _Slice(stripe, block, rows, order[rows], factor, chunks)


def _stripe_bits(blocks: int) -> int:
    """Few blocks need many stripes to be mixed well; many are mixed anyway, and reading costs."""
    enough = (_ENOUGH_SLICES // max(blocks, 1)).bit_length() - 1
    return min(max(enough, _LEAST_STRIPE_BITS), _MOST_STRIPE_BITS)


def _share_of(count: int, part: int, parts: int) -> int:
    """The part of a count; all parts add up to it."""
    return count * (part + 1) // parts - count * part // parts


def _decide_slice(found: _Slice, marks: Marks, table: CoverageTable, steering: Steering) -> None:
    """Marks the pairs of a slice as rejected or kept."""
    done = 0
    for chunk in found.chunks:
        pairs = slice(done, done + len(chunk.ends))
        priority = found.priorities[pairs]
        start = 0
        while start < len(chunk.ends):
            window = slice(start, min(start + steering.left_in_window, len(chunk.ends)))
            if not steering.has_begun:
                steering.begin(table.levels(chunk, window, found.factor, priority))
            decisions = table.decide(chunk, window, found.factor, priority, steering.threshold)
            steering.add(decisions)
            marks[found.rows[pairs][window]] = _marks_of(decisions)
            start = window.stop
        done = pairs.stop


def _marks_of(decisions: Decisions) -> Marks:
    worths = decisions.levels // _LEVELS_PER_MARK
    marks = np.where(decisions.is_kept, _KEPT + worths, np.maximum(worths, _ADMITTED))
    return marks.astype(np.uint8)


def _exactly(pool: Pool, marks: list[Marks], size: int, seed: int) -> list[Bools]:
    """The `size` rows of the highest marks, as masks in the memory of the marks."""

    def sort_keys(block: int) -> Hashes:
        falling = np.uint64(255) - marks[block].astype(np.uint64)
        return falling << np.uint64(56) | priorities(pool.keys(block), seed) >> np.uint64(8)

    first = FirstRows(find_cut(sort_keys, len(marks), size), size)
    masks: list[Bools] = []
    for block, block_marks in enumerate(marks):
        mask = block_marks.view(np.bool_)
        mask[:] = first.mask(sort_keys(block))
        masks.append(mask)
    return masks
