"""Letting go of checkpoints in the run's own folder: the surplus, and lines the run has left."""

from __future__ import annotations

import logging
from collections.abc import Collection

from src.checkpoint.manifest import read_manifest
from src.checkpoint.policy import checkpoints_to_delete
from src.checkpoint.store import BEST, LocalStore, parse_step
from src.errors import CheckpointCorrupt

logger = logging.getLogger(__name__)


def leave_later_line(store: LocalStore, step: int) -> None:
    """Sets aside checkpoints of later steps: the run went back before them.

    Left in the list, one of them would be taken for the newest: resumed from, and kept in place of
    what is saved now.
    """
    for name in store.list():
        if (parse_step(name) or 0) > step:
            aside = store.abandon(name)
            logger.warning(
                "renamed %s to %s: the run went back before it and is at step %d now",
                name,
                aside,
                step,
            )


def delete_surplus(
    store: LocalStore, *, keep_last: int, keep_every: int | None, spared: Collection[str] = ()
) -> list[str]:
    """Deletes what the policy lets go, and returns the names.

    Args:
        store: The run's folder.
        keep_last: How many of the newest stay.
        keep_every: Multiples of this many steps stay for good.
        spared: Names that stay for now, because they are being uploaded.
    """
    steps = {name: parse_step(name) for name in store.list()}
    surplus = checkpoints_to_delete(
        (step for name, step in steps.items() if step is not None and store.exists(name)),
        keep_last=keep_last,
        best_step=_best_step(store),
        keep_every=keep_every,
    )
    # Without a manifest: the rest of a deletion that was cut off.
    gone = [
        name
        for name, step in steps.items()
        if name not in spared and (step in surplus or not store.exists(name))
    ]
    for name in gone:
        store.delete(name)
    return gone


def _best_step(store: LocalStore) -> int | None:
    try:
        return read_manifest(store.root / BEST).step
    except CheckpointCorrupt:  # absent, or damaged: then it says nothing about what to keep
        return None
