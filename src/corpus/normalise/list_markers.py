"""List markers that only one side of a pair starts with.

What both sides have is part of what is translated. What one side has alone was left there by
whoever cut the text out of a page; it goes where it is certain that it is no part of the sentence.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.texts import Bytes, Offsets, Texts

Mask = NDArray[np.bool_]

_MARKER = re.compile(
    r"(?:(?P<bullet>[•·●○▪■◦‣►▶➤✓])\s*|[-*–—]\s+|\(?(?P<number>[0-9]{1,2})(?P<stop>[.)])\s+|\(?[a-z]\)\s+)"
)
_LIKE_A_BULLET = re.compile(r"[^\w\"'“”‘’《「]")
# What another side may start with and mean the same as a number.
_LIKE_A_NUMBER = re.compile(
    r"[0-9]|[A-Za-z][.)、．）]|[①-⓿]|[一二三四五六七八九十第首其甲乙丙丁]"
    r"|(?:first|second|third|one|two|three|step|next|then|finally|last|note|item|no)\b",
    re.IGNORECASE,
)
_LONG_ENOUGH = re.compile(r"[^\W\d_](?:.{9}|.{0,8}[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af].{3})")
# There a number and a full stop is an ordinal: `2. Weltkrieg`.
_ORDINAL_STOP = frozenset({"cs", "de", "pl", "tr"})

# Bytes of UTF-8 that `·` and the bullets and dashes from U+2013 on begin with.
_MIDDLE_DOT = (0xC2, 0xB7)
_SYMBOL_LEAD, _PUNCTUATION_BLOCK = 0xE2, 0x80
_SYMBOL_BLOCKS = (0x96, 0x97, 0x9C, 0x9E)
_DASHES_AND_BULLETS = (0x93, 0x94, 0xA2, 0xA3)
_SPACE, _OPEN, _CLOSE, _STOP = (ord(character) for character in " ().")
_HYPHEN, _STAR, _A, _Z, _0, _9 = (ord(character) for character in "-*az09")


def starts_like_an_item(texts: Texts) -> Mask:
    """`[N]` the rows that start with what may be a bullet or a number of a list."""
    found = np.zeros(len(texts), np.bool_)
    _find(texts.data, texts.offsets, found)
    return found


@compiled
def _find(data: Bytes, offsets: Offsets, found: Mask) -> None:
    for row in range(len(found)):
        place, end = offsets[row], offsets[row + 1]
        if place + 3 < end:
            found[row] = _is_marker(data[place], data[place + 1], data[place + 2], data[place + 3])


@compiled_part
def _is_marker(first: int, second: int, third: int, fourth: int) -> bool:
    if first in (_HYPHEN, _STAR):
        return second == _SPACE
    if first == _SYMBOL_LEAD:
        is_dash_or_bullet = second == _PUNCTUATION_BLOCK and third in _DASHES_AND_BULLETS
        return is_dash_or_bullet or second in _SYMBOL_BLOCKS
    if first == _OPEN:
        return third == _CLOSE or (_is_digit(second) and _is_digit(third) and fourth == _CLOSE)
    if _is_digit(first):
        return second in (_STOP, _CLOSE) or (_is_digit(second) and third in (_STOP, _CLOSE))
    if first == _MIDDLE_DOT[0]:
        return second == _MIDDLE_DOT[1]
    return _A <= first <= _Z and second == _CLOSE


@compiled_part
def _is_digit(byte: int) -> bool:
    return _0 <= byte <= _9


def without_markers(left: str, right: str, languages: tuple[str, str]) -> tuple[str, str]:
    """Both sides without the bullet or number that certainly only one of them starts with.

    Args:
        left: One side.
        right: The other.
        languages: Their codes.
    """
    has_ordinals = not _ORDINAL_STOP.isdisjoint(languages)
    return (
        _without_marker(left, right, has_ordinals=has_ordinals),
        _without_marker(right, left, has_ordinals=has_ordinals),
    )


def _without_marker(text: str, other: str, *, has_ordinals: bool) -> str:
    match = _MARKER.match(text)
    if match is None or _LIKE_A_BULLET.match(other):
        return text
    if match["bullet"] is None and _LIKE_A_NUMBER.match(other):
        return text
    rest = text[match.end() :]
    if not _LONG_ENOUGH.match(rest) or ("*" in match[0] and "*" in rest):
        return text
    number = match["number"]
    if number is not None:
        is_ordinal = has_ordinals and match["stop"] == "."
        if is_ordinal or re.search(rf"(?<!\d){number}(?!\d)", other):
            return text
    return rest
