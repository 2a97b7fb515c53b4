"""Reading a stored folder back: every byte is hashed on its way, and only a whole one appears.

A connection that breaks is taken up again at the byte where it broke. A file that arrived with
another hash is asked for once more, since the way here may have damaged it; then the folder counts
as damaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from src.checkpoint.format import HashingFile, partial_path, remove_folder, seal_folder
from src.checkpoint.manifest import FileRecord, Manifest
from src.checkpoint.stores.bucket import ObjectMissing
from src.checkpoint.stores.transfer import Transfer
from src.errors import CheckpointCorrupt, CheckpointError, StoreError
from src.retry import Retry

# File name, first byte → the bytes from there on.
Stream = Callable[[str, int], Iterator[bytes]]

_SHOWN_DIGITS = 16


class _Sink(Protocol):
    @property
    def record(self) -> FileRecord: ...

    def write(self, data: bytes) -> None: ...


class _Hash:
    """Hashes what it is given, and keeps none of it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._bytes = 0

    @property
    def record(self) -> FileRecord:
        return FileRecord(self._bytes, self._hash.hexdigest())

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._bytes += len(data)


def download_folder(
    manifest: Manifest, target: Path, *, address: str, stream: Stream, retry: Retry
) -> None:
    """Makes `target` appear with all files of the manifest.

    Args:
        manifest: What must arrive.
        target: Its parent is made where it is missing; an older folder of the name is replaced.
        address: What messages call the stored folder.
        stream: Gives the bytes.
        retry: How often a broken connection is taken up again without a byte arriving.

    Raises:
        CheckpointCorrupt: If a file is missing or another one.
        CheckpointError: If the disk refuses.
        StoreError: If the store does.
    """
    partial = partial_path(target)
    progress = Transfer(f"restoring {address}", manifest.total_bytes, is_logged=True)

    def download(name: str, expected: FileRecord) -> FileRecord:
        (partial / name).unlink(missing_ok=True)
        with HashingFile(partial / name) as file:
            return _receive(file, name, expected, address, stream, retry, progress)

    try:
        remove_folder(partial)
        partial.mkdir(parents=True)
        for name, expected in manifest.files.items():
            _twice(download, name, expected, address)
        seal_folder(target, manifest)
    except BaseException as error:
        remove_folder(partial)
        if isinstance(error, OSError):
            raise CheckpointError(
                f"could not restore {address} to {target}: {error.strerror or error}; make room "
                "and start again"
            ) from error
        raise


def verify_files(manifest: Manifest, *, address: str, stream: Stream, retry: Retry) -> None:
    """Downloads everything and keeps nothing.

    Raises:
        CheckpointCorrupt: At the first difference.
        StoreError: If the store refuses or stays away.
    """
    progress = Transfer(f"verifying {address}", manifest.total_bytes, is_logged=True)

    def download(name: str, expected: FileRecord) -> FileRecord:
        return _receive(_Hash(), name, expected, address, stream, retry, progress)

    for name, expected in manifest.files.items():
        _twice(download, name, expected, address)


def _twice(
    download: Callable[[str, FileRecord], FileRecord],
    name: str,
    expected: FileRecord,
    address: str,
) -> None:
    """Downloads a file, and once more if something else arrived.

    Raises:
        CheckpointCorrupt: If that is so both times.
    """
    found = download(name, expected)
    if found != expected:
        found = download(name, expected)
    if found != expected:
        raise CheckpointCorrupt(
            address,
            f"{name} has {found.bytes} bytes with SHA-256 {found.sha256[:_SHOWN_DIGITS]}…, its "
            f"manifest says {expected.bytes} with {expected.sha256[:_SHOWN_DIGITS]}…",
        )


def _receive(
    sink: _Sink,
    name: str,
    expected: FileRecord,
    address: str,
    stream: Stream,
    retry: Retry,
    progress: Transfer,
) -> FileRecord:
    """All of a file, however often the connection breaks, as long as bytes go on arriving."""

    def take_up() -> None:
        if sink.record.bytes < expected.bytes or not expected.bytes:
            for chunk in stream(name, sink.record.bytes):
                sink.write(chunk)
                progress.add(len(chunk))

    try:
        while True:
            before = sink.record.bytes
            try:
                retry.call(take_up)
            except StoreError as error:
                if not error.is_temporary or sink.record.bytes == before:
                    raise
            else:
                return sink.record
    except ObjectMissing:
        raise CheckpointCorrupt(address, f"{name} is missing") from None
