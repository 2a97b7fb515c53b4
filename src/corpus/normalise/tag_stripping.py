"""Takes out the tags that only one side of a pair has, where they certainly are markup.

A tag is certainly markup where it opens or closes with another of its name, has attributes or
stands alone (`<br>`), or where a run of tags that are not all plain (`</p></td> <td>`) begins or
ends the text. A plain `<p>` anywhere else may be what the sentence is about, and so may anything in
a text with backticks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.folding import letter_table
from src.corpus.normalise.columns import copy_bytes
from src.corpus.normalise.protected import Letters, is_white
from src.corpus.normalise.rules import TABLE_SIZE
from src.corpus.normalise.tags import (
    BEGIN,
    BREAKING_BITS,
    CLOSING,
    ELEMENT,
    END,
    HASHES,
    INLINE_BITS,
    IS_CERTAIN,
    KIND,
    MAX_TAGS,
    ONE_BIT,
    OTHER,
    PLAIN,
    Hashes,
    Positions,
    Tags,
    elements,
    find_tags,
)
from src.corpus.texts import Bytes, Offsets, Texts
from src.corpus.utf8 import START, Int, code_point

Mask = NDArray[np.bool_]
Text = tuple[Bytes, Int, Int]
"""Bytes, first byte of a text, byte after its last."""

_NONE = np.uint64(0)
_SPACE = ord(" ")
_ASCII_END, _LEAD = 0x80, 0xC0


def named_elements(texts: Texts, rows: Positions) -> Hashes:
    """`[R]` which elements the tags of some rows name, a bit each."""
    found = np.zeros(len(rows), np.uint64)
    elements(texts.data, texts.offsets, rows, HASHES, found)
    return found


def without_tags(texts: Texts, shared: Hashes) -> tuple[Texts, Mask]:
    """Texts without the tags that certainly are markup.

    Args:
        texts: N rows.
        shared: `[N]` elements whose tags stay, a bit each.

    Returns:
        The texts, and `[N]` whether each changed.
    """
    target = np.empty(int(texts.offsets[-1] - texts.offsets[0]), np.uint8)
    places = np.zeros(len(texts) + 1, np.int64)
    is_changed = np.zeros(len(texts), np.bool_)
    sources = (texts.data, texts.offsets)
    _strip(sources, shared, HASHES, letter_table(), target, places, is_changed)
    return Texts(target, places), is_changed


@compiled
def _strip(
    texts: tuple[Bytes, Offsets],
    shared: Hashes,
    names: Hashes,
    letters: Letters,
    target: Bytes,
    places: Offsets,
    is_changed: Mask,
) -> None:
    data, offsets = texts
    tags = np.zeros((MAX_TAGS, 5), np.int64)
    for row in range(len(shared)):
        text = (data, offsets[row], offsets[row + 1])
        count = find_tags(data, offsets[row], offsets[row + 1], names, tags)
        count = _mark_certain(text, tags, count, shared[row])
        places[row + 1] = _copy_stripped(text, tags, count, letters, target, places[row])
        length = offsets[row + 1] - offsets[row]
        is_changed[row] = places[row + 1] - places[row] != length


@compiled_part
def _mark_certain(text: Text, tags: Tags, count: Int, shared: np.uint64) -> Int:
    """Leaves out shared tags, marks those that certainly are markup; returns how many are left."""
    kept = START
    for number in range(count):
        if (ONE_BIT << np.uint64(tags[number, ELEMENT])) & shared == _NONE:
            for column in range(IS_CERTAIN):
                tags[kept, column] = tags[number, column]
            tags[kept, IS_CERTAIN] = tags[kept, KIND] == OTHER
            kept += 1
    _mark_paired(tags, kept)
    _mark_ends(text, tags, kept)
    return kept


@compiled_part
def _mark_paired(tags: Tags, count: Int) -> None:
    """Marks tags that open and close one another."""
    is_open = np.zeros(MAX_TAGS, np.int64)
    depth = 0
    for number in range(count):
        if tags[number, KIND] != CLOSING:
            is_open[depth] = number
            depth += 1
            continue
        for level in range(depth - 1, -1, -1):
            if tags[is_open[level], ELEMENT] == tags[number, ELEMENT]:
                tags[is_open[level], IS_CERTAIN] = tags[number, IS_CERTAIN] = True
                depth = level
                break


@compiled_part
def _mark_ends(text: Text, tags: Tags, count: Int) -> None:
    """Marks runs of tags before and after all words, unless they are plain."""
    data, begin, end = text
    first, at = START, begin
    while first < count and _is_blank(data, at, tags[first, BEGIN]):
        at = tags[first, END]
        first += 1
    _mark_run(tags, START, first)
    last, at = count, end
    while last > first and _is_blank(data, tags[last - 1, END], at):
        last -= 1
        at = tags[last, BEGIN]
    _mark_run(tags, last, count)


@compiled_part
def _mark_run(tags: Tags, first: Int, last: Int) -> None:
    is_plain = True
    for number in range(first, last):
        is_plain &= tags[number, KIND] == PLAIN
    for number in range(first, last):
        tags[number, IS_CERTAIN] |= not is_plain


@compiled_part
def _is_blank(data: Bytes, begin: Int, end: Int) -> bool:
    for place in range(begin, end):
        if data[place] >= _ASCII_END or not is_white(np.int64(data[place])):
            return False
    return True


@compiled_part
def _copy_stripped(
    text: Text, tags: Tags, count: Int, letters: Letters, target: Bytes, place: Int
) -> Int:
    """Copies a text without the marked tags; returns the place after it.

    A text of which nothing readable would be left is copied as it is.
    """
    data, begin, end = text
    start, at = place, begin
    has_letters = False
    for number in range(count):
        if tags[number, IS_CERTAIN]:
            has_letters |= _has_letter(data, at, tags[number, BEGIN], letters)
            place = copy_bytes(data, at, tags[number, BEGIN], target, place)
            at = tags[number, END]
            if _keeps_apart(text, tags, number, letters):
                target[place] = _SPACE
                place += 1
    if at == begin or not (has_letters or _has_letter(data, at, end, letters)):
        return copy_bytes(data, begin, end, target, start)
    return copy_bytes(data, at, end, target, place)


@compiled_part
def _has_letter(data: Bytes, begin: Int, end: Int, letters: Letters) -> bool:
    """Whether there is a letter or digit."""
    place, stop = np.uint64(begin), np.uint64(end)
    while place < stop:
        code, place = code_point(data, place, stop)
        if code < np.uint64(TABLE_SIZE) and letters[code]:
            return True
    return False


@compiled_part
def _keeps_apart(text: Text, tags: Tags, number: Int, letters: Letters) -> bool:
    """Whether a space must stand for a tag: it has kept words or sentences apart."""
    data, begin, end = text
    bit = ONE_BIT << np.uint64(tags[number, ELEMENT])
    first, last = tags[number, BEGIN], tags[number, END]
    if bit & BREAKING_BITS:
        return True
    if bit & INLINE_BITS:
        return False
    before = first
    while before > begin and (before == first or data[before] & _LEAD == _ASCII_END):
        before -= 1
    is_within_word = _has_letter(data, before, first, letters)
    if is_within_word and last < end:
        after, stop = np.uint64(last), np.uint64(end)
        code, _ = code_point(data, after, stop)
        return not (code < np.uint64(TABLE_SIZE) and letters[code])
    return True
