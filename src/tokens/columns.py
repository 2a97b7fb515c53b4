"""Columns of texts and of ids as flat arrays: a million Python strings or lists cost seconds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IdArray = NDArray[np.uint32]
IntArray = NDArray[np.int64]


class TextColumn(NamedTuple):
    """N texts, one after another, in the layout of Apache Arrow.

    Attributes:
        data: `[B]` uint8, valid UTF-8, read only.
        offsets: `[N + 1]` int64; text i is `data[offsets[i]:offsets[i + 1]]`.
    """

    data: NDArray[np.uint8]
    offsets: IntArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> TextColumn:
        """A column of Python strings."""
        encoded = [text.encode("utf-8") for text in texts]
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets_of(map_lengths(encoded)))

    @classmethod
    def from_arrow(cls, array: pa.Array) -> TextColumn:
        """A column of Arrow strings; the bytes are shared.

        Raises:
            pyarrow.ArrowInvalid: If it holds nulls or something that is not UTF-8.
        """
        if array.type not in (pa.string(), pa.large_string()):
            raise pa.ArrowInvalid(f"a column of {array.type} where text belongs")
        if array.null_count:
            raise pa.ArrowInvalid(f"{array.null_count} missing texts")
        array.validate(full=True)  # compiled loops trust the bytes
        if len(array) == 0:
            return cls.of([])
        _, offsets, data = array.buffers()
        width = np.int64 if array.type == pa.large_string() else np.int32
        places = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
        # Through pa.py_buffer, so that the type, read only, is always the same.
        content = np.frombuffer(pa.py_buffer(b"") if data is None else data, np.uint8)
        content.flags.writeable = False
        return cls(content, places.astype(np.int64))

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """Bytes of each text."""
        return np.diff(self.offsets)

    def text(self, row: int) -> str:
        """One text."""
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-8")


class IdColumn(NamedTuple):
    """The ids of N texts, one after another.

    Attributes:
        values: `[T]` uint32.
        lengths: `[N]` int64, the number of ids of each text.
    """

    values: IdArray
    lengths: IntArray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> IdColumn:
        """A column of Python lists."""
        lengths = map_lengths(rows)
        ids = itertools.chain.from_iterable(rows)
        return cls(np.fromiter(ids, np.uint32, int(lengths.sum())), lengths)

    def replaced(self, rows: IntArray, contents: Sequence[Sequence[int]]) -> IdColumn:
        """The column with other ids at the named rows, which ascend."""
        if not len(rows):
            return self
        offsets = offsets_of(self.lengths)
        lengths = self.lengths.copy()
        lengths[rows] = map_lengths(contents)
        parts: list[IdArray] = []
        begin = 0
        for row, ids in zip(rows.tolist(), contents, strict=True):
            parts += [self.values[begin : offsets[row]], np.array(ids, np.uint32)]
            begin = int(offsets[row + 1])
        return IdColumn(np.concatenate([*parts, self.values[begin:]]), lengths)


def map_lengths(rows: Sequence[Sequence[object]]) -> IntArray:
    """Length of each row: int64 `[N]`."""
    return np.fromiter(map(len, rows), np.int64, len(rows))


def offsets_of(lengths: IntArray) -> IntArray:
    """Where each of a number of neighbours begins, and where the last one ends: int64 `[N + 1]`."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
