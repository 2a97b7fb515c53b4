"""The first k rows by a sort key, found without sorting or keeping the keys.

Four passes over the blocks count sixteen bits of the key each, from the highest, and narrow down
the key of the k-th row (radix selection). Memory is one block and one histogram, whatever N.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.corpus.sampling.grams import Hashes

Bools = NDArray[np.bool_]
SortKeys = Callable[[int], Hashes]

_DIGIT_BITS = 16
_SHIFTS = (48, 32, 16, 0)
_SIGN = np.uint64(1 << 31)


class Cut(NamedTuple):
    """The k-th smallest of N keys.

    Attributes:
        key: Its value.
        below: Keys smaller than it, fewer than k.
        equal: Keys of this value; `below + equal >= k`.
    """

    key: np.uint64
    below: int
    equal: int


def find_cut(sort_keys: SortKeys, blocks: int, k: int) -> Cut:
    """The k-th smallest of all keys, `1 <= k <= N`.

    Args:
        sort_keys: Gives the keys of a block; is called four times for each.
        blocks: Number of blocks.
        k: Rank, from 1.
    """
    prefix = np.uint64(0)
    below = equal = 0
    for shift in _SHIFTS:
        counts = np.zeros(1 << _DIGIT_BITS, np.int64)
        for block in range(blocks):
            keys = sort_keys(block)
            if shift != _SHIFTS[0]:
                keys = keys[keys >> np.uint64(shift + _DIGIT_BITS) == prefix]
            digits = (keys >> np.uint64(shift)) & np.uint64((1 << _DIGIT_BITS) - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=len(counts))
        totals = np.cumsum(counts)
        digit = int(np.searchsorted(totals, k - below))
        equal = int(counts[digit])
        below += int(totals[digit]) - equal
        prefix = (prefix << np.uint64(_DIGIT_BITS)) | np.uint64(digit)
    return Cut(prefix, below, equal)


class FirstRows:
    """Marks the `size` rows with the smallest keys, block by block in order.

    Rows with the very key of the cut are taken in the order of blocks and rows until the size is
    met; the lower bits of a sort key are a hash, so that hardly ever decides.
    """

    def __init__(self, cut: Cut, size: int) -> None:
        self._key = cut.key
        self._wanted = size - cut.below

    def mask(self, keys: Hashes) -> Bools:
        """`[n]` True where a row of the next block is among the first."""
        is_first = keys < self._key
        equal = np.flatnonzero(keys == self._key)[: self._wanted]
        is_first[equal] = True
        self._wanted -= len(equal)
        return is_first


def ascending_bits(values: NDArray[np.float32]) -> Hashes:
    """`[n]` 32-bit integers in the order of the floats, as uint64.

    Raises:
        ValueError: If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(values))} scores are not finite")
    # Positive floats order as their bits; negative ones the other way round.
    bits = (values + np.float32(0)).view(np.uint32).astype(np.uint64)  # -0.0 becomes 0.0
    return np.where(bits & _SIGN, np.uint64(0xFFFFFFFF) - bits, bits | _SIGN)


def of_ascending_bits(bits: np.uint64) -> float:
    """The float of one of these integers."""
    plain = bits ^ _SIGN if bits & _SIGN else np.uint64(0xFFFFFFFF) - bits
    return float(np.array(plain, np.uint32).view(np.float32))
