"""One writer per folder: a lock that the kernel keeps for as long as a process lives.

It goes with the process however that ends, and forked children do not inherit it. It is taken by
processes, not by objects: one process may take the same folder twice. On disks without locks two
writers are not noticed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from src.errors import LinguaBridgeError

LOCK_NAME = ".lock"

logger = logging.getLogger(__name__)


class FolderLock:
    """The right to write to a folder.

    Args:
        folder: Made when it is claimed.
        holds: What is written there, for people: "checkpoints".
        other: How to write elsewhere, for people: "choose another output_dir".
        error: Made from the sentence that refuses.
    """

    def __init__(
        self, folder: Path, *, holds: str, other: str, error: Callable[[str], LinguaBridgeError]
    ) -> None:
        self._folder = folder
        self._holds = holds
        self._other = other
        self._error = error
        self._descriptor: int | None = None

    def claim(self) -> None:
        """Makes this process the only one that writes here, until it calls `release` or ends.

        Raises:
            LinguaBridgeError: If another process writes here, or the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._error(
                f"{self._folder} cannot hold {self._holds}: {error.strerror}; {self._other}"
            ) from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            owner = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise self._error(
                f"{self._folder} is being written by another run ({owner}); wait for it, stop it, "
                f"or {self._other}"
            ) from error
        except OSError as error:
            logger.warning(
                "%s has no locks (%s): two runs that write there would not notice each other",
                self._folder,
                error.strerror,
            )
        self._descriptor = descriptor
        with suppress(OSError):  # who holds the lock is a courtesy, a full disk may refuse it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())

    def release(self) -> None:
        """Lets other processes write here again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
