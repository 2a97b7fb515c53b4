"""All repairs together, until nothing changes."""

from __future__ import annotations

from collections import Counter

import numpy as np

from src.corpus.normalise.columns import Mask, Positions
from src.corpus.normalise.list_markers import starts_like_an_item, without_markers
from src.corpus.normalise.rules import MARKERS, REPAIRS, TAG, TAGS, rules_for
from src.corpus.normalise.sides import MAX_ROUNDS, Side
from src.corpus.normalise.tag_stripping import named_elements, without_tags
from src.corpus.texts import Texts
from src.schema.data import NormaliseConfig

Sides = tuple[Side, Side]


class Normaliser:
    """Applies the repairs that a configuration switches on, and counts them.

    Args:
        settings: Which repairs are on.
        languages: Codes of the first and the second side.

    Attributes:
        counts: Number of texts (sides) each repair changed, by its configuration key.
    """

    def __init__(self, settings: NormaliseConfig, languages: tuple[str, str]) -> None:
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._languages = languages
        self._rules = [rules_for(settings, code) for code in languages]

    def apply(self, left: Texts, right: Texts) -> tuple[Texts, Texts]:
        """Both sides of N pairs, repaired."""
        sides = (Side(left, self._rules[0]), Side(right, self._rules[1]))
        rows = np.arange(len(left))
        for _ in range(MAX_ROUNDS):
            for side in sides:
                side.repair(rows)
            rows = np.union1d(self._strip_tags(sides, rows), self._strip_markers(sides, rows))
            if not len(rows):
                break
        for side in sides:
            changes = side.final_changes()
            for repair, name in enumerate(REPAIRS):
                if count := int(np.count_nonzero(changes & np.uint16(1 << repair))):
                    self.counts[name] += count
        return sides[0].texts, sides[1].texts

    def _strip_tags(self, sides: Sides, rows: Positions) -> Positions:
        """Takes out tags; returns the rows that changed."""
        if self._settings.html_tags == "keep":
            return rows[:0]
        flags = sides[0].flags[rows] | sides[1].flags[rows]
        rows = rows[(flags & np.uint32(TAG)) != 0]
        left, right = (named_elements(side.texts, rows) for side in sides)
        shared = left & right
        differs = left != right
        if self._settings.html_tags == "all":
            shared[:] = 0
            differs = (left | right) != 0
        rows, shared = rows[differs], shared[differs]
        is_changed = np.zeros(len(rows), np.bool_)
        for side in sides:
            stripped, is_new = without_tags(side.texts.take(rows), shared)
            _put(side, rows, stripped, is_new, TAGS)
            is_changed |= is_new
        return rows[is_changed]

    def _strip_markers(self, sides: Sides, rows: Positions) -> Positions:
        """Takes out list markers; returns the rows that changed."""
        if not self._settings.list_markers:
            return rows[:0]
        is_whole = len(rows) == len(sides[0].texts)
        parts = [side.texts if is_whole else side.texts.take(rows) for side in sides]
        rows = rows[starts_like_an_item(parts[0]) ^ starts_like_an_item(parts[1])]
        texts = [side.texts.take(rows) for side in sides]
        pairs = [
            without_markers(left, right, self._languages)
            for left, right in zip(texts[0], texts[1], strict=True)
        ]
        is_changed = np.zeros(len(rows), np.bool_)
        for number, side in enumerate(sides):
            stripped = Texts.of([pair[number] for pair in pairs])
            is_new = np.diff(stripped.offsets) != np.diff(texts[number].offsets)
            _put(side, rows, stripped, is_new, MARKERS)
            is_changed |= is_new
        return rows[is_changed]


def _put(side: Side, rows: Positions, texts: Texts, is_new: Mask, repair: int) -> None:
    """Puts rows in their place and notes the repair that made some of them new."""
    side.changes[rows[is_new]] |= np.uint16(1 << repair)
    if is_new.any():
        side.replace(rows, texts)
