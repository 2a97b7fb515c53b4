"""The readable rows of all work units, as one corpus in the order of the configuration.

Nothing here holds all rows: whoever asks gets them block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from src.corpus.keys import KeyColumns
from src.corpus.texts import Texts
from src.corpus.unit_files import (
    LEFT,
    RIGHT,
    UnitCounts,
    keys_file,
    read_blocks_of,
    read_counts,
)
from src.corpus.verdicts import Mask
from src.corpus.work_units import WorkUnit

Languages = tuple[str, str]


class BlockPlace(NamedTuple):
    """Where a block of rows belongs.

    Attributes:
        unit: Number of its unit.
        number: Its number within the unit.
        rows: Its place in the corpus.
        begin: Its first row within the unit.
    """

    unit: int
    number: int
    rows: slice
    begin: int


class Corpus:
    """Rows of finished units.

    Attributes:
        units: The units, in order.
        counts: What each unit counted.
        keys: The keys of all rows.
        blocks: Where every block lies, in order.
    """

    def __init__(self, units: Sequence[WorkUnit]) -> None:
        self.units = units
        self.counts: list[UnitCounts] = [read_counts(unit.folder) for unit in units]
        self.keys = KeyColumns([keys_file(unit.folder) for unit in units])
        self.blocks = list(self._places())

    def _places(self) -> Iterator[BlockPlace]:
        start = 0
        for unit, counts in enumerate(self.counts):
            begin = start
            for number, rows in enumerate(counts.blocks):
                yield BlockPlace(unit, number, slice(start, start + rows), start - begin)
                start += rows

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def rows_in(self) -> int:
        """Rows read, unreadable ones included."""
        return sum(counts.rows_in for counts in self.counts)

    def languages(self) -> list[Languages]:
        """The pairs of languages there are, in order of appearance."""
        return list(dict.fromkeys(unit.table.languages for unit in self.units))

    def rows_of(self, languages: Languages) -> Mask:
        """`[N]` the rows in a pair of languages."""
        mask = np.zeros(len(self), np.bool_)
        for place in self.blocks:
            if self.units[place.unit].table.languages == languages:
                mask[place.rows] = True
        return mask

    def read(self, place: BlockPlace, columns: Sequence[str]) -> pa.RecordBatch:
        """The named columns of one block."""
        folder = self.units[place.unit].folder
        return next(read_blocks_of(folder, columns, [place.number]))

    def block_keys(self, place: BlockPlace, kind: int) -> NDArray[np.uint64]:
        """One kind of key of a block's rows; see `src.corpus.keys`."""
        size = place.rows.stop - place.rows.start
        return self.keys.read(kind, place.unit, place.begin, place.begin + size)

    def texts(self, place: BlockPlace, rows: NDArray[np.int64]) -> tuple[Texts, Texts]:
        """Both sides of some rows of a block, numbered within it."""
        batch = self.read(place, [LEFT, RIGHT])
        left, right = Texts.from_arrow(batch[LEFT]), Texts.from_arrow(batch[RIGHT])
        return left.take(rows), right.take(rows)
