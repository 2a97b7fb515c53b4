"""The units whose company is counted: words, and characters where words are not spaced apart.

A unit is a number of 40 bits: 38 of a hash, 2 for its kind. The same text gives the same unit on
either side, so names, numbers and code that stand untranslated are recognised.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.texts import Bytes
from src.corpus.utf8 import code_point

Units = NDArray[np.uint64]
Fold = NDArray[np.uint32]

WORD, NUMBER, CHARACTER, BIGRAM = 0, 1, 2, 3
KINDS = 4
UNIT_BITS = 40
MAX_BYTES = 1536
"""Of a pair whose longer text has more bytes than these, both texts are read up to the same share.
More evidence changes no verdict, and a row of ten megabytes costs no more than a paragraph."""
MAX_UNITS = (2 * MAX_BYTES + 2) // 3
"""Units in so many bytes, see `most_units`."""

_PLANE = 0x10000
# The second and third plane hold nothing but Han characters.
_PLANE_END, _FIRST_IDEOGRAPH_BEYOND = np.uint64(_PLANE), np.uint64(0x20000)
# How the fold table marks a character: its folded code in the low 16 bits, then what it is.
_LETTER, _DIGIT, _UNSPACED = 1 << 16, 2 << 16, 3 << 16
_LOW_CODE = np.uint64(0xFFFF)
_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_NO_WORD = np.uint64(0)
_START = np.uint64(0x243F6A8885A308D3)
_SHIFT = np.uint64(32)
_KIND_SHIFT = np.uint64(2)
_HASH_SHIFT = np.uint64(64 - UNIT_BITS + 2)

# Scripts written without spaces, and Hangul, whose spaced words carry their particles with them.
_UNSPACED_NAMES = (
    "CJK UNIFIED",
    "CJK COMPATIBILITY IDEOGRAPH",
    "HANGUL SYLLABLE",
    "HIRAGANA",
    "KATAKANA",
    "IDEOGRAPHIC ITERATION",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
    "JAVANESE",
)


@lru_cache(maxsize=1)
def fold_table() -> Fold:
    """`[65536]`: what each character of the basic plane is, in lower case; 0 separates."""
    table = np.zeros(_PLANE, np.uint32)
    for code in range(_PLANE):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] not in "LMN":
            continue
        folded = unicodedata.normalize("NFKC", character).lower()[:1]
        folded_code = ord(folded) if folded and ord(folded) < _PLANE else code
        if category == "Nd":
            mark = _DIGIT
        elif unicodedata.name(character, "").startswith(_UNSPACED_NAMES):
            mark = _UNSPACED
        else:
            mark = _LETTER
        table[code] = mark | folded_code
    return table


def most_units(size: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many units so many bytes can hold.

    No script has more than two in three bytes: a Han character and its bigram, or letters with
    spaces between them.
    """
    return (2 * size + 2) // 3


@compiled_part
def hashed_units(units: Units, start: np.uint64) -> np.uint64:
    """A hash of units in their order."""
    value = start
    for unit in units:
        value = (value ^ unit) * _MULTIPLIER
    return value ^ (value >> _SHIFT)


@compiled_part
def _unit(state: np.uint64, kind: int) -> np.uint64:
    state = (state ^ (state >> _SHIFT)) * _MULTIPLIER
    return (state >> _HASH_SHIFT) << _KIND_SHIFT | np.uint64(kind)


@compiled_part
def _entry_beyond(code: np.uint64) -> np.uint32:
    """What the table would say of a character beyond the basic plane.

    There are Han characters, and emoji and rarities, which separate.
    """
    if code < _FIRST_IDEOGRAPH_BEYOND:
        return np.uint32(0)
    return np.uint32(_UNSPACED | np.int64(code & _LOW_CODE))


@compiled_part
def _last_boundary(data: Bytes, begin: int, end: int) -> int:
    """The end of the last whole character of `data[begin:end]`, which may be cut anywhere."""
    while begin < end < len(data) and data[end] & _CONTINUATION_MASK == _CONTINUATION:
        end -= 1
    return end


@compiled
def read_units(data: Bytes, begin: int, end: int, fold: Fold, units: Units) -> int:
    """Writes the units of one text in the order they end.

    Args:
        data: Valid UTF-8.
        begin: First byte of the text.
        end: Byte after the text.
        fold: Of `fold_table`.
        units: Receives at most its length.

    Returns:
        How many units were written.
    """
    count, room = 0, len(units)
    word, kind = _NO_WORD, WORD
    previous = _NO_WORD  # the unspaced character right before
    place, stop = np.uint64(begin), np.uint64(_last_boundary(data, begin, end))
    while place < stop and count < room:
        code, place = code_point(data, place, stop)
        entry = fold[code] if code < _PLANE_END else _entry_beyond(code)
        if 0 < entry < _UNSPACED:
            word = ((word if word else _START) ^ np.uint64(entry)) * _MULTIPLIER
            kind = NUMBER if entry >= _DIGIT else kind
            previous = _NO_WORD
            continue
        if word:
            units[count] = _unit(word, kind)
            count += 1
            word, kind = _NO_WORD, WORD
        if entry == 0:
            previous = _NO_WORD
            continue
        if count < room:
            units[count] = _unit(np.uint64(entry), CHARACTER)
            count += 1
        if previous and count < room:
            units[count] = _unit(previous << _SHIFT | np.uint64(entry), BIGRAM)
            count += 1
        previous = np.uint64(entry)
    if word and count < room:
        units[count] = _unit(word, kind)
        count += 1
    return count
