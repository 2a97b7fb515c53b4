"""One side of the pairs while it is repaired."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.corpus.folding import letter_table
from src.corpus.normalise.columns import Positions, differing, with_rows
from src.corpus.normalise.repairs import needing_python, python_repairs, repaired
from src.corpus.normalise.rewriting import BYTES_PER_BYTE, rewrite
from src.corpus.normalise.rules import (
    CLOSED_GAP,
    NARROW,
    REPLACED,
    SPACES,
    TRADITIONAL,
    Rules,
)
from src.corpus.normalise.suspects import Flags, find_suspects
from src.corpus.texts import Texts, concatenated

Changes = NDArray[np.uint16]

MAX_ROUNDS = 16

_COMPILED = np.uint32(REPLACED | TRADITIONAL | NARROW | SPACES | CLOSED_GAP)


class Side:
    """One column and what was done to it.

    Attributes:
        texts: As it is now.
        flags: `[N]` what the rows of `texts` are suspect of, after `repair`.
        changes: `[N]` a bit for each repair that changed the row.
    """

    def __init__(self, texts: Texts, rules: Rules) -> None:
        self.texts = texts
        self.flags: Flags = np.zeros(len(texts), np.uint32)
        self.changes: Changes = np.zeros(len(texts), np.uint16)
        self._original = texts
        self._rules = rules
        self._repairs = python_repairs(rules)

    def repair(self, rows: Positions) -> None:
        """Applies the repairs that need no other side to some rows, until nothing changes."""
        part = self.texts if len(rows) == len(self.texts) else self.texts.take(rows)
        self.flags[rows] = find_suspects(part, self._rules)
        rows = rows[_is_suspect(self.flags[rows])]
        waiting = self.texts.take(rows)
        finished: list[tuple[Positions, Texts]] = []
        for _ in range(MAX_ROUNDS):
            if not len(rows):
                break
            waiting, changes = self._one_round(waiting, self.flags[rows])
            self.changes[rows] |= changes
            flags = find_suspects(waiting, self._rules)
            self.flags[rows] = flags
            goes_on = (changes != 0) & _is_suspect(flags)
            finished.append((rows, waiting))
            rows, waiting = rows[goes_on], waiting.take(np.flatnonzero(goes_on))
        self._finish(finished)

    def _finish(self, rounds: list[tuple[Positions, Texts]]) -> None:
        """Puts the rows back, each as its last round left it."""
        if not rounds:
            return
        rows = rounds[0][0]
        latest = np.zeros(len(rows), np.int64)
        start = 0
        for positions, texts in rounds:
            latest[np.searchsorted(rows, positions)] = start + np.arange(len(texts))
            start += len(texts)
        if len(rounds) == 1:
            self.replace(rows, rounds[0][1])
        else:
            self.replace(rows, concatenated([texts for _, texts in rounds]).take(latest))

    def replace(self, rows: Positions, texts: Texts) -> None:
        """Puts other texts in place of some rows, which ascend."""
        self.texts = with_rows(self.texts, rows, texts)

    def final_changes(self) -> Changes:
        """`[R]` the changes of those rows that are not what they were."""
        rows = np.flatnonzero(self.changes)
        return np.asarray(self.changes[rows[differing(self._original, self.texts, rows)]])

    def _one_round(self, texts: Texts, flags: Flags) -> tuple[Texts, Changes]:
        """Every repair once; returns the texts and a bit for each repair that changed a row."""
        rules, changes = self._rules, np.zeros(len(texts), np.uint16)
        rows = np.flatnonzero(needing_python(flags))
        if len(rows):
            strings = []
            suspects = texts.take(rows)
            for row, text in zip(rows.tolist(), suspects, strict=True):
                string, changes[row] = repaired(text, int(flags[row]), self._repairs)
                strings.append(string)
            flags = flags.copy()
            new = Texts.of(strings)
            flags[rows] = find_suspects(new, rules)
            texts = with_rows(texts, rows, new)
        target = np.empty(BYTES_PER_BYTE * int(texts.offsets[-1] - texts.offsets[0]), np.uint8)
        places = np.zeros(len(texts) + 1, np.int64)
        rewritten = np.zeros(len(texts), np.uint16)
        tables = (rules.bits, rules.replacements, letter_table(), rules.switches)
        rewrite(texts.data, texts.offsets, flags, tables, target, places, rewritten)
        return Texts(target[: places[-1]], places), changes | rewritten


def _is_suspect(flags: Flags) -> NDArray[np.bool_]:
    return np.asarray(((flags & _COMPILED) != 0) | needing_python(flags))
