"""Characters that only a wrong encoding explains."""

from __future__ import annotations

import re
import unicodedata

from src.corpus.report.spans import Spans, found, merged, script_runs

# U+FFFD read as GBK; UTF-8 read as Latin-1 or Windows-1252.
_RUINS = re.compile(r"[锟斤拷]{2,}|(?:[ÃÂâåæçèéäïðÐÑ][\x80-\xbfŒ-žˆ˜–-›€™]{1,3})+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def broken_characters(left: str, right: str) -> tuple[Spans, Spans]:
    """What a wrong encoding has left on both sides, by the surest sign there is.

    Impossible characters; else typical ruins; else Han characters too rare to be meant; else
    whatever is not ASCII.
    """
    for find in (_impossible, _ruins, _rare_han):
        parts = find(left), find(right)
        if parts[0] or parts[1]:
            return parts
    return found(_BEYOND_ASCII, left), found(_BEYOND_ASCII, right)


def _impossible(text: str) -> Spans:
    """Characters that no text has: U+FFFD, controls, private use."""
    places = [
        (place, place + 1)
        for place, character in enumerate(text)
        if character == "\ufffd"
        or (unicodedata.category(character) in ("Cc", "Co", "Cn") and not character.isspace())
    ]
    return merged(places, text)


def _ruins(text: str) -> Spans:
    return merged(found(_RUINS, text), text)


def _rare_han(text: str) -> Spans:
    """Runs of Han characters that hold some outside GB 2312 and Big5."""
    return [
        (begin, end)
        for begin, end, script in script_runs(text)
        if script == "CJK" and any(_is_rare(character) for character in text[begin:end])
    ]


def _is_rare(character: str) -> bool:
    return not any(character.encode(code, "ignore") for code in ("gb2312", "big5"))
