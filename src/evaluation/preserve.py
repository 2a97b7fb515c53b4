"""What stands verbatim in a translation: placeholders, markup, addresses, code.

A program that shows translated text breaks where `%s` is lost, a page where `</b>` is. A model
keeps most of them by itself. Where it does not, the text around them is translated piece by piece
and they are put back where they stood: less fluent, never broken.
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


def protected_pieces(text: str) -> list[str]:
    """Placeholders, tags, addresses and code in a text, in order."""
    return _PROTECTED.findall(text)


def keeps_protected(source: str, translation: str) -> bool:
    """Whether the translation holds exactly the source's protected pieces, in any order."""
    return Counter(protected_pieces(source)) == Counter(protected_pieces(translation))


def describe_lost(source: str, translation: str) -> str:
    """One sentence that names what `keeps_protected` misses, or finds too much."""
    before, after = Counter(protected_pieces(source)), Counter(protected_pieces(translation))
    lost, invented = list((before - after).elements()), list((after - before).elements())
    if lost:
        return f"the translation lacks {' and '.join(lost)} of the source"
    return f"the translation has {' and '.join(invented)}, which is not in the source"


def without_protected(text: str) -> str:
    """The text with blanks in the place of its protected pieces, character for character."""
    return _PROTECTED.sub(lambda match: " " * len(match.group()), text)


def split_around(text: str, further: Sequence[tuple[int, int]] = ()) -> list[tuple[str, bool]]:
    """Cuts a text into protected pieces and what stands between them.

    Args:
        text: One line.
        further: Begins and ends of other pieces to protect, in order, none inside a protected one.

    Returns:
        Pieces in order, each with whether it is to be translated: protected pieces are not, nor is
        anything without a letter or digit. White space stays at the ends of pieces.
    """
    pieces: list[tuple[str, bool]] = []
    start = 0
    spans = [match.span() for match in _PROTECTED.finditer(text)]
    for begin, end in sorted([*spans, *further]):
        pieces += [(text[start:begin], True), (text[begin:end], False)]
        start = end
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
