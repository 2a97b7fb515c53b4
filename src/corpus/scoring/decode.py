"""From UTF-8 bytes to code points and their marks."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled_part
from src.corpus.scoring.marks import Marks
from src.corpus.texts import Bytes
from src.corpus.utf8 import ONE, Codes, Int, code_point

_LEAD_BITS, _CONTINUATION = 0xC0, 0x80


@compiled_part
def decode(
    data: Bytes,
    begin: np.uint64,
    end: np.uint64,
    mark_table: Marks,
    codes: Codes,
    marks: Marks,
    start: np.uint64,
) -> tuple[np.uint64, Int, Int]:
    """Reads one text.

    Args:
        data: Valid UTF-8; anything else is read as some text, never out of bounds.
        begin: First byte of the text.
        end: Byte after its last.
        mark_table: See `mark_table`.
        codes: `[C]` receives the code points from `start` on, as far as there is room.
        marks: `[C]` receives class and flags of each.
        start: Place of the first.

    Returns:
        The place after the last, how many characters the text has even if there is no room for
        all, and all flags that any of those in place has.
    """
    place, seen, position = start, 0, begin
    while position < end and place < len(codes):
        code, position = code_point(data, position, end)
        mark = mark_table[code]
        codes[place] = code
        marks[place] = mark
        seen |= mark
        place += ONE
    length = np.int64(place - start)
    for rest in range(position, end):
        length += (data[rest] & _LEAD_BITS) != _CONTINUATION
    return place, length, seen
