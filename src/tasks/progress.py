"""Progress lines of long work: how far, how fast, how long still."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from src.units import format_count, format_seconds

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Logs a line about every five seconds.

    Args:
        what: What is being done, e.g. "filtering".
        total: Pairs to do.
        done: Pairs that were done before and count neither as speed nor as time.
        clock: Seconds that only grow.
    """

    def __init__(
        self, what: str, total: int, *, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._done = self._found = done
        self._clock = clock
        self._started = self._last_line = clock()

    def add(self, pairs: int) -> None:
        """Notes that more pairs are done, and says so when it is time."""
        self._done += pairs
        now = self._clock()
        if now - self._last_line < _SECONDS_BETWEEN_LINES or self._done >= self._total:
            return
        self._last_line = now
        pairs_per_second = (self._done - self._found) / (now - self._started)
        left = (self._total - self._done) / pairs_per_second if pairs_per_second else 0.0
        logger.info(
            "%s %s of %s pairs  %.0f %%  %s pairs/s  %s left",
            self._what,
            f"{self._done:,}",
            f"{self._total:,}",
            100 * self._done / self._total,
            format_count(pairs_per_second),
            format_seconds(left),
        )
