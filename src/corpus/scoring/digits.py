"""Numbers in digits, and the values that each may stand for."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled_part
from src.corpus.scoring.hashing import BASE
from src.corpus.scoring.marks import CLASS_MASK, DIGIT
from src.corpus.scoring.markup import is_ascii_letter
from src.corpus.scoring.number_context import (
    has_clock_time,
    has_date_edge,
    is_decade,
    scale_behind,
)
from src.corpus.scoring.number_values import (
    ATTACHED,
    REQUIRED,
    Numbers,
    Text,
    add_text,
    add_value,
    new_number,
)
from src.corpus.scoring.number_words import CHINESE, DECIMAL_COMMA
from src.corpus.utf8 import START, Bool, Int

_ZERO_CODE, _ONE_CODE = ord("0"), ord("1")
_POINT, _COMMA, _COLON = np.uint32(ord(".")), np.uint32(ord(",")), np.uint32(ord(":"))
_NAME_JOINERS = (ord("-"), ord("_"), ord("#"))
_BEFORE_LISTS = (ord(" "), ord("("), ord("（"), ord("*"), ord("•"), ord("-"))
_BEHIND_LISTS = (ord("."), ord(")"), ord("、"), ord("）"))
_HUNDRED_MILLION_CODES = (ord("亿"), ord("億"))
_TEN_THOUSAND_CODES = (ord("万"),)
_LONGEST_EXACT = 15  # digits that a float holds exactly; longer runs are compared as text
_GROUP = 3
_LONGEST_HUNDRED_MILLIONS, _LONGEST_TEN_THOUSANDS = 6, 4
_HOURS_PER_DAY = 24
_CENTURY = 100.0
_SHORT_YEAR = 2
_DIGITS = 10
_DECIMALS = 1e4


@compiled_part
def read_digits(text: Text, reader: Int, numbers: Numbers) -> None:
    """Lists all numbers of a text that are written in digits."""
    marks, length = text.marks, text.length
    place: Int = START
    while place < length:
        if marks[place] & CLASS_MASK == DIGIT:
            place = _read_number(text, place, reader, numbers)
        else:
            place += 1


@compiled_part
def _is_digit(text: Text, place: Int) -> Bool:
    return place < text.length and text.marks[place] & CLASS_MASK == DIGIT


@compiled_part
def _digit(text: Text, place: Int) -> Int:
    """The value of a digit of any script; 0 for those that mathematicians alone write."""
    code = text.codes[place]
    return np.int64(text.fold[code]) - _ZERO_CODE if code < len(text.fold) else 0


@compiled_part
def _digits_end(text: Text, place: Int) -> Int:
    while _is_digit(text, place):
        place += 1
    return place


@compiled_part
def _read_number(text: Text, begin: Int, reader: Int, numbers: Numbers) -> Int:
    """Reads digits with the points and commas among them; returns the place behind."""
    end = _digits_end(text, begin)
    sum_end = _sum_end(text, begin, end) if reader & CHINESE else end
    while (
        sum_end == end
        and end < text.length
        and text.codes[end] in (_POINT, _COMMA)
        and _is_digit(text, end + 1)
    ):
        sum_end = end = _digits_end(text, end + 1)
    kind = ATTACHED if _is_attached(text, begin, end) else REQUIRED
    with_point = _is_one(text, begin, end, _COMMA, _POINT)
    with_comma = reader & DECIMAL_COMMA and _is_one(text, begin, end, _POINT, _COMMA)
    if sum_end > end:
        new_number(numbers, kind)
        _add_sum(text, begin, end, numbers)
    elif with_point or with_comma:
        new_number(numbers, kind)
        if with_point:
            _add_values(text, begin, end, _POINT, numbers)
        if with_comma:
            _add_values(text, begin, end, _COMMA, numbers)
    else:
        # `1,2,3` and `3.11.2` are several.
        while begin < end:
            piece_end = _digits_end(text, begin)
            new_number(numbers, kind)
            _add_values(text, begin, piece_end, _POINT, numbers)
            begin = piece_end + 1
    return sum_end


@compiled_part
def _is_one(
    text: Text, begin: Int, end: Int, group_mark: np.uint32, decimal_mark: np.uint32
) -> Bool:
    """Whether digits, points and commas are one number: `12,345.6`, `12,345` or `12.5`."""
    groups, decimals, digits = 0, 0, 0
    for place in range(begin, end + 1):
        if place < end and _is_digit(text, place):
            digits += 1
            continue
        if groups > 0 and decimals == 0 and digits != _GROUP:
            return False
        if place < end and text.codes[place] == group_mark:
            if decimals > 0 or digits > _GROUP:
                return False
            groups += 1
        elif place < end and text.codes[place] == decimal_mark:
            decimals += 1
        digits = 0
    return decimals <= 1 and groups + decimals > 0


@compiled_part
def _add_values(
    text: Text,
    begin: Int,
    end: Int,
    decimal_mark: np.uint32,
    numbers: Numbers,
) -> None:
    """Adds what the digits from `begin` to `end` may stand for."""
    value, decimals, symbols, digest = 0, 0, 0, np.uint64(0)
    for place in range(begin, end):
        if _is_digit(text, place):
            value = value * _DIGITS + int(_digit(text, place))
            decimals += decimals > 0
        elif text.codes[place] == decimal_mark:
            decimals = 1
        else:
            continue
        digest = digest * BASE + np.uint64(
            _digit(text, place) if _is_digit(text, place) else _DIGITS
        )
        symbols += 1
    if symbols > _LONGEST_EXACT:
        add_text(numbers, digest)
    else:
        exact = value / 10.0 ** max(0, decimals - 1)
        add_value(numbers, exact)
        _add_readings(text, begin, end, exact, numbers)


@compiled_part
def _add_readings(text: Text, begin: Int, end: Int, value: float, numbers: Numbers) -> None:
    """Adds what a value means with what stands around it."""
    scale = scale_behind(text, end)
    if scale:
        add_value(numbers, np.rint(value * scale * _DECIMALS) / _DECIMALS)
    if value <= _HOURS_PER_DAY and has_clock_time(text, begin, end):
        add_value(numbers, value + _HOURS_PER_DAY / 2)
        add_value(numbers, value - _HOURS_PER_DAY / 2)
    if is_decade(text, end):
        # The 1930s are 20世纪30年代.
        add_value(numbers, value % _CENTURY)
        add_value(numbers, value // _CENTURY + 1)
    if end - begin == _SHORT_YEAR and has_date_edge(text, begin, end):
        add_value(numbers, 1900 + value)
        add_value(numbers, 2000 + value)


@compiled_part
def _is_attached(text: Text, begin: Int, end: Int) -> Bool:
    """Whether digits belong to a name, head a list or may be left out for another reason."""
    codes = text.codes
    if end == begin + 1 and codes[begin] == _ONE_CODE:
        return True  # Chinese counts one thing where English has "a", "the" or nothing
    if begin > 0:
        before = codes[begin - 1]
        if is_ascii_letter(before) or (before == _COLON and _is_zero(text, begin, end)):
            return True  # the minutes of a full hour may be left out
        if before in _NAME_JOINERS and begin > 1 and is_ascii_letter(codes[begin - 2]):
            return True
    return end < text.length and codes[end] in _BEHIND_LISTS and _is_first(text, begin)


@compiled_part
def _is_zero(text: Text, begin: Int, end: Int) -> Bool:
    others = 0
    for place in range(begin, end):
        others += text.codes[place] != _ZERO_CODE
    return others == 0


@compiled_part
def _is_first(text: Text, begin: Int) -> Bool:
    """Whether only the decoration of a list stands before."""
    while begin > 0 and text.codes[begin - 1] in _BEFORE_LISTS:
        begin -= 1
    return begin == 0


@compiled_part
def _sum_end(text: Text, begin: Int, end: Int) -> Int:
    """Where a sum such as `3亿5000万` ends, or `end` if it is none."""
    if end - begin > _LONGEST_HUNDRED_MILLIONS or end >= text.length:
        return end
    stop = _digits_end(text, end + 1)
    if (
        text.codes[end] in _HUNDRED_MILLION_CODES
        and 0 < stop - end - 1 <= _LONGEST_TEN_THOUSANDS
        and stop < text.length
        and text.codes[stop] in _TEN_THOUSAND_CODES
    ):
        return stop + 1
    return end


@compiled_part
def _add_sum(text: Text, begin: Int, end: Int, numbers: Numbers) -> None:
    total, place = 0.0, begin
    while _is_digit(text, place):
        total = total * _DIGITS + float(_digit(text, place))
        place += 1
    rest, place = 0.0, end + 1
    while _is_digit(text, place):
        rest = rest * _DIGITS + float(_digit(text, place))
        place += 1
    add_value(numbers, total * 1e8 + rest * 1e4)
