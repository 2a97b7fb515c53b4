"""Scores as a table for people, on stderr: stdout belongs to `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show_scores(
    results: Mapping[str, Mapping[str, Any]],
    *,
    title: str,
    samples: Mapping[str, Sequence[tuple[str, str, str]]],
) -> None:
    """Prints one row per direction, the metrics' signatures, and a few samples.

    Args:
        results: Direction → the object that `scores.json` holds for it.
        title: What was scored.
        samples: Direction → source, reference and hypothesis of some sentences.
    """
    console = Console(stderr=True, highlight=False)
    table = _new_table(title, "direction")
    for direction, values in results.items():
        table.add_row(direction, *_cells(values), _p_value(values.get("test", {})))
    console.print(table)
    signatures = {
        f"{metric}|{signature}"
        for values in results.values()
        for metric, signature in values["signatures"].items()
    }
    for line in sorted(signatures):
        console.print(Text(line), style="dim")
    for direction, sentences in samples.items():
        console.print(f"\n{direction}, from the worst to the best:")
        for source, reference, hypothesis in sentences:
            for label, text in (
                ("source", source), ("reference", reference), ("model", hypothesis),
            ):  # fmt: skip
                console.print(Text(f"  {label:<10}{text}"))
            console.print()


def show_comparison(result: Mapping[str, Any], *, title: str) -> None:
    """Prints a table per direction; p-values are against the first system.

    Args:
        result: The content of comparison.json.
        title: What was compared.
    """
    console = Console(stderr=True, highlight=False)
    directions = dict.fromkeys(way for found in result["systems"].values() for way in found)
    for direction in directions:
        table = _new_table(f"{title}: {direction}", "system")
        for name, found in result["systems"].items():
            if direction in found:
                test = result["tests"].get(direction, {}).get(name, {})
                table.add_row(name, *_cells(found[direction]), _p_value(test))
        console.print(table)


def _new_table(title: str, first: str) -> Table:
    """A table that fits 80 columns."""
    table = Table(
        title=Text(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(first, overflow="fold", min_width=7)
    headings = ("pairs", "BLEU", "chrF", "chrF++", "exact", "len", "token", "ECE", "/s", "p")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(values: Mapping[str, Any]) -> list[str]:
    low, high = values.get("intervals", {}).get("bleu", (None, None))
    half = "" if low is None else f"±{(high - low) / 2:.1f}"
    return [
        f"{values['n']:,}",
        f"{values['bleu']:.2f}{half}",
        f"{values['chrf']:.2f}",
        f"{values['chrf++']:.2f}",
        _share(values["exact_match"]),
        f"{values['length_ratio']:.2f}",
        _share(values.get("token_accuracy")),
        _share(values.get("expected_calibration_error")),
        f"{values['sentences_per_second']:.0f}" if "sentences_per_second" in values else "-",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _p_value(test: Mapping[str, Any]) -> str:
    value = test.get("bleu", {}).get("p_value")
    return "-" if value is None else f"{value:.3f}"
