"""Work units: the pieces of the corpus that are read, repaired and scored on their own.

A unit is a range of rows of one table. Its result is a folder (see `src.corpus.unit_files`) named
by the unit's fingerprint, which covers the files (path, size, time of change), the range and every
setting the result depends on: what changed is made anew, the rest is found. The folder is written
under another name and renamed when it is on the disk, so a folder with the right name is the
done-marker.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from src.corpus import readers
from src.corpus.disk import explained_disk_errors
from src.corpus.keys import pair_keys
from src.corpus.normalise import Normaliser
from src.corpus.quantities import histograms
from src.corpus.readers import Table, open_tables, read_blocks, source_names
from src.corpus.scores import score_pairs
from src.corpus.shards import flush_folder
from src.corpus.stage_folder import is_unit_name
from src.corpus.unit_files import ScoredBlock, UnitCounts, UnitWriter, is_whole
from src.environment import keep_freed_memory
from src.errors import DataError
from src.languages import corpus_pairs
from src.schema.data import DataConfig, FiltersConfig, NormaliseConfig, SourceConfig
from src.tasks.engine import available_cores

logger = logging.getLogger(__name__)

# Raise when the same input and settings would give another result than before.
RESULT_VERSION = 3
_BYTES_PER_PAIR = 300  # of one unit on disk, for messages about space


@dataclass(frozen=True)
class UnitSettings:
    """The part of the configuration that a unit's result depends on."""

    normalise: NormaliseConfig
    length_ratio_scale: float
    length_ratio_smoothing: float
    near_duplicates: bool

    @classmethod
    def of(cls, data: DataConfig) -> UnitSettings:
        """The settings of a data section."""
        return cls(
            data.normalise,
            data.filters.length_ratio_scale,
            data.filters.length_ratio_smoothing,
            data.filters.near_duplicates == "drop",
        )

    @property
    def filters(self) -> FiltersConfig:
        """What scoring needs to know; limits are not among it."""
        return FiltersConfig(
            length_ratio_scale=self.length_ratio_scale,
            length_ratio_smoothing=self.length_ratio_smoothing,
        )


@dataclass(frozen=True)
class WorkUnit:
    """Rows `first` to `first + count` of a table.

    Attributes:
        table: Where the rows are.
        first: Number of the first row.
        count: Rows in the unit; an upper limit where the format cannot tell.
        block_rows: Rows handled at a time.
        settings: What to do with them.
        weight: Of the source, for sampling.
        folder: Where the result belongs.
    """

    table: Table
    first: int
    count: int
    block_rows: int
    settings: UnitSettings
    weight: float
    folder: Path

    def __str__(self) -> str:
        files = " and ".join(map(str, self.table.paths))
        return f"{files}, rows {self.first + 1:,} to {self.first + self.count:,}"

    @property
    def is_done(self) -> bool:
        """Whether the result is there, whole."""
        return self.folder.is_dir()


def plan_units(data: DataConfig, work_folder: Path) -> list[WorkUnit]:
    """Cuts all sources into units, in the order of the corpus.

    The cuts depend on the data and `chunk_size` only, never on the number of workers.

    Raises:
        DataError: If there are no sources, one of them cannot be used, or none holds a pair of
            languages.
    """
    if not data.sources:
        raise DataError(
            "data.sources is empty; name at least one corpus, e.g. data.sources=[corpus/train.tsv]"
        )
    settings = UnitSettings.of(data)
    pairs = corpus_pairs(data.language_pairs)
    units = []

    def look_through(source: SourceConfig, name: str) -> list[Table]:
        return open_tables(source, name, data.chunk_size, readers.source_languages(source, pairs))

    with ThreadPoolExecutor(available_cores()) as pool:
        tables_of = pool.map(look_through, data.sources, source_names(data.sources))
        opened = list(zip(data.sources, tables_of, strict=True))
    for source, tables in opened:
        for table in tables:
            for first, count in table.ranges(data.chunk_size):
                digest = _fingerprint(table, first, count, data.chunk_size, settings)
                folder = work_folder / digest
                units.append(
                    WorkUnit(table, first, count, data.chunk_size, settings, source.weight, folder)
                )
    _require_all(pairs, [table.languages for _, tables in opened for table in tables])
    return units


def _require_all(pairs: Sequence[tuple[str, str]], found: Sequence[tuple[str, str]]) -> None:
    """Refuses pairs of languages that no source holds: nothing would be learned of them."""
    missing = ["-".join(pair) for pair in pairs if pair not in found]
    if missing:
        raise DataError(
            f"data.language_pairs has {' and '.join(missing)}, which no source holds; add one that "
            f"says `languages: {missing[0]}`, or leave the pair out"
        )


def _fingerprint(
    table: Table, first: int, count: int, chunk_size: int, settings: UnitSettings
) -> str:
    document = {
        "version": RESULT_VERSION,
        "files": [file_identity(path) for path in table.paths],
        "source": table.source,
        "layout": table.layout,
        "languages": table.languages,
        "range": [first, count, chunk_size],
        "normalise": settings.normalise.model_dump(mode="json"),
        "length_ratio": [settings.length_ratio_scale, settings.length_ratio_smoothing],
        "near_duplicates": settings.near_duplicates,
    }
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def file_identity(path: Path) -> list[str | int]:
    """What tells a file from another or from its older self without reading it."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def process_unit(unit: WorkUnit) -> int:
    """Makes a unit's folder; returns the number of rows it read.

    Raises:
        DataError: If its files cannot be read any more, or the disk is full.
    """
    keep_freed_memory()  # blocks are as large as one another, so the next one takes it up again
    partial = unit.folder.with_name(f"{unit.folder.name}.partial-{os.getpid()}")
    with explained_disk_errors(partial, unit.table.row_count * _BYTES_PER_PAIR):
        try:
            partial.mkdir(parents=True)
            counts = _write_unit(unit, partial)
            _commit(partial, unit.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return counts.rows_in


def _write_unit(unit: WorkUnit, partial: Path) -> UnitCounts:
    counts = UnitCounts()
    unreadable: Counter[str] = Counter()
    languages, settings = unit.table.languages, unit.settings
    normaliser = Normaliser(settings.normalise, languages)
    with UnitWriter(partial) as writer:
        for rows in read_blocks(unit.table, unit.first, unit.count, unit.block_rows):
            counts.rows_in += rows.rows
            unreadable.update(row.reason for row in rows.bad)
            writer.write_unreadable(rows.bad)
            if not len(rows.left):
                continue
            left, right = normaliser.apply(rows.left, rows.right)
            columns = score_pairs(left, right, languages, settings.filters)
            keys = pair_keys(left, right, near=settings.near_duplicates)
            writer.write(ScoredBlock(left, right, columns, keys))
            counts.blocks.append(len(left))
            for name, bins in histograms(left, right, columns).items():
                known = counts.histograms.get(name, [0] * len(bins))
                counts.histograms[name] = [int(n) for n in bins + known]
        counts.unreadable = dict(sorted(unreadable.items()))
        counts.repaired = dict(sorted(normaliser.counts.items()))
        writer.finish(counts)
    return counts


def _commit(partial: Path, folder: Path) -> None:
    flush_folder(partial)
    try:
        partial.rename(folder)
    except OSError:
        # A worker of an earlier, killed run may have finished the same unit meanwhile.
        if not folder.is_dir():
            raise


def forget_other_units(work_folder: Path, units: Sequence[WorkUnit]) -> None:
    """Removes results that no current unit uses, and what killed runs left half-done.

    What is not named like a unit is somebody else's and stays.

    Args:
        work_folder: Where the units' folders lie.
        units: The units of this run.
    """
    wanted = {unit.folder.name for unit in units}
    for entry in work_folder.iterdir():
        if entry.name not in wanted and is_unit_name(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


def forget_damaged_units(units: Sequence[WorkUnit]) -> None:
    """Removes results that are not whole any more, so that they are made again."""
    for unit in units:
        if unit.is_done and not is_whole(unit.folder):
            logger.warning("%s: the work unit in %s is damaged; making it again", unit, unit.folder)
            shutil.rmtree(unit.folder)
