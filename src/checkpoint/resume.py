"""Which checkpoint a run continues from, and saying so.

`auto` means the newest that verifies; a damaged or foreign one is named and the next older one is
tried. Where checkpoints exist but none can be used, nothing is chosen silently: starting at step 0
would throw away what somebody may still want to rescue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from src.checkpoint.format import verify_folder
from src.checkpoint.manifest import MANIFEST_NAME, Manifest, read_manifest
from src.checkpoint.store import BEST, FINAL, LocalStore, Store
from src.errors import CheckpointCorrupt, CheckpointNotFound, ConfigError
from src.units import format_bytes, format_seconds

logger = logging.getLogger(__name__)

# Why a whole checkpoint does not fit this run, or None if it does.
Refusal = Callable[[Manifest], "str | None"]


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint whose every byte was compared with its manifest.

    Attributes:
        path: Folder of the checkpoint.
        manifest: Its manifest; only the files listed there were checked.
    """

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class CheckpointStatus:
    """One line of a listing.

    Attributes:
        path: Folder of the checkpoint.
        manifest: None if it cannot be read.
        problem: Why the checkpoint cannot be used; None if nothing was found.
    """

    path: Path
    manifest: Manifest | None
    problem: str | None


def find_resume(store: Store, setting: str, refuse: Refusal) -> ResumePoint | None:
    """Finds what `resume_from_checkpoint: setting` means, and logs the choice with its reason.

    Args:
        store: Where the run keeps its checkpoints.
        setting: "auto", "never", or the path of one checkpoint.
        refuse: Says why a whole checkpoint does not fit this run.

    Returns:
        None: start at step 0.

    Raises:
        ConfigError: "never", but there are checkpoints.
        CheckpointNotFound: The path holds no checkpoint; or "auto" finds some, all unusable.
        CheckpointCorrupt: The checkpoint at the path is damaged or does not fit.
    """
    if setting == "never":
        _refuse_existing(store)
        logger.info("starting at step 0: resume_from_checkpoint=never, %s holds nothing", store)
        return None
    if setting == "auto":
        return _newest_usable(store, refuse)
    return _exactly(store, setting, refuse)


def list_checkpoints(folder: Path) -> list[CheckpointStatus]:
    """The checkpoints in `folder`, oldest first, then best and final; reads manifests only."""
    return [_status(folder / name, read_manifest) for name in _names(LocalStore(folder))]


def verify_checkpoints(folder: Path) -> list[CheckpointStatus]:
    """The same list after reading every byte."""
    return [_status(folder / name, verify_folder) for name in _names(LocalStore(folder))]


def _refuse_existing(store: Store) -> None:
    existing = _names(store)
    if existing:
        raise ConfigError(
            f"resume_from_checkpoint=never, but {store} already holds {', '.join(existing)}; "
            "choose another output_dir, remove that folder, or set resume_from_checkpoint=auto"
        )


def _newest_usable(store: Store, refuse: Refusal) -> ResumePoint | None:
    problems: list[str] = []
    for name in reversed(store.list()):
        try:
            return _verified(store.get(name), refuse, _why_newest(problems))
        except (CheckpointCorrupt, CheckpointNotFound) as error:
            logger.warning("not resuming from %s", error)
            problems.append(str(error))
    if problems:
        raise CheckpointNotFound(
            f"{store} holds {len(problems)} checkpoints and none can be used "
            f"({'; '.join(problems)}); restore one of them, or remove them to start at step 0"
        )
    logger.info("starting at step 0: %s holds no checkpoint", store)
    return None


def _exactly(store: Store, setting: str, refuse: Refusal) -> ResumePoint:
    path = Path(setting).expanduser()
    if (path / MANIFEST_NAME).is_file():
        return _verified(path, refuse, "named by resume_from_checkpoint")
    inside = LocalStore(path).list()
    known = _names(store)
    if inside:
        hint = f"it holds checkpoints: name one of them, e.g. {path / inside[-1]}"
    elif path.name in known:
        hint = f"did you mean {store.get(path.name)}?"
    elif known:
        hint = f"{store} holds {', '.join(known)}"
    else:
        hint = "give auto, never, or the folder of one checkpoint"
    fault = f"has no {MANIFEST_NAME}" if path.is_dir() else "is not a folder"
    raise CheckpointNotFound(f"resume_from_checkpoint: {setting!r} {fault}; {hint}")


def _verified(path: Path, refuse: Refusal, why: str) -> ResumePoint:
    started = time.monotonic()
    manifest = verify_folder(path)
    refusal = refuse(manifest)
    if refusal:
        raise CheckpointCorrupt(path, refusal)
    logger.info(
        "resuming at step %d from %s: %s; %d files (%s) verified in %s",
        manifest.step,
        path,
        why,
        len(manifest.files),
        format_bytes(manifest.total_bytes),
        format_seconds(time.monotonic() - started),
    )
    return ResumePoint(path, manifest)


def _why_newest(problems: list[str]) -> str:
    if not problems:
        return "the newest"
    return f"the newest that can be used, after {len(problems)} that cannot"


def _names(store: Store) -> list[str]:
    return [*store.list(), *(name for name in (BEST, FINAL) if store.exists(name))]


def _status(path: Path, check: Callable[[Path], Manifest]) -> CheckpointStatus:
    try:
        return CheckpointStatus(path, check(path), None)
    except CheckpointCorrupt as error:
        return CheckpointStatus(path, None, error.reason)
