"""The one thing that a run or a controller holds to tell people something."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from src.monitoring.alert import log_alert
from src.monitoring.alerts.channels import Channel, open_channels
from src.monitoring.alerts.limits import Limits
from src.monitoring.alerts.messages import Message
from src.monitoring.alerts.sender import Sender
from src.monitoring.alerts.spool import Spool
from src.schema.alerts import AlertsConfig
from src.secret import Secret, mask

FOLDER_NAME = "alerts"
HISTORY_FILE = "history.jsonl"
SPOOL_FOLDER = "spool"
CLOSE_SECONDS = 15.0

_HOUR_SECONDS = 3600.0
_MINUTE_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Alerts:
    """Tells people what a run does; a context manager that sends what it can when it ends.

    One per process and folder. `send` logs every event, and spools those that are to go out.

    Args:
        channels: Where messages go; without one, events are only logged.
        folder: Holds the history and the spool. Two processes, e.g. a run and who supervises it,
            may share it.
        run_name: How messages call the run.
        kinds: Which events go out.
        limits: Holds back what would be too much.
        keep_seconds: Age at which a message that cannot be delivered is given up.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        folder: Path,
        *,
        run_name: str,
        kinds: Collection[str],
        limits: Limits,
        keep_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run_name = run_name
        self._kinds = frozenset(kinds)
        self._limits = limits
        self._clock = clock
        self._secrets: tuple[Secret, ...] = tuple(
            secret for channel in channels for secret in channel.secrets
        )
        self._lock = threading.Lock()
        self._spool: Spool | None = None
        self._sender: Sender | None = None
        if channels:
            self._spool = Spool(folder / SPOOL_FOLDER, [channel.name for channel in channels])
            self._sender = Sender(
                self._spool, channels, keep_seconds=keep_seconds, wall_clock=clock
            )
            self._sender.start()

    def __enter__(self) -> Alerts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, kind: str, text: str) -> None:
        """Tells people of an event. Never raises, and waits for nothing but a small local write.

        Args:
            kind: See `src.monitoring.alert.KINDS`.
            text: The event in one or two lines, with numbers.
        """
        try:
            self._send(kind, text)
        except Exception as error:  # noqa: BLE001 - an alert never ends a run
            logger.warning("alerts: %s could not be noted (%s)", kind, type(error).__name__)

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Sends what waits, as far as channels work and time allows; the rest stays spooled."""
        if self._sender is None or self._spool is None:
            return
        self._sender.close(timeout_seconds)
        left = self._spool.count()
        if left:
            logger.warning(
                "alerts: %d not delivered; the next start sends what is in %s",
                left,
                self._spool.folder,
            )
        self._sender = None

    def _send(self, kind: str, text: str) -> None:
        # A lone surrogate, e.g. from an odd file name, can be written nowhere.
        clean = mask(text.encode("utf-8", errors="replace").decode("utf-8"), self._secrets)
        log_alert(kind, clean)
        if self._spool is None or self._sender is None or kind not in self._kinds:
            return
        with self._lock:
            held_back = self._limits.admit(kind, clean)
            if held_back is None:
                return
            self._spool.add(Message(self._run_name, kind, clean, self._clock(), held_back))
            self._sender.wake()
            self._limits.write(kind, clean)


def open_alerts(
    config: AlertsConfig, folder: Path, *, run_name: str | None = None, is_sender: bool = True
) -> Alerts:
    """The alerts of a run, as configured.

    Args:
        config: The section `alerts`.
        folder: Of the run; history and spool go into its sub-folder `alerts`.
        run_name: Used where the configuration has none; the folder's name by default.
        is_sender: False on ranks that leave it to another one: events are only logged.

    Raises:
        ConfigError: A secret is missing.
    """
    place = folder / FOLDER_NAME
    return Alerts(
        open_channels(config) if is_sender else (),
        place,
        run_name=config.run_name or run_name or folder.resolve().name,
        kinds=config.kinds,
        limits=Limits(
            place / HISTORY_FILE,
            most_per_hour=config.most_per_hour,
            repeat_seconds=config.repeat_minutes * _MINUTE_SECONDS,
        ),
        keep_seconds=config.keep_hours * _HOUR_SECONDS,
    )
