"""Processes that save checkpoints until they are killed; started by test_checkpoint_kills.py.

    python -m tests.integration.checkpoint_lives FOLDER

Reads one request a line and answers each with one line of JSON:

    inside K     the process kills itself at its K-th action on the disk: before a rename, a link,
                 an unlink ..., and in the middle of a write
    outside N    the process is killed from outside when it has reported N actions

Each request is one life, forked from here so that Python and NumPy start only once. A life resumes,
saves twice, makes the second checkpoint final, and ends if nobody kills it. The answer holds the
step of the last save that had returned, the number of actions, and whether the life ended well.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src.checkpoint.manager import CheckpointManager
from tests.fakes.checkpoint_content import FACTS, documents_of, tensors_of

SAVES = 2
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}
ACTION, SAVED = b".", b"S"


class Actions:
    """Sees every change this process makes on the disk, reports it, and kills at a given one."""

    def __init__(self, report: Callable[[bytes], object], fatal: int) -> None:
        self._report = report
        self._left = fatal
        self._write, self._fsync = os.write, os.fsync
        sys.addaudithook(self._on_event)
        # No audit event tells of these two.
        os.write = self._write_or_die
        os.fsync = self._fsync_or_die

    def _on_event(self, event: str, details: tuple[Any, ...]) -> None:
        opens_for_writing = event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or opens_for_writing:
            self._count()

    def _count(self, last_deed: Callable[[], object] = lambda: None) -> None:
        self._left -= 1
        if self._left == 0:
            last_deed()
            os.kill(os.getpid(), signal.SIGKILL)
        self._report(ACTION)

    def _write_or_die(self, descriptor: int, data: Any, /) -> int:
        self._count(lambda: self._write(descriptor, data[: len(data) // 2]))
        return self._write(descriptor, data)

    def _fsync_or_die(self, fd: Any) -> None:
        self._count()
        self._fsync(fd)


def live(folder: Path, progress: int, fatal: int) -> None:
    """One life; `progress` is the writing end of the pipe that outlives it."""
    write = os.write
    with CheckpointManager(folder, keep_last=1) as manager:
        found = manager.find_resume("auto")
        first = found.manifest.step + 1 if found else 1
    Actions(lambda sign: write(progress, sign), fatal)
    with CheckpointManager(folder, keep_last=1) as manager:
        for step in range(first, first + SAVES):
            manager.save(
                step,
                tensors=tensors_of(step),
                documents=documents_of(step),
                facts=FACTS,
                is_best=True,
                blocking=True,
            )
            write(progress, SAVED)
        manager.save_final(first + SAVES - 1)


def observe(folder: Path, kind: str, count: int) -> dict[str, object]:
    """Forks a life, kills it from outside if asked to, and tells what became of it."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        live(folder, writable, fatal=count if kind == "inside" else 0)
        os._exit(0)
    os.close(writable)
    signs = b""
    while sign := os.read(readable, 1):
        signs += sign
        if kind == "outside" and signs.count(ACTION) == count:
            os.kill(child, signal.SIGKILL)
    os.close(readable)
    _, status = os.waitpid(child, 0)
    return {
        "saves": signs.count(SAVED),
        "actions": signs.count(ACTION),
        "ended": os.waitstatus_to_exitcode(status) == 0,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    for request in sys.stdin:
        kind, count = request.split()
        print(json.dumps(observe(folder, kind, int(count))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
