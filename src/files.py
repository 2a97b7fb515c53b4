"""Writing a file so that a reader finds the old one, the new one, or none: never a part.

The new bytes go to a hidden neighbour, reach the disk, and only then take the name. What a killed
process leaves is the neighbour, which the next write of the same file replaces.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expand_home(path: str | Path) -> Path:
    """A path with the home folder that `~` or `~name` stands for.

    It stays as it is written where nobody has that name: files may be called `~backup.tsv`.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextmanager
def replaced_when_done(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what was written there becomes `path` when the block ends well.

    On an error inside the block `path` keeps its old content and the temporary file goes away.
    One writer per path at a time: two would share the temporary name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        flush_to_disk(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush_to_disk(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 with line feeds as line ends on every platform."""
    with replaced_when_done(path) as partial:
        partial.write_bytes(text.encode("utf-8"))


def flush_to_disk(path: Path) -> None:
    """Forces a file's bytes, or a folder's list of names, to the disk."""
    # Opening a folder is how its entries (the rename) are made durable on POSIX.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
