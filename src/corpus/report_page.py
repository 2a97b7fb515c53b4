"""report.html: the account of a `process` run as one page, for people.

One file without scripts, fonts or pictures from elsewhere, so it can be mailed and opened years
later. Whatever comes from the corpus is escaped: it is data, even where it looks like markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from src.corpus.report_charts import bar, histogram
from src.corpus.report_style import STYLE
from src.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from src.corpus.report import Report

EXAMPLES_SHOWN = 20
_LONGEST_EXAMPLE = 240

_HISTOGRAM_TITLES = {
    "english_words": "English length, words",
    "chinese_characters": "Chinese length, characters",
    "length_ratio": "Length ratio, English to Chinese",
    "score": "Quality score",
}
# Controls, zero-width and direction marks, lone surrogates.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff\ufeff]")


def render_page(report: Report) -> str:
    """The whole page as HTML."""
    sections = [
        _warnings(report.warnings),
        _headline(report),
        _section("Where the rows went", _flow(report) + _reasons(report)),
        _section("Sources", _sources(report)),
        _section("Lengths and scores", _histograms(report.histograms)),
        _section("Coverage of held-out language", _coverage(report.coverage)),
        _section("Repaired and kept", _repairs(report)),
        _section("Examples of what was dropped", _examples(report)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Corpus report: {report.kept:,} of {report.rows_in:,} rows kept</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="brand">LinguaBridge</p><h1>Corpus report</h1></header>\n'
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>\n" if body else ""


def _table(head: Iterable[str], rows: Iterable[str], style: str = "") -> str:
    """A table from header cells and finished rows; numbers go into cells of class `n`."""
    return (
        f'<div class="wide"><table class="{style}"><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
    )


def _percent(part: float, whole: float) -> str:
    """`1234 of 10000` as `12.3 %`; `0.0 %` and `100.0 %` mean none and all."""
    if not whole:
        return "–"
    share = f"{100 * part / whole:.1f} %"
    if share == "0.0 %" and part:
        return "&lt;0.1 %"
    if share == "100.0 %" and part != whole:
        return "&gt;99.9 %"
    return share


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<aside class="warnings"><h2>Worth a look</h2><ul>{items}</ul></aside>\n'


def _count_of_sources(count: int) -> str:
    return "1 source" if count == 1 else f"{count} sources"


def _headline(report: Report) -> str:
    written = sum(report.splits.values())
    splits = " · ".join(f"{count:,} {escape(name)}" for name, count in report.splits.items())
    figures = [
        (f"{report.rows_in:,}", "rows read", _count_of_sources(len(report.by_source))),
        (f"{report.kept:,}", "rows kept", f"{_percent(report.kept, report.rows_in)} of all"),
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


def _flow(report: Report) -> str:
    """One bar for all rows: written, not chosen, dropped."""
    if not report.rows_in:
        return "<p>No rows were read.</p>"
    parts = [
        ("kept", "written", sum(report.splits.values())),
        ("spare", "good, not chosen", report.sampled_out),
        ("lost", "dropped", sum(report.dropped.values())),
    ]
    shown = [part for part in parts if part[2]]
    legend = "".join(
        f'<li><i class="{style}"></i>{label} <b>{count:,}</b> '
        f"<span>{_percent(count, report.rows_in)}</span></li>"
        for style, label, count in shown
    )
    picture = bar([(style, count / report.rows_in) for style, _, count in shown], "all rows")
    return f'<div class="flow">{picture}<ul class="legend">{legend}</ul></div>\n'


def _reasons(report: Report) -> str:
    """Dropped rows by reason, most frequent first; bars are relative to the longest."""
    reasons = sorted(report.dropped.items(), key=lambda item: -item[1])
    reasons = [(reason, count) for reason, count in reasons if count]
    if not reasons:
        return "<p>Nothing was dropped.</p>"
    longest = reasons[0][1]
    rows = (
        f'<tr><th scope="row">{_words(reason)}</th>'
        f'<td class="chart">{bar([("lost", count / longest)], reason)}</td>'
        f'<td class="n">{count:,}</td><td class="n">{_percent(count, report.rows_in)}</td></tr>'
        for reason, count in reasons
    )
    head = (
        "<th>Dropped because</th>",
        '<th class="chart"></th>',
        '<th class="n">rows</th>',
        '<th class="n">of all</th>',
    )
    return _table(head, rows)


def _sources(report: Report) -> str:
    """Per source: rows, survivors, and its share of the corpus before and after."""
    rows = [
        _source_row(name, counts, report)
        for name, counts in sorted(
            report.by_source.items(), key=lambda item: (-item[1]["rows_in"], item[0])
        )
    ]
    head = (
        "<th>Source</th>",
        '<th class="n">rows</th>',
        '<th class="n">kept</th>',
        '<th class="chart">share of the corpus, before and after</th>',
        "<th>most often dropped for</th>",
    )
    return _table(head, rows, "sources") if rows else ""


def _source_row(name: str, counts: Mapping[str, Any], report: Report) -> str:
    rows, kept = counts["rows_in"], counts["kept"]
    before, after = rows / max(report.rows_in, 1), kept / max(report.kept, 1)
    main = max(counts["dropped"].items(), key=lambda item: item[1], default=("", 0))
    reason = f"{_words(main[0])}, {_percent(main[1], rows)}" if main[1] else "–"
    pictures = bar([("spare", before)], "share before") + bar([("kept", after)], "share after")
    return (
        f'<tr><th scope="row">{escape(name)}</th><td class="n">{rows:,}</td>'
        f'<td class="n">{_percent(kept, rows)}</td>'
        f'<td class="chart pair">{pictures}<small>{_percent(before, 1)} → '
        f"{_percent(after, 1)}</small></td><td>{reason}</td></tr>"
    )


def _histograms(histograms: Mapping[str, Mapping[str, list[float]]]) -> str:
    if not histograms:
        return ""
    figures = []
    for name, data in histograms.items():
        title = _HISTOGRAM_TITLES.get(name, name.replace("_", " "))
        picture = histogram(data["edges"], data["before"], data["after"], title)
        figures.append(f"<figure><figcaption>{escape(title)}</figcaption>{picture}</figure>")
    legend = (
        '<ul class="legend"><li><i class="spare"></i>rows read</li>'
        '<li><i class="kept"></i>pairs written</li>'
        "<li><span>the last bar includes what lies beyond</span></li></ul>"
    )
    return f'{legend}<div class="grid">{"".join(figures)}</div>\n'


def _coverage(coverage: Mapping[str, float]) -> str:
    if not coverage:
        return ""
    longest = max(*coverage.values(), 1e-9)
    rows = []
    for name, share in coverage.items():
        style = "kept" if name == "selected" else "spare"
        rows.append(
            f'<tr><th scope="row">{_words(name)}</th>'
            f'<td class="chart">{bar([(style, share / longest)], name)}</td>'
            f'<td class="n">{100 * share:.1f} %</td></tr>'
        )
    head = (
        "<th>Selection</th>",
        '<th class="chart"></th>',
        '<th class="n">of 1- to 3-word phrases</th>',
    )
    return _table(head, rows)


def _repairs(report: Report) -> str:
    repairs = sorted(report.repaired.items(), key=lambda item: -item[1])
    rows = [
        f'<tr><th scope="row">{_words(name)}</th><td class="n">{count:,}</td>'
        f'<td class="n">{_percent(count, report.rows_in)}</td></tr>'
        for name, count in repairs
        if count
    ]
    head = ("<th>Repair</th>", '<th class="n">rows</th>', '<th class="n">of all</th>')
    return _table(head, rows, "narrow") if rows else ""


def _examples(report: Report) -> str:
    """A closed drawer of pairs per reason, in the order of the table above."""
    drawers = []
    reasons = sorted(report.examples, key=lambda reason: -report.dropped.get(reason, 0))
    for reason in reasons:
        examples = report.examples[reason][:EXAMPLES_SHOWN]
        if not examples:
            continue
        items = "".join(
            f'<li><p lang="en">{_text(pair["en"])}</p><p lang="zh">{_text(pair["zh"])}</p>'
            f"<small>{escape(pair['source'])}</small></li>"
            for pair in examples
        )
        drawers.append(
            f"<details><summary>{_words(reason)} <span>{len(examples)} of "
            f"{report.dropped.get(reason, 0):,}</span></summary><ol>{items}</ol></details>\n"
        )
    return "".join(drawers)


def _text(text: str) -> str:
    """Corpus text made safe and short, with what cannot be seen spelt out."""
    if not text.strip():
        return "<i>(empty)</i>"
    cut = text[:_LONGEST_EXAMPLE]
    seen = _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", cut)
    return escape(seen) + ("…" if len(text) > len(cut) else "")
