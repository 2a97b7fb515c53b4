"""How far scores can be trusted: intervals of one system, and whether two systems differ.

Both come from resampling the test set with replacement (Koehn 2004), as sacrebleu does it: the
interval holds 95 % of the scores of resampled test sets; the p-value of two systems is the share of
resampled test sets on which they differ by at least as much as here, had they been equally good.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.significance import PairedTest

from src.evaluation.scores import metrics_for, require_equal_counts

RESAMPLES = 1000
CONFIDENCE = 0.95
_MEANINGFUL_SENTENCES = 2


@dataclass(frozen=True)
class Estimate:
    """One metric of one system.

    Attributes:
        score: On the test set itself.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p_value: Against the first system; None for the first system itself.
    """

    score: float
    low: float
    high: float
    p_value: float | None


def compare_systems(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    target_language: str,
) -> dict[str, dict[str, Estimate]]:
    """Intervals of every system, and tests of each against the first.

    Args:
        systems: Name → one translation per sentence; at least one system.
        references: One or several sets, each with one reference per sentence.
        target_language: "zh", "en" …

    Returns:
        System → metric ("bleu", "chrf", "chrf++") → estimate. Empty where there are too few
        sentences to resample.

    Raises:
        DataError: If the counts differ, or there is nothing to compare.
    """
    for hypotheses in systems.values():
        require_equal_counts(hypotheses, references)
    first = next(iter(systems.values()))
    if len(first) < _MEANINGFUL_SENTENCES:
        return {}
    named: list[tuple[str, Sequence[str]]] = list(systems.items())
    metrics = metrics_for(target_language)
    test = PairedTest(named, metrics, references, test_type="bs", n_samples=RESAMPLES)
    _, results = test()
    columns = [values for name, values in results.items() if name != "System"]
    return {
        name: {
            # The test calls metrics by sacrebleu's names (chrF2), but keeps their order.
            metric: _estimate(values[row], values[0])
            for metric, values in zip(metrics, columns, strict=True)
        }
        for row, name in enumerate(systems)
    }


def seed() -> int | None:
    """The seed that sacrebleu resamples with; None where the environment asks for chance."""
    text = os.environ.get("SACREBLEU_SEED", "12345")
    return None if text.lower() == "none" else int(text)


def _estimate(result: Any, baseline: Any) -> Estimate:
    mean, half = float(result.mean), float(result.ci)
    p_value = result.p_value
    if p_value is not None and result.score == baseline.score:
        # No difference is never significant; sacrebleu's count of larger ones would be 0 here.
        p_value = 1.0
    return Estimate(
        score=float(result.score),
        low=mean - half,
        high=mean + half,
        p_value=None if p_value is None else float(p_value),
    )
