"""Soft labels on their way into training: found, checked, and read item by item.

Opening compares what they were made from with the configuration, and every shard's size with the
manifest. Each row carries a checksum of its own, so that a damaged byte is found when it is read,
wherever in hundreds of gigabytes it lies. A place in the training stream costs nothing: the
records of any pair are looked up directly.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.distillation.items import identity_of
from src.distillation.shards import MANIFEST, ShardFolder, shard_file
from src.distillation.soft_labels.layout import RecordLayout
from src.distillation.soft_labels.write import labels_folder, layout_of
from src.distillation.teacher import teacher_folder, teacher_sha256
from src.errors import DataError
from src.languages import split_direction
from src.schema import Config
from src.tokens.columns import IntArray
from src.training.corpus import Corpus

logger = logging.getLogger(__name__)

_Shard = tuple[NDArray[np.uint32], NDArray[np.uint32], memoryview]


class SoftLabels:
    """The soft labels of a corpus; can be sent to worker processes.

    Attributes:
        layout: Of the records.
        fingerprint: Of their whole content.
        record_bytes: Size of a record.
    """

    def __init__(
        self,
        folder: ShardFolder,
        layout: RecordLayout,
        fingerprint: str,
        directions: Sequence[tuple[str, range]],
        shard_rows: int,
    ) -> None:
        """Prepares reading; files are mapped when they are first needed.

        Args:
            folder: A whole folder.
            layout: Of the records.
            fingerprint: Of the folder's manifest.
            directions: Name and rows of each of the stream's directions, in its order.
            shard_rows: Rows in a shard.
        """
        self.layout = layout
        self.fingerprint = fingerprint
        self.record_bytes = layout.record_bytes
        self._folder = folder
        self._directions = tuple(directions)
        self._shard_rows = shard_rows
        self._shards: dict[tuple[int, int], _Shard] = {}

    def __reduce__(self) -> tuple[object, ...]:
        own = (self._folder, self.layout, self.fingerprint, self._directions, self._shard_rows)
        return SoftLabels, own

    def read(self, rows: IntArray, directions: IntArray, counts: IntArray) -> NDArray[np.uint8]:
        """See `src.tokens.records.TokenRecords`."""
        parts = [
            self._read_row(row, way, count)
            for row, way, count in zip(
                rows.tolist(), directions.tolist(), counts.tolist(), strict=True
            )
        ]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, self.record_bytes)

    def _read_row(self, row: int, way: int, count: int) -> memoryview:
        direction, all_rows = self._directions[way]
        number, place = divmod(row - all_rows.start, self._shard_rows)
        offsets, checks, records = self._shard(way, number)
        begin, end = int(offsets[place]), int(offsets[place + 1])
        if end - begin != count:
            raise DataError(
                f"{self._folder.path} holds {end - begin} soft labels for pair {row} of "
                f"{direction} and {count} are needed; run `python run.py soft-labels` with this "
                "configuration"
            )
        content = records[begin * self.record_bytes : end * self.record_bytes]
        if zlib.crc32(content) != int(checks[place]):
            raise self._folder.damaged(
                self._folder.path / shard_file(direction, number),
                "has other bytes than were written",
            )
        return content

    def _shard(self, way: int, number: int) -> _Shard:
        """Offsets, checks and records of a shard."""
        found = self._shards.get((way, number))
        if found is not None:
            return found
        direction, all_rows = self._directions[way]
        path = self._folder.path / shard_file(direction, number)
        rows = len(all_rows[number * self._shard_rows : (number + 1) * self._shard_rows])
        table_bytes = 4 * (2 * rows + 1)
        try:
            content = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
        except (OSError, ValueError) as error:
            raise self._folder.damaged(path, f"cannot be read ({error})") from error
        if content.nbytes < table_bytes:
            raise self._folder.damaged(path, f"has {content.nbytes} bytes, too few for its rows")
        numbers = content[:table_bytes].view("<u4")
        found = numbers[: rows + 1], numbers[rows + 1 :], content[numbers.nbytes :].data
        self._shards[way, number] = found
        return found


def open_soft_labels(config: Config, corpus: Corpus) -> SoftLabels:
    """The soft labels for a student.

    Raises:
        DataError: If there are none, they were made from something else, or a shard is torn.
    """
    section = config.student
    folder = labels_folder(config)
    manifest = folder.manifest()
    if manifest is None:
        is_begun = folder.plan() is not None
        raise DataError(
            f"the soft labels in {folder.path} are unfinished; run `python run.py soft-labels` "
            "again, it goes on where it stopped"
            if is_begun
            else f"no soft labels in {folder.path}; run `python run.py soft-labels` first"
        )
    identity = manifest["identity"]
    folder.require(identity, _wanted(config, corpus, identity))
    folder.check_sizes(manifest)
    split = corpus.cache.split("train")
    directions = [
        (name, split.rows_of(*split_direction(name))[0]) for name in config.data.language_pairs
    ]
    for name, rows in directions:
        if len(rows) and shard_file(name, 0) not in manifest["shards"]:
            raise DataError(
                f"the soft labels in {folder.path} lack {name}; run `python run.py soft-labels` "
                "with this configuration, it adds what is missing"
            )
    layout = layout_of(identity, corpus.tokenizer.vocab_size)
    # Not part of the fingerprint: they follow from the identity.
    for key, value in (("vocab_size", layout.vocab_size), ("record_bytes", layout.record_bytes)):
        if manifest.get(key) != value:
            raise folder.changed(
                folder.path / MANIFEST, f"has {key} {manifest.get(key)!r}, not {value}"
            )
    logger.info(
        "soft labels: %s, %d bytes per target token, temperature %g",
        layout.method,
        layout.record_bytes,
        section.temperature,
    )
    return SoftLabels(folder, layout, manifest["fingerprint"], directions, identity["shard_rows"])


def _wanted(config: Config, corpus: Corpus, identity: dict[str, Any]) -> dict[str, object]:
    """What soft labels must have been made from to serve this student."""
    section = config.student
    # The teacher may have stayed on another machine; where it is here it must be the same.
    own = teacher_folder(config)
    teacher = teacher_sha256(own) if own.is_dir() else identity["teacher"]
    wanted: dict[str, object] = {
        **identity_of(config, corpus, teacher_sha256=teacher),
        "temperature": section.temperature,
        "top_k": section.kd_top_k,
    }
    if section.kd_method != "auto":
        wanted["method"] = section.kd_method
    del wanted["shard_rows"]  # of no meaning to a reader
    # Labels of longer sequences too serve as well, where no choice depends on the length.
    if not identity["max_samples"] and section.max_seq_length <= identity["max_seq_length"]:
        del wanted["max_seq_length"]
    return wanted
