"""Reading whole sources into Python values, which tests compare."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from src.corpus.readers import BadRow, Table, open_tables, read_blocks
from src.schema import SourceConfig

LANGUAGES = ("en", "zh")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": partial(gzip.compress, mtime=0),  # or test names would change with the clock
    ".bz2": partial(bz2.compress, compresslevel=1),  # blocks of 100 kB
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}

Pairs = list[tuple[str, str]]


def tables_of(path: Path | str, step: int = 1000, **source: Any) -> list[Table]:
    """The tables of a source between English and Chinese."""
    config = SourceConfig.model_validate({"path": str(path), **source})
    return open_tables(config, "name", step, LANGUAGES)


def rows_in(
    table: Table, first: int, count: int, block_rows: int = 1000
) -> tuple[Pairs, list[BadRow]]:
    """Pairs and bad rows of a range, after checking that blocks add up."""
    pairs: Pairs = []
    bad: list[BadRow] = []
    total = 0
    for block in read_blocks(table, first, count, block_rows):
        assert len(block.left) == len(block.right)
        assert 0 < block.rows == len(block.left) + len(block.bad) <= block_rows
        pairs += zip(block.left, block.right, strict=True)
        bad += block.bad
        total += block.rows
    assert total == count
    return pairs, bad


def rows_of(path: Path | str, **source: Any) -> tuple[Pairs, list[BadRow]]:
    """Pairs and bad rows of all tables of a source."""
    pairs: Pairs = []
    bad: list[BadRow] = []
    for table in tables_of(path, **source):
        more_pairs, more_bad = rows_in(table, 0, table.row_count)
        pairs += more_pairs
        bad += more_bad
    return pairs, bad


def rows_by_ranges(table: Table, chunk_size: int, block_rows: int) -> tuple[Pairs, list[BadRow]]:
    """Pairs and bad rows of a table, read range by range."""
    pairs: Pairs = []
    bad: list[BadRow] = []
    expected = 0
    for first, count in table.ranges(chunk_size):
        assert first == expected
        assert count > 0
        more_pairs, more_bad = rows_in(table, first, count, block_rows)
        pairs += more_pairs
        bad += more_bad
        expected += count
    assert expected == table.row_count
    return pairs, bad
