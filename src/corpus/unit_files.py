"""The files of a finished work unit: every readable row with its texts, scores and keys.

    rows.arrow          left, right (strings) and the score columns (float32), in blocks
    keys.npy            uint64 [K, rows]: see src.corpus.keys
    unreadable.parquet  row (its number in the file), reason, text
    unit.json           counts

Thresholds are no part of it: they decide on the scores later, so that changing one computes nothing
anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from src.corpus.arrays import write_array
from src.corpus.disk import explained_damage
from src.corpus.keys import KEYS
from src.corpus.readers import BadRow
from src.corpus.texts import Texts

LEFT, RIGHT = "left", "right"
_ROWS, _KEYS, _UNREADABLE, _COUNTS = "rows.arrow", "keys.npy", "unreadable.parquet", "unit.json"
_UNREADABLE_SCHEMA = pa.schema(
    [("row", pa.int64()), ("reason", pa.string()), ("text", pa.string())]
)

Columns = Mapping[str, NDArray[np.float32]]


@dataclass
class UnitCounts:
    """What happened to the rows of a unit.

    Attributes:
        rows_in: Rows read.
        blocks: Readable rows of each block of `rows.arrow`.
        unreadable: Rows that could not be read, by reason.
        repaired: Rows changed by each repair.
        histograms: Readable rows by quantity and bin; see `src.corpus.quantities`.
    """

    rows_in: int = 0
    blocks: list[int] = field(default_factory=list)
    unreadable: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, list[int]] = field(default_factory=dict)


class ScoredBlock(NamedTuple):
    """Rows of a unit that were handled together.

    Attributes:
        left: Texts of the first language, repaired.
        right: Texts of the second.
        columns: Their scores, `[N]` each.
        keys: `[K, N]` their keys.
    """

    left: Texts
    right: Texts
    columns: Columns
    keys: NDArray[np.uint64]


class UnitWriter:
    """Writes a unit's files into an existing folder; `finish` makes them whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: pa.RecordBatchFileWriter | None = None
        self._keys = [np.zeros((KEYS, 0), np.uint64)]
        self._unreadable = pq.ParquetWriter(
            folder / _UNREADABLE, _UNREADABLE_SCHEMA, compression="zstd"
        )

    def __enter__(self) -> UnitWriter:
        return self

    def write(self, block: ScoredBlock) -> None:
        """Appends readable rows."""
        arrays = [block.left.to_arrow(), block.right.to_arrow()]
        arrays += [pa.array(column) for column in block.columns.values()]
        batch = pa.RecordBatch.from_arrays(arrays, [LEFT, RIGHT, *block.columns])
        if self._rows is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
            self._rows = pa.ipc.new_file(str(self._folder / _ROWS), batch.schema, options=options)
        self._rows.write_batch(batch)
        self._keys.append(block.keys)

    def write_unreadable(self, rows: Sequence[BadRow]) -> None:
        """Appends rows that could not be read."""
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._unreadable.write_table(pa.table(columns, schema=_UNREADABLE_SCHEMA))

    def finish(self, counts: UnitCounts) -> None:
        """Writes what is known at the end."""
        write_array(self._folder / _KEYS, np.concatenate(self._keys, axis=1))
        text = json.dumps(asdict(counts), sort_keys=True)
        (self._folder / _COUNTS).write_text(text, encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        if self._rows is not None:
            self._rows.close()
        self._unreadable.close()


def read_counts(folder: Path) -> UnitCounts:
    """The counts of a finished unit."""
    return UnitCounts(**json.loads((folder / _COUNTS).read_text(encoding="utf-8")))


def is_whole(folder: Path) -> bool:
    """Whether all files of a finished unit are there and as long as they were; reads their ends.

    Only a failing disk or somebody's hand can change that: a unit takes its name when it is whole.
    """
    try:
        counts = read_counts(folder)
        rows = sum(counts.blocks)
        arrays = [np.load(path, mmap_mode="r") for path in folder.glob("*.npy")]
        pq.read_metadata(folder / _UNREADABLE)
        if counts.blocks:
            with pa.memory_map(str(folder / _ROWS)) as file:
                if pa.ipc.open_file(file).num_record_batches != len(counts.blocks):
                    return False
    except (OSError, ValueError, TypeError, EOFError, pa.ArrowException):
        return False
    return keys_file(folder).is_file() and all(array.shape[-1] == rows for array in arrays)


def keys_file(folder: Path) -> Path:
    """Where the keys of a finished unit lie."""
    return folder / _KEYS


def read_blocks_of(
    folder: Path, columns: Sequence[str], blocks: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The named columns of a unit's blocks, or of some of them.

    Args:
        folder: A finished unit.
        columns: Names in `rows.arrow`; others are not unpacked.
        blocks: Numbers of blocks. None: all, in order.

    Raises:
        DataError: If the file is damaged.
    """
    path = folder / _ROWS
    if not path.is_file():  # no row was readable
        return
    damage = explained_damage(
        f"{folder} is a damaged work unit", "remove it and run `python run.py process` again"
    )
    with damage, pa.memory_map(str(path)) as file:
        names = pa.ipc.open_file(file).schema.names
        options = pa.ipc.IpcReadOptions(
            included_fields=sorted(names.index(name) for name in columns), use_threads=False
        )
        reader = pa.ipc.open_file(file, options=options)
        for number in range(reader.num_record_batches) if blocks is None else blocks:
            yield reader.get_batch(number)


def read_unreadable(folder: Path) -> pa.Table:
    """The rows that could not be read: row, reason, text."""
    return pq.read_table(folder / _UNREADABLE, use_threads=False)
