"""Sending one test message over every channel, and what became of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from src.monitoring.alerts.channels import DeliveryFailed, open_channels
from src.monitoring.alerts.messages import Message, compose
from src.schema.alerts import AlertsConfig
from src.secret import mask
from src.units import format_seconds


@dataclass(frozen=True)
class TrialResult:
    """What became of a test message.

    Attributes:
        problem: Why it was not delivered; None when it was.
        seconds: How long the service took.
    """

    channel: str
    problem: str | None
    seconds: float

    @property
    def is_delivered(self) -> bool:
        """Whether the service took the message."""
        return self.problem is None

    def in_words(self) -> str:
        """E.g. "delivered in 0.3 s"."""
        if self.problem is None:
            return f"delivered in {format_seconds(self.seconds)}"
        return f"not delivered: {self.problem}"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {**asdict(self), "is_delivered": self.is_delivered}


def try_channels(config: AlertsConfig) -> Iterator[TrialResult]:
    """Sends a test message over each channel, one after the other, each once.

    Raises:
        ConfigError: A secret is missing.
    """
    run = config.run_name or "alerts test"
    for channel in open_channels(config):
        message = Message(run, "test", f"sent from {socket.gethostname()}", time.time())
        problem = None
        began = time.monotonic()
        try:
            channel.send(*compose([message], longest_bytes=channel.longest_bytes))
        except DeliveryFailed as failure:
            problem = mask(failure.reason, channel.secrets)
        yield TrialResult(channel.name, problem, round(time.monotonic() - began, 3))
