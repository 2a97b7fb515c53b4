"""Reading micro-batches back into the sequences that were put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Sequence(NamedTuple):
    """One pair in one direction, as it lies in a micro-batch.

    Attributes:
        row: Of the micro-batch.
        begin: Position in the row.
        ids: All its tokens.
    """

    row: int
    begin: int
    ids: tuple[int, ...]


def sequences_of(micro_batch: Mapping[str, Any], *, pad_id: int = 0) -> Iterator[Sequence]:
    """The sequences row after row; those of packed rows by their borders."""
    rows = np.asarray(micro_batch["input_ids"])
    if "sequence_ends" not in micro_batch:
        for row, ids in enumerate(rows.tolist()):
            length = len(ids)
            while ids[length - 1] == pad_id:
                length -= 1
            yield Sequence(row, 0, tuple(ids[:length]))
        return
    ends = np.asarray(micro_batch["sequence_ends"])
    for row, ids in enumerate(rows.tolist()):
        begin = 0
        while begin < len(ids):
            end = int(ends[row, begin])
            if end - begin > 1:  # padding is alone; a sequence has a marker and an end
                yield Sequence(row, begin, tuple(ids[begin:end]))
            begin = end
