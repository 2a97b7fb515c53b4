"""What the scores depend on in a pair of languages, as tables and numbers for compiled loops."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.corpus.characters import CharacterClass
from src.corpus.scoring.function_words import AMBIGUOUS_WORDS, FUNCTION_WORDS, FURTHER_LETTERS
from src.corpus.scoring.hashing import Hashes, word_table
from src.corpus.scoring.marks import (
    CLASS_MASK,
    CLASSES,
    LATIN,
    LETTER_CLASSES,
    Marks,
    fold_table,
    mark_table,
)
from src.corpus.scoring.number_words import reader_of
from src.languages import LANGUAGES, Script

_OWN_CLASSES: dict[Script, tuple[CharacterClass, ...]] = {
    "latin": (CharacterClass.LATIN,),
    "han": CharacterClass.han(),
    "japanese": (CharacterClass.KANA, *CharacterClass.han()),
    "hangul": (CharacterClass.HANGUL, *CharacterClass.han()),
    "cyrillic": (CharacterClass.CYRILLIC,),
    "greek": (CharacterClass.GREEK,),
    "arabic": (CharacterClass.ARABIC,),
    "hebrew": (CharacterClass.HEBREW,),
    "thai": (CharacterClass.THAI,),
    "devanagari": (CharacterClass.DEVANAGARI,),
}
# Shorter repeats are ordinary language; in characters.
_PIECE_LENGTH: dict[Script, int] = {"han": 4, "japanese": 6, "hangul": 6}
_OTHER_PIECE_LENGTH = 12
# How many characters say what an English word says; 4.8 in English itself, punctuation included.
_CHARACTERS_PER_WORD = {
    CharacterClass.KANA: 4.0,
    CharacterClass.HANGUL: 2.3,
    CharacterClass.CYRILLIC: 5.6,
    CharacterClass.GREEK: 5.6,
    CharacterClass.ARABIC: 4.3,
    CharacterClass.HEBREW: 3.9,
    CharacterClass.THAI: 5.0,
    CharacterClass.DEVANAGARI: 5.0,
}
OTHER_CHARACTERS_PER_WORD = 4.8
"""Of all other scripts, digits and signs."""
HAN_PER_WORD = 1.6
"""Of text that is looked at for copied words."""

NEITHER, OWN, FOREIGN = 0, 1, 2
"""What a function word is on a side."""

# In languages of one script a word or two are often the same; a phrase is not.
_COPIED_RUN = 3


class LanguageTables(NamedTuple):
    """Words and letters of one side's language, and of others.

    Attributes:
        word_hashes: `[S]` function words of all languages, see `word_table`.
        word_kinds: `[S]` whether the word is of the side's language (OWN) or another's (FOREIGN).
        foreign_letters: `[0x10000]` Latin letters that the side's language does not have.
    """

    word_hashes: Hashes
    word_kinds: NDArray[np.uint8]
    foreign_letters: NDArray[np.bool_]


class SideFacts(NamedTuple):
    """Numbers of one language within a pair; sets of classes are bit masks.

    Attributes:
        own: Classes of its letters.
        partner: Classes of letters that only the other language has.
        foreign: Classes of letters that neither language has; Latin ones never are.
        piece_length: Characters of a piece whose repetition is noise.
        copied_run: Words in a row that must be copied to be called so.
    """

    own: int
    partner: int
    foreign: int
    piece_length: int
    copied_run: int


class Side(NamedTuple):
    """One language within a pair: numbers for loops, and tables."""

    facts: SideFacts
    tables: LanguageTables
    reader: int
    measures_copies: bool


class Pair(NamedTuple):
    """A pair of languages.

    Attributes:
        sides: The left and the right language.
        marks: `[0x110000]` class and flags of every code point.
        worth: `[16]` words' worth of a character of each class.
        units: `[16]` what a letter of each script without spaces counts for, in Han characters.
    """

    sides: tuple[Side, Side]
    marks: Marks
    worth: NDArray[np.float64]
    units: NDArray[np.float64]


@cache
def describe_pair(languages: tuple[str, str], han_per_word: float) -> Pair:
    """What the compiled loops need to know of two languages.

    Args:
        languages: Codes of the left and the right language.
        han_per_word: Han characters that are a word's worth.
    """
    worth = np.full(CLASSES, 1 / OTHER_CHARACTERS_PER_WORD)
    units = np.zeros(CLASSES)
    for script, characters in _CHARACTERS_PER_WORD.items():
        worth[script] = 1 / characters
        if script in {CharacterClass.KANA, CharacterClass.THAI}:
            units[script] = HAN_PER_WORD / characters
    worth[CharacterClass.SPACE] = 0
    worth[list(CharacterClass.han())] = 1 / han_per_word
    units[list(CharacterClass.han())] = 1
    sides = (_side(*languages), _side(*languages[::-1]))
    return Pair(sides, mark_table(japanese="ja" in languages), worth, units)


def _side(language: str, partner: str) -> Side:
    here, there = LANGUAGES[language].script, LANGUAGES[partner].script
    own, other = _mask(_OWN_CLASSES[here]), _mask(_OWN_CLASSES[there])
    # Where letters differ, either language is at home on both sides: names are quoted.
    at_home = (language,) if here == there else tuple(sorted((language, partner)))
    facts = SideFacts(
        own=own,
        partner=other & ~own,
        foreign=LETTER_CLASSES & ~(own | other | 1 << LATIN),
        piece_length=_PIECE_LENGTH.get(here, _OTHER_PIECE_LENGTH),
        copied_run=_COPIED_RUN if here == there else 1,
    )
    # Between Latin letters and others, copies are told where Latin letters do not belong.
    measures_copies = here != "latin" or there == "latin"
    return Side(facts, _language_tables(at_home), reader_of(language), measures_copies)


def _mask(classes: tuple[CharacterClass, ...]) -> int:
    return sum(1 << kind for kind in classes)


@cache
def _language_tables(at_home: tuple[str, ...]) -> LanguageTables:
    words = sorted({word for words in FUNCTION_WORDS.values() for word in words.split()})
    own = {word for code in at_home for word in FUNCTION_WORDS.get(code, "").split()}
    ambiguous = set(AMBIGUOUS_WORDS.split())
    hashes, indices = word_table(words)
    kind_of_word = np.array([_kind_of_word(word, own, ambiguous) for word in words], np.uint8)
    kinds = np.where(indices >= 0, kind_of_word[indices], NEITHER).astype(np.uint8)
    foreign = mark_table(japanese=False)[: len(fold_table())] & CLASS_MASK == LATIN
    foreign[: ord("z") + 1] = False
    further = "".join(FURTHER_LETTERS.get(code, "") for code in at_home)
    foreign[[ord(letter) for letter in further + further.upper() if len(letter) == 1]] = False
    return LanguageTables(hashes, kinds, foreign)


def _kind_of_word(word: str, own: set[str], ambiguous: set[str]) -> int:
    if word in own:
        return OWN
    return NEITHER if len(word) == 1 or word in ambiguous else FOREIGN
