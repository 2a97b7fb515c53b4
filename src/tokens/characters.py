"""What the compiled encoder must know about every character, from Python's Unicode tables.

The reference encoder has Unicode tables of its own, often newer ones. Where a character is
assigned in both, its category is the same; one that is unassigned here is marked UNKNOWN, and its
whole text is left to the reference.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

LETTER = 1
"""`\\p{L}`"""
NUMBER = 2
"""`\\p{N}`"""
SPACE = 4
"""`\\s`, which is Unicode's White_Space"""
UNSTABLE = 8
"""May change, or change a neighbour, when text is brought to NFC."""
UNKNOWN = 16
"""Not assigned in Python's version of Unicode."""

_SPACE_CONTROLS = (*range(0x09, 0x0E), 0x85)
# Vowels and final consonants of Hangul join the syllable before them.
_HANGUL_JOINERS = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


@cache
def character_classes() -> NDArray[np.uint8]:
    """The marks of every code point: uint8 `[0x110000]`, the same array at every call."""
    codes = range(sys.maxunicode + 1)
    categories = "".join(map(unicodedata.category, map(chr, codes)))
    major, minor = np.frombuffer(categories.encode("ascii"), np.uint8).reshape(-1, 2).T
    classes = np.zeros(len(codes), np.uint8)
    classes[major == ord("L")] |= LETTER
    classes[major == ord("N")] |= NUMBER
    classes[major == ord("Z")] |= SPACE
    classes[list(_SPACE_CONTROLS)] |= SPACE
    is_other = major == ord("C")
    classes[is_other & (minor == ord("n"))] |= UNKNOWN
    for code in np.flatnonzero(~is_other).tolist():
        if unicodedata.decomposition(chr(code)) or unicodedata.combining(chr(code)):
            _mark_unstable(classes, chr(code))
    classes[list(_HANGUL_JOINERS)] |= UNSTABLE
    return classes


def _mark_unstable(classes: NDArray[np.uint8], character: str) -> None:
    if unicodedata.combining(character) or unicodedata.normalize("NFC", character) != character:
        classes[ord(character)] |= UNSTABLE
    parts = unicodedata.decomposition(character).split()
    # A part in <> says that the rest is a compatibility form, which NFC leaves alone.
    if len(parts) > 1 and not parts[0].startswith("<"):
        classes[int(parts[1], 16)] |= UNSTABLE  # may join what stands before it
