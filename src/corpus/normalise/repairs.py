"""Repairs in Python, for the few rows that are suspect of needing them."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import ftfy
import numpy as np
import opencc
from numpy.typing import NDArray

from src.corpus.normalise.rules import (
    ACUTE,
    CURLY_DOUBLE,
    CURLY_SINGLE,
    ENTITIES,
    ENTITY,
    MOJIBAKE,
    MOJIBAKE_REPAIR,
    NORMAL_FORM,
    PHRASE,
    QUOTE_PAIR,
    QUOTES,
    SIMPLIFIED,
    STRAIGHT_DOUBLE,
    STRAIGHT_SINGLE,
    TRADITIONAL,
    UNSTABLE,
    Rules,
    traditional_characters,
    traditional_phrases,
)
from src.corpus.normalise.suspects import Flags

_ANY_OF = (ENTITY, MOJIBAKE, UNSTABLE, QUOTE_PAIR, ACUTE)
_ALL_OF = (
    TRADITIONAL | PHRASE,
    CURLY_DOUBLE | STRAIGHT_DOUBLE,
    CURLY_SINGLE | STRAIGHT_SINGLE,
)

_TEX_QUOTES = re.compile("``([^`\"]+?)''")
_ACUTE_APOSTROPHE = re.compile(r"(?<=[^\W\d_])´(?=[^\W\d_])")
_STRAIGHT_DOUBLE = dict.fromkeys(map(ord, "“”„‟"), '"')
_STRAIGHT_SINGLE = dict.fromkeys(map(ord, "‘’‚‛"), "'")
_DOUBLE = re.compile('["“”]')
# In code a straight quotation mark is not punctuation.
_CODE = re.compile(r"[`<>{}=\\$]|\w\(")


def needing_python(flags: Flags) -> NDArray[np.bool_]:
    """`[N]` the rows that a repair in Python may change."""
    needs = (flags & np.uint32(sum(_ANY_OF))) != 0
    for both in _ALL_OF:
        needs |= (flags & np.uint32(both)) == np.uint32(both)
    return np.asarray(needs)


class PythonRepair(NamedTuple):
    """A repair and the rows it is for.

    Attributes:
        any_of: Bits of which a row must have one.
        all_of: Bits of which it must have all.
        number: In `src.corpus.normalise.rules.REPAIRS`.
        apply: The repair.
    """

    any_of: int
    all_of: int
    number: int
    apply: Callable[[str], str]


def python_repairs(rules: Rules) -> tuple[PythonRepair, ...]:
    """The repairs in Python that are switched on, in the order in which they are made."""
    quotes = ACUTE | CURLY_DOUBLE | CURLY_SINGLE | QUOTE_PAIR
    every = (
        PythonRepair(ENTITY, 0, ENTITIES, html.unescape),
        PythonRepair(MOJIBAKE, 0, MOJIBAKE_REPAIR, ftfy.fix_encoding),
        PythonRepair(UNSTABLE, 0, NORMAL_FORM, partial(unicodedata.normalize, rules.form or "NFC")),
        PythonRepair(PHRASE, TRADITIONAL, SIMPLIFIED, simplified),
        PythonRepair(quotes, 0, QUOTES, alike_quotes if rules.script == "latin" else curly_quotes),
    )
    return tuple(repair for repair in every if rules.switches[repair.number])


def repaired(text: str, flags: int, repairs: tuple[PythonRepair, ...]) -> tuple[str, int]:
    """A text after each repair that it is suspect of needing, and a bit for each that changed it.

    Args:
        text: One side of a pair.
        flags: What it is suspect of.
        repairs: Of its language.
    """
    changed = 0
    for any_of, all_of, number, apply in repairs:
        if flags & any_of and flags & all_of == all_of:
            after = apply(text)
            if after != text:
                changed |= 1 << number
                text = after
    return text, changed


def simplified(text: str) -> str:
    """A text that may hold phrases (`乾隆`) that are not converted character by character."""
    # OpenCC takes 100 µs a sentence; look-alikes of phrases must not pay for it.
    if _phrases().search(text):
        return str(_converter().convert(text))
    return text.translate(traditional_characters())


@cache
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


@cache
def _phrases() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, traditional_phrases())))


def alike_quotes(text: str) -> str:
    """Quotation marks and apostrophes of a text in Latin letters, straight where styles mix."""
    # An expression that looks behind at every place costs far more than asking for the character.
    if "``" in text:
        text = _TEX_QUOTES.sub(r'"\1"', text)
    if "´" in text:
        text = _ACUTE_APOSTROPHE.sub("'", text)
    if '"' in text:
        text = text.translate(_STRAIGHT_DOUBLE)
    if "'" in text:
        text = text.translate(_STRAIGHT_SINGLE)
    return text


def curly_quotes(text: str) -> str:
    """Quotation marks of a Chinese text, curly where styles mix and it is sure which one opens."""
    if "``" in text:
        text = _TEX_QUOTES.sub(r"“\1”", text)
    if _CODE.search(text):
        return text
    marks = _DOUBLE.findall(text)
    sides = "“”" * (len(marks) // 2)
    if len(marks) != len(sides) or {*marks} <= {'"'}:
        return text
    if any(mark not in {'"', side} for mark, side in zip(marks, sides, strict=True)):
        return text
    following = iter(sides)
    return _DOUBLE.sub(lambda _: next(following), text)
