"""UTF-8 in compiled loops: one code point in, one code point out.

Places are unsigned: a compiled loop need not ask whether they count from the end, which halves its
time. Unsigned numbers meet only unsigned ones, for with signed ones they would become floats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled_part
from src.corpus.texts import Bytes

Codes = NDArray[np.uint32]
Int = int | np.int64
Bool = bool | np.bool_
"""Numbers and truths in compiled functions, where Python's and NumPy's are one."""

START = np.int64(0)
"""Where counting begins. A zero as a literal would be a type of its own, and every function called
with it compiled twice."""
ONE = np.uint64(1)
TWO, THREE, _FOUR = np.uint64(2), np.uint64(3), np.uint64(4)
ASCII_END = np.uint8(0x80)
LEAD_OF_THREE, LEAD_OF_FOUR = np.uint8(0xE0), np.uint8(0xF0)
"""First bytes of characters from these on have as many bytes; most of Han have three."""
_SIX_BITS, _FIVE_BITS, _FOUR_BITS, _THREE_BITS = (np.uint64(2**bits - 1) for bits in (6, 5, 4, 3))
_SIX, _TWELVE, _EIGHTEEN = np.uint64(6), np.uint64(12), np.uint64(18)
_LAST_CODE_POINT = np.uint64(0x10FFFF)
_REPLACEMENT = np.uint64(0xFFFD)
_ENDS = (0x80, 0x800, 0x10000)
_LEADS = (0xC0, 0xE0, 0xF0)


@compiled_part
def is_ascii(data: Bytes, begin: np.uint64, end: np.uint64) -> Bool:
    """Whether there are ASCII characters only between two places."""
    seen = np.uint8(0)
    for place in range(begin, end):
        seen |= data[place]
    return seen < ASCII_END


@compiled_part
def code_point(data: Bytes, place: np.uint64, end: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The code point at `place` and the place after it.

    Args:
        data: Valid UTF-8; anything else is read as some text, never out of bounds.
        place: Where a code point begins, below `end`.
        end: Byte after the text.
    """
    lead = data[place]
    if lead < ASCII_END:
        return np.uint64(lead), place + ONE
    if lead < LEAD_OF_THREE:
        if place + ONE < end:
            return (np.uint64(lead) & _FIVE_BITS) << _SIX | _tail(data, place + ONE), place + TWO
        return _REPLACEMENT, place + ONE
    if lead < LEAD_OF_FOUR and place + TWO < end:
        return code_point_of_three(data, place), place + THREE
    if lead >= LEAD_OF_FOUR and place + THREE < end:
        middle = _tail(data, place + ONE) << _TWELVE | _tail(data, place + TWO) << _SIX
        code = (np.uint64(lead) & _THREE_BITS) << _EIGHTEEN | middle | _tail(data, place + THREE)
        return min(code, _LAST_CODE_POINT), place + _FOUR
    return _REPLACEMENT, place + ONE


@compiled_part
def code_point_of_three(data: Bytes, place: np.uint64) -> np.uint64:
    """The code point of the three bytes from `place` on, the first of them a lead of three."""
    middle = _tail(data, place + ONE) << _SIX | _tail(data, place + TWO)
    return (np.uint64(data[place]) & _FOUR_BITS) << _TWELVE | middle


@compiled_part
def _tail(data: Bytes, place: np.uint64) -> np.uint64:
    return np.uint64(data[place]) & _SIX_BITS


@compiled_part
def decode(data: Bytes, begin: Int, end: Int, codes: Codes) -> Int:
    """Reads a text of at most `len(codes)` bytes into `codes`; returns how many code points."""
    length, place, stop = START, np.uint64(begin), np.uint64(end)
    while place < stop:
        code, place = code_point(data, place, stop)
        codes[length] = code
        length += 1
    return length


@compiled_part
def encode(codes: Codes, length: Int, target: Bytes, begin: Int) -> Int:
    """Writes the first `length` code points from `begin` on; returns the place after them.

    Args:
        codes: Code points, none of them a surrogate.
        length: How many of them are the text.
        target: Has room for four bytes a code point.
        begin: Where the text begins in it.
    """
    place = begin
    for index in range(length):
        code = np.int64(codes[index])
        more = 0
        while more < len(_ENDS) and code >= _ENDS[more]:
            more += 1
        target[place] = code if more == 0 else _LEADS[more - 1] | code >> 6 * more
        for shift in range(more - 1, -1, -1):
            place += 1
            target[place] = 0x80 | (code >> 6 * shift) & 63
        place += 1
    return place
