"""One pass over the bytes of a column: which rows may need which repair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.normalise.rules import CLOSED_GAP, GAP, SECONDS, SINGLES, SPACES, Rules, Words
from src.corpus.texts import Bytes, Offsets, Texts
from src.corpus.utf8 import ONE, code_point, is_ascii

Flags = NDArray[np.uint32]

_SINGLES, _SECONDS, _GAP, _SPACES = (np.uint32(bits) for bits in (SINGLES, SECONDS, GAP, SPACES))
_ONE, _NONE, _OPEN_GAP = np.uint32(1), np.uint32(0), np.uint32(2 * CLOSED_GAP)
_SPACE = np.uint8(0x20)


def find_suspects(texts: Texts, rules: Rules) -> Flags:
    """`[N]` the bits of single characters and of neighbours that each row has.

    White space at either end counts as two spaces.
    """
    flags = np.zeros(len(texts), np.uint32)
    _find(texts.data, texts.offsets, rules.bits, flags)
    return flags


@compiled
def _find(data: Bytes, offsets: Offsets, bits: Words, flags: Flags) -> None:
    spaces = bits[_SPACE] & _SPACES
    for row in range(len(flags)):
        begin, end = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        ends = _NONE
        if begin < end and (data[begin] == _SPACE or data[end - ONE] == _SPACE):
            ends = spaces
        if is_ascii(data, begin, end):
            singles, found = _look_up_bytes(data, begin, end, bits)
        else:
            singles, found = _look_up(data, begin, end, bits)
        flags[row] = (singles & _SINGLES) | ((found | ends) & _SECONDS)


@compiled_part
def _look_up_bytes(
    data: Bytes, begin: np.uint64, end: np.uint64, bits: Words
) -> tuple[np.uint32, np.uint32]:
    """As `_look_up`, for ASCII, in which no gap begins."""
    singles, found, before = _NONE, _NONE, _NONE
    for place in range(begin, end):
        here = bits[data[place]]
        singles |= here
        found |= (before >> _ONE) & here
        before = here
    return singles, found


@compiled_part
def _look_up(
    data: Bytes, begin: np.uint64, end: np.uint64, bits: Words
) -> tuple[np.uint32, np.uint32]:
    """The bits that any character of a text has, and those of neighbours that met."""
    last = np.uint64(len(bits) - 1)
    singles, found, before = _NONE, _NONE, _NONE
    place = begin
    while place < end:
        code, place = code_point(data, place, end)
        here = bits[min(code, last)]
        met = (before >> _ONE) & here
        singles |= here
        found |= met
        before = here
        if met & _GAP:  # what stands after the space decides
            before |= _OPEN_GAP
    return singles, found
