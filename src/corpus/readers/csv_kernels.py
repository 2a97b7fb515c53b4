r"""Compiled loops over CSV, which agree with Python's `csv` module about well-formed records.

A cell that starts with a quote ends at the next quote that is not doubled; line feeds, separators
and doubled quotes in between belong to it. What follows the closing quote up to the separator, and
quotes inside other cells, are taken as they stand. Unlike for the module, a carriage return ends
nothing (before a line feed it belongs to it), and a stray opening quote costs one line and not the
rest of the file: one that is never closed, or beyond whose line the next quote that is not doubled
stands before something else than the end of a cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.texts import Bytes, Offsets

# A quoted cell beyond this is no sentence: its quote is taken for a stray one.
_MOST_QUOTED_BYTES = 1 << 20
_QUOTE = 34
_LINE_FEED = 10
_CARRIAGE_RETURN = 13


@compiled_part
def _pass_quotes(
    data: Bytes,
    opened: int,
    end: int,
    separator: int,
    is_final: bool,  # noqa: FBT001  compiled functions have no keyword-only arguments
) -> int:
    """Place after the quote that closes the one at `opened`.

    It is `end` where that cannot be told yet. Where the one at `opened` is a stray one, it is the
    place of the first line feed after it, where its record is taken to end.
    """
    line_feed = -1
    place = opened + 1
    while place < end and place - opened <= _MOST_QUOTED_BYTES:
        byte = data[place]
        if byte == _QUOTE:
            if place + 1 == end:
                return place + 1
            after = data[place + 1]
            if after != _QUOTE:
                ends_cell = after in (separator, _LINE_FEED, _CARRIAGE_RETURN)
                # Beyond its own line such a quote belongs to another record, which it opens.
                return place + 1 if ends_cell or line_feed < 0 else line_feed
            place += 1
        elif byte == _LINE_FEED and line_feed < 0:
            line_feed = place
        place += 1
    if place - opened <= _MOST_QUOTED_BYTES and not is_final:
        return end
    return line_feed if line_feed >= 0 else place


@compiled
def find_record_ends(
    data: Bytes,
    begin: int,
    end: int,
    ends: Offsets,
    separator: int,
    is_final: bool,  # noqa: FBT001
) -> int:
    """Writes to `ends` the places after the line feeds that end a record of `data[begin:end]`.

    Args:
        data: Bytes; a record starts at `begin`.
        begin: First byte.
        end: Byte after the last one; a line feed stands before it where `is_final`.
        ends: Written.
        separator: Between cells.
        is_final: Whether the file ends there.

    Returns:
        How many there are. A record that is not whole is left out.
    """
    count = 0
    is_start_of_cell = True
    place = begin
    while place < end:
        byte = data[place]
        if byte == _QUOTE and is_start_of_cell:
            is_start_of_cell = False
            place = _pass_quotes(data, place, end, separator, is_final)
            continue
        is_start_of_cell = byte in (separator, _LINE_FEED)
        place += 1
        if byte == _LINE_FEED:
            ends[count] = place
            count += 1
    return count


@compiled_part
def _read_cell(
    data: Bytes, place: int, end: int, separator: int, target: Bytes, size: int
) -> tuple[int, int, bool]:
    """Copies a cell without its quotes to `target[size:]`.

    Returns:
        Where the cell ends, the size of target after it, and whether its quote was closed.
    """
    is_quoted = place < end and data[place] == _QUOTE
    if is_quoted:
        place += 1
    while place < end:
        byte = data[place]
        if is_quoted and byte == _QUOTE:
            place += 1
            if place == end or data[place] != _QUOTE:
                is_quoted = False
                continue
        elif not is_quoted and byte == separator:
            break
        target[size] = byte
        size += 1
        place += 1
    return place, size, not is_quoted


@compiled
def split_records(
    data: Bytes,
    bounds: tuple[Offsets, Offsets],
    separator: int,
    columns: tuple[int, int, int],
    cells: tuple[Bytes, Bytes, Bytes],
    offsets: Offsets,
    fits: NDArray[np.bool_],
) -> None:
    """Copies two cells of every record.

    Args:
        data: Bytes.
        bounds: `[N]` each, where each record starts and where it ends, without its line end.
        separator: Between cells.
        columns: Column of the left and of the right cell, and cells in a record.
        cells: Written: left cells, right cells, and others; each as large as all records.
        offsets: `[2, N + 1]`, written: where left and right cells start in `cells`; of a record
            that does not fit anything may be left there.
        fits: `[N]`, written: whether the record has so many cells and no open quote.
    """
    left, right, width = columns
    starts, ends = bounds
    sizes = np.zeros(3, np.int64)
    offsets[:, 0] = 0
    for record in range(len(starts)):
        place, end = starts[record], ends[record]
        column, is_whole, is_last = 0, True, False
        while not is_last:
            side = 0 if column == left else 1 if column == right else 2
            place, sizes[side], is_closed = _read_cell(
                data, place, end, separator, cells[side], sizes[side]
            )
            is_whole &= is_closed
            column += 1
            is_last = place >= end
            place += 1
        sizes[2] = 0
        offsets[0, record + 1], offsets[1, record + 1] = sizes[0], sizes[1]
        fits[record] = is_whole and column == width
