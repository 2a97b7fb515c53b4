"""Sections of the report on what was measured: lengths, scores, tokens, repairs, time."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from src.corpus.report.account import Report
from src.corpus.report.charts import bar, histogram
from src.corpus.report.choice import fact
from src.corpus.report.markup import (
    chart,
    heads,
    legend,
    number,
    percent,
    row,
    side_names,
    table,
    words,
)
from src.corpus.report.notices import configured_lengths
from src.units import format_bytes, format_count, format_seconds

_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


def histograms(report: Report) -> str:
    """What was read and what was written, by length and score."""
    if not report.histograms:
        return ""
    left, right = side_names(report.languages)
    titles = {
        "left_characters": f"{left} length, characters",
        "right_characters": f"{right} length, characters",
        "length_ratio": f"Length ratio, {left} to {right}",
        "quality": "Quality score",
        "adequacy": "Adequacy, of the pairs that could be judged",
    }
    figures = []
    for name, data in report.histograms.items():
        title = titles.get(name, name.replace("_", " ").capitalize())
        picture = histogram(
            data["edges"], data["before"], data["after"], title, limits=data.get("limits", ())
        )
        figures.append(f"<figure><figcaption>{escape(title)}</figcaption>{picture}</figure>")
    keys = [("spare", "rows read"), ("kept", "pairs written")]
    if any(data.get("limits") for data in report.histograms.values()):
        keys.append(("threshold", "limit"))
    note = '<p class="note">The last bar includes what lies beyond.</p>'
    return f'{legend(keys)}<div class="grid">{"".join(figures)}</div>{note}\n'


def adequacy(report: Report) -> str:
    """How many pairs could be judged, and what else there is to tell."""
    facts = report.adequacy
    if not facts:
        return ""
    judged, unjudged = facts.get("judged", 0), facts.get("unjudged", 0)
    items = [
        f"<li><b>{percent(judged, judged + unjudged)}</b> of {judged + unjudged:,} pairs could be "
        "judged; words of the others are too rare, and they stay</li>"
    ]
    items += [
        f"<li>{words(name)} <b>{fact(value)}</b></li>"
        for name, value in facts.items()
        if name not in ("judged", "unjudged") and value is not None
    ]
    return f'<ul class="facts">{"".join(items)}</ul>\n'


def token_lengths(report: Report) -> str:
    """Lengths in tokens by direction, and what each max_seq_length would leave out."""
    if not report.token_lengths:
        return ""
    rows = [
        row(
            escape(direction),
            number(f"{lengths.get('pairs', 0):,}"),
            number(f"{lengths.get('tokens', 0):,}"),
            *(number(f"{lengths[name]:,.0f}" if name in lengths else "–") for name in _PERCENTILES),
        )
        for direction, lengths in report.token_lengths.items()
    ]
    head = [*heads("Direction"), *heads("pairs", "tokens", "median", style="n")]
    head += heads("90 %", "95 %", "99 %", "longest", style="n")
    return table(head, rows) + _candidates(report.token_lengths)


def _candidates(token_lengths: Mapping[str, Mapping[str, Any]]) -> str:
    cut = {
        direction: {item["max_seq_length"]: item for item in lengths.get("candidates", ())}
        for direction, lengths in token_lengths.items()
    }
    candidates = sorted({length for items in cut.values() for length in items})
    if not candidates:
        return ""
    rows = []
    for length in candidates:
        cells = []
        for direction, lengths in token_lengths.items():
            item = cut[direction].get(length, {})
            for what, whole in (("cut_pairs", "pairs"), ("cut_tokens", "tokens")):
                share = percent(item[what], lengths.get(whole, 0)) if what in item else "–"
                cells.append(number(share))
        badges = _badges(length, token_lengths)
        rows.append(row(f"{length:,}{badges}", *cells, style="chosen" if badges else ""))
    head = heads("max_seq_length")
    for direction in token_lengths:
        head += heads(f"{direction}: pairs left out", f"{direction}: tokens", style="n")
    return table(head, rows, "candidates")


def _badges(length: int, token_lengths: Mapping[str, Mapping[str, Any]]) -> str:
    badges: dict[str, str] = {}
    for lengths in token_lengths.values():
        if lengths.get("recommendation") == length:
            badges["recommended"] = "good"
        for model, configured in configured_lengths(lengths).items():
            if configured == length:
                badges[f"{model} has this" if model else "configured"] = "plain"
    return "".join(
        f' <span class="badge {style}">{escape(text)}</span>' for text, style in badges.items()
    )


def repairs(report: Report) -> str:
    """Rows that were changed and kept, by repair."""
    ordered = sorted(report.repaired.items(), key=lambda item: -item[1])
    rows = [
        row(words(name), number(f"{count:,}"), number(percent(count, report.rows_in)))
        for name, count in ordered
        if count
    ]
    head = [*heads("Repair"), *heads("rows", "of all", style="n")]
    return table(head, rows, "narrow") if rows else ""


def phases(report: Report) -> str:
    """Where the time went."""
    if not report.phases:
        return ""
    longest = max([phase["seconds"] for phase in report.phases] + [1e-9])
    columns = {
        "rows/s": [_speed(phase) for phase in report.phases],
        "memory": [
            format_bytes(p["peak_rss_bytes"]) if "peak_rss_bytes" in p else ""
            for p in report.phases
        ],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    rows = [
        row(
            words(phase["name"]),
            chart(bar([("spare", phase["seconds"] / longest)], phase["name"])),
            number(format_seconds(phase["seconds"])),
            number(percent(phase["seconds"], report.seconds)),
            *(number(cells[index]) for cells in columns.values()),
        )
        for index, phase in enumerate(report.phases)
    ]
    head = [
        *heads("Phase"),
        *heads("", style="chart"),
        *heads("time", "of all", *columns, style="n"),
    ]
    return table(head, rows, "phases")


def _speed(phase: Mapping[str, Any]) -> str:
    rows, seconds = phase.get("rows", 0), phase["seconds"]
    return format_count(rows / seconds) if rows and seconds > 0 else ""
