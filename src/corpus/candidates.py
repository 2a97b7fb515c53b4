"""The rows among which a sample is chosen, as the sampler wants to see them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from src.corpus.adequacy_stage import AdequacyScores
from src.corpus.keys import PAIR
from src.corpus.texts import Texts
from src.corpus.unit_rows import Corpus
from src.corpus.verdicts import Mask


class Candidates:
    """A `sampling.Pool` over a corpus.

    Args:
        corpus: Rows of finished units.
        chosen: `[N]` the candidates.
        adequacy: Scores of the same corpus.
    """

    def __init__(self, corpus: Corpus, chosen: Mask, adequacy: AdequacyScores) -> None:
        self._corpus = corpus
        self._adequacy = adequacy
        self._chosen = chosen
        self._places = [place for place in corpus.blocks if chosen[place.rows].any()]

    @property
    def block_count(self) -> int:
        """Blocks with at least one candidate."""
        return len(self._places)

    def positions(self) -> Iterator[NDArray[np.int64]]:
        """Per block where its candidates stand in the corpus."""
        for block in range(self.block_count):
            yield self._rows(block) + self._places[block].rows.start

    def rows(self, block: int) -> int:
        """Candidates in a block."""
        return int(np.count_nonzero(self._chosen[self._places[block].rows]))

    def keys(self, block: int) -> NDArray[np.uint64]:
        """`[rows]` pair keys."""
        place = self._places[block]
        return self._corpus.block_keys(place, PAIR)[self._rows(block)]

    def scores(self, block: int) -> NDArray[np.float32]:
        """`[rows]` the worse of quality and adequacy: whoever is bad at one is bad."""
        place, rows = self._places[block], self._rows(block)
        quality = self._corpus.read(place, ["quality"])["quality"].to_numpy()[rows]
        adequacy = self._adequacy.of(place)[rows]
        # What cannot be judged, or was not, is not held against it.
        return np.fmin(quality, np.where(adequacy < 0, np.float32(np.nan), adequacy))

    def weight(self, block: int) -> float:
        """Of the block's source."""
        return self._corpus.units[self._places[block].unit].weight

    def texts(self, block: int) -> tuple[Texts, Texts]:
        """Both sides of the candidates."""
        return self._corpus.texts(self._places[block], self._rows(block))

    def _rows(self, block: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._chosen[self._places[block].rows])
