"""How many messages people get: no text twice within an hour, few of one kind.

What was sent stands in `alerts/history.jsonl`, so that a run that is started again and again, as in
a crash loop, does not begin to count anew each time.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_HOUR_SECONDS = 3600.0
_LONGEST_TAIL = 65_536


class Limits:
    """Decides which messages go out.

    Args:
        history: File of what was sent; made when something is.
        most_per_hour: Of one kind.
        repeat_seconds: How long the same text is not sent again.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        history: Path,
        *,
        most_per_hour: int,
        repeat_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._most_per_hour = most_per_hour
        self._repeat_seconds = repeat_seconds
        self._clock = clock
        self._sent_at: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=most_per_hour))
        self._texts: dict[tuple[str, str], float] = {}
        self._held_back: dict[str, int] = defaultdict(int)
        self._read()

    def admit(self, kind: str, text: str) -> int | None:
        """Whether a message goes out.

        Returns:
            How many of its kind were held back since the last one; None: this one is, too.
        """
        now = self._clock()
        repeated_at = self._texts.get((kind, text))
        is_repeated = repeated_at is not None and now - repeated_at < self._repeat_seconds
        times = self._sent_at[kind]
        is_often = len(times) == self._most_per_hour and now - times[0] < _HOUR_SECONDS
        if is_repeated or is_often:
            self._held_back[kind] += 1
            return None
        self._note(kind, text, now)
        return self._held_back.pop(kind, 0)

    def write(self, kind: str, text: str) -> None:
        """Adds an admitted message to the history, where that can be written."""
        line = json.dumps({"time": self._clock(), "kind": kind, "text": text}, ensure_ascii=False)
        with suppress(OSError):
            self._history.parent.mkdir(parents=True, exist_ok=True)
            with self._history.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _note(self, kind: str, text: str, now: float) -> None:
        self._sent_at[kind].append(now)
        self._texts = {
            key: then for key, then in self._texts.items() if now - then < self._repeat_seconds
        }
        self._texts[kind, text] = now

    def _read(self) -> None:
        """Takes up what earlier processes sent; a history that cannot be read limits nothing."""
        try:
            with self._history.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _LONGEST_TAIL))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                record = json.loads(line)
                self._note(str(record["kind"]), str(record["text"]), float(record["time"]))
            except (ValueError, TypeError, LookupError):
                continue
