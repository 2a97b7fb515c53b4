"""Whether two sentences speak of the same numbers.

A wrong number is the error that a reader of a translation cannot see, so pairs whose numbers
differ are worth losing; but languages write numbers so differently that comparing digits would
lose far more good pairs than bad ones. Each number written in digits therefore stands for a set of
values (`2:07 PM` for 2 and 14, `29` in a date for 1929 and 2029, `3.5 million` for 3.5 and
3,500,000), and numbers in words (`March`, `twenty-five`, `二十五`) may answer a number in digits
of the other side but ask for no answer themselves. Numbers in digits that belong to a name
(`COVID-19`, `x86`) or head a list ask for none either, but tell a contradiction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.compiled import compiled, compiled_part
from src.corpus.mixing import mix
from src.corpus.scoring.block import Block, Scores
from src.corpus.scoring.digits import read_digits
from src.corpus.scoring.hashing import Hashes, HashSet, contains, insert, new_set, piece
from src.corpus.scoring.marks import CLASS_MASK, DIGIT
from src.corpus.scoring.number_values import ATTACHED, REQUIRED, Numbers, Text
from src.corpus.scoring.number_words import CHINESE, ENGLISH, NumberTables
from src.corpus.scoring.spoken import read_english, read_numerals, read_roman
from src.corpus.utf8 import ONE, Bool, Int

_SMALL = 100.0


class NumberScratch(NamedTuple):
    """Scratch arrays of `compare_numbers`."""

    left: Numbers
    right: Numbers
    room: HashSet


@compiled
def compare_numbers(
    left: Block,
    right: Block,
    readers: tuple[Int, Int],
    tables: NumberTables,
    scratch: NumberScratch,
    disagreement: Scores,
) -> None:
    """How strongly the numbers of the sides of R pairs contradict each other.

    Args:
        left: R rows.
        right: R rows.
        readers: How numbers are written on each side, see `reader_of`.
        tables: Number words.
        scratch: Scratch.
        disagreement: `[R]` receives 0.0 when every number finds its counterpart; 1.0 when both
            sides hold a number in digits without one: they cannot both be right; between, the
            share of unanswered numbers when only one side has such: translators do leave numbers
            out or write them in other words.
    """
    for row in range(len(disagreement)):
        disagreement[row] = 0
        if left.counts[row, DIGIT] + right.counts[row, DIGIT] == 0:
            continue
        # Nearly everywhere, both sides hold the same digits.
        if _sum_of_digits(left, row, tables.powers) != _sum_of_digits(right, row, tables.powers):
            _read(left, row, readers[0], tables, scratch.left)
            _read(right, row, readers[1], tables, scratch.right)
            disagreement[row] = _disagreement(scratch, readers)


@compiled_part
def _sum_of_digits(block: Block, row: Int, powers: Hashes) -> np.uint64:
    """One number for all runs of digits of a row, whatever their order."""
    total = np.uint64(0)
    if block.counts[row, DIGIT] == 0:
        return total
    begin, stop = block.starts[row], block.starts[row + 1]
    for place in range(begin, stop + ONE):
        if place == stop or block.marks[place] & CLASS_MASK != DIGIT:
            if place > begin:
                total += mix(piece(block.sums, powers, begin, place))
            begin = place + ONE
    return total


@compiled_part
def _read(block: Block, row: Int, reader: Int, tables: NumberTables, numbers: Numbers) -> None:
    begin, end = np.int64(block.starts[row]), np.int64(block.starts[row + 1])
    text = Text(
        block.codes[begin:end],
        block.marks[begin:end],
        block.sums[begin : end + 1],
        tables.fold,
        tables.powers,
        int(end - begin),
    )
    numbers.sizes[:] = 0
    if block.counts[row, DIGIT] > 0:
        read_digits(text, reader, numbers)
    if reader & ENGLISH:
        read_english(text, tables, numbers)
    if reader & CHINESE:
        read_numerals(text, tables.numerals, numbers)
    read_roman(text, numbers)


@compiled_part
def _disagreement(scratch: NumberScratch, readers: tuple[Int, Int]) -> float:
    left_required, left_lacks, left_hints = _unanswered(
        scratch.left, scratch.right, scratch.room, readers[1]
    )
    right_required, right_lacks, right_hints = _unanswered(
        scratch.right, scratch.left, scratch.room, readers[0]
    )
    if left_lacks + left_hints > 0 and right_lacks + right_hints > 0:
        return 1.0
    lacking = left_lacks + right_lacks
    return float(lacking / max(left_required, right_required)) if lacking else 0.0


@compiled_part
def _unanswered(
    asking: Numbers, answering: Numbers, room: HashSet, reader: Int
) -> tuple[Int, Int, Int]:
    """Looks for the numbers of one side on the other.

    Args:
        asking: Numbers to look for.
        answering: Numbers of the other text.
        room: Scratch.
        reader: What the reader of the other side knows.

    Returns:
        Required numbers, those among them without an answer, and attached ones without.
    """
    entries = room.entries
    stamp, shift = new_set(entries, room.stamps, answering.sizes[0])
    for index in range(answering.sizes[0]):
        insert(entries, stamp, shift, answering.keys[index])
    required, lacks, hints, index = 0, 0, 0, 0
    for number in range(asking.sizes[1]):
        is_answered: Bool = False
        smallest = np.inf
        while index < asking.sizes[0] and asking.owners[index] == number:
            is_answered |= contains(entries, stamp, shift, asking.keys[index])
            smallest = min(smallest, asking.values[index])
            index += 1
        if reader & (ENGLISH | CHINESE) == 0 and smallest <= _SMALL:
            continue  # perhaps it stands there in words that nobody reads
        required += asking.kinds[number] == REQUIRED
        lacks += asking.kinds[number] == REQUIRED and not is_answered
        hints += asking.kinds[number] == ATTACHED and not is_answered
    return required, lacks, hints
