"""The reasons for which rows are dropped: their order, their groups, and their words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Reason(NamedTuple):
    """One reason.

    Attributes:
        group: Key of `GROUPS`.
        words: What such a row is, after "17 % of python_docs is …".
    """

    group: str
    words: str


GROUPS = {
    "broken": "broken or empty",
    "language": "not in its language",
    "noise": "poor text",
    "mismatch": "sides do not match",
    "repeated": "said elsewhere",
    "leak": "in evaluation data",
}
"""What the reasons of a group have in common, by its name."""

# In the order in which a row meets them.
REASONS = {
    "bad_encoding": Reason("broken", "not UTF-8"),
    "malformed_line": Reason("broken", "malformed (not one pair to a line)"),
    "one_language": Reason("broken", "in one language only"),
    "fuzzy": Reason("broken", "a translation nobody has reviewed"),
    "empty": Reason("broken", "empty on one side or both"),
    "too_long": Reason("broken", "too long"),
    "only_markup": Reason("broken", "nothing but markup on one side or both"),
    "encoding": Reason("broken", "damaged by a wrong encoding"),
    "swapped": Reason("language", "swapped (each language stands in the other's column)"),
    "untranslated": Reason("language", "untranslated"),
    "wrong_script": Reason("language", "in the wrong language"),
    "punctuation": Reason("noise", "mostly punctuation"),
    "length_ratio": Reason("mismatch", "out of proportion (one side is far longer than the other)"),
    "repetition": Reason("noise", "repetitive"),
    "low_vocabulary": Reason("noise", "poor in vocabulary"),
    "numbers": Reason("mismatch", "inconsistent in its numbers"),
    "placeholders": Reason("mismatch", "inconsistent in its placeholders"),
    "low_quality": Reason("noise", "below the quality threshold"),
    "duplicate_pair": Reason("repeated", "a repetition of other rows"),
    "low_adequacy": Reason("mismatch", "no translation, by the words of its two sides"),
    "duplicate_side": Reason("repeated", "another translation of a sentence that is there already"),
    "template": Reason("repeated", "said often with other numbers"),
    "boilerplate": Reason("noise", "boilerplate of web pages"),
    "near_duplicate": Reason("repeated", "almost the same as other rows"),
    "leaks_evaluation": Reason("leak", "a repetition of sentences of evaluation.sets"),
    "leaks_held_out": Reason("leak", "a repetition of held-out sentences"),
}


def in_order(reasons: Iterable[str]) -> list[str]:
    """Reasons in the order in which a row meets them; unknown ones follow by name."""
    places = {name: place for place, name in enumerate(REASONS)}
    return sorted(set(reasons), key=lambda name: (places.get(name, len(places)), name))


def group_of(reason: str) -> str:
    """Key of `GROUPS`; unknown reasons count as poor text."""
    return REASONS[reason].group if reason in REASONS else "noise"
