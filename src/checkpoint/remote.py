"""Resuming from a store: which of its checkpoints count, and fetching one into the run's folder.

A fetched checkpoint becomes one of the run's own, `best` comes along, and from there on nothing
knows that the disk was empty.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from src.checkpoint.manifest import Manifest
from src.checkpoint.store import BEST, LocalStore, parse_step
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.store import KINDS, Store, Stored, newest_line, parse_stored
from src.checkpoint.stores.url import parse_store_url
from src.checkpoint.upload_record import remembered_writer
from src.errors import CheckpointCorrupt, CheckpointError, CheckpointNotFound
from src.units import format_bytes, format_seconds

logger = logging.getLogger(__name__)

Refusal = Callable[[Manifest], "str | None"]


def checkpoints_ahead(store: Store, local: LocalStore) -> list[Stored]:
    """The store's checkpoints that this run's folder does not have, newest first.

    Where this folder was the last one to write there, what the store has beyond the folder's newest
    is a line that the run has left.

    Raises:
        StoreError: If the store refuses or stays away.
    """
    stored = store.list()
    line = newest_line(stored)
    steps = [parse_step(name) or 0 for name in local.list()]
    newest_writer = max((each.generation for each in stored), default=0)
    if steps and remembered_writer(local.root, str(store)) == newest_writer:
        line = [each for each in line if each.step <= max(steps)]
    return line


def fetch(store: Store, stored: Stored, local: LocalStore, refuse: Refusal) -> Manifest:
    """Makes a stored checkpoint one of the run's own, with `best` where that is missing.

    Raises:
        CheckpointCorrupt: If it is damaged or does not fit this run; the folder has not changed.
        CheckpointError: If the disk or the store refuses.
    """
    started = time.monotonic()
    address = f"{store}/{stored.name}"
    refusal = refuse(store.read_manifest(stored))
    if refusal:
        raise CheckpointCorrupt(address, refusal)
    target = local.root / stored.local_name
    manifest = store.fetch(stored, target)
    logger.info(
        "restored %s to %s (%d files, %s, verified in %s)",
        address,
        target,
        len(manifest.files),
        format_bytes(manifest.total_bytes),
        format_seconds(time.monotonic() - started),
    )
    _fetch_best(store, manifest.step, local)
    return manifest


def find_named(address: str) -> tuple[Store, Stored | None]:
    """The store of an address, and the checkpoint in it where the address names one.

    Raises:
        ConfigError: If the address is wrong.
        CheckpointNotFound: If the store holds none of this name.
        StoreError: If the store refuses or stays away.
    """
    url = parse_store_url(address)
    name = url.prefix.rpartition("/")[2]
    if parse_stored(name) is None and parse_step(name) is None and name not in KINDS[1:]:
        return open_store(url), None
    store = open_store(url.parent())
    held = sorted(store.list(), reverse=True)
    for stored in held:
        if name in (stored.name, stored.local_name):
            return store, stored
    names = ", ".join(each.name for each in held) or "none"
    raise CheckpointNotFound(f"{store} holds no {name}; its checkpoints: {names}")


def _fetch_best(store: Store, step: int, local: LocalStore) -> None:
    """Brings the best model so far along; without it the run goes on, and says so."""
    if local.exists(BEST):
        return
    best = [each for each in store.list() if each.kind == BEST and each.step <= step]
    if not best:
        return
    try:
        store.fetch(best[-1], local.root / BEST)
    except CheckpointError as error:
        logger.warning("going on without the best model so far: %s", error)
    else:
        logger.info("restored %s/%s to %s", store, best[-1].name, local.root / BEST)
