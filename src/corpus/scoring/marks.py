"""What the compiled loops know about every code point.

One byte holds the `CharacterClass` of a character in its low half and, in its high half, what the
scanners look for, so that one look-up answers all questions about it.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from src.corpus.characters import CharacterClass, alphanumeric_table, class_table

Marks = NDArray[np.uint8]
Folds = NDArray[np.uint16]

CLASS_MASK = 15
JOINER = 16  # joins letters and digits to one word: don't, 3.5, state-of-the-art
MARKUP = 32  # markup may start here or have started before
PLACEHOLDER = 64  # a placeholder may start here
WORD = 128  # a letter, digit or underscore, as in regular expressions

SPACE = int(CharacterClass.SPACE)
SYMBOL = int(CharacterClass.SYMBOL)
DIGIT = int(CharacterClass.DIGIT)
LATIN = int(CharacterClass.LATIN)
HAN = int(CharacterClass.HAN)
RARE_HAN = int(CharacterClass.RARE_HAN)
BROKEN = int(CharacterClass.BROKEN)
KANA = int(CharacterClass.KANA)
THAI = int(CharacterClass.THAI)
CLASSES = len(CharacterClass)

# Scripts without spaces have no words that a loop could see.
WORD_CLASSES = (1 << DIGIT) | sum(
    1 << c for c in CharacterClass.letters() if c not in {HAN, RARE_HAN, KANA, THAI}
)
HAN_CLASSES = (1 << HAN) | (1 << RARE_HAN)
LETTER_CLASSES = sum(1 << c for c in CharacterClass.letters())

_FOLDED_BELOW = 0x10000
_JIS_ROWS = range(0xB0, 0xD0)  # level 1: the kanji of daily use


@cache
def mark_table(*, japanese: bool) -> Marks:
    """`[0x110000]` class and flags of every code point.

    Args:
        japanese: Whether kanji that only Japanese uses are common characters.
    """
    table = class_table().copy()
    if japanese:
        cells = (bytes((row, cell)) for row in _JIS_ROWS for cell in range(0xA1, 0xFF))
        kanji = "".join(cell.decode("euc_jp", "ignore") for cell in cells)
        table[[ord(character) for character in kanji]] = HAN
    for characters, flag in (
        ("'’.,:_-/", JOINER),
        ("<`/{]", MARKUP),
        ("%{", PLACEHOLDER),
        ("_", WORD),
    ):
        table[[ord(character) for character in characters]] |= flag
    table[alphanumeric_table()] |= WORD
    return table


@cache
def fold_table() -> Folds:
    """`[0x10000]` what counts as the same character.

    Capitals are their small letters where those are one character, digits of any script 0 to 9.
    """
    table = np.arange(_FOLDED_BELOW, dtype=np.uint16)
    for code in range(_FOLDED_BELOW):
        lower = chr(code).lower()
        if len(lower) == 1:
            table[code] = ord(lower)
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            table[code] = ord("0") + digit
    return table
