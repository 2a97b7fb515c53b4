"""What an alert says: short lines in plain text, because most are read on a phone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from src.monitoring.alert import KINDS

PROGRAM = "LinguaBridge"
"""Stands in every message: some group robots accept only messages with an agreed keyword."""

_CUT = "…"


@dataclass(frozen=True)
class Message:
    """One alert.

    Attributes:
        run: How people call the run.
        kind: A key of `src.monitoring.alert.KINDS`; others are shown as they are.
        text: The event in numbers.
        created_at: Seconds since 1970.
        held_back: Earlier messages of this kind that were not sent.
    """

    run: str
    kind: str
    text: str
    created_at: float
    held_back: int = 0

    @property
    def title(self) -> str:
        """One line: program, run, event."""
        kind = KINDS.get(self.kind)
        return f"{PROGRAM} {self.run}: {kind.title if kind else self.kind}"

    @property
    def body(self) -> str:
        """The lines below the title."""
        kind = KINDS.get(self.kind)
        lines = [self.text]
        if self.held_back:
            lines.append(f"({self.held_back} more of this kind since the last message)")
        if kind and kind.advice:
            lines.append(f"→ {kind.advice}")
        lines.append(time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(self.created_at)))
        return "\n".join(lines)


def compose(messages: Sequence[Message], *, longest_bytes: int) -> tuple[str, str]:
    """Title and body of what is sent; several messages, after an outage, become one.

    Args:
        messages: At least one, oldest first.
        longest_bytes: Limit of title and body together, in UTF-8.
    """
    if len(messages) == 1:
        title, body = messages[0].title, messages[0].body
    else:
        title = f"{PROGRAM} {messages[-1].run}: {len(messages)} messages"
        body = "\n\n".join(f"{message.title}\n{message.body}" for message in messages)
    return title, shorten(body, longest_bytes - len(f"{title}\n".encode()))


def pack(messages: Sequence[Message], *, longest_bytes: int) -> list[list[Message]]:
    """Messages in groups that `compose` need not shorten, in their order.

    Args:
        messages: At least one, oldest first.
        longest_bytes: Limit of a composed text; a message that is longer stands alone.
    """
    groups: list[list[Message]] = []
    run = max((message.run for message in messages), key=lambda name: len(name.encode()))
    heading = f"{PROGRAM} {run}: {len(messages)} messages\n"
    room = 0
    for message in messages:
        size = len(f"{message.title}\n{message.body}\n\n".encode())
        if size > room:
            groups.append([])
            room = longest_bytes - len(heading.encode())
        groups[-1].append(message)
        room -= size
    return groups


def shorten(text: str, longest_bytes: int) -> str:
    """The text, or its beginning and an ellipsis, in at most so many bytes of UTF-8."""
    encoded = text.encode("utf-8")
    if len(encoded) <= longest_bytes:
        return text
    room = max(0, longest_bytes - len(_CUT.encode("utf-8")))
    return encoded[:room].decode("utf-8", errors="ignore") + _CUT
