"""Which checkpoint a run continues from, and saying so.

`auto` means the newest that verifies, in the run's folder or in its store; a damaged or foreign one
is named and the next older one is tried. Where checkpoints exist but none can be used, or where a
store cannot be asked and the folder is empty, nothing is chosen silently: starting at step 0 would
throw away what somebody may still want to rescue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.checkpoint.format import verify_folder
from src.checkpoint.manifest import MANIFEST_NAME, Manifest, read_manifest
from src.checkpoint.remote import Refusal, checkpoints_ahead, fetch, find_named
from src.checkpoint.store import BEST, FINAL, LocalStore, parse_step
from src.checkpoint.stores.open import names_store
from src.checkpoint.stores.store import Store, Stored
from src.checkpoint.upload_record import remembered_writer
from src.errors import CheckpointCorrupt, CheckpointNotFound, ConfigError, StoreError
from src.files import expand_home
from src.units import format_bytes, format_seconds

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class _Candidate:
    """A checkpoint that may be the one; `take` verifies it, or raises CheckpointError."""

    step: int
    take: Callable[[str], ResumePoint]


def find_resume(
    local: LocalStore, setting: str, refuse: Refusal, remote: Store | None = None
) -> ResumePoint | None:
    """Finds what `resume_from_checkpoint: setting` means, and logs the choice with its reason.

    Args:
        local: The run's folder.
        setting: "auto", "never", the path of one checkpoint, the address of one in a store, or of a
            store: then its newest one starts a run that has none of its own.
        refuse: Says why a whole checkpoint does not fit this run, or None if it does.
        remote: The store this run uploads to.

    Returns:
        None: start at step 0.

    Raises:
        ConfigError: "never", but there are checkpoints; or an address is wrong.
        CheckpointNotFound: There is no checkpoint where one was demanded; or there are some, all
            unusable.
        CheckpointCorrupt: The checkpoint that was named is damaged or does not fit.
        StoreError: A store that must be asked refuses or stays away.
    """
    if setting == "never":
        _refuse_existing(local, remote)
        logger.info("starting at step 0: resume_from_checkpoint=never, %s holds nothing", local)
        return None
    if setting == "auto":
        return _newest_usable(local, refuse, remote)
    if names_store(setting):
        return _from_address(local, setting, refuse, remote)
    return _exactly(local, setting, refuse)


def list_checkpoints(folder: Path) -> list[CheckpointStatus]:
    """The checkpoints in `folder`, oldest first, then best and final; reads manifests only."""
    return [_status(folder / name, read_manifest) for name in _names(LocalStore(folder))]


def verify_checkpoints(folder: Path) -> list[CheckpointStatus]:
    """The same list after reading every byte."""
    return [_status(folder / name, verify_folder) for name in _names(LocalStore(folder))]


def _refuse_existing(local: LocalStore, remote: Store | None) -> None:
    existing, holder, remedy = _names(local), str(local), "output_dir, remove that folder"
    if remote is not None and not existing:
        existing, holder = [each.name for each in remote.list()], str(remote)
        remedy = "checkpoint_store, delete what is there"
    if existing:
        raise ConfigError(
            f"resume_from_checkpoint=never, but {holder} already holds {', '.join(existing)}; "
            f"choose another {remedy}, or set resume_from_checkpoint=auto"
        )


def _newest_usable(local: LocalStore, refuse: Refusal, remote: Store | None) -> ResumePoint | None:
    holders = f"{local} and {remote}" if remote else str(local)
    candidates = _candidates(local, refuse, remote)
    found, problems = _first_good(candidates)
    if problems and found is None:
        raise CheckpointNotFound(
            f"{holders} hold{'' if remote else 's'} {len(problems)} checkpoints and none can be "
            f"used ({'; '.join(problems)}); restore one of them, or remove them to start at step 0"
        )
    if found is None:
        verb = "hold" if remote else "holds"
        logger.info("starting at step 0: %s %s no checkpoint", holders, verb)
    return found


def _candidates(local: LocalStore, refuse: Refusal, remote: Store | None) -> list[_Candidate]:
    """All that may be resumed from, newest first; of equal steps the one that lies here."""
    found = [_local_candidate(local, name, refuse) for name in local.list()]
    if remote is not None:
        try:
            ahead = checkpoints_ahead(remote, local)
        except StoreError as error:
            # One that has worked for this run before does not hold it up.
            is_known = remembered_writer(local.root, str(remote)) is not None
            if not found or not (error.is_temporary or is_known):
                then = "go on without it" if found else "start at step 0"
                raise StoreError(
                    f"cannot tell whether there is something to resume: {error.reason}",
                    f"{error.remedy}; or set checkpoint_store to null to {then}",
                    is_temporary=error.is_temporary,
                ) from None
            logger.warning("resuming without looking into %s: %s", remote, error)
        else:
            found += [_stored_candidate(remote, each, local, refuse) for each in ahead]
    return sorted(found, key=lambda each: -each.step)


def _local_candidate(local: LocalStore, name: str, refuse: Refusal) -> _Candidate:
    def take(why: str) -> ResumePoint:
        return _verified(local.get(name), refuse, why)

    return _Candidate(parse_step(name) or 0, take)


def _stored_candidate(
    store: Store, stored: Stored, local: LocalStore, refuse: Refusal
) -> _Candidate:
    def take(why: str) -> ResumePoint:
        manifest = fetch(store, stored, local, refuse)
        logger.info("resuming at step %d from %s/%s: %s", manifest.step, store, stored.name, why)
        return ResumePoint(local.root / stored.local_name, manifest)

    return _Candidate(stored.step, take)


def _first_good(candidates: Sequence[_Candidate]) -> tuple[ResumePoint | None, list[str]]:
    """The first candidate that verifies, and what was wrong with those before it."""
    problems: list[str] = []
    for candidate in candidates:
        try:
            return candidate.take(_why_newest(problems)), problems
        except (CheckpointCorrupt, CheckpointNotFound, StoreError) as error:
            logger.warning("not resuming from %s", error)
            problems.append(str(error))
    return None, problems


def _from_address(
    local: LocalStore, setting: str, refuse: Refusal, remote: Store | None
) -> ResumePoint | None:
    """One checkpoint of a store, or the newest of one for a run that has none of its own."""
    store, named = find_named(setting)
    if named is not None:
        why = "named by resume_from_checkpoint"
        return _stored_candidate(store, named, local, refuse).take(why)
    if _candidates(local, refuse, remote):
        return _newest_usable(local, refuse, remote)
    found, problems = _first_good(_candidates(local, refuse, store))
    if found is None:
        faults = f": {'; '.join(problems)}" if problems else ""
        raise CheckpointNotFound(
            f"resume_from_checkpoint: {store} holds no checkpoint that can be resumed{faults}; "
            "best and final have no optimizer state: to start from such a model set model_name"
        )
    return found


def _exactly(store: LocalStore, setting: str, refuse: Refusal) -> ResumePoint:
    path = expand_home(setting)
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
        hint = "give auto, never, the folder of one checkpoint, or a store"
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


def _names(store: LocalStore) -> list[str]:
    return [*store.list(), *(name for name in (BEST, FINAL) if store.exists(name))]


def _status(path: Path, check: Callable[[Path], Manifest]) -> CheckpointStatus:
    try:
        return CheckpointStatus(path, check(path), None)
    except CheckpointCorrupt as error:
        return CheckpointStatus(path, None, error.reason)
