"""The fast encoder: the ids of the reference, ten times as fast, from compiled loops.

It cuts text as Qwen2.5 does (`src.tokens.pieces`), merges bytes as the vocabulary says
(`src.tokens.merging`) and remembers the ids of short pieces, which are most of all text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, inlined
from src.tokens.characters import character_classes
from src.tokens.columns import IdArray, IdColumn, IntArray, TextColumn
from src.tokens.merging import (
    CHARACTERS,
    CROSSINGS,
    LONGEST_PIECE,
    MOST_IDS,
    NEVER,
    STARTS,
    Tables,
    merge_piece,
    pair_table,
)
from src.tokens.pieces import Bytes, piece_end
from src.tokens.vocabulary import PATTERN, Vocabulary, byte_alphabet

NOT_ENCODED = -1
"""Stands for the length of a text that was left out."""

Memory = NDArray[np.uint64]
Key = tuple[np.uint64, np.uint64, np.uint64]

# All bytes of a character but the first begin with the bits 10.
_FIRST_BITS, _CONTINUED = 0xC0, 0x80

# A remembered piece is one cache line: 24 bytes of text, the number of ids, eight ids.
_WORDS, _LINE_BYTES = 8, 64
_LONGEST_KEY, _MOST_IDS = 24, 8
_LINES = 1 << 16
_MULTIPLIERS = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
)
_HALF, _LOW = np.uint64(32), np.uint64((1 << 32) - 1)


class FastEncoder:
    """Columns of texts to columns of ids.

    Attributes:
        tables: Of the vocabulary; all that it takes to make the encoder again.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    @classmethod
    def build(cls, vocabulary: Vocabulary) -> FastEncoder:
        """Makes the tables of a vocabulary.

        Raises:
            ValueError: If it cuts text in another way, or is too large.
        """
        if vocabulary.pattern != PATTERN:
            raise ValueError("it cuts text in another way than Qwen2.5's")
        if max(vocabulary.size, len(vocabulary.merges)) > MOST_IDS:
            raise ValueError(f"it has {vocabulary.size:,} tokens")
        return cls(_build_tables(vocabulary))

    def save(self, path: Path) -> None:
        """Writes the tables to `path`, which ends in .npz."""
        np.savez(path, **self.tables._asdict())

    @classmethod
    def load(cls, path: Path) -> FastEncoder:
        """Reads what `save` wrote."""
        with np.load(path) as arrays:
            return cls(Tables(**arrays))

    def memory(self) -> Memory:
        """An empty memory of pieces; columns in one language do well to share one."""
        words = np.zeros((_LINES + 1) * _WORDS, np.uint64)
        # From the beginning of a cache line on, so that a look-up touches one only.
        skip = -words.ctypes.data % _LINE_BYTES // words.itemsize
        return words[skip : skip + _LINES * _WORDS].reshape(_LINES, _WORDS)

    def encode(self, column: TextColumn, memory: Memory, left_out: NDArray[np.bool_]) -> IdColumn:
        """The ids of texts that are in the vocabulary's normal form.

        Args:
            column: The texts.
            memory: What earlier calls have left; only saves time.
            left_out: Texts to pass over `[N]`.

        Returns:
            Their ids. The length is NOT_ENCODED for a text that was to be left out, and for one
            with a piece longer than LONGEST_PIECE bytes.
        """
        # One more than needed: ids are remembered in twos.
        ids = np.empty(int(column.offsets[-1] - column.offsets[0]) + 1, np.uint32)
        lengths = np.empty(column.rows, np.int64)
        count = _encode_rows(
            *self.tables, memory, column.data, column.offsets, left_out, ids, lengths
        )
        return IdColumn(ids[:count], lengths)


@compiled
def _encode_rows(  # noqa: PLR0917  a tuple of arrays would be slower
    classes: Bytes,
    starts: NDArray[np.int32],
    pairs: NDArray[np.uint64],
    merged_ids: IdArray,
    memory: Memory,
    data: Bytes,
    offsets: IntArray,
    left_out: NDArray[np.bool_],
    ids: IdArray,
    lengths: IntArray,
) -> int:
    ranks = np.empty(LONGEST_PIECE, np.int32)
    at = 0
    for row in range(len(lengths)):
        lengths[row] = NOT_ENCODED
        if left_out[row]:
            continue
        begin, end, first = offsets[row], offsets[row + 1], at
        while begin < end:
            after = piece_end(data, begin, end, classes)
            size = after - begin
            if size > LONGEST_PIECE:
                break
            is_short = size <= _LONGEST_KEY
            key = _packed(data, begin, after if is_short else begin)
            line = _line_of(key, memory)
            known = _recall(memory, line, key, size, ids, at) if is_short else 0
            if known == 0:
                known = merge_piece(starts, pairs, merged_ids, data, begin, after, ids, at, ranks)
                if is_short and known <= _MOST_IDS:
                    _remember(memory, line, key, size, ids, at, known)
            at += known
            begin = after
        if begin < end:
            at = first
        else:
            lengths[row] = at - first
    return at


@inlined
def _packed(data: Bytes, begin: int, end: int) -> Key:
    """The bytes of a short piece as three numbers."""
    first, second, third = np.uint64(0), np.uint64(0), np.uint64(0)
    for at in range(begin, min(end, begin + 8)):
        first |= np.uint64(data[at]) << np.uint64(8 * (at - begin))
    for at in range(begin + 8, min(end, begin + 16)):
        second |= np.uint64(data[at]) << np.uint64(8 * (at - begin - 8))
    for at in range(begin + 16, end):
        third |= np.uint64(data[at]) << np.uint64(8 * (at - begin - 16))
    return first, second, third


@inlined
def _line_of(key: Key, memory: Memory) -> int:
    mixed = key[0] * _MULTIPLIERS[0] ^ key[1] * _MULTIPLIERS[1] ^ key[2] * _MULTIPLIERS[2]
    mixed = (mixed ^ mixed >> _HALF) * _MULTIPLIERS[0] >> _HALF
    return int(np.int64(mixed & np.uint64(len(memory) - 1)))


@inlined
def _recall(memory: Memory, line: int, key: Key, size: int, ids: IdArray, at: int) -> int:
    """Writes the ids of a piece that is remembered; returns their number, 0 if it is not."""
    count = 0
    # Bytes of zero at a piece's end show in its size only.
    if (
        memory[line, 3] >> _HALF == np.uint64(size)
        and memory[line, 0] == key[0]
        and memory[line, 1] == key[1]
        and memory[line, 2] == key[2]
    ):
        count = int(np.int64(memory[line, 3] & _LOW))
        for pair in range((count + 1) // 2):
            both = memory[line, 4 + pair]
            ids[at + 2 * pair] = np.uint32(both)
            ids[at + 2 * pair + 1] = np.uint32(both >> _HALF)
    return count


@inlined
def _remember(
    memory: Memory, line: int, key: Key, size: int, ids: IdArray, at: int, count: int
) -> None:
    memory[line, 0], memory[line, 1], memory[line, 2] = key
    memory[line, 3] = np.uint64(size) << _HALF | np.uint64(count)
    for pair in range((count + 1) // 2):
        low, high = ids[at + 2 * pair], ids[at + 2 * pair + 1]
        memory[line, 4 + pair] = np.uint64(low) | np.uint64(high) << _HALF


def _build_tables(vocabulary: Vocabulary) -> Tables:
    # As a dictionary: of a merge that is listed twice, the last one counts.
    ranks = {merge: rank for rank, merge in enumerate(vocabulary.merges)}
    merges = [merge for rank, merge in enumerate(vocabulary.merges) if ranks[merge] == rank]
    tokens = vocabulary.tokens
    left = np.array([tokens[merge[0]] for merge in merges], np.uint32)
    right = np.array([tokens[merge[1]] for merge in merges], np.uint32)
    merged = np.array([tokens[merge[0] + merge[1]] for merge in merges], np.uint32)
    starts = np.full(STARTS, NEVER, np.int32)
    for character, byte in byte_alphabet().items():
        starts[byte] = tokens[character]
    tables = Tables(character_classes(), starts, pair_table(left, right), merged)
    made_by = np.full(vocabulary.size, -1, np.int64)
    np.maximum.at(made_by, merged, np.arange(len(merged)))
    if (np.maximum(made_by[left], made_by[right]) < np.arange(len(merged))).all():
        _allow_whole_characters(tables, merges, made_by)
    return tables


def _allow_whole_characters(
    tables: Tables, merges: Iterable[tuple[str, str]], made_by: IntArray
) -> None:
    """Fills in the ranks with which `merge_piece` decides what may begin as one symbol.

    Args:
        tables: Without any yet.
        merges: All of them.
        made_by: Id -> rank of the last merge that makes it.
    """
    crossings = tables.starts[CROSSINGS:CHARACTERS].reshape(256, 256)
    alphabet = byte_alphabet()
    characters = []
    for rank, merge in enumerate(merges):
        token = bytes(alphabet[character] for half in merge for character in half)
        try:
            text = token.decode("utf-8")
        except UnicodeDecodeError:
            for at in range(1, len(token)):
                if token[at] & _FIRST_BITS != _CONTINUED:  # a character begins here
                    place = token[at - 1], token[at]
                    crossings[place] = min(rank, crossings[place])
            continue
        if len(text) == 1 and len(token) > 1:
            characters.append(text)
    column = TextColumn.of(characters)
    encoder = FastEncoder(tables)
    ids = encoder.encode(column, encoder.memory(), np.zeros(column.rows, np.bool_))
    codes = np.array([ord(character) for character in characters], np.int64)
    is_one = ids.lengths == 1
    single = ids.values[(np.cumsum(ids.lengths) - 1)[is_one]]
    tables.starts[CHARACTERS + codes[is_one]] = made_by[single]
