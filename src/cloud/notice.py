"""Reasons to stop that come from outside: the cloud takes the machine away, or time is up.

Five minutes before Alibaba Cloud releases a spot instance, the instance's metadata service names
the moment (`instance/spot/termination-time`; until then the item does not exist). A thread asks for
it every few seconds; training is then asked to stop, finishes its step, saves and ends with 75.

Each source is handed to the training loop as a `StopSource`, so that the loop knows of no cloud.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from src.cloud.off_peak import OffPeak
from src.metadata_service import MetadataService, MetadataUnavailable, is_alibaba_machine
from src.monitoring.alert import Alert, no_alert
from src.schema import InterruptionConfig
from src.stop_source import Ask, StopSource
from src.units import format_seconds

Clock = Callable[[], datetime]

TERMINATION_ITEM = "instance/spot/termination-time"
_TERMINATION_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_FAILURES_UNTIL_SAID = 3
_CLOCK_CHECK_SECONDS = 15.0  # the wall clock may be set, and a suspended machine counts no seconds
_JOIN_SECONDS = 5.0

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(timezone.utc)


def stop_sources(
    config: InterruptionConfig, alert: Alert = no_alert, *, clock: Clock = utc_now
) -> tuple[StopSource, ...]:
    """Every source that the configuration asks for, on this machine.

    Args:
        config: The section `interruption`.
        alert: Takes kind and text of what people should hear of.
        clock: The wall clock.
    """
    sources: list[StopSource] = []
    setting = config.reclaim_notice
    if setting == "always" or (setting == "auto" and is_alibaba_machine()):
        sources.append(
            notice_source(
                config.metadata_url, poll_seconds=config.poll_seconds, alert=alert, clock=clock
            )
        )
    if config.off_peak is not None:
        hours = OffPeak.parse(config.off_peak, config.timezone)
        now = clock()
        ends_at = hours.next_end(now) if hours.contains(now) else now
        reason = f"the end of interruption.off_peak={config.off_peak}"
        sources.append(deadline_source(ends_at, reason, clock=clock))
    return tuple(sources)


def notice_source(
    metadata_url: str, *, poll_seconds: float, alert: Alert = no_alert, clock: Clock = utc_now
) -> StopSource:
    """Asks to stop when the metadata service says that the machine is taken away.

    A service that does not answer is said once; training goes on, and so does asking.

    Args:
        metadata_url: Address of the service.
        poll_seconds: Between two questions.
        alert: Gets one `notice`.
        clock: Tells how long is left.
    """

    @contextmanager
    def source(ask: Ask) -> Iterator[None]:
        with MetadataService(metadata_url) as service:
            watch = _NoticeWatch(service, metadata_url, ask, alert, clock)

            def look() -> float | None:
                return poll_seconds if watch.look() else None

            with _repeating(look, name="reclaim notice"):
                yield

    return source


def deadline_source(ends_at: datetime, reason: str, *, clock: Clock = utc_now) -> StopSource:
    """Asks to stop at a moment of the wall clock; at once if it has passed.

    Args:
        ends_at: With time zone.
        reason: What ends, e.g. "the end of the off-peak hours".
        clock: The wall clock.
    """

    @contextmanager
    def source(ask: Ask) -> Iterator[None]:
        def look() -> float | None:
            left = (ends_at - clock()).total_seconds()
            if left > 0:
                return min(left, _CLOCK_CHECK_SECONDS)
            ask(reason)
            return None

        with _repeating(look, name="deadline"):
            yield

    return source


def read_termination_time(service: MetadataService) -> datetime | None:
    """When the instance is released; None while nobody has announced it.

    Raises:
        MetadataUnavailable: The service does not answer, or with something else than a moment.
    """
    text = service.read(TERMINATION_ITEM)
    if text is None:
        return None
    try:
        return datetime.strptime(text, _TERMINATION_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:  # a login page of the network also answers 200
        raise MetadataUnavailable(f"it answers {text[:40]!r}") from None


class _NoticeWatch:
    """Looks for the notice, and remembers what it has said."""

    def __init__(
        self, service: MetadataService, address: str, ask: Ask, alert: Alert, clock: Clock
    ) -> None:
        self._service = service
        self._address = address
        self._ask = ask
        self._alert = alert
        self._clock = clock
        self._failures = 0

    def look(self) -> bool:
        """One question; whether to go on asking."""
        try:
            ends_at = read_termination_time(self._service)
        except MetadataUnavailable as error:
            self._fail(error.reason)
            return True
        if self._failures >= _FAILURES_UNTIL_SAID:
            logger.info("the metadata service %s answers again", self._address)
        self._failures = 0
        if ends_at is None:
            return True
        moment = ends_at.strftime("%H:%M:%S UTC")
        left = format_seconds((ends_at - self._clock()).total_seconds())
        # Asking comes first: seconds count, and an alert must not cost any.
        self._ask(f"the cloud's notice that this machine goes at {moment}")
        self._alert(
            "notice",
            f"this machine is released at {moment}, in {left}; the step in flight is finished and "
            "saved",
        )
        return False

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if self._failures == _FAILURES_UNTIL_SAID:
            logger.warning(
                "the metadata service %s does not answer (%s): a reclaim of this machine would "
                "come without notice; training goes on, enable the service of the instance, or "
                "set interruption.reclaim_notice=never",
                self._address,
                reason,
            )


@contextmanager
def _repeating(look: Callable[[], float | None], *, name: str) -> Iterator[None]:
    """Calls `look` in a thread, first at once, while the block runs.

    Args:
        look: Returns the seconds until it is called again, or None to end.
        name: Of the thread.
    """
    is_over = threading.Event()

    def run() -> None:
        while (wait := look()) is not None:
            if is_over.wait(wait):
                return

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(_JOIN_SECONDS)
