"""The command evaluate: how well models translate held-out pairs.

A model reads exactly what a user's text would become (`src.evaluation.translator`), so the scores
are those of `run.py translate`. `scores.json` holds one object per direction, `report.html` shows
it with plots and examples; beside them lies one file of samples per direction, the worst first,
because that is what a person wants to read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.errors import ConfigError, ModelError
from src.evaluation.measure import (
    Measured,
    Sample,
    bootstrap_facts,
    intervals_of,
    measure,
)
from src.evaluation.pairs import read_pairs, spread
from src.evaluation.score_page import score_page
from src.evaluation.score_table import show_comparison, show_scores
from src.evaluation.significance import compare_systems
from src.evaluation.translator import Translator, model_folder
from src.files import expand_home, write_text
from src.languages import corpus_pairs, split_direction
from src.models.hub import model_fingerprint
from src.schema import Config

logger = logging.getLogger(__name__)

SCORES_FILE = "scores.json"
PAGE_FILE = "report.html"
COMPARISON_FILE = "comparison.json"
COMPARISON_PAGE_FILE = "comparison.html"

# System name → direction → what was measured.
Systems = dict[str, dict[str, Measured]]


def evaluate(
    config: Config,
    *,
    model: str | None = None,
    split: str = "test",
    beam_size: int = 1,
    output: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Translates held-out pairs in every direction of the model and scores the translations.

    Args:
        config: Where the pairs are, how many to take, which directions.
        model: Model folder. None: the trained student.
        split: "test" or "dev".
        beam_size: 1 is greedy search.
        output: Folder of the results. None: `evaluation` beside the model folder.

    Returns:
        The content of `scores.json`: direction → scores, seconds, sentences_per_second and what
        was evaluated how.

    Raises:
        DataError: If the split has no pairs.
        ModelError: If the model cannot be used, or knows none of the directions.
    """
    pairs = _pairs(config, split)
    translator = _translator(config, model_folder(config, model), beam_size)
    folder = output or translator.folder.parent / "evaluation"
    measured = _measure_all(config, translator, pairs, split, beam_size)
    results = {direction: found.scores for direction, found in measured.items()}
    for direction, found in measured.items():
        _write_samples(folder / f"samples-{direction}.jsonl", found.samples)
    title = f"{translator.folder} on {split}"
    write_text(folder / PAGE_FILE, score_page(title, {translator.folder.parent.name: measured}))
    write_text(folder / SCORES_FILE, json.dumps(results, ensure_ascii=False, indent=2) + "\n")
    show_scores(
        results,
        title=title,
        samples={
            direction: [
                (sample.source, sample.reference, sample.hypothesis)
                for sample in spread(found.samples, 3)
            ]
            for direction, found in measured.items()
        },
    )
    _say_why_no_comet([measured])
    logger.info("scores, samples and %s are in %s", PAGE_FILE, folder)
    return results


def compare(
    config: Config,
    models: Sequence[str],
    *,
    split: str = "test",
    beam_size: int = 1,
    output: Path | None = None,
) -> dict[str, Any]:
    """Evaluates several models on the same pairs and tests each against the first.

    Args:
        config: As for `evaluate`.
        models: Two or more model folders; the first is what the others are tested against.
        split: "test" or "dev".
        beam_size: 1 is greedy search.
        output: Folder of the results. None: `comparison` beside the last model's folder.

    Returns:
        The content of `comparison.json`: "systems" (name → direction → scores) and "tests"
        (direction → system → metric → difference and p-value).

    Raises:
        ConfigError: If a model is named twice.
        DataError, ModelError: As `evaluate`.
    """
    names = system_names(models)
    pairs = _pairs(config, split)
    systems: Systems = {}
    for name, model in zip(names, models, strict=True):
        logger.info("translating with %s", name)
        systems[name] = _measure_all(
            config, _translator(config, model, beam_size), pairs, split, beam_size
        )
    tests = _tests(systems)
    result = {
        "systems": {
            name: {way: found.scores for way, found in measured.items()}
            for name, measured in systems.items()
        },
        "tests": tests,
        "bootstrap": bootstrap_facts(),
    }
    folder = output or expand_home(models[-1]).parent / "comparison"
    for name, measured in systems.items():
        for direction, found in measured.items():
            _write_samples(folder / f"samples-{name}-{direction}.jsonl", found.samples)
    title = f"{', '.join(names)} on {split}"
    write_text(folder / COMPARISON_PAGE_FILE, score_page(title, systems, tests=tests))
    document = json.dumps(result, ensure_ascii=False, indent=2) + "\n"
    write_text(folder / COMPARISON_FILE, document)
    show_comparison(result, title=title)
    _say_why_no_comet(list(systems.values()))
    logger.info("%s and %s are in %s", COMPARISON_FILE, COMPARISON_PAGE_FILE, folder)
    return result


def system_names(models: Sequence[str]) -> list[str]:
    """A short name for each model folder: the run it belongs to, longer where two are alike.

    Raises:
        ConfigError: If a folder is given twice.
    """
    parts = [expand_home(model).resolve().parts for model in models]
    if len(set(parts)) < len(parts):
        raise ConfigError(f"--compare names a model twice: {', '.join(models)}")
    length = 2
    while len({path[-length:] for path in parts}) < len(parts):
        length += 1
    names = ["-".join(path[-length:]).replace("/", "") for path in parts]
    shared = all(name.endswith("-final") for name in names)
    return [name.removesuffix("-final") if shared else name for name in names]


def _tests(systems: Systems) -> dict[str, dict[str, dict[str, Any]]]:
    """Direction → system → metric → difference from the first system, p-value and interval."""
    first = next(iter(systems))
    shared = [way for way in systems[first] if all(way in found for found in systems.values())]
    tests: dict[str, dict[str, dict[str, Any]]] = {}
    for direction in shared:
        estimates = compare_systems(
            {name: found[direction].hypotheses for name, found in systems.items()},
            [systems[first][direction].references],
            target_language=split_direction(direction)[1],
        )
        tests[direction] = {
            name: {
                metric: {
                    "difference": round(value.score - estimates[first][metric].score, 4),
                    "p_value": value.p_value,
                    "interval": intervals_of({metric: value})[metric],
                }
                for metric, value in found.items()
            }
            for name, found in estimates.items()
            if name != first
        }
    return tests


def _pairs(config: Config, split: str) -> dict[frozenset[str], list[dict[str, str]]]:
    return {
        frozenset(languages): read_pairs(
            Path(config.data.output_dir), split, languages, config.evaluation.max_samples
        )
        for languages in corpus_pairs(config.data.language_pairs)
    }


def _translator(config: Config, model: str, beam_size: int) -> Translator:
    return Translator(
        model,
        batch_size=config.evaluation.batch_size,
        max_new_tokens=config.evaluation.max_new_tokens,
        beam_size=beam_size,
        preserve=config.evaluation.preserve,
        config=config,
    )


def _measure_all(
    config: Config,
    translator: Translator,
    pairs: Mapping[frozenset[str], Sequence[dict[str, str]]],
    split: str,
    beam_size: int,
) -> dict[str, Measured]:
    made_by = {
        "model": str(translator.folder),
        "model_fingerprint": model_fingerprint(str(translator.folder)),
        "parameters": sum(int(value.size) for value in translator.trained.model.parameters()),
        "split": split,
        "beam_size": beam_size,
    }
    measured = {}
    for direction in _known_directions(config, translator):
        rows = pairs[frozenset(split_direction(direction))]
        found = measure(translator, direction, rows, config.evaluation)
        found.scores.update(made_by)
        measured[direction] = found
    return measured


def _say_why_no_comet(evaluations: Sequence[Mapping[str, Measured]]) -> None:
    """Each reason once, not for every direction and model."""
    reasons = {
        found.scores["comet_missing"] for measured in evaluations for found in measured.values()
    }
    for reason in reasons - {None}:
        logger.info("%s", reason)


def _write_samples(path: Path, samples: Sequence[Sample]) -> None:
    lines = (json.dumps(sample.to_json(), ensure_ascii=False) for sample in samples)
    write_text(path, "".join(f"{line}\n" for line in lines))


def _known_directions(config: Config, translator: Translator) -> list[str]:
    wanted = config.data.language_pairs
    known = [direction for direction in wanted if direction in translator.directions]
    if not known:
        raise ModelError(
            f"model {translator.folder} translates {', '.join(translator.directions)}, but "
            f"data.language_pairs asks for {', '.join(wanted)}; name another model or direction"
        )
    for direction in wanted:
        if direction not in known:
            logger.warning("%s was not trained for %s: left out", translator.folder, direction)
    return known
