"""What stands around digits and changes what they mean: scales, clock times, dates, decades."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled_part
from src.corpus.scoring.hashing import digest_of, piece
from src.corpus.scoring.marks import CLASS_MASK, DIGIT, WORD
from src.corpus.scoring.markup import is_blank
from src.corpus.scoring.number_values import Text
from src.corpus.utf8 import Bool, Int

_WORDS = ("thousand", "million", "billion", "trillion", "hundred", "decade")
_WORD_HASHES = np.array([digest_of(word) for word in _WORDS], np.uint64)
_WORD_LENGTHS = np.array([len(word) for word in _WORDS])
_WORD_SCALES = (1e3, 1e6, 1e9, 1e12, 1e2, 1e1)
_CLOCK_HASH, _CLOCK_LENGTH = np.uint64(digest_of("o'clock")), len("o'clock")
_K, _M, _B, _N, _A, _P, _S = (ord(letter) for letter in "kmbnaps")
_CASE = 0x20
_PLUS, _HYPHEN, _POINT, _COLON = ord("+"), ord("-"), ord("."), ord(":")
_ROUND = (ord("多"), ord("余"), ord("几"))
_TRILLION, _HUNDRED_MILLION, _TEN_THOUSAND = ord("兆"), ord("亿"), ord("万")
_OLD_HUNDRED_MILLION = ord("億")
_THOUSAND, _HUNDRED = ord("千"), ord("百")
_AFTER_HOURS = (ord(":"), ord("："), ord("点"), ord("點"), ord("时"), ord("時"))
_LONGEST_MINUTES = 12
_NOON, _ABOVE, _BELOW = ord("午"), ord("上"), ord("下")
_MIDDLE, _EVENING, _EARLY, _DUSK = ord("中"), ord("晚"), ord("早"), ord("傍")
_COLD, _DAWN = ord("凌"), ord("晨")
_LOWER_A, _LOWER_T = ord("a"), ord("t")
_YEAR, _AGE = ord("年"), ord("代")
_DATE_EDGES = (*(ord(edge) for edge in "/-–.'’‘"), _YEAR)
_APOSTROPHES = (ord("'"), ord("’"))
_MOST_BLANKS = 2


@compiled_part
def scale_behind(text: Text, place: Int) -> float:
    """The factor of `million`, `k`, `亿` and the like behind a number; 0.0 without one."""
    codes = text.codes
    if place < text.length and codes[place] == _PLUS:
        place += 1
    if place < text.length and (
        codes[place] == _HYPHEN or is_blank(codes[place], text.marks[place])
    ):
        place += 1
    if place < text.length and codes[place] in _ROUND:
        place += 1
    if place < text.length and is_blank(codes[place], text.marks[place]):
        place += 1
    if place >= text.length:
        return 0.0
    for index in range(len(_WORD_LENGTHS)):
        end = place + _WORD_LENGTHS[index]
        if end <= text.length and piece(text.sums, text.powers, place, end) == _WORD_HASHES[index]:
            return _WORD_SCALES[index]
    scale = _letter_scale(text, place)
    return scale if scale else _numeral_scale(text, place)


@compiled_part
def _letter_scale(text: Text, place: Int) -> float:
    letter = text.codes[place] | _CASE
    end = place + 1
    if letter in (_M, _B) and end < text.length and text.codes[end] | _CASE == _N:
        end += 1
    if end < text.length and text.marks[end] & WORD:
        return 0.0
    if letter == _K:
        return 1e3
    if letter == _M:
        return 1e6
    return 1e9 if letter == _B else 0.0


@compiled_part
def _numeral_scale(text: Text, place: Int) -> float:
    code = text.codes[place]
    following = text.codes[place + 1] if place + 1 < text.length else np.uint32(0)
    if code == _TRILLION or (code == _TEN_THOUSAND and following == _HUNDRED_MILLION):
        return 1e12
    if code in (_HUNDRED_MILLION, _OLD_HUNDRED_MILLION):
        return 1e8
    if code == _TEN_THOUSAND:
        return 1e4
    if code == _THOUSAND:
        return 1e7 if following == _TEN_THOUSAND else 1e3
    if code == _HUNDRED:
        return 1e6 if following == _TEN_THOUSAND else 1e2
    return 0.0


@compiled_part
def has_clock_time(text: Text, begin: Int, end: Int) -> Bool:
    """Whether digits are the hours of a time of day."""
    return _is_before_hours(text, begin) or _is_behind_hours(text, end)


@compiled_part
def _is_behind_hours(text: Text, place: Int) -> Bool:
    codes, marks = text.codes, text.marks
    if place < text.length and is_blank(codes[place], marks[place]):
        place += 1
    if place < text.length and codes[place] in _AFTER_HOURS:
        return True
    end = place + _CLOCK_LENGTH
    if end <= text.length and piece(text.sums, text.powers, place, end) == _CLOCK_HASH:
        return True
    furthest = min(text.length, place + _LONGEST_MINUTES)
    while place < furthest and (codes[place] == _COLON or marks[place] & CLASS_MASK == DIGIT):
        place += 1
    if place < text.length and is_blank(codes[place], marks[place]):
        place += 1
    if place >= text.length or codes[place] | _CASE not in (_A, _P):
        return False
    place += 1
    if place < text.length and codes[place] == _POINT:
        place += 1
    is_m = place < text.length and codes[place] | _CASE == _M
    return is_m and not (place + 1 < text.length and marks[place + 1] & WORD)


@compiled_part
def _is_before_hours(text: Text, place: Int) -> Bool:
    blanks = 0
    while (
        blanks < _MOST_BLANKS
        and place > 0
        and is_blank(text.codes[place - 1], text.marks[place - 1])
    ):
        place -= 1
        blanks += 1
    if place < len("上午"):
        return False
    first, second = text.codes[place - 2], text.codes[place - 1]
    if first == _LOWER_A and second == _LOWER_T:
        return blanks > 0
    if second == _NOON and first in (_ABOVE, _BELOW):
        return True
    if blanks == _MOST_BLANKS:
        return False
    return (
        (second == _NOON and first == _MIDDLE)
        or (second == _ABOVE and first in (_EVENING, _EARLY))
        or (second == _DAWN and first == _COLD)
        or (second == _EVENING and first == _DUSK)
    )


@compiled_part
def is_decade(text: Text, place: Int) -> Bool:
    """Whether `s`, `'s` or `年代` stands behind digits."""
    codes, marks = text.codes, text.marks
    plural = place + 1 if place < text.length and codes[place] in _APOSTROPHES else place
    if plural < text.length and codes[plural] == _S:
        return not (plural + 1 < text.length and marks[plural + 1] & WORD)
    if place < text.length and is_blank(codes[place], marks[place]):
        place += 1
    return place + 1 < text.length and codes[place] == _YEAR and codes[place + 1] == _AGE


@compiled_part
def has_date_edge(text: Text, begin: Int, end: Int) -> Bool:
    """Whether what separates the parts of a date stands beside digits."""
    return (begin > 0 and text.codes[begin - 1] in _DATE_EDGES) or (
        end < text.length and text.codes[end] in _DATE_EDGES
    )
