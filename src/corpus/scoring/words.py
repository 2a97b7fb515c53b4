"""Characters by class, and words."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled_part
from src.corpus.scoring.block import Counts
from src.corpus.scoring.hashing import Places
from src.corpus.scoring.marks import CLASS_MASK, JOINER, WORD_CLASSES, Marks
from src.corpus.utf8 import ONE, Int

_LANES, _LANE_LIMIT = 8, np.uint64(248)
_LANE_MASK = np.uint64(255)
_ZERO, _THREE, _SEVEN = np.uint64(0), np.uint64(3), np.uint64(7)


@compiled_part
def count_classes(
    marks: Marks, start: np.uint64, stop: np.uint64, counts: Counts, row: Int
) -> None:
    """Counts the characters of each class from `start` to `stop` into `counts[row]`, `[16]`."""
    for number in range(2 * _LANES):
        counts[row, number] = 0
    while start < stop:
        # Two times eight counters of one byte each, in registers.
        low, high = np.uint64(0), np.uint64(0)
        end = min(stop, start + _LANE_LIMIT)
        for place in range(start, end):
            kind = np.uint64(marks[place] & CLASS_MASK)
            is_high = kind >> _THREE
            lane = ONE << ((kind & _SEVEN) << _THREE)
            high += lane * is_high
            low += lane * (is_high ^ ONE)
        start = end
        for lane_number in range(_LANES):
            shift = np.uint64(8 * lane_number)
            counts[row, lane_number] += np.int64((low >> shift) & _LANE_MASK)
            counts[row, lane_number + _LANES] += np.int64((high >> shift) & _LANE_MASK)


@compiled_part
def split_words(
    marks: Marks,
    start: np.uint64,
    stop: np.uint64,
    begins: Places,
    ends: Places,
    first: np.uint64,
) -> np.uint64:
    """Finds words: runs of letters and digits of scripts that put spaces.

    `don't`, `12,345.6`, `2:07` and `state-of-the-art` are one word each.

    Args:
        marks: `[C]` class and flags of each character.
        start: First character of the text.
        stop: Place after its last.
        begins: `[C + 1]` receives the first character of each word, from `first` on.
        ends: `[C + 1]` receives the place after its last.
        first: Number of the first word.

    Returns:
        The number after that of the last word.
    """
    # Nothing here branches on the text, which no processor can predict.
    begun, ended, before = first, first, _ZERO
    here = _is_in_word(marks[start]) if start < stop else _ZERO
    for place in range(start, stop):
        after = _is_in_word(marks[place + ONE]) if place + ONE < stop else _ZERO
        joined = before & after & np.uint64(marks[place] // JOINER)
        inside = here | joined
        begins[begun] = place
        ends[ended] = place
        begun += inside & (before ^ ONE)
        ended += before & (inside ^ ONE)
        before, here = inside, after
    ends[ended] = stop
    return begun


@compiled_part
def _is_in_word(mark: Int) -> np.uint64:
    return np.uint64(WORD_CLASSES >> (mark & CLASS_MASK) & 1)
