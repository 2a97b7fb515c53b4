"""Byte-pair encoding of one piece of text, as compiled functions over flat tables.

The rule is that of the reference: of all pairs of neighbours that have a merge, the one listed
first is merged, the leftmost where it occurs twice; until none is left. Looking up pairs is what it
costs. Characters of several bytes therefore begin as one symbol where that cannot change the
result. It cannot if the character's own merges are all listed before any merge that would join
only a part of it to its neighbour: by the time such a merge has its turn the character is whole,
and merges inside it change nothing outside. This holds for vocabularies in which a merge is listed
after those that make its two halves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part, inlined
from src.tokens.columns import IdArray
from src.tokens.pieces import ASCII_END, Bytes, decode_character

NEVER = (1 << 31) - 1
"""The rank of a merge that does not exist."""
MOST_IDS = 1 << 20
"""Ids, and merges, that the tables have room for."""
LONGEST_PIECE = 1024
"""Bytes; the time of a piece grows with the square of its length."""

# Parts of `Tables.starts`.
CROSSINGS = 256
CHARACTERS = CROSSINGS + 256 * 256
STARTS = CHARACTERS + 0x110000

# An entry of `Tables.pairs` is left id, right id and rank. Behind the 2^k entries come 2^k / 8
# words with a bit for every pair that may be there: they stay in the fastest memory.
_EMPTY = np.uint64((1 << 64) - 1)
_ID_SHIFT, _RANK_SHIFT = np.uint64(20), np.uint64(24)
_RANK_MASK = np.uint64((1 << 24) - 1)
_MIX, _SLOT_SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(40)
_ONE, _WORD_SHIFT, _BIT_MASK = np.uint64(1), np.uint64(6), np.uint64(63)
_PLACE_BITS = 16


class Tables(NamedTuple):
    """Everything about a vocabulary that encoding needs.

    Attributes:
        classes: Marks of each code point (`src.tokens.characters`): uint8 `[0x110000]`.
        starts: int32 `[STARTS]`. First the id of each byte `[256]`. From CROSSINGS on, for two
            neighbouring bytes `[256, 256]`, the rank of the first merge that makes a token with a
            part of a character in it and a character boundary between these bytes. From CHARACTERS
            on, by code point, the rank of the last merge inside the character, which makes it one
            token. NEVER where there is none.
        pairs: Hash table of merges: uint64 `[2^k + 2^k / 8]`.
        merged_ids: Id that each merge makes: uint32 `[M]`.
    """

    classes: Bytes
    starts: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    merged_ids: IdArray


def pair_table(left: IdArray, right: IdArray) -> NDArray[np.uint64]:
    """The hash table of merges.

    Args:
        left: First id of each merge, in the order of their ranks `[M]`; no pair occurs twice.
        right: Second id.
    """
    size = 8 << (3 * len(left) // 16).bit_length()
    pairs = np.full(size + size // 8, _EMPTY, np.uint64)
    pairs[size:] = 0
    _fill(pairs, left, right)
    return pairs


@compiled_part
def merge_piece(  # noqa: PLR0917  a tuple of arrays would be slower
    starts: NDArray[np.int32],
    pairs: NDArray[np.uint64],
    merged_ids: IdArray,
    data: Bytes,
    begin: int,
    end: int,
    ids: IdArray,
    at: int,
    ranks: NDArray[np.int32],
) -> int:
    """Encodes one piece.

    Args:
        starts: See `Tables`.
        pairs: See `Tables`.
        merged_ids: See `Tables`.
        data: Bytes of the text.
        begin: Where the piece begins.
        end: Where it ends.
        ids: Receives the ids from `at` on; has room for one a byte.
        at: See `ids`.
        ranks: Scratch; has room for one a byte.

    Returns:
        The number of ids.
    """
    count = _place_symbols(starts, merged_ids, data, begin, end, ids, at)
    for place in range(count - 1):
        ranks[place] = _rank_of(pairs, ids[at + place], ids[at + place + 1])
    while count > 1:
        best = NEVER << _PLACE_BITS
        for place in range(count - 1):
            best = min(best, int(ranks[place]) << _PLACE_BITS | place)
        rank, place = best >> _PLACE_BITS, best & ((1 << _PLACE_BITS) - 1)
        if rank == NEVER:
            break
        count -= 1
        ids[at + place] = merged_ids[rank]
        for later in range(place + 1, count):
            ids[at + later] = ids[at + later + 1]
        for later in range(place + 1, count - 1):
            ranks[later] = ranks[later + 1]
        if place < count - 1:
            ranks[place] = _rank_of(pairs, ids[at + place], ids[at + place + 1])
        if place > 0:
            ranks[place - 1] = _rank_of(pairs, ids[at + place - 1], ids[at + place])
    return count


@inlined
def _place_symbols(
    starts: NDArray[np.int32],
    merged_ids: IdArray,
    data: Bytes,
    begin: int,
    end: int,
    ids: IdArray,
    at: int,
) -> int:
    """What merging starts from: whole characters where that is safe, else bytes."""
    place = at
    byte = begin
    while byte < end:
        if data[byte] < ASCII_END:
            ids[place] = starts[data[byte]]
            place += 1
            byte += 1
            continue
        code, width = decode_character(data, byte)
        rank = starts[CHARACTERS + code]
        after = byte + width
        if (
            rank != NEVER
            and (byte == begin or rank < _crossing(starts, data, byte))
            and (after == end or rank < _crossing(starts, data, after))
        ):
            ids[place] = merged_ids[rank]
            place += 1
        else:
            for offset in range(width):
                ids[place + offset] = starts[data[byte + offset]]
            place += width
        byte = after
    return place - at


@inlined
def _crossing(starts: NDArray[np.int32], data: Bytes, boundary: int) -> int:
    return int(starts[CROSSINGS + (int(data[boundary - 1]) << 8 | data[boundary])])


@inlined
def _rank_of(pairs: NDArray[np.uint64], left: int, right: int) -> int:
    key = np.uint64(left) << _ID_SHIFT | np.uint64(right)
    mixed = key * _MIX
    size = len(pairs) // 9 * 8
    rank = NEVER
    bit = mixed >> np.uint64(37) & np.uint64(8 * size - 1)
    if pairs[np.uint64(size) + (bit >> _WORD_SHIFT)] >> (bit & _BIT_MASK) & _ONE:
        slot = mixed >> _SLOT_SHIFT & np.uint64(size - 1)
        while pairs[slot] != _EMPTY:
            if pairs[slot] >> _RANK_SHIFT == key:
                rank = int(np.int64(pairs[slot] & _RANK_MASK))
                break
            slot = slot + _ONE & np.uint64(size - 1)
    return rank


@compiled
def _fill(pairs: NDArray[np.uint64], left: IdArray, right: IdArray) -> None:
    size = len(pairs) // 9 * 8
    for rank in range(len(left)):
        key = np.uint64(left[rank]) << _ID_SHIFT | np.uint64(right[rank])
        mixed = key * _MIX
        bit = mixed >> np.uint64(37) & np.uint64(8 * size - 1)
        pairs[np.uint64(size) + (bit >> _WORD_SHIFT)] |= _ONE << (bit & _BIT_MASK)
        slot = mixed >> _SLOT_SHIFT & np.uint64(size - 1)
        while pairs[slot] != _EMPTY:
            slot = slot + _ONE & np.uint64(size - 1)
        pairs[slot] = key << _RANK_SHIFT | np.uint64(rank)
