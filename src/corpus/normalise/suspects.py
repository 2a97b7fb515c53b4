"""One pass over the bytes of a column: which rows may need which repair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled
from src.corpus.normalise.rules import CLOSED_GAP, GAP, SECONDS, SINGLES, SPACES, Rules, Words
from src.corpus.texts import Bytes, Offsets, Texts
from src.corpus.utf8 import ASCII_END, ONE, code_point

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
    last = np.uint64(len(bits) - 1)
    spaces = bits[_SPACE] & _SPACES
    for row in range(len(flags)):
        place, end = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        singles, found, before = _NONE, _NONE, _NONE
        if place < end and (data[offsets[row]] == _SPACE or data[offsets[row + 1] - 1] == _SPACE):
            found |= spaces
        while place < end:
            byte = data[place]
            if byte < ASCII_END:
                here = bits[byte]
                place += ONE
            else:
                code, place = code_point(data, place, end)
                here = bits[min(code, last)]
            met = (before >> _ONE) & here
            singles |= here
            found |= met
            before = here
            if met & _GAP:  # what stands after the space decides
                before |= _OPEN_GAP
        flags[row] = (singles & _SINGLES) | (found & _SECONDS)
