"""Moses files: line n of one file translates line n of the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from src.corpus.readers.blocks import BAD_ENCODING, BadRow, Block, block_of_columns
from src.corpus.readers.encoding import check_is_utf8_text
from src.corpus.readers.line_index import LineIndex, index_lines
from src.corpus.readers.line_reader import line_blocks
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import is_compressed, read_head
from src.errors import DataError


@dataclass(frozen=True)
class MosesFiles:
    """A `RowFile` of two files.

    Attributes:
        left: Lines of the first language of the corpus.
        right: Lines of the second.
    """

    left: LineIndex
    right: LineIndex

    @property
    def row_count(self) -> int:
        """Lines of each file."""
        return self.left.line_count

    @property
    def layout(self) -> tuple[str | int, ...]:
        """Which file is which."""
        return str(self.left.path), str(self.right.path)

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Chunks; a few large ones where a file is compressed."""
        compressed = self.right if is_compressed(self.right.path) else self.left
        return compressed.ranges(self.row_count, chunk_size)

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Pairs of lines; a line that is not UTF-8 takes its partner along."""
        row = first + 1
        with self.left.reader_at(first) as left, self.right.reader_at(first) as right:
            for lefts, rights in line_blocks((left, right), count, block_rows):
                good = lefts.valid() & rights.valid()
                bad = [
                    BadRow(
                        row + place, BAD_ENCODING, f"{lefts.shown(place)}\t{rights.shown(place)}"
                    )
                    for place in np.flatnonzero(~good).tolist()
                ]
                yield block_of_columns(lefts.texts(good), rights.texts(good), bad)
                row += len(good)


def open_moses(request: Request) -> MosesFiles:
    """Looks through a pair of files.

    Raises:
        DataError: If one cannot be read, is no text, or has more lines than the other.
    """
    for path in request.paths:
        check_is_utf8_text(path, read_head(path))
    first, second = (index_lines(path, request.step) for path in request.paths)
    if first.line_count != second.line_count:
        raise DataError(
            f"{first.path} has {first.line_count:,} lines but {second.path} has "
            f"{second.line_count:,} lines; line n of one must translate line n of the other"
        )
    is_swapped = request.order != request.languages
    return MosesFiles(second, first) if is_swapped else MosesFiles(first, second)
