"""The command evaluate: how well a model translates held-out pairs, or how good given files are.

The model reads exactly what a user's text would become (`src.evaluation.translator`), so the scores
are those of `run.py translate`. `scores.json` holds one object per direction; beside it lies one
file of samples per direction, the worst first, because that is what a person wants to read.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from src.errors import DataError, ModelError
from src.evaluation.score_table import show_scores
from src.evaluation.scores import exact_matches, score, sentence_chrf
from src.evaluation.segments import is_mostly_chinese
from src.evaluation.translator import Translator, model_folder
from src.files import write_text
from src.languages import corpus_pairs, split_direction
from src.schema import Config
from src.units import format_seconds

logger = logging.getLogger(__name__)

SCORES_FILE = "scores.json"
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
    pairs = {
        frozenset(languages): read_pairs(
            Path(config.data.output_dir), split, languages, config.evaluation.max_samples
        )
        for languages in corpus_pairs(config.data.language_pairs)
    }
    translator = Translator(
        model_folder(config, model),
        batch_size=config.evaluation.batch_size,
        max_new_tokens=config.evaluation.max_new_tokens,
        beam_size=beam_size,
        config=config,
    )
    folder = output or translator.folder.parent / "evaluation"
    results: dict[str, dict[str, Any]] = {}
    samples: dict[str, list[Sample]] = {}
    for direction in _known_directions(config, translator):
        scores, samples[direction] = _evaluate_direction(
            translator, direction, pairs[frozenset(split_direction(direction))]
        )
        made_by = {"model": str(translator.folder), "split": split, "beam_size": beam_size}
        results[direction] = {**scores, **made_by}
        lines = (json.dumps(sample.to_json(), ensure_ascii=False) for sample in samples[direction])
        write_text(folder / f"samples-{direction}.jsonl", "".join(f"{line}\n" for line in lines))
    write_text(folder / SCORES_FILE, json.dumps(results, ensure_ascii=False, indent=2) + "\n")
    show_scores(
        results,
        title=f"{translator.folder} on {split}",
        samples={
            direction: [
                (sample.source, sample.reference, sample.hypothesis)
                for sample in _spread(samples[direction], 3)
            ]
            for direction in samples
        },
    )
    logger.info("scores and samples are in %s", folder)
    return results


def evaluate_files(
    hypotheses: Path, references: Sequence[Path], *, target_language: str | None = None
) -> dict[str, Any]:
    """Scores translations that somebody else made.

    Args:
        hypotheses: UTF-8 text, one translation a line.
        references: Files of the same kind, each with one reference a line.
        target_language: "zh", "en" …. None: Chinese where the references mostly are.

    Returns:
        The scores, and the target language they are for.

    Raises:
        DataError: If a file cannot be read, or the line counts differ.
    """
    translations = _read_lines(hypotheses)
    alternatives = [_read_lines(path) for path in references]
    for path, lines in zip(references, alternatives, strict=True):
        if len(lines) != len(translations):
            raise DataError(
                f"{hypotheses} has {len(translations)} lines but {path} has {len(lines)}; line n "
                "of both must belong to the same sentence"
            )
    if target_language is None:
        is_chinese = is_mostly_chinese([line for lines in alternatives for line in lines])
        target_language = "zh" if is_chinese else "en"
    scores = score(translations, alternatives, target_language=target_language).to_json()
    result = {**scores, "target_language": target_language}
    show_scores({target_language: result}, title=str(hypotheses), samples={})
    return result


def read_pairs(
    data_folder: Path, split: str, languages: tuple[str, str], max_samples: int | None
) -> list[dict[str, str]]:
    """Pairs of a split, as language → text, spread evenly over it where not all are wanted.

    Args:
        data_folder: `data.output_dir`.
        split: "test" or "dev".
        languages: Of the two sides, in any order.
        max_samples: Largest number of pairs. None: all.

    Raises:
        DataError: If there are none or a file cannot be read.
    """
    folder = data_folder / "text"
    paths = [
        path
        for one, other in (languages, languages[::-1])
        for path in sorted(folder.glob(f"{split}-{one}-{other}-[0-9]*.parquet"))
    ]
    names = "-".join(languages)
    if not paths:
        raise DataError(
            f"no {split} pairs of {names} in {folder}; run `python run.py process` with this "
            "configuration first"
        )
    pairs = [pair for path in paths for pair in _read_shard(path, languages)]
    if not pairs:
        raise DataError(
            f"the {split} split of {names} in {folder} is empty; process more data or set "
            f"data.splits.{split}"
        )
    return _spread(pairs, max_samples or len(pairs))


def _read_shard(path: Path, languages: tuple[str, str]) -> list[dict[str, str]]:
    try:
        pairs: list[dict[str, str]] = pq.read_table(path, columns=list(languages)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); run `python run.py process` "
            "again"
        ) from error
    return pairs


def _evaluate_direction(
    translator: Translator, direction: str, pairs: Sequence[dict[str, str]]
) -> tuple[dict[str, Any], list[Sample]]:
    source_language, target_language = split_direction(direction)
    sources = [pair[source_language] for pair in pairs]
    references = [pair[target_language] for pair in pairs]
    began = time.perf_counter()
    hypotheses = translator.translate(
        sources, direction=direction, progress=ProgressLog(direction, time.monotonic)
    )
    seconds = time.perf_counter() - began
    scores = score(hypotheses, [references], target_language=target_language).to_json()
    columns = (
        sources,
        references,
        hypotheses,
        exact_matches(hypotheses, [references]),
        sentence_chrf(hypotheses, [references]),
    )
    samples = [Sample(*row) for row in zip(*columns, strict=True)]
    timing = {"seconds": round(seconds, 3), "sentences_per_second": round(len(pairs) / seconds, 2)}
    return {**scores, **timing}, sorted(samples, key=lambda sample: sample.chrf)


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


def _spread(items: list[Any], count: int) -> list[Any]:
    """At most `count` items at even distances, the first one included; always the same ones."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def _read_lines(path: Path) -> list[str]:
    """Lines as translation tools count them: by line feeds alone, a carriage return dropped."""
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
