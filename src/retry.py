"""Asking a service again: so often, or for so long, waiting longer each time.

Only errors that may pass by themselves are tried again. What is tried must be safe to do twice.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from src.errors import LinguaBridgeError, StoreError

Result = TypeVar("Result")


def is_temporary(error: LinguaBridgeError) -> bool:
    """Whether a store's error says of itself that it may pass."""
    return isinstance(error, StoreError) and error.is_temporary


def _say_nothing(_error: LinguaBridgeError, _attempt: int) -> None:
    """Where nobody follows the attempts."""


@dataclass(frozen=True)
class Retry:
    """How often, how far apart, for how long, and after which errors.

    Attributes:
        attempts: Requests in all, from 1 on; None: as many as the time allows.
        first_wait_seconds: Before the second one; doubled for each further one.
        longest_wait_seconds: Where the doubling ends.
        longest_seconds: No attempt begins later than so long after the first.
        may_pass: Whether an error is worth another attempt.
        tell: Told of each error that is, and the number of its attempt from 1 on.
        sleep: Waits that many seconds.
        clock: Seconds that only grow.
        jitter: Gives numbers between 0 and 1.
    """

    attempts: int | None = 5
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 8.0
    longest_seconds: float = math.inf
    may_pass: Callable[[LinguaBridgeError], bool] = is_temporary
    tell: Callable[[LinguaBridgeError, int], object] = _say_nothing
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def call(self, action: Callable[[], Result]) -> Result:
        """The result of the first attempt that is not answered by an error that may pass.

        Raises:
            LinguaBridgeError: Of the last attempt, or one that does not pass.
        """
        deadline = self.clock() + self.longest_seconds
        wait, attempt = self.first_wait_seconds, 1
        while True:
            try:
                return action()
            except LinguaBridgeError as error:
                # Many machines that lost the same service must not come back at the same moment.
                pause = wait * (0.5 + self.jitter() / 2)
                is_last = attempt == self.attempts or self.clock() + pause > deadline
                if is_last or not self.may_pass(error):
                    raise
                self.tell(error, attempt)
            self.sleep(pause)
            wait, attempt = min(2 * wait, self.longest_wait_seconds), attempt + 1
