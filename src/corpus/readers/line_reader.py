"""Many whole lines at a time, out of a stream of bytes.

Only a line feed ends a line. Python's own text mode and `str.splitlines` also break lines at
carriage returns, form feeds, U+0085 and U+2028, all of which occur inside sentences of crawled
text; one such break shifts every following line against the other language.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from src.corpus.readers.blocks import MOST_BLOCK_BYTES
from src.corpus.readers.encoding import BYTE_ORDER_MARK
from src.corpus.readers.kernels import find_byte, gather, valid_lines
from src.corpus.readers.streams import ByteFile
from src.corpus.texts import Bytes, Offsets, Texts
from src.errors import DataError
from src.units import format_bytes

_PIECE_BYTES = 1 << 20
_MOST_LINE_BYTES = 64 << 20
_LINE_FEED = 10
_CARRIAGE_RETURN = 13


class FindEnds(Protocol):
    """What ends a line, or a record of several lines."""

    def __call__(self, data: Bytes, begin: int, end: int, ends: Offsets, *, is_final: bool) -> int:
        """Writes to `ends` the places after the line feeds that end a line of `data[begin:end]`.

        A line starts at `begin`; `is_final` says whether the file ends at `end`. Returns how many
        there are.
        """


def find_line_ends(data: Bytes, begin: int, end: int, ends: Offsets, *, is_final: bool) -> int:
    """A `FindEnds` for lines."""
    del is_final
    count = find_byte(data, begin, end, _LINE_FEED, ends)
    ends[:count] += 1
    return count


class Lines(NamedTuple):
    r"""N lines next to each other, in bytes that stay as they are until the reader reads on.

    Attributes:
        data: Bytes that hold the lines.
        bounds: `[N + 1]`; line i and its line feed are `data[bounds[i]:bounds[i + 1]]`.
        starts: `[N]`, where the lines start.
        ends: `[N]`, where they end, without `\n` or `\r\n`.
    """

    data: Bytes
    bounds: Offsets
    starts: Offsets
    ends: Offsets

    def __len__(self) -> int:
        return len(self.starts)

    def valid(self) -> NDArray[np.bool_]:
        """Which lines are UTF-8."""
        return valid_lines(self.data, self.starts, self.ends)

    def texts(self, rows: NDArray[np.bool_]) -> Texts:
        """The chosen lines, which are UTF-8."""
        return gather(self.data, self.starts[rows], self.ends[rows])

    def shown(self, row: int) -> str:
        """A line for people; what is not UTF-8 becomes U+FFFD."""
        return self.data[self.starts[row] : self.ends[row]].tobytes().decode("utf-8", "replace")


class LineReader:
    """Takes lines off a stream.

    Args:
        path: For messages.
        stream: Where a line begins next.
        find_ends: What a line is.
        is_start: Whether the stream is at the beginning of the file, where a byte order mark may
            stand.
    """

    def __init__(
        self,
        path: Path,
        stream: ByteFile,
        find_ends: FindEnds = find_line_ends,
        *,
        is_start: bool = False,
    ) -> None:
        self.path = path
        self.origin = 0
        """Byte of the stream at which the buffer starts."""
        self._stream = stream
        self._find_ends = find_ends
        self._is_start = is_start
        self._is_at_end = False
        # Memory that is not written to costs nothing.
        self._buffer = np.empty(MOST_BLOCK_BYTES + 2 * _PIECE_BYTES, np.uint8)
        self._begin = self._end = 0  # of what is held in the buffer
        self._ends: Offsets = np.empty(0, np.int64)  # of the whole lines in it
        self._lines_before = 0

    def fill(self, count: int) -> int:
        """Reads until `count` lines are at hand; returns how many of them are.

        It is fewer where the file ends, or where the lines are so long that a block is full before,
        and 0 only at the end of the file.

        Raises:
            DataError: If the file is damaged, or a line is longer than any sentence.
        """
        if len(self._ends) < count and not self._is_at_end:
            self._move_to_front()
        while len(self._ends) < count and not self._is_at_end:
            if len(self._ends) and self._end >= MOST_BLOCK_BYTES:
                break
            self._read_piece()
        return min(count, len(self._ends))

    @property
    def ready(self) -> int:
        """Whole lines that are at hand without reading on."""
        return len(self._ends)

    def take(self, count: int) -> Lines:
        """The next `count` lines, which `fill` has promised; valid until it is called again."""
        bounds = np.concatenate([np.array([self._begin]), self._ends[:count]])
        self._ends = self._ends[count:]
        self._begin = int(bounds[-1])
        self._lines_before += count
        starts, ends = bounds[:-1], bounds[1:] - 1
        ends -= (self._buffer[ends - 1] == _CARRIAGE_RETURN) & (ends > starts)
        return Lines(self._buffer, bounds, starts, ends)

    def take_first(self, count: int) -> Lines:
        """Up to `count` lines; those before the damage where the file is damaged among them.

        Raises:
            DataError: If not one line is whole.
        """
        try:
            self.fill(count)
        except DataError:
            if not self.ready:
                raise
        return self.take(min(count, self.ready))

    def skip(self, count: int) -> None:
        """Passes over lines.

        Raises:
            DataError: If the file has fewer.
        """
        while count:
            if not self.fill(1):
                raise self.shorter()
            ready = min(count, self.ready)
            self.take(ready)
            count -= ready

    def shorter(self) -> DataError:
        """What to raise where lines are missing that were there before."""
        return DataError(
            f"{self.path}: became shorter while it was read; run again when it is complete"
        )

    def _move_to_front(self) -> None:
        held = self._end - self._begin
        self._buffer[:held] = self._buffer[self._begin : self._end]
        self._ends = self._ends - self._begin
        self.origin += self._begin
        self._begin, self._end = 0, held

    def _read_piece(self) -> None:
        line = int(self._ends[-1]) if len(self._ends) else self._begin
        # Twice as much each time, so that a long line is not looked through again and again.
        size = max(_PIECE_BYTES, self._end - line)
        if size > _MOST_LINE_BYTES:
            raise DataError(
                f"{self.path}: a line is longer than {format_bytes(_MOST_LINE_BYTES)}; name a text "
                "with one sentence to a line, or set the right format"
            )
        self._make_room(size + 1)
        size_read = self._stream.read_into(self._buffer.data[self._end :][:size])
        self._is_at_end = size_read == 0
        self._end += size_read
        if self._is_start and self._buffer[line : self._end][:3].tobytes() == BYTE_ORDER_MARK:
            self._begin = line = len(BYTE_ORDER_MARK)
        self._is_start = False
        if self._is_at_end and self._end > line and self._buffer[self._end - 1] != _LINE_FEED:
            self._buffer[self._end] = _LINE_FEED
            self._end += 1
        places = np.empty(self._end - line, np.int64)
        count = self._find_ends(self._buffer, line, self._end, places, is_final=self._is_at_end)
        self._ends = np.concatenate([self._ends, places[:count]])

    def _make_room(self, size: int) -> None:
        if self._end + size > len(self._buffer):
            larger = np.empty(max(2 * len(self._buffer), self._end + size), np.uint8)
            larger[: self._end] = self._buffer[: self._end]
            self._buffer = larger


def line_blocks(
    readers: Sequence[LineReader], count: int, block_rows: int
) -> Iterator[tuple[Lines, ...]]:
    """The next `count` lines of each reader, in blocks of equally many lines of all of them.

    Raises:
        DataError: If one of them has fewer.
    """
    while count:
        ready = [reader.fill(min(count, block_rows)) for reader in readers]
        if not min(ready):
            raise readers[ready.index(0)].shorter()
        yield tuple(reader.take(min(ready)) for reader in readers)
        count -= min(ready)
