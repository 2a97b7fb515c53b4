"""report.html: the account of a `process` run as one page, for people.

One file without scripts, fonts or pictures from elsewhere, so it can be mailed and opened years
later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from src.corpus.report import choice, flow, measures
from src.corpus.report.account import Report
from src.corpus.report.examples import EXAMPLES_PER_REASON
from src.corpus.report.markup import corpus_text, percent, section, side_names, words
from src.corpus.report.reasons import REASONS
from src.corpus.report.style import STYLE
from src.units import format_bytes, format_count, format_seconds

_WARNINGS_SHOWN = 8


def render_page(report: Report) -> str:
    """The whole page as HTML."""
    sections = [
        _warnings(report.warnings),
        _headline(report),
        section("Where the rows went", flow.flow(report)),
        section("Sources", flow.sources(report)),
        section("Sampling", choice.sampling(report)),
        section("Lengths and scores", measures.histograms(report)),
        section("Adequacy", measures.adequacy(report)),
        section("Lengths in tokens", measures.token_lengths(report)),
        section("Repaired and kept", measures.repairs(report)),
        section("Time", measures.phases(report)),
        section(
            "Examples of what was dropped",
            _examples(report),
            "Marked is the part that is to blame.",
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Corpus report: {report.kept:,} of {report.rows_in:,} rows kept</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="brand">LinguaBridge</p><h1>Corpus report</h1></header>\n'
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    # A number and its percent sign stay on one line.
    items = [f"<li>{escape(warning).replace(' %', '&nbsp;%')}</li>" for warning in warnings]
    shown, more = items[:_WARNINGS_SHOWN], items[_WARNINGS_SHOWN:]
    drawer = (
        f"<details><summary>{len(more)} more</summary><ul>{''.join(more)}</ul></details>"
        if more
        else ""
    )
    return (
        f'<aside class="warnings"><h2>Worth a look</h2><ul>{"".join(shown)}</ul>{drawer}</aside>\n'
    )


def _headline(report: Report) -> str:
    written = sum(report.splits.values())
    splits = " · ".join(f"{count:,} {escape(name)}" for name, count in report.splits.items())
    sources = len(report.by_source)
    read_from = "1 source" if sources == 1 else f"{sources} sources"
    if report.languages:
        read_from += f" · {escape(', '.join(report.languages))}"
    figures = [
        (f"{report.rows_in:,}", "rows read", read_from),
        (f"{report.kept:,}", "rows kept", f"{percent(report.kept, report.rows_in)} of all"),
        (f"{written:,}", "pairs written", splits),
        (
            format_seconds(report.seconds),
            "running time",
            f"{format_count(report.pairs_per_second)} rows/s · "
            f"{format_bytes(report.peak_rss_bytes)} memory at most",
        ),
    ]
    cards = "".join(
        f"<div><dt>{label}</dt><dd><strong>{value}</strong><small>{note}</small></dd></div>"
        for value, label, note in figures
    )
    return f'<dl class="figures">{cards}</dl>\n'


def _examples(report: Report) -> str:
    """A closed drawer of pairs per reason, most frequent first."""
    reasons = sorted(report.examples, key=lambda reason: (-report.dropped.get(reason, 0), reason))
    return "".join(_drawer(report, reason) for reason in reasons if report.examples[reason])


def _drawer(report: Report, reason: str) -> str:
    examples = report.examples[reason][:EXAMPLES_PER_REASON]
    items = "".join(_example(pair, report.languages) for pair in examples)
    title = words(reason)
    if reason in REASONS and REASONS[reason].words != title:
        title += f" <em>{escape(REASONS[reason].words)}</em>"
    count = f"<span>{len(examples)} of {report.dropped.get(reason, 0):,}</span>"
    return (
        f"<details><summary>{title} {count}</summary>{_side_names(report.languages)}"
        f"<ol>{items}</ol></details>\n"
    )


def _side_names(languages: Sequence[str]) -> str:
    left, right = side_names(languages)
    return f'<p class="sides"><span>{escape(left)}</span><span>{escape(right)}</span></p>'


def _example(pair: Mapping[str, Any], languages: Sequence[str]) -> str:
    codes = str(pair.get("languages", "")).partition("-")
    sides = "".join(
        f'<p lang="{escape(code)}" dir="auto">'
        f"{corpus_text(pair[side], pair.get(f'{side}_marks', ()))}</p>"
        for side, code in (("left", codes[0]), ("right", codes[2]))
    )
    where = escape(pair["source"])
    if len(languages) > 1:
        where += f" · {escape(''.join(codes))}"
    return f"<li>{sides}<small>{where}</small></li>"
