"""Parts of a text as pairs of begin and end, in characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from src.languages import LANGUAGES, Script

Spans = list[tuple[int, int]]

WORD = re.compile(r"[^\W\d_]+(?:['’.:_/-][^\W\d_]+)*")
"""A run of letters, inner joiners included."""

_WIDEST_GAP = 3
# The first word of a character's Unicode name tells its script.
_SCRIPT_NAMES: dict[Script, frozenset[str]] = {
    "latin": frozenset({"LATIN", "FULLWIDTH"}),
    "han": frozenset({"CJK", "IDEOGRAPHIC"}),
    "japanese": frozenset(
        {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH", "CJK", "IDEOGRAPHIC"}
    ),
    "hangul": frozenset({"HANGUL"}),
    "cyrillic": frozenset({"CYRILLIC"}),
    "greek": frozenset({"GREEK"}),
    "arabic": frozenset({"ARABIC"}),
    "hebrew": frozenset({"HEBREW"}),
    "thai": frozenset({"THAI"}),
    "devanagari": frozenset({"DEVANAGARI"}),
}
_UNSPACED = _SCRIPT_NAMES["japanese"] | _SCRIPT_NAMES["thai"]
LATIN = _SCRIPT_NAMES["latin"]


def whole(text: str) -> Spans:
    """All of a text; nothing of an empty one."""
    return [(0, len(text))] if text else []


def found(pattern: re.Pattern[str], text: str) -> Spans:
    """Every match, empty ones aside."""
    return [match.span() for match in pattern.finditer(text) if match[0]]


def merged(spans: Iterable[tuple[int, int]], text: str) -> Spans:
    """The spans in order, with neighbours joined that no letter or digit keeps apart."""
    result: Spans = []
    for begin, end in sorted(spans):
        gap = text[result[-1][1] : begin] if result else ""
        is_near = len(gap) <= _WIDEST_GAP and not any(c.isalnum() for c in gap)
        if result and is_near:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result


def trimmed(spans: Spans, text: str) -> Spans:
    """The spans without white space at their ends; those of nothing else vanish."""
    result = []
    for begin, end in spans:
        piece = text[begin:end]
        first = begin + len(piece) - len(piece.lstrip())
        last = end - (len(piece) - len(piece.rstrip()))
        if first < last:
            result.append((first, last))
    return result


def covered(spans: Spans) -> int:
    """Characters in the spans, which do not overlap."""
    return sum(end - begin for begin, end in spans)


def own_scripts(language: str) -> frozenset[str]:
    """Names of the scripts a language is written in, as `script_of` gives them."""
    return _SCRIPT_NAMES[LANGUAGES[language].script]


def is_unspaced(language: str) -> bool:
    """Whether no spaces stand between the words of a language."""
    return LANGUAGES[language].script in ("han", "japanese", "thai")


def script_of(letter: str) -> str:
    """The script of a letter; empty where Unicode has no name for it."""
    return unicodedata.name(letter, "").partition(" ")[0]


def script_runs(text: str) -> list[tuple[int, int, str]]:
    """Begin, end and script of each run of letters of one script."""
    runs: list[tuple[int, int, str]] = []
    for place, character in enumerate(text):
        if not character.isalpha():
            continue
        script = script_of(character)
        if runs and runs[-1][1:] == (place, script):
            runs[-1] = (runs[-1][0], place + 1, script)
        else:
            runs.append((place, place + 1, script))
    return runs


def units(text: str) -> list[tuple[int, int, str]]:
    """Begin, end and lower-case form of each word, or character where words have no spaces."""
    result = []
    for begin, end, script in script_runs(text):
        step = 1 if script in _UNSPACED else end - begin
        result += [(at, at + step, text[at : at + step].lower()) for at in range(begin, end, step)]
    return result
