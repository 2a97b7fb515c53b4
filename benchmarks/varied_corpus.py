"""A corpus of any size from a small real one: copies whose words differ, with the mess kept.

The n-th copy of a pair gets pseudo-words for a part of its words (`window` becomes `windowkalo`),
other characters for a part of its Han characters, and other numbers where both sides hold the same
one. The same word is changed in the same way throughout a copy and on both sides, so what was left
untranslated, repeated or duplicated still is; markup, placeholders and addresses stay as they are.
The vocabulary grows with the corpus, as that of real text does.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

Pair = tuple[str, str, str]  # source, left, right

_SYLLABLES = [first + last for first in "bdgklmnprst" for last in "aeiou"]
# Markup is matched first, so that no word within it is.
_PARTS = re.compile(
    r"<[^<>]*>|&#?\w+;|\{[^{}]*\}|%[-\w.()$]+|[A-Za-z]+://\S+|(?P<word>[A-Za-z]{4,})"
)
_ANY_WORD = re.compile(r"[A-Za-z]{2,}(?![^<>]*>)")
_NUMBER = re.compile(r"[0-9]{2,}")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_WORDS_CHANGED, _HAN_CHANGED = 0.4, 0.12


def read_pairs(folder: Path) -> list[Pair]:
    """Every pair of `train_raw.tsv.gz`, with its source from `train_raw.src.gz`."""
    # Only line feeds end lines: the mess holds other characters that Python takes for ends.
    with (
        gzip.open(folder / "train_raw.tsv.gz", "rt", encoding="utf-8", newline="\n") as text,
        gzip.open(folder / "train_raw.src.gz", "rt", encoding="utf-8") as sources,
    ):
        return [
            (source.strip(), *_two_sides(line)) for line, source in zip(text, sources, strict=True)
        ]


def _two_sides(line: str) -> tuple[str, str]:
    left, _, right = line.rstrip("\n").partition("\t")
    return left, right


class Variation:
    """How the texts of one copy differ from the original.

    Args:
        number: Of the copy, from 1.
        characters: The Han characters of the corpus, each once.
    """

    def __init__(self, number: int, characters: str) -> None:
        first, second = divmod(number, len(_SYLLABLES))
        self._suffix = _SYLLABLES[second] + _SYLLABLES[first % len(_SYLLABLES)]
        self._number = number
        changed = [c for c in characters if _chance(c) < _HAN_CHANGED]
        step = 1 + number * 7919 % max(1, len(changed) - 1)
        self._han = str.maketrans(dict(zip(changed, changed[step:] + changed[:step], strict=True)))
        self._any_han = dict(
            zip(characters, characters[number:] + characters[:number], strict=True)
        )
        self._words: dict[str, str] = {}

    def apply(self, left: str, right: str) -> tuple[str, str]:
        """The pair as this copy has it; never the pair itself."""
        shared = {*_NUMBER.findall(left)} & {*_NUMBER.findall(right)}
        changed = self._side(left, shared), self._side(right, shared)
        if changed == (left, right):
            return f"{left} {self._suffix}", f"{right} {self._suffix}"
        return changed

    def _side(self, text: str, numbers: set[str]) -> str:
        changed = _PARTS.sub(self._part, text).translate(self._han)
        if changed == text:
            changed = self._one_change(text)
        if numbers:
            changed = _NUMBER.sub(
                lambda match: self._other_number(match[0]) if match[0] in numbers else match[0],
                changed,
            )
        return changed

    def _part(self, match: re.Match[str]) -> str:
        word = match["word"]
        if word is None:
            return match[0]
        found = self._words.get(word)
        if found is None:
            found = word + self._suffix if _chance(word.lower()) < _WORDS_CHANGED else word
            self._words[word] = found
        return found

    def _one_change(self, text: str) -> str:
        """The last Han character or word changed, for text of which nothing was to be."""
        han = list(_HAN.finditer(text))
        if han:
            begin, end = han[-1].span()
            return text[:begin] + self._any_han.get(han[-1][0], "") + text[end:]
        words = list(_ANY_WORD.finditer(_PARTS.sub(_blank, text)))
        if not words:
            return text
        return text[: words[-1].end()] + self._suffix + text[words[-1].end() :]

    def _other_number(self, digits: str) -> str:
        """A number of as many digits that does not begin with zero."""
        smallest = 10 ** (len(digits) - 1)
        return str((int(digits) + self._number * 13 - smallest) % (9 * smallest) + smallest)


def _blank(match: re.Match[str]) -> str:
    return match[0] if match["word"] else " " * len(match[0])


def _chance(text: str) -> float:
    """A number from 0 to 1 that depends on the text alone."""
    return zlib.crc32(text.encode("utf-8")) / 2**32


def vary(pairs: list[Pair], count: int) -> Iterator[Pair]:
    """The pairs, then varied copies of them, until there are `count`."""
    characters = "".join(
        sorted({han for _, left, right in pairs for han in _HAN.findall(left + right)})
    )
    for number in range(-(-count // len(pairs))):
        rest = pairs[: count - number * len(pairs)]
        if number == 0:
            yield from rest
            continue
        variation = Variation(number, characters)
        for source, left, right in rest:
            yield source, *variation.apply(left, right)


def write_corpus(pairs: list[Pair], count: int, folder: Path) -> list[Path]:
    """Writes one TSV per source, and `all.left` and `all.right` for programs that want Moses files.

    A folder that is whole already is left as it is.

    Returns:
        The TSV files.
    """
    marker = folder / "corpus.json"
    if not marker.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        sources: dict[str, TextIO] = {}
        with ExitStack() as stack:
            sides = [
                stack.enter_context((folder / name).open("w", encoding="utf-8", newline="\n"))
                for name in ("all.left", "all.right")
            ]
            for source, left, right in vary(pairs, count):
                if source not in sources:
                    path = folder / f"{source}.tsv"
                    sources[source] = stack.enter_context(
                        path.open("w", encoding="utf-8", newline="\n")
                    )
                sources[source].write(f"{left}\t{right}\n")
                sides[0].write(left + "\n")
                sides[1].write(right + "\n")
        marker.write_text(json.dumps({"pairs": count, "sources": sorted(sources)}))
    names = json.loads(marker.read_text())["sources"]
    return [folder / f"{name}.tsv" for name in names]
