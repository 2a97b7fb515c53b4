"""Compiled loops over the bytes of a block: separators, UTF-8, and copying what lies between.

The check of UTF-8 and the copies are written so that the compiler makes vector instructions of
them: no branch, no table, one comparison after another over neighbouring bytes.
"""

# ruff: noqa: PLR2004  the numbers of UTF-8 are best known as they are
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.texts import Bytes, Offsets, Texts

_LOWEST_BITS = np.uint64(0x0101010101010101)
_HIGHEST_BITS = np.uint64(0x8080808080808080)
_NO_BYTE = np.uint8(0)


@compiled
def find_byte(data: Bytes, begin: int, end: int, byte: int, places: Offsets) -> int:
    """Writes to `places` where `byte` occurs in `data[begin:end]`, ascending; returns how often.

    Eight bytes at a time: x - 0x01… borrows into the highest bit of a byte that is zero, which a
    byte is after XOR with what is looked for. A false hit costs a second look, none is missed.
    """
    words = data[: len(data) // 8 * 8].view(np.uint64)
    pattern = _LOWEST_BITS * np.uint64(byte)
    count = 0
    place = begin
    while place < end:
        if place % 8 == 0 and place + 8 <= end:
            word = words[place // 8] ^ pattern
            if (word - _LOWEST_BITS) & ~word & _HIGHEST_BITS == 0:
                place += 8
                continue
        stop = min(end, place - place % 8 + 8)
        for i in range(place, stop):
            if data[i] == byte:
                places[count] = i
                count += 1
        place = stop
    return count


@compiled_part
def _breaks_utf8(byte: np.uint8, before: np.uint8, second: np.uint8, third: np.uint8) -> bool:
    """Whether `byte` may not follow the three bytes before it (the nearest one is `before`).

    RFC 3629, section 4: a byte continues a character exactly if a first byte of enough length
    stands one to three bytes before it; C0, C1 and F5 to FF never occur; after E0, ED, F0 and F4
    some continuations would be overlong, half a UTF-16 character, or beyond U+10FFFF.
    """
    is_due = (before >= 0xC0) | (second >= 0xE0) | (third >= 0xF0)
    continues = (byte >= 0x80) & (byte < 0xC0)
    return bool(
        (is_due != continues)
        | (byte == 0xC0)
        | (byte == 0xC1)
        | (byte >= 0xF5)
        | ((before == 0xE0) & (byte < 0xA0))
        | ((before == 0xED) & (byte >= 0xA0))
        | ((before == 0xF0) & (byte < 0x90))
        | ((before == 0xF4) & (byte >= 0x90))
    )


@compiled
def is_utf8(data: Bytes) -> bool:
    """Whether all bytes together are whole, valid UTF-8; agrees with Python's strict decoder."""
    size = len(data)
    is_broken = False
    # Zeros stand before the first byte and after the last one, which must not be due to continue.
    before = second = third = _NO_BYTE
    for i in range(min(size, 3)):
        is_broken |= _breaks_utf8(data[i], before, second, third)
        before, second, third = data[i], before, second
    if size > 3:
        bytes_, ones, twos, threes = data[3:], data[2 : size - 1], data[1 : size - 2], data[:-3]
        for i in range(size - 3):
            is_broken |= _breaks_utf8(bytes_[i], ones[i], twos[i], threes[i])
        before, second, third = data[-1], data[-2], data[-3]
    for _ in range(3):
        is_broken |= _breaks_utf8(_NO_BYTE, before, second, third)
        before, second, third = _NO_BYTE, before, second
    return not is_broken


@compiled
def _check_lines(data: Bytes, starts: Offsets, ends: Offsets, valid: NDArray[np.bool_]) -> None:
    for line in range(len(starts)):
        valid[line] = is_utf8(data[starts[line] : ends[line]])


def valid_lines(data: Bytes, starts: Offsets, ends: Offsets) -> NDArray[np.bool_]:
    """Which of N spans of `data` are UTF-8; the spans ascend and do not overlap."""
    valid = np.ones(len(starts), np.bool_)
    if len(starts) and not is_utf8(data[starts[0] : ends[-1]]):
        _check_lines(data, starts, ends, valid)
    return valid


@compiled
def _copy_spans(
    data: Bytes, starts: Offsets, ends: Offsets, target: Bytes, offsets: Offsets
) -> None:
    for span in range(len(starts)):
        source = data[starts[span] : ends[span]]
        goal = target[offsets[span] : offsets[span + 1]]
        for i in range(len(source)):
            goal[i] = source[i]


def gather(data: Bytes, starts: Offsets, ends: Offsets) -> Texts:
    """A column of the texts `data[starts[i]:ends[i]]`, which are UTF-8."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    target = np.empty(int(offsets[-1]), np.uint8)
    _copy_spans(data, starts, ends, target, offsets)
    return Texts(target, offsets)


@compiled
def place_cells(
    starts: Offsets,
    ends: Offsets,
    separators: Offsets,
    columns: tuple[int, int, int],
    spans: Offsets,
    fits: NDArray[np.bool_],
) -> None:
    """Finds two cells in every line.

    Args:
        starts: `[N]` where each line starts.
        ends: `[N]` where it ends.
        separators: Places of all separators from the first start to the last end, ascending.
        columns: Column of the left and of the right cell, and cells in a line.
        spans: `[4, N]`, written: start and end of the left cell, start and end of the right cell.
        fits: `[N]`, written: whether the line has so many cells.
    """
    left, right, width = columns
    place = 0
    for line in range(len(starts)):
        begin = starts[line]
        column = 0
        is_last = False
        while not is_last:
            is_last = place == len(separators) or separators[place] >= ends[line]
            end = ends[line] if is_last else separators[place]
            if column == left:
                spans[0, line] = begin
                spans[1, line] = end
            elif column == right:
                spans[2, line] = begin
                spans[3, line] = end
            begin = end + 1
            column += 1
            if not is_last:
                place += 1
        fits[line] = column == width
