"""What every format provides: how its files are cut into ranges and read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from src.corpus.readers.blocks import Block


class Request(NamedTuple):
    """What a format needs to know to look through a file.

    Attributes:
        paths: The file; two for Moses.
        languages: Of the corpus: left and right.
        order: The same two, as the file has them where it does not name them itself.
        step: Rows between two places at which reading can start.
    """

    paths: tuple[Path, ...]
    languages: tuple[str, str]
    order: tuple[str, str]
    step: int


class RowFile(Protocol):
    """A file that has been looked through; frozen and picklable."""

    @property
    def row_count(self) -> int:
        """Rows in it: pairs and rows that cannot be read."""

    @property
    def layout(self) -> tuple[str | int, ...]:
        """What the rows depend on beside the bytes of the files, for fingerprints."""

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Ranges (first, count) that can be read on their own; they depend on nothing else."""

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Rows `first` to `first + count`, at most `block_rows` at a time."""
