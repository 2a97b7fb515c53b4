"""Whether the numbers of two texts contradict each other, for who asks about nothing else.

`score_pairs` measures everything about millions of pairs; a translation that is checked while
somebody waits needs one of its columns, for a few pairs, without compiling the loops of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.compiled import machine_code_folder
from src.corpus.scoring.block import LONGEST, new_block
from src.corpus.scoring.hashing import HashSet, powers
from src.corpus.scoring.marks import fold_table, mark_table
from src.corpus.scoring.number_values import new_numbers
from src.corpus.scoring.number_words import number_tables, reader_of
from src.corpus.scoring.numbers import NumberScratch, compare_numbers
from src.corpus.scoring.reading import ReadingTables, read_texts
from src.corpus.texts import Texts


def is_compiled() -> bool:
    """Whether an earlier process has left the machine code; compiling takes half a minute."""
    return any(machine_code_folder().rglob("numbers.compare_numbers-*.nbi"))


def number_disagreement(
    pairs: Sequence[tuple[str, str]], languages: tuple[str, str]
) -> NDArray[np.float64]:
    """How strongly the numbers of the sides of N pairs contradict each other.

    Args:
        pairs: Texts in the first and in the second language, in Unicode that UTF-8 can hold.
        languages: Codes of both.

    Returns:
        `[N]` from 0.0 to 1.0, the column `numbers` of `score_pairs`; see `compare_numbers`.
    """
    readers = (reader_of(languages[0]), reader_of(languages[1]))
    marks = mark_table(japanese="ja" in languages)
    tables = ReadingTables(marks, fold_table(), powers(LONGEST + 1))
    numbers, room = (new_numbers(LONGEST), new_numbers(LONGEST)), HashSet.for_members(LONGEST)
    blocks, scratch = (new_block(), new_block()), NumberScratch(*numbers, room)
    found = np.zeros(len(pairs))
    for row, pair in enumerate(pairs):
        for text, block in zip(pair, blocks, strict=True):
            column = Texts.of([text])
            read_texts(column.data, column.offsets, tables, block)
        place = found[row : row + 1]
        compare_numbers(blocks[0], blocks[1], readers, number_tables(), scratch, place)
    return found
