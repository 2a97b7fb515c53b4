"""`run.py checkpoints`: what a folder holds, whether it is whole, and what can go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from src.checkpoint.policy import checkpoints_to_delete
from src.checkpoint.resume import CheckpointStatus, list_checkpoints, verify_checkpoints
from src.checkpoint.store import LocalStore, parse_step, step_name
from src.errors import EXIT_DONE, EXIT_FAILED, CheckpointNotFound
from src.units import format_bytes


def show(folders: Sequence[Path], *, verify: bool, as_json: bool) -> int:
    """Prints the checkpoints of folders; returns 0, or 1 when one is damaged.

    Args:
        folders: Of runs.
        verify: Whether every byte is read, or manifests only.
        as_json: One JSON object instead of tables.
    """
    check = verify_checkpoints if verify else list_checkpoints
    found = {folder: check(folder) for folder in folders}
    if as_json:
        content = {str(folder): [describe(one) for one in found[folder]] for folder in folders}
        print(json.dumps(content, ensure_ascii=False))
    else:
        good = "whole" if verify else "not checked"
        print("\n\n".join(render_table(folder, found[folder], good=good) for folder in folders))
    damaged = any(status.problem for statuses in found.values() for status in statuses)
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


def render_table(folder: Path, statuses: Sequence[CheckpointStatus], *, good: str) -> str:
    """The checkpoints of a folder as lines for the terminal.

    Args:
        folder: Of the run.
        statuses: Its checkpoints.
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
        for entry in map(describe, statuses)
    ]
    header = ("checkpoint", "step", "size", "saved", "state")
    return "\n".join([str(folder), *_aligned([header, *rows])])


def plan_prune(folder: Path, *, keep_last: int, keep_every: int | None) -> list[str]:
    """Names of the checkpoints that can go, oldest first.

    Every byte is read: only whole checkpoints count as kept, so that a damaged newest one never
    costs the last good one. Damaged ones are left for somebody to look at.

    Raises:
        ValueError: If keep_last or keep_every is below 1.
    """
    steps = [
        status.manifest.step
        for status in verify_checkpoints(folder)
        if status.manifest is not None and parse_step(status.path.name) is not None
    ]
    surplus = checkpoints_to_delete(steps, keep_last=keep_last, keep_every=keep_every)
    return [step_name(step) for step in surplus]


def delete(folder: Path, names: Iterable[str]) -> None:
    """Deletes checkpoints while no run writes there.

    Raises:
        CheckpointError: If a run does.
    """
    store = LocalStore(folder)
    store.claim()
    try:
        for name in names:
            store.delete(name)
    finally:
        store.release()


def run_folders(folders: Iterable[Path]) -> list[Path]:
    """Those of the folders that hold checkpoints.

    Raises:
        CheckpointNotFound: If none does.
    """
    asked = list(folders)
    found = [folder for folder in asked if list_checkpoints(folder)]
    if not found:
        names = " and ".join(map(str, asked))
        raise CheckpointNotFound(f"no checkpoints in {names}; name the output_dir of a run")
    return found


def _local_time(text: str | None) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M") if text else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
