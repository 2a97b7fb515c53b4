"""What a run's folder remembers of its store: `.store.json`.

    store, address   how messages call the store; what opens it again
    writer           which writer of the store this folder is
    complete         kind → SHA-256 of the manifest of the folder that was the newest of its kind
                     when the store had everything; absent before that

So a restart on the same machine goes on as the same writer and finds its half-sent files, and a
finished run tells without a network whether it still owes the store something.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.checkpoint.manifest import Manifest, read_manifest
from src.checkpoint.store import LocalStore, parse_step
from src.checkpoint.stores.store import BEST, CHECKPOINT, FINAL, Store
from src.errors import CheckpointCorrupt
from src.files import write_text

RECORD_FILE = ".store.json"


@dataclass(frozen=True)
class Target:
    """A folder of the run that its store is to have."""

    kind: str
    path: Path
    manifest: Manifest


def targets(folder: LocalStore, wants: Callable[[str, int], bool]) -> list[Target]:
    """What a store is to have of `folder`: the newest checkpoint it wants, then final and best.

    Args:
        folder: Of the run.
        wants: Kind and step → whether the store keeps such a folder.
    """
    wanted = [
        name
        for name in folder.list()
        if folder.exists(name) and wants(CHECKPOINT, parse_step(name) or 0)
    ]
    newest = wanted[-1] if wanted else "none"
    found = []
    for kind, name in ((CHECKPOINT, newest), (FINAL, FINAL), (BEST, BEST)):
        path = folder.root / name
        try:
            target = Target(kind, path, read_manifest(path))
        except CheckpointCorrupt:  # there is none, or it was replaced this very moment
            continue
        if wants(kind, target.manifest.step):
            found.append(target)
    return found


def remembered_writer(folder: Path, store: str) -> int | None:
    """Which writer of `store` this folder is; None if it never was one."""
    content = _read(folder)
    try:
        return int(content["writer"]) if content["store"] == store else None
    except (LookupError, TypeError, ValueError):
        return None


def remembered_store(folder: Path) -> str | None:
    """Address of the store that the run in this folder uploads to; None if there is none."""
    address = _read(folder).get("address")
    return None if address is None else str(address)


def is_complete(folder: LocalStore, store: str) -> bool:
    """Whether the record says that `store` has everything of this folder; asks no network."""
    content = _read(folder.root)
    complete = content.get("complete")
    if content.get("store") != store or not isinstance(complete, dict):
        return False
    # A store of milestones alone was given no checkpoint.
    wanted = targets(folder, lambda kind, _: kind != CHECKPOINT or CHECKPOINT in complete)
    return complete == _hashes({target.kind: target.manifest for target in wanted})


def remember(
    folder: LocalStore,
    store: Store,
    writer: int,
    *,
    complete: Mapping[str, Manifest] | None = None,
) -> None:
    """Writes the record.

    Args:
        folder: Of the run.
        store: Its store.
        writer: Which writer of the store the folder is.
        complete: Kind → manifest of what the store has, if nothing is missing there.
    """
    content: dict[str, Any] = {"store": str(store), "address": store.address, "writer": writer}
    if complete is not None:
        content["complete"] = _hashes(complete)
    write_text(folder.root / RECORD_FILE, json.dumps(content) + "\n")


def _hashes(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    return {
        kind: hashlib.sha256(manifest.to_json().encode()).hexdigest()
        for kind, manifest in manifests.items()
    }


def _read(folder: Path) -> Mapping[str, Any]:
    try:
        content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
