r"""Placeholders: what a program will put a value in the place of.

They are what these expressions find:

    %(?:\([a-z_]+\))?(?:[0-9]\$)?[-+#0]?[0-9.]*l{0,2}[sdiufgxXc@](?![a-zA-Z])    printf
    %[1-9]\b                                                                   Qt, LibreOffice
    (?<![\\\w^=$>{])\{[A-Za-z0-9_]*\}(?!\})      str.format, ICU; not LaTeX, JSX or shell
"""

from __future__ import annotations

import numpy as np

from src.compiled import compiled, compiled_part
from src.corpus.mixing import mix
from src.corpus.scoring.block import Block, Scores
from src.corpus.scoring.hashing import BASE
from src.corpus.scoring.marks import PLACEHOLDER, WORD, Marks
from src.corpus.scoring.markup import is_ascii_letter
from src.corpus.utf8 import START, Bool, Codes, Int

_PERCENT = ord("%")
_OPEN, _CLOSE = ord("("), ord(")")
_BRACE, _END_BRACE = ord("{"), ord("}")
_UNDERSCORE, _DOLLAR, _STOP, _LONG = ord("_"), ord("$"), ord("."), ord("l")
_ZERO, _ONE, _NINE = ord("0"), ord("1"), ord("9")
_LOWER_A, _LOWER_Z = ord("a"), ord("z")
_FLAGS = tuple(ord(character) for character in "-+#0")
_CONVERSIONS = tuple(ord(character) for character in "sdiufgxXc@")
_NOT_BEFORE_BRACE = tuple(ord(character) for character in "\\^=$>{")


@compiled
def compare_placeholders(left: Block, right: Block, differ: Scores) -> None:
    """Whether the sides of R pairs hold different placeholders, in any order.

    Args:
        left: R rows.
        right: R rows.
        differ: `[R]` receives 1 where they do, else 0.
    """
    for row in range(len(differ)):
        differ[row] = 0
        if (left.flags[row] | right.flags[row]) & PLACEHOLDER:
            differ[row] = _sum_of_placeholders(left, row) != _sum_of_placeholders(right, row)


@compiled_part
def _sum_of_placeholders(block: Block, row: Int) -> np.uint64:
    """One number for all placeholders of a text, whatever their order; 0 if it has none."""
    begin, stop = np.int64(block.starts[row]), np.int64(block.starts[row + 1])
    codes, marks = block.codes[begin:stop], block.marks[begin:stop]
    total, length = np.uint64(0), stop - begin
    place: Int = START
    while place < length:
        end: Int = place
        if marks[place] & PLACEHOLDER:
            if codes[place] == _PERCENT:
                end = _printf_end(codes, marks, place, length)
            else:
                end = _brace_end(codes, marks, place, length)
        if end > place:
            digest = np.uint64(0)
            for inner in range(place, end):
                digest = digest * BASE + np.uint64(codes[inner])
            total += mix(digest)
            place = end
        else:
            place += 1
    return total


@compiled_part
def _printf_end(codes: Codes, marks: Marks, place: Int, length: Int) -> Int:
    end = _after_name(codes, place + 1, length)
    if end + 1 < length and is_ascii_digit(codes[end]) and codes[end + 1] == _DOLLAR:
        end += 2
    if end < length and codes[end] in _FLAGS:
        end += 1
    while end < length and (is_ascii_digit(codes[end]) or codes[end] == _STOP):
        end += 1
    for _ in range(2):
        if end < length and codes[end] == _LONG:
            end += 1
    if end < length and codes[end] in _CONVERSIONS:
        end += 1
        if end >= length or not is_ascii_letter(codes[end]):
            return end
    return _numbered_end(codes, marks, place, length)


@compiled_part
def _after_name(codes: Codes, place: Int, length: Int) -> Int:
    """The place after `(name)`, or the same place without one."""
    if place >= length or codes[place] != _OPEN:
        return place
    end = place + 1
    while end < length and (_LOWER_A <= codes[end] <= _LOWER_Z or codes[end] == _UNDERSCORE):
        end += 1
    is_closed = end < length and codes[end] == _CLOSE
    return end + 1 if is_closed and end > place + 1 else place


@compiled_part
def _numbered_end(codes: Codes, marks: Marks, place: Int, length: Int) -> Int:
    is_numbered = place + 1 < length and _ONE <= codes[place + 1] <= _NINE
    if not is_numbered or (place + 2 < length and marks[place + 2] & WORD):
        return place
    return place + 2


@compiled_part
def _brace_end(codes: Codes, marks: Marks, place: Int, length: Int) -> Int:
    if place > 0 and (marks[place - 1] & WORD or codes[place - 1] in _NOT_BEFORE_BRACE):
        return place
    end = place + 1
    while end < length and _is_in_name(codes[end]):
        end += 1
    if end >= length or codes[end] != _END_BRACE:
        return place
    return place if end + 1 < length and codes[end + 1] == _END_BRACE else end + 1


@compiled_part
def _is_in_name(code: Int) -> Bool:
    return is_ascii_letter(code) or is_ascii_digit(code) or code == _UNDERSCORE


@compiled_part
def is_ascii_digit(code: Int) -> Bool:
    """Whether a code point is one of 0 to 9."""
    return _ZERO <= code <= _NINE
