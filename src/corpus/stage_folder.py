"""The folder of the data stage: who may write there, and whether it is up to date.

`process.json` holds a fingerprint of everything the output depends on, and the size of every file
that later stages read. It is written last and removed first, so where it is, everything else was
whole; the sizes tell what was lost since.

`.lock` is written first, and only into a folder that holds nothing under the names used here. So
where one of the two is, these names are the stage's own to replace; elsewhere they are somebody's.
"""

from __future__ import annotations

import fcntl
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from src.corpus import shards
from src.corpus.disk import explained_disk_errors
from src.corpus.report import Report, write_report
from src.errors import DataError
from src.files import write_text

logger = logging.getLogger(__name__)

FORMAT = "linguabridge-process/2"
_FORMATS = FORMAT.partition("/")[0] + "/"
CONFIG = "config.yaml"
_STATE, _LOCK = "process.json", ".lock"
_REPORT_BYTES = 1 << 20
_FOLDERS = ("text", "rejected", "tokens", "tokenizer", "lexicon", "work", ".partial")
# What is replaced whatever it holds; the other folders are judged by what lies in them.
_REPLACED = ("tokenizer", "lexicon", ".partial", CONFIG, _STATE, "report.json", "report.html")
_ELSEWHERE = "move it away or set another data.output_dir"
DOWNLOADS = "downloads"
_UNIT_NAME = re.compile(r"[0-9a-f]{32}(\.partial-\d+)?")


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
            lock = (self.path / _LOCK).open("a")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self.path}: another process is working there; wait for it or set another "
                    "data.output_dir"
                ) from error
            yield

    def refuse_foreign(self) -> None:
        """Makes sure, before anything is written, that the names used here are free or our own.

        Raises:
            DataError: Naming what this stage would replace and has not made.
        """
        if self._is_ours():
            return
        foreign = [self.path / name for name in _REPLACED if _holds_something(self.path / name)]
        if self.work.is_dir():
            others = (entry for entry in self.work.iterdir() if entry.name != DOWNLOADS)
            foreign += [entry for entry in others if not is_unit_name(entry.name)]
        if foreign:
            raise DataError(
                f"{self.path} holds {foreign[0].relative_to(self.path)}, which `process` has not "
                f"made and would replace; {_ELSEWHERE}"
            )
        self.refuse_foreign_shards()

    def refuse_foreign_shards(self) -> None:
        """Makes sure that only shards are lost when `text/` and `rejected/` are replaced.

        Raises:
            DataError: Naming what is no shard.
        """
        for folder in (self.text, self.rejected):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise DataError(f"{folder} is not a folder of shards; {_ELSEWHERE}")
            entries = sorted(folder.iterdir()) if folder.exists() else []
            for entry in entries:
                if not shards.is_shard_name(entry.name):
                    raise DataError(
                        f"{folder} would be replaced and holds {entry.name}, which is no shard of "
                        f"`process`; {_ELSEWHERE}"
                    )

    def refuse_as_input(self, files: Iterable[Path]) -> None:
        """Makes sure that no file to read lies where this stage writes; downloads may.

        Raises:
            DataError: Naming the first that does.
        """
        for file in files:
            # As it is named and as it is: a link is lost with its folder, and so is its target.
            for path, root in (
                (file.absolute(), self.path.absolute()),
                (file.resolve(), self.path.resolve()),
            ):
                if path.is_relative_to(root) and _is_written(path.relative_to(root).parts):
                    raise DataError(
                        f"{file} is a source or an evaluation set and lies where this run writes "
                        f"(data.output_dir={self.path}); copy it elsewhere or set another "
                        "data.output_dir"
                    )

    def refuse_config(self, files: Iterable[Path], config_text: str) -> None:
        """Makes sure that no configuration file is replaced by the resolved configuration.

        Args:
            files: What the configuration was read from.
            config_text: What belongs into the folder; a file that holds just this loses nothing.

        Raises:
            DataError: Naming the file.
        """
        target = self.path / CONFIG
        for file in files:
            if file.exists() and target.exists() and file.samefile(target):
                if file.read_text(encoding="utf-8") == config_text:
                    continue
                raise DataError(
                    f"{file} is a configuration file of this run, and data.output_dir={self.path} "
                    f"would replace it by the resolved configuration; {_ELSEWHERE}"
                )

    def _is_ours(self) -> bool:
        if (self.path / _LOCK).is_file():
            return True
        try:
            state = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(state, dict) and str(state.get("format")).startswith(_FORMATS)

    def finished_report(self, fingerprint: str) -> Report | None:
        """The report of the last run, if its fingerprint is this one and its output is there."""
        try:
            state = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
            if not isinstance(state, dict):
                return None
            files = self._files()
            kept = state.pop("files", files)  # earlier versions noted none
            if state != {"format": FORMAT, "fingerprint": fingerprint}:
                return None
            if kept != files or not shards.shard_files(self.text, "train"):
                logger.warning("%s is not as the last run left it; making it again", self.path)
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
            write_report(report, self.path)
            write_text(self.path / CONFIG, config_text)
            state = {"format": FORMAT, "fingerprint": fingerprint, "files": self._files()}
            write_text(self.path / _STATE, json.dumps(state) + "\n")

    def _files(self) -> dict[str, int]:
        """Bytes of every file that later stages read."""
        files = [
            *self.text.glob("*.parquet"),
            *self.rejected.glob("*.parquet"),
            *self.tokens.rglob("*"),
            *(self.path / "tokenizer").glob("*.json"),
        ]
        return {
            file.relative_to(self.path).as_posix(): file.stat().st_size
            for file in files
            if file.is_file()
        }


def is_unit_name(name: str) -> bool:
    """Whether an entry of `work/` is a work unit, finished or not."""
    return _UNIT_NAME.fullmatch(name) is not None


def _holds_something(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return path.is_symlink() or path.exists()


def _is_written(parts: tuple[str, ...]) -> bool:
    """Whether a path below the folder, in parts, is written or removed by the stage."""
    if parts[:2] == ("work", DOWNLOADS):
        return False
    return bool(parts) and parts[0] in {*_FOLDERS, *_REPLACED}
