"""A disk that refuses to take more, without needing one: the kernel's own limit on file sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from resource import RLIMIT_FSIZE, getrlimit, setrlimit


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: write(2) fails with EFBIG."""
    old = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, old)
