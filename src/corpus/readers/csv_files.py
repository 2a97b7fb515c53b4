"""CSV: one pair a record, cells between commas or semicolons, quotes around what needs them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.corpus.readers.blocks import BAD_ENCODING, MALFORMED, BadRow, Block, block_of_columns
from src.corpus.readers.columns import SAMPLE_LINES, Columns, find_columns, uncut_line
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
# Excel reads its separator from such a first line, and some programs write it.
_SEPARATOR_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\"?sep=([,;|\t])\"?\r?(?:\n|$)", re.IGNORECASE)


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


class _Reading(NamedTuple):
    """How a file reads with one separator.

    Attributes:
        separator: Between cells.
        columns: Where the two languages are.
        shares: Of the first rows, those that have as many cells as there are columns; and those of
            them whose quotes stand around whole cells, which tells where all rows fit both ways.
        is_headed: Whether a header names the languages.
    """

    separator: str
    columns: Columns
    shares: tuple[float, float]
    is_headed: bool


def open_csv(request: Request) -> CsvFile:
    """Looks through a file.

    Raises:
        DataError: If it cannot be read, is no text, its records have a single cell, or commas and
            semicolons may both separate its cells.
    """
    (path,) = request.paths
    head = read_head(path)
    check_is_utf8_text(path, head)
    told = _SEPARATOR_LINE.match(head)
    separators = (told[1].decode("ascii"),) if told else _SEPARATORS
    tries = [_read_as(path, separator, request, int(told is not None)) for separator in separators]
    reading = _choose(path, tries)
    if reading is None:
        rows = [_cut(record, separators[0]) for record in _sample(path, separators[0])]
        first = uncut_line(rows, int(told is not None))
        raise DataError(
            f"{path}: {first} holds no comma or semicolon, so it is no csv; write the two "
            "languages of a pair in one record with a comma between them, or set the right format"
        )
    find_ends = _RecordEnds(reading.separator)
    return CsvFile(index_lines(path, request.step, find_ends), reading.columns, reading.separator)


def _read_as(
    path: Path, separator: str, request: Request, lines_before: int
) -> _Reading | DataError | None:
    """How the file reads with a separator; None where it has no columns, or what is wrong there."""
    records = _sample(path, separator)[lines_before:]
    rows = [_cut(record, separator) for record in records]
    try:
        columns = find_columns(path, rows, request.languages, request.order)
    except DataError as error:  # the other separator may find the right names
        return error
    if columns is None:
        return None
    fitting = [len(row) == columns.width for row in rows]
    sound = [_is_sound(record, separator) for record in compress(records, fitting)]
    shares = sum(fitting) / len(rows), sum(sound) / len(rows)
    is_headed = columns.header_lines > 0
    columns = columns._replace(header_lines=columns.header_lines + lines_before)
    return _Reading(separator, columns, shares, is_headed=is_headed)


def _choose(path: Path, tries: Sequence[_Reading | DataError | None]) -> _Reading | None:
    """The separator under which the header names the languages, else the one that fits more rows.

    Not the first one that cuts: every sentence of a file of semicolons may hold a comma.

    Raises:
        DataError: If a header names other languages, or none tells and both fit equally.
    """
    readings = [found for found in tries if isinstance(found, _Reading)]
    headed = [reading for reading in readings if reading.is_headed]
    refusal = next((found for found in tries if isinstance(found, DataError)), None)
    if refusal is not None and not headed:
        raise refusal
    candidates = sorted(headed or readings, key=lambda reading: reading.shares, reverse=True)
    if len(candidates) > 1 and candidates[0].shares == candidates[1].shares:
        raise DataError(
            f"{path}: commas and semicolons cut its rows into columns equally well; write a header "
            "that names the two languages, e.g. en;zh, or convert it to another format"
        )
    return candidates[0] if candidates else None


def _sample(path: Path, separator: str) -> list[str]:
    """The first records; line ends inside them are spaces, since the module refuses some."""
    with ByteFile(path) as file:
        reader = LineReader(path, file, _RecordEnds(separator), is_start=True)
        records = reader.take_first(SAMPLE_LINES)
    texts = (records.shown(number) for number in range(len(records)))
    return [text.replace("\r", " ").replace("\n", " ") for text in texts]


def _cut(record: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([record], delimiter=separator), [])
    except csv.Error:  # a cell is longer than the module reads
        return record.split(separator)


def _is_sound(record: str, separator: str) -> bool:
    try:
        list(csv.reader([record], delimiter=separator, strict=True))
    except csv.Error:
        return False
    return True
