"""What the service asks: a model by name, its directions, and one function that translates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from src.errors import ConfigError
from src.evaluation.segments import directions_from
from src.evaluation.translation import Translation


class Service(Protocol):
    """A translator as the service sees it."""

    @property
    def name(self) -> str:
        """Of the model, for people."""

    @property
    def directions(self) -> Sequence[str]:
        """Such as "en-zh"."""

    def directions_for(self, texts: Sequence[str], direction: str | None) -> list[str]:
        """The direction of each text.

        Raises:
            ConfigError: If the model does not know it, or a text's script does not tell.
        """

    def translate(self, texts: Sequence[str], direction: str) -> list[Translation]:
        """Translations in order."""


def choose_directions(
    texts: Sequence[str], direction: str | None, known: Sequence[str]
) -> list[str]:
    """The direction of each text: the one asked for, or by script.

    Raises:
        ConfigError: If it is not known, or a text's script does not tell.
    """
    if direction is not None:
        if direction not in known:
            raise ConfigError(
                f"direction {direction[:20]!r} is not known; use one of {', '.join(known)}"
            )
        return [direction] * len(texts)
    if len(known) == 1:
        return [known[0]] * len(texts)
    found = []
    for text in texts:
        possible = directions_from(text, known)
        if len(possible) != 1:
            raise ConfigError(
                "the script of the text does not tell its direction; send one of "
                f"{', '.join(known)} as direction"
            )
        found.append(possible[0])
    return found
