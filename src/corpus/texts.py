"""A column of texts as two arrays, the layout of Apache Arrow.

Millions of Python strings cost a hundred bytes and a microsecond each; compiled loops read the
bytes where they lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from src.compiled import compiled

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]


class Texts:
    """N texts, valid UTF-8, one after another.

    Attributes:
        data: `[B]` uint8, the bytes of all texts.
        offsets: `[N + 1]` int64; text i is `data[offsets[i]:offsets[i + 1]]`. The first may be
            above 0 and the last below B.
    """

    __slots__ = ("data", "offsets")

    def __init__(self, data: Bytes, offsets: Offsets) -> None:
        # Read-only always: Numba compiles a loop once for each kind of array it is called with.
        self.data = data.view()
        self.data.flags.writeable = False
        self.offsets = offsets

    @classmethod
    def of(cls, strings: Sequence[str]) -> Texts:
        """A column of Python strings."""
        encoded = [string.encode("utf-8") for string in strings]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    @classmethod
    def from_arrow(cls, array: pa.Array | pa.ChunkedArray) -> Texts:
        """A column of Arrow strings without nulls; the bytes are shared where it is one chunk."""
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
            if isinstance(array, pa.ChunkedArray):  # older Arrow may answer with one chunk
                array = array.chunk(0) if array.num_chunks else pa.array([], pa.string())
        width = np.int64 if array.type == pa.large_string() else np.int32
        _, offsets, data = array.buffers()
        if offsets is None or len(array) == 0:
            return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64))
        places = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
        content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
        return cls(content, places.astype(np.int64))

    def to_arrow(self) -> pa.Array:
        """The column as Arrow strings; large strings where the bytes need it."""
        begin, end = int(self.offsets[0]), int(self.offsets[-1])
        data = pa.py_buffer(np.ascontiguousarray(self.data[begin:end]))
        small = end - begin <= np.iinfo(np.int32).max
        offsets = (self.offsets - begin).astype(np.int32 if small else np.int64)
        kind = pa.StringArray if small else pa.LargeStringArray
        return kind.from_buffers(len(self), pa.py_buffer(offsets), data)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        return bytes(self.data[self.offsets[row] : self.offsets[row + 1]]).decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        content = self.data.tobytes()
        return (content[i:j].decode("utf-8") for i, j in pairwise(self.offsets.tolist()))

    def slice(self, begin: int, end: int) -> Texts:
        """Rows `begin` to `end`, sharing the bytes."""
        return Texts(self.data, self.offsets[begin : end + 1])

    def take(self, rows: NDArray[np.int64]) -> Texts:
        """The named rows, in the named order."""
        lengths = (self.offsets[1:] - self.offsets[:-1])[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        data = np.empty(int(offsets[-1]), np.uint8)
        _copy_rows(self.data, self.offsets, rows, data, offsets)
        return Texts(data, offsets)

    def replaced(self, rows: Sequence[int], strings: Sequence[str]) -> Texts:
        """The column with other texts at the named rows, which ascend."""
        if not len(rows):
            return self
        extra = Texts.of(strings)
        sources = np.arange(len(self), dtype=np.int64)
        sources[np.asarray(rows, np.int64)] = len(self) + np.arange(len(rows))
        return concatenated([self, extra]).take(sources)


def concatenated(columns: Sequence[Texts]) -> Texts:
    """The rows of all columns, one column after another."""
    parts = [column.data[column.offsets[0] : column.offsets[-1]] for column in columns]
    lengths = [column.offsets[1:] - column.offsets[:-1] for column in columns]
    offsets = np.zeros(sum(map(len, columns)) + 1, np.int64)
    if columns:
        np.cumsum(np.concatenate(lengths), out=offsets[1:])
    return Texts(np.concatenate([np.zeros(0, np.uint8), *parts]), offsets)


@compiled
def _copy_rows(
    data: Bytes, offsets: Offsets, rows: NDArray[np.int64], target: Bytes, places: Offsets
) -> None:
    for index in range(len(rows)):
        source, start = np.uint64(offsets[rows[index]]), np.uint64(places[index])
        # Unsigned places let the compiler copy many bytes at once.
        for step in range(np.uint64(places[index + 1] - places[index])):
            target[start + step] = data[source + step]
