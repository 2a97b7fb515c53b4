"""The answer of one check, in the words the user will read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What it is about, a word or two, e.g. "Python" or "teacher.output_dir".
        status: `problem` blocks a command; `warning` may surprise; `ok` needs nothing.
        seen: What was found, with the value.
        advice: What to do; may be empty, and may also go with an `ok` that has a catch.
    """

    topic: str
    status: Status
    seen: str
    advice: str = ""
