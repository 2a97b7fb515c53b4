"""The text shards: Parquet files of sentence pairs, named by split, languages and number.

    text/train-en-zh-00000.parquet          en, zh, source, score; then dev and test
    rejected/rejected-en-zh-00000.parquet   the same, and the reason

The first two columns are the sides, named by their languages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from src.corpus.disk import explained_damage
from src.files import flush_to_disk

_READ_BLOCK_BYTES = 1 << 20
_NAME = re.compile(r"(train|dev|test|rejected)-.+-\d{5,}\.parquet")


def shard_path(folder: Path, split: str, languages: tuple[str, str], number: int) -> Path:
    """Where a shard belongs."""
    return folder / f"{split}-{'-'.join(languages)}-{number:05d}.parquet"


def is_shard_name(name: str) -> bool:
    """Whether a file is called as shards are."""
    return _NAME.fullmatch(name) is not None


def shard_files(folder: Path, split: str) -> list[Path]:
    """The shards of one split, in order."""
    return sorted(folder.glob(f"{split}-*-[0-9]*.parquet"))


def shard_schema(languages: tuple[str, str], *, with_reason: bool) -> pa.Schema:
    """The columns of a shard."""
    fields = [(language, pa.string()) for language in languages]
    fields += [("source", pa.string()), ("score", pa.float32())]
    return pa.schema([*fields, ("reason", pa.string())] if with_reason else fields)


class ShardFile:
    """A shard being written.

    Args:
        path: The file.
        schema: Its columns.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # Sentences hardly repeat: a dictionary of them would cost time and save nothing.
        repeating = [name for name in schema.names if name in ("source", "reason")]
        self._file = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating)
        self._schema = schema

    def write(self, columns: list[pa.Array]) -> None:
        """Appends rows as a row group; none for no rows."""
        if len(columns[0]):
            self._file.write_table(pa.table(columns, schema=self._schema))

    def __enter__(self) -> ShardFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_sides(folder: Path, split: str, *, rows: int = 8192) -> Iterator[tuple[list[str], ...]]:
    """Batches of both sides of a split, in order, whatever their languages.

    Raises:
        DataError: If a shard is damaged, or its first two columns hold no text.
    """
    for path in shard_files(folder, split):
        with _explained_damage(path), pq.ParquetFile(path) as file:
            sides = file.schema_arrow.names[:2]
            for batch in file.iter_batches(rows, columns=sides, use_threads=False):
                yield tuple(_texts(column) for column in batch.columns)


def _texts(column: pa.Array) -> list[str]:
    if column.type not in (pa.string(), pa.large_string()) or column.null_count:
        what = "an empty cell" if column.null_count else f"a column of {column.type}"
        raise pa.ArrowInvalid(f"{what} where text belongs")
    texts: list[str] = column.to_pylist()
    return texts


def _explained_damage(path: Path) -> AbstractContextManager[None]:
    return explained_damage(f"{path}: cannot be read", "make it again with `python run.py process`")


def count_pairs(folder: Path, split: str) -> int:
    """Rows of a split, from the shards' footers.

    Raises:
        DataError: If a shard is damaged.
    """
    count = 0
    for path in shard_files(folder, split):
        with _explained_damage(path):
            count += pq.read_metadata(path).num_rows
    return count


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
