"""What was learned: scores pairs, and lies in a folder as arrays that processes share.

left_slots.npy, left_starts.npy, left_links.npy, left_alone.npy   see `evidence.SideTable`
right_slots.npy ...
lexicon.json    the calibration and the hash of every array; written last
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part, read_only
from src.corpus.adequacy.calibration import LEAST_UNITS, PRIOR, Calibration
from src.corpus.adequacy.evidence import (
    CLASSES,
    Scratch,
    SideTable,
    Tables,
    classify_pair,
    is_of_number,
    make_scratch,
)
from src.corpus.adequacy.units import MAX_BYTES, MAX_UNITS, Fold, fold_table, read_units
from src.corpus.texts import Bytes, Offsets, Texts
from src.errors import DataError
from src.files import replaced_when_done, write_text

FORMAT = 1
"""Raised whenever the same arrays would give other scores."""

Scores = NDArray[np.float32]
_MANIFEST = "lexicon.json"
_TYPES = {"slots": np.uint64, "starts": np.int32, "links": np.uint32, "alone": np.uint8}


class Column(NamedTuple):
    """The arrays of `Texts`."""

    data: Bytes
    offsets: Offsets


class Curve(NamedTuple):
    """The numbers of `Calibration`, the prior added to the intercept."""

    left_odds: Scores
    right_odds: Scores
    slope: float
    intercept: float


class Lexicon:
    """Which words go with which, and what that says of a pair.

    Attributes:
        pairs: Pairs it was learned from.
        calibration: How evidence becomes a probability.
        fingerprint: 16 hexadecimal digits; lexicons with the same give the same scores.
    """

    def __init__(self, tables: Tables, calibration: Calibration, pairs: int) -> None:
        self._tables = Tables(
            *(SideTable(*(read_only(array) for array in side)) for side in tables)
        )
        self.calibration = calibration
        self.pairs = pairs
        self._hashes = {name: _hash(array) for name, array in self._arrays().items()}
        described = json.dumps([FORMAT, self._hashes, self._facts()], sort_keys=True)
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()[:16]

    @property
    def units(self) -> tuple[int, int]:
        """How many units are known on the left and on the right."""
        return len(self._tables.left.alone), len(self._tables.right.alone)

    @property
    def judges(self) -> bool:
        """Whether it tells anything; learned from too few pairs it answers NaN to all."""
        return self.calibration.slope > 0

    def score(self, left: Texts, right: Texts) -> Scores:
        """How probable it is that each pair is aligned, where `PRIOR` of all pairs are.

        Several threads may score with one lexicon.

        Args:
            left: N texts.
            right: The N texts opposite.

        Returns:
            `[N]` float32, 0 to 1; NaN where fewer than `LEAST_UNITS` units other than
            numbers say anything.

        Raises:
            ValueError: If the columns have different lengths.
        """
        if len(left) != len(right):
            raise ValueError(f"{len(left)} texts on the left and {len(right)} on the right")
        scores = np.full(len(left), np.nan, np.float32)
        if self.judges:
            found = self.calibration
            prior = np.log(PRIOR / (1 - PRIOR))
            _score_pairs(
                Column(read_only(left.data), read_only(left.offsets)),
                Column(read_only(right.data), read_only(right.offsets)),
                fold_table(),
                self._tables,
                make_scratch(self._tables),
                Curve(found.left_odds, found.right_odds, found.slope, found.intercept + prior),
                scores,
            )
        return scores

    def save(self, folder: Path) -> None:
        """Writes the folder; what a killed process leaves there does not load."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MANIFEST).unlink(missing_ok=True)
        for name, array in self._arrays().items():
            with replaced_when_done(folder / f"{name}.npy") as partial, partial.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        manifest = {"format": FORMAT, "fingerprint": self.fingerprint, "arrays": self._hashes}
        write_text(folder / _MANIFEST, json.dumps(manifest | self._facts(), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Lexicon:
        """A lexicon whose arrays stay on disk until they are read.

        Raises:
            DataError: If the folder holds no lexicon, a damaged one or one of another format.
        """
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise DataError(
                    f"the lexicon in {folder} has format {manifest['format']!r}, not {FORMAT}; "
                    f"remove it to learn it again"
                )
            tables = Tables(*(_load_table(folder, side) for side in Tables._fields))
            lexicon = cls(tables, _calibration(manifest), int(manifest["pairs"]))
        except FileNotFoundError as error:
            raise DataError(
                f"{folder} holds no whole lexicon: {error.filename} is missing; learn one there, "
                f"or name another folder"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(_damaged(folder)) from error
        if lexicon.fingerprint != manifest["fingerprint"]:
            raise DataError(_damaged(folder))
        return lexicon

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            f"{side}_{name}": array
            for side, table in self._tables._asdict().items()
            for name, array in table._asdict().items()
        }

    def _facts(self) -> dict[str, Any]:
        facts = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(self.calibration).items()
        }
        return {"pairs": self.pairs, "calibration": facts}


def _damaged(folder: Path) -> str:
    return f"the lexicon in {folder} is damaged; remove the folder to learn it again"


def _calibration(manifest: dict[str, Any]) -> Calibration:
    facts = dict(manifest["calibration"])
    for name in ("left_odds", "right_odds"):
        facts[name] = np.array(facts[name], np.float32)
        if facts[name].shape != (CLASSES,):
            raise ValueError(name)
    return Calibration(**facts)


def _load_table(folder: Path, side: str) -> SideTable:
    arrays = {}
    for name, kind in _TYPES.items():
        loaded = np.load(folder / f"{side}_{name}.npy", mmap_mode="r", allow_pickle=False)
        if loaded.dtype != kind or loaded.ndim != 1:
            raise ValueError(name)
        arrays[name] = np.asarray(loaded)
    return SideTable(**arrays)


def _hash(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@compiled_part
def _weigh(classes: NDArray[np.uint8], odds: Scores) -> tuple[float, int]:
    """A side's evidence, and how many units but numbers say something; as `calibration` has it."""
    total, units, words = 0.0, 0, 0
    for unit_class in classes:
        value = float(odds[unit_class])
        if value != 0:
            total += value
            units += 1
            words += not is_of_number(unit_class)
    return total / math.sqrt(units + 1.0), words


@compiled
def _score_pairs(
    left: Column,
    right: Column,
    fold: Fold,
    tables: Tables,
    scratch: Scratch,
    curve: Curve,
    scores: Scores,
) -> None:
    units, other_units = np.zeros(MAX_UNITS, np.uint64), np.zeros(MAX_UNITS, np.uint64)
    classes, other_classes = np.zeros(MAX_UNITS, np.uint8), np.zeros(MAX_UNITS, np.uint8)
    for row in range(len(scores)):
        begin, end = left.offsets[row], left.offsets[row + 1]
        other_begin, other_end = right.offsets[row], right.offsets[row + 1]
        longest = max(end - begin, other_end - other_begin, MAX_BYTES)
        end = begin + (end - begin) * MAX_BYTES // longest
        other_end = other_begin + (other_end - other_begin) * MAX_BYTES // longest
        count = read_units(left.data, begin, end, fold, units)
        other_count = read_units(right.data, other_begin, other_end, fold, other_units)
        count, other_count = classify_pair(
            units[:count], other_units[:other_count], tables, scratch, classes, other_classes
        )
        evidence, telling = _weigh(classes[:count], curve.left_odds)
        other_evidence, other_telling = _weigh(other_classes[:other_count], curve.right_odds)
        if telling + other_telling >= LEAST_UNITS:
            odds = curve.slope * (evidence + other_evidence) + curve.intercept
            scores[row] = 1.0 / (1.0 + np.exp(-odds))
