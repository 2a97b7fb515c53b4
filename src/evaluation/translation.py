"""A translation, and what a reader should know of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Translation:
    """What became of a text.

    Attributes:
        text: In the other language.
        warnings: What it does not keep of its source, such as a number; a sentence each.
    """

    text: str
    warnings: tuple[str, ...] = ()
