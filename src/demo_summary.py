"""What the demo shows at its end: one table, three translations, and where to look next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from src.units import format_seconds


def show_summary(summary: dict[str, Any], folder: Path) -> None:
    """Prints the demo's result to stderr.

    Args:
        summary: Content of summary.json.
        folder: The demo's folder.
    """
    console = Console(stderr=True, highlight=False)
    console.print()
    console.print(_corpus_table(summary["process"]))
    console.print(_model_table(summary))
    for source, translation in summary["translations"].items():
        console.print(f"  {source}\n  [bold]→ {translation}[/bold]")
    seconds = summary["seconds"]
    parts = ", ".join(f"{stage} {format_seconds(value)}" for stage, value in seconds.items())
    console.print(f"\ntime: {format_seconds(sum(seconds.values()))} ({parts})")
    for label, path in _places(folder):
        console.print(f"{label:<10} {path}")
    python = os.path.relpath(sys.executable)
    console.print(f'\nTry: {python} run.py translate "Monday, March 5, 2029"')


def _corpus_table(process: dict[str, Any]) -> Table:
    table = Table(title="corpus", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("rows", justify="right")
    table.add_row("rows in", f"{process['rows_in']:,}")
    for reason, count in sorted(process["dropped"].items(), key=lambda item: -item[1]):
        if count:
            table.add_row(f"  dropped: {reason}", f"{count:,}")
    table.add_row("kept", f"{process['kept']:,}")
    for split, count in process["splits"].items():
        table.add_row(f"  {split}", f"{count:,}")
    return table


def _model_table(summary: dict[str, Any]) -> Table:
    table = Table(title="models", title_justify="left")
    for heading in ("model", "steps", "train loss", "dev loss", "direction"):
        table.add_column(heading, justify="left" if heading in ("model", "direction") else "right")
    for heading in ("BLEU", "chrF", "exact"):
        table.add_column(heading, justify="right")
    for name in ("teacher", "student"):
        run, scores = summary[name], summary["evaluate"][name]
        for number, (direction, values) in enumerate(_directions(scores)):
            facts = (
                (
                    name,
                    str(run["steps"]),
                    f"{run['final_loss']:.3f}",
                    f"{run['best_eval_loss']:.3f}",
                )
                if number == 0
                else ("", "", "", "")
            )
            table.add_row(
                *facts,
                direction,
                f"{values['bleu']:.1f}",
                f"{values['chrf']:.1f}",
                f"{100 * values['exact_match']:.1f} %",
            )
    return table


def _directions(scores: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    return ((name, values) for name, values in scores.items() if isinstance(values, dict))


def _places(folder: Path) -> Iterable[tuple[str, Path]]:
    return (
        ("report", folder / "data" / "report.html"),
        ("curves", folder / "student" / "curves.html"),
        ("models", folder / "student" / "final"),
        ("summary", folder / "summary.json"),
    )
