"""From evidence to a probability, by pairs misaligned on purpose.

Pairs of the sample that were not counted are looked at twice: as they are, and each left text with
the right text of another pair of like length. How much more often a class of units occurs in the
first than in the second is its log-odds, learned from every other pair. A side's evidence is the
sum over its distinct units, divided by the square root of their number plus one: units of a text
repeat each other, so evidence grows with the length, but slower, and a short text has little. A
logistic curve over both sides' evidence, learned from the pairs between, then tells real pairs from
misaligned ones.

Real pairs are not all aligned. What share of them is misaligned as well is estimated along with the
curve by expectation maximisation (a two-component mixture of which one component is known), so that
a dirty corpus does not teach that misaligned pairs are normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.adequacy.evidence import (
    CLASSES,
    Classes,
    Scratch,
    Tables,
    classify_pair,
    is_of_number,
    make_scratch,
)
from src.corpus.adequacy.pieces import Piece, Side
from src.corpus.adequacy.units import Units, hashed_units

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST_UNITS = 4
"""Units that say something, numbers not counted, which a pair needs to be judged."""
PRIOR = 0.9
"""Share of aligned pairs that scores assume."""

_LEAST_PAIRS = 100
_SMOOTHING = 5.0
_SILENT = 0.1
_ROUNDS = 50
_OF_NUMBERS = np.array([is_of_number(unit_class) for unit_class in range(CLASSES + 1)])


class Classified(NamedTuple):
    """Classes of the units of N texts.

    Attributes:
        classes: Text i's are `classes[starts[i]:starts[i + 1]]`, padded with `CLASSES`.
        starts: `[N + 1]`.
    """

    classes: Classes
    starts: Rows


@dataclass(frozen=True)
class Calibration:
    """How evidence becomes a probability.

    Attributes:
        left_odds: `[CLASSES]` log-odds of the left units' classes; 0 where they say nothing.
        right_odds: `[CLASSES]` those of the right units.
        slope: Log-odds of a pair for a unit of evidence. 0: nothing can be judged.
        intercept: Log-odds of a pair with no evidence, both kinds being equally likely.
        misaligned_share: Share of the sample's pairs that look like misaligned ones, 0 to 1.
    """

    left_odds: NDArray[np.float32]
    right_odds: NDArray[np.float32]
    slope: float
    intercept: float
    misaligned_share: float


NOTHING = Calibration(np.zeros(CLASSES, np.float32), np.zeros(CLASSES, np.float32), 0.0, 0.0, 0.0)


def calibrate(tables: Tables, pairs: Piece) -> Calibration:
    """Learns the log-odds and the curve; `NOTHING` if the pairs are too few or tell nothing."""
    others = misaligned_rows(pairs)
    rows = np.flatnonzero(others >= 0)
    if len(rows) < _LEAST_PAIRS:
        return NOTHING
    real = _classes_of(pairs, rows, rows, tables)
    wrong = _classes_of(pairs, rows, others[rows], tables)
    odds = [_log_odds(*sides) for sides in zip(real, wrong, strict=True)]
    evidence, wrong_evidence = _weigh_pairs(real, odds), _weigh_pairs(wrong, odds)
    if min(len(evidence), len(wrong_evidence)) < _LEAST_PAIRS:
        return NOTHING
    slope, intercept, share = _fit_curve(evidence, wrong_evidence)
    if slope <= 0:
        return NOTHING
    return Calibration(odds[0], odds[1], slope, intercept, share)


def misaligned_rows(pairs: Piece) -> Rows:
    """For each pair the row of a right text that is not its own, -1 where there is none.

    Neighbours by length, then by hash, exchange their texts. Two equal texts, on either side, are
    no misalignment.
    """
    order = np.lexsort((pairs.keys, pairs.left.counts, pairs.right.counts))
    others = np.empty(len(order), np.int64)
    others[order] = np.roll(order, 1)
    rows = np.arange(len(order))
    left, right = _hashes(pairs.left), _hashes(pairs.right)
    same = (left[others] == left) | (right[others] == right) | (others == rows)
    return np.where(same, -1, others)


@compiled
def _hashes(side: Side) -> Units:
    hashes = np.zeros(len(side.starts), np.uint64)
    for row in range(len(hashes)):
        hashes[row] = hashed_units(_units_of(side, row), np.uint64(0))
    return hashes


@compiled_part
def _units_of(side: Side, row: int) -> Units:
    return side.units[side.starts[row] : side.starts[row] + side.counts[row]]


def _classes_of(
    pairs: Piece, left_rows: Rows, right_rows: Rows, tables: Tables
) -> tuple[Classified, Classified]:
    """The classes of the units of pairs of rows, left and right."""
    left, right = _unclassified(pairs.left, left_rows), _unclassified(pairs.right, right_rows)
    _classify_rows(pairs, left_rows, right_rows, tables, make_scratch(tables), left, right)
    return left, right


def _unclassified(side: Side, rows: Rows) -> Classified:
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(side.counts[rows], out=starts[1:])
    return Classified(np.full(int(starts[-1]), CLASSES, np.uint8), starts)


@compiled
def _classify_rows(
    pairs: Piece,
    left_rows: Rows,
    right_rows: Rows,
    tables: Tables,
    scratch: Scratch,
    left: Classified,
    right: Classified,
) -> None:
    for row in range(len(left_rows)):
        classify_pair(
            _units_of(pairs.left, left_rows[row]),
            _units_of(pairs.right, right_rows[row]),
            tables,
            scratch,
            left.classes[left.starts[row] : left.starts[row + 1]],
            right.classes[right.starts[row] : right.starts[row + 1]],
        )


def _rows_of(side: Classified) -> Rows:
    return np.repeat(np.arange(len(side.starts) - 1), np.diff(side.starts))


def _log_odds(real: Classified, wrong: Classified) -> NDArray[np.float32]:
    shares = []
    for side in (real, wrong):
        classes = side.classes[_rows_of(side) % 2 == 0]
        counts = np.bincount(classes, None, CLASSES + 1)[:-1] + _SMOOTHING
        shares.append(counts / counts.sum())
    odds = np.log(shares[0] / shares[1])
    return np.where(np.abs(odds) < _SILENT, 0.0, odds).astype(np.float32)


def _weigh_pairs(sides: tuple[Classified, Classified], odds: list[NDArray[np.float32]]) -> Floats:
    """The evidence of the other rows, those that have enough of it."""
    pairs = len(sides[0].starts) - 1
    evidence, words = np.zeros(pairs), np.zeros(pairs)
    for side, side_odds in zip(sides, odds, strict=True):
        rows = _rows_of(side)
        values = np.append(side_odds, np.float32(0)).astype(np.float64)[side.classes]
        tells = (values != 0).astype(np.float64)
        total, units = (np.bincount(rows, what, pairs) for what in (values, tells))
        evidence += total / np.sqrt(units + 1)
        words += np.bincount(rows, tells * ~_OF_NUMBERS[side.classes], pairs)
    return evidence[1::2][words[1::2] >= LEAST_UNITS]


def _fit_curve(real: Floats, wrong: Floats) -> tuple[float, float, float]:
    """Slope and intercept of the log-odds of being aligned, and the share of misaligned real pairs.

    Both kinds weigh the same in all, whatever their numbers. Targets are moved off 0 and 1 by one
    example (Platt 1999), which keeps the slope finite where the kinds do not overlap.
    """
    values = np.concatenate([real, wrong])
    targets = np.concatenate(
        [np.full(len(real), 1 - 1 / (len(real) + 2)), np.full(len(wrong), 1 / (len(wrong) + 2))]
    )
    slope, intercept, share = 0.0, 0.0, 0.05  # far from 0 a first step may leap away
    for _ in range(_ROUNDS):
        odds = np.exp(np.clip(slope * real + intercept, -30, 30)) * (1 - share)
        aligned = odds / (odds + share)
        share = float(np.clip(1 - aligned.mean(), 1e-6, 0.5))
        weights = np.concatenate([aligned / aligned.sum(), np.full(len(wrong), 1 / len(wrong))])
        slope, intercept = _newton_step(values, targets, weights, slope, intercept)
    return slope, intercept, share


def _newton_step(
    values: Floats, targets: Floats, weights: Floats, slope: float, intercept: float
) -> tuple[float, float]:
    found = 1 / (1 + np.exp(-np.clip(slope * values + intercept, -30, 30)))
    errors = weights * (targets - found)
    curvature = weights * found * (1 - found)
    gradient = float((errors * values).sum()), float(errors.sum())
    # A trace of ridge: without it one value for all pairs would leave the system singular.
    second = float((curvature * values * values).sum()) + 1e-6
    mixed = float((curvature * values).sum())
    zeroth = float(curvature.sum()) + 1e-6
    determinant = second * zeroth - mixed * mixed
    return (
        slope + (zeroth * gradient[0] - mixed * gradient[1]) / determinant,
        intercept + (second * gradient[1] - mixed * gradient[0]) / determinant,
    )
