"""Whether a side is written in its own language, by its script and its commonest words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.scoring.block import Block, Counts, Scores
from src.corpus.scoring.hashing import find
from src.corpus.scoring.marks import CLASS_MASK, CLASSES, DIGIT, KANA, LATIN, LETTER_CLASSES, Marks
from src.corpus.scoring.pair import FOREIGN, OWN, LanguageTables, SideFacts
from src.corpus.utf8 import ONE, Bool, Codes, Int

_MIN_WORDS, _MIN_SURPLUS = 5, 2
_LAST_ASCII_LETTER = ord("z")
_FIRST_PUNCTUATION = 0x2000  # behind all Latin letters that anybody writes


@compiled
def measure_scripts(
    block: Block, units: Scores, facts: SideFacts, script: Scores, partner: Scores
) -> None:
    """The shares of each row's units (words, letters of scripts without spaces) in two scripts.

    Lone letters of other scripts than Latin (`IFN-γ`, `π`) belong to names and formulas and count
    nowhere.

    Args:
        block: R rows.
        units: `[16]` what a letter of each script without spaces counts for.
        facts: The language of the rows.
        script: `[R]` receives the share in its own script, 1.0 where there are no units, such as
            in a number.
        partner: `[R]` receives the share in the script of the other side, 0.0 there.
    """
    marks = block.marks
    for row in range(len(script)):
        total, own, other = 0.0, 0.0, 0.0
        for kind in range(CLASSES):
            unit = block.counts[row, kind] * units[kind]
            total += unit
            own += unit * (facts.own >> kind & 1)
            other += unit * (facts.partner >> kind & 1)
        for word in range(block.word_starts[row], block.word_starts[row + 1]):
            begin = np.uint64(block.begins[word])
            kind = marks[begin] & CLASS_MASK
            if kind == LATIN or (
                kind != DIGIT and not _is_lone(marks, begin, np.uint64(block.ends[word]))
            ):
                total += 1
                own += facts.own >> kind & 1
                other += facts.partner >> kind & 1
        script[row] = own / total if total else 1.0
        partner[row] = other / total if total else 0.0


@compiled_part
def _is_lone(marks: Marks, place: np.uint64, end: np.uint64) -> Bool:
    """Whether the next character is of another class."""
    kind = marks[place] & CLASS_MASK
    return place + ONE >= end or marks[place + ONE] & CLASS_MASK != kind


@compiled
def measure_foreign(
    block: Block, tables: LanguageTables, facts: SideFacts, foreign: Scores
) -> None:
    """How much of each row speaks another language than those of the pair.

    Args:
        block: R rows.
        tables: Function words and letters.
        facts: The language of the rows.
        foreign: `[R]` receives the larger of two shares: letters of other scripts, lone ones
            aside, among all letters; and, in rows of five words or more, the surplus of foreign
            over own function words among all words. Words with letters that the language does not
            have count as foreign.
    """
    hashes, kinds, letters = tables
    codes, marks = block.codes, block.marks
    for row in range(len(foreign)):
        start, stop = block.starts[row], block.starts[row + 1]
        accents = _has_accents(codes, start, stop)
        words = 0
        surplus: Int = 0
        for word in range(block.word_starts[row], block.word_starts[row + 1]):
            begin = block.begins[word]
            is_word = marks[begin] & CLASS_MASK != DIGIT
            words += is_word
            place = find(hashes, block.digests[word])
            kind = kinds[np.uint64(max(place, 0))] * (place >= 0)
            is_foreign = kind == FOREIGN
            if accents and is_word:
                is_foreign |= _has_foreign_letter(codes, begin, block.ends[word], letters)
            surplus += np.int64(is_foreign) - np.int64(kind == OWN)
        # One such word may be a name.
        is_known = words >= _MIN_WORDS and surplus >= _MIN_SURPLUS
        by_words = surplus / words if is_known else 0.0
        foreign[row] = by_words
        if _letters(block.counts, row, facts.foreign):
            in_runs = _letters_in_runs(marks, start, stop, facts.foreign)
            by_script = in_runs / _letters(block.counts, row, LETTER_CLASSES)
            foreign[row] = max(by_script, by_words)


@compiled_part
def _letters(counts: Counts, row: Int, classes: Int) -> Int:
    total: Int = 0
    for kind in range(CLASSES):
        total += counts[row, kind] * (classes >> kind & 1)
    return total


@compiled_part
def _letters_in_runs(marks: Marks, start: np.uint64, stop: np.uint64, classes: Int) -> Int:
    """Letters of the given classes that stand beside another of the same class.

    Lone kana count, too: Japanese has its particles between Han characters.
    """
    found: Int = 0
    for place in range(start, stop):
        kind = marks[place] & CLASS_MASK
        if classes >> kind & 1:
            follows = place > start and marks[place - ONE] & CLASS_MASK == kind
            is_lone = kind != KANA and not follows and _is_lone(marks, np.uint64(place), stop)
            found += not is_lone
    return found


@compiled_part
def _has_accents(codes: Codes, start: np.uint64, stop: np.uint64) -> Bool:
    """Whether a text may have Latin letters beyond A to Z."""
    found = 0
    for place in range(start, stop):
        found |= (codes[place] > _LAST_ASCII_LETTER) & (codes[place] < _FIRST_PUNCTUATION)
    return found != 0


@compiled_part
def _has_foreign_letter(
    codes: Codes, begin: np.uint64, end: np.uint64, letters: NDArray[np.bool_]
) -> Bool:
    found = False
    for place in range(begin, end):
        found |= codes[place] < len(letters) and letters[codes[place]]
    return found
