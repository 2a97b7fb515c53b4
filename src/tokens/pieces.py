r"""Where Qwen2.5's pre-tokenisation cuts a text, as compiled functions over UTF-8 bytes.

This is the regular expression `src.tokens.vocabulary.PATTERN`, alternative by alternative:

    (?i:'s|'t|'re|'ve|'m|'ll|'d)      _contraction
    [^\r\n\p{L}\p{N}]?\p{L}+          letters, and one character before them that is none
    \p{N}                             one digit
     ?[^\s\p{L}\p{N}]+[\r\n]*         _signs_end: other characters, and the line ends behind
    \s*[\r\n]+|\s+(?!\S)|\s+         _space_end: up to the last line end; else all white space
                                      but the last, which belongs to what follows
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part, inlined
from src.tokens.characters import LETTER, NUMBER, SPACE
from src.tokens.columns import IntArray

Bytes = NDArray[np.uint8]

ASCII_END, _THREE_BYTES, _FOUR_BYTES = 0x80, 0xE0, 0xF0
"""The first byte of characters of two, of three and of four bytes is at least this."""
_KIND = LETTER | NUMBER | SPACE
_LINE_FEED, _CARRIAGE_RETURN, _BLANK, _APOSTROPHE = 0x0A, 0x0D, 0x20, 0x27
_D, _E, _L, _M, _R, _S, _T, _V = 0x64, 0x65, 0x6C, 0x6D, 0x72, 0x73, 0x74, 0x76
_UPPER_A, _UPPER_Z, _TO_LOWER = 0x41, 0x5A, 0x20
_LONG_S = (0xC5, 0xBF)  # ſ, the one character beyond ASCII that is an s where case is ignored
_COMMON_HAN = (0xE4, 0xE9)  # first bytes of U+4000 to U+9FFF


@compiled_part
def decode_character(data: Bytes, at: int) -> tuple[int, int]:
    """The code point whose bytes begin at `at`, and how many they are."""
    first = int(data[at])
    if first < ASCII_END:
        return first, 1
    if first < _THREE_BYTES:
        return (first & 0x1F) << 6 | int(data[at + 1]) & 0x3F, 2
    if first < _FOUR_BYTES:
        middle = int(data[at + 1]) & 0x3F
        return (first & 0x0F) << 12 | middle << 6 | int(data[at + 2]) & 0x3F, 3
    middle = (int(data[at + 1]) & 0x3F) << 6 | int(data[at + 2]) & 0x3F
    return (first & 0x07) << 18 | middle << 6 | int(data[at + 3]) & 0x3F, 4


@compiled
def piece_end(data: Bytes, begin: int, end: int, classes: Bytes) -> int:
    """Where the piece ends that begins at `begin`, in a text that ends at `end`."""
    code, width = decode_character(data, begin)
    kind = classes[code] & _KIND
    following = begin + width
    if kind == LETTER:
        return _letters_end(data, following, end, classes)
    if kind == NUMBER:
        return following
    found = _joined_end(data, following, end, classes, code)
    if found >= 0:
        return found
    if kind == 0:
        return _signs_end(data, begin, end, classes)
    return _space_end(data, begin, end, classes)


@inlined
def _joined_end(data: Bytes, following: int, end: int, classes: Bytes, code: int) -> int:
    """The end of a piece of a sign or a space and what comes behind it; -1 if they do not join."""
    if code == _APOSTROPHE:
        letters = _contraction(data, following, end)
        if letters:
            return following + letters
    if following < end and not _is_line_end(code):
        next_code, next_width = decode_character(data, following)
        next_kind = classes[next_code] & _KIND
        if next_kind == LETTER:
            return _letters_end(data, following + next_width, end, classes)
        if code == _BLANK and next_kind == 0:
            return _signs_end(data, following, end, classes)
    return -1


@compiled
def survey(
    data: Bytes, offsets: IntArray, classes: Bytes
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """What is special about each text.

    Returns:
        All marks of its characters together `[N]`, and how many of them are neither ASCII nor
        common Chinese `[N]`.
    """
    marks = np.zeros(len(offsets) - 1, np.uint8)
    rare = np.zeros(len(offsets) - 1, np.int32)
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            if data[at] < ASCII_END:
                at += 1
                continue
            if data[at] < _COMMON_HAN[0] or data[at] > _COMMON_HAN[1]:
                rare[row] += 1
            code, width = decode_character(data, at)
            marks[row] |= classes[code]
            at += width
    return marks, rare


@compiled_part
def _contraction(data: Bytes, at: int, end: int) -> int:
    """Bytes of the letters behind an apostrophe that make a contraction; 0 if they make none."""
    if at >= end:
        return 0
    first = _lower(data[at])
    if first in (_D, _M, _S, _T):
        return 1
    if at + 1 >= end:
        return 0
    second = _lower(data[at + 1])
    is_two = (
        (first in (_R, _V) and second == _E)
        or (first == _L and second == _L)
        or (data[at] == _LONG_S[0] and data[at + 1] == _LONG_S[1])
    )
    return 2 if is_two else 0


@inlined
def _lower(byte: int) -> int:
    return byte + _TO_LOWER if _UPPER_A <= byte <= _UPPER_Z else byte


@inlined
def _is_line_end(code: int) -> bool:
    return code == _LINE_FEED or code == _CARRIAGE_RETURN  # noqa: PLR1714  compiled faster


@compiled_part
def _letters_end(data: Bytes, at: int, end: int, classes: Bytes) -> int:
    while at < end:
        code, width = decode_character(data, at)
        if classes[code] & LETTER == 0:
            break
        at += width
    return at


@compiled_part
def _signs_end(data: Bytes, at: int, end: int, classes: Bytes) -> int:
    while at < end:
        code, width = decode_character(data, at)
        if classes[code] & _KIND:
            break
        at += width
    while at < end and _is_line_end(data[at]):
        at += 1
    return at


@compiled_part
def _space_end(data: Bytes, begin: int, end: int, classes: Bytes) -> int:
    at, last, line_end = begin, begin, -1
    while at < end:
        code, width = decode_character(data, at)
        if classes[code] & SPACE == 0:
            break
        last = at
        at += width
        if _is_line_end(code):
            line_end = at
    if line_end >= 0:
        return line_end
    return at if at == end or last == begin else last
