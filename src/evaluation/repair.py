"""Mending translations that lose placeholders, markup or numbers, and naming what cannot be.

What a model writes first is taken as it is wherever it loses nothing. Otherwise, in this order:

1. other hypotheses that the model finds likely;
2. for numbers, hypotheses for the text with stand-ins in their place (`src.evaluation.stand_ins`);
3. for placeholders and markup, and for long numbers that came out as others, the translations of
   the parts of the text between them, with these put back verbatim: less fluent, but never wrong.

The first candidate that loses least is taken: less likely words are no price for a number that is
lost in them, too. What is still lost is told in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from src.evaluation.numbers import (
    NumberFault,
    Span,
    count_numbers,
    describe_fault,
    keep_numbers,
    number_fault,
)
from src.evaluation.preserve import (
    describe_lost,
    join_around,
    keeps_protected,
    split_around,
)
from src.evaluation.stand_ins import disguises

# A direction and a text in it.
Piece = tuple[str, str]
Warnings = dict[Piece, tuple[str, ...]]

# Shorter numbers have forms of their own in other languages: days, hours, counts.
_LONG_DIGITS = 4


@dataclass(frozen=True)
class Decoder:
    """A model, as a repair asks it.

    Attributes:
        best: Translates pieces.
        likely: Gives several translations of each piece, the most likely first.
    """

    best: Callable[[Sequence[Piece]], dict[Piece, str]]
    likely: Callable[[Sequence[Piece]], dict[Piece, list[str]]]


@dataclass
class _Patient:
    """A translation that loses something.

    Attributes:
        piece: What it translates.
        text: The best translation so far.
        keeps_pieces: Whether that holds every placeholder and tag, and no others.
        keeps_numbers: Whether it holds the numbers.
    """

    piece: Piece
    text: str
    keeps_pieces: bool
    keeps_numbers: bool

    @property
    def is_well(self) -> bool:
        return self.keeps_pieces and self.keeps_numbers

    def fault(self) -> NumberFault:
        direction, source = self.piece
        if self.keeps_numbers:
            return NumberFault((), ())
        return number_fault(direction, source, self.text)


Treatment = Callable[[list[_Patient], Decoder], dict[Piece, list[str]]]


def repair(translations: dict[Piece, str], decoder: Decoder) -> Warnings:
    """Replaces translations that lose something by better ones, where there are any.

    Args:
        translations: Changed in place.
        decoder: Asked for other translations.

    Returns:
        What is still lost, in sentences, for the pieces that lose anything.
    """
    patients = _examine(list(translations.items()))
    patients = [patient for patient in patients if not patient.is_well]
    ill = patients
    treatments: tuple[Treatment, ...] = (_other_hypotheses, _with_stand_ins, _around_pieces)
    for treat in treatments:
        ill = [patient for patient in ill if not patient.is_well]
        if ill:
            _take_better(ill, treat(ill, decoder))
    translations.update((patient.piece, patient.text) for patient in patients)
    return {patient.piece: _warnings(patient) for patient in ill if not patient.is_well}


def _examine(pairs: Sequence[tuple[Piece, str]]) -> list[_Patient]:
    by_direction: dict[str, list[tuple[str, str]]] = {}
    for (direction, source), text in pairs:
        by_direction.setdefault(direction, []).append((source, text))
    kept = {way: iter(keep_numbers(way, found)) for way, found in by_direction.items()}
    return [
        _Patient(piece, text, keeps_protected(piece[1], text), next(kept[piece[0]]))
        for piece, text in pairs
    ]


def _take_better(patients: Sequence[_Patient], candidates: dict[Piece, list[str]]) -> None:
    """Gives each patient the first candidate that loses less than what it has."""
    found = [(piece, text) for piece, texts in candidates.items() for text in texts]
    by_piece: dict[Piece, list[_Patient]] = {}
    for examined in _examine(found):
        by_piece.setdefault(examined.piece, []).append(examined)
    for patient in patients:
        rivals = [one for one in by_piece.get(patient.piece, []) if not _hides(one, patient)]
        # Of those that lose the same, `max` takes the first.
        best = max([patient, *rivals], key=lambda one: (one.keeps_pieces, one.keeps_numbers))
        patient.text = best.text
        patient.keeps_pieces, patient.keeps_numbers = best.keeps_pieces, best.keeps_numbers


def _hides(candidate: _Patient, patient: _Patient) -> bool:
    """Whether a candidate is right about a surplus number only by leaving it out.

    The source may have it in words that nobody reads: 十四五 is the 14th Five-Year Plan.
    """
    if patient.keeps_numbers or not candidate.keeps_numbers or patient.fault().missing:
        return False
    return count_numbers(candidate.text) < count_numbers(patient.text)


def _other_hypotheses(patients: list[_Patient], decoder: Decoder) -> dict[Piece, list[str]]:
    return decoder.likely([patient.piece for patient in patients])


def _with_stand_ins(patients: list[_Patient], decoder: Decoder) -> dict[Piece, list[str]]:
    asked = [
        (patient.piece, disguised)
        for patient in patients
        for disguised in disguises(patient.piece[1], patient.fault().missing)
    ]
    if not asked:
        return {}
    found = decoder.likely(
        list(dict.fromkeys((piece[0], disguised.text) for piece, disguised in asked))
    )
    candidates: dict[Piece, list[str]] = {}
    for piece, disguised in asked:
        revealed = (disguised.revealed(text) for text in found[piece[0], disguised.text])
        candidates.setdefault(piece, []).extend(text for text in revealed if text is not None)
    return candidates


def _around_pieces(patients: list[_Patient], decoder: Decoder) -> dict[Piece, list[str]]:
    """Translates what stands between pieces that must stay, and puts these back verbatim."""
    cuts = [(patient.piece, cut) for patient in patients for cut in _cuts(patient)]
    runs = dict.fromkeys(
        (piece[0], text.strip()) for piece, cut in cuts for text, is_open in cut if is_open
    )
    found = decoder.best(list(runs))
    candidates: dict[Piece, list[str]] = {}
    for piece, cut in cuts:
        parts = [
            (text, found[piece[0], text.strip()] if is_open else text) for text, is_open in cut
        ]
        candidates.setdefault(piece, []).append(join_around(parts))
    return candidates


def _cuts(patient: _Patient) -> Iterator[list[tuple[str, bool]]]:
    source = patient.piece[1]
    if not patient.keeps_pieces:
        yield split_around(source)
    fault = patient.fault()
    long = [span for span in fault.missing if _is_long(source, span)]
    if long and fault.strange:
        yield split_around(source, long)


def _is_long(text: str, span: Span) -> bool:
    return sum(character.isdecimal() for character in text[slice(*span)]) >= _LONG_DIGITS


def _warnings(patient: _Patient) -> tuple[str, ...]:
    source, warnings = patient.piece[1], []
    if not patient.keeps_pieces:
        warnings.append(describe_lost(source, patient.text))
    if not patient.keeps_numbers:
        warnings.append(describe_fault(patient.fault(), source, patient.text))
    return tuple(warnings)
