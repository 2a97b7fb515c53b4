"""The data stage, `python run.py process`: raw parallel text to a token cache.

    sources -> work units -> decisions -> text/ and rejected/ -> tokens/ -> report

Work units and adequacy scores are computed in parallel and kept in `output_dir/work`, so a killed
run loses what was in flight and a changed setting repeats only what depends on it. Decisions that
need all rows together run in the order of the corpus: the result is the same bytes for any engine,
number of workers and interruptions.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config import config_to_yaml, load_config
from src.corpus import shards
from src.corpus.assemble import assemble
from src.corpus.decontamination import SideKeys
from src.corpus.disk import explained_disk_errors
from src.corpus.evaluation_sets import evaluation_pairs, require_sets
from src.corpus.phases import Phases
from src.corpus.readers import fetch_sources, find_files, named_by_url
from src.corpus.report import Report, find_warnings
from src.corpus.stage_folder import CONFIG, DOWNLOADS, FORMAT, StageFolder
from src.corpus.verdicts import SPLITS
from src.corpus.work_units import (
    RESULT_VERSION,
    WorkUnit,
    file_identity,
    forget_damaged_units,
    forget_other_units,
    plan_units,
    process_unit,
)
from src.errors import ConfigError, DataError
from src.files import expand_home
from src.first_run import make_machine_code
from src.host_memory import peak_memory_bytes
from src.languages import corpus_pairs
from src.schema import Config, SourceConfig
from src.tasks.engine import Engine
from src.tasks.progress import Progress
from src.tokens.cache import TokenCache, is_current
from src.tokens.lengths import length_statistics
from src.tokens.prompts import build_prompts
from src.tokens.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from src.tokens.write_cache import refuse_foreign_folder, write_token_cache
from src.units import format_count, format_seconds

if TYPE_CHECKING:
    from src.tokens.stream import StreamingDataset

__all__ = ["DataProcessor", "StreamingDataset"]

logger = logging.getLogger(__name__)

Sources = tuple[SourceConfig, ...]

_BYTES_PER_PAIR = 600  # text, scores and rejected shards, for messages about space
_TOKEN_BYTES_PER_PAIR = 250
# More text does not change the merges of a vocabulary of this project's sizes.
_TOKENIZER_TRAINING_PAIRS = 500_000
_SPREADING_KEYS = {"num_workers", "engine", "ray_address"}
# Settings that change no byte of text and tokens.
_IRRELEVANT_KEYS = {*_SPREADING_KEYS, "max_samples", "language_pairs"}


class DataProcessor:
    """Makes `data.output_dir` from `data.sources`.

    Args:
        config: The whole configuration; `student.model_name` names the tokenizer when
            `data.tokenizer` does not.
        config_files: What it was read from; never replaced.
    """

    def __init__(self, config: Config, config_files: Sequence[Path] = ()) -> None:
        self._config = config
        self._config_files = config_files
        self._data = config.data
        self._folder = StageFolder(expand_home(config.data.output_dir))
        self._engine = Engine(config.data.engine, config.data.num_workers, config.data.ray_address)
        self._phases = Phases()

    def process(self) -> Report:
        """Runs the stage, or returns the report of the last run when nothing has changed.

        Raises:
            DataError: If a source cannot be used, too little is left, the disk is full, or files
                of somebody else would be lost.
            ModelError: If the tokenizer cannot be loaded.
            WorkerLost: If a worker process dies.
        """
        self._phases = Phases()
        self._folder.refuse_config(self._config_files, config_to_yaml(self._config))
        self._folder.refuse_foreign()
        with self._folder.locked():
            self._phases.start("looking through sources")
            sources, sets = self._fetch_sources()
            origins = (*self._data.sources, *self._config.evaluation.sets)
            with named_by_url(origins, self._folder.work / DOWNLOADS):
                return self._process_files(sources, sets)

    def _process_files(self, sources: Sources, sets: Sources) -> Report:
        """The rest of `process`, once all sources are files of this machine."""
        require_sets(sets, self._data)
        files = [
            path for source in (*sources, *sets) for paths in find_files(source) for path in paths
        ]
        self._folder.refuse_as_input(files)
        fingerprint = self._fingerprint(files)
        report = self._folder.finished_report(fingerprint)
        if report is not None and self._has_token_cache():
            self._refresh(report, fingerprint)
            return report
        self._folder.refuse_foreign_shards()
        refuse_foreign_folder(self._folder.tokens)
        self._engine.prepare(__name__)
        tokenizer = self._load_tokenizer()
        units = self._plan(sources)
        self._phases.start("compiling")
        make_machine_code(self._data, self._engine.workers)
        self._process_units(units)
        report = assemble(
            units,
            self._data,
            folder=self._folder,
            evaluation_keys=lambda languages: SideKeys.of(
                evaluation_pairs(sets, languages, self._data)
            ),
            engine=self._engine,
            phases=self._phases,
        )
        self._phases.start("tokenising")
        self._tokenize(tokenizer)
        report.token_lengths = self._token_lengths(tokenizer)
        self._finish(report, fingerprint)
        return report

    def tokenize_and_save(self) -> Path:
        """Makes the token cache of the text shards that are in `output_dir`.

        Returns:
            Folder of the cache.

        Raises:
            DataError: If there are no text shards yet, or the disk is full.
            ModelError: If the tokenizer cannot be loaded.
        """
        self._require_text()  # before the lock marks a folder as this stage's
        with self._folder.locked():
            return self._tokenize(self._load_tokenizer())

    def _fetch_sources(self) -> tuple[Sources, Sources]:
        """Corpora and evaluation sets as files of this machine."""
        work = self._folder.work
        with explained_disk_errors(work, _BYTES_PER_PAIR):
            work.mkdir(parents=True, exist_ok=True)
        sources = fetch_sources(self._data.sources, work / DOWNLOADS)
        return sources, fetch_sources(self._config.evaluation.sets, work / DOWNLOADS)

    def _plan(self, sources: Sources) -> list[WorkUnit]:
        work = self._folder.work
        units = plan_units(self._data.model_copy(update={"sources": sources}), work)
        forget_other_units(work, units)
        forget_damaged_units(units)
        return units

    def _process_units(self, units: list[WorkUnit]) -> None:
        missing = [unit for unit in units if not unit.is_done]
        total = sum(unit.count for unit in units)
        found = total - sum(unit.count for unit in missing)
        self._phases.start("filtering", rows=total - found)
        logger.info(
            "%s pairs from %d sources in %d work units%s",
            f"{total:,}",
            len(self._data.sources),
            len(units),
            f", {len(units) - len(missing)} of them done before" if found else "",
        )
        progress = Progress("filtering", total, done=found)
        for unit, _ in self._engine.run(process_unit, missing, describe=str):
            progress.add(unit.count)

    def _require_text(self) -> None:
        text = self._folder.text
        if not shards.shard_files(text, "train"):
            raise DataError(f"{text}: holds no train shards; run `python run.py process` first")

    def _tokenize(self, tokenizer: Tokenizer | None) -> Path:
        text, cache = self._folder.text, self._folder.tokens
        total = sum(shards.count_pairs(text, split) for split in SPLITS)
        with explained_disk_errors(cache, total * _TOKEN_BYTES_PER_PAIR):
            if tokenizer is None:
                tokenizer = self._train_tokenizer(text, self._data.train_tokenizer_vocab_size or 0)
            fingerprint = shards.fingerprint(text)
            if is_current(
                cache,
                text_fingerprint=fingerprint,
                tokenizer_fingerprint=tokenizer.fingerprint,
            ):
                return cache
            return write_token_cache(
                cache,
                splits={split: shards.shard_files(text, split) for split in SPLITS},
                tokenizer=tokenizer,
                text_fingerprint=fingerprint,
                engine=self._engine,
            )

    def _load_tokenizer(self) -> Tokenizer | None:
        """The configured tokenizer, before hours of work; None where one is to be trained."""
        if self._data.train_tokenizer_vocab_size is not None:
            return None
        return load_tokenizer(self._data.tokenizer or self._config.student.model_name)

    def _train_tokenizer(self, text: Path, vocab_size: int) -> Tokenizer:
        step = -(-shards.count_pairs(text, "train") // _TOKENIZER_TRAINING_PAIRS)
        sentences = (
            sentence
            for sides in shards.read_sides(text, "train")
            for side in sides
            for sentence in side[::step]
        )
        pairs = corpus_pairs(self._data.language_pairs)
        languages = tuple(dict.fromkeys(language for pair in pairs for language in pair))
        tokenizer = train_tokenizer(sentences, vocab_size, languages)
        tokenizer.save(self._folder.path / "tokenizer")
        return tokenizer

    def _token_lengths(self, tokenizer: Tokenizer | None) -> dict[str, Any]:
        """What each `max_seq_length` would leave out, per direction, for the report."""
        if tokenizer is None:
            tokenizer = load_tokenizer(str(self._folder.path / "tokenizer"))
        directions = self._data.language_pairs
        prompts = build_prompts(self._config.student.prompt, tokenizer, directions)
        overheads = {
            direction: prompt.overhead
            for direction, prompt in zip(directions, prompts, strict=True)
        }
        split = TokenCache.open(self._folder.tokens).split("train")
        configured = {
            "teacher": self._config.teacher.max_seq_length,
            "student": self._config.student.max_seq_length,
        }
        statistics = length_statistics(split, overheads, also=configured.values())
        return statistics.to_json(configured)

    def _has_token_cache(self) -> bool:
        try:
            return TokenCache.open(self._folder.tokens).folder == self._folder.tokens
        except DataError as error:
            logger.warning("%s", error)
            return False

    def _refresh(self, report: Report, fingerprint: str) -> None:
        """Has an output that is up to date tell of settings that change no byte of its text."""
        if self._has_same_settings():
            logger.info("%s is up to date, nothing to do", self._folder.path)
            return
        report.token_lengths = self._token_lengths(self._load_tokenizer())
        self._write_report(report, fingerprint)
        logger.info(
            "%s is up to date; its report and config.yaml now tell of the changed settings",
            self._folder.path,
        )

    def _write_report(self, report: Report, fingerprint: str) -> None:
        """Writes report and configuration, and says what the report warns of."""
        report.warnings = find_warnings(report)
        self._folder.finish(report, config_to_yaml(self._config), fingerprint)
        for warning in report.warnings:
            logger.warning("%s", warning)

    def _has_same_settings(self) -> bool:
        """Whether config.yaml holds this configuration, however the work is spread."""
        try:
            kept = load_config([self._folder.path / CONFIG])
        except ConfigError:
            return False  # missing, or of another version
        spread = {key: getattr(kept.data, key) for key in _SPREADING_KEYS}
        data = self._data.model_copy(update=spread)
        config = self._config.model_copy(update={"data": data})
        return kept.model_dump() == config.model_dump()

    def _finish(self, report: Report, fingerprint: str) -> None:
        report.phases = self._phases.summary()
        report.seconds = self._phases.seconds
        report.pairs_per_second = report.rows_in / report.seconds
        report.peak_rss_bytes = max(self._engine.peak.bytes, peak_memory_bytes())
        self._write_report(report, fingerprint)
        logger.info(
            "kept %s of %s pairs (%s train) in %s, %s pairs/s; see %s",
            f"{report.kept:,}",
            f"{report.rows_in:,}",
            f"{report.splits['train']:,}",
            format_seconds(report.seconds),
            format_count(report.pairs_per_second),
            self._folder.path / "report.html",
        )

    def _fingerprint(self, files: Sequence[Path]) -> str:
        """Of everything that the output depends on, without reading any source."""
        lexicon = self._data.adequacy.lexicon
        lexicon_files = sorted(expand_home(lexicon).rglob("*.json")) if lexicon else []
        settings = self._data.model_dump(mode="json", exclude=_IRRELEVANT_KEYS)
        tokenizer = self._data.tokenizer or self._config.student.model_name
        if self._data.train_tokenizer_vocab_size is not None:
            tokenizer = ""
        tokenizer_files = sorted(Path(tokenizer).glob("*token*.json")) if tokenizer else []
        document = {
            "format": FORMAT,
            "version": RESULT_VERSION,
            "data": settings,
            "languages": corpus_pairs(self._data.language_pairs),
            "evaluation": [item.model_dump(mode="json") for item in self._config.evaluation.sets],
            "tokenizer": [tokenizer, *map(file_identity, tokenizer_files)],
            "lexicon": [*map(file_identity, lexicon_files)],
            "files": [file_identity(path) for path in files],
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def __getattr__(name: str) -> object:
    # Importing Paddle costs seconds, which the data stage must not pay.
    if name == "StreamingDataset":
        from src.tokens.stream import StreamingDataset

        return StreamingDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
