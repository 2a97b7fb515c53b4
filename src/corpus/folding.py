"""What remains of a character when only letters, digits and meaningful signs count.

`NFKC` and case folding make equal what differs only on the surface. For nearly all characters the
result does not depend on their neighbours, so it stands in a table; a text with one of the others
(a mark that joins the letter before it) is folded by Python and read with a table that folds
nothing.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Entries = NDArray[np.uint32]

CODE_MASK = 0x1FFFFF
UNSPACED = 1 << 21  # a letter of a script that puts no spaces between words
LETTER = 1 << 24  # str.isalnum
ASCII_DIGIT = 1 << 25
DIGIT = 1 << 26  # of any script
SIGN = 1 << 27  # counts wherever it stands
POINT = 1 << 28  # counts between two digits
MINUS = 1 << 29  # counts before a digit, unless a letter or digit stands before it
EXPANDS = 1 << 30  # becomes several characters; the low bits are a place in `expansions`
DEPENDS = 1 << 31  # what it becomes depends on its neighbours

MAX_EXPANSION = 3
"""Characters a character may become; more count as depending on the neighbours, so that a folded
text has at most 1.5 characters a byte."""

_SIGNS = "+#%‰$€£¥￥₩₹°±×÷<>=*/^&@~|\\_"
_POINTS = ".,:"
_MINUSES = "-−–"
_TABLE_SIZE = 0x40000  # no later plane has letters or digits
_HANGUL_VOWELS_AND_TAILS = (range(0x1161, 0x1176), range(0x11A8, 0x11C3))
_UNSPACED_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3041, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


class Folding(NamedTuple):
    """Tables of a compiled loop.

    Attributes:
        entries: `[0x40001]` per code point, the last for all beyond: the folded code point in the
            low 21 bits and what it is in the others.
        expansions: `[E]` entries; a piece of them ends with a zero.
    """

    entries: Entries
    expansions: Entries


@cache
def letter_table() -> NDArray[np.bool_]:
    """`[0x40000]` whether `str.isalnum` holds for each code point."""
    return np.array([chr(code).isalnum() for code in range(_TABLE_SIZE)])


@cache
def joining_characters() -> frozenset[str]:
    """Characters that may become one with a character before them in a composed normal form."""
    found = {chr(code) for codes in _HANGUL_VOWELS_AND_TAILS for code in codes}
    for code in range(_TABLE_SIZE):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):  # noqa: PLR2004
            found.add(chr(int(parts[1], 16)))
    return frozenset(found)


def folded(text: str) -> str:
    """A text as its keys see it, before anything is left out."""
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFKC", text).casefold()


@cache
def reading() -> Folding:
    """Tables for folded text: what each character is."""
    entries = np.arange(_TABLE_SIZE + 1, dtype=np.uint32)
    letters = np.flatnonzero(letter_table())
    entries[letters] |= LETTER
    for first, last in _UNSPACED_RANGES:
        span = entries[first : last + 1]
        span[span & LETTER != 0] |= UNSPACED
    entries[[code for code in letters.tolist() if unicodedata.category(chr(code)) == "Nd"]] |= DIGIT
    entries[ord("0") : ord("9") + 1] |= ASCII_DIGIT
    for characters, kind in ((_SIGNS, SIGN), (_POINTS, POINT), (_MINUSES, MINUS)):
        entries[[ord(character) for character in characters]] |= kind
    entries[_TABLE_SIZE] = 0
    return Folding(entries, np.zeros(1, np.uint32))


@cache
def folding() -> Folding:
    """Tables for any text: what each character becomes, and what that is."""
    read = reading().entries
    joining = joining_characters()
    entries = read.copy()
    expansions: list[int] = [0]
    for code in range(_TABLE_SIZE):
        character = chr(code)
        decomposes = unicodedata.decomposition(character) != ""
        first = unicodedata.normalize("NFKD", character)[0] if decomposes else character
        result = folded(character) if decomposes else character.casefold()
        if first in joining or len(result) > MAX_EXPANSION:
            entries[code] = DEPENDS
        elif len(result) > 1:
            entries[code] = EXPANDS | len(expansions)
            expansions += [int(read[ord(part)]) for part in result] + [0]
        elif result != character:
            entries[code] = read[ord(result)]
    return Folding(entries, np.array(expansions, np.uint32))
