"""What the units of a pair say for and against it.

Each distinct unit of a text falls into one of the 26 classes of its kind: it meets a partner on the
other side, of a strength in one of 16 bins; it is known and meets none, by how certain a partner
was (8 bins); it is unknown, and stands on the other side too or not. The log-odds of the classes,
learned in `calibration`, add up to the evidence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled_part, read_only
from src.corpus.adequacy.associations import Numbers, Partners
from src.corpus.adequacy.units import KINDS, MAX_UNITS, NUMBER, UNIT_BITS, Units
from src.corpus.adequacy.vocabulary import Slots, find_unit, make_slots

_STRENGTHS, _CERTAINTIES = 16, 8
_UNKNOWN = _STRENGTHS + _CERTAINTIES
_COPIED = _UNKNOWN + 1
_OF_A_KIND = _COPIED + 1
CLASSES = _OF_A_KIND * KINDS
Classes = NDArray[np.uint8]

_BIN_BITS = 8
_BIN_MASK = np.uint32(0xFF)
_COPY_SLOTS = 1024
_KIND_MASK = np.uint64(3)
_UNIT_MASK = np.uint64((1 << UNIT_BITS) - 1)
_LOOKED_AT = np.uint64(1 << UNIT_BITS)
_PRESENT, _DONE = 1, 2
# Strengths beyond these shares of all are as good as the bin at the end.
_STRENGTH_RANGE = (0.001, 0.999)


class SideTable(NamedTuple):
    """What is known of the units of one side.

    Attributes:
        slots: Numbers of the units, see `vocabulary`.
        starts: `[V + 1]`; unit v's partners are `links[starts[v]:starts[v + 1]]`, strongest first.
        links: The partner's number times 256, plus the bin of the strength.
        alone: `[V]` class among those of its kind where the unit meets no partner.
    """

    slots: Slots
    starts: Numbers
    links: NDArray[np.uint32]
    alone: NDArray[np.uint8]


class Tables(NamedTuple):
    """What is known of the units of both sides."""

    left: SideTable
    right: SideTable


class SideScratch(NamedTuple):
    """What one thread notes of a text while it looks at a pair.

    Attributes:
        marks: `[V]` which known units the text has, and which of them were looked at; zero between
            two pairs.
        copies: Its unknown units by the low bits of their hashes; zero between two pairs.
        numbers: `[MAX_UNITS]` numbers of its units, -1 where unknown.
    """

    marks: NDArray[np.uint8]
    copies: Units
    numbers: Numbers


class Scratch(NamedTuple):
    """What one thread notes of a pair."""

    left: SideScratch
    right: SideScratch


def make_scratch(tables: Tables) -> Scratch:
    """Notes for these tables."""
    return Scratch(*(_side_scratch(len(table.alone)) for table in tables))


def _side_scratch(units: int) -> SideScratch:
    return SideScratch(
        np.zeros(units, np.uint8), np.zeros(_COPY_SLOTS, np.uint64), np.zeros(MAX_UNITS, np.int32)
    )


def side_tables(units: tuple[Units, Units], partners: tuple[Partners, Partners]) -> Tables:
    """The tables of both sides; units without partners are left out, and so unknown."""
    kept = [np.flatnonzero(side.numbers[:, 0] >= 0) for side in partners]
    numbers = []
    for side, places in zip(partners, kept, strict=True):
        renumbered = np.zeros(len(side.numbers), np.int64)
        renumbered[places] = np.arange(len(places))
        numbers.append(renumbered)
    left, right = (
        _side_table(units[side][kept[side]], partners[side], kept[side], numbers[1 - side])
        for side in (0, 1)
    )
    return Tables(left, right)


def _side_table(
    units: Units, partners: Partners, kept: NDArray[np.int64], renumbered: NDArray[np.int64]
) -> SideTable:
    numbers, strengths = partners.numbers[kept], partners.strengths[kept]
    filled = numbers >= 0
    starts = np.zeros(len(kept) + 1, np.int32)
    np.cumsum(filled.sum(axis=1), out=starts[1:])
    flat = strengths[filled]
    low, high = np.quantile(flat, _STRENGTH_RANGE) if len(flat) else (0.0, 1.0)
    scaled = (flat - low) / max(high - low, 1e-6) * _STRENGTHS
    bins = np.clip(scaled, 0, _STRENGTHS - 1).astype(np.uint32)
    links = renumbered[numbers[filled]].astype(np.uint32) << np.uint32(_BIN_BITS) | bins
    certainty = np.clip(partners.certainty[kept] * _CERTAINTIES, 0, _CERTAINTIES - 1)
    alone = (_STRENGTHS + certainty.astype(np.int64)).astype(np.uint8)
    return SideTable(*map(read_only, (make_slots(units), starts, links, alone)))


@compiled_part
def is_of_number(unit_class: int) -> bool:
    """Whether the class is one of words with digits."""
    return unit_class // _OF_A_KIND == NUMBER


@compiled_part
def _copy_slot(unit: np.uint64) -> int:
    return int(np.int64(unit >> np.uint64(2))) % _COPY_SLOTS


@compiled_part
def _mark(units: Units, slots: Slots, side: SideScratch) -> None:
    for place in range(len(units)):
        number = find_unit(slots, units[place])
        side.numbers[place] = number
        if number >= 0:
            side.marks[number] = _PRESENT
        else:
            side.copies[_copy_slot(units[place])] = units[place]


@compiled_part
def _unmark(units: Units, side: SideScratch) -> None:
    for place in range(len(units)):
        if side.numbers[place] >= 0:
            side.marks[side.numbers[place]] = 0
        else:
            side.copies[_copy_slot(units[place])] = 0


@compiled_part
def _class_of_known(number: int, table: SideTable, opposite: NDArray[np.uint8]) -> int:
    for link in table.links[table.starts[number] : table.starts[number + 1]]:
        if opposite[link >> np.uint32(_BIN_BITS)]:
            return int(link & _BIN_MASK)
    return int(table.alone[number])


@compiled_part
def _classify(
    units: Units, table: SideTable, side: SideScratch, opposite: SideScratch, classes: Classes
) -> int:
    """Writes the class of each distinct unit and returns how many there are."""
    count = 0
    for place in range(len(units)):
        number, unit = side.numbers[place], units[place]
        kind = np.int64(unit & _KIND_MASK)
        if number >= 0:
            if side.marks[number] == _DONE:
                continue
            side.marks[number] = _DONE
            found = _class_of_known(number, table, opposite.marks)
        else:
            slot = _copy_slot(unit)
            if side.copies[slot] != unit:  # looked at before, or another took its slot
                continue
            side.copies[slot] = unit | _LOOKED_AT
            found = _COPIED if opposite.copies[slot] & _UNIT_MASK == unit else _UNKNOWN
        classes[count] = kind * _OF_A_KIND + found
        count += 1
    return count


@compiled_part
def classify_pair(
    left_units: Units,
    right_units: Units,
    tables: Tables,
    scratch: Scratch,
    left_classes: Classes,
    right_classes: Classes,
) -> tuple[int, int]:
    """Writes the classes of both sides' distinct units.

    Args:
        left_units: Of the left text, at most `MAX_UNITS`.
        right_units: Of the right text, at most `MAX_UNITS`.
        tables: Of the lexicon.
        scratch: Of this thread.
        left_classes: `[MAX_UNITS]`, receives the left classes.
        right_classes: `[MAX_UNITS]`, receives the right classes.

    Returns:
        How many classes were written on the left, on the right.
    """
    left, right = scratch.left, scratch.right
    _mark(left_units, tables.left.slots, left)
    _mark(right_units, tables.right.slots, right)
    count = _classify(left_units, tables.left, left, right, left_classes)
    other_count = _classify(right_units, tables.right, right, left, right_classes)
    _unmark(left_units, left)
    _unmark(right_units, right)
    return count, other_count
