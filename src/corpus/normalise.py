"""Repairs made to each side of a pair before it is judged.

Every repair is a function of one text and has a cheap test in front of it, because nearly all text
needs none: the test decides the speed. Repairs feed each other (an entity may hide a zero-width
space, a removed one may join letters), so a text that changed goes through all of them again until
nothing changes: what `Normaliser` returns, it would return again.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import ftfy
import opencc

from src.schema import NormaliseConfig

Language = Literal["en", "zh"]
Repair = Callable[[str], str]

_MAX_ROUNDS = 8

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"

# Bytes of UTF-8 read as Latin-1 or Windows-1252: a lead byte, then a continuation byte.
_MOJIBAKE = re.compile("[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u0178\u02c6-\u02dc\u2013-\u2122]")
# A zero-width joiner after an emoji builds one picture out of two; elsewhere it is dirt.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
    "|(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d"
)
_FULLWIDTH_ANY = re.compile("[\uff01-\uff5e]")
_FULLWIDTH_LETTER = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_TO_HALFWIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
# Chinese text keeps its full-width punctuation; only letters, digits and signs become ASCII.
_TO_HALFWIDTH_IN_CHINESE = {
    code: narrow
    for code, narrow in _TO_HALFWIDTH.items()
    if chr(narrow).isalnum() or chr(narrow) in "%+-=@#$&*/<>_|^\\"
}
_CHINESE = _HAN + "，。！？：；、（）《》〈〉「」『』【】“”"
# Patterns start with what is rare, so that searching is fast; what stands before comes after.
_SPACE_BEFORE_CHINESE = re.compile(f" +(?=[{_CHINESE}]|[?!,;:](?: |$))")
_IS_CHINESE = re.compile(f"[{_CHINESE}]")
_NARROW_AFTER_HAN = re.compile(f"[,.?!:;](?<=[{_HAN}）》」』】”！？].)")
_WIDE = {",": "，", ".": "。", "?": "？", "!": "！", ":": "：", ";": "；"}
# Code, addresses, placeholders and roles (`:class:`name``) keep their punctuation.
_PROTECTED = re.compile(r"(`+[^`]*`+|[A-Za-z]+://\S+|:[\w+.:-]+:`[^`]*`|\{[^{}]*\}|<[^<>]*>)")
_NARROW = re.compile(
    # A full stop only at the end of a clause: never before a letter, a digit or another stop.
    f"(?<=[{_HAN}）》」』】”])(?:\\.(?![\\w./\\\\])|[,;:](?![:/\\\\]))"
    f"|(?<=[{_HAN}）》」』】”！？])[?!](?![=/\\\\])"
)


class Normaliser:
    """Applies the repairs that a configuration switches on, and counts them.

    Attributes:
        counts: Number of texts (sides) each repair changed, by its configuration key.
    """

    def __init__(self, settings: NormaliseConfig) -> None:
        self.counts: Counter[str] = Counter()
        self._repairs: dict[Language, tuple[tuple[str, Repair], ...]] = {
            "en": tuple(_english_repairs(settings)),
            "zh": tuple(_chinese_repairs(settings)),
        }

    def english(self, text: str) -> str:
        """The English side, repaired."""
        return self._repaired(text, "en")

    def chinese(self, text: str) -> str:
        """The Chinese side, repaired."""
        return self._repaired(text, "zh")

    def _repaired(self, text: str, language: Language) -> str:
        if _is_plain(text):
            return text
        changed: set[str] = set()
        original = text
        for _ in range(_MAX_ROUNDS):
            before = text
            for name, repair in self._repairs[language]:
                after = repair(text)
                if after != text:
                    changed.add(name)
                    text = after
            if text == before:
                break
        if text != original:
            self.counts.update(changed)
        return text


def _is_plain(text: str) -> bool:
    """Whether a text is ASCII with nothing to repair, as most English text is."""
    return (
        text.isascii()
        and text.isprintable()
        and "&" not in text
        and "  " not in text
        and text == text.strip()
    )


def _common_repairs(settings: NormaliseConfig) -> list[tuple[str, Repair]]:
    repairs: list[tuple[str, Repair]] = []
    if settings.html_entities:
        repairs.append(("html_entities", _unescape))
    if settings.mojibake:
        repairs.append(("mojibake", _repair_mojibake))
    if settings.control_characters:
        repairs.append(("control_characters", _remove_invisible))
    if settings.unicode_form != "none":
        repairs.append(("unicode_form", _unicode_form(settings.unicode_form)))
    return repairs


def _english_repairs(settings: NormaliseConfig) -> list[tuple[str, Repair]]:
    repairs = _common_repairs(settings)
    if settings.fullwidth_latin:
        repairs.append(("fullwidth_latin", _narrow_all))
    if settings.whitespace:
        repairs.append(("whitespace", _single_spaces))
    return repairs


def _chinese_repairs(settings: NormaliseConfig) -> list[tuple[str, Repair]]:
    repairs = _common_repairs(settings)
    if settings.fullwidth_latin:
        repairs.append(("fullwidth_latin", _narrow_letters))
    if settings.traditional_to_simplified:
        repairs.append(("traditional_to_simplified", _simplify))
    if settings.whitespace:
        repairs.append(("whitespace", _single_spaces))
    if settings.chinese_spacing:
        repairs.append(("chinese_spacing", _close_gaps))
    if settings.chinese_punctuation:
        repairs.append(("chinese_punctuation", _widen_punctuation))
    return repairs


def _unescape(text: str) -> str:
    return html.unescape(text) if "&" in text else text


def _repair_mojibake(text: str) -> str:
    if text.isascii() or not _MOJIBAKE.search(text):
        return text
    return ftfy.fix_encoding(text)


def _remove_invisible(text: str) -> str:
    return text if text.isprintable() else _INVISIBLE.sub("", text)


def _unicode_form(form: Literal["NFC", "NFKC"]) -> Repair:
    def to_form(text: str) -> str:
        return text if text.isascii() else unicodedata.normalize(form, text)

    return to_form


def _narrow_all(text: str) -> str:
    if text.isascii() or not _FULLWIDTH_ANY.search(text):
        return text
    return text.translate(_TO_HALFWIDTH)


def _narrow_letters(text: str) -> str:
    return text.translate(_TO_HALFWIDTH_IN_CHINESE) if _FULLWIDTH_LETTER.search(text) else text


def _single_spaces(text: str) -> str:
    return " ".join(text.split())


def _close_gaps(text: str) -> str:
    return _SPACE_BEFORE_CHINESE.sub(_without_gap, text) if " " in text else text


def _without_gap(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 1) : match.start()]
    return "" if _IS_CHINESE.match(before) else match[0]


def _widen_punctuation(text: str) -> str:
    if not _NARROW_AFTER_HAN.search(text):
        return text
    parts = _PROTECTED.split(text)
    parts[0::2] = [_NARROW.sub(lambda match: _WIDE[match[0]], part) for part in parts[0::2]]
    return "".join(parts)


def _simplify(text: str) -> str:
    # Dictionary look-ups cost 100 µs a sentence; simplified text must not pay for them.
    if _traditional_characters().isdisjoint(text):
        return text
    return str(_converter().convert(text))


@cache
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


@cache
def _traditional_characters() -> frozenset[str]:
    """Characters that OpenCC maps to another one unless a phrase says otherwise."""
    path = Path(opencc.__file__).with_name("dictionary") / "TSCharacters.txt"
    entries = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(entry[0] for entry in entries if len(entry) > 1 and entry[0] != entry[1])
