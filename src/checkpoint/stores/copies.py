"""Copying an object within its bucket, so that bytes which a service has need not be sent again.

`best` and `final` consist of files of a checkpoint that lies beside them in the store. A copy is
taken only of an object that was stored with the SHA-256 that is wanted, only in the state in which
that was read (its ETag is a condition of every request), and it counts only when it carries the
same size and SHA-256, and the same checksum where the service has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from src.checkpoint.manifest import FileRecord
from src.checkpoint.stores.bucket import ObjectExists, ObjectMissing, Report, Tuning
from src.checkpoint.stores.multipart import MOST_PARTS, Part
from src.errors import StoreError


@dataclass(frozen=True)
class Held:
    """What a service says of an object.

    Attributes:
        record: Its size, and the SHA-256 that was stored with it; "" for none.
        etag: Names this state of it.
        checksum: Of all its bytes, as the service computes it; "" where it has none.
    """

    record: FileRecord
    etag: str
    checksum: str = ""


class CopyService(Protocol):
    """The requests of a copy; each tries again by itself."""

    def held(self, key: str) -> Held | None:
        """What there is under a key; None for nothing."""

    def copy_whole(self, source: str, etag: str, key: str) -> None:
        """Copies an object, with what was stored with it, if it still has this ETag."""

    def remove(self, key: str) -> None:
        """Deletes an object."""

    def begin(self, key: str) -> str:
        """Begins an upload in parts and returns its id."""

    def copy_part(
        self, source: str, etag: str, key: str, upload_id: str, number: int, span: tuple[int, int]
    ) -> Part:
        """Makes the bytes from `span[0]` to `span[1]` of an object, both included, a part."""

    def complete(self, key: str, upload_id: str, parts: Mapping[int, Part]) -> None:
        """Makes the object appear."""


def copy_within(
    service: CopyService,
    source: str,
    key: str,
    *,
    expected: FileRecord,
    tuning: Tuning,
    report: Report,
) -> bool:
    """Makes `key` a copy of `source`, unless it is one already; reports its bytes when it is.

    Returns:
        Whether `key` is what is expected now. If not, the source is gone or something else, or the
        service does not copy.

    Raises:
        StoreError: If the service stays away.
    """
    held = service.held(source)
    if held is None or held.record != expected:
        return False
    try:
        copied = service.held(key)
        if copied is None or copied.record != expected:
            _copy(service, source, held, key, tuning)
            copied = service.held(key)
    except (ObjectMissing, ObjectExists):  # rotated away, or replaced, meanwhile
        return False
    except StoreError as error:
        if error.is_temporary:
            raise
        return False
    is_same = copied is not None and (copied.record, copied.checksum) == (expected, held.checksum)
    if is_same:
        report(expected.bytes)
    elif copied is not None:  # its SHA-256 is a promise only: nobody may trust it
        service.remove(key)
    return is_same


def _copy(service: CopyService, source: str, held: Held, key: str, tuning: Tuning) -> None:
    if held.record.bytes <= tuning.copied_bytes:
        service.copy_whole(source, held.etag, key)
        return
    # Not taken up again after a kill: the service moves the bytes, so that they cost nothing.
    # What was begun then is given up by rotation.
    upload_id = service.begin(key)

    def copy_part(number: int, span: tuple[int, int]) -> Part:
        return service.copy_part(source, held.etag, key, upload_id, number, span)

    spans = list(_spans(held.record.bytes, tuning.copied_bytes))
    numbers = range(1, len(spans) + 1)
    with ThreadPoolExecutor(tuning.parallel_parts) as pool:
        parts = list(pool.map(copy_part, numbers, spans))
    service.complete(key, upload_id, dict(zip(numbers, parts, strict=True)))


def _spans(size: int, most: int) -> Iterator[tuple[int, int]]:
    """First and last byte of every part."""
    most = max(most, -(-size // MOST_PARTS))
    for first in range(0, size, most):
        yield first, min(first + most, size) - 1
