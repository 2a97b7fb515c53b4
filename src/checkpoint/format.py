"""A checkpoint on disk: a folder that is whole or absent.

    checkpoint-00001200/
      model.safetensors                  tensors, see src.checkpoint.tensors
      optimizer-rank00000.safetensors
      state.json  config.yaml  ...       documents, text
      MANIFEST.json                      written last, see src.checkpoint.manifest

The one idea: everything goes into a neighbour, `checkpoint-00001200.partial`. Each file is hashed
while it is written and flushed to the disk when it is closed; then comes the manifest with all
sizes and hashes, then one rename. A process killed at any moment leaves either no
`checkpoint-00001200` or a whole one, and what happens to the bytes later is found by their hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType

from src.checkpoint.manifest import (
    MANIFEST_NAME,
    FileRecord,
    Manifest,
    check_file_names,
    read_manifest,
)
from src.checkpoint.tensors import HostBuffers, HostTensor, read_tensors, write_safetensors
from src.errors import CheckpointCorrupt, CheckpointError
from src.files import flush_to_disk

__all__ = [
    "HostBuffers",
    "HostTensor",
    "Manifest",
    "TensorFiles",
    "copy_file",
    "partial_path",
    "read_manifest",
    "read_tensors",
    "remove_folder",
    "seal_folder",
    "verify_folder",
    "write_folder",
    "write_rank_file",
]

# File name → tensor name → tensor.
TensorFiles = Mapping[str, Mapping[str, HostTensor]]

PARTIAL_SUFFIX = ".partial"
PREVIOUS_SUFFIX = ".previous"

# Large enough that the interpreter's lock is held for a vanishing part of the time while another
# thread trains, small enough that a slow disk does not delay a signal for long.
_CHUNK_BYTES = 8 * 1024 * 1024
_SHOWN_DIGITS = 16


class HashingFile:
    """A new file that is hashed while it is written, and on the disk once it is closed."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._hash = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> HashingFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    @property
    def record(self) -> FileRecord:
        """Size and hash of what was written so far."""
        return FileRecord(self._bytes, self._hash.hexdigest())

    def write(self, data: memoryview | bytes) -> None:
        """Appends all of `data`, a chunk at a time."""
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK_BYTES):
            chunk = view[start : start + _CHUNK_BYTES]
            self._hash.update(chunk)
            self._bytes += len(chunk)
            while chunk:  # a nearly full disk takes a part, and refuses the rest next time
                chunk = chunk[os.write(self._descriptor, chunk) :]


def write_folder(
    folder: Path,
    *,
    step: int,
    tensors: TensorFiles,
    documents: Mapping[str, str],
    facts: Mapping[str, object],
    parent: str | None = None,
    awaited: Collection[str] = (),
    barrier: Callable[[], object] = lambda: None,
) -> Manifest:
    """Writes a checkpoint; `folder` appears whole at the end, replacing one of the same name.

    Where other ranks contribute files, they call `write_rank_file` between the two moments at
    which `barrier` is called here: when the temporary folder stands empty, and when all files are
    written. Both are reached also when writing fails, so that no rank waits for ever.

    Args:
        folder: Its parent must exist.
        step: Optimizer steps done.
        tensors: File name → tensor name → tensor.
        documents: File name → text, written as UTF-8.
        facts: Whatever JSON can hold.
        parent: Name of the checkpoint before this one.
        awaited: Names of the files that other ranks write.
        barrier: Returns when every rank has called it.

    Raises:
        CheckpointError: If a rank's file did not arrive.
        OSError: If the disk refuses; what was written is removed and an older `folder` stays.
    """
    check_file_names([*tensors, *documents, *awaited])
    facts = json.loads(json.dumps(dict(facts), allow_nan=False))  # fails now, not after the files
    partial = partial_path(folder)
    try:
        files = _write_files(partial, tensors, documents, barrier)
        files |= {name: _record_awaited(partial / name) for name in awaited}
        manifest = Manifest(step, parent, facts, files)
        seal_folder(folder, manifest)
    except BaseException:
        remove_folder(partial)
        raise
    return manifest


def write_rank_file(folder: Path, name: str, tensors: Mapping[str, HostTensor]) -> None:
    """Adds a file of another rank to a checkpoint that rank 0 is writing; see `write_folder`."""
    check_file_names([name])
    with HashingFile(partial_path(folder) / name) as file:
        write_safetensors(file, tensors)


def _write_files(
    partial: Path,
    tensors: TensorFiles,
    documents: Mapping[str, str],
    barrier: Callable[[], object],
) -> dict[str, FileRecord]:
    records = {}
    try:
        try:
            remove_folder(partial)
            partial.mkdir()
        finally:
            barrier()
        for name, group in tensors.items():
            with HashingFile(partial / name) as file:
                write_safetensors(file, group)
            records[name] = file.record
        for name, text in documents.items():
            records[name] = _write_text(partial / name, text)
    finally:
        barrier()
    return records


def seal_folder(folder: Path, manifest: Manifest) -> None:
    """Commits the finished `<folder>.partial`: manifest, then rename, each made durable.

    rename(2) does not replace a folder that has files in it. An older `folder` therefore steps
    aside first; a process killed between the two renames leaves it as `<folder>.previous`, which
    `LocalStore.recover` puts back.
    """
    partial = partial_path(folder)
    previous = folder.with_name(folder.name + PREVIOUS_SUFFIX)
    _write_text(partial / MANIFEST_NAME, manifest.to_json())
    flush_to_disk(partial)  # its names; each file was flushed when it was closed
    if folder.exists():
        remove_folder(previous)
        folder.rename(previous)
    partial.rename(folder)
    flush_to_disk(folder.parent)
    remove_folder(previous)


def copy_file(source: Path, target: Path) -> FileRecord:
    """Copies bytes to a new file on whatever disk, hashed on the way and durable at the end."""
    with source.open("rb") as readable, HashingFile(target) as file:
        while chunk := readable.read(_CHUNK_BYTES):
            file.write(chunk)
    return file.record


def partial_path(folder: Path) -> Path:
    """Where `folder` is prepared: its neighbour, so that a rename suffices to commit."""
    return folder.with_name(folder.name + PARTIAL_SUFFIX)


def remove_folder(folder: Path) -> None:
    """Deletes a folder, its manifest first: what a kill leaves behind is no checkpoint."""
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def verify_folder(folder: Path) -> Manifest:
    """Reads every file and compares it with the manifest; files besides those are ignored.

    Raises:
        CheckpointCorrupt: At the first difference, naming file, expected and found.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        try:
            found_bytes = (folder / name).stat().st_size
            if found_bytes != expected.bytes:
                raise CheckpointCorrupt(
                    folder, f"{name} has {found_bytes} bytes, its manifest says {expected.bytes}"
                )
            found = hash_file(folder / name).sha256
        except FileNotFoundError as error:
            raise CheckpointCorrupt(folder, f"{name} is missing") from error
        except OSError as error:
            raise CheckpointCorrupt(folder, f"{name} cannot be read: {error.strerror}") from error
        if found != expected.sha256:
            raise CheckpointCorrupt(
                folder,
                f"{name} has SHA-256 {found[:_SHOWN_DIGITS]}…, its manifest says "
                f"{expected.sha256[:_SHOWN_DIGITS]}…",
            )
    return manifest


def hash_file(path: Path) -> FileRecord:
    """Size and SHA-256 of a file's content."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(size, digest.hexdigest())


def _record_awaited(path: Path) -> FileRecord:
    try:
        return hash_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.name} was not written by its rank, so there is no checkpoint; "
            "see that rank's log for the reason"
        ) from error


def _write_text(path: Path, text: str) -> FileRecord:
    with HashingFile(path) as file:
        file.write(text.encode())
    return file.record
