"""A slice of one side of the corpus, taken apart: what the compiled loops work on.

Slices are small enough for the nearest memories of a processor; the arrays are used again for the
next slice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.corpus.scoring.hashing import Hashes, Places
from src.corpus.scoring.marks import CLASSES, Marks
from src.corpus.utf8 import Codes

Counts = NDArray[np.int64]
Starts = NDArray[np.uint64]
Scores = NDArray[np.float64]

LONGEST = 1 << 18
"""Characters of a side that are looked at. No sentence is that long, so what its head shows is
enough, and no text, however long, needs more memory."""
MOST_ROWS = 2048
MOST_BYTES = LONGEST
"""Of the texts of a slice, unless it has one row only."""


class Block(NamedTuple):
    """R rows of text.

    Attributes:
        codes: `[C]` code points of all rows, without markup.
        marks: `[C]` class and flags of each.
        sums: `[C + 1]` hashes of the beginnings of `codes`.
        starts: `[R + 1]` where each row begins in `codes`.
        characters: `[R]` characters of each text, markup included.
        flags: `[R]` all flags that any character of a row has, markup included.
        counts: `[R, 16]` characters of each class.
        borders: `[2 * C + 2]` where each word begins and ends, by turns.
        begins: `[C + 1]` first character of each word, a view of `borders`.
        ends: `[C + 1]` place after the last character of each word, the other view.
        digests: `[C + 1]` hash of each word.
        word_starts: `[R + 1]` first word of each row.
        repeated: `[C + 1]` scratch.
        met: `[0x110000 / 64]` scratch, a bit for each code point; zero between rows.
    """

    codes: Codes
    marks: Marks
    sums: Hashes
    starts: Starts
    characters: Counts
    flags: Marks
    counts: Counts
    borders: Places
    begins: Places
    ends: Places
    digests: Hashes
    word_starts: Starts
    repeated: Hashes
    met: Hashes


def new_block() -> Block:
    """Room for any slice; memory that no text reaches is never touched."""
    borders = np.zeros(2 * LONGEST + 2, np.uint32)
    return Block(
        codes=np.zeros(LONGEST, np.uint32),
        marks=np.zeros(LONGEST, np.uint8),
        sums=np.zeros(LONGEST + 1, np.uint64),
        starts=np.zeros(MOST_ROWS + 1, np.uint64),
        characters=np.zeros(MOST_ROWS, np.int64),
        flags=np.zeros(MOST_ROWS, np.uint8),
        counts=np.zeros((MOST_ROWS, CLASSES), np.int64),
        borders=borders,
        begins=borders[::2],
        ends=borders[1::2],
        digests=np.zeros(LONGEST + 1, np.uint64),
        word_starts=np.zeros(MOST_ROWS + 1, np.uint64),
        repeated=np.zeros(LONGEST + 1, np.uint64),
        met=np.zeros(0x110000 // 64, np.uint64),
    )
