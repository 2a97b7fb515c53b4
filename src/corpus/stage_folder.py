"""The folder of the data stage: who may write there, and whether it is up to date.

`process.json` holds a fingerprint of everything the output depends on. It is written last and
removed first, so where it is, everything else is whole.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.corpus import shards
from src.corpus.disk import explained_disk_errors
from src.corpus.report import Report, write_report
from src.errors import DataError
from src.files import write_text

FORMAT = "linguabridge-process/2"
_STATE = "process.json"
_REPORT_BYTES = 1 << 20


class StageFolder:
    """`data.output_dir`.

    Attributes:
        path: The folder.
        text: Where the text shards are.
        tokens: Where the token cache is.
        work: Where the work units are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path / "text"
        self.rejected = path / "rejected"
        self.tokens = path / "tokens"
        self.work = path / "work"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process off the same folder; the lock ends with this process.

        Raises:
            DataError: If another process works there, or the folder cannot be written.
        """
        with explained_disk_errors(self.path, _REPORT_BYTES):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self.path}: another process is working there; wait for it or set another "
                    "data.output_dir"
                ) from error
            yield

    def finished_report(self, fingerprint: str) -> Report | None:
        """The report of the last run, if its fingerprint is this one and its output is there."""
        try:
            state = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
            if state != {"format": FORMAT, "fingerprint": fingerprint}:
                return None
            if not shards.shard_files(self.text, "train"):
                return None
            if not (self.tokens / "MANIFEST.json").is_file():
                return None
            report = (self.path / "report.json").read_text(encoding="utf-8")
            return Report.from_json(json.loads(report))
        except (OSError, ValueError, DataError):
            return None  # never finished, or by another version: make it again

    def forget_finish(self) -> None:
        """Makes the folder unfinished, before anything in it changes."""
        for name in (_STATE, "report.json", "report.html"):
            (self.path / name).unlink(missing_ok=True)

    def finish(self, report: Report, config_text: str, fingerprint: str) -> None:
        """Writes the report, and that everything is whole.

        Raises:
            DataError: If the report does not add up, or the disk is full.
        """
        with explained_disk_errors(self.path, _REPORT_BYTES):
            write_text(self.path / "config.yaml", config_text)
            write_report(report, self.path)
            state = {"format": FORMAT, "fingerprint": fingerprint}
            write_text(self.path / _STATE, json.dumps(state) + "\n")
