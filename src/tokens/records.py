"""What may lie beside the counted tokens of a split: a record of fixed size for each.

The token cache knows nothing of what a record means. Who stores records (a teacher's soft labels)
hands them in with the split, and they come back with every micro-batch, token by token.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from src.tokens.columns import IntArray

RECORDS = "records"
"""Name of the records in a micro-batch: uint8 `[P, record_bytes]`, in the order of `labels`."""


class TokenRecords(Protocol):
    """Reads records by row and direction; can be sent to worker processes."""

    @property
    def record_bytes(self) -> int:
        """Size of one record."""

    def read(self, rows: IntArray, directions: IntArray, counts: IntArray) -> NDArray[np.uint8]:
        """The records of items, one item after another: uint8 `[sum of counts, record_bytes]`.

        Args:
            rows: Rows of the split `[B]`.
            directions: Indices into the stream's language pairs `[B]`.
            counts: Counted tokens of each item `[B]`.

        Raises:
            DataError: If an item has no records, or damaged ones.
        """
