"""Compiled repairs of plain spaces, on bytes: runs, ends, and gaps in Chinese.

Other white space has become a plain space before (see `src.corpus.normalise.rewriting`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled_part
from src.corpus.normalise.rules import CLOSED_GAP, GAP, SPACES_REPAIR, SPACING, TABLE_SIZE, Words
from src.corpus.texts import Bytes
from src.corpus.utf8 import ONE, Bool, Int, code_point

_SPACE, _LINE_FEED = np.uint8(ord(" ")), np.uint8(ord("\n"))
_CONTINUATION_MASK, _CONTINUATION = np.uint8(0xC0), np.uint8(0x80)
_ASCII_CLOSERS = (ord("?"), ord("!"), ord(","), ord(";"), ord(":"))
_LAST = np.uint64(TABLE_SIZE)
_BEFORE_GAP, _AFTER_GAP, _NO_BITS = np.uint32(2 * GAP), np.uint32(CLOSED_GAP), np.uint32(0)
_NOTHING, _TWO = np.uint64(0), np.uint64(2)


@compiled_part
def tidy_spaces(
    text: tuple[Bytes, Int, Int],
    bits: Words,
    switches: NDArray[np.bool_],
    target: Bytes,
    place: Int,
) -> tuple[Int, Int]:
    """Copies a text with single spaces, none at the ends, and none in Chinese.

    Args:
        text: UTF-8, the first byte of the text, and the byte after its last.
        bits: Of the rules.
        switches: Of the rules.
        target: Receives the text.
        place: Where.

    Returns:
        The place after the text in `target`, and a bit for each repair that changed it.
    """
    data, begin, end = text
    at, stop, out = np.uint64(begin), np.uint64(end), np.uint64(place)
    start = out
    changed: Int = 0
    while at < stop:
        byte = data[at]
        if byte != _SPACE:
            target[out] = byte
            out += ONE
            at += ONE
            continue
        after = at + ONE
        while after < stop and data[after] == _SPACE:
            after += ONE
        spaces = after - at
        if switches[SPACES_REPAIR]:
            wanted = ONE if out > start and after < stop else _NOTHING
            changed |= np.int64(wanted < spaces) << SPACES_REPAIR
            spaces = wanted
        is_inside = switches[SPACING] and out > start
        if is_inside and _is_gap(data, np.uint64(begin), at, after, stop, bits):
            changed |= np.int64(spaces > _NOTHING) << SPACING
            spaces = _NOTHING
        for _ in range(spaces):
            target[out] = _SPACE
            out += ONE
        at = after
    return np.int64(out), changed


@compiled_part
def _is_gap(
    data: Bytes, begin: np.uint64, at: np.uint64, after: np.uint64, stop: np.uint64, bits: Words
) -> Bool:
    """Whether the spaces from `at` to `after` stand between what Chinese puts no spaces between."""
    before = at - ONE
    while before > begin and data[before] & _CONTINUATION_MASK == _CONTINUATION:
        before -= ONE
    code, _ = code_point(data, before, stop)
    if bits[min(code, _LAST)] & _BEFORE_GAP == _NO_BITS or after >= stop:
        return False
    if data[after] in _ASCII_CLOSERS:
        is_last = after + ONE == stop or (after + _TWO == stop and data[after + ONE] == _LINE_FEED)
        return bool(is_last or data[after + ONE] == _SPACE)
    code, _ = code_point(data, after, stop)
    return bool(bits[min(code, _LAST)] & _AFTER_GAP != _NO_BITS)
