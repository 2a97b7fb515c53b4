"""One split of a token cache, read through memory maps.

A split is a list of shards; a shard holds, per language, all ids one after another and the offset
at which each pair begins. Opening maps files and reads nothing else, so that it takes time in
proportion to the number of shards, not of pairs. All access is by arrays of pair numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.errors import DataError

ID_DTYPE = np.dtype("<u4")
OFFSET_DTYPE = np.dtype("<u8")

IdArray = NDArray[np.uint32]
IntArray = NDArray[np.int64]


class _Column(NamedTuple):
    """One language of one shard."""

    ids: IdArray
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
    """Pairs of token ids, numbered from 0 over all shards.

    Can be sent to worker processes: they map the same files again.

    Attributes:
        name: "train", "dev" or "test".
        languages: Languages of the two sides.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        languages: Sequence[str],
        shard_pairs: Sequence[int],
    ) -> None:
        """Maps the files of all shards.

        Args:
            folder: Folder of the cache.
            name: Folder of the split inside it.
            languages: Languages of the two sides.
            shard_pairs: Pairs in each shard.

        Raises:
            DataError: If a file is missing or its size contradicts the number of pairs.
        """
        self.name = name
        self.languages = tuple(languages)
        self._folder = folder
        self._shard_pairs = tuple(shard_pairs)
        # starts[s] is the number of the first pair of shard s; the last entry is the total.
        self._starts = np.concatenate(([0], np.cumsum(shard_pairs, dtype=np.int64)))
        self._columns = {
            language: [
                _map_column(shard_stem(folder, name, shard), language, pairs)
                for shard, pairs in enumerate(self._shard_pairs)
            ]
            for language in self.languages
        }

    def __reduce__(self) -> tuple[object, ...]:
        return TokenSplit, (self._folder, self.name, self.languages, self._shard_pairs)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, language: str, indices: IntArray) -> Sides:
        """Where the sides of these pairs lie; `read` takes it, and it knows their lengths.

        Args:
            language: Which side.
            indices: Pair numbers `[B]`, in any order; a pair may occur more than once.

        Raises:
            IndexError: If the split has no such pair.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"split {self.name} has {len(self)} pairs; "
                f"asked for {indices.min()} to {indices.max()}"
            )
        columns = self._columns[language]
        if len(columns) == 1:
            offsets = columns[0].offsets.view(np.int64)
            begins, ends = offsets[indices], offsets[indices + 1]
            return Sides(np.zeros_like(indices), begins, ends - begins)
        shards = np.searchsorted(self._starts, indices, side="right") - 1
        begins, ends = np.empty_like(indices), np.empty_like(indices)
        # Grouped by shard, so that each shard is asked once.
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(len(columns) + 1))
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            group = order[bounds[shard] : bounds[shard + 1]]
            local = indices[group] - self._starts[shard]
            offsets = columns[shard].offsets.view(np.int64)
            begins[group], ends[group] = offsets[local], offsets[local + 1]
        return Sides(shards, begins, ends - begins)

    def read(self, language: str, sides: Sides) -> IdArray:
        """The ids of these sides, one side after another: uint32 `[sum of lengths]`."""
        columns = [column.ids for column in self._columns[language]]
        if len(columns) == 1:
            return columns[0][spans(sides.begins, sides.lengths)]
        # Sides of one batch lie in many shards: slicing each costs less than one gather per shard.
        parts = zip(
            sides.shards.tolist(),
            sides.begins.tolist(),
            (sides.begins + sides.lengths).tolist(),
            strict=True,
        )
        slices = [columns[shard][begin:end] for shard, begin, end in parts]
        return np.concatenate(slices) if slices else np.empty(0, dtype=ID_DTYPE)

    def lengths(self, language: str, indices: IntArray) -> IntArray:
        """Number of ids of each pair's side: int64 `[B]`."""
        return self.locate(language, indices).lengths

    def ids(self, language: str, index: int) -> IdArray:
        """Ids of one side of one pair: uint32 `[S]`, without any special token."""
        return self.read(language, self.locate(language, np.array([index])))

    def pair_lengths(self) -> Iterator[tuple[int, IntArray]]:
        """Number of ids of both sides together, of every pair, shard by shard.

        Reads the whole corpus' offsets in order, holding one shard's at a time.

        Yields:
            The number of the shard's first pair, and int64 `[pairs of the shard]`.
        """
        for shard, begin in enumerate(self._starts[:-1].tolist()):
            columns = [self._columns[language][shard] for language in self.languages]
            lengths = [np.diff(column.offsets.view(np.int64)) for column in columns]
            yield begin, np.sum(lengths, axis=0)


def spans(begins: IntArray, lengths: IntArray) -> IntArray:
    """The numbers `begin, begin + 1, …` of each span, one span after another: int64."""
    total = int(lengths.sum())
    shifts: IntArray = begins - (np.cumsum(lengths) - lengths)
    return np.add(np.repeat(shifts, lengths), np.arange(total, dtype=np.int64))


def shard_stem(folder: Path, split: str, shard: int) -> Path:
    """Path of a shard's files without language and kind."""
    return folder / split / f"shard-{shard:05d}"


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
    return _Column(ids, offsets)


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
