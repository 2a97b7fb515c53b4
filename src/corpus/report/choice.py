"""Section of the report on sampling: what was chosen, from whom, and what it covers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from src.corpus.report.account import Report
from src.corpus.report.charts import bar, curves
from src.corpus.report.markup import chart, heads, legend, number, percent, row, table, words

_FACTS_SHOWN_ELSEWHERE = ("strategy", "wanted", "candidates", "chosen", "gates")


def sampling(report: Report) -> str:
    """What the sampler did, the sources before and after, and the coverage of the choice."""
    return _facts(report.sampling) + _source_shares(report) + _coverage(report.coverage)


def fact(value: object) -> str:
    """A fact of any kind in words."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        if isinstance(value, Mapping):
            return ", ".join(f"{words(str(key))} {fact(item)}" for key, item in value.items())
        return escape(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _facts(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    items = []
    if "chosen" in facts and "candidates" in facts:
        share = percent(facts["chosen"], facts["candidates"])
        items.append(
            f"<li><b>{facts['chosen']:,}</b> of {facts['candidates']:,} pairs chosen ({share})"
            f"{_wanted(facts)}</li>"
        )
    if "strategy" in facts:
        items.append(f"<li>strategy <b>{words(facts['strategy'])}</b></li>")
    items += [_gate(languages, gate) for languages, gate in facts.get("gates", {}).items()]
    items += [
        f"<li>{words(name)} <b>{fact(value)}</b></li>"
        for name, value in facts.items()
        if name not in _FACTS_SHOWN_ELSEWHERE and value is not None
    ]
    return f'<ul class="facts">{"".join(items)}</ul>\n'


def _gate(languages: str, gate: Mapping[str, Any]) -> str:
    """What the sampler would not choose from, however new what it says."""
    name = f"{escape(languages)}: the gate"
    if not gate["left_out"]:
        return f"<li>{name} left out nothing</li>"
    share = percent(gate["left_out"], gate["candidates"])
    return (
        f"<li>{name} left out <b>{gate['left_out']:,}</b> pairs ({share}), those with a score "
        f"below {gate['lowest_score']:.3g}</li>"
    )


def _wanted(facts: Mapping[str, Any]) -> str:
    wanted = facts.get("wanted")
    return f", {wanted:,} wanted" if wanted is not None and wanted != facts["chosen"] else ""


def _source_shares(report: Report) -> str:
    """Each source's share of the candidates and of the training pairs."""
    if not report.sampled_out:
        return ""
    after = {
        name: counts.get("splits", {}).get("train", 0) for name, counts in report.by_source.items()
    }
    before = {
        name: after[name] + counts.get("sampled_out", 0)
        for name, counts in report.by_source.items()
    }
    totals = max(sum(before.values()), 1), max(sum(after.values()), 1)
    shares_of = {name: (before[name] / totals[0], after[name] / totals[1]) for name in before}
    longest = max([1e-9, *(share for shares in shares_of.values() for share in shares)])
    rows = []
    for name in sorted(before, key=lambda name: (-before[name], name)):
        shares = shares_of[name]
        pictures = bar([("spare", shares[0] / longest)], "before")
        pictures += bar([("kept", shares[1] / longest)], "after")
        rows.append(
            row(
                escape(name),
                f'<td class="chart pair">{pictures}</td>',
                number(percent(before[name], totals[0])),
                number(percent(after[name], totals[1])),
                number(f"{100 * (shares[1] - shares[0]):+.1f}".replace("-", "−")),
                number(percent(after[name], before[name])),
            )
        )
    head = [
        *heads("Source"),
        *heads("share before and after sampling", style="chart"),
        *heads("before", "after", "points", "chosen of its own", style="n"),
    ]
    keys = legend((("spare", "of the candidates"), ("kept", "of the training pairs")))
    return keys + table(head, rows, "shares")


def _coverage(coverage: Mapping[str, Any]) -> str:
    shares = {
        name: coverage[name]
        for name in ("selected", "random", "all")
        if isinstance(coverage.get(name), int | float)
    }
    if not shares:
        return ""
    labels = {"selected": "what was chosen", "random": "as many at random", "all": "all candidates"}
    styles = {"selected": "kept", "random": "chance", "all": "spare"}
    longest = max(*shares.values(), 1e-9)
    rows = [
        row(
            labels[name],
            chart(bar([(styles[name], share / longest)], labels[name])),
            number(f"{100 * share:.1f} %"),
        )
        for name, share in shares.items()
    ]
    head = [
        *heads("Coverage of held-out text"),
        *heads("", style="chart"),
        *heads("of its 1- to 3-word phrases", style="n"),
    ]
    return table(head, rows, "coverage") + _curve(coverage.get("curve") or {})


def _curve(curve: Mapping[str, Any]) -> str:
    shares = list(curve.get("share", ()))
    lines = {
        style: list(curve[name])
        for name, style in (("random", "chance"), ("selected", "kept"))
        if len(curve.get(name, ())) == len(shares)
    }
    if len(shares) < 2 or not lines:  # noqa: PLR2004  one point is no line
        return ""
    title = "Coverage as the sample grows"
    picture = curves(shares, lines, title, "curves")
    keys = legend((("kept", "what was chosen"), ("chance", "as many at random")))
    return (
        f'<figure class="broad"><figcaption>{title}</figcaption>{picture}'
        f'<p class="note">share of the sample, in the order it was chosen</p>{keys}</figure>\n'
    )
