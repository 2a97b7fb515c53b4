"""Asking a service again: a bounded number of times, waiting longer each time.

Only errors that say of themselves that they are temporary are tried again. What is tried must be
safe to do twice; every request of a store is, see `src.checkpoint.stores.bucket`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from src.errors import StoreError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Retry:
    """How often, and how far apart.

    Attributes:
        attempts: Requests in all, from 1 on.
        first_wait_seconds: Before the second one; doubled for each further one.
        longest_wait_seconds: Where the doubling ends.
        sleep: Waits that many seconds.
    """

    attempts: int = 5
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 8.0
    sleep: Callable[[float], object] = time.sleep

    def call(self, action: Callable[[], Result]) -> Result:
        """The result of the first attempt that is not answered by a temporary error.

        Raises:
            StoreError: Of the last attempt, or one that is not temporary.
        """
        wait = self.first_wait_seconds
        for _ in range(self.attempts - 1):
            try:
                return action()
            except StoreError as error:
                if not error.is_temporary:
                    raise
            # Many machines that lost the same service must not come back at the same moment.
            self.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  not a secret
            wait = min(2 * wait, self.longest_wait_seconds)
        return action()
