"""The compiled loops behind `src.corpus.keys`: folding, hashing, SimHash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.folding import (
    ASCII_DIGIT,
    CODE_MASK,
    DEPENDS,
    DIGIT,
    EXPANDS,
    LETTER,
    MINUS,
    POINT,
    SIGN,
    UNSPACED,
    Entries,
)
from src.corpus.mixing import mix
from src.corpus.texts import Bytes, Offsets
from src.corpus.utf8 import ONE, START, Int, code_point

Hashes = NDArray[np.uint64]

_SEED = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_WORD_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_LEFT_SALT, _RIGHT_SALT = np.uint64(1), np.uint64(2)
_ZERO, _ONES = np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)
_NOTHING, _TWO, _THREE = np.uint64(0), np.uint64(2), np.uint64(3)
_HALF = np.uint64(32)
_ONE_CODE, _TWO_CODES = np.uint64(21), np.uint64(42)
# Entries are unsigned, and so is what is compared with them: see `src.corpus.utf8`.
_NONE = np.uint32(0)
_LETTER, _ASCII_DIGIT, _DIGIT = np.uint32(LETTER), np.uint32(ASCII_DIGIT), np.uint32(DIGIT)
_SIGN, _POINT, _MINUS = np.uint32(SIGN), np.uint32(POINT), np.uint32(MINUS)
_EXPANDS, _DEPENDS, _UNSPACED = np.uint32(EXPANDS), np.uint32(DEPENDS), np.uint32(UNSPACED)
_CODE_MASK = np.uint32(CODE_MASK)
_PLANES = 20
_MAX_UNITS = (1 << _PLANES) - 1


@compiled_part
def _extended(state: np.uint64, code: np.uint64) -> np.uint64:
    """The hash of a text with one more character."""
    state = (state ^ code) * _MULTIPLIER
    return state ^ (state >> _HALF)


@compiled_part
def fold_text(
    data: Bytes, begin: Int, end: Int, entries: Entries, expansions: Entries, folded: Entries
) -> tuple[Int, np.uint32]:
    """Looks up every character of a text.

    Args:
        data: UTF-8.
        begin: First byte of the text.
        end: Byte after its last.
        entries: Of `src.corpus.folding.Folding`.
        expansions: Of the same.
        folded: Receives the entries; at least twice as long as the text has bytes.

    Returns:
        How many there are, -1 if one of them depends on its neighbours; and all flags that any of
        them has.
    """
    length, place, stop = _NOTHING, np.uint64(begin), np.uint64(end)
    last, seen = np.uint64(len(entries) - 1), _NONE
    while place < stop:
        code, place = code_point(data, place, stop)
        entry = entries[min(code, last)]
        if entry < _EXPANDS:
            folded[length] = entry
            length += ONE
            seen |= entry
            continue
        if entry & _DEPENDS:
            return -1, seen
        part = np.uint64(entry & _CODE_MASK)
        while expansions[part] != 0:
            folded[length] = expansions[part]
            seen |= expansions[part]
            length += ONE
            part += ONE
    return np.int64(length), seen


@compiled_part
def keep(folded: Entries, length: Int, wanted: np.uint32, but: np.uint32, kept: Entries) -> Int:
    """Copies the entries that have a flag of `wanted` and none of `but`; returns how many."""
    count = _NOTHING
    for place in range(np.uint64(length)):
        entry = folded[place]
        kept[count] = entry
        count += np.uint64((entry & wanted) != 0) & np.uint64((entry & but) == 0)
    return np.int64(count)


@compiled_part
def keep_signs(folded: Entries, length: Int, kept: Entries) -> Int:
    """Copies letters, digits and the signs that count; returns how many."""
    count, before = _NOTHING, _NONE
    for place in range(np.uint64(length)):
        entry = folded[place]
        is_kept = (entry & (_LETTER | _SIGN)) != 0
        if entry & (_POINT | _MINUS):
            after = folded[place + ONE] if place + ONE < np.uint64(length) else _NONE
            is_inside = (entry & _POINT) != 0 and (before & _ASCII_DIGIT) != 0
            is_minus = (entry & _MINUS) != 0 and (before & _LETTER) == 0
            is_kept |= (after & _ASCII_DIGIT) != 0 and (is_inside or is_minus)
        kept[count] = entry
        count += np.uint64(is_kept)
        before = entry
    return np.int64(count)


@compiled_part
def digest(kept: Entries, count: Int) -> np.uint64:
    """The hash of entries, three at a time; overwrites the two places after them."""
    kept[count] = kept[count + 1] = 0
    state = np.uint64(count)
    for group in range(np.uint64((count + 2) // 3)):
        place = group * _THREE
        first = np.uint64(kept[place] & _CODE_MASK) << _TWO_CODES
        second = np.uint64(kept[place + ONE] & _CODE_MASK) << _ONE_CODE
        word = (first | second | np.uint64(kept[place + _TWO] & _CODE_MASK)) * _WORD_MULTIPLIER
        state = (state ^ word ^ (word >> _HALF)) * _MULTIPLIER
    return mix(state)


@compiled_part
def hash_side(
    folded: Entries, length: Int, seen: np.uint32, kept: Entries
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Hashes of a text's letters and digits; of these and the signs that count; of its letters.

    Args:
        folded: Entries of the text.
        length: How many there are.
        seen: All their flags.
        kept: Scratch, two longer than the text.
    """
    count = keep(folded, length, _LETTER, _NONE, kept)
    letters = digest(kept, count)
    exact = undigited = letters
    if seen & _DIGIT:
        undigited = digest(kept, keep(kept, count, _LETTER, _DIGIT, kept))
    if seen & _SIGN or (seen & _ASCII_DIGIT and seen & (_POINT | _MINUS)):
        with_signs = keep_signs(folded, length, kept)
        if with_signs > count:
            exact = digest(kept, with_signs)
    return letters, exact, undigited


@compiled_part
def add_units(folded: Entries, length: Int, salt: np.uint64, planes: Hashes, count: Int) -> Int:
    """Counts the bits of the hashes of a text's units.

    Units are words and, in scripts without spaces, each letter with the one before it.

    Args:
        folded: Entries of the text.
        length: How many there are.
        salt: Keeps the units of one side apart from those of the other.
        planes: `[20]` bit b of all is the binary number of units whose hash has bit b set.
        count: Units counted before.

    Returns:
        Units counted now.
    """
    word, before = _ZERO, _ZERO
    for place in range(length + 1):
        entry = folded[place] if place < length else _NONE
        code = np.uint64(entry & _CODE_MASK)
        is_spaced = (entry & (_LETTER | _UNSPACED)) == _LETTER
        if word != _ZERO and not is_spaced:
            count = _add(mix(word), planes, count)
            word = _ZERO
        if is_spaced:
            word = _extended(_SEED ^ salt if word == _ZERO else word, code)
        if entry & _UNSPACED:
            count = _add(mix(_extended(_SEED ^ salt, before << _ONE_CODE | code)), planes, count)
            before = code
        else:
            before = _ZERO
    return count


@compiled_part
def _add(carry: np.uint64, planes: Hashes, count: Int) -> Int:
    if count == _MAX_UNITS:
        return count
    plane = 0
    while carry != _ZERO:
        planes[plane], carry = planes[plane] ^ carry, planes[plane] & carry
        plane += 1
    return count + 1


@compiled_part
def majority(planes: Hashes, count: Int) -> np.uint64:
    """The bits that are set in more than half of `count` hashes; empties the planes."""
    half = count // 2
    above, equal = _ZERO, _ONES
    for plane in range(_PLANES - 1, -1, -1):
        bits = planes[plane]
        planes[plane] = _ZERO
        if half >> plane & 1:
            equal &= bits
        else:
            above |= equal & bits
            equal &= ~bits
    return above


@compiled
def hash_pairs(
    left: tuple[Bytes, Offsets],
    right: tuple[Bytes, Offsets],
    entries: Entries,
    expansions: Entries,
    keys: Hashes,
    depends: NDArray[np.bool_],
    near: bool,  # noqa: FBT001 compiled functions have no keywords
) -> None:
    """Fills `keys`, see `src.corpus.keys`.

    Args:
        left: Bytes and offsets of N first sides.
        right: The same of the second sides.
        entries: Of `src.corpus.folding.Folding`.
        expansions: Of the same.
        keys: `[5, N]` receives the keys.
        depends: `[N]` receives True where the tables are not enough; the keys are then not set.
        near: Whether near keys are computed.
    """
    room = 2 * max(_longest(left[1]), _longest(right[1])) + 2
    folded, kept = np.empty(room, np.uint32), np.empty(room, np.uint32)
    planes = np.zeros(_PLANES, np.uint64)
    for row in range(len(depends)):
        length, seen = fold_text(
            left[0], left[1][row], left[1][row + 1], entries, expansions, folded
        )
        if length < 0:
            depends[row] = True
            continue
        keys[0, row], left_exact, left_template = hash_side(folded, length, seen, kept)
        units = add_units(folded, length, _LEFT_SALT, planes, START) if near else START
        length, seen = fold_text(
            right[0], right[1][row], right[1][row + 1], entries, expansions, folded
        )
        if length < 0:
            depends[row] = True
            majority(planes, START)
            continue
        keys[1, row], right_exact, right_template = hash_side(folded, length, seen, kept)
        keys[2, row] = mix(mix(left_exact) + right_exact)
        keys[3, row] = mix(mix(left_template) + right_template)
        if near:
            units = add_units(folded, length, _RIGHT_SALT, planes, units)
            simhash = majority(planes, units)
            keys[4, row] = simhash if units else keys[2, row]


@compiled_part
def _longest(offsets: Offsets) -> Int:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest
