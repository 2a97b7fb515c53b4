"""Work units: the pieces of the corpus that are read, repaired, scored and filtered on their own.

A unit is a range of rows of one table. Its result is a folder named by its fingerprint:

    kept.parquet      en, zh, score (float32), length_ratio (float32): the survivors, in order
    keys.npy          uint64 [3, survivors]: see src.corpus.dedup
    rejected.parquet  en, zh, score, reason: the dropped rows, in order; rows that could not be
                      read have their text in `en`
    unit.json         counts

The folder is written under another name and renamed when it is on the disk, so a folder with the
right name is the done-marker. The fingerprint covers the files (path, size, time of change), the
range and every setting the result depends on: what changed is made anew, the rest is found.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from src.corpus.characters import Hashes
from src.corpus.dedup import pair_keys
from src.corpus.disk import explained_disk_errors
from src.corpus.filters import build_rules, first_broken
from src.corpus.line_files import is_compressed
from src.corpus.normalise import Normaliser
from src.corpus.quantities import HISTOGRAM_EDGES, measure
from src.corpus.readers import BadRow, Pair, Row, Table, open_tables, read_rows, source_names
from src.corpus.scores import score_pairs
from src.corpus.shards import flush_folder
from src.errors import DataError
from src.schema import DataConfig, FiltersConfig, NormaliseConfig

# Raise when the same input and settings would give another result than before.
_RESULT_VERSION = 1
_MAX_RANGES_PER_COMPRESSED_FILE = 8
_BYTES_PER_PAIR = 300  # of one unit on disk, for messages about space

KEPT_SCHEMA = pa.schema(
    [
        ("en", pa.string()),
        ("zh", pa.string()),
        ("score", pa.float32()),
        ("length_ratio", pa.float32()),
    ]
)
REJECTED_SCHEMA = pa.schema(
    [("en", pa.string()), ("zh", pa.string()), ("score", pa.float32()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class UnitSettings:
    """The part of the configuration that a unit's result depends on."""

    normalise: NormaliseConfig
    filters: FiltersConfig
    quality_threshold: float

    @classmethod
    def of(cls, data: DataConfig) -> UnitSettings:
        """The settings of a data section."""
        return cls(data.normalise, data.filters, data.quality_threshold)


@dataclass(frozen=True)
class WorkUnit:
    """Rows `first` to `first + count` of a table.

    Attributes:
        table: Where the rows are.
        first: Number of the first row.
        count: Rows in the unit; for CSV an upper limit.
        block_rows: Rows handled at a time.
        settings: What to do with them.
        folder: Where the result belongs.
    """

    table: Table
    first: int
    count: int
    block_rows: int
    settings: UnitSettings
    folder: Path

    def __str__(self) -> str:
        files = " and ".join(map(str, self.table.paths))
        return f"{files}, rows {self.first + 1:,} to {self.first + self.count:,}"

    @property
    def is_done(self) -> bool:
        """Whether the result is there, whole."""
        return self.folder.is_dir()


@dataclass
class UnitCounts:
    """What happened to the rows of a unit; `unit.json`."""

    rows_in: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0] * (len(e) - 1) for name, e in HISTOGRAM_EDGES.items()}
    )

    @classmethod
    def load(cls, folder: Path) -> UnitCounts:
        """The counts of a finished unit."""
        return cls(**json.loads((folder / "unit.json").read_text(encoding="utf-8")))


def plan_units(data: DataConfig, work_folder: Path) -> list[WorkUnit]:
    """Cuts all sources into units, in the order of the corpus.

    The cuts depend on the data and `chunk_size` only, never on the number of workers.

    Raises:
        DataError: If there are no sources or one of them cannot be used.
    """
    if not data.sources:
        raise DataError(
            "data.sources is empty; name at least one corpus, e.g. data.sources=[corpus/train.tsv]"
        )
    settings = UnitSettings.of(data)
    units = []
    for source, name in zip(data.sources, source_names(data.sources), strict=True):
        for table in open_tables(source, name, data.chunk_size):
            for first, count in _ranges(table, data.chunk_size):
                digest = _fingerprint(table, first, count, data.chunk_size, settings)
                units.append(
                    WorkUnit(table, first, count, data.chunk_size, settings, work_folder / digest)
                )
    return units


def _ranges(table: Table, chunk_size: int) -> Iterator[tuple[int, int]]:
    total, step = table.row_count, chunk_size
    if table.format == "csv":
        step = total  # a record may span lines: nobody can start in the middle
    elif any(map(is_compressed, table.paths)):
        # Each range unpacks all before it, so there are few; unpacking is 20 times faster than
        # the rest.
        chunks = -(-total // chunk_size)
        step = chunk_size * -(-chunks // _MAX_RANGES_PER_COMPRESSED_FILE)
    for first in range(0, total, step):
        yield first, min(step, total - first)


def _fingerprint(
    table: Table, first: int, count: int, chunk_size: int, settings: UnitSettings
) -> str:
    document = {
        "version": _RESULT_VERSION,
        "files": [file_identity(path) for path in table.paths],
        "source": table.source,
        "format": table.format,
        "columns": [table.header_lines, *table.columns],
        "range": [first, count, chunk_size],
        "normalise": settings.normalise.model_dump(mode="json"),
        "filters": settings.filters.model_dump(mode="json"),
        "quality_threshold": settings.quality_threshold,
    }
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def file_identity(path: Path) -> list[str | int]:
    """What tells a file from another or from its older self without reading it."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def process_unit(unit: WorkUnit) -> UnitCounts:
    """Makes a unit's folder.

    Raises:
        DataError: If its files cannot be read any more, or the disk is full.
    """
    partial = unit.folder.with_name(f"{unit.folder.name}.partial-{os.getpid()}")
    counts = UnitCounts()
    with explained_disk_errors(partial, unit.table.row_count * _BYTES_PER_PAIR):
        try:
            partial.mkdir(parents=True)
            _write_unit(unit, partial, counts)
            _commit(partial, unit.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return counts


def _write_unit(unit: WorkUnit, partial: Path, counts: UnitCounts) -> None:
    keys = [np.zeros((3, 0), dtype=np.uint64)]
    normaliser = Normaliser(unit.settings.normalise)
    rows = read_rows(unit.table, unit.first, unit.count)
    with (
        pq.ParquetWriter(partial / "kept.parquet", KEPT_SCHEMA, compression="zstd") as kept_file,
        pq.ParquetWriter(
            partial / "rejected.parquet", REJECTED_SCHEMA, compression="zstd"
        ) as rejected_file,
    ):
        while block := list(islice(rows, unit.block_rows)):
            kept, rejected, block_keys = _process_block(block, unit.settings, normaliser, counts)
            kept_file.write_table(kept)
            rejected_file.write_table(rejected)
            keys.append(block_keys)
    counts.repaired = dict(normaliser.counts)
    # NumPy's own file writing forgets why a write failed; a full disk must stay recognisable.
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(keys, axis=1))
    (partial / "keys.npy").write_bytes(buffer.getbuffer())
    text = json.dumps(asdict(counts), sort_keys=True)
    (partial / "unit.json").write_text(text, encoding="utf-8")


def _process_block(
    block: Sequence[Row], settings: UnitSettings, normaliser: Normaliser, counts: UnitCounts
) -> tuple[pa.Table, pa.Table, Hashes]:
    """Kept and rejected rows of a block, each in its order, and the keys of the kept."""
    pairs = [(place, row) for place, row in enumerate(block) if isinstance(row, Pair)]
    places = np.array([place for place, _ in pairs], dtype=np.int64)
    english = [normaliser.english(row.english) for _, row in pairs]
    chinese = [normaliser.chinese(row.chinese) for _, row in pairs]
    columns = score_pairs(english, chinese, settings.filters)
    rules = build_rules(settings.filters, settings.quality_threshold)
    broken = first_broken(columns, rules)
    kept = np.flatnonzero(broken < 0)
    table = pa.table(
        {
            "en": pa.array(english, pa.string()),
            "zh": pa.array(chinese, pa.string()),
            "score": columns["quality"],
            "length_ratio": columns["length_ratio"],
        },
        schema=KEPT_SCHEMA,
    )
    rejected: list[tuple[int, dict[str, Any]]] = [
        (
            int(places[row]),
            {
                "en": english[row],
                "zh": chinese[row],
                "score": float(columns["quality"][row]),
                "reason": rules[broken[row]].reason,
            },
        )
        for row in np.flatnonzero(broken >= 0)
    ]
    rejected += [
        (place, {"en": row.text, "zh": "", "score": 0.0, "reason": row.reason})
        for place, row in enumerate(block)
        if isinstance(row, BadRow)
    ]
    rejected.sort(key=lambda item: item[0])
    _count(counts, len(block), len(kept), [item["reason"] for _, item in rejected], table)
    return (
        table.take(pa.array(kept)),
        pa.Table.from_pylist([item for _, item in rejected], schema=REJECTED_SCHEMA),
        pair_keys([english[row] for row in kept], [chinese[row] for row in kept]),
    )


def _count(
    counts: UnitCounts, rows: int, kept: int, reasons: Sequence[str], table: pa.Table
) -> None:
    counts.rows_in += rows
    counts.kept += kept
    counts.dropped = dict(Counter(counts.dropped) + Counter(reasons))
    for name, values in measure(table).items():
        bins, _ = np.histogram(values, bins=HISTOGRAM_EDGES[name])
        counts.histograms[name] = [int(n) for n in bins + counts.histograms[name]]


def _commit(partial: Path, folder: Path) -> None:
    flush_folder(partial)
    try:
        partial.rename(folder)
    except OSError:
        # A worker of an earlier, killed run may have finished the same unit meanwhile.
        if not folder.is_dir():
            raise


def forget_other_units(work_folder: Path, units: Sequence[WorkUnit]) -> None:
    """Removes results that no current unit uses, and what killed runs left half-done."""
    wanted = {unit.folder.name for unit in units}
    for folder in work_folder.iterdir():
        if folder.name not in wanted:
            shutil.rmtree(folder, ignore_errors=True)
