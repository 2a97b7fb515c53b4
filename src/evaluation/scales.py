"""Whether the same digits stand for another size: "1.5 million" beside "1.5亿".

The corpus counts a number as answered by equal digits alone, since good translations differ in
words far more often than in scale. Of a translation that a machine made, a wrong scale is as wrong
as a wrong digit, and as hard to see. Each number in digits therefore has the values that it may
stand for, with and without what is written behind it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ENGLISH = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
# Letters may be units as well (5 m, 5 b), so that a number before them may mean itself, too.
_LETTERS = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "tn": 1e12}
_CHINESE = {"百": 1e2, "千": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8, "兆": 1e12}

_NUMBER = r"(?P<number>[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?)"
# 千克 and 千米 are units, 百分 a per cent.
_CHINESE_SCALE = (
    r"(?P<chinese>[百千]?[万萬亿億兆][亿億]?|[百千](?![克米瓦卡赫伏帕焦升安吨分度货合]))"
)
_SCALED = re.compile(
    rf"(?<![0-9.,]){_NUMBER}(?![0-9])"
    rf"(?:\+?[ -]?(?P<english>{'|'.join(_ENGLISH)})s?\b"
    r"|(?P<letter>[kmb]|[mbt]n)\b"
    rf"|\+? ?[多余几]? ?{_CHINESE_SCALE})?",
    re.IGNORECASE,
)
_TO = r" ?(?:to|and|or|till|-|–|—|~|～|至|到|或) ?"
_RANGE = re.compile(
    rf"(?<![0-9.,])(?P<first>[0-9][0-9.,]*)(?P<to>{_TO})(?P<last>[0-9][0-9.,]*)"
    rf"(?P<scale> ?(?:{'|'.join(_ENGLISH)})s?\b| ?[多余几]?(?:[百千]?[万萬亿億兆][亿億]?))",
    re.IGNORECASE,
)
_DECIMALS = 4


class _Size(NamedTuple):
    """A number in digits: as it is written, and what it may stand for."""

    written: float
    values: frozenset[float]
    is_scaled: bool


def with_full_ranges(text: str) -> str:
    """The text with the scale of a range behind both ends: "5 to 6 million", "5 million to 6 …".

    No number is added or moved.
    """
    return _RANGE.sub(r"\g<first>\g<scale>\g<to>\g<last>\g<scale>", text)


def scales_differ(source: str, translation: str) -> bool:
    """Whether a number of one text stands in the other with a scale that makes it another."""
    left, right = _sizes(source), _sizes(translation)
    return _is_contradicted(left, right) or _is_contradicted(right, left)


def _is_contradicted(sizes: list[_Size], others: list[_Size]) -> bool:
    """Whether a scaled number finds its digits on the other side, but its value nowhere."""
    written = {other.written for other in others}
    values = {value for other in others for value in other.values}
    return any(
        size.is_scaled and size.written in written and not size.values & values for size in sizes
    )


def _sizes(text: str) -> list[_Size]:
    lead = {match.start("first"): match["scale"] for match in _RANGE.finditer(text)}
    found = []
    for match in _SCALED.finditer(text):
        written = float(match["number"].replace(",", ""))
        values = {written}
        if match["english"]:
            values = {written * _ENGLISH[match["english"].lower()]}
        elif match["letter"]:
            values.add(written * _LETTERS[match["letter"].lower()])
        elif match["chinese"]:
            values = {written * _factor(match["chinese"])}
        elif match.start() in lead:
            values.add(written * _factor(lead[match.start()]))
        exact = frozenset(round(value, _DECIMALS) for value in values)
        is_scaled = bool(match["english"] or match["chinese"])
        found.append(_Size(round(written, _DECIMALS), exact, is_scaled))
    return found


def _factor(scale: str) -> float:
    word = scale.strip().lower().removesuffix("s")
    if word in _ENGLISH:
        return _ENGLISH[word]
    factor = 1.0
    for character in word:
        factor *= _CHINESE.get(character, 1.0)
    return factor
