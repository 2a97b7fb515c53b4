"""Numbers that a model cannot copy, carried through a translation by others that it can.

A long number is a row of tokens that no training sentence held; a short one, or a placeholder, is
copied as a matter of course. So the number is replaced by such a stand-in, the sentence translated,
and the number put in the stand-in's place. Only where the stand-in came through whole and once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from src.evaluation.numbers import Span

# Two digits, so that the words around are in the plural; neither round, nor an hour or a month.
_SHORT = ("47", "58", "63", "74", "86", "39", "92", "51")
_PLACEHOLDERS = tuple(f"{{{index}}}" for index in range(len(_SHORT)))


@dataclass(frozen=True)
class Disguised:
    """A text with stand-ins.

    Attributes:
        text: To be translated.
        numbers: Stand-in → the number it stands for.
    """

    text: str
    numbers: dict[str, str]

    def revealed(self, translation: str) -> str | None:
        """The translation with its numbers; None where a stand-in is lost or stands twice."""
        for stand_in in self.numbers:
            if len(_whole(stand_in).findall(translation)) != 1:
                return None
        pattern = re.compile("|".join(_whole(name).pattern for name in self.numbers))
        return pattern.sub(lambda match: self.numbers[match[0]], translation)


def disguises(text: str, spans: Sequence[Span]) -> Iterator[Disguised]:
    """The text with short numbers, and with placeholders, in the place of some of its numbers.

    Args:
        text: One line.
        spans: Where these numbers stand, in order.

    Yields:
        Nothing where there are too many of them.
    """
    for names in (_SHORT, _PLACEHOLDERS):
        free = [name for name in names if name not in text]
        if not spans or len(spans) > len(free):
            continue
        disguised, numbers, start = "", {}, 0
        for name, (begin, end) in zip(free, spans, strict=False):
            disguised += text[start:begin] + name
            numbers[name] = _in_ascii(text[begin:end])
            start = end
        yield Disguised(disguised + text[start:], numbers)


def _whole(stand_in: str) -> re.Pattern[str]:
    """Finds a stand-in that is no part of a longer number."""
    if not stand_in.isdecimal():
        return re.compile(re.escape(stand_in))
    return re.compile(rf"(?<![\d])(?<!\d[.,]){stand_in}(?!\d|[.,]\d)")


def _in_ascii(number: str) -> str:
    """The digits of any script, full-width ones for example, as every language writes them."""
    return "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in number
    )
