"""From items to micro-batches: joining prompt, source and target, and padding.

Nothing here loops over pairs or tokens in Python. All sequences of a step are first laid end to
end in one array; a micro-batch is then a padded copy of a stretch of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.tokens.prompts import Prompt
from src.tokens.split import IntArray, TokenSplit, spans

MicroBatch = dict[str, IntArray]


class Collator:
    """Builds micro-batches of one split.

    An item is a pair in one direction: item `i` is pair `i // D` in direction `i % D`, where D is
    the number of directions.
    """

    def __init__(
        self,
        split: TokenSplit,
        language_pairs: Sequence[str],
        prompts: Sequence[Prompt],
        *,
        pad_id: int,
    ) -> None:
        """Prepares tables of prompt lengths.

        Args:
            split: Where the ids come from.
            language_pairs: Directions such as "en-zh".
            prompts: One per direction.
            pad_id: Fills the rows behind the shorter sequences.
        """
        self._split = split
        self._prompts = tuple(prompts)
        self._pad_id = pad_id
        self._overheads = np.array([prompt.overhead for prompt in prompts], dtype=np.int64)
        self._sources = [language_pair.split("-")[0] for language_pair in language_pairs]
        # Whether the first language of the split is the source, per direction.
        self._first_is_source = np.array([name == split.languages[0] for name in self._sources])

    def lengths(self, items: IntArray) -> IntArray:
        """Tokens of each item's whole sequence: int64 `[B]`."""
        pairs, ways = np.divmod(items, len(self._prompts))
        first, second = self._split.languages
        sides = self._split.lengths(first, pairs) + self._split.lengths(second, pairs)
        return np.add(sides, self._overheads[ways])

    def target_lengths(self, items: IntArray) -> IntArray:
        """Tokens of each item that the loss counts, target and suffix: int64 `[B]`."""
        pairs, ways = np.divmod(items, len(self._prompts))
        first, second = (self._split.lengths(name, pairs) for name in self._split.languages)
        suffixes = np.array([len(prompt.suffix) for prompt in self._prompts], dtype=np.int64)
        return np.add(np.where(self._first_is_source[ways], second, first), suffixes[ways])

    def find_too_long(self, max_seq_length: int) -> list[IntArray]:
        """Per direction, the pairs whose sequence exceeds the limit; reads all lengths once."""
        first, second = self._split.languages
        sides = self._split.all_lengths(first) + self._split.all_lengths(second)
        return [
            np.flatnonzero(sides > max_seq_length - prompt.overhead) for prompt in self._prompts
        ]

    def micro_batches(self, items: IntArray, sizes: Sequence[int]) -> list[MicroBatch]:
        """Cuts `items` into consecutive micro-batches of these sizes.

        Returns:
            Dicts of int64 arrays: `input_ids` `[B, T]`, right-padded; `target_positions` `[P]`,
            the flat positions `b * T + t` from which a counted token is predicted; `labels`
            `[P]`, those tokens; `directions` `[B]`, indices into the language pairs.
        """
        sequences = self._join(items)
        batches, begin = [], 0
        for size in sizes:
            batches.append(_pad(sequences, slice(begin, begin + size), self._pad_id))
            begin += size
        return batches

    def _join(self, items: IntArray) -> _Sequences:
        pairs, ways = np.divmod(items, len(self._prompts))
        first, second = self._split.languages
        first_ids, first_lengths = self._split.gather(first, pairs)
        second_ids, second_lengths = self._split.gather(second, pairs)
        lengths = first_lengths + second_lengths + self._overheads[ways]
        begins = np.cumsum(lengths) - lengths
        first_is_source = self._first_is_source[ways]
        source_lengths = np.where(first_is_source, first_lengths, second_lengths)
        prefixes, infixes, suffixes = (
            np.array([len(part) for part in parts], dtype=np.int64)[ways]
            for parts in zip(
                *((prompt.prefix, prompt.infix, prompt.suffix) for prompt in self._prompts),
                strict=True,
            )
        )
        source_begins = begins + prefixes
        target_begins = source_begins + source_lengths + infixes
        ids = np.empty(int(lengths.sum()), dtype=np.int64)
        first_begins = np.where(first_is_source, source_begins, target_begins)
        second_begins = np.where(first_is_source, target_begins, source_begins)
        ids[spans(first_begins, first_lengths)] = first_ids
        ids[spans(second_begins, second_lengths)] = second_ids
        for way, prompt in enumerate(self._prompts):
            rows = ways == way
            _place(ids, begins[rows], prompt.prefix)
            _place(ids, (target_begins - infixes)[rows], prompt.infix)
            _place(ids, (begins + lengths - suffixes)[rows], prompt.suffix)
        return _Sequences(ids, begins, lengths, target_begins, ways)


@dataclass(frozen=True)
class _Sequences:
    """Sequences laid end to end.

    Attributes:
        ids: All ids `[sum of lengths]`.
        begins: Where each sequence begins in `ids` `[B]`.
        lengths: Tokens of each `[B]`.
        target_begins: Where each target begins in `ids` `[B]`; it lasts to the sequence's end.
        ways: Direction of each `[B]`.
    """

    ids: IntArray
    begins: IntArray
    lengths: IntArray
    target_begins: IntArray
    ways: IntArray


def _place(ids: IntArray, begins: IntArray, part: Sequence[int]) -> None:
    """Writes the same few ids at many places."""
    if part:
        ids[begins[:, None] + np.arange(len(part))] = np.array(part, dtype=np.int64)


def _pad(sequences: _Sequences, rows: slice, pad_id: int) -> MicroBatch:
    begins, lengths = sequences.begins[rows], sequences.lengths[rows]
    longest = int(lengths.max())
    row_begins = np.arange(len(lengths), dtype=np.int64) * longest
    flat: NDArray[Any] = np.full(len(lengths) * longest, pad_id, dtype=np.int64)  # [B * T]
    flat[spans(row_begins, lengths)] = sequences.ids[begins[0] : begins[-1] + lengths[-1]]
    before_target = sequences.target_begins[rows] - begins
    positions = spans(row_begins + before_target - 1, lengths - before_target)
    return {
        "input_ids": flat.reshape(len(lengths), longest),  # [B, T]
        "target_positions": positions,
        "labels": flat[positions + 1],
        "directions": sequences.ways[rows].copy(),
    }
