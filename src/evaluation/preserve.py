"""What a translation must not change: placeholders, markup, addresses, code, numbers.

A program that shows translated text breaks where `%s` is lost, a page where `</b>` is. A model
keeps most of them by itself. Where it does not, the text around them is translated piece by piece
and they are put back where they stood: less fluent, never broken. Numbers cannot be put back that
way, because languages write them differently ("3月5日", "March 5"); they only decide between
translations that the model itself finds likely.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from src.evaluation.segments import is_wide

_NO_ADDRESS = r"\s<>\"'`\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
_ADDRESS = rf"[^{_NO_ADDRESS}]*[^{_NO_ADDRESS}.,;:!?)\]}}]"
_PROTECTED = re.compile(
    r"`+[^`]+`+"  # code
    rf"|[A-Za-z][A-Za-z0-9+.-]*://{_ADDRESS}"
    r"|(?<![\w.+-])[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # mail
    r"|</?[A-Za-z][^<>]*>"
    r"|\$?\{\{?[A-Za-z0-9_.-]*\}?\}"  # {}, {name}, ${name}, {{name}}
    r"|%(?:\([A-Za-z_]+\))?(?:[0-9]\$)?[-+#0]?[0-9.]*l{0,2}[sdiufgxXc@](?![A-Za-z])"  # printf
    r"|%[1-9](?!\w)"
    r"|&(?:[A-Za-z]+|#[0-9]+);",
    re.ASCII,
)
_OPENING_TAG = re.compile(r"<[A-Za-z][^<>]*[^/<>]>|<[A-Za-z]>")
_CLOSING_TAG = re.compile(r"</[A-Za-z][^<>]*>")

_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
# Where these stand, other digits may mean the same: "1.2 million" is "120万", "3:45 PM" is "15:45".
_REWRITTEN = re.compile(
    r"hundred|thousand|million|billion|trillion|dozen|[0-9] ?[ap]\.?m\b"
    r"|[十百千万萬亿億兆]|[上下]午|晚上|中午|月",
    re.IGNORECASE,
)


def protected_pieces(text: str) -> list[str]:
    """Placeholders, tags, addresses and code in a text, in order."""
    return _PROTECTED.findall(text)


def keeps_protected(source: str, translation: str) -> bool:
    """Whether the translation holds exactly the source's protected pieces, in any order."""
    return Counter(protected_pieces(source)) == Counter(protected_pieces(translation))


def keeps_numbers(source: str, translation: str) -> bool:
    """Whether every number in the source's digits stands in the translation, too.

    True where the source writes numbers in a way that translators rewrite.
    """
    if _REWRITTEN.search(source):
        return True
    return not Counter(_numbers(source)) - Counter(_numbers(translation))


def split_around(text: str) -> list[tuple[str, bool]]:
    """Cuts a text into protected pieces and what stands between them.

    Returns:
        Pieces in order, each with whether it is to be translated: protected pieces are not, nor is
        anything without a letter or digit. White space stays at the ends of pieces.
    """
    pieces: list[tuple[str, bool]] = []
    start = 0
    for match in _PROTECTED.finditer(text):
        pieces += [(text[start : match.start()], True), (match.group(), False)]
        start = match.end()
    pieces.append((text[start:], True))
    return [(piece, is_open and any(map(str.isalnum, piece))) for piece, is_open in pieces if piece]


def join_around(pieces: Sequence[tuple[str, str]]) -> str:
    """One text of the translated pieces of `split_around`.

    Args:
        pieces: Each piece as it stood in the source, and its translation.
    """
    joined = ""
    previous = ""
    for source, translation in pieces:
        content = translation.strip()
        if content:
            joined += _gap(joined, previous, source, content) + content
        previous = source
    return joined


def _gap(joined: str, previous: str, source: str, content: str) -> str:
    """What stands between what is joined already and the next piece.

    The source's own space, but none beside Chinese; where Chinese became a language with spaces, a
    space that the source could not have, but none inside tags.
    """
    if not joined or is_wide(joined[-1]) or is_wide(content[0]):
        return ""
    if previous[-1:].isspace() or source[:1].isspace():
        return " "
    came_from_wide = is_wide(previous.rstrip()[-1:]) or is_wide(source.lstrip()[:1])
    is_inside_tag = _OPENING_TAG.fullmatch(previous) or _CLOSING_TAG.fullmatch(source)
    is_mark = not content[0].isalnum() and not _PROTECTED.match(content)
    return " " if came_from_wide and not is_inside_tag and not is_mark else ""


def _numbers(text: str) -> list[str]:
    """Numbers in digits, protected pieces left out, written in one way: 01,234.50 → 1234.5."""
    found = []
    for match in _NUMBER.findall(_PROTECTED.sub(" ", text)):
        digits = re.sub(r",(?=[0-9]{3}(?![0-9]))", "", match)
        whole, point, decimals = digits.partition(".")
        decimals = decimals.rstrip("0")
        found.append((whole.lstrip("0") or "0") + (point + decimals if decimals else ""))
    return found
