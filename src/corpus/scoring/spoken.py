"""Numbers in words: English number words and months, Chinese and Roman numerals."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled_part
from src.corpus.scoring.hashing import find, piece
from src.corpus.scoring.marks import WORD, Marks
from src.corpus.scoring.number_values import Numbers, Text, add_spoken
from src.corpus.scoring.number_words import (
    FIRST_UNIT,
    HALF,
    HUNDRED,
    MONTH,
    SCALE,
    TEN_THOUSAND,
    UNITS,
    VALUE,
    NumberTables,
)
from src.corpus.texts import Bytes
from src.corpus.utf8 import START, Int

_UPPER_A, _UPPER_Z = ord("A"), ord("Z")
_LONGEST_EXACT = 15
_LONGEST_ROMAN = 8
_I, _V, _X, _L, _C = (ord(letter) for letter in "IVXLC")


@compiled_part
def _word_end(marks: Marks, place: Int, length: Int) -> Int:
    """The end of the letters, digits and underscores from a place on."""
    while place < length and marks[place] & WORD:
        place += 1
    return place


@compiled_part
def read_english(text: Text, words: NumberTables, numbers: Numbers) -> None:
    """Adds months and number words: each by itself and, where they stand together, as one."""
    total, current, last_end = 0.0, 0.0, START
    begin: Int = START
    while begin < text.length:
        end = _word_end(text.marks, begin, text.length)
        if end > begin:
            word = find(words.word_hashes, piece(text.sums, text.powers, begin, end))
            kind = words.word_kinds[word] if word >= 0 else 0
            value = words.word_values[word] if word >= 0 else 0.0
            if kind == MONTH and _UPPER_A <= text.codes[begin] <= _UPPER_Z:
                add_spoken(numbers, value)
            elif kind and kind != MONTH:
                if begin - last_end > 1:
                    _add_composed(numbers, total + current)
                    total, current = 0.0, 0.0
                last_end = np.int64(end)
                if kind == VALUE:
                    add_spoken(numbers, value)
                    current += value
                elif kind == HUNDRED:
                    current = (current if current else 1.0) * value
                elif kind == SCALE:
                    total += (current if current else 1.0) * value
                    current = 0.0
        begin = end + 1
    _add_composed(numbers, total + current)


@compiled_part
def _add_composed(numbers: Numbers, value: float) -> None:
    if value:
        add_spoken(numbers, value)


@compiled_part
def read_numerals(text: Text, numerals: Bytes, numbers: Numbers) -> None:
    """Adds Chinese numerals: `二十五` is 25, `一九九九` is 1999, `三五` is 3 and 5."""
    begin: Int = START
    while begin < text.length:
        end, plain = begin, True
        while end < text.length and text.codes[end] < len(numerals) and numerals[text.codes[end]]:
            numeral = numerals[text.codes[end]]
            if numeral <= HALF:
                add_spoken(numbers, _digit_value(numeral))
            plain &= numeral < HALF
            end += 1
        if end > begin and plain:
            _add_digits(text, begin, end, numerals, numbers)
        elif end > begin:
            _add_number(text, begin, end, numerals, numbers)
        begin = end + 1


@compiled_part
def _digit_value(numeral: Int) -> float:
    return 0.5 if numeral == HALF else float(numeral - 1)


@compiled_part
def _add_digits(text: Text, begin: Int, end: Int, numerals: Bytes, numbers: Numbers) -> None:
    value = 0.0
    for place in range(begin, min(end, begin + _LONGEST_EXACT)):
        value = value * 10 + (numerals[text.codes[place]] - 1.0)
    add_spoken(numbers, value)


@compiled_part
def _add_number(text: Text, begin: Int, end: Int, numerals: Bytes, numbers: Numbers) -> None:
    total, section, digit = 0.0, 0.0, 0.0
    for place in range(begin, end):
        numeral = numerals[text.codes[place]]
        if numeral <= HALF:
            digit = _digit_value(numeral)
        elif numeral >= FIRST_UNIT:
            section += (digit if digit else 1.0) * UNITS[numeral - FIRST_UNIT]
            digit = 0.0
        elif numeral == TEN_THOUSAND:
            total += (section + digit if section + digit else 1.0) * 1e4
            section, digit = 0.0, 0.0
        else:
            total = (total + section + digit if total + section + digit else 1.0) * 1e8
            section, digit = 0.0, 0.0
    add_spoken(numbers, total + section + digit)


@compiled_part
def read_roman(text: Text, numbers: Numbers) -> None:
    """Adds Roman numerals that stand as words."""
    begin: Int = START
    while begin < text.length:
        end = _word_end(text.marks, begin, text.length)
        if begin < end <= begin + _LONGEST_ROMAN and _roman_value(text.codes[begin]):
            value, others = START, 0
            for place in range(end - 1, begin - 1, -1):
                letter = _roman_value(text.codes[place])
                following = _roman_value(text.codes[place + 1]) if place + 1 < end else 0
                value += -letter if letter < following else letter
                others += letter == 0
            if not others:
                add_spoken(numbers, float(value))
        begin = end + 1


@compiled_part
def _roman_value(code: Int) -> Int:
    if code == _I:
        return 1
    if code == _V:
        return 5
    if code == _X:
        return 10
    if code == _L:
        return 50
    return 100 if code == _C else 0
