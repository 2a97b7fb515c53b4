"""Keeps the sentences of evaluation sets out of the corpus.

A number on a test set means little when the model has read its sentences. No row that stays shares
a normalised side (letters and digits only, see `src.corpus.keys`) with any row of the sets, on
either side, however short: `Yes.` in a test set takes every `Yes!` with it, and as few rows may
share a sentence anyway (`filters.max_pairs_per_sentence`), that costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.corpus.key_tables import KeyTable
from src.corpus.keys import LEFT, RIGHT, KeyColumns, pair_keys
from src.corpus.texts import Texts

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SideKeys:
    """Sentences of held-out pairs, one table a side.

    Attributes:
        left: Keys of the first sides.
        right: Keys of the second sides.
    """

    left: KeyTable
    right: KeyTable

    @classmethod
    def of(cls, pairs: Iterable[tuple[Texts, Texts]]) -> SideKeys:
        """The sides of texts that are repaired as the corpus is."""
        tables = cls(KeyTable(), KeyTable())
        for left, right in pairs:
            keys = pair_keys(left, right)
            tables.add(keys[LEFT], keys[RIGHT])
        return tables

    def add(self, left: Hashes, right: Hashes) -> None:
        """Adds pairs by their side keys."""
        for table, keys in ((self.left, left), (self.right, right)):
            table.add(keys, np.ones(len(keys), np.bool_), 1)


def contaminated(keys: KeyColumns, held: SideKeys, alive: Mask) -> Mask:
    """Finds the rows that share a side with held-out pairs.

    Args:
        keys: Keys of the N rows of the corpus.
        held: The held-out pairs.
        alive: `[N]` the rows to look at.

    Returns:
        `[N]` True for those of them that share the first or the second side.
    """
    shares = np.zeros(len(keys), np.bool_)
    for place, (left, right) in keys.pieces(LEFT, RIGHT):
        here = alive[place]
        shares[place] = held.left.above(left, here, 0) | held.right.above(right, here, 0)
    return shares
