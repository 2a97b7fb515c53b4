"""What every code point counts as.

Scores of many kinds ask the same of a character: is it a letter, of which script, is it broken?
The answers are tables over all code points, because looking a character up takes a nanosecond.
"""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_CODE_POINTS = 0x110000


class CharacterClass(IntEnum):
    """What a character counts as; every code point has exactly one class."""

    SPACE = 0
    SYMBOL = 1  # punctuation, symbols, emoji, combining marks, format characters
    DIGIT = 2
    LATIN = 3
    HAN = 4  # in GB 2312 or the first level of Big5: all but rarities of written Chinese
    RARE_HAN = 5  # any other Han character
    OTHER_LETTER = 6  # of scripts that have no class of their own
    BROKEN = 7  # U+FFFD, private use, controls, surrogates: no text in any language has them
    # Letters of further scripts, with the vowel signs and accents that are characters there.
    KANA = 8
    HANGUL = 9
    CYRILLIC = 10
    GREEK = 11
    ARABIC = 12
    HEBREW = 13
    THAI = 14
    DEVANAGARI = 15

    @classmethod
    def han(cls) -> tuple[CharacterClass, ...]:
        """Han characters, common and rare."""
        return cls.HAN, cls.RARE_HAN

    @classmethod
    def letters(cls) -> tuple[CharacterClass, ...]:
        """Letters of every script."""
        return tuple(c for c in cls if c not in {cls.SPACE, cls.SYMBOL, cls.DIGIT, cls.BROKEN})


_HAN_RANGES = (
    (0x3005, 0x3007),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
_LATIN_RANGES = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A))
_SCRIPT_RANGES = {
    CharacterClass.KANA: ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F)),
    CharacterClass.HANGUL: (
        (0x1100, 0x11FF),
        (0x3131, 0x318E),
        (0xA960, 0xA97F),
        (0xAC00, 0xD7FF),
        (0xFFA0, 0xFFDC),
    ),
    CharacterClass.CYRILLIC: ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    CharacterClass.GREEK: ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    CharacterClass.ARABIC: (
        (0x600, 0x6FF),
        (0x750, 0x77F),
        (0x8A0, 0x8FF),
        (0xFB50, 0xFDFF),
        (0xFE70, 0xFEFC),
    ),
    CharacterClass.HEBREW: ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    CharacterClass.THAI: ((0xE00, 0xE7F),),
    CharacterClass.DEVANAGARI: ((0x900, 0x97F), (0xA8E0, 0xA8FF)),
}
_LETTERS_AND_MARKS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc"})
_BY_CATEGORY = {
    "Zs": CharacterClass.SPACE,
    "Zl": CharacterClass.SPACE,
    "Zp": CharacterClass.SPACE,
    "Nd": CharacterClass.DIGIT,
    "Cc": CharacterClass.BROKEN,
    "Co": CharacterClass.BROKEN,
    "Cs": CharacterClass.BROKEN,
    "Lu": CharacterClass.OTHER_LETTER,
    "Ll": CharacterClass.OTHER_LETTER,
    "Lt": CharacterClass.OTHER_LETTER,
    "Lm": CharacterClass.OTHER_LETTER,
    "Lo": CharacterClass.OTHER_LETTER,
}


@cache
def class_table() -> NDArray[np.uint8]:
    """`[0x110000]` the `CharacterClass` of every code point."""
    table = np.full(_CODE_POINTS, CharacterClass.SYMBOL, dtype=np.uint8)
    # Planes 0 and 1 hold all scripts; beyond are Han characters, tags and private use.
    for code in range(0x20000):
        table[code] = _BY_CATEGORY.get(unicodedata.category(chr(code)), CharacterClass.SYMBOL)
    for first, last in _LATIN_RANGES:
        span = table[first : last + 1]
        span[span == CharacterClass.OTHER_LETTER] = CharacterClass.LATIN
    for script, ranges in _SCRIPT_RANGES.items():
        codes = [c for first, last in ranges for c in range(first, last + 1)]
        table[[c for c in codes if unicodedata.category(chr(c)) in _LETTERS_AND_MARKS]] = script
    for first, last in _HAN_RANGES:
        table[first : last + 1] = CharacterClass.RARE_HAN
    table[_common_han()] = CharacterClass.HAN
    table[[ord(character) for character in "\t\n\r"]] = CharacterClass.SPACE
    table[0xFFFD] = CharacterClass.BROKEN
    table[0xF0000:] = CharacterClass.BROKEN
    return table


def _common_han() -> list[int]:
    rows_by_encoding = {"gb2312": range(0xB0, 0xF8), "big5": range(0xA4, 0xC7)}
    characters = (
        bytes((row, cell)).decode(encoding, "ignore")
        for encoding, rows in rows_by_encoding.items()
        for row in rows
        for cell in range(0x40, 0xFF)
    )
    return [ord("〇"), *(ord(c) for c in characters if len(c) == 1 and c > "\u3400")]


@cache
def alphanumeric_table() -> NDArray[np.bool_]:
    """`[0x110000]` whether `str.isalnum` holds for each code point."""
    table = np.zeros(_CODE_POINTS, dtype=np.bool_)
    # Planes 0 to 3; no later plane has letters or digits.
    table[:0x40000] = [chr(code).isalnum() for code in range(0x40000)]
    return table
