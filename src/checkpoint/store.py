"""Where whole checkpoint folders live, under names: `checkpoint-00001200`, `best`, `final`.

This is the run's own folder, on the machine that trains; `src.checkpoint.stores` holds those that
outlive it. A store knows how to make a folder appear, be found and go away such that nobody takes
a half one for whole. It knows nothing of steps to keep or of what is in the files. Folders next to
the checkpoints that end in .partial, .previous or .deleting are work in progress of one process; a
lock tells whether that process still lives, so that its successor may clean up.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from src.checkpoint.format import (
    PARTIAL_SUFFIX,
    PREVIOUS_SUFFIX,
    copy_file,
    partial_path,
    remove_folder,
    seal_folder,
)
from src.checkpoint.manifest import MANIFEST_NAME, FileRecord, read_manifest
from src.errors import CheckpointCorrupt, CheckpointError, CheckpointNotFound
from src.folder_lock import FolderLock

BEST = "best"
FINAL = "final"

_DELETING_SUFFIX = ".deleting"
_ABANDONED_SUFFIX = ".abandoned"
_STEP_NAME = re.compile(r"checkpoint-(\d{8,})")
_OWN_LEFTOVER = re.compile(
    rf"(?P<name>{_STEP_NAME.pattern}|{BEST}|{FINAL})"
    rf"(?P<suffix>{re.escape(PARTIAL_SUFFIX)}|{re.escape(PREVIOUS_SUFFIX)}|{_DELETING_SUFFIX})"
)

logger = logging.getLogger(__name__)


def step_name(step: int) -> str:
    """`1200` → `"checkpoint-00001200"`; names sort as steps do up to eight digits."""
    return f"checkpoint-{step:08d}"


def parse_step(name: str) -> int | None:
    """`"checkpoint-00001200"` → `1200`; None for any other name."""
    match = _STEP_NAME.fullmatch(name)
    return int(match[1]) if match else None


class LocalStore:
    """A folder of checkpoints on a local or mounted disk.

    Args:
        root: Made when something is put; reading works without it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = FolderLock(
            root,
            holds="checkpoints",
            other="choose another output_dir",
            error=CheckpointError,
        )

    def __str__(self) -> str:
        return str(self.root)

    def list(self) -> tuple[str, ...]:
        """Names that look like checkpoints of steps, oldest first; whole or not."""
        if not self.root.is_dir():
            return ()
        steps = {entry.name: parse_step(entry.name) for entry in self.root.iterdir()}
        found = [(step, name) for name, step in steps.items() if step is not None]
        return tuple(name for _, name in sorted(found))

    def exists(self, name: str) -> bool:
        """Whether a committed folder has this name; its bytes may still be damaged."""
        return (self.root / name / MANIFEST_NAME).is_file()

    def put(self, source: Path, name: str, *, keep: Callable[[str], bool]) -> None:
        """Makes some files of the whole folder `source` appear as `name`, replacing an older one.

        Files are hard links where the disk has them, so a second name costs no space and outlives
        the first; elsewhere they are copies.

        Args:
            source: A committed checkpoint; its name becomes the parent of the new folder.
            name: e.g. "best".
            keep: Which file names to take.

        Raises:
            CheckpointCorrupt: If a file that had to be copied is not what `source` promises.
            OSError: If the disk refuses.
        """
        manifest = read_manifest(source)
        files = {file: record for file, record in manifest.files.items() if keep(file)}
        folder = self.root / name
        partial = partial_path(folder)
        try:
            remove_folder(partial)
            partial.mkdir(parents=True)
            for file, record in files.items():
                _link_or_copy(source / file, partial / file, record)
            seal_folder(folder, replace(manifest, parent=source.name, files=files))
        except BaseException:
            remove_folder(partial)
            raise

    def get(self, name: str) -> Path:
        """The folder itself.

        Raises:
            CheckpointNotFound: If there is no committed folder of this name.
        """
        if not self.exists(name):
            raise CheckpointNotFound(
                f"{self.root / name}: {MANIFEST_NAME} is missing: there is no whole checkpoint"
            )
        return self.root / name

    def delete(self, name: str) -> None:
        """Removes `name`: manifest, then name, then bytes.

        After the first of these it is no checkpoint, after the second it is known as waste.
        """
        folder = self.root / name
        waste = folder.with_name(name + _DELETING_SUFFIX)
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        remove_folder(waste)
        folder.rename(waste)
        remove_folder(waste)

    def abandon(self, name: str) -> Path:
        """Takes `name` out of the list without deleting it, and returns where it is now."""
        aside = self.root / (name + _ABANDONED_SUFFIX)
        remove_folder(aside)
        return (self.root / name).rename(aside)

    def claim(self) -> None:
        """Makes this process the only one that writes here, until it calls `release` or ends.

        Raises:
            CheckpointError: If another process writes here, or the folder cannot be written.
        """
        self._lock.claim()

    def release(self) -> None:
        """Lets other processes write here again."""
        self._lock.release()

    def recover(self) -> None:
        """Finishes or removes what a dead process left; only for the process that has claimed."""
        leftovers = {
            entry: match
            for entry in sorted(self.root.iterdir())
            if (match := _OWN_LEFTOVER.fullmatch(entry.name))
        }
        for folder, match in leftovers.items():
            name = match["name"]
            was_replaced = match["suffix"] == PREVIOUS_SUFFIX and self.exists(folder.name)
            if was_replaced and not (self.root / name).exists():
                logger.warning("%s: put back %s, its replacement was cut off", self.root, name)
                folder.rename(self.root / name)
            else:
                logger.info("%s: removing %s, left by a killed process", self.root, folder.name)
                remove_folder(folder)


def _link_or_copy(source: Path, target: Path, expected: FileRecord) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links; a real fault shows in the copy
        found = copy_file(source, target)
        if found != expected:
            raise CheckpointCorrupt(
                source.parent,
                f"{source.name} has {found.bytes} bytes with SHA-256 {found.sha256[:16]}…, its "
                f"manifest says {expected.bytes} with {expected.sha256[:16]}…",
            ) from None
