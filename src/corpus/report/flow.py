"""Sections of the report on where the rows went: all together, and source by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from src.corpus.report.account import Report
from src.corpus.report.charts import bar
from src.corpus.report.markup import chart, heads, legend, number, percent, row, table, words
from src.corpus.report.reasons import GROUPS, group_of, in_order

_LEVELS_OF_HEAT = 5
_HEAT_STEP = 0.04  # of a source's rows


def flow(report: Report) -> str:
    """One bar for all rows, then what each reason took from what had come that far."""
    if not report.rows_in:
        return "<p>No rows were read.</p>"
    return _overview(report) + _funnel(report)


def _overview(report: Report) -> str:
    written = sum(report.splits.values())
    groups = _groups(report.dropped)
    parts = [
        ("kept", "written", written),
        ("spare", "good, not chosen", report.sampled_out),
        *((group, GROUPS[group], groups[group]) for group in GROUPS),
    ]
    shown = [part for part in parts if part[2]]
    picture = bar([(style, count / report.rows_in) for style, _, count in shown], "all rows")
    items = (
        (style, f"{escape(label)} <b>{count:,}</b> {percent(count, report.rows_in)}")
        for style, label, count in shown
    )
    return f'<div class="flow">{picture}{legend(items)}</div>\n'


def _groups(dropped: Mapping[str, int]) -> Counter[str]:
    groups: Counter[str] = Counter()
    for reason, count in dropped.items():
        groups[group_of(reason)] += count
    return groups


def _funnel(report: Report) -> str:
    head = [
        *heads("Rows"),
        *heads("what is left, and what is lost here", style="chart"),
        *heads("rows", "of all", "left", style="n"),
    ]
    return table(head, _funnel_rows(report), "funnel")


def _funnel_rows(report: Report) -> Iterator[str]:
    everything = report.rows_in
    left = everything
    yield _level("read", "spare", everything, everything, left="", style="total")
    for reason in in_order(report.dropped):
        if count := report.dropped[reason]:
            left -= count
            picture = bar(
                [("spare", left / everything), (group_of(reason), count / everything)], reason
            )
            yield row(
                words(reason),
                chart(picture),
                number(f"−{count:,}"),
                number(percent(count, everything)),
                number(f"{left:,}"),
            )
    if report.sampled_out:
        left -= report.sampled_out
        picture = bar(
            [("spare", left / everything), ("unchosen", report.sampled_out / everything)], "sampled"
        )
        yield row(
            "good, not chosen",
            chart(picture),
            number(f"−{report.sampled_out:,}"),
            number(percent(report.sampled_out, everything)),
            number(f"{left:,}"),
        )
    before = 0
    for split, count in report.splits.items():
        if count:
            yield _level(
                escape(split), "kept", count, everything, begin=before / everything, style="total"
            )
        before += count


def _level(
    name: str,
    colour: str,
    count: int,
    everything: int,
    *,
    begin: float = 0.0,
    left: str = "",
    style: str = "",
) -> str:
    return row(
        name,
        chart(bar([(colour, count / everything)], name, begin=begin)),
        number(f"{count:,}"),
        number(percent(count, everything)),
        number(left),
        style=style,
    )


def sources(report: Report) -> str:
    """Per source what became of its rows, and its share of the corpus before and after."""
    if not report.by_source:
        return ""
    ordered = sorted(report.by_source.items(), key=lambda item: (-item[1]["rows_in"], item[0]))
    head = [
        *heads("Source"),
        *heads("rows", "kept", style="n"),
        *heads("what became of them", style="chart"),
        *heads("share of all, read → kept", style="n"),
        *heads("most often dropped for"),
    ]
    rows = (_source_row(name, counts, report) for name, counts in ordered)
    return table(head, rows, "sources") + _matrix(report, [name for name, _ in ordered])


def _source_row(name: str, counts: Mapping[str, Any], report: Report) -> str:
    rows, kept = counts["rows_in"], counts["kept"]
    main = max(counts["dropped"].items(), key=lambda item: item[1], default=("", 0))
    reason = f"{words(main[0])}, {percent(main[1], rows)}" if main[1] else "–"
    groups = _groups(counts["dropped"])
    written = sum(counts.get("splits", {}).values())
    parts = [("kept", written), ("spare", kept - written)]
    parts += [(group, groups[group]) for group in GROUPS]
    picture = bar([(style, count / max(rows, 1)) for style, count in parts], name)
    shares = f"{percent(rows, report.rows_in)} → {percent(kept, report.kept)}"
    return row(
        escape(name),
        number(f"{rows:,}"),
        number(percent(kept, rows)),
        chart(picture),
        number(shares),
        f"<td>{reason}</td>",
    )


def _matrix(report: Report, names: list[str]) -> str:
    """Every reason by every source, in shares of the source's rows; more is darker."""
    reasons = [reason for reason in in_order(report.dropped) if report.dropped[reason]]
    if not reasons:
        return ""
    rows = []
    for reason in reasons:
        cells = [_heat(report.dropped[reason], report.rows_in)]
        for name in names:
            counts = report.by_source[name]
            cells.append(_heat(counts["dropped"].get(reason, 0), counts["rows_in"]))
        rows.append(row(words(reason), *cells))
    rows += [
        row(label, *cells, style="total")
        for label, cells in (
            ("good, not chosen", _plain(report, names, "sampled_out")),
            *((escape(split), _plain(report, names, split)) for split in report.splits),
        )
    ]
    head = [*heads("Of the rows of"), *heads("all", *names, style="n")]
    body = table(head, rows, "matrix")
    return f"<details><summary>Every reason by source</summary>{body}</details>\n"


def _heat(count: int, rows: int) -> str:
    level = min(_LEVELS_OF_HEAT, int(count / max(rows, 1) / _HEAT_STEP + 0.5))
    text = percent(count, rows) if count else "·"
    return f'<td class="n heat{level}" title="{count:,} rows">{text}</td>'


def _plain(report: Report, names: list[str], what: str) -> list[str]:
    def count_in(counts: Mapping[str, Any]) -> int:
        if what == "sampled_out":
            return int(counts.get("sampled_out", 0))
        return int(counts.get("splits", {}).get(what, 0))

    everything = {"sampled_out": report.sampled_out, "splits": report.splits}
    pairs = [(count_in(everything), report.rows_in)]
    pairs += [(count_in(report.by_source[n]), report.by_source[n]["rows_in"]) for n in names]
    return [
        f'<td class="n" title="{count:,} rows">{percent(count, rows) if count else "·"}</td>'
        for count, rows in pairs
    ]
