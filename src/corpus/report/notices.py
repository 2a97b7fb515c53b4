"""Warnings: what in the counts a person should look at, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from src.corpus.report.account import Report
from src.corpus.report.reasons import REASONS, group_of, in_order

_REASON_ABOVE = 0.15
_SOURCE_LOSES_ABOVE = 0.5
_REPEATED_ABOVE = 0.5
_UNJUDGED_ABOVE = 0.2
_DOMINANT_ABOVE = 0.75
# Below this many rows a share says more about chance than about the source.
_FROM_ROWS = 50


def find_warnings(report: Report) -> list[str]:
    """What in the counts a person should look at, most telling first.

    A source that loses more than 15 % of its rows to one reason usually has one cause that can
    be mended at the source: a shifted file, a wrong encoding, pages nobody translated.
    """
    warnings: list[tuple[float, str]] = []
    for name, counts in report.by_source.items():
        warnings += _of_source(name, counts)
    warnings += _of_duplicates(report)
    warnings += _of_adequacy("the pairs", report.adequacy)
    for name, counts in report.by_source.items():
        warnings += _of_adequacy(name, counts)
    warnings += _of_dominance(report)
    texts = [text for _, text in sorted(warnings, key=lambda item: (-item[0], item[1]))]
    texts += [
        text
        for direction, lengths in report.token_lengths.items()
        for text in _of_lengths(direction, lengths)
    ]
    texts += [f"the {split} split is empty" for split, n in report.splits.items() if not n]
    return texts


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _of_source(name: str, counts: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    rows, kept = counts["rows_in"], counts["kept"]
    if not rows:
        yield 1.0, f"{name} holds no rows"
    elif not kept:
        yield 1.0, f"nothing of {name} was kept: all {rows:,} rows were dropped"
    else:
        if not counts.get("splits", {}).get("train", 1):
            yield 1.0, f"nothing of {name} is in train, though {kept:,} of its rows were kept"
        if rows >= _FROM_ROWS:
            yield from _of_losses(name, rows, counts["dropped"])


def _of_losses(name: str, rows: int, dropped: Mapping[str, int]) -> Iterator[tuple[float, str]]:
    lost = sum(dropped.values())
    # One reason that takes more than half says it all.
    if lost > _SOURCE_LOSES_ABOVE * rows >= max(dropped.values()):
        parts = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))[:3]
        words = ", ".join(f"{r.replace('_', ' ')} {_percent(n / rows)}" for r, n in parts if n)
        yield lost / rows, f"{name} loses {_percent(lost / rows)} of its rows: {words}"
        return
    for reason in in_order(dropped):
        if dropped[reason] > _REASON_ABOVE * rows:
            share = dropped[reason] / rows
            known = REASONS.get(reason)
            tail = f"is {known.words}" if known else f"was dropped as {reason}"
            yield share, f"{_percent(share)} of {name} {tail}"


def _of_duplicates(report: Report) -> Iterator[tuple[float, str]]:
    count = sum(n for reason, n in report.dropped.items() if group_of(reason) == "repeated")
    if report.rows_in >= _FROM_ROWS and count > _REPEATED_ABOVE * report.rows_in:
        share = count / report.rows_in
        yield share, f"{_percent(share)} of all rows repeat what other rows say ({count:,} rows)"


def _of_adequacy(of_what: str, counts: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    unjudged = counts.get("unjudged", 0)
    total = unjudged + counts.get("judged", 0)
    if total >= _FROM_ROWS and unjudged > _UNJUDGED_ABOVE * total:
        share = unjudged / total
        yield (
            share,
            f"adequacy could not judge {_percent(share)} of {of_what}: their words are too rare "
            f"in this corpus",
        )


def _of_dominance(report: Report) -> Iterator[tuple[float, str]]:
    train = {
        name: counts.get("splits", {}).get("train", 0) for name, counts in report.by_source.items()
    }
    total = sum(train.values())
    if len(train) < 2 or total < _FROM_ROWS:  # noqa: PLR2004  one source is all of it
        return
    for name, count in train.items():
        if count > _DOMINANT_ABOVE * total:
            before = report.by_source[name]["kept"] / max(report.kept, 1)
            yield (
                count / total,
                f"{name} is {_percent(count / total)} of the training pairs "
                f"({_percent(before)} before sampling); its weight in data.sources changes that",
            )


def _of_lengths(direction: str, lengths: Mapping[str, Any]) -> Iterator[str]:
    recommended = lengths.get("recommendation")
    if recommended is None:
        return
    for model, configured in configured_lengths(lengths).items():
        if configured >= recommended:  # room to spare costs nothing: batches are as long as needed
            continue
        key = f"{model}.max_seq_length" if model else "max_seq_length"
        yield (
            f"{direction}: {key}={configured:,} leaves out {_share_cut(lengths, configured)}; "
            f"{recommended:,} is recommended, which leaves out {_share_cut(lengths, recommended)}"
        )


def configured_lengths(lengths: Mapping[str, Any]) -> dict[str, int]:
    """The configured max_seq_length by model; the name is empty where there is but one."""
    configured = lengths.get("configured")
    if configured is None:
        return {}
    return dict(configured) if isinstance(configured, Mapping) else {"": int(configured)}


def _share_cut(lengths: Mapping[str, Any], length: int) -> str:
    cut = {item["max_seq_length"]: item["cut_pairs"] for item in lengths.get("candidates", ())}
    if length not in cut:
        return "nothing" if length >= lengths.get("max", length + 1) else "an unknown share"
    if not cut[length]:
        return "nothing"
    return f"{100 * cut[length] / max(lengths.get('pairs', 0), 1):.2g} % of the pairs"
