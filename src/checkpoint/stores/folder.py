"""A folder as a bucket: a mounted drive, a second disk.

Keys are paths below the folder. A file appears under its key by a rename after its bytes are on
the disk, and `create` is the kernel's exclusive open, which network file systems honour, too.

The folder itself is made by `create` alone, and never the folder above it: of a drive that is not
mounted that one is missing, or the folder is, and what was written there instead would fill the
root disk and be hidden once the drive is back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from src.checkpoint.format import copy_file, hash_file
from src.checkpoint.manifest import FileRecord
from src.checkpoint.stores.bucket import ObjectExists, ObjectMissing, Report
from src.checkpoint.stores.multipart import check_content
from src.errors import StoreError
from src.files import flush_to_disk, replaced_when_done

_CHUNK_BYTES = 8 * 1024 * 1024
_PARTIAL_SUFFIX = ".uploading"


class FolderBucket:
    """Objects in `root`, which is made when something is created."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, prefix: str) -> Mapping[str, int]:
        """Key → bytes of the files whose keys start so."""
        with _explained(self._root):
            self._require_place()
            return {
                key: path.stat().st_size
                for key, path in self._below(prefix)
                if not key.endswith(_PARTIAL_SUFFIX)
            }

    def read(self, key: str) -> bytes:
        """All bytes of a file."""
        with _explained(self._root, key):
            return (self._root / key).read_bytes()

    def stream(self, key: str, start: int) -> Iterator[bytes]:
        """A file from byte `start` on."""
        with _explained(self._root, key), (self._root / key).open("rb", buffering=0) as file:
            file.seek(start)
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def create(self, key: str, content: bytes) -> None:
        """Writes a file where there is none."""
        path = self._root / key
        with _explained(self._root):
            self._require_place()
            self._root.mkdir(exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                raise ObjectExists(key) from None
            flush_to_disk(path)
            flush_to_disk(path.parent)

    def put(self, key: str, content: bytes) -> None:
        """Writes a file, replacing an older one."""
        with _explained(self._root):
            self._require_root()
            with replaced_when_done(self._root / key) as partial:
                partial.write_bytes(content)

    def put_private(self, key: str, content: bytes) -> None:
        """Writes a file that only this user may read, replacing an older one."""
        with _explained(self._root):
            self._require_root()
            with replaced_when_done(self._root / key) as partial:
                partial.unlink(missing_ok=True)  # one that was left behind may be open to others
                partial.touch(mode=0o600, exist_ok=False)
                partial.write_bytes(content)

    def upload(self, source: Path, key: str, expected: FileRecord, report: Report) -> None:
        """Copies a file; one that is there already with the same content is left alone."""
        target = self._root / key
        with _explained(self._root):
            if target.is_file() and hash_file(target) == expected:
                report(expected.bytes)
                return
            self._require_root()
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + _PARTIAL_SUFFIX)
            partial.unlink(missing_ok=True)
        if not source.is_file():
            raise FileNotFoundError(2, "No such file or directory", str(source))
        with _explained(self._root):
            found = copy_file(source, partial)
        check_content(source, found, expected)
        with _explained(self._root):
            partial.replace(target)
            flush_to_disk(target.parent)
        report(expected.bytes)

    def copy(self, source: str, key: str, expected: FileRecord, report: Report) -> bool:
        """Gives a file a second name, where the disk has hard links and the file is as expected."""
        original, target = self._root / source, self._root / key
        if target.is_file():  # `upload` knows what to do
            return False
        with _explained(self._root):
            if not original.is_file() or hash_file(original) != expected:
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(original)
            except OSError:  # a disk without hard links; a real fault shows in the upload
                return False
            flush_to_disk(target.parent)
        report(expected.bytes)
        return True

    def delete(self, keys: Sequence[str]) -> None:
        """Removes files, and folders that are empty then."""
        with _explained(self._root):
            for key in keys:
                (self._root / key).unlink(missing_ok=True)
            for folder in {(self._root / key).parent for key in keys} - {self._root}:
                with suppress(OSError):  # it holds something else, or is gone
                    folder.rmdir()

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Copies that were cut off; the id says nothing."""
        with _explained(self._root):
            return [
                (key.removesuffix(_PARTIAL_SUFFIX), "")
                for key, _ in self._below(prefix)
                if key.endswith(_PARTIAL_SUFFIX)
            ]

    def give_up(self, key: str, upload_id: str) -> None:  # noqa: ARG002  one copy per key
        """Removes the part of a copy."""
        self.delete([key + _PARTIAL_SUFFIX])

    def _require_place(self) -> None:
        """The folder may be missing, the one above it not; nor may a file stand in the way."""
        nearest = next(path for path in (self._root, *self._root.parents) if path.exists())
        if not nearest.is_dir():
            raise StoreError(
                f"{self._root} cannot be used as a checkpoint store: {nearest} is a file, not a "
                "folder",
                "set checkpoint_store to a folder",
            )
        parent = self._root.parent
        if not parent.is_dir():
            raise _absent(
                f"{self._root} cannot be used as a checkpoint store: there is no folder {parent}",
                parent,
            )

    def _require_root(self) -> None:
        self._require_place()
        if not self._root.is_dir():
            raise _absent(f"the checkpoint store {self._root} is not there any more", self._root)

    def _below(self, prefix: str) -> Iterator[tuple[str, Path]]:
        for folder, _, names in os.walk(self._root / prefix.rpartition("/")[0]):
            for name in sorted(names):
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    yield key, path


@contextmanager
def _explained(root: Path, key: str | None = None) -> Iterator[None]:
    """Turns what the disk says into a StoreError; of a drive that is away it may come back."""
    try:
        yield
    except FileNotFoundError as error:
        if key is not None:
            raise ObjectMissing(key) from None
        raise _unusable(root, error) from error
    except OSError as error:
        raise _unusable(root, error) from error


def _absent(reason: str, folder: Path) -> StoreError:
    return StoreError(
        reason,
        f"check that its drive is mounted, or make it if it is to be new: mkdir -p {folder}",
        is_temporary=True,
    )


def _unusable(root: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{root} cannot be used as a checkpoint store: {error.strerror or error}",
        "check that the drive is mounted, has room, and that you may write there",
        is_temporary=True,
    )
