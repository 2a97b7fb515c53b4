"""One split of a token cache, read through memory maps.

A split is a list of segments, one for each pair of languages that has text; a segment is a list of
shards; a shard holds, per side, all ids one after another and the offset at which each pair begins.
Opening maps files and reads nothing else, so that it takes time in proportion to the number of
shards, not of pairs. All access is by arrays of row numbers, which run through all segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.errors import DataError
from src.tokens.columns import IdArray, IntArray
from src.tokens.records import TokenRecords

ID_DTYPE = np.dtype("<u4")
OFFSET_DTYPE = np.dtype("<u8")


class SegmentShards(NamedTuple):
    """What a segment consists of.

    Attributes:
        languages: Of its left and right sides.
        pairs: Pairs in each shard.
    """

    languages: tuple[str, str]
    pairs: tuple[int, ...]


class _Column(NamedTuple):
    """One side of one shard; `view` is of `ids`."""

    ids: IdArray
    view: memoryview
    offsets: NDArray[np.uint64]


class Sides(NamedTuple):
    """Where one side of each of a number of pairs lies, int64 `[B]` each.

    Attributes:
        shards: Number of the shard.
        begins: Where the side begins in the shard's ids.
        lengths: Number of its ids.
    """

    shards: IntArray
    begins: IntArray
    lengths: IntArray


class TokenSplit:
    """Pairs of token ids, in rows numbered from 0 over all shards of all segments.

    A pair has a left side (0) and a right side (1). Can be sent to worker processes: they map the
    same files again.

    Attributes:
        name: "train", "dev" or "test".
        segments: Languages of left and right side → their rows.
        records: What lies beside the counted tokens; None: nothing.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        segments: Sequence[SegmentShards],
        records: TokenRecords | None = None,
    ) -> None:
        """Maps the files of all shards.

        Args:
            folder: Folder of the cache.
            name: Folder of the split inside it.
            segments: In the order of the rows.
            records: See above.

        Raises:
            DataError: If a file is missing or its size contradicts the number of pairs.
        """
        self.name = name
        self.records = records
        self.segments: dict[tuple[str, str], range] = {}
        self._origin = (folder, name, tuple(segments), records)
        self._columns: tuple[list[_Column], list[_Column]] = ([], [])
        shard_pairs: list[int] = []
        for languages, pairs in segments:
            begin = sum(shard_pairs)
            self.segments[languages] = range(begin, begin + sum(pairs))
            shard_pairs += pairs
            for number, count in enumerate(pairs):
                stem = shard_stem(folder, name, languages, number)
                for columns, language in zip(self._columns, languages, strict=True):
                    columns.append(_map_column(stem, language, count))
        # starts[s] is the first row of shard s; the last entry is the number of rows.
        self._starts = np.concatenate(([0], np.cumsum(shard_pairs, dtype=np.int64)))

    def __reduce__(self) -> tuple[object, ...]:
        return TokenSplit, self._origin

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows_of(self, source: str, target: str) -> tuple[range, int]:
        """The rows with these two languages, and which side is the source; no rows if none has."""
        if (target, source) in self.segments:
            return self.segments[target, source], 1
        return self.segments.get((source, target), range(0)), 0

    def locate(self, side: int, rows: IntArray) -> Sides:
        """Where one side of these rows lies; `read` takes it, and it knows the lengths.

        Args:
            side: 0 is left, 1 is right.
            rows: Row numbers `[B]`, in any order; a row may occur more than once.

        Raises:
            IndexError: If the split has no such row.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(
                f"split {self.name} has {len(self)} pairs; asked for {rows.min()} to {rows.max()}"
            )
        columns = self._columns[side]
        if len(columns) == 1:
            offsets = columns[0].offsets.view(np.int64)
            begins, ends = offsets[rows], offsets[rows + 1]
            return Sides(np.zeros_like(rows), begins, ends - begins)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        begins, ends = np.empty_like(rows), np.empty_like(rows)
        # Grouped by shard, so that each shard is asked once.
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(len(columns) + 1))
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            group = order[bounds[shard] : bounds[shard + 1]]
            local = rows[group] - self._starts[shard]
            offsets = columns[shard].offsets.view(np.int64)
            begins[group], ends[group] = offsets[local], offsets[local + 1]
        return Sides(shards, begins, ends - begins)

    def read(self, side: int, sides: Sides) -> IdArray:
        """The ids at these places, one row after another: uint32 `[sum of lengths]`, read only."""
        columns = self._columns[side]
        if len(columns) == 1:
            return columns[0].ids[spans(sides.begins, sides.lengths)]
        # Rows of one batch lie in many shards: slicing each costs less than one gather per shard,
        # and memory views are sliced and joined at a third of what arrays cost.
        parts = zip(
            sides.shards.tolist(),
            sides.begins.tolist(),
            (sides.begins + sides.lengths).tolist(),
            strict=True,
        )
        joined = b"".join([columns[shard].view[begin:end] for shard, begin, end in parts])
        return np.frombuffer(joined, dtype=ID_DTYPE)

    def lengths(self, side: int, rows: IntArray) -> IntArray:
        """Number of ids of one side of each row: int64 `[B]`."""
        return self.locate(side, rows).lengths

    def ids(self, side: int, row: int) -> IdArray:
        """Ids of one side of one row: uint32 `[S]`, without any special token."""
        return self.read(side, self.locate(side, np.array([row])))

    def pair_lengths(self, rows: range | None = None) -> Iterator[tuple[int, IntArray]]:
        """Number of ids of both sides together, of every row, shard by shard.

        Reads all offsets in order, holding one shard's at a time.

        Args:
            rows: Of one segment. None: all.

        Yields:
            The shard's first row, and int64 `[pairs of the shard]`.
        """
        wanted = range(len(self)) if rows is None else rows
        for begin, left, right in zip(self._starts[:-1].tolist(), *self._columns, strict=True):
            if begin in wanted:
                lengths = [np.diff(column.offsets.view(np.int64)) for column in (left, right)]
                yield begin, lengths[0] + lengths[1]


def spans(begins: IntArray, lengths: IntArray) -> IntArray:
    """The numbers `begin, begin + 1, …` of each span, one span after another: int64."""
    total = int(lengths.sum())
    shifts: IntArray = begins - (np.cumsum(lengths) - lengths)
    return np.add(np.repeat(shifts, lengths), np.arange(total, dtype=np.int64))


def segment_folder(folder: Path, split: str, languages: tuple[str, str]) -> Path:
    """Where the shards of one pair of languages lie."""
    return folder / split / "-".join(languages)


def shard_stem(folder: Path, split: str, languages: tuple[str, str], shard: int) -> Path:
    """Path of a shard's files without language and kind."""
    return segment_folder(folder, split, languages) / f"shard-{shard:05d}"


def column_paths(stem: Path, language: str) -> tuple[Path, Path]:
    """Paths of the ids and the offsets of one language of a shard."""
    return (
        stem.with_name(f"{stem.name}.{language}.ids"),
        stem.with_name(f"{stem.name}.{language}.offsets"),
    )


def _map_column(stem: Path, language: str, pairs: int) -> _Column:
    ids_path, offsets_path = column_paths(stem, language)
    offsets = np.asarray(_map(offsets_path, OFFSET_DTYPE), dtype=OFFSET_DTYPE)
    ids = np.asarray(_map(ids_path, ID_DTYPE), dtype=ID_DTYPE)
    if len(offsets) != pairs + 1 or int(offsets[-1]) != len(ids):
        raise DataError(
            f"{offsets_path} does not fit {ids_path.name} with {len(ids)} ids and {pairs} pairs: "
            "the token cache is damaged; run `python run.py process` again"
        )
    return _Column(ids, ids.data, offsets)


def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        if path.stat().st_size == 0:
            return np.empty(0, dtype=dtype)  # an empty file cannot be mapped
        # A plain array view: every index operation on the memmap subclass costs extra.
        return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): the token cache is damaged; "
            "run `python run.py process` again"
        ) from error
