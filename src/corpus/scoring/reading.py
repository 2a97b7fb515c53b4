"""Taking texts apart: what every score starts from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.compiled import compiled
from src.corpus.scoring.block import Block
from src.corpus.scoring.decode import decode, mark
from src.corpus.scoring.hashing import Hashes, hash_words, sum_up
from src.corpus.scoring.marks import MARKUP, Folds, Marks
from src.corpus.scoring.markup import strip_markup
from src.corpus.scoring.words import count_classes, split_words
from src.corpus.texts import Bytes, Offsets


class ReadingTables(NamedTuple):
    """Tables by code point, and powers.

    Attributes:
        marks: `[0x110000]` class and flags, see `mark_table`.
        fold: `[0x10000]` what counts as the same character, see `fold_table`.
        powers: Powers of the base of the hashes.
    """

    marks: Marks
    fold: Folds
    powers: Hashes


@compiled
def read_texts(data: Bytes, offsets: Offsets, tables: ReadingTables, block: Block) -> None:
    """Fills a block.

    Args:
        data: Bytes of the texts.
        offsets: `[R + 1]` where each text begins.
        tables: Tables.
        block: Has room for R texts.
    """
    mark_table, fold, powers = tables
    codes, marks, sums, counts = block.codes, block.marks, block.sums, block.counts
    begins, ends, digests = block.begins, block.ends, block.digests
    start, first = np.uint64(0), np.uint64(0)
    for row in range(len(offsets) - 1):
        block.starts[row], block.word_starts[row] = start, first
        begin, end = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        stop, block.characters[row] = decode(data, begin, end, codes, start)
        flags = mark(codes, start, stop, mark_table, marks)
        block.flags[row] = flags
        if flags & MARKUP:
            stop = start + np.uint64(strip_markup(codes[start:stop], marks[start:stop]))
        sum_up(codes, start, stop, fold, sums)
        count_classes(marks, start, stop, flags, counts, row)
        last = split_words(marks, start, stop, block.borders, first)
        hash_words(sums, powers, begins, ends, digests, first, last)
        start, first = stop, last
    block.starts[len(offsets) - 1], block.word_starts[len(offsets) - 1] = start, first
