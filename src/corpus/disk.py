"""What a full or a damaged disk means to the person at the terminal."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from src.errors import DataError
from src.units import format_bytes

_NO_ROOM = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file grew beyond the allowed size",
}
_NO_PLACE = {
    errno.EACCES: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.EEXIST: "is a file, not a folder",
    errno.ENOTDIR: "is inside a file, not a folder",
}


@contextmanager
def explained_disk_errors(path: Path, needed_bytes: float) -> Iterator[None]:
    """Turns the failure of a write into one sentence.

    Args:
        path: What is being written.
        needed_bytes: Space that the whole stage takes, about.

    Raises:
        DataError: If the disk refuses what is written inside the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_PLACE:
            raise DataError(
                f"{path}: {_NO_PLACE[error.errno]}; set data.output_dir to a folder that you can "
                "write to"
            ) from error
        if error.errno in _NO_ROOM:
            raise DataError(
                f"{path}: {_NO_ROOM[error.errno]}; this stage needs about "
                f"{format_bytes(needed_bytes)}. Free some space or set data.output_dir to another "
                "disk, then run again: finished work is kept"
            ) from error
        raise


@contextmanager
def explained_damage(finding: str, remedy: str) -> Iterator[None]:
    """Turns the failure of reading what this stage wrote into one sentence.

    Args:
        finding: What it means, with the path.
        remedy: What to do.

    Raises:
        DataError: If what is read inside the block is damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{finding} ({str(error).splitlines()[0]}); {remedy}") from error
