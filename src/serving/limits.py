"""How often somebody may ask: checked before a request is read."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_SECONDS_PER_MINUTE = 60.0
_BURST_SHARE = 0.25
# Clients remembered; who was away longest is forgotten first, so memory is bounded.
_MOST_CLIENTS = 10_000


class RateLimit:
    """A token bucket per client address.

    Args:
        per_minute: Requests a minute; a quarter of them may come at once.
        clock: Seconds since some moment.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / _SECONDS_PER_MINUTE
        self._burst = max(1.0, per_minute * _BURST_SHARE)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, client: str) -> int:
        """0 and one request counted, or after how many whole seconds the next one is welcome."""
        now = self._clock()
        tokens, filled_at = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - filled_at) * self._rate)
        is_allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if is_allowed else tokens, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if is_allowed else max(1, math.ceil((1.0 - tokens) / self._rate))
