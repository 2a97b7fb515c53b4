"""Words that stand on both sides, letter for letter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.compiled import compiled, compiled_part
from src.corpus.scoring.block import Block, Counts, Scores
from src.corpus.scoring.hashing import HashSet, contains, insert, new_set
from src.corpus.scoring.marks import CLASS_MASK, CLASSES, DIGIT, LATIN, LETTER_CLASSES
from src.corpus.scoring.pair import HAN_PER_WORD, SideFacts
from src.corpus.utf8 import ONE, Bool, Codes, Int

_LOWER_A, _LOWER_Z = ord("a"), ord("z")
_UPPER_A, _UPPER_Z = ord("A"), ord("Z")
_BRACKETS = (ord("("), ord("（"))
_BLANK = ord(" ")
_NOWHERE = np.uint32(2**32 - 1)
_LONGEST_NAME = 40
_MOST_NAME_WORDS = 4
_LONGEST_ACRONYM = 3  # longer ones may be headings: NOTE, HELP


class CopyScores(NamedTuple):
    """What a side of R pairs has from the other side, all `[R]`.

    Attributes:
        copied: Share of words that stand on both sides, letter for letter.
        prose: Share of those in lower-case letters alone. Names and code are rightly copied;
            running text was left untranslated.
        glosses: Characters of copied words in brackets: a name beside its translation.
    """

    copied: Scores
    prose: Scores
    glosses: Scores


@compiled
def measure_copies(
    block: Block, source: Block, units: Scores, facts: SideFacts, room: HashSet, scores: CopyScores
) -> None:
    """Looks for the words of one side on the other.

    Args:
        block: R rows.
        source: The other side of the same pairs.
        units: `[16]` what a letter of each script without spaces counts for.
        facts: The language of `block`.
        room: Scratch.
        scores: `[R]` receives what is found in `block`.
    """
    entries, codes, digests = room.entries, block.codes, block.digests
    for row in range(len(scores.copied)):
        scores.copied[row] = scores.prose[row] = scores.glosses[row] = 0
        first, last = block.word_starts[row], block.word_starts[row + 1]
        known_first, known_last = source.word_starts[row], source.word_starts[row + 1]
        if first == last or known_first == known_last:
            continue
        stamp, shift = new_set(entries, room.stamps, np.int64(known_last - known_first))
        for word in range(known_first, known_last):
            insert(entries, stamp, shift, source.digests[word])
        words, copies, prose, run, gloss_end = 0, 0, 0, 0, _NOWHERE
        for word in range(first, last):
            begin, end = block.begins[word], block.ends[word]
            if block.marks[begin] & CLASS_MASK == DIGIT:
                continue
            words += 1
            if not contains(entries, stamp, shift, digests[word]):
                run = 0
                continue
            copies += 1
            run = run + 1 if _is_prose(codes, begin, end) else 0
            if run >= facts.copied_run:
                prose += facts.copied_run if run == facts.copied_run else 1
            if _is_bracketed(codes, block.starts[row], np.uint64(begin), gloss_end):
                scores.glosses[row] += np.int64(end) - np.int64(begin)
                gloss_end = end
        worth = max(_worth(block.counts, row, units) / HAN_PER_WORD + words, 1.0)
        scores.copied[row] = copies / worth
        scores.prose[row] = prose / worth


@compiled_part
def _is_bracketed(codes: Codes, start: np.uint64, begin: np.uint64, gloss_end: np.uint32) -> Bool:
    """Whether a word opens a bracket, or goes on with the words that do."""
    if begin == start:
        return False
    before = codes[begin - ONE]
    return before in _BRACKETS or (before == _BLANK and begin == gloss_end + 1)


@compiled_part
def _worth(counts: Counts, row: Int, units: Scores) -> float:
    total = 0.0
    for kind in range(CLASSES):
        total += counts[row, kind] * units[kind]
    return total


@compiled_part
def _is_prose(codes: Codes, begin: np.uint64, end: np.uint64) -> Bool:
    """Whether a word is more than one letter, all from a to z."""
    others = 0
    for place in range(begin, end):
        others += codes[place] < _LOWER_A or codes[place] > _LOWER_Z
    return others == 0 and np.int64(end) - np.int64(begin) > 1


@compiled
def find_names(left: Block, right: Block, same_name: Scores) -> None:
    """Whether both sides of R pairs are the same technical name, such as `TCP/IP`.

    A name has Latin letters, no markup and at most four words, one of which people would not
    write in running text: with a capital behind its first letter, or capitals and digits in one
    (`GitHub`, `H264`). The others may be numbers or begin with a capital: `iPhone 15 Pro`.

    Args:
        left: R rows.
        right: R rows.
        same_name: `[R]` receives 1 where they are, else 0.
    """
    for row in range(len(same_name)):
        start, length = left.starts[row], left.starts[row + 1] - left.starts[row]
        other = right.starts[row]
        same_name[row] = 0
        if length == right.starts[row + 1] - other and length <= _LONGEST_NAME:
            differing = 0
            for place in range(length):
                differing += left.codes[start + place] != right.codes[other + place]
            same_name[row] = differing == 0 and _is_latin_alone(left, row) and _is_name(left, row)


@compiled_part
def _is_latin_alone(block: Block, row: Int) -> Bool:
    """Whether no markup was taken out of a text and all its letters are Latin."""
    letters = 0
    for kind in range(CLASSES):
        letters += block.counts[row, kind] * (LETTER_CLASSES >> kind & 1)
    length = np.int64(block.starts[row + 1] - block.starts[row])
    return bool(block.characters[row] == length and letters == block.counts[row, LATIN])


@compiled_part
def _is_name(block: Block, row: Int) -> Bool:
    first, last = block.word_starts[row], block.word_starts[row + 1]
    technical, plain = 0, 0
    for word in range(first, last):
        begin, end = block.begins[word], block.ends[word]
        capitals, small, digits = 0, 0, 0
        for place in range(begin, end):
            code = block.codes[place]
            capitals += _UPPER_A <= code <= _UPPER_Z
            small += _LOWER_A <= code <= _LOWER_Z
            digits += block.marks[place] & CLASS_MASK == DIGIT
        has_later_capital = capitals > (_UPPER_A <= block.codes[begin] <= _UPPER_Z)
        is_shout = capitals == np.int64(end) - np.int64(begin) and capitals > _LONGEST_ACRONYM
        technical += (has_later_capital and not is_shout) or (digits > 0 and capitals > 0)
        plain += is_shout or (small > 0 and capitals == 0)
    return technical > 0 and plain == 0 and np.int64(last - first) <= _MOST_NAME_WORDS
