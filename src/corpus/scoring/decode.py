"""From UTF-8 bytes to code points and their marks.

Each loop here writes one array only: a processor joins stores to neighbouring places, but hardly
those that alternate between two arrays, which makes one loop over both three times as slow as two.
"""

from __future__ import annotations

import numpy as np

from src.compiled import compiled_part
from src.corpus.scoring.marks import Marks
from src.corpus.texts import Bytes
from src.corpus.utf8 import (
    ASCII_END,
    LEAD_OF_FOUR,
    LEAD_OF_THREE,
    ONE,
    THREE,
    TWO,
    Codes,
    Int,
    code_point,
    code_point_of_three,
    is_ascii,
)

_LEAD_BITS, _CONTINUATION = 0xC0, 0x80


@compiled_part
def decode(
    data: Bytes, begin: np.uint64, end: np.uint64, codes: Codes, start: np.uint64
) -> tuple[np.uint64, Int]:
    """Reads one text.

    Args:
        data: Valid UTF-8; anything else is read as some text, never out of bounds.
        begin: First byte of the text.
        end: Byte after its last.
        codes: `[C]` receives the code points from `start` on, as far as there is room.
        start: Place of the first.

    Returns:
        The place after the last, and how many characters the text has even if there is no room
        for all.
    """
    # A character takes a byte at least, so that these bytes have room for certain.
    stop = min(end, begin + np.uint64(len(codes)) - start)
    if is_ascii(data, begin, stop):
        for step in range(stop - begin):
            codes[start + step] = data[begin + step]
        place, position = start + (stop - begin), stop
    else:
        place, position = _decode_beyond_ascii(data, begin, stop, end, codes, start)
    while position < end and place < len(codes):
        codes[place], position = code_point(data, position, end)
        place += ONE
    length = np.int64(place - start)
    for rest in range(position, end):
        length += (data[rest] & _LEAD_BITS) != _CONTINUATION
    return place, length


@compiled_part
def _decode_beyond_ascii(
    data: Bytes, begin: np.uint64, stop: np.uint64, end: np.uint64, codes: Codes, start: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Reads what begins before `stop`; returns the places after the last code point and byte.

    The most frequent characters, ASCII and those of three bytes, go a short way of their own.
    """
    place, position = start, begin
    while position < stop:
        lead = data[position]
        if lead < ASCII_END:
            codes[place] = lead
            position += ONE
        elif LEAD_OF_THREE <= lead < LEAD_OF_FOUR and position + TWO < end:
            codes[place] = code_point_of_three(data, position)
            position += THREE
        else:
            codes[place], position = code_point(data, position, end)
        place += ONE
    return place, position


@compiled_part
def mark(
    codes: Codes, start: np.uint64, stop: np.uint64, mark_table: Marks, marks: Marks
) -> np.uint8:
    """Looks up class and flags of each character; returns all that any of them has.

    Args:
        codes: `[C]` code points.
        start: First one to look up.
        stop: Place after the last.
        mark_table: See `mark_table`.
        marks: `[C]` receives what is found.
    """
    seen = np.uint8(0)
    for place in range(start, stop):
        found = mark_table[codes[place]]
        marks[place] = found
        seen |= found
    return seen
