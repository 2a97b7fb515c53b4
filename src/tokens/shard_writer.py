"""Writing the files of one shard of a token cache; `src.tokens.split` reads them.

Ids go to the disk as they come; offsets (8 bytes a pair) are kept until the shard is finished.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from src.files import flush_to_disk
from src.tokens.split import ID_DTYPE, OFFSET_DTYPE, column_paths


class ShardWriter:
    """The files of one shard; nothing is created before the first pair comes."""

    def __init__(self, stem: Path, languages: Sequence[str]) -> None:
        self.pairs = 0
        self._columns = {
            language: _ColumnWriter(*column_paths(stem, language)) for language in languages
        }

    def append(self, sides: Sequence[Sequence[Sequence[int]]]) -> dict[str, int]:
        """Adds pairs; returns the number of ids added per language."""
        self.pairs += len(sides[0])
        return {
            language: column.append(side)
            for (language, column), side in zip(self._columns.items(), sides, strict=True)
        }

    def finish(self) -> dict[str, Any]:
        """Brings all files to the disk; returns the shard's entry in the manifest."""
        files: dict[str, Any] = {}
        for column in self._columns.values():
            files.update(column.finish())
        return {"pairs": self.pairs, "files": files}

    def close(self) -> None:
        """Gives the files back, finished or not."""
        for column in self._columns.values():
            column.close()


class _ColumnWriter:
    """Ids and offsets of one language of a shard."""

    def __init__(self, ids_path: Path, offsets_path: Path) -> None:
        self._ids_path = ids_path
        self._offsets_path = offsets_path
        self._ids_file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._lengths: list[NDArray[np.uint64]] = []

    def append(self, sides: Sequence[Sequence[int]]) -> int:
        """Adds sides; returns the number of ids added."""
        lengths = np.fromiter(map(len, sides), dtype=OFFSET_DTYPE, count=len(sides))
        total = int(lengths.sum())
        ids = np.fromiter(itertools.chain.from_iterable(sides), dtype=ID_DTYPE, count=total)
        if self._ids_file is None:
            self._ids_file = self._ids_path.open("wb")
        self._ids_file.write(ids.data)
        self._digest.update(ids.data)
        self._lengths.append(lengths)
        return total

    def finish(self) -> dict[str, dict[str, Any]]:
        """Brings both files to the disk; returns size and SHA-256 by file name."""
        self.close()
        lengths = np.concatenate(self._lengths)
        offsets = np.zeros(len(lengths) + 1, dtype=OFFSET_DTYPE)
        np.cumsum(lengths, out=offsets[1:])
        self._offsets_path.write_bytes(offsets.data)
        digests = {
            self._ids_path: self._digest.hexdigest(),
            self._offsets_path: hashlib.sha256(offsets.data).hexdigest(),
        }
        for path in digests:
            flush_to_disk(path)
        return {
            path.name: {"bytes": path.stat().st_size, "sha256": digest}
            for path, digest in digests.items()
        }

    def close(self) -> None:
        if self._ids_file is not None:
            self._ids_file.close()
