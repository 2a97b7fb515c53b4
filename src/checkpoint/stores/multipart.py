"""Sending a large file in parts, such that a kill costs one part.

OSS and S3 keep the parts of a begun upload until it is completed, and list them with the MD5 of
each. So the record of what was sent is the service's own: a new process finds the upload by its
key, compares the MD5 of every part with the bytes it has, and sends only what is missing or
differs. (A part that was damaged on its way is stored, too: a record that only counts parts would
complete it.) While the parts are read the whole file is hashed, and only a file that is what the
manifest promises is completed; until then nothing of it can be seen.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from src.checkpoint.manifest import FileRecord
from src.checkpoint.stores.bucket import Report, Tuning
from src.errors import CheckpointCorrupt

# Both services take 10,000 parts at most.
MOST_PARTS = 9_000
_SHOWN_DIGITS = 16


@dataclass(frozen=True)
class Part:
    """A part as the service holds it.

    Attributes:
        size: In bytes.
        etag: What `complete` names it by: its MD5 in hex, unless the service encrypts with keys of
            the user; such a part is sent again after a kill.
    """

    size: int
    etag: str

    def holds(self, data: bytes, md5: str) -> bool:
        """Whether these are the part's bytes."""
        return self.size == len(data) and self.etag.strip('"').lower() == md5


class PartService(Protocol):
    """The five requests of an upload in parts; each tries again by itself."""

    def begin(self, key: str) -> str:
        """Begins an upload and returns its id."""

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and id of the uploads begun below `prefix`, oldest first."""

    def parts(self, key: str, upload_id: str) -> Mapping[int, Part]:
        """Number → part of what has arrived."""

    def send_part(self, key: str, upload_id: str, number: int, data: bytes, md5: bytes) -> str:
        """Sends one part with its MD5, which the service checks; returns its ETag."""

    def complete(self, key: str, upload_id: str, parts: Mapping[int, Part]) -> None:
        """Makes the object appear."""


def upload_in_parts(
    service: PartService,
    source: Path,
    key: str,
    *,
    expected: FileRecord,
    tuning: Tuning,
    report: Report,
) -> None:
    """Uploads `source` as `key`; see the module's text.

    Raises:
        CheckpointCorrupt: If the file's size or SHA-256 is not the expected one.
        StoreError: If the service refuses or stays away.
        OSError: If the file cannot be read.
    """
    begun = [upload_id for name, upload_id in service.pending(key) if name == key]
    upload_id = begun[-1] if begun else service.begin(key)
    arrived = service.parts(key, upload_id) if begun else {}
    sender = _Sender(service, key, upload_id, arrived, report)
    part_bytes = max(tuning.part_bytes, -(-expected.bytes // MOST_PARTS))
    whole, size = hashlib.sha256(), 0
    with source.open("rb", buffering=0) as file, ThreadPoolExecutor(tuning.parallel_parts) as pool:
        on_their_way: deque[Future[Part]] = deque()
        parts: list[Part] = []
        for number, data in enumerate(_pieces(file, part_bytes), start=1):
            whole.update(data)
            size += len(data)
            on_their_way.append(pool.submit(sender.send, number, data))
            if len(on_their_way) == tuning.parallel_parts:
                parts.append(on_their_way.popleft().result())
        parts.extend(each.result() for each in on_their_way)
    check_content(source, FileRecord(size, whole.hexdigest()), expected)
    service.complete(key, upload_id, dict(enumerate(parts, start=1)))


def check_content(source: Path, found: FileRecord, expected: FileRecord) -> None:
    """Compares what was read with what the manifest promises.

    Raises:
        CheckpointCorrupt: If they differ.
    """
    if found != expected:
        raise CheckpointCorrupt(
            source.parent,
            f"{source.name} has {found.bytes} bytes with SHA-256 "
            f"{found.sha256[:_SHOWN_DIGITS]}…, its manifest says {expected.bytes} with "
            f"{expected.sha256[:_SHOWN_DIGITS]}…",
        )


@dataclass(frozen=True)
class _Sender:
    """Sends those parts of one upload that have not arrived."""

    service: PartService
    key: str
    upload_id: str
    arrived: Mapping[int, Part]
    report: Report

    def send(self, number: int, data: bytes) -> Part:
        md5 = hashlib.md5(data, usedforsecurity=False)
        part = self.arrived.get(number)
        if part is None or not part.holds(data, md5.hexdigest()):
            etag = self.service.send_part(self.key, self.upload_id, number, data, md5.digest())
            part = Part(len(data), etag)
        self.report(len(data))
        return part


def _pieces(file: BinaryIO, piece_bytes: int) -> Iterator[bytes]:
    """The file's bytes, cut every `piece_bytes`."""
    while piece := file.read(piece_bytes):
        data = bytearray(piece)
        while len(data) < piece_bytes and (more := file.read(piece_bytes - len(data))):
            data += more  # a mounted drive may hand out less than it was asked for
        yield bytes(data)
