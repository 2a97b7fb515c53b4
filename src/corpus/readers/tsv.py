"""TSV: one pair a line, cells between tabs, no quotes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.corpus.readers.blocks import BAD_ENCODING, MALFORMED, BadRow, Block, block_of_columns
from src.corpus.readers.columns import SAMPLE_LINES, Columns, find_columns, uncut_line
from src.corpus.readers.encoding import check_is_utf8_text
from src.corpus.readers.kernels import find_byte, gather, place_cells
from src.corpus.readers.line_index import LineIndex, index_lines
from src.corpus.readers.line_reader import LineReader, Lines, line_blocks
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import ByteFile, read_head
from src.errors import DataError

_TAB = 9


@dataclass(frozen=True)
class TsvFile:
    """A `RowFile`.

    Attributes:
        index: Its lines, the header among them.
        columns: Where the two languages are.
    """

    index: LineIndex
    columns: Columns

    @property
    def row_count(self) -> int:
        """Lines without the header."""
        return self.index.line_count - self.columns.header_lines

    @property
    def layout(self) -> tuple[str | int, ...]:
        """The columns."""
        return tuple(self.columns)

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Chunks; a few large ones where the file is compressed."""
        return self.index.ranges(self.row_count, chunk_size)

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Lines as pairs; a line with too many or too few cells is malformed."""
        line = first + self.columns.header_lines
        with self.index.reader_at(line) as reader:
            for (lines,) in line_blocks((reader,), count, block_rows):
                yield self._block(lines, line + 1)
                line += len(lines.starts)

    def _block(self, lines: Lines, number: int) -> Block:
        begin, end, total = int(lines.bounds[0]), int(lines.bounds[-1]), len(lines.starts)
        tabs = np.empty(end - begin, np.int64)
        tabs = tabs[: find_byte(lines.data, begin, end, _TAB, tabs)]
        spans, fits = np.empty((4, total), np.int64), np.empty(total, np.bool_)
        place_cells(lines.starts, lines.ends, tabs, self.columns.places, spans, fits)
        valid = lines.valid()
        good = fits & valid
        bad = [
            BadRow(number + row, MALFORMED if valid[row] else BAD_ENCODING, lines.shown(row))
            for row in np.flatnonzero(~good).tolist()
        ]
        left, right = (
            gather(lines.data, spans[side][good], spans[side + 1][good]) for side in (0, 2)
        )
        return block_of_columns(left, right, bad)


def open_tsv(request: Request) -> TsvFile:
    """Looks through a file.

    Raises:
        DataError: If it cannot be read, is no text, or its lines have a single cell.
    """
    (path,) = request.paths
    check_is_utf8_text(path, read_head(path))
    rows = _sample(path)
    columns = find_columns(path, rows, request.languages, request.order)
    if columns is None:
        raise DataError(
            f"{path}: {uncut_line(rows)} holds no tab, so it is no tsv; write the two languages "
            "of a pair on one line with a tab between them, or set the right format"
        )
    return TsvFile(index_lines(path, request.step), columns)


def _sample(path: Path) -> list[list[str]]:
    """The first lines, cut into cells."""
    with ByteFile(path) as file:
        reader = LineReader(path, file, is_start=True)
        lines = reader.take_first(SAMPLE_LINES)
    return [lines.shown(number).split("\t") for number in range(len(lines))]
