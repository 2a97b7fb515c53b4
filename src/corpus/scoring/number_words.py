"""Words and characters that stand for numbers, in the languages whose number words are read."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.corpus.scoring.block import LONGEST
from src.corpus.scoring.hashing import Hashes, powers, word_table
from src.corpus.scoring.marks import Folds, fold_table

ENGLISH, CHINESE, DECIMAL_COMMA = 1, 2, 4
"""What a reader of numbers knows, as bits: English number words; Chinese numerals; that a comma is
the decimal mark and a point groups thousands."""

_READERS = {
    "en": ENGLISH,
    "zh": CHINESE,
    "ja": CHINESE,
    **dict.fromkeys(
        ("cs", "de", "el", "es", "fr", "id", "it", "nl", "pl", "pt", "ru", "tr", "uk", "vi"),
        DECIMAL_COMMA,
    ),
}

VALUE, HUNDRED, SCALE, AND, MONTH = 1, 2, 3, 4, 5
"""What a number word does in a number: adds its value; multiplies what stands before it; ends a
group of thousands; joins; or names a month."""

_WORDS_FROM_ZERO = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen"""
_ORDINALS_FROM_FIRST = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh
twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"""
_TENS_FROM_TWENTY = "twenty thirty forty fifty sixty seventy eighty ninety"
_FURTHER_VALUES = {
    "a": 1.0,
    "an": 1.0,
    "single": 1.0,
    "once": 1.0,
    "both": 2.0,
    "pair": 2.0,
    "twice": 2.0,
    "double": 2.0,
    "triple": 3.0,
    "dozen": 12.0,
    "half": 0.5,
    "quarter": 0.25,
}
_HUNDREDS = {"decade": 1e1, "hundred": 1e2}
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_SEPT = {"sept": 9.0}
_ABBREVIATION = 3

HALF, TEN_THOUSAND, HUNDRED_MILLION = 11, 12, 13
"""Chinese numerals beside the digits, which are 1 to 10 for 0 to 9, and the units from 14 on."""
FIRST_UNIT = 14
UNITS = (10.0, 100.0, 1000.0)
_NUMERALS = {
    **{character: digit for digit, character in enumerate("零一二三四五六七八九", start=1)},
    "〇": 1,
    "两": 3,
    "半": HALF,
    "万": TEN_THOUSAND,
    "亿": HUNDRED_MILLION,
    "億": HUNDRED_MILLION,
    **{character: unit for unit, character in enumerate("十百千", start=FIRST_UNIT)},
}


class NumberTables(NamedTuple):
    """Number words.

    Attributes:
        word_hashes: `[S]` English number words, see `word_table`.
        word_kinds: `[S]` what each does: VALUE and so on.
        word_values: `[S]` its value.
        numerals: `[0x10000]` Chinese numerals by code point, 0 for other characters.
        fold: `[0x10000]` lower-case forms; digits of any script become 0 to 9.
        powers: Powers of the base of the hashes.
    """

    word_hashes: Hashes
    word_kinds: NDArray[np.uint8]
    word_values: NDArray[np.float64]
    numerals: NDArray[np.uint8]
    fold: Folds
    powers: Hashes


def reader_of(language: str) -> int:
    """How numbers are written in a language, see `ENGLISH`."""
    return _READERS.get(language, 0)


@cache
def number_tables() -> NumberTables:
    """The number words of all languages that have a reader."""
    words = _english_words()
    hashes, indices = word_table(list(words))
    is_word = indices >= 0
    kinds = np.zeros(len(hashes), np.uint8)
    values = np.zeros(len(hashes))
    kinds[is_word] = np.array([kind for kind, _ in words.values()])[indices[is_word]]
    values[is_word] = np.array([value for _, value in words.values()])[indices[is_word]]
    numerals = np.zeros(0x10000, np.uint8)
    for character, numeral in _NUMERALS.items():
        numerals[ord(character)] = numeral
    return NumberTables(hashes, kinds, values, numerals, fold_table(), powers(LONGEST + 1))


def _english_words() -> dict[str, tuple[int, float]]:
    tens = [(word, 10.0 * n) for n, word in enumerate(_TENS_FROM_TWENTY.split(), start=2)]
    values = {
        **{word: float(n) for n, word in enumerate(_WORDS_FROM_ZERO.split())},
        **{word: float(n) for n, word in enumerate(_ORDINALS_FROM_FIRST.split(), start=1)},
        **dict(tens),
        **{f"{word[:-1]}ieth": value for word, value in tens},
        **_FURTHER_VALUES,
    }
    singular = {
        **{word: (VALUE, value) for word, value in values.items()},
        **{word: (HUNDRED, value) for word, value in _HUNDREDS.items()},
        **{word: (SCALE, value) for word, value in _SCALES.items()},
        "and": (AND, 0.0),
    }
    months = {name: float(n) for n, name in enumerate(_MONTHS, start=1)}
    months |= {name[:_ABBREVIATION]: value for name, value in months.items()} | _SEPT
    return {
        **{f"{word}s": meaning for word, meaning in singular.items()},
        **singular,
        **{word: (MONTH, value) for word, value in months.items()},
    }
