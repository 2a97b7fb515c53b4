"""What an alert says: short lines in plain text, because most are read on a phone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = "LinguaBridge"
"""Stands in every message: some group robots accept only messages with an agreed keyword."""

_CUT = "…"


@dataclass(frozen=True)
class Kind:
    """One kind of event.

    Attributes:
        title: What happened.
        advice: What the reader should do; empty when there is nothing to do.
        is_trouble: Whether it is logged as a warning.
    """

    title: str
    advice: str = ""
    is_trouble: bool = True


KINDS: dict[str, Kind] = {
    "started": Kind("training started", is_trouble=False),
    "epoch": Kind("epoch done", is_trouble=False),
    "validation_rising": Kind(
        "validation loss is rising",
        "The best weights so far are kept in best/. If it goes on, stop the run or set "
        "early_stopping_patience.",
    ),
    "spike": Kind("loss spike", "Nothing yet: the run watches it. Look at curves.html if it goes."),
    "non_finite": Kind(
        "loss or gradients are not finite",
        "The step was skipped. If it comes again, lower learning_rate.",
    ),
    "rollback": Kind(
        "rolled back to an earlier checkpoint",
        "It goes on with a lower learning rate. Look at curves.html whether it recovers.",
    ),
    "notice": Kind(
        "the machine is being taken away",
        "Nothing if `run` rents the machines; else start it again on another one: it resumes.",
    ),
    "resumed": Kind("training goes on", is_trouble=False),
    "restarted": Kind(
        "training crashed and starts again",
        "Nothing, unless it comes again and again.",
    ),
    "budget": Kind("budget", "Raise cloud.budget to go on, or let it end here."),
    "save_failed": Kind(
        "a checkpoint could not be saved",
        "Look at once: free disk space, or check the checkpoint store and its key.",
    ),
    "low_gpu": Kind(
        "the GPU idles",
        "Raise batch_size or dataloader_num_workers; `run.py monitor` shows what it waits for.",
    ),
    "finished": Kind("training finished", is_trouble=False),
    "failed": Kind("training failed", "Read the end of its log, mend the cause, start it again."),
    "test": Kind("test message", "Nothing: alerts reach you.", is_trouble=False),
}


@dataclass(frozen=True)
class Message:
    """One alert.

    Attributes:
        run: How people call the run.
        kind: A key of `KINDS`; others are shown as they are.
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
