"""Text as people paste it, made into pieces a sentence model can translate, and joined again.

A model is trained on single clean sentences of limited length. So a line is cleaned, and only one
that is too long is cut: at sentence ends, then at clause marks, then between words, and only when
nothing else helps inside a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from src.languages import LANGUAGES, Script, split_direction

Measure = Callable[[Sequence[str]], list[int]]

_HAN = re.compile(r"[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_KANA = re.compile(r"[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\uff66-\uff9d]")

# All but Latin. Japanese mixes kana and Han, Chinese has no kana; Han alone is Chinese, if that can
# be the source at all.
_SCRIPTS: tuple[tuple[Script, re.Pattern[str]], ...] = (
    ("japanese", _KANA),
    ("han", _HAN),
    ("japanese", _HAN),
    ("hangul", re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")),
    ("cyrillic", re.compile(r"[\u0400-\u052f]")),
    ("greek", re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")),
    ("arabic", re.compile(r"[\u0620-\u064a\u066e-\u06d3\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]")),
    ("hebrew", re.compile(r"[\u05d0-\u05ea\ufb1d-\ufb4f]")),
    ("thai", re.compile(r"[\u0e01-\u0e3a\u0e40-\u0e4e]")),
    ("devanagari", re.compile(r"[\u0900-\u097f]")),
)

# Controls, zero-width and byte-order characters, direction overrides, lone surrogates: no reader
# sees them and no training text holds them. The zero-width joiner stays: emoji are made with it.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

# The end of a sentence: Chinese marks anywhere, Latin ones before a space; closing quotes and
# brackets belong to the sentence. "3.5" has no space, so it is never a candidate. A run of marks is
# tried from its first one only: a million full stops must not take a million squared steps.
_CLOSING = r"[\"'”’»)\]）】》」』]*"
_SENTENCE_END = re.compile(rf"(?:[。！？；]+|…{{1,2}}){_CLOSING}\s*|(?<![.!?])[.!?]+{_CLOSING}\s+")
_CLAUSE_END = re.compile(r"[，、：]+\s*|[,;:]\s+|\s[-–—]\s")
_WORD_END = re.compile(r"\s+")

# A full stop after these does not end a sentence, whatever follows.
_ABBREVIATIONS = frozenset(
    word
    for line in (
        "adm approx apr art aug ave bros capt cf ch col co corp dec dept dr e.g ed eds eq esp est",
        "feb fig figs gen gov i.e inc jan jr jul jun lt ltd maj mar messrs mr mrs ms mt no nos nov",
        "oct op p pp prof rep rev sec sen sep sept sgt sr st vol vols vs viz",
    )
    for word in line.split()
)
_JOINER = "\u200d"  # makes one emoji of several
_LAST_WORD = re.compile(r"([A-Za-z](?:[A-Za-z]|\.(?=[A-Za-z]))*)\.$")


def clean_line(text: str) -> str:
    """The text on one line: invisible characters gone, runs of white space made one space."""
    return " ".join(_INVISIBLE.sub("", text).split())


def directions_from(text: str, directions: Sequence[str]) -> list[str]:
    """The directions whose source language the text may be in, judged by its script.

    One character of a script other than Latin decides, if a source language is written in it:
    Chinese text may hold English names, English text hardly ever Chinese. Without any, directions
    from languages in Latin script remain.
    """
    scripts = {way: LANGUAGES[split_direction(way)[0]].script for way in directions}
    for script, characters in _SCRIPTS:
        if script in scripts.values() and characters.search(text):
            return [way for way in directions if scripts[way] == script]
    return [way for way in directions if scripts[way] == "latin"]


def is_mostly_chinese(texts: Sequence[str]) -> bool:
    """Whether Chinese characters are at least a third of all letters: names may be Latin."""
    joined = "".join(texts)
    letters = sum(character.isalpha() for character in joined)
    return letters > 0 and 3 * len(_HAN.findall(joined)) >= letters


def split_sentences(text: str) -> list[str]:
    """Cuts English, Chinese or mixed text after each sentence, not after abbreviations.

    Returns:
        Sentences with their marks, without the white space between them; none is empty.
    """
    return _cut(text, _SENTENCE_END, is_end=_is_sentence_end)


def split_to_fit(text: str, *, limit: int, measure: Measure) -> list[str]:
    """Cuts `text` into pieces that measure at most `limit`, at the best places there are.

    Args:
        text: A cleaned line.
        limit: Largest size of a piece, in what `measure` counts.
        measure: Sizes of several texts at once, e.g. in tokens.

    Returns:
        Pieces in order. One single character is not cut, whatever it measures.
    """
    sizes: dict[str, int] = {}

    def measure_once(texts: Sequence[str]) -> list[int]:
        new = [piece for piece in dict.fromkeys(texts) if piece not in sizes]
        sizes.update(zip(new, measure(new), strict=True))
        return [sizes[piece] for piece in texts]

    pieces = [text]
    for cut in (split_sentences, _split_clauses, _split_words):
        pieces = _cut_long_pieces(pieces, cut, limit=limit, measure=measure_once)
    return _cut_inside_words(pieces, limit=limit, measure=measure_once)


def join_pieces(pieces: Sequence[str]) -> str:
    """One text of translated pieces: a space between them, except beside Chinese."""
    joined = ""
    for piece in pieces:
        if not piece:
            continue
        needs_space = joined and not (is_wide(joined[-1]) or is_wide(piece[0]))
        joined += f" {piece}" if needs_space else piece
    return joined


def _cut_long_pieces(
    pieces: list[str], cut: Callable[[str], list[str]], *, limit: int, measure: Measure
) -> list[str]:
    """Replaces each piece above `limit` by its parts; parts of one sentence are joined up again."""
    result: list[str] = []
    for piece, size in zip(pieces, measure(pieces), strict=True):
        if size <= limit:
            result.append(piece)
        elif cut is split_sentences:  # a whole sentence stands alone, as in training
            result += cut(piece)
        else:
            result += _merge(cut(piece), limit=limit, measure=measure)
    return result


def _merge(parts: list[str], *, limit: int, measure: Measure) -> list[str]:
    """Joins neighbours while their sizes, and 1 for each joint, add up to at most `limit`."""
    merged: list[str] = []
    filled = limit
    for part, size in zip(parts, measure(parts), strict=True):
        if filled + 1 + size <= limit:
            merged[-1] = join_pieces([merged[-1], part])
            filled += 1 + size
        else:
            merged.append(part)
            filled = size
    return merged


def _cut_inside_words(pieces: list[str], *, limit: int, measure: Measure) -> list[str]:
    """Cuts what is still too long into equal parts, again and again until all fit."""
    while True:
        shorter: list[str] = []
        for piece, size in zip(pieces, measure(pieces), strict=True):
            shorter += [piece] if size <= limit else _cut_evenly(piece, -(-size // limit))
        if len(shorter) == len(pieces):
            return pieces
        pieces = shorter


def _cut(
    text: str, ends: re.Pattern[str], *, is_end: Callable[[str, re.Match[str]], bool] | None = None
) -> list[str]:
    pieces, start = [], 0
    for match in ends.finditer(text):
        if is_end is None or is_end(text, match):
            pieces.append(text[start : match.end()].strip())
            start = match.end()
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def _is_sentence_end(text: str, match: re.Match[str]) -> bool:
    mark = match.group().strip()
    if mark[0] != ".":
        return True
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return False
    word = _LAST_WORD.search(text, max(0, match.start() - 20), match.start() + 1)
    if word is None:
        return True
    name = word.group(1)
    is_initial = len(name) == 1 and name.isupper() and name != "I"
    return not (is_initial or name.lower() in _ABBREVIATIONS)


def _split_clauses(text: str) -> list[str]:
    return _cut(text, _CLAUSE_END)


def _split_words(text: str) -> list[str]:
    return _cut(text, _WORD_END)


def _cut_evenly(text: str, count: int) -> list[str]:
    """About `count` parts of equal length; a combining mark stays with what it belongs to."""
    step = max(1, len(text) // count)
    parts, start = [], 0
    while start < len(text):
        end = start + step
        while end < len(text) and (
            unicodedata.combining(text[end]) or _JOINER in text[end - 1 : end + 1]
        ):
            end += 1
        parts.append(text[start:end].strip())
        start = end
    return [part for part in parts if part]


def is_wide(character: str) -> bool:
    """Chinese characters and full-width punctuation, beside which no space is written.

    Args:
        character: One, or none at all, which is not.
    """
    if not character:
        return False
    return unicodedata.east_asian_width(character) in "WF" or character in "“”‘’…"
