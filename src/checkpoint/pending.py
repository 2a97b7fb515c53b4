"""What a finished run still owes its store: the uploads that its last start had no time for."""

from __future__ import annotations

import logging
from pathlib import Path

from src.checkpoint.store import LocalStore
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.url import parse_store_url
from src.checkpoint.upload_record import is_complete
from src.checkpoint.uploads import FINISHED_SECONDS, Uploads

logger = logging.getLogger(__name__)


def finish_uploads(
    folder: Path, address: str, *, keep_last: int, limit_seconds: float | None = None
) -> bool:
    """Uploads what `folder` has and the store lacks, and says how it ended.

    Asks no network when the folder's record says that the store has everything.

    Args:
        folder: Of a finished run.
        address: Of its store.
        keep_last: How many of the newest checkpoints the store keeps.
        limit_seconds: How long to wait; None means FINISHED_SECONDS.

    Returns:
        Whether the store has everything. What is in its way has been logged with the remedy.

    Raises:
        ConfigError: The address is wrong, a package or credentials are missing.
        CheckpointError: Another process writes to the folder.
    """
    local = LocalStore(folder)
    if is_complete(local, str(parse_store_url(address))):
        return True
    store = open_store(address)
    logger.info("looking whether %s has everything of %s", store, local)
    local.claim()
    try:
        uploads = Uploads(store, local, keep_last=keep_last)
        uploads.notify()
        is_done = uploads.wait(FINISHED_SECONDS if limit_seconds is None else limit_seconds)
        uploads.close(0)
    finally:
        local.release()
    if is_done:
        logger.info("%s has everything of %s", store, local)
    return is_done
