"""What a store asks of a service that keeps objects under keys.

Such a service has no folders and no rename: an object appears whole or not at all, and the only
step that needs one winner among several writers is `create`. Every request may be repeated: a
repeated upload or deletion leaves what the first one left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from src.checkpoint.manifest import FileRecord
from src.retry import Retry

# Told how many more bytes of the checkpoint are in the store.
Report = Callable[[int], object]


class ObjectMissing(LookupError):
    """There is no object of this key."""


class ObjectExists(Exception):
    """Somebody has created an object of this key before."""


@dataclass(frozen=True)
class Tuning:
    """Sizes and patience; tests use smaller ones.

    Attributes:
        part_bytes: Larger files are sent in parts of this size, so that a kill costs one part.
        copied_bytes: Larger objects are copied within the service in pieces of this size, so that
            each answer comes in time.
        parallel_parts: Parts on their way at once; one connection rarely fills the network.
        retry: How often a request is tried.
        connect_seconds: Longest wait for a connection.
        read_seconds: Longest wait for the next bytes of an answer.
    """

    part_bytes: int = 16 * 1024 * 1024
    copied_bytes: int = 256 * 1024 * 1024
    parallel_parts: int = 4
    retry: Retry = field(default_factory=Retry)
    connect_seconds: float = 5.0
    read_seconds: float = 60.0


class Bucket(Protocol):
    """Objects under keys. Every method raises StoreError when the service refuses or is away."""

    def list(self, prefix: str) -> Mapping[str, int]:
        """Key → bytes of the objects whose keys start so."""

    def read(self, key: str) -> bytes:
        """A small object.

        Raises:
            ObjectMissing: If there is none.
        """

    def stream(self, key: str, start: int) -> Iterator[bytes]:
        """A large object from byte `start` on, not tried again when it breaks off.

        Raises:
            ObjectMissing: If there is none.
        """

    def create(self, key: str, content: bytes) -> None:
        """Puts a small object where there is none.

        Raises:
            ObjectExists: If there is one, also when another writer was faster by a hair.
        """

    def put(self, key: str, content: bytes) -> None:
        """Puts a small object, replacing an older one."""

    def upload(self, source: Path, key: str, expected: FileRecord, report: Report) -> None:
        """Puts a file, going on where an earlier attempt of any process was cut off.

        Raises:
            CheckpointCorrupt: If the file is not what `expected` says; nothing has appeared then.
            OSError: If the file cannot be read.
        """

    def copy(self, source: str, key: str, expected: FileRecord, report: Report) -> bool:
        """Makes `key` a copy of the object `source` without sending bytes.

        Returns:
            Whether it is one now; False if `source` is not what is expected, or the service does
            not copy: then the file has to be uploaded.
        """

    def delete(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are gone already are no error."""

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and id of uploads that were begun below `prefix` and neither ended nor given up."""

    def give_up(self, key: str, upload_id: str) -> None:
        """Removes what a begun upload has sent so far."""
