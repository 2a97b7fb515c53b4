"""Reasons to stop, met in one place.

A signal only sets the reason; the loop asks at the end of each step, so that the step is whole, the
checkpoint is saved and the process ends with code 75, "start me again". A second Ctrl-C ends at
once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from src.errors import EXIT_KILLED_BY_USER

_Handler = Callable[[int, FrameType | None], object] | int | None


class StopRequest:
    """Collects the first reason to stop; a context manager that owns the signal handlers.

    Attributes:
        reason: Who asked, e.g. "SIGTERM"; None while nobody has.
    """

    def __init__(
        self, *, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
    ) -> None:
        self.reason: str | None = None
        self._signals = signals
        self._has_met_ctrl_c = False
        self._previous: dict[signal.Signals, _Handler] = {}

    def ask(self, reason: str) -> None:
        """Records a reason; the first one counts."""
        if self.reason is None:
            self.reason = reason

    def __enter__(self) -> StopRequest:
        for number in self._signals:
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._has_met_ctrl_c:
                sys.exit(EXIT_KILLED_BY_USER)
            self._has_met_ctrl_c = True
        self.ask(signal.Signals(number).name)
