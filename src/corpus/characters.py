"""Texts as one array of code points, so that a whole column is counted in a few NumPy passes.

Python-level loops over characters cost microseconds per sentence; an array lookup costs a
nanosecond per character. `TextBlock` joins the rows of a column with line feeds, looks every
character up in a table of classes, and offers what the scores need: counts of each class per row,
words, and 64-bit hashes of words and n-grams.

Hashes are polynomial: with prefix sums S[i] = sum of code[k] * B**k for k < i, the piece from i to
j has the hash (S[j] - S[i]) * B**-i, whatever its place, in arithmetic modulo 2**64 (B is odd, so
it has an inverse). One pass over the text gives the hash of every piece.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from enum import IntEnum
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

_CODE_POINTS = 0x110000
_BASE = 0x9E3779B97F4A7C15  # odd: 2**64 divided by the golden ratio
_JOINERS = "'’.,:_-/"


class CharacterClass(IntEnum):
    """What a character counts as; every code point has exactly one class."""

    SPACE = 0
    SYMBOL = 1  # punctuation, symbols, emoji, combining marks, format characters
    DIGIT = 2
    LATIN = 3
    HAN = 4  # in GB 2312 or the first level of Big5: all but rarities of written Chinese
    RARE_HAN = 5  # any other Han character
    OTHER_LETTER = 6  # kana, Hangul, Cyrillic, Greek ...
    BROKEN = 7  # U+FFFD, private use, controls, surrogates: no text in any language has them

    @classmethod
    def han(cls) -> tuple[CharacterClass, ...]:
        """Han characters, common and rare."""
        return cls.HAN, cls.RARE_HAN

    @classmethod
    def letters(cls) -> tuple[CharacterClass, ...]:
        """Letters of every script."""
        return cls.LATIN, cls.HAN, cls.RARE_HAN, cls.OTHER_LETTER


_HAN_RANGES = (
    (0x3005, 0x3007),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
_LATIN_RANGES = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A))
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


@cache
def _lower_table() -> Codes:
    """`[0x110000]` the lower-case form where that is one character, else the character itself."""
    table = np.arange(_CODE_POINTS, dtype=np.uint32)
    for code in range(0x10000):
        lower = chr(code).lower()
        if len(lower) == 1:
            table[code] = ord(lower)
    return table


@cache
def _joiner_table() -> NDArray[np.bool_]:
    table = np.zeros(_CODE_POINTS, dtype=np.bool_)
    table[[ord(character) for character in _JOINERS]] = True
    return table


@cache
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """B**k and B**-k modulo 2**64 for k below `count`."""
    inverse = pow(_BASE, -1, 2**64)
    forward = np.full(count, _BASE, dtype=np.uint64)
    backward = np.full(count, inverse, dtype=np.uint64)
    forward[0] = backward[0] = 1
    return np.cumprod(forward), np.cumprod(backward)


def code_points(text: str) -> Codes:
    """The code points of a text; lone surrogates pass as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def mixed(hashes: Hashes) -> Hashes:
    """Spreads hashes over all 64 bits (the finaliser of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


class LetterWords(NamedTuple):
    """L words of a `TextBlock`.

    Attributes:
        begins: `[L]` first character of each, as a position in `codes`.
        ends: `[L]` the position after its last character.
        rows: `[L]` its row.
        hashes: `[L]` its hash, upper and lower case alike.
    """

    begins: Indices
    ends: Indices
    rows: Indices
    hashes: Hashes


class TextBlock:
    """The rows of one text column, character by character.

    Attributes:
        codes: `[C]` code points of all rows; every row ends with a line feed of its own.
        starts: `[N + 1]` where each row starts in `codes`; the last entry is C.
        rows: `[C]` row number of each character.
        classes: `[C]` `CharacterClass` of each character.
        counts: `[N, 8]` characters of each class per row, the closing line feed not counted.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        self.codes: Codes = code_points("\n".join(texts) + "\n" if texts else "")
        self.starts: Indices = np.concatenate(([0], np.cumsum(lengths + 1)))
        self.rows: NDArray[np.int64] = np.repeat(np.arange(len(texts)), lengths + 1)
        self.classes: NDArray[np.uint8] = class_table()[self.codes]
        width = len(CharacterClass)
        cells = np.bincount(self.rows * width + self.classes, minlength=len(texts) * width)
        self.counts: NDArray[np.int64] = cells.reshape(len(texts), width)
        self.counts[:, CharacterClass.SPACE] -= 1
        self.lengths: Indices = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def count(self, *classes: CharacterClass) -> NDArray[np.int64]:
        """`[N]` characters per row that are in one of the classes."""
        total: NDArray[np.int64] = self.counts[:, list(classes)].sum(axis=1)
        return total

    def per_row(self, positions: Indices) -> NDArray[np.int64]:
        """`[N]` how many of the given positions in `codes` fall into each row."""
        return np.bincount(self.rows[positions], minlength=len(self))

    @cached_property
    def _prefix_sums(self) -> Hashes:
        folded = _lower_table()[self.codes].astype(np.uint64) + np.uint64(1)
        forward, _ = _powers(_table_size(len(folded)))
        sums = np.zeros(len(folded) + 1, dtype=np.uint64)
        np.cumsum(folded * forward[: len(folded)], out=sums[1:])
        return sums

    def hashes(self, begins: Indices, ends: Indices) -> Hashes:
        """`[K]` hashes of the pieces `codes[begin:end]`, upper and lower case alike."""
        _, backward = _powers(_table_size(len(self.codes)))
        return mixed((self._prefix_sums[ends] - self._prefix_sums[begins]) * backward[begins])

    @cached_property
    def words(self) -> tuple[Indices, Indices]:
        """`[W]` begins and ends of words: runs of letters and digits other than Han.

        `don't`, `12,345.6`, `2:07` and `state-of-the-art` are one word each.
        """
        in_word = (
            (self.classes == CharacterClass.LATIN)
            | (self.classes == CharacterClass.DIGIT)
            | (self.classes == CharacterClass.OTHER_LETTER)
        )
        joins = np.flatnonzero(_joiner_table()[self.codes])
        joins = joins[(joins > 0) & (joins < len(in_word) - 1)]
        in_word[joins[in_word[joins - 1] & in_word[joins + 1]]] = True
        return _runs(in_word)

    @cached_property
    def word_hashes(self) -> Hashes:
        """`[W]` hashes of `words`."""
        return self.hashes(*self.words)

    @cached_property
    def letter_words(self) -> LetterWords:
        """The words that do not start with a digit."""
        begins, ends = self.words
        is_word = self.classes[begins] != CharacterClass.DIGIT
        begins = begins[is_word]
        return LetterWords(begins, ends[is_word], self.rows[begins], self.word_hashes[is_word])

    @cached_property
    def digit_runs(self) -> tuple[Indices, Indices]:
        """`[D]` begins and ends of runs of digits."""
        return _runs(self.classes == CharacterClass.DIGIT)


def _table_size(length: int) -> int:
    # Powers of two, so that few tables serve blocks of all sizes.
    return 1 << max(16, int(length).bit_length())


def _runs(member: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    edges = np.flatnonzero(np.diff(member.astype(np.int8), prepend=0, append=0))
    return edges[0::2], edges[1::2]
