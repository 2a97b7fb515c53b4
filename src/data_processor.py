"""The data stage, `python run.py process`: raw parallel text to a token cache.

    sources -> work units -> duplicates -> held-out splits -> sample -> text/ -> tokens/ -> report

Work units run in parallel and keep their results in `output_dir/work`, so a killed run loses the
units in flight and a changed setting repeats only what depends on it. Everything after them runs in
the order of the corpus: the result is the same bytes for any number of workers and interruptions.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from src.config import config_to_yaml
from src.corpus import shards
from src.corpus.assemble import SPLITS, Corpus, decide, write_corpus
from src.corpus.disk import explained_disk_errors
from src.corpus.readers import find_files
from src.corpus.report import Report, find_warnings, write_report
from src.corpus.work_units import (
    WorkUnit,
    file_identity,
    forget_other_units,
    plan_units,
    process_unit,
)
from src.errors import DataError
from src.files import write_text
from src.schema import Config
from src.tasks.processes import peak_memory_bytes, run_tasks
from src.tasks.progress import Progress
from src.tokens.cache import write_token_cache
from src.tokens.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from src.units import format_count, format_seconds

if TYPE_CHECKING:
    from src.tokens.stream import StreamingDataset

__all__ = ["DataProcessor", "StreamingDataset"]

logger = logging.getLogger(__name__)

_STATE_FORMAT = "linguabridge-process/1"
_BYTES_PER_PAIR = 300  # text and rejected shards, for messages about space
_TOKEN_BYTES_PER_PAIR = 250
# More text does not change the merges of a vocabulary of this project's sizes.
_TOKENIZER_TRAINING_PAIRS = 500_000
# Settings that change no byte of the output.
_IRRELEVANT_KEYS = {"num_workers", "language_pairs", "max_samples"}


class DataProcessor:
    """Makes `data.output_dir` from `data.sources`.

    Args:
        config: The whole configuration; `student.model_name` names the tokenizer when
            `data.tokenizer` does not.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._data = config.data
        self._output = Path(config.data.output_dir).expanduser()
        self._peak_memory_bytes = 0

    def process(self) -> Report:
        """Runs the stage, or returns the report of the last run when nothing has changed.

        Raises:
            DataError: If a source cannot be used, too little is left, or the disk is full.
            ModelError: If the tokenizer cannot be loaded.
            WorkerLost: If a worker process dies.
        """
        started = time.monotonic()
        with self._locked():
            fingerprint = self._fingerprint()
            if (report := self._finished_report(fingerprint)) is not None:
                logger.info("%s is up to date, nothing to do", self._output)
                return report
            units = self._plan()
            tokenizer = self._load_tokenizer()
            self._process_units(units)
            report = self._assemble(units)
            self._tokenize(tokenizer)
            self._finish(report, fingerprint, started)
            return report

    def tokenize_and_save(self) -> Path:
        """Makes the token cache of the text shards that are in `output_dir`.

        Returns:
            Folder of the cache.

        Raises:
            DataError: If there are no text shards yet, or the disk is full.
            ModelError: If the tokenizer cannot be loaded.
        """
        with self._locked():
            return self._tokenize(self._load_tokenizer())

    def _plan(self) -> list[WorkUnit]:
        work_folder = self._output / "work"
        with explained_disk_errors(work_folder, _BYTES_PER_PAIR):
            work_folder.mkdir(parents=True, exist_ok=True)
        units = plan_units(self._data, work_folder)
        forget_other_units(work_folder, units)
        return units

    def _process_units(self, units: list[WorkUnit]) -> None:
        missing = [unit for unit in units if not unit.is_done]
        total = sum(unit.count for unit in units)
        found = total - sum(unit.count for unit in missing)
        logger.info(
            "%s pairs from %d sources in %d work units%s",
            f"{total:,}",
            len(self._data.sources),
            len(units),
            f", {len(units) - len(missing)} of them done before" if found else "",
        )
        progress = Progress("filtering", total, done=found)
        workers = self._data.num_workers or len(os.sched_getaffinity(0))
        for unit, _, memory in run_tasks(process_unit, missing, workers=workers, describe=str):
            self._peak_memory_bytes = max(self._peak_memory_bytes, memory)
            progress.add(unit.count)

    def _assemble(self, units: list[WorkUnit]) -> Report:
        """Writes text/ and rejected/; the old ones stay until the new ones are whole."""
        partial = self._output / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        corpus = Corpus(units)
        logger.info("looking for duplicates among %s pairs", f"{len(corpus):,}")
        verdicts, coverage = decide(corpus, self._data)
        with explained_disk_errors(partial, sum(unit.count for unit in units) * _BYTES_PER_PAIR):
            report = write_corpus(corpus, verdicts, partial)
            report.coverage = coverage
            for name in ("text", "rejected"):
                shards.flush_folder(partial / name)
            self._forget_finish()
            for name in ("text", "rejected"):
                shutil.rmtree(self._output / name, ignore_errors=True)
                (partial / name).rename(self._output / name)
            partial.rmdir()
        return report

    def _tokenize(self, tokenizer: Tokenizer | None) -> Path:
        text = self._output / "text"
        if not shards.shard_files(text, "train"):
            raise DataError(f"{text}: holds no train shards; run `python run.py process` first")
        cache = self._output / "tokens"
        total = sum(shards.count_pairs(text, split) for split in SPLITS)
        with explained_disk_errors(cache, total * _TOKEN_BYTES_PER_PAIR):
            if tokenizer is None:
                tokenizer = self._train_tokenizer(text, self._data.train_tokenizer_vocab_size or 0)
            fingerprint = shards.fingerprint(text)
            if _made_from(cache) == (fingerprint, tokenizer.fingerprint):
                return cache
            progress = Progress("tokenising", total)
            return write_token_cache(
                cache,
                splits={split: shards.read_pairs(text, split) for split in SPLITS},
                tokenizer=tokenizer,
                text_fingerprint=fingerprint,
                progress=progress.add,
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
            for sides in shards.read_pairs(text, "train")
            for side in sides
            for sentence in side[::step]
        )
        tokenizer = train_tokenizer(sentences, vocab_size)
        tokenizer.save(self._output / "tokenizer")
        return tokenizer

    def _finish(self, report: Report, fingerprint: str, started: float) -> None:
        report.seconds = time.monotonic() - started
        report.pairs_per_second = report.rows_in / report.seconds
        report.peak_rss_bytes = max(self._peak_memory_bytes, peak_memory_bytes())
        report.warnings = find_warnings(report)
        with explained_disk_errors(self._output, _BYTES_PER_PAIR):
            write_text(self._output / "config.yaml", config_to_yaml(self._config))
            write_report(report, self._output)
            state = {"format": _STATE_FORMAT, "fingerprint": fingerprint}
            write_text(self._output / "process.json", json.dumps(state) + "\n")
        for warning in report.warnings:
            logger.warning("%s", warning)
        logger.info(
            "kept %s of %s pairs (%s train) in %s, %s pairs/s; see %s",
            f"{report.kept:,}",
            f"{report.rows_in:,}",
            f"{report.splits['train']:,}",
            format_seconds(report.seconds),
            format_count(report.pairs_per_second),
            self._output / "report.html",
        )

    def _fingerprint(self) -> str:
        """Of everything that the output depends on, without reading any source."""
        settings = self._data.model_dump(mode="json", exclude=_IRRELEVANT_KEYS)
        tokenizer = self._data.tokenizer or self._config.student.model_name
        if self._data.train_tokenizer_vocab_size is not None:
            tokenizer = ""
        tokenizer_files = sorted(Path(tokenizer).glob("*token*.json")) if tokenizer else []
        document = {
            "format": _STATE_FORMAT,
            "data": settings,
            "tokenizer": [tokenizer, *map(file_identity, tokenizer_files)],
            "files": [
                file_identity(path)
                for source in self._data.sources
                for paths in find_files(source)
                for path in paths
            ],
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def _finished_report(self, fingerprint: str) -> Report | None:
        try:
            state = json.loads((self._output / "process.json").read_text(encoding="utf-8"))
            if state != {"format": _STATE_FORMAT, "fingerprint": fingerprint}:
                return None
            report = (self._output / "report.json").read_text(encoding="utf-8")
            needed = ("text/train-00000.parquet", "tokens/MANIFEST.json")
            if not all((self._output / name).is_file() for name in needed):
                return None
            return Report.from_json(json.loads(report))
        except (OSError, ValueError, DataError):
            return None  # never finished, or by another version: make it again

    def _forget_finish(self) -> None:
        for name in ("process.json", "report.json", "report.html"):
            (self._output / name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps a second process off the same folder; the lock ends with this process."""
        with explained_disk_errors(self._output, _BYTES_PER_PAIR):
            self._output.mkdir(parents=True, exist_ok=True)
            lock = (self._output / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self._output}: another process is working there; wait for it or set another "
                    "data.output_dir"
                ) from error
            yield


def _made_from(cache: Path) -> tuple[str, str] | None:
    """Fingerprints of the text and the tokenizer of a whole cache."""
    try:
        manifest = json.loads((cache / "MANIFEST.json").read_text(encoding="utf-8"))
        return manifest["text_fingerprint"], manifest["tokenizer_fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def __getattr__(name: str) -> object:
    # Importing Paddle costs seconds, which the data stage must not pay.
    if name == "StreamingDataset":
        from src.tokens.stream import StreamingDataset

        return StreamingDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
