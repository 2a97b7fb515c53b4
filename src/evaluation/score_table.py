"""Scores as a table for people, on stderr: stdout belongs to `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    table = Table(title=Text(title), title_justify="left")
    table.add_column("direction", no_wrap=True)
    for heading in ("pairs", "BLEU", "chrF", "chrF++", "exact", "length", "pairs/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for direction, values in results.items():
        rate = values.get("sentences_per_second")
        table.add_row(
            direction,
            f"{values['n']:,}",
            f"{values['bleu']:.2f}",
            f"{values['chrf']:.2f}",
            f"{values['chrf++']:.2f}",
            f"{100 * values['exact_match']:.1f} %",
            f"{values['length_ratio']:.3f}",
            "-" if rate is None else f"{rate:.1f}",
        )
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
