"""`run.py monitor`: how a run is doing, from the files it writes, while it runs and afterwards.

Only metrics.jsonl and summary.json are read, so a run can be watched from another terminal, over a
mounted disk, or long after its end; the run knows nothing of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from src.errors import EXIT_DONE, DataError
from src.monitoring.metrics import METRICS_FILE, read_metrics
from src.units import format_bytes, format_count, format_seconds

_REFRESH_SECONDS = 2.0
_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 48
# A run that has been silent for this many of its usual intervals has probably ended.
_SILENT_INTERVALS = 20
_LEAST_SILENT_SECONDS = 120.0
# Ranks whose passes differ by less than this share of the mean are worth no word.
_EVEN = 1.02


def snapshot(folder: Path, *, now: float | None = None) -> dict[str, Any]:
    """The state of a run as a JSON object.

    Args:
        folder: output_dir of the run.
        now: Seconds since 1970. None: the clock's.

    Returns:
        `state` (waiting, running, silent, finished), `latest` logged record, `latest_eval`,
        `best_eval_loss`, `latest_fault` (a sick step or a rollback), `silent_seconds` and, when
        finished, `summary`.

    Raises:
        DataError: If there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the output_dir of a run")
    path = folder / METRICS_FILE
    records = read_metrics(path)
    steps = [record for record in records if "loss" in record]
    evaluations = [record for record in records if "eval_loss" in record]
    faults = [record for record in records if "fault" in record]
    summary = _read_summary(folder)
    silent = (time.time() if now is None else now) - path.stat().st_mtime if records else 0.0
    return {
        "folder": str(folder),
        "state": _state(steps, summary, silent),
        "latest": steps[-1] if steps else None,
        "latest_eval": evaluations[-1] if evaluations else None,
        "best_eval_loss": min(
            (r["eval_loss"] for r in evaluations if r["eval_loss"] is not None), default=None
        ),
        "latest_fault": faults[-1] if faults else None,
        "silent_seconds": round(max(0.0, silent), 1),
        "summary": summary,
    }


def watch(folders: Sequence[Path], *, once: bool, as_json: bool) -> int:
    """Shows runs until all are finished, or once; returns the exit code.

    Args:
        folders: Of the runs.
        once: Whether to show the state and end.
        as_json: One JSON object instead of pictures; implies `once`.

    Raises:
        DataError: If a folder is missing.
    """
    if as_json:
        print(json.dumps([snapshot(folder) for folder in folders], ensure_ascii=False))
        return EXIT_DONE
    console = Console()
    if once or not console.is_terminal:
        console.print(_render(folders))
        return EXIT_DONE
    with Live(_render(folders), console=console, auto_refresh=False) as live:
        while not all(snapshot(folder)["state"] == "finished" for folder in folders):
            time.sleep(_REFRESH_SECONDS)
            live.update(_render(folders), refresh=True)
    return EXIT_DONE


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """Numbers as a row of bars, lowest to highest; each bar is the mean of its share of them."""
    if not values:
        return ""
    width = min(width, len(values))
    edges = [len(values) * index // width for index in range(width + 1)]
    means = [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_SPARK[round((value - low) / span * (len(_SPARK) - 1))] for value in means)


def _state(steps: Sequence[dict[str, Any]], summary: object, silent_seconds: float) -> str:
    if summary is not None:
        return "finished"
    if not steps:
        return "waiting"
    usual = steps[-1]["data_seconds"] + steps[-1]["compute_seconds"]
    limit = max(_LEAST_SILENT_SECONDS, _SILENT_INTERVALS * usual)
    return "silent" if silent_seconds > limit else "running"


def _render(folders: Sequence[Path]) -> RenderableType:
    return Group(*(_panel(folder) for folder in folders))


def _panel(folder: Path) -> Panel:
    state = snapshot(folder)
    title = f"{folder}  {state['state']}"
    latest = state["latest"]
    if latest is None:
        return Panel(Text("nothing logged yet"), title=title, title_align="left")
    records = read_metrics(folder / METRICS_FILE)
    losses = [r["loss"] for r in records if r.get("loss") is not None]
    bar = ProgressBar(total=latest["total_steps"], completed=latest["step"])
    parts: list[RenderableType] = [_progress(latest, state), bar, _numbers(latest, state)]
    parts.append(Text(f"loss  {sparkline(losses)}"))
    devices = _devices(latest)
    if devices:
        parts.append(Text(devices))
    fault = state["latest_fault"]
    if fault is not None:
        parts.append(Text(f"step {fault['step']:,}: {fault['message']}"))
    if state["state"] == "silent":
        silent = format_seconds(state["silent_seconds"])
        parts.append(
            Text(f"no news for {silent}: the run has ended or hangs; run it again to resume")
        )
    return Panel(Group(*parts), title=title, title_align="left")


def _progress(latest: dict[str, Any], state: dict[str, Any]) -> Text:
    done = latest["step"] / latest["total_steps"]
    text = f"step {latest['step']:,} of {latest['total_steps']:,}  {100 * done:.1f} %"
    if state["state"] == "running":
        text += f"  {format_seconds(latest['seconds_left'])} left"
    return Text(text)


def _numbers(latest: dict[str, Any], state: dict[str, Any]) -> Table:
    busy = latest["compute_seconds"] / max(1e-9, latest["compute_seconds"] + latest["data_seconds"])
    cells = {
        "loss": _number(latest["loss"], ".4f"),
        "dev loss": _number((state["latest_eval"] or {}).get("eval_loss"), ".4f"),
        "best dev": _number(state["best_eval_loss"], ".4f"),
        "lr": f"{latest['lr']:.2e}",
        "grad norm": _number(latest["grad_norm"], ".3f"),
        "tokens/s": format_count(latest["tokens_per_second"]),
        "pairs/s": format_count(latest["samples_per_second"]),
        "computing": f"{100 * busy:.0f} %",
        "memory": format_bytes(latest["memory_bytes"]),
    }
    table = Table.grid(padding=(0, 3))
    table.add_row(*(Text(name, style="dim") for name in cells))
    table.add_row(*cells.values())
    return table


def _devices(latest: dict[str, Any]) -> str:
    """What stands out about ranks and GPUs; empty where nothing does."""
    words = []
    if "gpu_utilization" in latest:
        words.append(f"GPUs {100 * latest['gpu_utilization']:.0f} % busy")
    if "gpu_temperature_celsius" in latest:
        words.append(f"the hottest {latest['gpu_temperature_celsius']:.0f} °C")
    if latest.get("imbalance", 1.0) > _EVEN:
        words.append(f"the slowest rank takes {latest['imbalance']:.2f} times the mean")
    return ", ".join(words)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _read_summary(folder: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None
