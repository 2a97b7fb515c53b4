"""Putting repaired rows back into a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.texts import Bytes, Offsets, Texts
from src.corpus.utf8 import Int

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


def with_rows(texts: Texts, rows: Positions, new: Texts) -> Texts:
    """A column with other texts at the named rows, which ascend."""
    if not len(rows):
        return texts
    lengths = np.diff(texts.offsets)
    lengths[rows] = np.diff(new.offsets)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _fill(texts.data, texts.offsets, rows, new.data, new.offsets, data, offsets)
    return Texts(data, offsets)


@compiled
def _fill(
    data: Bytes,
    offsets: Offsets,
    rows: Positions,
    new_data: Bytes,
    new_offsets: Offsets,
    target: Bytes,
    places: Offsets,
) -> None:
    # Between two replaced rows all bytes are copied at once.
    start = 0
    for index in range(len(rows)):
        row = rows[index]
        copy_bytes(data, offsets[start], offsets[row], target, places[start])
        copy_bytes(new_data, new_offsets[index], new_offsets[index + 1], target, places[row])
        start = row + 1
    last = len(offsets) - 1
    copy_bytes(data, offsets[start], offsets[last], target, places[start])


@compiled_part
def copy_bytes(data: Bytes, begin: Int, end: Int, target: Bytes, place: Int) -> Int:
    """Copies the bytes from `begin` to `end`; returns the place after them in `target`."""
    # Unsigned places let the compiler copy many bytes at once.
    source, start = np.uint64(begin), np.uint64(place)
    for step in range(np.uint64(end - begin)):
        target[start + step] = data[source + step]
    return place + end - begin


def differing(one: Texts, other: Texts, rows: Positions) -> Mask:
    """`[R]` whether a row is not the same in both columns."""
    differs = np.zeros(len(rows), np.bool_)
    _compare(one.data, one.offsets, other.data, other.offsets, rows, differs)
    return differs


@compiled
def _compare(
    data: Bytes,
    offsets: Offsets,
    other_data: Bytes,
    other_offsets: Offsets,
    rows: Positions,
    differs: Mask,
) -> None:
    for index in range(len(rows)):
        begin, other = offsets[rows[index]], other_offsets[rows[index]]
        length = offsets[rows[index] + 1] - begin
        if length != other_offsets[rows[index] + 1] - other:
            differs[index] = True
            continue
        for step in range(length):
            if data[begin + step] != other_data[other + step]:
                differs[index] = True
                break
