"""Parquet shards of sentence pairs: written with the same bytes whenever the rows are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from src.errors import DataError
from src.files import flush_to_disk

TEXT_SCHEMA = pa.schema(
    [("en", pa.string()), ("zh", pa.string()), ("source", pa.string()), ("score", pa.float32())]
)
REJECTED_SCHEMA = TEXT_SCHEMA.append(pa.field("reason", pa.string()))

_ROWS_PER_SHARD = 500_000
_READ_BLOCK_BYTES = 1 << 20


class ShardWriter:
    """Writes rows to `folder/prefix-00000.parquet` and following; at least one shard, even empty.

    Args:
        folder: Existing folder.
        prefix: First part of the file names.
        schema: Columns of the rows.
    """

    def __init__(self, folder: Path, prefix: str, schema: pa.Schema) -> None:
        self._folder = folder
        self._prefix = prefix
        self._schema = schema
        self._shard = 0
        self._rows = 0
        self._file = self._open()

    def _open(self) -> pq.ParquetWriter:
        path = self._folder / f"{self._prefix}-{self._shard:05d}.parquet"
        return pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: pa.Table) -> None:
        """Appends rows; a new shard begins when one has 500,000."""
        while rows.num_rows:
            if self._rows == _ROWS_PER_SHARD:
                self._file.close()
                self._shard += 1
                self._rows = 0
                self._file = self._open()
            part = rows.slice(0, _ROWS_PER_SHARD - self._rows)
            self._file.write_table(part.select(self._schema.names))
            self._rows += part.num_rows
            rows = rows.slice(part.num_rows)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def shard_files(folder: Path, prefix: str) -> list[Path]:
    """The shards of one split, in order."""
    return sorted(folder.glob(f"{prefix}-[0-9]*.parquet"))


def read_pairs(
    folder: Path, split: str, *, rows: int = 8192
) -> Iterator[tuple[list[str], list[str]]]:
    """Batches of English and Chinese sides of a split, in order.

    Raises:
        DataError: If a shard is damaged.
    """
    for path in shard_files(folder, split):
        yield from _read_shard(path, rows)


def _read_shard(path: Path, rows: int) -> Iterator[tuple[list[str], list[str]]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows, columns=["en", "zh"], use_threads=False):
                yield batch["en"].to_pylist(), batch["zh"].to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); make it again with `python run.py process`"
        ) from error


def count_pairs(folder: Path, split: str) -> int:
    """Rows of a split, from the shards' footers."""
    return sum(pq.read_metadata(path).num_rows for path in shard_files(folder, split))


def fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of all shards in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.parquet")):
        content = xxhash.xxh3_128()
        with path.open("rb") as file:
            while block := file.read(_READ_BLOCK_BYTES):
                content.update(block)
        digest.update(f"{path.name} {content.hexdigest()}\n".encode())
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Forces a folder's files and their names to the disk."""
    for path in (*folder.iterdir(), folder):
        flush_to_disk(path)
