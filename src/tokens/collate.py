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

from src.languages import split_direction
from src.tokens.columns import IntArray
from src.tokens.prompts import Prompt
from src.tokens.records import RECORDS
from src.tokens.split import Sides, TokenSplit, spans

MicroBatch = dict[str, NDArray[Any]]


class Collator:
    """Builds micro-batches of one split.

    An item is a pair in one direction: item `i` is row `i // D` in direction `i % D`, where D is
    the number of directions. Only directions between the row's own languages exist.

    Attributes:
        rows: Per direction, the rows that can be read in it; none where the split has no text.
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
        # Per direction: lengths of the prompt's parts, and which side is the source.
        self._overheads = np.array([prompt.overhead for prompt in prompts], dtype=np.int64)
        self._prefixes = np.array([len(prompt.prefix) for prompt in prompts], dtype=np.int64)
        self._suffixes = np.array([len(prompt.suffix) for prompt in prompts], dtype=np.int64)
        places = [split.rows_of(*split_direction(direction)) for direction in language_pairs]
        self.rows = tuple(rows for rows, _ in places)
        self._left_is_source = np.array([side == 0 for _, side in places])

    def lengths(self, items: IntArray) -> IntArray:
        """Tokens of each item's whole sequence: int64 `[B]`."""
        return self.locate(items).lengths

    def locate(self, items: IntArray) -> Located:
        """Looks up where the items lie and how long they are; reads no ids."""
        rows, ways = np.divmod(items, len(self._prompts))
        left, right = (self._split.locate(side, rows) for side in (0, 1))
        left_is_source = self._left_is_source[ways]
        return Located(
            rows=rows,
            ways=ways,
            sides=(left, right),
            left_is_source=left_is_source,
            lengths=left.lengths + right.lengths + self._overheads[ways],
            target_lengths=np.where(left_is_source, right.lengths, left.lengths)
            + self._suffixes[ways],
        )

    def find_too_long(self, max_seq_length: int) -> list[IntArray]:
        """Per direction, the rows whose sequence exceeds the limit; reads each length once."""
        rooms = [max_seq_length - prompt.overhead for prompt in self._prompts]
        found: list[list[IntArray]] = [[np.empty(0, dtype=np.int64)] for _ in rooms]
        for begin, lengths in self._split.pair_lengths():
            for room, rows, parts in zip(rooms, self.rows, found, strict=True):
                if begin in rows:
                    parts.append(begin + np.flatnonzero(lengths > room))
        return [np.concatenate(parts) for parts in found]

    def micro_batches(
        self,
        located: Located,
        sizes: Sequence[int],
        packed: Sequence[IntArray] | None = None,
    ) -> list[MicroBatch]:
        """Cuts items into consecutive micro-batches.

        Args:
            located: The items, N of them.
            sizes: Items in each micro-batch.
            packed: For each micro-batch, how many items lie in each of its rows `[B]`. None: one.

        Returns:
            Dicts of int64 arrays: `input_ids` `[B, T]`, right-padded; `target_positions` `[P]`,
            the flat positions `b * T + t` from which a counted token is predicted; `labels`
            `[P]`, those tokens; `directions` `[N]`, indices into the language pairs. Where the
            split has records, also `records`, uint8 `[P, record_bytes]`. If rows are packed, also
            `position_ids` `[B, T]`, positions within the own item, and `sequence_ends` `[B, T]`,
            the position in the row where the own item has ended; padding is an item by itself.
        """
        sequences = self._join(located)
        batches, begin = [], 0
        for number, size in enumerate(sizes):
            part = slice(begin, begin + size)
            counts = None if packed is None else packed[number]
            batches.append(lay_out(sequences, part, counts, self._pad_id))
            if self._split.records is not None:
                batches[-1][RECORDS] = self._split.records.read(
                    located.rows[part], located.ways[part], located.target_lengths[part]
                )
            begin += size
        return batches

    def _join(self, located: Located) -> Sequences:
        ways, lengths = located.ways, located.lengths
        begins = np.cumsum(lengths) - lengths
        target_begins = begins + lengths - located.target_lengths
        source_begins = begins + self._prefixes[ways]
        ids = np.empty(int(lengths.sum()), dtype=np.int64)
        for number, (side, is_source) in enumerate(
            zip(located.sides, (located.left_is_source, ~located.left_is_source), strict=True)
        ):
            side_begins = np.where(is_source, source_begins, target_begins)
            ids[spans(side_begins, side.lengths)] = self._split.read(number, side)
        for way, prompt in enumerate(self._prompts):
            rows = ways == way
            _place(ids, begins[rows], prompt.prefix)
            _place(ids, target_begins[rows] - len(prompt.infix), prompt.infix)
            _place(ids, (begins + lengths)[rows] - len(prompt.suffix), prompt.suffix)
        return Sequences(ids, begins, lengths, target_begins, ways)


@dataclass(frozen=True)
class Located:
    """Items looked up, before any id is read.

    Attributes:
        rows: Row of each item `[B]`.
        ways: Direction of each item `[B]`.
        sides: Where the left and the right sides lie.
        left_is_source: Whether the left side is the source `[B]`.
        lengths: Tokens of each whole sequence `[B]`.
        target_lengths: Tokens that the loss counts, target and suffix `[B]`.
    """

    rows: IntArray
    ways: IntArray
    sides: tuple[Sides, Sides]
    left_is_source: NDArray[np.bool_]
    lengths: IntArray
    target_lengths: IntArray

    def take(self, rows: IntArray) -> Located:
        """These rows of all columns."""
        left, right = (Sides(*(column[rows] for column in side)) for side in self.sides)
        return Located(
            self.rows[rows],
            self.ways[rows],
            (left, right),
            self.left_is_source[rows],
            self.lengths[rows],
            self.target_lengths[rows],
        )


@dataclass(frozen=True)
class Sequences:
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


def lay_out(sequences: Sequences, part: slice, counts: IntArray | None, pad_id: int) -> MicroBatch:
    """Copies a stretch of sequences into padded rows; `counts` of them in each, None: one.

    Returns:
        What `Collator.micro_batches` gives, without records.
    """
    begins, lengths = sequences.begins[part], sequences.lengths[part]
    in_row = np.ones_like(lengths) if counts is None else counts
    first = np.cumsum(in_row) - in_row  # of each row's sequences
    widths = np.add.reduceat(lengths, first)
    longest = int(widths.max())
    # Where each sequence begins: within its row, and among all positions.
    before = begins - np.repeat(begins[first], in_row)
    places = np.repeat(np.arange(len(widths), dtype=np.int64) * longest, in_row) + before
    flat: NDArray[Any] = np.full(len(widths) * longest, pad_id, dtype=np.int64)  # [B * T]
    held = spans(places, lengths)
    flat[held] = sequences.ids[begins[0] : begins[-1] + lengths[-1]]
    before_target = sequences.target_begins[part] - begins
    positions = spans(places + before_target - 1, lengths - before_target)
    shape = (len(widths), longest)
    micro_batch = {
        "input_ids": flat.reshape(shape),
        "target_positions": positions,
        "labels": flat[positions + 1],
        "directions": sequences.ways[part].copy(),
    }
    if counts is None:
        return micro_batch
    position_ids = np.zeros_like(flat)
    position_ids[held] = spans(np.zeros_like(lengths), lengths)
    ends = np.tile(np.arange(1, longest + 1, dtype=np.int64), len(widths))
    ends[held] = np.repeat(before + lengths, lengths)
    borders = {"position_ids": position_ids.reshape(shape), "sequence_ends": ends.reshape(shape)}
    return {**micro_batch, **borders}
