"""What a pair says, as hashed features: the 1- to 3-grams of both its sides, read from the bytes.

The units are words, except that scripts written without spaces (Han, kana, Thai, Lao, Khmer,
Burmese) give one unit per letter; punctuation and letter case do not count. A word is a run of
letters, digits and the marks on them. The sides never share a feature, because each has its salt.

Hashes: a word's characters c enter as h = (h XOR c) * P, beginning with the salt, and the result is
mixed; an n-gram of units u is the polynomial of the mixed units, u1 * M + u2 and so on, modulo
2**64. Its upper bits number a cell of a table.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part, read_only
from src.corpus.folding import LETTER, UNSPACED, reading
from src.corpus.mixing import mix
from src.corpus.texts import Bytes, Offsets, Texts
from src.corpus.utf8 import Codes, code_point

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Cells = NDArray[np.uint32]
Number = TypeVar("Number", bound=np.generic)

MOST_UNITS = 1024
"""Units read of one side; what follows in a longer text neither counts nor adds worth."""
MOST_GRAMS = 2 * 3 * MOST_UNITS
"""Upper bound of the distinct n-grams of a pair."""

_CHUNK_CELLS = 1 << 19  # 2 MiB; about 4,000 pairs of ordinary sentences
_SLOTS = 1 << (2 * MOST_GRAMS - 1).bit_length()
_LAST_SCRIPT = 0x20000  # beyond are Han characters only

# In the table of characters: what a character is, above its lower-case form.
_CODE_MASK = np.uint32((1 << 21) - 1)
_LETTER, _MARK, _SINGLE = (np.uint32(1 << bit) for bit in (21, 22, 23))

_WORD_MULTIPLIER = np.uint64(0x9FB21C651E98DF25)
_GRAM_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LEFT_SALT = np.uint64(0x2545F4914F6CDD1D)
_RIGHT_SALT = np.uint64(0xD1342543DE82EF95)
_STAMP_SHIFT = np.uint64(32)
_THIN_SHIFT, _NONE = np.uint64(32), np.uint64(0)


class Features(NamedTuple):
    """Which n-grams count, and how they are numbered.

    Attributes:
        bits: An n-gram has a cell of `2 ** bits`, at most `2 ** 32`; several may share one.
        thinning: One in `2 ** thinning` kinds of n-grams counts.
    """

    bits: int
    thinning: int = 0


class Sides(NamedTuple):
    """N pairs of texts as compiled loops take them: bytes and `[N + 1]` offsets of each side."""

    left: Bytes
    left_offsets: Offsets
    right: Bytes
    right_offsets: Offsets


class GramChunk(NamedTuple):
    """The distinct n-grams of R consecutive pairs.

    Attributes:
        cells: `[F]` uint32, the table cells of all pairs, each at most once a pair.
        ends: `[R]` where the cells of each pair end; the first begin at 0.
        tokens: `[R]` units of both sides.
    """

    cells: Cells
    ends: Indices
    tokens: Indices


def sides_of(left: Texts, right: Texts) -> Sides:
    """Two columns for compiled loops."""
    return Sides(
        *(read_only(left.data), read_only(left.offsets)),
        *(read_only(right.data), read_only(right.offsets)),
    )


@cache
def code_table() -> Codes:
    """`[0x40001]` per code point its lower-case form and what it is; the last for all beyond."""
    entries = reading().entries
    codes = np.arange(len(entries), dtype=np.uint32)
    table = np.where(entries & LETTER, codes | _LETTER, np.uint32(0))
    table[entries & UNSPACED > 0] ^= _LETTER | _SINGLE
    for code in range(_LAST_SCRIPT):
        character = chr(code)
        lower = character.lower()
        if lower != character and len(lower) == 1:
            table[code] = ord(lower) | table[code] & ~_CODE_MASK
        elif unicodedata.category(character)[0] == "M":
            table[code] = code | _MARK
    return np.asarray(table, np.uint32)


def gram_chunks(left: Texts, right: Texts, rows: Indices, features: Features) -> list[GramChunk]:
    """The distinct n-grams of some pairs, in the given order, as cells of a table.

    Args:
        left: N texts.
        right: N texts, the other sides.
        rows: `[R]` which pairs.
        features: Which n-grams, and their cells.

    Returns:
        Chunks of at most 2 MiB of cells each.
    """
    chunks: list[GramChunk] = []
    sides = sides_of(left, right)
    shift, thin_mask = np.uint64(64 - features.bits), np.uint64((1 << features.thinning) - 1)
    done = 0
    while done < len(rows):
        cells = np.empty(_CHUNK_CELLS, np.uint32)
        ends, tokens = np.empty(len(rows) - done, np.int64), np.empty(len(rows) - done, np.int64)
        chunk = GramChunk(cells, ends, tokens)
        count = _fill(sides, rows[done:], code_table(), shift, thin_mask, chunk)
        last = int(ends[count - 1])
        chunks.append(GramChunk(cells[:last], ends[:count], tokens[:count]))
        done += count
    return chunks


@compiled
def _fill(
    sides: Sides,
    rows: Indices,
    codes: Codes,
    shift: np.uint64,
    thin_mask: np.uint64,
    chunk: GramChunk,
) -> int:
    """Fills a chunk until the rows end or another pair might not fit; returns the rows done."""
    units, grams = np.empty(2 * MOST_UNITS, np.uint64), np.empty(MOST_GRAMS, np.uint64)
    slots = np.zeros(_SLOTS, np.uint64)
    cells, ends, tokens = chunk
    count = 0
    for index in range(len(rows)):
        if len(cells) - count < MOST_GRAMS:
            return index
        gram_count, tokens[index] = pair_grams(sides, rows[index], codes, units, grams)
        slot_mask = 15
        while slot_mask < 2 * gram_count:
            slot_mask = 2 * slot_mask + 1
        stamp = np.uint64(index + 1) << _STAMP_SHIFT
        for gram in grams[:gram_count]:
            if is_sampled(gram, thin_mask):
                cell = gram >> shift
                if _is_new(cell, slots, slot_mask, stamp):
                    cells[count] = np.uint32(cell)
                    count += 1
        ends[index] = count
    return len(rows)


@compiled_part
def is_sampled(gram: np.uint64, thin_mask: np.uint64) -> bool:
    """Whether a kind of n-gram is in the sample of one in `thin_mask + 1`, a power of two."""
    # Bits that have no part in the number of a cell of the largest table.
    return bool((gram ^ (gram >> _THIN_SHIFT)) & thin_mask == _NONE)


@compiled_part
def _is_new(cell: np.uint64, slots: Hashes, mask: int, stamp: np.uint64) -> bool:
    """Enters a cell in an open hash table; slots with other stamps are free."""
    entry = stamp | cell
    slot = np.int64(cell) & mask
    while slots[slot] >> _STAMP_SHIFT == stamp >> _STAMP_SHIFT:
        if slots[slot] == entry:
            return False
        slot = (slot + 1) & mask
    slots[slot] = entry
    return True


@compiled_part
def pair_grams(
    sides: Sides, row: int, codes: Codes, units: Hashes, grams: Hashes
) -> tuple[int, int]:
    """Writes the hashes of all n-grams of one pair, repeated ones too.

    Args:
        sides: N pairs.
        row: Which of them.
        codes: `code_table()`.
        units: `[2 * MOST_UNITS]` room for the units.
        grams: `[MOST_GRAMS]` is filled from the beginning.

    Returns:
        How many n-grams, and how many units the sides have together.
    """
    begin, end = sides.left_offsets[row], sides.left_offsets[row + 1]
    middle = _side_units(sides.left, begin, end, codes, _LEFT_SALT, units, 0)
    begin, end = sides.right_offsets[row], sides.right_offsets[row + 1]
    last = _side_units(sides.right, begin, end, codes, _RIGHT_SALT, units, middle)
    count = _side_grams(units, 0, middle, grams, 0)
    return _side_grams(units, middle, last, grams, count), last


@compiled_part
def _side_grams(units: Hashes, begin: int, end: int, grams: Hashes, count: int) -> int:
    before = pair_before = np.uint64(0)
    for index in range(begin, end):
        unit = units[index]
        pair = before * _GRAM_MULTIPLIER + unit
        triple = pair_before * _GRAM_MULTIPLIER + unit
        grams[count] = unit
        count += 1
        if index > begin:
            grams[count] = pair
            count += 1
        if index > begin + 1:
            grams[count] = triple
            count += 1
        before, pair_before = unit, pair
    return count


@compiled_part
def _side_units(
    data: Bytes, begin: int, end: int, codes: Codes, salt: np.uint64, units: Hashes, first: int
) -> int:
    """Writes the hashes of the units of one side from `first` on; returns where they end."""
    count, most = first, first + MOST_UNITS
    word, in_word = salt, False
    place, stop, beyond = np.uint64(begin), np.uint64(end), np.uint64(len(codes) - 1)
    while place < stop and count < most:
        code, place = code_point(data, place, stop)
        entry = codes[min(code, beyond)]
        if entry & _LETTER or (entry & _MARK and in_word):
            word = (word ^ np.uint64(entry & _CODE_MASK)) * _WORD_MULTIPLIER
            in_word = True
            continue
        if in_word:
            units[count] = mix(word)
            count += 1
            word, in_word = salt, False
        if entry & _SINGLE and count < most:
            units[count] = mix((salt ^ np.uint64(entry & _CODE_MASK)) * _WORD_MULTIPLIER)
            count += 1
    if in_word and count < most:
        units[count] = mix(word)
        count += 1
    return count
