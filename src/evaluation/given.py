"""Scoring translations that somebody else made: `run.py evaluate --hyp FILE --ref FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.errors import ConfigError, DataError
from src.evaluation.comet import comet_score
from src.evaluation.measure import bootstrap_facts, intervals_of
from src.evaluation.score_table import show_scores
from src.evaluation.scores import score
from src.evaluation.segments import is_mostly_chinese
from src.evaluation.significance import compare_systems
from src.schema import EvaluationConfig


def evaluate_files(
    hypotheses: Sequence[Path],
    references: Sequence[Path],
    *,
    sources: Path | None = None,
    target_language: str | None = None,
    settings: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """Scores one or several systems' output files.

    Args:
        hypotheses: UTF-8 text, one translation a line; the first is what others are tested against.
        references: Files of the same kind, each with one reference a line.
        sources: What was translated, for COMET.
        target_language: "zh", "en" …. None: Chinese where the references mostly are.
        settings: Where COMET is. None: it is not asked for.

    Returns:
        The scores and the target language they are for; of several systems, file name → that, with
        the difference from the first and its p-value per metric under "test".

    Raises:
        ConfigError: If two files are the same.
        DataError: If a file cannot be read, or the line counts differ.
    """
    if len(set(hypotheses)) < len(hypotheses):
        raise ConfigError("--hyp names a file twice")
    systems = {str(path): read_lines(path) for path in hypotheses}
    alternatives = [read_lines(path) for path in references]
    first = next(iter(systems))
    others = [*zip(references, alternatives, strict=True)]
    others += [(Path(name), lines) for name, lines in systems.items() if name != first]
    if sources is not None:
        others.append((sources, read_lines(sources)))
    for path, lines in others:
        if len(lines) != len(systems[first]):
            raise DataError(
                f"{first} has {len(systems[first])} lines but {path} has {len(lines)}; line n of "
                "both must belong to the same sentence"
            )
    if target_language is None:
        is_chinese = is_mostly_chinese([line for lines in alternatives for line in lines])
        target_language = "zh" if is_chinese else "en"
    estimates = compare_systems(systems, alternatives, target_language=target_language)
    results: dict[str, dict[str, Any]] = {}
    for name, lines in systems.items():
        found = estimates.get(name, {})
        results[name] = {
            **score(lines, alternatives, target_language=target_language).to_json(),
            "intervals": {**intervals_of(found), **bootstrap_facts()},
            "target_language": target_language,
        }
        if name != first and found:
            results[name]["test"] = {
                metric: {
                    "difference": round(value.score - estimates[first][metric].score, 4),
                    "p_value": value.p_value,
                }
                for metric, value in found.items()
            }
        if sources is not None and settings is not None:
            comet, why_not = comet_score(settings, others[-1][1], lines, alternatives[0])
            results[name] |= {"comet": comet, "comet_missing": why_not or None}
    show_scores(results, title=f"into {target_language}", samples={})
    return results if len(results) > 1 else results[first]


def read_lines(path: Path) -> list[str]:
    """Lines as translation tools count them: by line feeds alone, a carriage return dropped.

    Raises:
        DataError: If the file is missing, empty or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first"
        ) from error
    if not text:
        raise DataError(f"{path} is empty; it needs one line per sentence")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
