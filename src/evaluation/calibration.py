"""Whether a model's confidence means anything: of all it says with 80 %, are 80 % right?

Measured on the tokens of the references (teacher forcing): the model's most likely token, its
probability, and whether it is the reference's. Expected calibration error after Guo et al. 2017,
with bins of equal width: the mean distance between confidence and accuracy, weighted by the tokens
in the bin. A second language has several right words, so this asks for the reference's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

BINS = 15

_SIZE, _MARGIN = 220, 34


@dataclass(frozen=True)
class Bin:
    """Tokens of similar confidence.

    Attributes:
        low: Least confidence.
        high: Largest.
        count: Tokens.
        confidence: Their mean confidence; 0 where there are none.
        accuracy: Share of them that is right; 0 where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy.

    Attributes:
        accuracy: Share of all tokens that the model predicts.
        confidence: Its mean confidence.
        error: Expected calibration error, 0 to 1.
        bins: From the least confident to the most.
    """

    accuracy: float
    confidence: float
    error: float
    bins: tuple[Bin, ...]

    def to_json(self) -> dict[str, object]:
        """As it stands in scores.json; empty bins are left out."""
        return {
            "mean_confidence": self.confidence,
            "bins": [
                {
                    "low": part.low,
                    "high": part.high,
                    "tokens": part.count,
                    "confidence": part.confidence,
                    "accuracy": part.accuracy,
                }
                for part in self.bins
                if part.count
            ],
        }


def calibrate(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> Calibration:
    """Sorts tokens into bins of equal width by confidence.

    Args:
        confidence: `[P]`, 0 to 1, P at least 1.
        correct: `[P]`.
    """
    edges = np.linspace(0.0, 1.0, BINS + 1).astype(np.float32)  # as exact as the confidence
    # A bin holds its upper edge, as in the paper; rounding may give a hair more than 1.
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    sums = np.bincount(places, weights=confidence.astype(np.float64), minlength=BINS)
    right = np.bincount(places, weights=correct.astype(np.float64), minlength=BINS)
    bins = tuple(
        Bin(
            low=round(float(edges[index]), 6),
            high=round(float(edges[index + 1]), 6),
            count=int(counts[index]),
            confidence=float(sums[index] / counts[index]) if counts[index] else 0.0,
            accuracy=float(right[index] / counts[index]) if counts[index] else 0.0,
        )
        for index in range(BINS)
    )
    return Calibration(
        accuracy=float(correct.mean()),
        confidence=float(confidence.astype(np.float64).mean()),
        error=float(np.abs(sums - right).sum() / len(confidence)),
        bins=bins,
    )


def reliability_plot(calibration: Calibration, title: str) -> str:
    """The reliability diagram as inline SVG: bars of accuracy, the diagonal is perfect.

    Bars are as opaque as they hold tokens. Coloured by the style sheet of the page.
    """
    most = max(part.count for part in calibration.bins)
    bars = "".join(_bar(part, most) for part in calibration.bins if part.count)
    floor, left, right = _MARGIN / 2 + _SIZE, _MARGIN, _MARGIN + _SIZE
    top = _MARGIN / 2
    label = (
        f"{title}: expected calibration error {100 * calibration.error:.1f} %, mean confidence "
        f"{100 * calibration.confidence:.1f} %, accuracy {100 * calibration.accuracy:.1f} %"
    )
    ticks = "".join(
        f'<text x="{left + share * _SIZE:.0f}" y="{floor + 14:.0f}" text-anchor="middle">'
        f"{share:g}</text>"
        f'<text x="{left - 5}" y="{floor - share * _SIZE + 4:.0f}" text-anchor="end">{share:g}'
        "</text>"
        for share in (0.0, 0.5, 1.0)
    )
    return (
        f'<svg class="reliability" viewBox="0 0 {_SIZE + 2 * _MARGIN} {_SIZE + 2 * _MARGIN}" '
        f'role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f'<rect class="frame" x="{left}" y="{top}" width="{_SIZE}" height="{_SIZE}"/>{bars}'
        f'<line class="perfect" x1="{left}" y1="{floor}" x2="{right}" y2="{top}"/>{ticks}'
        f'<text x="{left + _SIZE / 2}" y="{floor + 30:.0f}" text-anchor="middle">confidence</text>'
        f'<text transform="translate({left - 27} {top + _SIZE / 2}) rotate(-90)" '
        'text-anchor="middle">accuracy</text></svg>'
    )


def _bar(part: Bin, most: int) -> str:
    height = part.accuracy * _SIZE
    floor = _MARGIN / 2 + _SIZE
    x = _MARGIN + part.low * _SIZE
    width = (part.high - part.low) * _SIZE
    opacity = 0.25 + 0.75 * part.count / most
    told = f"confidence {part.confidence:.2f}, accuracy {part.accuracy:.2f}, {part.count:,} tokens"
    return (
        f'<rect class="bin" x="{x:.2f}" y="{floor - height:.2f}" width="{max(width - 1, 1):.2f}" '
        f'height="{height:.2f}" opacity="{opacity:.2f}"><title>{told}</title></rect>'
    )
