"""Compiled repairs: characters replaced one by one, Chinese punctuation, and spaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.normalise.columns import copy_bytes
from src.corpus.normalise.protected import Letters, is_word, next_protected
from src.corpus.normalise.rules import (
    CLOSED_GAP,
    CONTROL,
    DELETED,
    NARROW,
    PHRASE,
    PUNCTUATION,
    REPAIR_SHIFT,
    REPLACED,
    SIMPLIFIED,
    SPACES,
    TABLE_SIZE,
    TRADITIONAL,
    WIDE_LETTER,
    WIDTH,
    ZERO_WIDTH_JOINER,
    Words,
)
from src.corpus.normalise.spacing import tidy_spaces
from src.corpus.texts import Bytes, Offsets
from src.corpus.utf8 import START, Bool, Codes, Int, decode, encode

Switches = NDArray[np.bool_]
Changes = NDArray[np.uint16]
Flags = NDArray[np.uint32]

BYTES_PER_BYTE = 3
"""A row may become so many times as long: a narrow comma is one byte, a wide one three."""

_SPACE = ord(" ")
_NARROW_MARKS = (ord(","), ord("."), ord("?"), ord("!"), ord(":"), ord(";"))
_WIDE_MARKS = (ord("，"), ord("。"), ord("？"), ord("！"), ord("："), ord("；"))
_WIDE_QUESTION, _WIDE_EXCLAMATION = ord("？"), ord("！")
_STOP, _QUESTION, _EXCLAMATION, _COLON = ord("."), ord("?"), ord("!"), ord(":")
_SLASH, _BACKSLASH, _EQUALS = ord("/"), ord("\\"), ord("=")
_EMOJI = ((0x2600, 0x27BF), (0xFE0F, 0xFE0F), (0x1F000, 0x1FAFF))
_BEFORE_NARROW = 2 * NARROW


@compiled
def rewrite(
    data: Bytes,
    offsets: Offsets,
    flags: Flags,
    tables: tuple[Words, Words, Letters, Switches],
    target: Bytes,
    places: Offsets,
    changes: Changes,
) -> None:
    """Applies to every row the first of three repairs that changes it.

    They are characters, spaces and punctuation, in this order: removed characters leave spaces
    behind, and which comma follows a Chinese character is seen when no space is between them.

    Args:
        data: Bytes of N rows.
        offsets: `[N + 1]`.
        flags: `[N]` what the rows are suspect of.
        tables: Bits and replacements of the rules, letters, switches.
        target: Receives the rows; `BYTES_PER_BYTE` times as long as they are.
        places: `[N + 1]` receives their offsets.
        changes: `[N]` receives a bit for each repair that changed a row, lowest the first.
    """
    longest = 0
    for row in range(len(flags)):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes = np.empty(longest, np.uint32)
    places[0] = 0
    for row in range(len(flags)):
        text = (data, offsets[row], offsets[row + 1])
        suspect = np.int64(flags[row])
        places[row + 1], changes[row] = _row(text, suspect, tables, codes, target, places[row])


@compiled_part
def _row(
    text: tuple[Bytes, Int, Int],
    suspect: Int,
    tables: tuple[Words, Words, Letters, Switches],
    codes: Codes,
    target: Bytes,
    place: Int,
) -> tuple[Int, Int]:
    """Rewrites one row; returns the place after it and what changed."""
    data, begin, end = text
    bits, replacements, letters, switches = tables
    if suspect & (REPLACED | TRADITIONAL):
        length = decode(data, begin, end, codes)
        length, changed = _rewrite_characters(codes, length, suspect, replacements)
        if changed:
            return encode(codes, length, target, place), changed
    if suspect & (SPACES | CLOSED_GAP):
        after, changed = tidy_spaces(text, bits, switches, target, place)
        if changed:
            return after, changed
    if suspect & NARROW:
        length = decode(data, begin, end, codes)
        if widen(codes, length, bits, letters):
            return encode(codes, length, target, place), 1 << PUNCTUATION
    return copy_bytes(data, begin, end, target, place), 0


@compiled_part
def _rewrite_characters(
    codes: Codes, length: Int, suspect: Int, replacements: Words
) -> tuple[Int, Int]:
    """Replaces characters one by one; returns the new length and what changed."""
    changed: Int = 0
    if suspect & REPLACED:
        length, changed = _replace(codes, length, replacements, suspect & WIDE_LETTER != 0)
    # What a removed character has kept apart may be a phrase: the next time, then.
    if not changed >> CONTROL & 1 and suspect & (TRADITIONAL | PHRASE) == TRADITIONAL:
        changed |= _simplify(codes, length, replacements) << SIMPLIFIED
    return length, changed


@compiled_part
def _replace(
    codes: Codes,
    length: Int,
    replacements: Words,
    narrows: bool,  # noqa: FBT001 compiled functions have no keywords
) -> tuple[Int, Int]:
    """Removes or replaces what is no Traditional Chinese; returns the new length and changes."""
    kept, changed, before = START, START, START
    for place in range(length):
        code = np.int64(codes[place])
        new = np.int64(replacements[_entry(code)])
        repair = new >> REPAIR_SHIFT
        is_kept = (
            new == 0
            or repair == SIMPLIFIED
            or (repair == WIDTH and not narrows)
            or (code == ZERO_WIDTH_JOINER and _is_emoji(before))
        )
        before = code
        if not is_kept:
            changed |= 1 << repair
            code = new & DELETED
        if code != DELETED:
            codes[kept] = code
            kept += 1
    return kept, changed


@compiled_part
def _simplify(codes: Codes, length: Int, replacements: Words) -> Bool:
    """Converts Traditional characters one by one; whether there were any."""
    is_changed = False
    for place in range(length):
        new = np.int64(replacements[_entry(np.int64(codes[place]))])
        if new >> REPAIR_SHIFT == SIMPLIFIED:
            codes[place] = new & DELETED
            is_changed = True
    return is_changed


@compiled_part
def _entry(code: Int) -> Int:
    """The place of a code point in a table."""
    return code if code < TABLE_SIZE else np.int64(TABLE_SIZE)


@compiled_part
def _is_emoji(code: Int) -> Bool:
    """Whether a zero-width joiner may follow, to build one picture out of two."""
    is_emoji: Bool = False
    for first, last in _EMOJI:
        is_emoji |= first <= code <= last
    return is_emoji


@compiled_part
def widen(codes: Codes, length: Int, bits: Words, letters: Letters) -> Bool:
    """Makes punctuation after Chinese characters wide, outside of code; whether any changed."""
    is_changed, begin = False, START
    while begin < length:
        end, after = next_protected(codes, begin, length, letters)
        before = START
        for place in range(begin, end):
            code = np.int64(codes[place])
            following = np.int64(codes[place + 1]) if place + 1 < end else _SPACE
            wide = _wide(code)
            if (
                wide
                and bits[_entry(before)] & _BEFORE_NARROW
                and _may_widen(code, before, following, letters)
            ):
                codes[place] = wide
                is_changed = True
            before = code
        begin = np.int64(after)
    return is_changed


@compiled_part
def _wide(code: Int) -> Int:
    for place in range(len(_NARROW_MARKS)):
        if code == _NARROW_MARKS[place]:
            return _WIDE_MARKS[place]
    return 0


@compiled_part
def _may_widen(code: Int, before: Int, following: Int, letters: Letters) -> Bool:
    is_stop_like = following in (_SLASH, _BACKSLASH)
    if code in (_QUESTION, _EXCLAMATION):
        return not (is_stop_like or following == _EQUALS)
    if before in (_WIDE_QUESTION, _WIDE_EXCLAMATION):
        return False
    if code == _STOP:
        # Only at the end of a clause: never before a letter, a digit or another stop.
        return not (is_stop_like or following == _STOP or is_word(following, letters))
    return not (is_stop_like or following == _COLON)
