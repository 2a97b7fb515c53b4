"""The threshold of `diverse`, moved so that the size is met when the last pair has been seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.corpus.sampling.coverage_table import KEEPS_NONE, LEVELS, Decisions, Levels, Threshold

_WINDOWS = 256  # settings of the threshold in a run; more in a run of over half a million pairs
_LEAST_WINDOW, _MOST_WINDOW = 64, 2048  # pairs between two of them
_MEMORY_OF_SEEN, _MEMORY_OF_ALL = 1 / 4, 1 / 64
_LEAST_MASS = 1e-9


class Steering:
    """The worth that as many of the coming pairs exceed as are still wanted.

    It is a quantile of the worths of recent pairs, in a histogram that forgets: worth falls as more
    is chosen. It remembers a quarter of the pairs so far and at most one in 64 of all: a longer
    memory lags behind the worth (a sixteenth costs 6 % of the gain in coverage).

    Args:
        pairs: Pairs that will come.
        size: Pairs to keep.

    Attributes:
        threshold: To be applied to the next pairs.
        left_in_window: Pairs until it moves.
    """

    def __init__(self, pairs: int, size: int) -> None:
        self.threshold = KEEPS_NONE
        self._window = min(max(pairs // _WINDOWS, _LEAST_WINDOW), _MOST_WINDOW)
        self.left_in_window = self._window
        self._pairs_left = pairs
        self._size_left = size
        self._most_memory = pairs * _MEMORY_OF_ALL
        self._seen = 0
        self._histogram = np.zeros(LEVELS)

    @property
    def has_begun(self) -> bool:
        """False until `begin` was called."""
        return self.threshold is not KEEPS_NONE

    def begin(self, levels: Levels) -> None:
        """Sets the first threshold from the worths of the first pairs."""
        self._set_threshold(np.bincount(levels, minlength=LEVELS).astype(np.float64))

    def add(self, decisions: Decisions) -> None:
        """Notes decisions, at most `left_in_window`; at the end of a window the threshold moves."""
        count = len(decisions.levels)
        self._histogram += np.bincount(decisions.levels, minlength=LEVELS)
        self._pairs_left -= count
        self._size_left -= int(np.count_nonzero(decisions.is_kept))
        self._seen += count
        self.left_in_window -= count
        if not self.left_in_window:
            self.left_in_window = self._window
            self._set_threshold(self._histogram)
            memory = max(min(self._seen * _MEMORY_OF_SEEN, self._most_memory), self._window)
            self._histogram *= 1.0 - self._window / memory

    def _set_threshold(self, histogram: NDArray[np.float64]) -> None:
        share = min(max(self._size_left / max(self._pairs_left, 1), 0.0), 1.0)
        from_top = np.cumsum(histogram[::-1])
        wanted = share * from_top[-1]
        place = int(np.searchsorted(from_top, wanted))
        level = LEVELS - 1 - place
        above = from_top[place] - histogram[level]
        self.threshold = Threshold(level, (wanted - above) / max(histogram[level], _LEAST_MASS))
