"""Which items come at which step: a pure function of (seed, epoch, batch).

An item is a pair in one direction: item `i` is row `i // directions` in direction
`i % directions`. No shuffled list is kept and nothing is replayed: a keyed bijection over the
items gives the item at any position directly. Consecutive positions form windows; a window is
sorted by length and cut into global batches of nearly equal length (little padding), which are
then shuffled. So any batch of any epoch costs one window, and the position is two integers.

Global batches know nothing of ranks. How a batch is shared out is decided afterwards, by
`split_micro_batches`, so that any number of ranks trains on the same batches.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from src.tokens.columns import IntArray

WINDOW_ITEMS = 32_768
"""Items sorted together. With 10,000 and more, 98 % of computed positions are real tokens."""

_DOUBLE_ROUNDS = 6
_MASK_64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def derive_key(*parts: int | str) -> int:
    """A 64-bit key for each purpose: different parts give unrelated keys."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Permutation:
    """A pseudo-random order of the numbers below `size`, without an array of that size.

    A Feistel network permutes the numbers of just enough bits; a result that is not below `size`
    is fed in again until one is (cycle walking; less than two rounds on average), which keeps it a
    bijection.
    """

    def __init__(self, size: int, key: int) -> None:
        self._size = np.uint64(size)
        bits = max(2, (size - 1).bit_length())
        self._right_bits, self._left_bits = np.uint64(bits // 2), np.uint64(bits - bits // 2)
        self._right_mask = np.uint64((1 << bits // 2) - 1)
        self._keys = [
            np.uint64((key + _GOLDEN * (index + 1)) & _MASK_64)
            for index in range(2 * _DOUBLE_ROUNDS)
        ]

    def __call__(self, positions: IntArray) -> IntArray:
        """The numbers at `positions`: int64, the same shape; positions are below `size`."""
        numbers = self._encipher(np.asarray(positions).astype(np.uint64))
        outside = numbers >= self._size
        while outside.any():
            numbers[outside] = self._encipher(numbers[outside])
            outside = numbers >= self._size
        return numbers.astype(np.int64)

    def _encipher(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> self._right_bits, values & self._right_mask
        for index in range(0, len(self._keys), 2):
            left = left ^ _scramble(right + self._keys[index], self._left_bits)
            right = right ^ _scramble(left + self._keys[index + 1], self._right_bits)
        return (left << self._right_bits) | right


def _scramble(values: NDArray[np.uint64], bits: np.uint64) -> NDArray[np.uint64]:
    """The top `bits` bits of a 64-bit hash of each value (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (values ^ (values >> np.uint64(31))) >> (np.uint64(64) - bits)


class Selection:
    """The items that take part, numbered from 0 without holes.

    What is left out (pairs that are too long) is usually a small part, so only that part is
    stored: the kept pairs from the end of a direction's rows stand in for the left-out ones before.
    """

    def __init__(
        self,
        rows: Sequence[range],
        left_out: Sequence[IntArray],
        *,
        limits: Sequence[int | None],
        seed: int,
    ) -> None:
        """Numbers the items.

        Args:
            rows: Per direction, the rows that have it.
            left_out: Per direction, which of these take no part, ascending.
            limits: Per direction, the largest number of pairs; which ones is pseudo-random and
                the same in every epoch. None takes all.
            seed: Decides which ones.
        """
        self._directions = [
            _Direction(*parts, derive_key(seed, "subset", direction))
            for direction, parts in enumerate(zip(rows, left_out, limits, strict=True))
        ]
        sizes = [direction.size for direction in self._directions]
        self._starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __call__(self, numbers: IntArray) -> IntArray:
        """The items with these numbers: int64, the same shape."""
        ways = np.searchsorted(self._starts, numbers, side="right") - 1
        items = np.empty_like(numbers)
        for way, direction in enumerate(self._directions):
            here = ways == way
            rows = direction(numbers[here] - self._starts[way])
            items[here] = rows * len(self._directions) + way
        return items


class _Direction:
    """The rows that take part in one direction, numbered from 0 without holes."""

    def __init__(self, rows: range, left_out: IntArray, limit: int | None, key: int) -> None:
        kept = len(rows) - len(left_out)
        left_out = left_out - rows.start
        self._first_row = rows.start
        self._holes = left_out[left_out < kept]
        self._fillers = np.setdiff1d(np.arange(kept, len(rows), dtype=np.int64), left_out)
        self._subset = Permutation(kept, key) if limit is not None and limit < kept else None
        self.size = kept if limit is None else min(kept, limit)

    def __call__(self, numbers: IntArray) -> IntArray:
        if self._subset is not None:
            numbers = self._subset(numbers)
        if len(self._holes):
            nearest = np.minimum(np.searchsorted(self._holes, numbers), len(self._holes) - 1)
            is_hole = self._holes[nearest] == numbers
            numbers = np.where(is_hole, self._fillers[nearest], numbers)
        return self._first_row + numbers


class StreamOrder:
    """Global batches by (epoch, batch).

    Attributes:
        batches_per_epoch: Every item occurs in exactly one of them; one may be smaller.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        global_batch_size: int,
        seed: int,
        lengths: Callable[[IntArray], IntArray],
        window_batches: int | None = None,
        shuffle: bool = True,
    ) -> None:
        """Defines the order; nothing is computed yet.

        Args:
            selection: The items of an epoch.
            global_batch_size: Items in a batch.
            seed: Decides the order of all epochs.
            lengths: Number of tokens of each of an array of items.
            window_batches: Batches sorted together; None: about 32,768 items.
            shuffle: False takes the items as they lie in the corpus, in every epoch.
        """
        self._selection = selection
        self._global_batch_size = global_batch_size
        self._seed = seed
        self._lengths = lengths
        self._shuffle = shuffle
        if not shuffle:
            window_batches = 1
        self._window_batches = window_batches or max(1, WINDOW_ITEMS // global_batch_size)
        self.batches_per_epoch = -(-len(selection) // global_batch_size)
        self._latest: tuple[int, int, list[IntArray]] = (-1, -1, [])

    def global_batch(self, epoch: int, batch: int) -> IntArray:
        """The items of one global batch, shortest first: int64 `[global_batch_size or less]`.

        Costs one window, whatever the position; the next batch of the window is free.
        """
        if not 0 <= batch < self.batches_per_epoch:
            raise IndexError(f"batch {batch} of an epoch of {self.batches_per_epoch} batches")
        number, place = divmod(batch, self._window_batches)
        if self._latest[:2] != (epoch, number):
            self._latest = (epoch, number, self._window(epoch, number))
        return self._latest[2][place]

    def _window(self, epoch: int, number: int) -> list[IntArray]:
        """The batches of one window in the order in which they come."""
        width = self._window_batches * self._global_batch_size
        total = len(self._selection)
        positions = np.arange(number * width, min((number + 1) * width, total), dtype=np.int64)
        if self._shuffle:
            positions = Permutation(total, derive_key(self._seed, "items", epoch))(positions)
        items = self._selection(positions)
        items = items[np.argsort(self._lengths(items), kind="stable")]
        size = self._global_batch_size
        batches = [items[begin : begin + size] for begin in range(0, len(items), size)]
        places = np.arange(len(batches), dtype=np.int64)
        if self._shuffle:
            key = derive_key(self._seed, "batches", epoch, number)
            places = Permutation(len(batches), key)(places)
        return [batches[place] for place in places]


def split_micro_batches(lengths: IntArray, *, ranks: int, batch_size: int) -> list[list[slice]]:
    """Shares one global batch out to ranks and forward passes.

    Neighbours in length stay together, so padding is small. All ranks get the same number of
    micro-batches, sizes differ by at most one, and the sums of padded tokens are close: in each
    round the costliest micro-batch goes to the rank that has least to do so far.

    Args:
        lengths: Tokens of each item `[B]`, ascending.
        ranks: Processes that share the batch.
        batch_size: Largest number of items in a micro-batch.

    Returns:
        Per rank, slices of the batch, the costliest first; together every item exactly once. A
        batch of fewer items than ranks leaves some ranks without any.
    """
    count = len(lengths)
    rounds = -(-count // (ranks * batch_size))
    bounds = np.arange(ranks * rounds + 1) * count // (ranks * rounds)
    slices = [
        slice(begin, end) for begin, end in itertools.pairwise(bounds.tolist()) if end > begin
    ]

    def cost(part: slice) -> int:
        # Lengths ascend, so a slice's last item is its longest.
        return int((part.stop - part.start) * lengths[part.stop - 1])

    slices.sort(key=cost, reverse=True)
    shares: list[list[slice]] = [[] for _ in range(ranks)]
    for begin in range(0, len(slices), ranks):
        least_first = sorted(shares, key=lambda share: sum(map(cost, share)))
        for share, part in zip(least_first, slices[begin : begin + ranks], strict=False):
            share.append(part)
    return shares
