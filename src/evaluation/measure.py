"""Everything that is measured of one model in one direction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from src.evaluation.calibration import Calibration, calibrate
from src.evaluation.comet import comet_score
from src.evaluation.scores import exact_matches, score, sentence_chrf
from src.evaluation.significance import CONFIDENCE, RESAMPLES, Estimate, compare_systems, seed
from src.evaluation.translator import Translator
from src.languages import split_direction
from src.schema import EvaluationConfig
from src.units import format_seconds

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Sample:
    """One translated sentence beside its reference; `chrf` is sentence-level, 0 to 100."""

    source: str
    reference: str
    hypothesis: str
    exact: bool
    chrf: float

    def to_json(self) -> dict[str, object]:
        """One line of `samples-<direction>.jsonl`."""
        return {
            "source": self.source,
            "reference": self.reference,
            "hypothesis": self.hypothesis,
            "exact": self.exact,
            "chrf": round(self.chrf, 2),
        }


@dataclass(frozen=True)
class Measured:
    """One model in one direction.

    Attributes:
        scores: The object of scores.json.
        samples: Every pair with its translation, the worst first.
        hypotheses: Translations in the order of the pairs.
        references: Of the pairs, in the same order.
        calibration: Of its confidence on the references' tokens.
    """

    scores: dict[str, Any]
    samples: list[Sample]
    hypotheses: list[str]
    references: list[str]
    calibration: Calibration


def measure(
    translator: Translator,
    direction: str,
    pairs: Sequence[dict[str, str]],
    settings: EvaluationConfig,
) -> Measured:
    """Translates pairs in one direction and measures the result.

    Args:
        translator: The model.
        direction: Such as "en-zh".
        pairs: Language → text, at least one.
        settings: Batch size, and where COMET is.
    """
    source_language, target_language = split_direction(direction)
    sources = [pair[source_language] for pair in pairs]
    references = [pair[target_language] for pair in pairs]
    began = time.perf_counter()
    translations = translator.translate_checked(
        sources, direction=direction, progress=ProgressLog(direction, time.monotonic)
    )
    hypotheses = [translation.text for translation in translations]
    seconds = time.perf_counter() - began
    calibration, cross_entropy = _forced(translator, direction, sources, references, settings)
    comet, why_no_comet = comet_score(settings, sources, hypotheses, references)
    scores = {
        **score(hypotheses, [references], target_language=target_language).to_json(),
        "intervals": interval_facts(hypotheses, [references], target_language),
        "comet": comet,
        "comet_missing": why_no_comet or None,
        "token_accuracy": calibration.accuracy,
        "cross_entropy": cross_entropy,
        "expected_calibration_error": calibration.error,
        "calibration": calibration.to_json(),
        "translations_with_warnings": sum(bool(found.warnings) for found in translations),
        "seconds": round(seconds, 3),
        "sentences_per_second": round(len(pairs) / seconds, 2),
    }
    columns = (
        sources,
        references,
        hypotheses,
        exact_matches(hypotheses, [references]),
        sentence_chrf(hypotheses, [references]),
    )
    samples = [Sample(*row) for row in zip(*columns, strict=True)]
    samples.sort(key=lambda sample: sample.chrf)
    return Measured(scores, samples, hypotheses, references, calibration)


def interval_facts(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], target_language: str
) -> dict[str, object]:
    """The 95 % interval of each metric, and how it was found."""
    found = compare_systems({"system": hypotheses}, references, target_language=target_language)
    return {**intervals_of(found.get("system", {})), **bootstrap_facts()}


def intervals_of(estimates: dict[str, Estimate]) -> dict[str, object]:
    """Metric → [low, high]."""
    return {
        metric: [round(value.low, 4), round(value.high, 4)] for metric, value in estimates.items()
    }


def bootstrap_facts() -> dict[str, object]:
    """How intervals and tests were made."""
    return {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": seed()}


def _forced(
    translator: Translator,
    direction: str,
    sources: Sequence[str],
    references: Sequence[str],
    settings: EvaluationConfig,
) -> tuple[Calibration, float]:
    """Calibration, and nats per token, on the references; texts beyond the model's length cut."""
    from src.evaluation.forced import predict_tokens

    trained = translator.trained
    prompt, tokenizer = trained.prompt(direction), trained.tokenizer
    room = trained.settings.max_length
    pairs = []
    for source, target in zip(sources, references, strict=True):
        opening = prompt.opening(tokenizer.encode(source))[: room - 1]
        wanted = [*tokenizer.encode(target), *prompt.suffix]
        pairs.append((opening, wanted[: max(1, room - len(opening))]))
    found = predict_tokens(
        trained.model, pairs, batch_size=settings.batch_size, pad_id=tokenizer.pad_id
    )
    calibration = calibrate(found.confidence, found.correct)
    return calibration, float(-found.log_probability.astype("float64").mean())


class ProgressLog:
    """Says how far a long translation is, at most every ten seconds, with rate and time left."""

    def __init__(self, label: str, clock: Callable[[], float]) -> None:
        """Starts the clock.

        Args:
            label: What is being done, e.g. the direction.
            clock: Seconds since some moment.
        """
        self._label = label
        self._clock = clock
        self._began = self._said = clock()

    def __call__(self, done: int, total: int) -> None:
        """Notes that `done` of `total` sentences are translated."""
        now = self._clock()
        if now - self._said < _SECONDS_BETWEEN_LINES or not done:
            return
        self._said = now
        rate = done / (now - self._began)
        left = format_seconds((total - done) / rate)
        logger.info("%s  %d/%d  %.1f sentences/s  %s left", self._label, done, total, rate, left)
