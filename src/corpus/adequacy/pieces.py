"""A sample of pairs, read piece by piece into arrays of units.

A pair that stands in the sample more than `MAX_REPEATS` times counts `MAX_REPEATS` times, so that
boilerplate does not teach the lexicon more than text does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, read_only
from src.corpus.adequacy.units import (
    Fold,
    Units,
    fold_table,
    hashed_units,
    most_units,
    read_units,
)
from src.corpus.texts import Bytes, Offsets, Texts

Pairs = Callable[[], Iterator[tuple[Texts, Texts]]]

PIECE_ROWS = 32_768
MAX_REPEATS = 4
_REPEAT_CELLS = 1 << 24
# The longer two texts are, the less it says that two of their units stand opposite each other, and
# the more such couples there are.
_MAX_BYTES = 512


class Spans(NamedTuple):
    """Parts of texts: `data[begins[i]:ends[i]]`, with at most `rooms[i]` units."""

    data: Bytes
    begins: Offsets
    ends: Offsets
    rooms: Offsets


class Side(NamedTuple):
    """Units of N texts.

    Attributes:
        units: Text i's are `units[starts[i]:starts[i] + counts[i]]`; between texts may be gaps.
        starts: `[N]`.
        counts: `[N]`.
    """

    units: Units
    starts: Offsets
    counts: NDArray[np.int32]


class Piece(NamedTuple):
    """N pairs.

    Attributes:
        left: Units of the left side.
        right: Units of the right side.
        keys: `[N]` a hash of each pair's units; spaces and signs make no difference to it.
    """

    left: Side
    right: Side
    keys: Units


def read_pieces(pairs: Pairs, executor: Executor, workers: int) -> Iterator[Piece]:
    """The sample in its order, at most `PIECE_ROWS` pairs a piece, without surplus repeats.

    With several workers the next piece is read while one is used.

    Raises:
        ValueError: If two columns of the sample have different lengths.
    """
    pieces = _pieces(pairs, executor, workers)
    return _ahead(pieces) if workers > 1 else pieces


def _ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces, each but the first made by another thread while its forerunner is used."""
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(next, pieces, None)
        while (piece := waiting.result()) is not None:
            waiting = reader.submit(next, pieces, None)
            yield piece


def _pieces(pairs: Pairs, executor: Executor, workers: int) -> Iterator[Piece]:
    repeats = np.zeros(_REPEAT_CELLS, np.uint8)
    for left, right in pairs():
        if len(left) != len(right):
            raise ValueError(f"{len(left)} texts on the left and {len(right)} on the right")
        for begin in range(0, len(left), PIECE_ROWS):
            end = min(begin + PIECE_ROWS, len(left))
            piece = read_piece(left.slice(begin, end), right.slice(begin, end), executor, workers)
            kept = np.flatnonzero(_admit(piece.keys, repeats))
            yield piece if len(kept) == len(piece.keys) else take_pairs(piece, kept)


def read_piece(left: Texts, right: Texts, executor: Executor, workers: int) -> Piece:
    """All pairs of two columns; the threads of `executor` share the rows."""
    rows = len(left)
    ends = _ends(left, right), _ends(right, left)
    rooms = [
        most_units(end - texts.offsets[:-1]) for end, texts in zip(ends, (left, right), strict=True)
    ]
    sides = [_side_of(room) for room in rooms]
    keys = np.zeros(rows, np.uint64)
    fold = fold_table()
    bounds = np.linspace(0, rows, workers + 1).astype(np.int64)

    def read(part: int) -> None:
        share = slice(int(bounds[part]), int(bounds[part + 1]))
        for texts, end, room, side in zip((left, right), ends, rooms, sides, strict=True):
            spans = Spans(read_only(texts.data), texts.offsets[:-1][share], end[share], room[share])
            target = Side(side.units, side.starts[share], side.counts[share])
            _read_side(spans, fold, target, keys[share])

    list(executor.map(read, range(workers)))
    return Piece(sides[0], sides[1], keys)


def take_pairs(piece: Piece, rows: NDArray[np.int64]) -> Piece:
    """The named pairs; the arrays of units are shared."""
    left, right = (
        Side(side.units, side.starts[rows], side.counts[rows]) for side in (piece.left, piece.right)
    )
    return Piece(left, right, piece.keys[rows])


def packed_pairs(piece: Piece, rows: NDArray[np.int64]) -> Piece:
    """The named pairs in arrays of their own that hold nothing else."""
    left, right = (_packed(side, rows) for side in (piece.left, piece.right))
    return Piece(left, right, piece.keys[rows])


def joined_pairs(pieces: list[Piece]) -> Piece:
    """The pairs of all pieces, one piece after another."""
    left, right = (
        _joined([piece.left for piece in pieces]),
        _joined([piece.right for piece in pieces]),
    )
    keys = [np.zeros(0, np.uint64), *(piece.keys for piece in pieces)]
    return Piece(left, right, np.concatenate(keys))


def _packed(side: Side, rows: NDArray[np.int64]) -> Side:
    counts = side.counts[rows].astype(np.int64)
    starts = np.cumsum(counts) - counts
    places = np.repeat(side.starts[rows] - starts, counts) + np.arange(int(counts.sum()))
    return Side(side.units[places], starts, side.counts[rows])


def _joined(sides: list[Side]) -> Side:
    shifts = np.cumsum([0, *(len(side.units) for side in sides)])
    starts = [side.starts + shift for side, shift in zip(sides, shifts[:-1], strict=True)]
    return Side(
        np.concatenate([np.zeros(0, np.uint64), *(side.units for side in sides)]),
        np.concatenate([np.zeros(0, np.int64), *starts]),
        np.concatenate([np.zeros(0, np.int32), *(side.counts for side in sides)]),
    )


def _ends(texts: Texts, opposite: Texts) -> Offsets:
    """Byte after the part of each text that is read, the same share as of its opposite."""
    lengths, others = (column.offsets[1:] - column.offsets[:-1] for column in (texts, opposite))
    longest = np.maximum(np.maximum(lengths, others), _MAX_BYTES)
    ends: Offsets = texts.offsets[:-1] + lengths * _MAX_BYTES // longest
    return ends


def _side_of(rooms: NDArray[np.int64]) -> Side:
    starts = np.cumsum(rooms) - rooms
    return Side(np.zeros(int(rooms.sum()), np.uint64), starts, np.zeros(len(rooms), np.int32))


@compiled
def _read_side(spans: Spans, fold: Fold, side: Side, keys: Units) -> None:
    for row in range(len(keys)):
        room = side.units[side.starts[row] : side.starts[row] + spans.rooms[row]]
        count = read_units(spans.data, spans.begins[row], spans.ends[row], fold, room)
        side.counts[row] = count
        keys[row] = hashed_units(room[:count], keys[row])


@compiled
def _admit(keys: Units, repeats: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Counts each pair in a small sketch; equal cells of unequal pairs cost a pair in thousands."""
    admitted = np.zeros(len(keys), np.bool_)
    for row in range(len(keys)):
        cell = np.int64(keys[row] & np.uint64(_REPEAT_CELLS - 1))
        if repeats[cell] < MAX_REPEATS:
            repeats[cell] += np.uint8(1)
            admitted[row] = True
    return admitted
