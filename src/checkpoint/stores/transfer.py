"""How far a transfer is, how fast, how long still."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from src.units import format_bytes, format_seconds

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 5.0


class Transfer:
    """Counts bytes; several threads may add to it.

    Args:
        what: E.g. "restoring checkpoint-00001200".
        total_bytes: To transfer.
        is_logged: Whether a line is logged about every five seconds.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        what: str,
        total_bytes: int,
        *,
        is_logged: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._is_logged = is_logged
        self._clock = clock
        self._started = self._last_line = clock()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Notes that more bytes are there."""
        with self._lock:
            self._bytes += count
            now = self._clock()
            is_due = self._is_logged and now - self._last_line >= _SECONDS_BETWEEN_LINES
            if is_due:
                self._last_line = now
        if is_due:
            logger.info("%s", self)

    def __str__(self) -> str:
        seconds = self._clock() - self._started
        text = f"{self._what}: {format_bytes(self._bytes)} of {format_bytes(self._total_bytes)}"
        if not self._bytes or not seconds:
            return text
        rate = self._bytes / seconds
        left = max(0, self._total_bytes - self._bytes) / rate
        return f"{text}  {format_bytes(rate)}/s  {format_seconds(left)} left"
