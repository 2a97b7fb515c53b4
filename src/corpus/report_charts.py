"""The report's pictures: bars and histograms as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 360, 150
_LEFT, _RIGHT, _TOP, _FLOOR = 4, 356, 8, 128
_TICKS = 6
_BORDER = 0.03  # of the width: a number so near an end is written inwards
_TAIL_SHARE = 0.002


def bar(shares: Sequence[tuple[str, float]], label: str) -> str:
    """A horizontal bar of stacked parts.

    Args:
        shares: Style class and share (0 to 1) of each part, from the left.
        label: What it shows, for people who hear the page.
    """
    parts, left = [], 0.0
    for style, share in shares:
        width = 100 * max(0.0, min(share, 1.0 - left / 100))
        if width:
            parts.append(
                f'<rect class="{escape(style)}" x="{left:.3f}" width="{width:.3f}" height="10"/>'
            )
        left += width
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><rect class="track" width="100" height="10"/>'
        f"{''.join(parts)}</svg>"
    )


def histogram(
    edges: Sequence[float], before: Sequence[float], after: Sequence[float], label: str
) -> str:
    """Two counts over the same bins, one drawn over the other.

    An almost empty tail on the right is counted in the last bin shown.

    Args:
        edges: Borders of equally wide bins, ascending, one more than there are counts.
        before: Count per bin; drawn as a pale area.
        after: Count per bin; drawn over it.
        label: What it shows, for people who hear the page.
    """
    bins = _bins_worth_showing(before)
    before, after = _folded(before, bins), _folded(after, bins)
    top = max([*before, *after, 1])
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">'
        f'<path class="before" d="{_steps(before, top)}"/>'
        f'<path class="after" d="{_steps(after, top)}"/>'
        f"{_axis(edges[0], edges[bins])}</svg>"
    )


def _bins_worth_showing(counts: Sequence[float]) -> int:
    """How many bins from the left hold all but a sliver of the total; at least one."""
    tail, bins = 0.0, len(counts)
    while bins > 1 and tail + counts[bins - 1] <= _TAIL_SHARE * sum(counts):
        bins -= 1
        tail += counts[bins]
    return bins


def _folded(counts: Sequence[float], bins: int) -> list[float]:
    return [*counts[: bins - 1], sum(counts[bins - 1 :])]


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
