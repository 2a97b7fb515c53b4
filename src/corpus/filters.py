"""Decisions: which limit a pair breaks first, from its score columns.

A rule is a column, a limit and the reason it stands for. Rules are tried in the order of `RULES`;
a pair is dropped for the first one it breaks, so every dropped pair has exactly one reason. A
missing value (NaN) breaks no rule, so none may be produced upstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.corpus.scores import Columns
from src.schema.data import FiltersConfig

KEPT = -1


@dataclass(frozen=True)
class Rule:
    """One limit.

    Attributes:
        reason: What a pair that breaks the limit is dropped for.
        column: Score column, see `src.corpus.scores`.
        bound: Whether the score may be at most or must be at least the limit.
        limit: The limit itself, in the column's unit.
    """

    reason: str
    column: str
    bound: Literal["at_most", "at_least"]
    limit: float

    def broken_by(self, columns: Columns) -> NDArray[np.bool_]:
        """`[N]` the pairs that break the limit."""
        column = columns[self.column]
        # Limits are compared in the column's own precision: 0.6 is not below 0.6.
        limit = column.dtype.type(self.limit)
        return np.asarray(column > limit if self.bound == "at_most" else column < limit)


def build_rules(filters: FiltersConfig, quality_threshold: float) -> tuple[Rule, ...]:
    """The rules of a configuration, in the order in which they are tried."""
    rules = [
        Rule("empty", "shortest", "at_least", 1),
        Rule("too_long", "characters", "at_most", filters.max_characters),
        Rule("only_markup", "visible", "at_least", 1),
        Rule("encoding", "encoding", "at_most", filters.max_encoding_errors),
        Rule("swapped", "swapped", "at_most", 0.5),
        Rule("untranslated", "copied", "at_most", filters.max_copy_share),
        Rule("untranslated", "copied_prose", "at_most", filters.max_copied_prose_share),
        Rule("wrong_script", "script", "at_least", filters.min_script_share),
        Rule("wrong_script", "foreign", "at_most", filters.max_foreign_share),
        Rule("punctuation", "punctuation", "at_most", filters.max_punctuation),
        Rule("length_ratio", "length_ratio", "at_least", filters.length_ratio_min),
        Rule("length_ratio", "length_ratio", "at_most", filters.length_ratio_max),
        Rule("repetition", "repetition", "at_most", filters.max_repetition),
        Rule("repetition", "looping", "at_most", filters.max_looping),
        Rule("low_vocabulary", "vocabulary", "at_least", filters.min_vocabulary_richness),
        Rule("numbers", "numbers", "at_most", filters.max_number_disagreement),
    ]
    if filters.placeholders_must_match:
        rules.append(Rule("placeholders", "placeholders", "at_most", 0))
    rules.append(Rule("boilerplate", "boilerplate", "at_most", filters.max_boilerplate))
    rules.append(Rule("low_quality", "quality", "at_least", quality_threshold))
    return tuple(rules)


def first_broken(columns: Columns, rules: tuple[Rule, ...]) -> NDArray[np.int8]:
    """`[N]` index of the first rule each pair breaks, `KEPT` where it breaks none."""
    verdicts = np.full(len(columns["quality"]), KEPT, dtype=np.int8)
    for index, rule in reversed(list(enumerate(rules))):
        verdicts[rule.broken_by(columns)] = index
    return verdicts
