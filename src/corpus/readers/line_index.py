"""Where the rows of a file are: looked up once, so that reading can start at any of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.corpus.readers.line_reader import FindEnds, LineReader, find_line_ends
from src.corpus.readers.streams import ByteFile, is_compressed
from src.errors import DataError

_MOST_RANGES_OF_UNBROKEN_FILE = 8


@dataclass(frozen=True)
class LineIndex:
    """Where the lines of a file are; for CSV, the records.

    Attributes:
        path: The file.
        line_count: Lines, the last one counted with or without its line feed.
        offsets: Byte at which every `step`-th line starts, from line 0 on, in unpacked bytes.
        step: Lines between two offsets.
    """

    path: Path
    line_count: int
    offsets: tuple[int, ...]
    step: int

    def ranges(self, total: int, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Ranges (first, count) of rows that can be read on their own at little cost."""
        if is_compressed(self.path):
            return few_ranges(total, chunk_size)
        return even_ranges(total, chunk_size)

    @contextmanager
    def reader_at(self, line: int, find_ends: FindEnds = find_line_ends) -> Iterator[LineReader]:
        """A reader whose next line is the given one."""
        place, skip = divmod(line, self.step)
        with ByteFile(self.path, self.offsets[place]) as stream:
            reader = LineReader(self.path, stream, find_ends)
            reader.skip(skip)
            yield reader


def even_ranges(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges (first, count) of `size` rows; the last one holds the rest."""
    for first in range(0, total, size):
        yield first, min(size, total - first)


def few_ranges(total: int, chunk_size: int) -> Iterator[tuple[int, int]]:
    """A few ranges of whole chunks, of something where each range has to unpack all before it.

    Eight ranges unpack a file 4.5 times. That is worth it: unpacking takes a twentieth of the time
    of what follows, and one range would keep one worker busy while the others have nothing to do.
    """
    chunks = -(-total // chunk_size)
    return even_ranges(total, chunk_size * max(1, -(-chunks // _MOST_RANGES_OF_UNBROKEN_FILE)))


def index_lines(path: Path, step: int, find_ends: FindEnds = find_line_ends) -> LineIndex:
    """Reads a file once and finds its lines.

    Raises:
        DataError: If the file is unreadable or damaged, or a line is longer than any sentence.
    """
    offsets: list[int] = []
    line_count = 0
    try:
        with ByteFile(path) as stream:
            reader = LineReader(path, stream, find_ends, is_start=True)
            while reader.fill(1):
                count, origin = reader.ready, reader.origin
                bounds = reader.take(count).bounds
                offsets += (bounds[-line_count % step : -1 : step] + origin).tolist()
                line_count += count
    except DataError as error:
        raise DataError(f"{error}; {_extent(line_count)}") from error
    return LineIndex(path, line_count, tuple(offsets), step)


def _extent(line_count: int) -> str:
    return f"line {line_count:,} is the last good one" if line_count else "no line of it is whole"
