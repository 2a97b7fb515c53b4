"""CSV: one pair a record, cells between commas or semicolons, quotes around what needs them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from src.corpus.readers.blocks import BAD_ENCODING, MALFORMED, BadRow, Block, block_of_columns
from src.corpus.readers.columns import SAMPLE_LINES, Columns, find_columns
from src.corpus.readers.csv_kernels import find_record_ends, split_records
from src.corpus.readers.encoding import check_is_utf8_text
from src.corpus.readers.kernels import gather
from src.corpus.readers.line_index import LineIndex, index_lines
from src.corpus.readers.line_reader import LineReader, Lines, line_blocks
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import ByteFile, read_head
from src.corpus.texts import Bytes, Offsets
from src.errors import DataError

_SEPARATORS = (",", ";")


@dataclass(frozen=True)
class _RecordEnds:
    """A `FindEnds` for records."""

    separator: str

    def __call__(self, data: Bytes, begin: int, end: int, ends: Offsets, *, is_final: bool) -> int:
        return find_record_ends(data, begin, end, ends, ord(self.separator), is_final)


@dataclass(frozen=True)
class CsvFile:
    """A `RowFile`.

    Attributes:
        index: Its records, the header among them.
        columns: Where the two languages are.
        separator: Between cells.
    """

    index: LineIndex
    columns: Columns
    separator: str

    @property
    def row_count(self) -> int:
        """Records without the header."""
        return self.index.line_count - self.columns.header_lines

    @property
    def layout(self) -> tuple[str | int, ...]:
        """The columns and the separator."""
        return *self.columns, self.separator

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Chunks; a few large ones where the file is compressed."""
        return self.index.ranges(self.row_count, chunk_size)

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Records as pairs; one with too many or too few cells or an open quote is malformed."""
        record = first + self.columns.header_lines
        with self.index.reader_at(record, _RecordEnds(self.separator)) as reader:
            for (records,) in line_blocks((reader,), count, block_rows):
                yield self._block(records, record + 1)
                record += len(records.starts)

    def _block(self, records: Lines, number: int) -> Block:
        size, total = int(records.bounds[-1] - records.bounds[0]), len(records.starts)
        cells = np.empty(size, np.uint8), np.empty(size, np.uint8), np.empty(size, np.uint8)
        offsets, fits = np.empty((2, total + 1), np.int64), np.empty(total, np.bool_)
        split_records(
            records.data,
            (records.starts, records.ends),
            ord(self.separator),
            self.columns.places,
            cells,
            offsets,
            fits,
        )
        valid = records.valid()
        good = fits & valid
        bad = [
            BadRow(number + row, MALFORMED if valid[row] else BAD_ENCODING, records.shown(row))
            for row in np.flatnonzero(~good).tolist()
        ]
        left, right = (
            gather(cells[side], offsets[side, :-1][good], offsets[side, 1:][good])
            for side in (0, 1)
        )
        return block_of_columns(left, right, bad)


def open_csv(request: Request) -> CsvFile:
    """Looks through a file.

    Raises:
        DataError: If it cannot be read, is no text, or its records have a single cell.
    """
    (path,) = request.paths
    check_is_utf8_text(path, read_head(path))
    for separator in _SEPARATORS:
        find_ends = _RecordEnds(separator)
        with ByteFile(path) as file:
            reader = LineReader(path, file, find_ends, is_start=True)
            rows = list(_sample(reader, separator))
        columns = find_columns(path, rows, request.languages, request.order)
        if columns is not None:
            return CsvFile(index_lines(path, request.step, find_ends), columns, separator)
    raise DataError(
        f"{path}: line 1 holds no comma or semicolon, so it is no csv; write the two languages "
        "of a pair in one record with a comma between them, or set the right format"
    )


def _sample(reader: LineReader, separator: str) -> Iterator[list[str]]:
    records = reader.take(reader.fill(SAMPLE_LINES))
    for number in range(len(records.starts)):
        try:
            yield from csv.reader([records.shown(number)], delimiter=separator)
        except csv.Error:
            continue  # it is counted when it is read
