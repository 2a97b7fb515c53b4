"""The report's pictures as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 360, 150
_LEFT, _RIGHT, _TOP, _FLOOR = 4, 356, 8, 128
_CURVES_WIDTH, _CURVES_HEIGHT = 560, 240
_CURVES_LEFT, _CURVES_RIGHT, _CURVES_FLOOR = 50, 552, 212
_TICKS = 6
_MOST_ROWS = 5
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # the last one spans 0 to 1 in five rows
_COLUMNS = 4
_EPSILON = 1e-9
_BORDER = 0.03  # of the width: a number so near an end is written inwards
_TAIL_SHARE = 0.002


def bar(parts: Sequence[tuple[str, float]], label: str, *, begin: float = 0.0) -> str:
    """A horizontal bar of stacked parts.

    Args:
        parts: Style class and share (0 to 1) of each part, from the left.
        label: What it shows, for people who hear the page.
        begin: Where the first part begins, as a share of the width.
    """
    drawn, left = [], 100 * min(max(begin, 0.0), 1.0)
    for style, share in parts:
        width = 100 * max(0.0, min(share, 1.0 - left / 100))
        if width:
            drawn.append(
                f'<rect class="{escape(style)}" x="{left:.3f}" width="{width:.3f}" height="10"/>'
            )
        left += width
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><rect class="track" width="100" height="10"/>'
        f"{''.join(drawn)}</svg>"
    )


def histogram(
    edges: Sequence[float],
    before: Sequence[float],
    after: Sequence[float],
    label: str,
    *,
    limits: Sequence[float] = (),
) -> str:
    """Two counts over the same bins, one drawn over the other.

    An almost empty tail on the right is counted in the last bin shown.

    Args:
        edges: Borders of equally wide bins, ascending, one more than there are counts.
        before: Count per bin; drawn as a pale area.
        after: Count per bin; drawn over it.
        label: What it shows, for people who hear the page.
        limits: Values to draw a line at; those outside of the picture are left out.
    """
    bins = _bins_worth_showing(before)
    before, after = _folded(before, bins), _folded(after, bins)
    top = max([*before, *after, 1])
    first, last = edges[0], edges[bins]
    lines = "".join(
        f'<path class="limit" d="M{_place(limit, first, last):.1f} {_TOP}V{_FLOOR}"/>'
        for limit in limits
        if first < limit < last
    )
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">'
        f'<path class="before" d="{_steps(before, top)}"/>'
        f'<path class="after" d="{_steps(after, top)}"/>'
        f"{lines}{_axis(first, last)}</svg>"
    )


def curves(
    shares: Sequence[float], lines: Mapping[str, Sequence[float]], label: str, style: str
) -> str:
    """Coverage against the size of a sample.

    Args:
        shares: `[P]` ascending sizes, 1.0 is the whole sample.
        lines: Per style class `[P]` values from 0 to 1.
        label: What it shows, for people who hear the page.
        style: Further style class of the picture.
    """
    values = [value for line in lines.values() for value in line]
    bottom, top, rows = _round_range(min(values, default=0.0), max(values, default=1.0))
    grid = []
    for step in range(rows + 1):
        value = bottom + (top - bottom) * step / rows
        y = _height(value, bottom, top)
        grid.append(
            f'<path class="grid" d="M{_CURVES_LEFT} {y:.1f}H{_CURVES_RIGHT}"/>'
            f'<text x="{_CURVES_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{100 * value:.3g} %</text>"
        )
    for step in range(_COLUMNS + 1):
        x = _CURVES_LEFT + (_CURVES_RIGHT - _CURVES_LEFT) * step / _COLUMNS
        anchor = "end" if step == _COLUMNS else "middle"
        grid.append(
            f'<text x="{x:.1f}" y="{_CURVES_HEIGHT - 6}" text-anchor="{anchor}">'
            f"{100 * step / _COLUMNS:.0f} %</text>"
        )
    paths = []
    for name, line in lines.items():
        points = " ".join(
            f"{_CURVES_LEFT + (_CURVES_RIGHT - _CURVES_LEFT) * min(max(share, 0.0), 1.0):.1f},"
            f"{_height(value, bottom, top):.1f}"
            for share, value in zip(shares, line, strict=True)
        )
        paths.append(f'<polyline class="line {escape(name)}" points="{points}"/>')
    return (
        f'<svg class="{escape(style)}" viewBox="0 0 {_CURVES_WIDTH} {_CURVES_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(grid)}{"".join(paths)}</svg>'
    )


def _height(value: float, bottom: float, top: float) -> float:
    return _CURVES_FLOOR - (_CURVES_FLOOR - _TOP) * (value - bottom) / (top - bottom)


def _round_range(low: float, high: float) -> tuple[float, float, int]:
    """Round numbers around two shares, and how many equal steps lie between them."""
    step = next(step for step in _STEPS if _steps_between(low, high, step) <= _MOST_ROWS)
    first, rows = math.floor(low / step + _EPSILON), max(1, _steps_between(low, high, step))
    return first * step, (first + rows) * step, rows


def _steps_between(low: float, high: float, step: float) -> int:
    return math.ceil(high / step - _EPSILON) - math.floor(low / step + _EPSILON)


def _bins_worth_showing(counts: Sequence[float]) -> int:
    """How many bins from the left hold all but a sliver of the total; at least one."""
    tail, bins = 0.0, len(counts)
    while bins > 1 and tail + counts[bins - 1] <= _TAIL_SHARE * sum(counts):
        bins -= 1
        tail += counts[bins]
    return bins


def _folded(counts: Sequence[float], bins: int) -> list[float]:
    return [*counts[: bins - 1], sum(counts[bins - 1 :])]


def _place(value: float, first: float, last: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (value - first) / ((last - first) or 1.0)


def _steps(counts: Sequence[float], top: float) -> str:
    """Outline of a histogram as an SVG path."""
    width = (_RIGHT - _LEFT) / len(counts)
    path = [f"M{_LEFT} {_FLOOR}"]
    for index, count in enumerate(counts, 1):
        y = _FLOOR - (_FLOOR - _TOP) * count / top
        path.append(f"V{y:.1f}H{_LEFT + width * index:.1f}")
    return "".join([*path, f"V{_FLOOR}Z"])


def _axis(first: float, last: float) -> str:
    """A line with three to six round numbers under it."""
    span = (last - first) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span))
    steps = [magnitude * factor for factor in (0.2, 0.5, 1.0, 2.0)]
    step = next(step for step in steps if span <= step * _TICKS)
    parts = [f'<path class="axis" d="M{_LEFT} {_FLOOR}H{_RIGHT}"/>']
    for multiple in range(math.ceil(first / step), math.floor(last / step + 1e-9) + 1):
        value = multiple * step
        share = (value - first) / span
        x = _LEFT + (_RIGHT - _LEFT) * share
        anchor = "start" if share < _BORDER else "end" if share > 1 - _BORDER else "middle"
        parts.append(f'<path class="axis" d="M{x:.1f} {_FLOOR}v4"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - 5}" text-anchor="{anchor}">{value:.6g}</text>'
        )
    return "".join(parts)
