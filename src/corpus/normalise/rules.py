"""What the repairs know about characters: tables by language, and names.

A table has one word a code point. Bits of a single character say that a row which has it is
suspect. Bits of neighbours come in twos: a row is suspect where a character with the upper one of
two stands right before a character with the lower one.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import opencc
from numpy.typing import NDArray

from src.corpus.folding import joining_characters
from src.languages import LANGUAGES
from src.schema.data import NormaliseConfig

Words = NDArray[np.uint32]
Form = Literal["NFC", "NFKC"]

REPAIRS = (
    "html_entities",
    "mojibake",
    "control_characters",
    "unicode_form",
    "fullwidth_latin",
    "traditional_to_simplified",
    "html_tags",
    "list_markers",
    "quotes",
    "chinese_spacing",
    "chinese_punctuation",
    "whitespace",
)
"""Names of the repairs, as in the configuration; a repair's number is its place here."""
(
    ENTITIES,
    MOJIBAKE_REPAIR,
    CONTROL,
    NORMAL_FORM,
    WIDTH,
    SIMPLIFIED,
    TAGS,
    MARKERS,
    QUOTES,
    SPACING,
    PUNCTUATION,
    SPACES_REPAIR,
) = range(len(REPAIRS))

# A row is suspect that has one of these.
REPLACED = 1 << 0  # stands in the table of replacements
TRADITIONAL = 1 << 1  # the same, but only where no phrase says otherwise
UNSTABLE = 1 << 2  # may not be in normal form
CURLY_DOUBLE = 1 << 3
STRAIGHT_DOUBLE = 1 << 4
CURLY_SINGLE = 1 << 5
STRAIGHT_SINGLE = 1 << 6
ACUTE = 1 << 7  # as an apostrophe
WIDE_LETTER = 1 << 8  # or a digit; signs become narrow only together with them
# Lower bits of two; the upper one is the next.
ENTITY = 1 << 10
MOJIBAKE = 1 << 12
PHRASE = 1 << 14  # of the phrases whose characters are not converted one by one
NARROW = 1 << 16  # a Chinese character, then narrow punctuation
SPACES = 1 << 18
GAP = 1 << 20  # a Chinese character, then a space
CLOSED_GAP = 1 << 22  # ... and then a Chinese character or punctuation
QUOTE_PAIR = 1 << 24
TAG = 1 << 26
SINGLES = (1 << 9) - 1
SECONDS = sum(1 << bit for bit in range(10, 27, 2))

TABLE_SIZE = 0x40000
"""Code points in the tables; nothing is known about those of later planes."""
DELETED = 0x1FFFFF
REPAIR_SHIFT = 24
"""A replacement is a code point, or `DELETED`, and the number of the repair above it."""

ZERO_WIDTH_JOINER = 0x200D
_JOINERS = "\u200c\u200d"
_INVISIBLE = (
    "\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u00ad\u061c\u061c\u180e\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufeff\ufff9-\ufffb"
)
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = "\u3041-\u30ff\u31f0-\u31ff"
_PUNCTUATION = "，。！？：；、（）《》〈〉「」『』【】“”"
_CLOSING = "）》」』】”！？"
_TWO_BYTES = 0x80
_TO_WIDE = 0xFEE0
_LAST_SPACE = 0x3000


@dataclass(frozen=True)
class Rules:
    """What is repaired on the sides in one language.

    Attributes:
        bits: `[0x40001]` uint32, the bits of each code point; the last is for all beyond.
        replacements: `[0x40001]` uint32, what becomes of each code point; 0: it stays.
        form: Normal form, or None.
        script: Of the language.
        switches: `[12]` bool, the repairs that are on.
    """

    bits: Words
    replacements: Words
    form: Form | None
    script: str
    switches: NDArray[np.bool_]


@cache
def rules_for(settings: NormaliseConfig, code: str) -> Rules:
    """The rules of a configuration for a language."""
    script = LANGUAGES[code].script
    form: Form | None = None if settings.unicode_form == "none" else settings.unicode_form
    off = {False, "none", "keep"}
    switches = np.array([getattr(settings, name) not in off for name in REPAIRS])
    if script not in {"han", "japanese"}:
        switches[[SPACING, PUNCTUATION, SIMPLIFIED]] = False
    if script == "japanese":
        switches[[PUNCTUATION, SIMPLIFIED]] = False
    if script not in {"han", "latin"}:
        switches[QUOTES] = False
    rules = Rules(
        np.zeros(TABLE_SIZE + 1, np.uint32),
        np.zeros(TABLE_SIZE + 1, np.uint32),
        form,
        script,
        switches,
    )
    _mark_dirt(rules)
    _mark_spaces(rules)
    _mark_chinese(rules)
    _mark_quotes(rules)
    return rules


def _spans(ranges: str) -> list[int]:
    """The code points of `a-b` ranges and single characters, written as in a regular expression."""
    codes: list[int] = []
    place = 0
    while place < len(ranges):
        is_range = ranges[place + 1 : place + 2] == "-"
        last = ranges[place + 2] if is_range else ranges[place]
        codes += range(ord(ranges[place]), ord(last) + 1)
        place += 3 if is_range else 1
    return codes


def _codes(characters: Iterable[str]) -> list[int]:
    return [ord(character) for character in characters]


def _replace(rules: Rules, repair: int, pairs: dict[int, int]) -> None:
    flag = TRADITIONAL if repair == SIMPLIFIED else REPLACED
    codes = list(pairs)
    rules.bits[codes] |= flag
    rules.replacements[codes] = [repair << REPAIR_SHIFT | new for new in pairs.values()]


def _mark_dirt(rules: Rules) -> None:
    bits = rules.bits
    if rules.switches[ENTITIES]:
        bits[:] |= ENTITY
        bits[_codes("\t\n\f <&;")] &= ~np.uint32(ENTITY)
        bits[ord("&")] |= 2 * ENTITY
    if rules.switches[TAGS]:
        bits[_spans("A-Za-z/")] |= TAG
        bits[ord("<")] |= 2 * TAG
    if rules.switches[MOJIBAKE_REPAIR]:
        # Bytes of UTF-8 read as Latin-1 or Windows-1252: a lead byte, then a continuation byte.
        bits[_spans("\u00c2-\u00f4")] |= 2 * MOJIBAKE
        bits[_spans("\u0080-\u00bf\u0152-\u0178\u02c6-\u02dc\u2013-\u2122")] |= MOJIBAKE
    if rules.switches[CONTROL]:
        invisible = dict.fromkeys(_spans(_INVISIBLE), DELETED)
        if rules.script in {"arabic", "devanagari"}:  # there they are spelling
            for joiner in _codes(_JOINERS):
                del invisible[joiner]
        _replace(rules, CONTROL, invisible)
    if rules.form is not None:
        bits[_unstable(rules.form)] |= UNSTABLE
    if rules.switches[WIDTH]:
        _mark_wide(rules)


def _mark_wide(rules: Rules) -> None:
    """Chinese text keeps its punctuation, and its signs, too, where no letters are wide."""
    narrow = list(range(0x21, 0x7F))
    letters = narrow
    if rules.script in {"han", "japanese"}:
        letters = [code for code in narrow if chr(code).isalnum()]
        narrow = letters + _codes("%+-=@#$&*/<>_|^\\")
    _replace(rules, WIDTH, {code + _TO_WIDE: code for code in narrow})
    wide = np.array(narrow) + _TO_WIDE
    rules.bits[wide] &= ~np.uint32(REPLACED)
    rules.bits[np.array(letters) + _TO_WIDE] |= REPLACED | WIDE_LETTER


def _mark_spaces(rules: Rules) -> None:
    if rules.switches[SPACES_REPAIR]:
        white = [code for code in range(_LAST_SPACE + 1) if chr(code).isspace()]
        known = rules.replacements[white]
        _replace(rules, SPACES_REPAIR, dict.fromkeys(white, ord(" ")))
        rules.replacements[white] = np.where(known, known, rules.replacements[white])
        rules.bits[ord(" ")] &= ~np.uint32(REPLACED)
        rules.replacements[ord(" ")] = 0
    if rules.switches[SPACES_REPAIR] or rules.switches[SPACING]:
        rules.bits[ord(" ")] |= SPACES | 2 * SPACES


def _mark_chinese(rules: Rules) -> None:
    bits = rules.bits
    letters = _spans(_HAN + (_KANA if rules.script == "japanese" else ""))
    if rules.switches[SPACING]:
        chinese = letters + _codes(_PUNCTUATION)
        bits[chinese] |= 2 * GAP | CLOSED_GAP
        bits[ord(" ")] |= GAP
        bits[_codes("?!,;:")] |= CLOSED_GAP
    if rules.switches[PUNCTUATION]:
        bits[letters + _codes(_CLOSING)] |= 2 * NARROW
        bits[_codes(",.?!:;")] |= NARROW
    if rules.switches[SIMPLIFIED]:
        _replace(rules, SIMPLIFIED, traditional_characters())
        bits[_codes({phrase[0] for phrase in traditional_phrases()})] |= 2 * PHRASE
        bits[_codes({phrase[1] for phrase in traditional_phrases()})] |= PHRASE


def _mark_quotes(rules: Rules) -> None:
    if not rules.switches[QUOTES]:
        return
    bits = rules.bits
    bits[_codes("“”„‟")] |= CURLY_DOUBLE
    bits[ord('"')] |= STRAIGHT_DOUBLE
    bits[ord("'")] |= QUOTE_PAIR | 2 * QUOTE_PAIR
    if rules.script == "latin":
        bits[_codes("‘’‚‛")] |= CURLY_SINGLE
        bits[ord("'")] |= STRAIGHT_SINGLE
        bits[ord("´")] |= ACUTE
    else:
        _replace(rules, QUOTES, dict(zip(_codes("「」『』"), _codes("“”‘’"), strict=True)))


@cache
def _unstable(form: Form) -> list[int]:
    """Code points that a text in a normal form has not, or only in some places."""
    joining = joining_characters()
    return [
        code
        for code in range(_TWO_BYTES, TABLE_SIZE)
        if chr(code) in joining
        or unicodedata.combining(chr(code))
        or (unicodedata.decomposition(chr(code)) and not unicodedata.is_normalized(form, chr(code)))
    ]


@cache
def traditional_characters() -> dict[int, int]:
    """The simplified form of every character that has another one, as OpenCC's t2s gives it."""
    entries = (line.split() for line in _dictionary("TSCharacters"))
    return {ord(e[0]): ord(e[1]) for e in entries if len(e) > 1 and e[0] != e[1]}


@cache
def traditional_phrases() -> tuple[str, ...]:
    """Phrases that OpenCC's t2s does not convert character by character."""
    return tuple(line.split("\t")[0] for line in _dictionary("TSPhrases"))


def _dictionary(name: str) -> list[str]:
    path = Path(str(sys.modules[opencc.__name__].__file__)).with_name("dictionary") / f"{name}.txt"
    return path.read_text(encoding="utf-8").splitlines()
