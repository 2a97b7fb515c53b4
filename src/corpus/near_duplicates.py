"""Near duplicates: pairs whose SimHashes differ in few bits.

When a hash is cut into blocks and at most `bits` of its bits flip, all but `bits` blocks stay as
they were. So rows that agree in any choice of the remaining blocks are candidates: each choice is
one pass over the rows, which are chained by what they have in these blocks and compared with what
stands before them in their chain (Manku, Jain, Das Sarma 2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.dedup import PART_ROWS, surplus
from src.corpus.key_tables import choose, parts
from src.corpus.keys import NEAR, KeyColumns
from src.corpus.mixing import mix
from src.corpus.utf8 import Int

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_STEPS = 256
"""Rows of its chain that a row is compared with, the latest first."""

_HASH_BITS = 64
_MAX_BLOCKS = 12
_PASS_COST = 6.0  # of a row in a pass, in comparisons
_ONES, _TWOS, _FOURS, _SUM = (
    np.uint64(pattern)
    for pattern in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)
_ONE, _TWO, _FOUR, _TOP_BYTE = (np.uint64(shift) for shift in (1, 2, 4, 56))


def near_duplicates(
    keys: KeyColumns, alive: Mask, *, bits: int, part_rows: int = PART_ROWS
) -> Iterator[Positions]:
    """Finds the rows that have a near duplicate before them in the corpus.

    A row goes when any row before it is near, even one that goes itself. Where more than
    `MAX_STEPS` different hashes agree in a choice of blocks, a row is compared with the latest of
    them only, and where more than `part_rows` rows do, they are compared in runs of so many: in
    such crowds of look-alikes some near duplicates stay, and time stays in proportion to the rows.

    Args:
        keys: Keys of the N rows of the corpus, near keys among them.
        alive: `[N]` the rows that are still in the corpus; must not change meanwhile.
        bits: Bits of 64 in which near duplicates may differ.
        part_rows: Rows held in memory, 24 bytes each.

    Yields:
        Positions of rows to drop, some at a time, none twice.
    """
    remaining = alive.copy()
    # Equal hashes are the commonest near duplicates; without them no chain is long for nothing.
    for equal in surplus(keys, NEAR, alive, limit=1, part_rows=part_rows):
        remaining[equal] = False
        yield equal
    if not bits:
        return
    found = np.zeros_like(remaining)
    for mask in block_masks(int(np.count_nonzero(remaining)), bits):
        for positions, hashes in _parts(keys, remaining, mask, part_rows):
            dropped = found[positions]
            known = dropped.copy()
            size = 1 << max(10, len(hashes).bit_length())
            heads = np.full(size, -1, np.int32)
            _compare(hashes, mask, bits, heads, np.empty(len(hashes), np.int32), dropped)
            new = positions[dropped & ~known]
            found[new] = True
            yield new


def block_masks(rows: int, bits: int) -> list[np.uint64]:
    """The choices of blocks that find all pairs of hashes within a distance.

    Args:
        rows: How many hashes there are; more rows ask for larger choices, of which there are more.
        bits: The distance.
    """

    def cost(blocks: int) -> float:
        agreeing = _HASH_BITS * (blocks - bits) / blocks
        return comb(blocks, bits) * (_PASS_COST + min(MAX_STEPS, rows / 2**agreeing))

    blocks = min(range(bits + 1, max(bits + 2, _MAX_BLOCKS + 1)), key=cost)
    edges = [_HASH_BITS * block // blocks for block in range(blocks + 1)]
    parts = [2 ** edges[block + 1] - 2 ** edges[block] for block in range(blocks)]
    return [np.uint64(sum(choice)) for choice in combinations(parts, blocks - bits)]


def _parts(
    keys: KeyColumns, chosen: Mask, mask: np.uint64, part_rows: int
) -> Iterator[tuple[Positions, Hashes]]:
    """The chosen rows in parts of bounded size that hold together what agrees in a mask."""
    for part in parts(int(np.count_nonzero(chosen)), part_rows):
        positions: list[Positions] = []
        hashes: list[Hashes] = []
        waiting = 0
        for place, (here,) in keys.pieces(NEAR):
            rows = np.flatnonzero(choose(here & mask, chosen[place], part))
            positions.append(rows + place.start)
            hashes.append(here[rows])
            waiting += len(rows)
            if waiting >= 2 * part_rows:
                yield np.concatenate(positions), np.concatenate(hashes)
                positions, hashes, waiting = [], [], 0
        if waiting:
            yield np.concatenate(positions), np.concatenate(hashes)


@compiled
def _compare(
    hashes: Hashes,
    mask: np.uint64,
    bits: Int,
    heads: NDArray[np.int32],
    before: NDArray[np.int32],
    dropped: Mask,
) -> None:
    """Marks the rows that are near to one before them in their chain.

    Args:
        hashes: `[N]`.
        mask: Bits that rows of a chain share.
        bits: Distance of near rows.
        heads: `[2**k]` -1 everywhere; receives the last row of each chain.
        before: `[N]` receives the row before each in its chain.
        dropped: `[N]` rows known to be near to one before them need no comparison.
    """
    last = np.uint64(len(heads) - 1)
    for row in range(len(hashes)):
        chain = np.int64(mix(hashes[row] & mask) & last)
        other = np.int64(heads[chain])
        steps = 0
        while other >= 0 and steps < MAX_STEPS and not dropped[row]:
            dropped[row] = _bit_count(hashes[row] ^ hashes[other]) <= bits
            other = np.int64(before[other])
            steps += 1
        before[row] = heads[chain]
        heads[chain] = row


@compiled_part
def _bit_count(word: np.uint64) -> Int:
    word -= (word >> _ONE) & _ONES
    word = (word & _TWOS) + ((word >> _TWO) & _TWOS)
    return np.int64((((word + (word >> _FOUR)) & _FOURS) * _SUM) >> _TOP_BYTE)
