"""Everything that is measured between the sides of a pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.corpus.scoring.block import LONGEST, Block, Scores
from src.corpus.scoring.copies import CopyScores, find_names, measure_copies
from src.corpus.scoring.hashing import HashSet
from src.corpus.scoring.number_values import new_numbers
from src.corpus.scoring.number_words import number_tables
from src.corpus.scoring.numbers import NumberScratch, compare_numbers
from src.corpus.scoring.pair import Pair
from src.corpus.scoring.placeholders import compare_placeholders


class SharedScores(NamedTuple):
    """Scores of N pairs, all float64 `[N]`.

    Attributes:
        copied: See `CopyScores`; where both sides tell, the smaller share counts.
        copied_prose: The same.
        left_glosses: Characters of names on the left that stand beside their translation.
        right_glosses: The same on the right.
        same_name: 1 where both sides are the same technical name.
        numbers: How strongly the numbers contradict each other.
        placeholders: 1 where placeholders differ.
    """

    copied: Scores
    copied_prose: Scores
    left_glosses: Scores
    right_glosses: Scores
    same_name: Scores
    numbers: Scores
    placeholders: Scores


class Scratch(NamedTuple):
    """Arrays that are used again for every slice; a few megabytes, mostly never touched."""

    room: HashSet
    numbers: NumberScratch


def new_scratch() -> Scratch:
    """Scratch for any slice."""
    room = HashSet.for_members(LONGEST)
    return Scratch(room, NumberScratch(new_numbers(LONGEST), new_numbers(LONGEST), room))


def compare_sides(
    blocks: tuple[Block, Block], pair: Pair, scratch: Scratch, scores: SharedScores
) -> None:
    """Compares the sides of a slice.

    Args:
        blocks: Both sides of R pairs.
        pair: The languages.
        scratch: Scratch.
        scores: `[R]` receives the scores.
    """
    left, right = blocks
    readers = (pair.sides[0].reader, pair.sides[1].reader)
    compare_numbers(left, right, readers, number_tables(), scratch.numbers, scores.numbers)
    compare_placeholders(left, right, scores.placeholders)
    find_names(left, right, scores.same_name)
    scores.copied[:] = scores.copied_prose[:] = 1
    glosses = (scores.left_glosses, scores.right_glosses)
    for side, block, source, gloss in zip(pair.sides, blocks, blocks[::-1], glosses, strict=True):
        gloss[:] = 0
        if side.measures_copies:
            found = CopyScores(np.empty(len(gloss)), np.empty(len(gloss)), gloss)
            measure_copies(block, source, pair.units, side.facts, scratch.room, found)
            np.minimum(scores.copied, found.copied, out=scores.copied)
            np.minimum(scores.copied_prose, found.prose, out=scores.copied_prose)
