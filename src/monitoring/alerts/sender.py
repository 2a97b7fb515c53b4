"""The background thread that carries messages from the spool to the channels.

Each channel has its own state: one that is down is left alone for 2, 4, 8 … seconds, at most five
minutes, while the others go on. It is said once that a channel fails and once that it works again.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from src.monitoring.alerts.channels import Channel, DeliveryFailed
from src.monitoring.alerts.messages import compose, pack
from src.monitoring.alerts.spool import Entry, Spool
from src.secret import mask

_FIRST_WAIT_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 300.0
_POLL_SECONDS = 30.0  # for messages that another process is about to send
_MOST_REFUSALS = 5
_MOST_SINGLE = 3

logger = logging.getLogger(__name__)


class Line:
    """One channel and how it fares.

    Args:
        channel: Where to.
        clock: Seconds that only grow.
    """

    def __init__(self, channel: Channel, clock: Callable[[], float] = time.monotonic) -> None:
        self.channel = channel
        self.next_attempt = 0.0
        self._clock = clock
        self._failures = 0
        self._refusals = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the channel failed and is left alone for now."""
        return self._clock() < self.next_attempt

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Sends what the channel has not sent yet, until it fails."""
        waiting = [entry for entry in entries if self.channel.name not in entry.done]
        for batch in self._batches(waiting):
            if self.is_waiting or not self._send(batch):
                return

    def _batches(self, waiting: Sequence[Entry]) -> Iterator[list[Entry]]:
        """A few go one by one; after an outage many go as one, because services limit messages."""
        if len(waiting) <= _MOST_SINGLE:
            yield from ([entry] for entry in waiting)
            return
        messages = [entry.message for entry in waiting]
        rest = iter(waiting)
        for group in pack(messages, longest_bytes=self.channel.longest_bytes):
            yield list(islice(rest, len(group)))

    def _send(self, batch: Sequence[Entry]) -> bool:
        messages = [entry.message for entry in batch]
        title, body = compose(messages, longest_bytes=self.channel.longest_bytes)
        try:
            self.channel.send(title, body)
        except DeliveryFailed as failure:
            self._fail(failure, batch)
            return False
        for entry in batch:
            entry.mark_done(self.channel.name)
        if self._failures:
            logger.info("alerts: %s works again", self.channel.name)
        self._failures = self._refusals = 0
        return True

    def _fail(self, failure: DeliveryFailed, batch: Sequence[Entry]) -> None:
        reason = mask(failure.reason, self.channel.secrets)
        self._failures += 1
        wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(self._failures - 1, 10))
        # Spread, so that many runs that lost one service do not come back in one instant.
        wait *= random.uniform(0.75, 1.0)  # noqa: S311 - nothing depends on its being secret
        self.next_attempt = self._clock() + max(wait, failure.wait_seconds or 0.0)
        if self._failures == 1:
            logger.warning(
                "alerts: %s fails: %s; its messages wait and are tried again",
                self.channel.name,
                reason,
            )
        self._refusals += failure.is_refusal
        if self._refusals >= _MOST_REFUSALS:
            logger.warning(
                "alerts: %s refuses %d times: %s; given up: %s",
                self.channel.name,
                self._refusals,
                reason,
                "; ".join(entry.message.title for entry in batch),
            )
            for entry in batch:
                entry.mark_done(self.channel.name)
            self._refusals = 0


class Sender:
    """Delivers what lies in the spool, in a thread of its own.

    Args:
        spool: Where messages come from.
        channels: Where they go.
        keep_seconds: Age at which a message is given up.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        spool: Spool,
        channels: Sequence[Channel],
        *,
        keep_seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._lines = [Line(channel) for channel in channels]
        self._keep_seconds = keep_seconds
        self._wall_clock = wall_clock
        self._wake = threading.Event()
        self._closes_at: float | None = None
        # A daemon: a service that answers one byte a minute must not keep a finished run alive.
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Says that there is a new message."""
        self._wake.set()

    def close(self, timeout_seconds: float) -> None:
        """Sends what waits, trying again while time allows, and ends the thread."""
        self._closes_at = time.monotonic() + timeout_seconds
        self._wake.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._deliver()
            except Exception as error:  # noqa: BLE001 - alerts end neither a run nor themselves
                # Its text may hold an address.
                logger.debug("alerts: %s while sending", type(error).__name__)
            wait = self._seconds_to_wait()
            is_over = wait is None or time.monotonic() + wait >= (self._closes_at or math.inf)
            # What came while the last ones went out is not left behind.
            if self._closes_at is not None and is_over and not self._wake.is_set():
                return
            self._wake.wait(wait)

    def _deliver(self) -> None:
        with self._spool.claimed() as entries:
            current = [entry for entry in entries if not self._is_expired(entry)]
            for line in self._lines:
                line.deliver(current)

    def _seconds_to_wait(self) -> float | None:
        """Until the next attempt; None when nothing waits."""
        if not self._spool.count():
            return None
        now = time.monotonic()
        attempts = [line.next_attempt - now for line in self._lines if line.next_attempt > now]
        return min([*attempts, _POLL_SECONDS])

    def _is_expired(self, entry: Entry) -> bool:
        if self._wall_clock() - entry.message.created_at < self._keep_seconds:
            return False
        logger.warning("alerts: given up after waiting too long: %s", entry.message.title)
        for line in self._lines:
            entry.mark_done(line.channel.name)
        return True
