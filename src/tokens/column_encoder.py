"""Columns of text to columns of ids: by the fast encoder, checked against the reference."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from src.tokens.characters import UNKNOWN, UNSTABLE
from src.tokens.columns import IdColumn, IntArray, TextColumn, offsets_of
from src.tokens.fast_encoder import NOT_ENCODED, FastEncoder, Memory
from src.tokens.pieces import survey

if TYPE_CHECKING:
    from src.tokens.tokenizer import Tokenizer

_FIRST_ROWS, _SPREAD_ROWS, _EXTREME_ROWS = 2, 6, 2


class EncodersDiffer(Exception):
    """The fast encoder gave a text other ids than the reference; the argument is the text."""


@dataclass(frozen=True)
class ColumnEncoder:
    """Encodes columns of text by the fast encoder, a sample of each also by the reference.

    The reference alone encodes what the fast one does not take: text that is not in the
    vocabulary's normal form, characters that this Python does not know, endless words.

    Attributes:
        tokenizer: Has the reference.
        fast: Made from the same vocabulary. None: the reference encodes everything.
    """

    tokenizer: Tokenizer
    fast: FastEncoder | None

    def memory(self) -> Memory | None:
        """What `encode` remembers of the texts of one language."""
        return None if self.fast is None else self.fast.memory()

    def encode(self, column: TextColumn, memory: Memory | None) -> IdColumn:
        """The ids of each text, without any special token.

        Args:
            column: The texts.
            memory: See `memory`.

        Raises:
            EncodersDiffer: If the encoders do on the sample.
        """
        if self.fast is None or memory is None:
            return IdColumn.of(self._by_reference(column, np.arange(column.rows)))
        marks, rare = survey(column.data, column.offsets, self.fast.tables.classes)
        left_out = marks & UNKNOWN > 0
        if self.tokenizer.vocabulary.normal_form is not None:
            for row in np.flatnonzero(marks & UNSTABLE > 0).tolist():
                text = column.text(row)
                left_out[row] |= unicodedata.normalize("NFC", text) != text
        ids = self.fast.encode(column, memory, left_out)
        self._compare(column, ids, rare)
        rows = np.flatnonzero(ids.lengths == NOT_ENCODED)
        lengths = np.maximum(ids.lengths, 0)
        return IdColumn(ids.values, lengths).replaced(rows, self._by_reference(column, rows))

    def _by_reference(self, column: TextColumn, rows: IntArray) -> list[list[int]]:
        return self.tokenizer.encode_batch([column.text(row) for row in rows.tolist()])

    def _compare(self, column: TextColumn, ids: IdColumn, rare: NDArray[np.int32]) -> None:
        rows = sample_rows(column.lengths, rare)
        rows = rows[ids.lengths[rows] != NOT_ENCODED]
        offsets = offsets_of(np.maximum(ids.lengths, 0))
        for row, expected in zip(rows.tolist(), self._by_reference(column, rows), strict=True):
            if ids.values[offsets[row] : offsets[row + 1]].tolist() != expected:
                raise EncodersDiffer(column.text(row))


def sample_rows(lengths: IntArray, rare: NDArray[np.int32]) -> IntArray:
    """Rows worth checking: the first, some at even distances, the longest, the most unusual.

    Args:
        lengths: Bytes of each row `[N]`.
        rare: Unusual characters of each row `[N]`.
    """
    count = len(lengths)
    parts = [
        np.arange(min(_FIRST_ROWS, count)),
        np.arange(_SPREAD_ROWS) * count // _SPREAD_ROWS if count else np.arange(0),
        *(np.argsort(-column, kind="stable")[:_EXTREME_ROWS] for column in (lengths, rare)),
    ]
    rows: IntArray = np.unique(np.concatenate(parts))
    return rows
