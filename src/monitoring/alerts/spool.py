"""Messages on their way, in files: what a killed process could not send, the next one does.

    alerts/spool/00001763712345678901234-5f2c.jsonl

One file per message, whose name sorts by time. Its first line is the message; every channel that
is done with it adds `{"done": "dingtalk"}`, so that a kill between two channels costs no message
and sends none twice. When all are done the file goes. A file appears by a rename, hence whole.

Writing is not flushed to the disk: it must outlive the process, not the machine, and must not wait
for a slow disk. Where nothing can be written, messages stay in memory.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from src.monitoring.alerts.messages import Message

_SUFFIX = ".jsonl"
_LOCK_NAME = ".lock"
_MOST_IN_MEMORY = 200

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Entry:
    """A message, and which channels are done with it.

    Attributes:
        path: Its file; None when it is only in memory.
    """

    message: Message
    path: Path | None = None
    done: set[str] = field(default_factory=set)

    def mark_done(self, channel: str) -> None:
        """Notes that a channel has sent the message, or given it up."""
        self.done.add(channel)
        if self.path is not None:
            # One short write at the end of the file: it is there or not, also after a kill. Where
            # it fails, on a full disk, this process still knows.
            with suppress(OSError), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"done": channel}) + "\n")


class Spool:
    """The folder of waiting messages. Several processes may add; one at a time sends.

    Args:
        folder: Made when the first message comes.
        channels: Names of those that every message has to go through.
    """

    def __init__(self, folder: Path, channels: Collection[str]) -> None:
        self.folder = folder
        self._channels = frozenset(channels)
        self._memory: deque[Entry] = deque(maxlen=_MOST_IN_MEMORY)
        self._done: dict[str, set[str]] = {}

    def add(self, message: Message) -> None:
        """Takes a message."""
        name = f"{time.time_ns():023d}-{secrets.token_hex(4)}{_SUFFIX}"
        partial = self.folder / f".{name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(asdict(message)) + "\n", encoding="utf-8")
            partial.replace(self.folder / name)
        except OSError as error:
            logger.debug("alerts: %s cannot be written: %s", self.folder, error.strerror)
            self._memory.append(Entry(message))

    def count(self) -> int:
        """Messages that wait."""
        return len(self._paths()) + len(self._memory)

    @contextmanager
    def claimed(self) -> Iterator[list[Entry]]:
        """All waiting messages, oldest first; those that all channels are done with go at the end.

        Empty while another process sends.
        """
        with self._lock() as is_ours:
            entries = [*self._read(), *self._memory.copy()] if is_ours else []
            try:
                yield entries
            finally:
                for entry in entries:
                    if entry.done >= self._channels:
                        self._remove(entry)

    def _read(self) -> Iterator[Entry]:
        for path in self._paths():
            entry = _read_entry(path)
            if entry is not None:
                known = self._done.setdefault(path.name, set())
                known |= entry.done
                entry.done = known
                yield entry

    def _paths(self) -> list[Path]:
        try:
            return sorted(
                path
                for path in self.folder.iterdir()
                if path.suffix == _SUFFIX and not path.name.startswith(".")
            )
        except OSError:
            return []

    def _remove(self, entry: Entry) -> None:
        if entry.path is None:
            with suppress(ValueError):  # newer ones have pushed it out
                self._memory.remove(entry)
            return
        # On a disk that has become read-only it stays, and what is done is remembered.
        with suppress(OSError):
            entry.path.unlink(missing_ok=True)
            self._done.pop(entry.path.name, None)

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Whether no other process sends from this folder.

        A lock of the process (lockf) and not of the open file (flock): that one would pass to every
        data worker that is forked meanwhile and live as long as the worker.
        """
        try:
            descriptor = os.open(self.folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield True  # there is no folder, hence nobody to share it with
            return
        try:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


def _read_entry(path: Path) -> Entry | None:
    """A message file; None when it has gone, or is none and therefore goes."""
    try:
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        message = Message(**json.loads(first))
        marks = [line for line in rest if line.endswith("}")]
        return Entry(message, path, {json.loads(mark)["done"] for mark in marks})
    except OSError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        logger.warning("alerts: %s is no message (%s); it is left out", path, type(error).__name__)
        path.replace(path.with_suffix(".unreadable"))
        return None
