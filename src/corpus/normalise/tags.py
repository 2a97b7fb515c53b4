"""Finds the tags of HTML in a text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.normalise.protected import is_white
from src.corpus.texts import Bytes, Offsets
from src.corpus.utf8 import START, Bool, Int

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]
Tags = NDArray[np.int64]

_INLINE = """
a abbr b big cite code del em font i ins kbd label mark q s samp small span strike strong sub sup tt
u var wbr
"""
_ALONE = "br hr img input wbr"
_BREAKING = "br dd dt hr li option td th tr"
_BLOCKS = """
blockquote body center div dl form h1 h2 h3 h4 h5 h6 html ol p pre script table tbody thead ul
"""
NAMES = tuple(sorted({*f"{_INLINE} {_ALONE} {_BREAKING} {_BLOCKS}".split()}))
"""Elements that are markup in running text, 64 at most: each has a bit."""

MAX_TAGS = 64
"""A text with more tags on a side stays as it is."""

ELEMENT, KIND, BEGIN, END, IS_CERTAIN = range(5)
"""Columns of a table of tags: place in `NAMES`, kind, first byte, byte after the last, 0 or 1."""
PLAIN, CLOSING, OTHER = range(3)
"""Kinds: `<p>` as one speaks of it, `</p>`, and what has attributes or stands alone."""

_BASE = np.uint64(131)
_ZERO, ONE_BIT = np.uint64(0), np.uint64(1)
_TO_LOWER, _CASE = np.uint8(0x20), 0x20
_ASCII_END = 0x80
_LESS, _GREATER, _SLASH, _EQUALS, _TICK, _A, _Z, _0, _9 = (ord(mark) for mark in "<>/=`az09")
_QUOTES = (ord('"'), ord("'"))
_NAME_MARKS = (ord(":"), ord("."), ord("@"), ord("-"), ord("_"))


def _hash_of(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value * int(_BASE) + byte) % 2**64
    return value


def _bits(names: str) -> np.uint64:
    return np.uint64(sum(1 << NAMES.index(name) for name in names.split()))


HASHES = np.array([_hash_of(name) for name in NAMES], np.uint64)
INLINE_BITS, BREAKING_BITS = _bits(_INLINE), _bits(_BREAKING)
_ALONE_BITS = _bits(_ALONE)


@compiled
def elements(data: Bytes, offsets: Offsets, rows: Positions, names: Hashes, found: Hashes) -> None:
    """Finds which elements the tags of some rows name; tags need not be complete.

    Args:
        data: Bytes of the texts.
        offsets: Of the texts.
        rows: `[R]` the rows to look at.
        names: `HASHES`.
        found: `[R]` receives a bit for each of `NAMES`.
    """
    for index in range(len(rows)):
        end = offsets[rows[index] + 1]
        for place in range(np.uint64(offsets[rows[index]]), np.uint64(end)):
            if data[place] == _LESS:
                begin = np.int64(place) + 1
                if begin < end and data[begin] == _SLASH:
                    begin += 1
                element, _ = _element(data, begin, end, names)
                if element >= 0:
                    found[index] |= ONE_BIT << np.uint64(element)


@compiled_part
def _element(data: Bytes, place: Int, end: Int, names: Hashes) -> tuple[Int, Int]:
    """The number of the element named at `place`, or -1, and the place after its name."""
    value = _ZERO
    while place < end and _is_alphanumeric(data[place]):
        value = value * _BASE + np.uint64(data[place] | _TO_LOWER)
        place += 1
    for number in range(len(names)):
        if names[number] == value:
            return number, place
    return -1, place


@compiled_part
def _is_alphanumeric(byte: Int) -> Bool:
    return _A <= (byte | _CASE) <= _Z or _0 <= byte <= _9


@compiled_part
def find_tags(data: Bytes, begin: Int, end: Int, names: Hashes, tags: Tags) -> Int:
    """Fills `tags`, `[MAX_TAGS, 5]`; returns how many there are, or -1 for too many or for code."""
    count, place = START, begin
    while place < end:
        if data[place] == _TICK:
            return -1
        after = place
        if data[place] == _LESS:
            after = _read_tag(data, place, end, names, tags, count)
        if after > place:
            count += 1
            if count == MAX_TAGS:
                return -1
            place = after
        else:
            place += 1
    return count


@compiled_part
def _read_tag(data: Bytes, place: Int, end: Int, names: Hashes, tags: Tags, count: Int) -> Int:
    """Reads a tag at `place` into row `count`; returns the place after it, or `place` if none."""
    at = place + 1
    is_closing = at < end and data[at] == _SLASH
    if is_closing:
        at += 1
    element, at = _element(data, at, end, names)
    if element < 0:
        return place
    after_name = at
    at = _after_attributes(data, at, end)
    has_attributes = at > after_name
    at = _after_spaces(data, at, end)
    is_empty = at < end and data[at] == _SLASH
    if is_empty:
        at += 1
    if at >= end or data[at] != _GREATER:
        return place
    kind = PLAIN
    if is_closing:
        kind = CLOSING
    elif has_attributes or is_empty or (ONE_BIT << np.uint64(element)) & _ALONE_BITS:
        kind = OTHER
    tags[count, ELEMENT], tags[count, KIND] = element, kind
    tags[count, BEGIN], tags[count, END], tags[count, IS_CERTAIN] = place, at + 1, False
    return at + 1


@compiled_part
def _is_space(byte: Int) -> Bool:
    return byte < _ASCII_END and is_white(np.int64(byte))


@compiled_part
def _after_spaces(data: Bytes, place: Int, end: Int) -> Int:
    while place < end and _is_space(data[place]):
        place += 1
    return place


@compiled_part
def _after_attributes(data: Bytes, place: Int, end: Int) -> Int:
    """The place after all of ` name="value"`, each with an equals sign: words are no attributes."""
    while True:
        at = _after_spaces(data, place, end)
        name = at
        while at < end and (
            data[at] >= _ASCII_END or _is_alphanumeric(data[at]) or data[at] in _NAME_MARKS
        ):
            at += 1
        if name == place:
            return place
        if name == at:
            return place
        at = _after_spaces(data, at, end)
        if at >= end or data[at] != _EQUALS:
            return place
        at = _after_spaces(data, at + 1, end)
        after = _after_value(data, at, end)
        if after == at:
            return place
        place = after


@compiled_part
def _after_value(data: Bytes, place: Int, end: Int) -> Int:
    """The place after a value, in quotes or not; `place` where there is none."""
    if place >= end:
        return place
    quote = data[place]
    if quote in _QUOTES:
        at = place + 1
        while at < end and data[at] != quote:
            if data[at] == _LESS or data[at] == _GREATER:
                return place
            at += 1
        return at + 1 if at < end else place
    at = place
    while at < end and not (
        data[at] in (_LESS, _GREATER, _EQUALS) or data[at] in _QUOTES or _is_space(data[at])
    ):
        at += 1
    return at
