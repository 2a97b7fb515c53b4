"""What the service counts, in Prometheus' text format (version 0.0.4).

Counters only grow, so whoever scrapes them sees rates; a histogram's buckets are cumulative.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from threading import Lock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TEXTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Histogram:
    """Counts of observations up to each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Its samples."""
        found, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            label = "+Inf" if bound == float("inf") else f"{bound:g}"
            found.append(f'{name}_bucket{{le="{label}"}} {total}')
        return [*found, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Metrics:
    """All numbers of one service; its methods may be called from any thread.

    Args:
        waiting: Gives the number of requests in the queue.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._lock = Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._texts: Counter[str] = Counter()
        self._characters: Counter[str] = Counter()
        self._request_seconds = Histogram(_SECONDS)
        self._batch_texts = Histogram(_TEXTS)
        self._batch_seconds = Histogram(_SECONDS)

    def request(self, path: str, status: int, seconds: float) -> None:
        """One answered request; `path` is one of the service's own."""
        with self._lock:
            self._requests[path, status] += 1
            self._request_seconds.observe(seconds)

    def translated(self, direction: str, texts: int, characters: int) -> None:
        """Texts of one request that were translated."""
        with self._lock:
            self._texts[direction] += texts
            self._characters[direction] += characters

    def batch(self, texts: int, seconds: float) -> None:
        """One batch that the model worked off."""
        with self._lock:
            self._batch_texts.observe(texts)
            self._batch_seconds.observe(seconds)

    def render(self) -> str:
        """Everything as text."""
        with self._lock:
            groups = [
                ("requests_total", "counter", "Answered requests.", [
                    f'{{path="{path}",status="{status}"}} {count}'
                    for (path, status), count in sorted(self._requests.items())
                ]),
                ("texts_total", "counter", "Translated texts.", _by_direction(self._texts)),
                (
                    "characters_total", "counter", "Characters of translated sources.",
                    _by_direction(self._characters),
                ),
                ("waiting_requests", "gauge", "Requests in the queue.", [f" {self._waiting()}"]),
            ]  # fmt: skip
            lines = []
            for name, kind, help_text, samples in groups:
                full = f"linguabridge_{name}"
                lines += [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}"]
                lines += [full + sample for sample in samples]
            for name, help_text, histogram in (
                ("request_seconds", "Time to answer.", self._request_seconds),
                ("batch_texts", "Texts translated together.", self._batch_texts),
                ("batch_seconds", "Time of a batch.", self._batch_seconds),
            ):
                full = f"linguabridge_{name}"
                lines += [f"# HELP {full} {help_text}", f"# TYPE {full} histogram"]
                lines += histogram.lines(full)
        return "\n".join(lines) + "\n"


def _by_direction(counts: Counter[str]) -> list[str]:
    return [f'{{direction="{way}"}} {count}' for way, count in sorted(counts.items())]
