"""Writing the files of one shard of a token cache; `src.tokens.split` reads them.

Ids go to the disk as they come; offsets (8 bytes a pair) are kept until the shard is finished.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from src.files import flush_to_disk
from src.tokens.columns import IdColumn, IntArray
from src.tokens.split import ID_DTYPE, OFFSET_DTYPE, column_paths


class ShardWriter:
    """The files of one shard.

    Args:
        stem: Their path without language and kind, in an existing folder.
        languages: Of the two sides.
    """

    def __init__(self, stem: Path, languages: tuple[str, str]) -> None:
        self._languages = languages
        self._columns = [_ColumnWriter(*column_paths(stem, name)) for name in languages]

    def append(self, left: IdColumn, right: IdColumn) -> None:
        """Adds pairs."""
        for column, side in zip(self._columns, (left, right), strict=True):
            column.append(side)

    def finish(self) -> dict[str, Any]:
        """Brings all files to the disk; returns the shard's entry in the manifest."""
        files: dict[str, Any] = {}
        for column in self._columns:
            files.update(column.finish())
        return {
            "pairs": self._columns[0].rows,
            "tokens": {
                name: column.ids
                for name, column in zip(self._languages, self._columns, strict=True)
            },
            "files": files,
        }

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for column in self._columns:
            column.close()


class _ColumnWriter:
    """Ids and offsets of one language of a shard."""

    def __init__(self, ids_path: Path, offsets_path: Path) -> None:
        self.rows = 0
        self.ids = 0
        self._ids_path = ids_path
        self._offsets_path = offsets_path
        self._ids_file = ids_path.open("wb")
        self._digest = hashlib.sha256()
        self._lengths: list[IntArray] = []

    def append(self, column: IdColumn) -> None:
        values = np.ascontiguousarray(column.values, ID_DTYPE)
        self._ids_file.write(values.data)
        self._digest.update(values.data)
        self._lengths.append(column.lengths)
        self.rows += len(column.lengths)
        self.ids += len(values)

    def finish(self) -> dict[str, dict[str, Any]]:
        """Brings both files to the disk; returns size and SHA-256 by file name."""
        self.close()
        offsets = np.zeros(self.rows + 1, dtype=OFFSET_DTYPE)
        np.cumsum(np.concatenate([*self._lengths, np.zeros(0, np.int64)]), out=offsets[1:])
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
        self._ids_file.close()
