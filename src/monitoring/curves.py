"""curves.html: a run's loss, learning rate and speed as pictures, drawn from metrics.jsonl.

One file without scripts or network, so it can be mailed or opened from a mounted disk.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.files import write_text
from src.monitoring.metrics import METRICS_FILE, read_metrics
from src.units import format_count

CURVES_FILE = "curves.html"
_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 14, 30
_TICKS = 4

Points = list[tuple[float, float]]

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #6e7781; --line: #d8dee4;
  --a: #0969da; --b: #bc4c00; --c: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #8b949e; --line: #30363d;
  --a: #58a6ff; --b: #ffa657; --c: #56d364; } body { background: #0d1117; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1360px;
  margin: 2rem auto; padding: 0 1rem; font-variant-numeric: tabular-nums; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .25rem; }
svg { width: 100%; height: auto; } text { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--line); } .series { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.s0 { stroke: var(--a); } .s1 { stroke: var(--b); } .s2 { stroke: var(--c); }
.k0 { fill: var(--a); } .k1 { fill: var(--b); } .k2 { fill: var(--c); }
p { color: var(--soft); }
"""


@dataclass(frozen=True)
class _Chart:
    """One picture: title, what to draw against the step, how to print values.

    Without `least_series` of its series in the records, a picture says nothing and is left out.
    """

    title: str
    series: tuple[tuple[str, str], ...]
    format_value: Callable[[float], str]
    least_series: int = 1


_CHARTS = (
    _Chart(
        "Loss, nats per target token",
        (("loss", "training"), ("eval_loss", "dev")),
        lambda value: f"{value:.2f}",
    ),
    _Chart(
        "Parts of the loss",
        (("cross_entropy", "references"), ("divergence", "teacher")),
        lambda value: f"{value:.2f}",
        least_series=2,
    ),
    _Chart("Learning rate", (("lr", "learning rate"),), lambda value: f"{value:.1e}"),
    _Chart("Gradient norm before clipping", (("grad_norm", "norm"),), lambda value: f"{value:.2f}"),
    _Chart("Tokens per second", (("tokens_per_second", "tokens/s"),), format_count),
    _Chart(
        "Share of computed tokens that are padding",
        (("padding_fraction", "padding"),),
        lambda value: f"{100 * value:.1f} %",
    ),
)


def write_curves(folder: Path) -> Path:
    """Draws a run folder's metrics.jsonl into its curves.html and returns the path."""
    records = read_metrics(folder / METRICS_FILE)
    figures = [_figure(chart, records) for chart in _CHARTS]
    title = html.escape(folder.name)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{len(records)} records from {METRICS_FILE}</p>"
        f"<main>{''.join(figures)}</main></html>\n"
    )
    path = folder / CURVES_FILE
    write_text(path, page)
    return path


def _figure(chart: _Chart, records: Sequence[dict[str, Any]]) -> str:
    drawn = []
    for key, label in chart.series:
        points = [
            (float(record["step"]), float(record[key]))
            for record in records
            if record.get(key) is not None
        ]
        if points:
            drawn.append((label, points))
    if not drawn or len(drawn) < chart.least_series:
        return ""
    caption = html.escape(chart.title)
    return f"<figure><figcaption>{caption}</figcaption>{_svg(drawn, chart.format_value)}</figure>"


def _svg(series: Sequence[tuple[str, Points]], format_value: Callable[[float], str]) -> str:
    steps = [step for _, points in series for step, _ in points]
    values = [value for _, points in series for _, value in points]
    low, high = _padded_range(values)
    first, last = min(steps), max(*steps, min(steps) + 1)

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        y = _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for number in range(_TICKS + 1):
        value = low + (high - low) * number / _TICKS
        _, y = place(first, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        label = html.escape(format_value(value))
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>')
        step = first + (last - first) * number / _TICKS
        x, _ = place(step, low)
        parts.append(f'<text x="{x}" y="{_HEIGHT - 8}" text-anchor="middle">{step:.0f}</text>')
    for number, (label, points) in enumerate(series):
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline class="series s{number}" points="{path}"/>')
        parts.append(
            f'<text class="k{number}" x="{_WIDTH - _RIGHT - 8}" y="{_TOP + 14 * (number + 1)}" '
            f'text-anchor="end">{html.escape(label)}</text>'
        )
    parts.append("</svg>")
    return "".join(parts)


def _padded_range(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values, widened so that a flat line is drawn in the middle."""
    low, high = min(values), max(values)
    if math.isclose(low, high):
        margin = abs(low) / 10 or 1.0
        return low - margin, high + margin
    return low, high
