"""`run.py checkpoints`: what a folder or store holds, whether it is whole, and what can go."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from src.checkpoint.manifest import Manifest
from src.checkpoint.policy import checkpoints_to_delete
from src.checkpoint.resume import CheckpointStatus, list_checkpoints, verify_checkpoints
from src.checkpoint.store import LocalStore, parse_step, step_name
from src.checkpoint.stores.open import names_store, open_store
from src.checkpoint.stores.store import Store, Stored, surplus
from src.checkpoint.stores.url import parse_store_url
from src.checkpoint.upload_record import remembered_store
from src.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    CheckpointCorrupt,
    CheckpointNotFound,
    ConfigError,
    StoreError,
)
from src.units import format_bytes

logger = logging.getLogger(__name__)


def show(folders: Sequence[Path], *, verify: bool, as_json: bool) -> int:
    """Prints the checkpoints of folders and stores; returns 0, or 1 when one is damaged.

    Args:
        folders: Of runs, or addresses of stores. Where a run uploads to a store, that is listed,
            too; it is verified only when it is named, since that downloads everything.
        verify: Whether every byte is read, or manifests only.
        as_json: One JSON object instead of tables.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        store = _store_at(folder)
        if store is not None:
            found[str(store)] = _describe_store(store, verify=verify)
            continue
        check = verify_checkpoints if verify else list_checkpoints
        found[str(folder)] = [describe(status) for status in check(folder)]
        if not verify and (address := remembered_store(folder)):
            found |= _try_to_list(address)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        good = "whole" if verify else "not checked"
        print("\n\n".join(render_table(name, found[name], good=good) for name in found))
    damaged = any(entry["problem"] for entries in found.values() for entry in entries)
    return EXIT_FAILED if damaged else EXIT_DONE


def describe(status: CheckpointStatus) -> dict[str, Any]:
    """One checkpoint as a JSON object: name, step, bytes, created_at, parent, problem."""
    manifest = status.manifest
    return {
        "name": status.path.name,
        "path": str(status.path),
        "step": manifest.step if manifest else parse_step(status.path.name),
        "bytes": manifest.total_bytes if manifest else None,
        "created_at": manifest.facts.get("created_at") if manifest else None,
        "parent": manifest.parent if manifest else None,
        "problem": status.problem,
    }


def render_table(name: str, entries: Sequence[dict[str, Any]], *, good: str) -> str:
    """The checkpoints of a folder or store as lines for the terminal.

    Args:
        name: Of the folder or store.
        entries: Its checkpoints, as `describe` gives them.
        good: What to say of one without a problem.
    """
    rows = [
        (
            entry["name"],
            str(entry["step"]),
            "" if entry["bytes"] is None else format_bytes(entry["bytes"]),
            _local_time(entry["created_at"]),
            entry["problem"] or good,
        )
        for entry in entries
    ]
    header = ("checkpoint", "step", "size", "saved", "state")
    return "\n".join([name, *_aligned([header, *rows])])


def plan_prune(folder: Path, *, keep_last: int, keep_every: int | None) -> list[str]:
    """Names of the checkpoints that can go, oldest first.

    Every byte is read: only whole checkpoints count as kept, so that a damaged newest one never
    costs the last good one. Damaged ones are left for somebody to look at. In a store manifests
    alone are read, since the bytes would have to be downloaded.

    Raises:
        StoreError: If the store refuses or stays away.
        ValueError: If keep_last or keep_every is below 1.
    """
    store = _store_at(folder)
    if store is not None:
        is_kept = _multiples_of(keep_every)
        whole = [stored for stored in store.list() if _manifest_of(store, stored)]
        return [each.name for each in surplus(whole, keep_last=keep_last, is_kept=is_kept)]
    steps = [
        status.manifest.step
        for status in verify_checkpoints(folder)
        if status.manifest is not None and parse_step(status.path.name) is not None
    ]
    gone = checkpoints_to_delete(steps, keep_last=keep_last, keep_every=keep_every)
    return [step_name(step) for step in gone]


def delete(folder: Path, names: Iterable[str]) -> None:
    """Deletes checkpoints while no run writes there.

    A store cannot tell; there only what `plan_prune` names should be deleted, which no run needs.

    Raises:
        CheckpointError: If a run writes to the folder.
        StoreError: If the store refuses or stays away.
    """
    store = _store_at(folder)
    if store is not None:
        chosen = set(names)
        for stored in store.list():
            if stored.name in chosen:
                store.delete(stored)
        return
    local = LocalStore(folder)
    local.claim()
    try:
        for name in names:
            local.delete(name)
    finally:
        local.release()


def run_folders(folders: Iterable[Path]) -> list[Path]:
    """Those of the folders and stores that hold checkpoints.

    Raises:
        CheckpointNotFound: If none does.
        ConfigError: If the address of a store is wrong.
        StoreError: If a store refuses or stays away.
    """
    asked = list(folders)
    found = [folder for folder in asked if _holds_checkpoints(folder)]
    if not found:
        names = " and ".join(map(display_name, asked))
        raise CheckpointNotFound(
            f"no checkpoints in {names}; name the output_dir of a run, or its store"
        )
    return found


def _holds_checkpoints(folder: Path) -> bool:
    store = _store_at(folder)
    if store is not None:
        return bool(store.list())
    return bool(list_checkpoints(folder) or remembered_store(folder))


def display_name(folder: Path) -> str:
    """What messages call a folder or store: an address that went through a path as it was."""
    text = str(folder)
    return str(parse_store_url(text)) if names_store(text) else text


def _store_at(folder: Path) -> Store | None:
    """The store whose address came in as a path, which makes one of its two slashes."""
    address = str(folder)
    return open_store(address) if names_store(address) else None


def _describe_store(store: Store, *, verify: bool) -> list[dict[str, Any]]:
    check = store.verify if verify else store.read_manifest
    entries = []
    for stored in store.list():
        manifest, problem = None, None
        try:
            manifest = check(stored)
        except CheckpointCorrupt as error:
            problem = error.reason
        entries.append(
            {
                "name": stored.name,
                "path": f"{store}/{stored.name}",
                "step": stored.step,
                "bytes": manifest.total_bytes if manifest else None,
                "created_at": manifest.facts.get("created_at") if manifest else None,
                "parent": manifest.parent if manifest else None,
                "problem": problem,
            }
        )
    return entries


def _try_to_list(address: str) -> dict[str, list[dict[str, Any]]]:
    """The store a run uploads to; one that cannot be asked does not spoil the listing."""
    try:
        store = open_store(address)
        return {str(store): _describe_store(store, verify=False)}
    except (ConfigError, StoreError) as error:
        logger.warning("not listing %s: %s", address, error)
        return {}


def _manifest_of(store: Store, stored: Stored) -> Manifest | None:
    try:
        return store.read_manifest(stored)
    except CheckpointCorrupt:
        return None


def _multiples_of(every: int | None) -> Callable[[int], bool]:
    return lambda step: every is not None and step % every == 0


def _local_time(text: str | None) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M") if text else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
