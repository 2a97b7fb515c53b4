"""Tables: the files of a source, ready to be read in any format."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from src.corpus.readers.blocks import Block
from src.corpus.readers.csv_files import open_csv
from src.corpus.readers.files import find_files, languages_in_file
from src.corpus.readers.json_lines import open_json_lines
from src.corpus.readers.moses import open_moses
from src.corpus.readers.parquet import open_parquet
from src.corpus.readers.po import open_po
from src.corpus.readers.row_file import Request, RowFile
from src.corpus.readers.streams import COMPRESSED_SUFFIXES, explained_read_errors
from src.corpus.readers.tmx import open_tmx
from src.corpus.readers.tsv import open_tsv
from src.errors import DataError
from src.schema.data import SourceConfig
from src.units import format_bytes

logger = logging.getLogger(__name__)

Format = Literal["moses", "tsv", "csv", "jsonl", "parquet", "tmx", "po"]

_OPEN: dict[Format, Callable[[Request], RowFile]] = {
    "moses": open_moses,
    "tsv": open_tsv,
    "csv": open_csv,
    "jsonl": open_json_lines,
    "parquet": open_parquet,
    "tmx": open_tmx,
    "po": open_po,
}
_FORMATS: dict[str, Format] = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tmx": "tmx",
    ".po": "po",
}
_WORTH_A_LINE_BYTES = 1 << 30


@dataclass(frozen=True)
class Table:
    """One file, or one pair of Moses files, that has been looked through.

    Attributes:
        source: Name of the source it belongs to.
        format: How rows are written.
        paths: The file; two for Moses.
        languages: Of the corpus; blocks have the first one left.
        rows: The format's own view of the files.
        stamps: Size in bytes and time of change in ns of every file, when it was looked through.
    """

    source: str
    format: Format
    paths: tuple[Path, ...]
    languages: tuple[str, str]
    rows: RowFile
    stamps: tuple[tuple[int, int], ...]

    @property
    def row_count(self) -> int:
        """Rows in it: pairs, and rows that cannot be read."""
        return self.rows.row_count

    @property
    def layout(self) -> list[str | int]:
        """What the rows depend on beside the bytes of the files; for fingerprints."""
        return [self.format, *self.rows.layout]

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Cuts it into ranges (first, count) of about `chunk_size` rows, each to be read alone.

        They are larger where a file cannot be entered midway: compressed, PO, large row groups.
        """
        return self.rows.ranges(chunk_size)


def open_tables(
    source: SourceConfig, name: str, step: int, languages: tuple[str, str]
) -> list[Table]:
    """Finds a source's files and looks through each once, several at a time.

    Args:
        source: One entry of `data.sources`; its files are on this machine.
        name: Its name in reports.
        step: Rows between two places at which reading can start.
        languages: The pair of the corpus that it belongs to; see `source_languages`.

    Raises:
        DataError: If a file is missing, unreadable, empty, damaged, not text, or not in its format.
    """
    files = find_files(source)
    size = sum(path.stat().st_size for paths in files for path in paths)
    if size >= _WORTH_A_LINE_BYTES:
        logger.info("looking through %s, %s", name, format_bytes(size))
    order = languages_in_file(source) or languages
    if {*order} != {*languages}:
        raise DataError(f"{source.path}: is {'-'.join(order)}, not {'-'.join(languages)}")
    open_one = partial(_open_table, source, name, step, languages, order)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        tables = [pool.submit(open_one, paths) for paths in files]
        try:
            return [table.result() for table in tables]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _open_table(
    source: SourceConfig,
    name: str,
    step: int,
    languages: tuple[str, str],
    order: tuple[str, str],
    paths: tuple[Path, ...],
) -> Table:
    format_ = source.format or _guess_format(paths)
    if (format_ == "moses") != (len(paths) > 1):
        raise DataError(
            f"{source.path}: format {format_} does not fit; Moses files are named as a pair, "
            "e.g. corpus/train.{en,zh}, and other formats as one file"
        )
    stamps = tuple(map(_stamp, paths))
    rows = _OPEN[format_](Request(paths, languages, order, step))
    if rows.row_count == 0:
        raise DataError(f"{paths[0]}: holds a header but no pairs; remove it from data.sources")
    return Table(name, format_, paths, languages, rows, stamps)


def _guess_format(paths: tuple[Path, ...]) -> Format:
    if len(paths) > 1:
        return "moses"
    suffixes = [s for s in map(str.lower, paths[0].suffixes) if s not in COMPRESSED_SUFFIXES]
    if not suffixes or suffixes[-1] not in _FORMATS:
        raise DataError(
            f"{paths[0]}: cannot tell its format from its name; set format to "
            f"{', '.join(_OPEN)}, or name two files as corpus/train.{{en,zh}}"
        )
    return _FORMATS[suffixes[-1]]


def _stamp(path: Path) -> tuple[int, int]:
    with explained_read_errors(path):
        status = path.stat()
    return status.st_size, status.st_mtime_ns


def read_blocks(table: Table, first: int, count: int, block_rows: int) -> Iterator[Block]:
    """Rows `first` to `first + count` of a table.

    Args:
        table: The table.
        first: Number of the first row, from 0.
        count: Rows to read.
        block_rows: Most rows of a block; one of very long rows has fewer.

    Raises:
        DataError: If a file has changed since it was looked through, or cannot be read any more.
    """
    _check_unchanged(table)
    yield from table.rows.read(first, count, block_rows)
    _check_unchanged(table)


def _check_unchanged(table: Table) -> None:
    for path, stamp in zip(table.paths, table.stamps, strict=True):
        if _stamp(path) != stamp:
            raise DataError(
                f"{path}: changed while it was processed; run again when it is complete"
            )
