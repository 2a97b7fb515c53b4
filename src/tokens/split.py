"""One split of a token cache, read through memory maps.

A split is a list of shards; a shard holds, per language, all ids one after another and the offset
at which each pair begins. Opening maps files and reads nothing else, so that it takes time in
proportion to the number of shards, not of pairs. All access is by arrays of pair numbers: a loop
over pairs in Python would be a hundred times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def lengths(self, language: str, indices: IntArray) -> IntArray:
        """Number of ids of each pair's side.

        Args:
            language: Which side.
            indices: Pair numbers, any shape, any order.

        Returns:
            int64, the shape of `indices`.
        """
        begins, ends, _ = self._locate(language, np.asarray(indices, dtype=np.int64))
        return ends - begins

    def all_lengths(self, language: str) -> IntArray:
        """Number of ids of every pair's side: int64 `[len(self)]`; reads the whole column."""
        columns = self._columns[language]
        parts = [np.diff(column.offsets.view(np.int64)) for column in columns]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def ids(self, language: str, index: int) -> IdArray:
        """Ids of one side of one pair: uint32 `[S]`, without any special token."""
        return self.gather(language, np.array([index], dtype=np.int64))[0]

    def gather(self, language: str, indices: IntArray) -> tuple[IdArray, IntArray]:
        """Ids of many sides, one after another.

        Args:
            language: Which side.
            indices: Pair numbers `[B]`, any order; a pair may occur more than once.

        Returns:
            The ids, uint32 `[sum of lengths]`, and the lengths, int64 `[B]`.
        """
        indices = np.asarray(indices, dtype=np.int64)
        begins, ends, shards = self._locate(language, indices)
        lengths = ends - begins
        columns = self._columns[language]
        if len(columns) == 1:
            return columns[0].ids[spans(begins, lengths)], lengths
        output = np.empty(int(lengths.sum()), dtype=ID_DTYPE)
        places = np.cumsum(lengths) - lengths
        for shard in np.unique(shards):
            here = shards == shard
            target = spans(places[here], lengths[here])
            output[target] = columns[shard].ids[spans(begins[here], lengths[here])]
        return output, lengths

    def _locate(self, language: str, indices: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Begin and end of each pair's ids in its shard, and the shard's number."""
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"split {self.name} has {len(self)} pairs; "
                f"asked for {indices.min()} to {indices.max()}"
            )
        columns = self._columns[language]
        if len(columns) == 1:
            offsets = columns[0].offsets.view(np.int64)
            return offsets[indices], offsets[indices + 1], np.zeros_like(indices)
        shards = np.searchsorted(self._starts, indices, side="right") - 1
        begins, ends = np.empty_like(indices), np.empty_like(indices)
        for shard in np.unique(shards):
            here = shards == shard
            local = indices[here] - self._starts[shard]
            offsets = columns[shard].offsets.view(np.int64)
            begins[here], ends[here] = offsets[local], offsets[local + 1]
        return begins, ends, shards


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
