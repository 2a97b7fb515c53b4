"""What a channel is, and the one way in which it fails."""

from __future__ import annotations

from typing import Protocol

from src.secret import Secret


class DeliveryFailed(Exception):
    """A message did not get through; the reason holds no secret.

    Attributes:
        reason: Why, in plain words.
        is_refusal: The service answered, and sending the same again would change nothing.
        wait_seconds: How long the service wants to be left alone; None when it did not say.
    """

    def __init__(
        self, reason: str, *, is_refusal: bool = False, wait_seconds: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_refusal = is_refusal
        self.wait_seconds = wait_seconds


class Channel(Protocol):
    """One way to reach people."""

    @property
    def name(self) -> str:
        """As in the configuration, e.g. "dingtalk"."""

    @property
    def longest_bytes(self) -> int:
        """Longest text the service takes, in UTF-8."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must not be shown of it."""

    def send(self, title: str, body: str) -> None:
        """Delivers one message.

        Raises:
            DeliveryFailed: It did not get through.
        """
