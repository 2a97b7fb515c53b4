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

# What a mark says of words: letters and digits of one, and what may join them.
_IN_WORD, _JOINS = np.uint8(1), np.uint8(2)
_ROLES = np.array(
    [
        (WORD_CLASSES >> (mark & CLASS_MASK) & 1) * _IN_WORD | (mark & JOINER != 0) * _JOINS
        for mark in range(1 << 8)
    ],
    np.uint8,
)


@compiled_part
def count_classes(
    marks: Marks, start: np.uint64, stop: np.uint64, seen: np.uint8, counts: Counts, row: Int
) -> None:
    """Counts the characters of each class into `counts[row]`, `[16]`.

    Args:
        marks: `[C]` class and flags of each character.
        start: First character of the text.
        stop: Place after its last.
        seen: All bits that any of their marks has.
        counts: `[R, 16]`.
        row: Where to.
    """
    for number in range(2 * _LANES):
        counts[row, number] = 0
    while start < stop:
        # Eight counters of one byte each, in a register; few texts need the other eight.
        end = min(stop, start + _LANE_LIMIT)
        lanes = _ZERO
        if seen & _LANES:
            high = _ZERO
            for place in range(start, end):
                kind = np.uint64(marks[place] & CLASS_MASK)
                is_high = kind >> _THREE
                lane = ONE << ((kind & _SEVEN) << _THREE)
                high += lane * is_high
                lanes += lane * (is_high ^ ONE)
            _add_lanes(high, counts, row, _LANES)
        else:
            for place in range(start, end):
                lanes += ONE << (np.uint64(marks[place] & CLASS_MASK) << _THREE)
        _add_lanes(lanes, counts, row, 0)
        start = end


@compiled_part
def _add_lanes(lanes: np.uint64, counts: Counts, row: Int, first: Int) -> None:
    for number in range(_LANES):
        counts[row, first + number] += np.int64((lanes >> np.uint64(8 * number)) & _LANE_MASK)


@compiled_part
def split_words(
    marks: Marks, start: np.uint64, stop: np.uint64, borders: Places, first: np.uint64
) -> np.uint64:
    """Finds words: runs of letters and digits of scripts that put spaces.

    `don't`, `12,345.6`, `2:07` and `state-of-the-art` are one word each.

    Args:
        marks: `[C]` class and flags of each character.
        start: First character of the text.
        stop: Place after its last.
        borders: `[2 * C + 2]` receives the first character of each word and the place after its
            last, by turns, from the word `first` on.
        first: Number of the first word.

    Returns:
        The number after that of the last word.
    """
    if start >= stop:
        return first
    # Nothing here branches on the text, which no processor can predict, or waits for the last word.
    count, last = first << ONE, stop - ONE
    before, role, was_inside = np.uint8(0), _ROLES[marks[start]], np.uint8(0)
    for place in range(start, last):
        following = _ROLES[marks[place + ONE]]
        is_inside = (role | (role >> _IN_WORD & before & following)) & _IN_WORD
        borders[count] = place
        count += np.uint64(is_inside ^ was_inside)
        before, role, was_inside = role, following, is_inside
    borders[count] = last
    count += np.uint64((role & _IN_WORD) ^ was_inside)
    borders[count] = stop
    return (count + ONE) >> ONE
