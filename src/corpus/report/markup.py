"""Small pieces of HTML that every section of the report is made of.

Whatever comes from the corpus is escaped: it is data, even where it looks like markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from src.languages import LANGUAGES

_LONGEST_TEXT = 480  # characters

# Controls, zero-width and direction marks, lone surrogates.
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def section(title: str, body: str, note: str = "") -> str:
    """A part of the page; nothing where there is nothing to show."""
    lead = f'<p class="note">{escape(note)}</p>\n' if note else ""
    return f"<section><h2>{escape(title)}</h2>\n{lead}{body}</section>\n" if body else ""


def table(head: Iterable[str], rows: Iterable[str], style: str = "") -> str:
    """A table from finished header cells and rows; it scrolls by itself where it is too wide."""
    return (
        f'<div class="wide"><table class="{escape(style)}"><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
    )


def heads(*names: str, style: str = "") -> list[str]:
    """Header cells; with style `n` for numbers."""
    return [f'<th class="{style}">{escape(name)}</th>' for name in names]


def row(name: str, *cells: str, style: str = "") -> str:
    """A table row from its escaped name and finished cells."""
    return f'<tr class="{escape(style)}"><th scope="row">{name}</th>{"".join(cells)}</tr>'


def number(text: str, style: str = "n") -> str:
    """A cell with a number."""
    return f'<td class="{style}">{text}</td>'


def chart(picture: str) -> str:
    """A cell with a picture."""
    return f'<td class="chart">{picture}</td>'


def legend(items: Iterable[tuple[str, str]]) -> str:
    """What colours mean: style class and finished text of each."""
    entries = "".join(
        f'<li><i class="{escape(style)}"></i><span>{text}</span></li>' for style, text in items
    )
    return f'<ul class="legend">{entries}</ul>\n'


def percent(part: float, whole: float) -> str:
    """`1234 of 10000` as `12.3 %`; `0.0 %` and `100.0 %` mean none and all."""
    if not whole:
        return "–"
    share = f"{100 * part / whole:.1f} %"
    if share == "0.0 %" and part:
        return "&lt;0.1 %"
    if share == "100.0 %" and part != whole:
        return "&gt;99.9 %"
    return share


def words(name: str) -> str:
    """A name of the code in words."""
    return escape(name.replace("_", " "))


def side_names(languages: Sequence[str]) -> tuple[str, str]:
    """What to call left and right: the languages, where all text is of one pair."""
    if len(languages) == 1:
        codes = languages[0].split("-")
        if len(codes) == 2 and all(code in LANGUAGES for code in codes):  # noqa: PLR2004  a pair
            return LANGUAGES[codes[0]].name, LANGUAGES[codes[1]].name
    return "Left side", "Right side"


def corpus_text(text: str, marks: Iterable[Sequence[int]]) -> str:
    """Corpus text made safe, with what cannot be seen spelt out and the marked parts marked."""
    if not text.strip():
        return "<mark>(empty)</mark>"
    cut = text[:_LONGEST_TEXT]
    pieces, at = [], 0
    for begin, end in marks:
        begin, end = max(begin, at), min(end, len(cut))  # noqa: PLW2901  kept inside the text
        if begin < end:
            pieces += [_visible(cut[at:begin]), f"<mark>{_visible(cut[begin:end])}</mark>"]
            at = end
    return "".join(pieces) + _visible(cut[at:]) + ("…" if len(text) > len(cut) else "")


def _visible(text: str) -> str:
    return escape(_INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
