"""How long each phase of the stage took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Phases:
    """A stopwatch with named laps.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._laps: dict[str, dict[str, Any]] = {}
        self._name = ""
        self._started = self._lap_started = clock()

    def start(self, name: str, rows: int | None = None) -> None:
        """Ends the current phase and begins, or goes on with, another.

        Args:
            name: For the report.
            rows: Rows that it handles, where its speed says something.
        """
        self._end_lap()
        self._name = name
        self._laps.setdefault(name, {"name": name, "seconds": 0.0})
        if rows is not None:
            self._laps[name]["rows"] = rows

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._started

    def summary(self) -> list[dict[str, Any]]:
        """Name, seconds and perhaps rows of each phase, in order of their beginnings."""
        self._end_lap()
        return [dict(lap) for lap in self._laps.values()]

    def _end_lap(self) -> None:
        now = self._clock()
        if self._name:
            self._laps[self._name]["seconds"] += now - self._lap_started
        self._lap_started = now
