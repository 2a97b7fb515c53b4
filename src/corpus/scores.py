"""Score columns of sentence pairs: what the filters decide on, computed before any decision.

A score says how much of something a pair has and knows no limit, so limits can be moved without
computing again. All columns are float32 `[N]`, one value per pair; where a score is per side, the
worse side stands for the pair. Markup is taken out before words are looked at: it is the same, or
absent, on the other side. Of sides beyond 262,144 characters, the beginning is looked at.

The combined `quality` of a pair is the product over these components of

    1 - weight * badness ** 2,    badness from 0 (typical) to 1

so it lies in [0, 1], falls with every badness, and one bad component costs at most its weight. The
square forgives what good text has, too. Measured on good text: 99.9 % reach 0.6, 99 % reach 0.75
and 89 % reach 0.9.

    component     weight  badness
    length        0.5     |log2(length_ratio)|, at most 1
    repetition    1.0     repetition
    punctuation   1.0     punctuation
    script        0.5     1 - script
    foreign       1.0     foreign
    vocabulary    0.5     1 - vocabulary
    copied        0.5     copied
    numbers       0.6     numbers
    placeholders  0.4     placeholders
    encoding      1.0     encoding
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from src.corpus.boilerplate import boilerplate
from src.corpus.scoring.block import MOST_BYTES, MOST_ROWS, new_block
from src.corpus.scoring.pair import OTHER_CHARACTERS_PER_WORD, describe_pair
from src.corpus.scoring.shared import SharedScores, compare_sides, new_scratch
from src.corpus.scoring.side import SideScores, measure_side
from src.corpus.texts import Offsets, Texts
from src.schema.data import FiltersConfig

Column = NDArray[np.float32]
Columns = dict[str, Column]
Floats = NDArray[np.float64]

_LEAST_EXTRA_WORDS = 1e-3  # so that the ratio of two empty sides is defined
_WEIGHTS = {
    "length": 0.5,
    "repetition": 1.0,
    "punctuation": 1.0,
    "script": 0.5,
    "foreign": 1.0,
    "vocabulary": 0.5,
    "copied": 0.5,
    "numbers": 0.6,
    "placeholders": 0.4,
    "encoding": 1.0,
}


def score_pairs(
    left: Texts, right: Texts, languages: tuple[str, str], filters: FiltersConfig
) -> Columns:
    """Every score column of N pairs.

    Args:
        left: N normalised texts.
        right: N normalised texts.
        languages: Codes of the left and the right language.
        filters: Only `length_ratio_scale` and `length_ratio_smoothing`, the unit of the ratio,
            are used; limits are not.

    Returns:
        `[N]` columns by name: the components above, `quality`, `characters` (of the longer side),
        `shortest` (characters of the shorter side), `visible` (characters of the shorter side
        that are neither markup nor white space), `length_ratio`, `looping`, `swapped`,
        `copied_prose` and `boilerplate`.
    """
    pair = describe_pair(languages, filters.length_ratio_scale)
    extra = max(filters.length_ratio_smoothing, _LEAST_EXTRA_WORDS)
    sides = np.empty((2, len(SideScores._fields), len(left)))
    shared = np.empty((len(SharedScores._fields), len(left)))
    blocks, scratch = (new_block(), new_block()), new_scratch()
    for begin, end in _slices(left.offsets, right.offsets):
        for texts, side, block, scores in zip(
            (left, right), pair.sides, blocks, sides, strict=True
        ):
            part = SideScores(*scores[:, begin:end])
            measure_side(texts.slice(begin, end), pair, side, block, scratch.room, part)
        compare_sides(blocks, pair, scratch, SharedScores(*shared[:, begin:end]))
    columns = _combined(SideScores(*sides[0]), SideScores(*sides[1]), SharedScores(*shared), extra)
    result = {name: column.astype(np.float32) for name, column in columns.items()}
    return result | {"boilerplate": boilerplate(left, right, languages)}


def _slices(left: Offsets, right: Offsets) -> Iterator[tuple[int, int]]:
    """Cuts rows into slices that a block has room for."""
    begin, rows = 0, len(left) - 1
    while begin < rows:
        room = (np.searchsorted(side, side[begin] + MOST_BYTES, "right") for side in (left, right))
        end = min(rows, begin + MOST_ROWS, max(begin, int(min(room)) - 2) + 1)
        yield begin, end
        begin = end


def _combined(
    left: SideScores, right: SideScores, shared: SharedScores, extra: float
) -> dict[str, Floats]:
    # A name beside its translation, as in 尼根（Negan）, has no counterpart on the other side.
    left_worth = left.worth - shared.left_glosses / OTHER_CHARACTERS_PER_WORD
    right_worth = right.worth - shared.right_glosses / OTHER_CHARACTERS_PER_WORD
    # What is called the same in both languages is in the script of both.
    is_name = shared.same_name > 0
    columns = {
        "characters": np.maximum(left.characters, right.characters),
        "shortest": np.minimum(left.characters, right.characters),
        "visible": np.minimum(left.ink, right.ink),
        "length_ratio": (left_worth + extra) / (right_worth + extra),
        "repetition": np.maximum(left.repetition, right.repetition),
        "looping": np.maximum(left.looping, right.looping),
        "punctuation": np.maximum(left.punctuation, right.punctuation),
        "encoding": np.maximum(left.encoding, right.encoding),
        "script": np.where(is_name, 1, np.minimum(left.script, right.script)),
        "swapped": np.minimum(left.partner, right.partner),
        "foreign": np.maximum(left.foreign, right.foreign),
        "vocabulary": np.minimum(left.vocabulary, right.vocabulary),
        "copied": np.where(is_name, 0, shared.copied),
        "copied_prose": np.where(is_name, 0, shared.copied_prose),
        "numbers": shared.numbers,
        "placeholders": shared.placeholders,
    }
    columns["quality"] = quality(columns)
    return columns


def quality(columns: Mapping[str, Floats]) -> Floats:
    """`[N]` the combined score of the module docstring."""
    badness = {
        **{name: columns[name] for name in _WEIGHTS if name in columns},
        "length": np.abs(np.log2(columns["length_ratio"])),
        "script": 1 - columns["script"],
        "vocabulary": 1 - columns["vocabulary"],
    }
    combined = np.ones(len(columns["length_ratio"]))
    for name, weight in _WEIGHTS.items():
        combined *= 1 - weight * np.clip(badness[name], 0, 1) ** 2
    return combined
