"""Lists of numbers and of the values that they may stand for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled_part
from src.corpus.mixing import mix
from src.corpus.scoring.block import Counts
from src.corpus.scoring.hashing import Hashes
from src.corpus.scoring.marks import Folds, Marks
from src.corpus.utf8 import Codes, Int


class Text(NamedTuple):
    """One text, as the readers of numbers want it.

    Attributes:
        codes: `[C]` code points.
        marks: `[C]` class and flags of each.
        sums: `[C + 1]` hashes of its beginnings.
        fold: `[0x10000]` lower-case forms; digits of any script become 0 to 9.
        powers: Powers of the base of the hashes.
        length: C.
    """

    codes: Codes
    marks: Marks
    sums: Hashes
    fold: Folds
    powers: Hashes
    length: int


class Numbers(NamedTuple):
    """The numbers of one side.

    Attributes:
        values: `[V]` values that numbers in digits may stand for, then those in words.
        keys: `[V]` their bits; for digits that no float holds, a hash.
        owners: `[V]` the number in digits that each value belongs to.
        kinds: `[V]` the kind of each number in digits.
        sizes: `[2]` how many values and how many numbers in digits there are.
    """

    values: NDArray[np.float64]
    keys: Hashes
    owners: Counts
    kinds: NDArray[np.uint8]
    sizes: Counts


def new_numbers(most: int) -> Numbers:
    """Room for so many values; what is more is not noted."""
    values = np.zeros(most, np.float64)
    return Numbers(
        values=values,
        keys=values.view(np.uint64),
        owners=np.zeros(most, np.int64),
        kinds=np.zeros(most, np.uint8),
        sizes=np.zeros(2, np.int64),
    )


REQUIRED, ATTACHED = 0, 1
"""Kinds of numbers in digits: whether they ask for an answer."""

_NOBODY = -1
_NOT_A_NUMBER, _PAYLOAD_SHIFT = np.uint64(0x7FF8 << 48), np.uint64(13)


@compiled_part
def new_number(numbers: Numbers, kind: Int) -> None:
    """Begins a number in digits; what is added next are its values."""
    if numbers.sizes[1] < len(numbers.kinds):
        numbers.kinds[numbers.sizes[1]] = kind
        numbers.sizes[1] += 1


@compiled_part
def add_value(numbers: Numbers, value: float) -> None:
    """Adds a value to the last number."""
    size = numbers.sizes[0]
    if size < len(numbers.values):
        numbers.values[size] = value
        numbers.owners[size] = numbers.sizes[1] - 1
        numbers.sizes[0] += 1


@compiled_part
def add_text(numbers: Numbers, digest: np.uint64) -> None:
    """Adds digits that no float holds exactly as a value of the last number."""
    size = numbers.sizes[0]
    if size < len(numbers.values):
        numbers.keys[size] = _NOT_A_NUMBER | mix(digest) >> _PAYLOAD_SHIFT
        numbers.owners[size] = numbers.sizes[1] - 1
        numbers.sizes[0] += 1


@compiled_part
def add_spoken(numbers: Numbers, value: float) -> None:
    """Adds the value of a number in words."""
    size = numbers.sizes[0]
    if size < len(numbers.values):
        numbers.values[size] = value
        numbers.owners[size] = _NOBODY
        numbers.sizes[0] += 1
