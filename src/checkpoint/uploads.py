"""Uploading behind the training: a store is kept up to date with the run's folder.

One thread looks at what the folder holds and the store lacks (the newest checkpoint, then `final`
and `best`) and uploads it, one folder at a time. It compares instead of queueing: after a dead
network or a kill nothing has to be remembered, and what rotation has deleted meanwhile is not
missed. Nothing here raises into the training; trouble is said once, and again when it is over.

What the folder remembers of its store is in `src.checkpoint.upload_record`.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from src.checkpoint.manifest import Manifest, read_manifest
from src.checkpoint.store import LocalStore
from src.checkpoint.stores.store import CHECKPOINT, Fenced, Store
from src.checkpoint.stores.transfer import Transfer
from src.checkpoint.upload_record import Target, remember, remembered_writer, targets
from src.errors import CheckpointCorrupt, StoreError
from src.units import format_bytes, format_seconds

INTERRUPTED_SECONDS = 240.0
"""How long an interrupted run waits for its last upload: a reclaimed machine has 300 s in all."""
FINISHED_SECONDS = 1800.0
"""How long a finished run waits for its last upload."""

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_TO_END = 5.0

logger = logging.getLogger(__name__)


class Uploads:
    """Keeps `store` up to date with `folder`.

    Args:
        store: Where to.
        folder: The run's own folder, claimed by this process.
        keep_last: How many of the newest checkpoints the store keeps.
        first_pause_seconds: Before a failed upload is tried again; doubled up to a minute.
    """

    def __init__(
        self,
        store: Store,
        folder: LocalStore,
        *,
        keep_last: int,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._folder = folder
        self._keep_last = keep_last
        self._first_pause = first_pause_seconds
        self._generation: int | None = None
        self._done: dict[str, Manifest] = {}
        self._damaged: list[Manifest] = []
        self._last_put: float | None = None
        self._trouble: str | None = None
        self._current: Transfer | None = None
        self._busy = ""
        # Everything below is shared with the training thread, under this condition.
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_wanted = self._is_closing = self._is_hopeless = self._is_fenced = False
        self._is_idle = True
        self._waiting = 0

    @property
    def busy(self) -> tuple[str, ...]:
        """Name of the folder being uploaded, which rotation has to spare."""
        return (self._busy,)

    def open(self) -> None:
        """Becomes the store's writer before anything is trained.

        So a store that can never be used is found now, and not after the first save: one without
        the right to write, or that cannot tell two writers apart.

        Raises:
            StoreError: The store refuses for a reason that does not pass by itself, and has never
                taken anything of this run. One that has worked before does not stop a run.
        """
        if self._thread is not None or self._generation is not None:
            return
        known = remembered_writer(self._folder.root, str(self._store))
        try:
            self._claim(known)
        except StoreError as error:
            if known is None and not error.is_temporary:
                raise
            # The thread meets the same trouble at the first save, says it, and tries again.

    def notify(self) -> None:
        """Says that the folder may hold something new; returns at once."""
        with self._changed:
            if self._is_fenced:
                return
            self._is_wanted, self._is_idle, self._is_hopeless = True, False, False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, limit_seconds: float) -> bool:
        """Waits until the store has everything; logs how it goes, and how it ended.

        Returns:
            Whether it has. It has not when the time is over, or when the store refuses for a
            reason that does not pass by itself.
        """
        ends = time.monotonic() + limit_seconds
        with self._changed:
            self._waiting += 1
            if not self._is_idle:  # tries again now, whatever pause it is in
                self._is_wanted, self._is_hopeless = True, False
            self._changed.notify_all()
            while not self._is_over and (left := ends - time.monotonic()) > 0:
                if not self._changed.wait_for(
                    lambda: self._is_over, timeout=min(left, _SECONDS_BETWEEN_LINES)
                ):
                    logger.info(
                        "waiting for the upload, %s at most: %s",
                        format_seconds(max(0.0, left - _SECONDS_BETWEEN_LINES)),
                        self._current or self._store,
                    )
            self._waiting -= 1
            is_done = self._is_idle
        if not is_done:
            logger.warning(
                "%s does not have all of %s after waiting: it is on this machine only; copy it "
                "before the machine goes, or start the run here again, which uploads it",
                self._store,
                self._folder,
            )
        return is_done

    def close(self, limit_seconds: float) -> None:
        """Waits as `wait` does, unless the limit is 0, and ends the thread."""
        if self._thread is None:
            return
        if limit_seconds > 0:
            self.wait(limit_seconds)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(_SECONDS_TO_END)  # a request in flight may outlast it, as a daemon

    @property
    def _is_over(self) -> bool:
        """Whether waiting longer is of no use."""
        return self._is_idle or self._is_hopeless or self._is_fenced

    def _run(self) -> None:
        pause = self._first_pause
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted or self._is_closing)
                if self._is_closing:
                    return
                self._is_wanted = False
            trouble = self._catch_up()
            with self._changed:
                self._is_idle = trouble is None and not self._is_wanted
                self._is_hopeless = trouble is not None and not trouble.is_temporary
                self._changed.notify_all()
                if trouble is None:
                    pause = self._first_pause
                    continue
                self._is_fenced = isinstance(trouble, Fenced)
                if self._is_fenced:
                    self._changed.notify_all()
                    return
                self._changed.wait_for(
                    lambda: self._is_closing or self._is_wanted,
                    timeout=self._first_pause if self._waiting else pause,
                )
                self._is_wanted = True
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _catch_up(self) -> StoreError | None:
        """Uploads until nothing is missing; returns what is in the way, having said so once."""
        try:
            while not self._is_closing and (target := self._next_target()) is not None:
                self._keep_distance()
                self._upload(target)
        except StoreError as error:
            trouble = error
        except Exception as error:  # noqa: BLE001  no fault of an upload may end a training
            trouble = StoreError(f"uploading to {self._store} failed: {error!r}", "report this")
        else:
            self._note_complete()
            return None
        if self._trouble != str(trouble):
            self._trouble = str(trouble)
            again = "training goes on, and uploading is tried again"
            logger.warning("%s", trouble if isinstance(trouble, Fenced) else f"{trouble}; {again}")
        return trouble

    def _note_complete(self) -> None:
        if self._trouble is not None:
            logger.info("%s is reached again and has everything", self._store)
            self._trouble = None
        if self._generation is not None and not self._is_closing and not self._damaged:
            with suppress(OSError):  # on a full disk the next start compares
                remember(self._folder, self._store, self._generation, complete=self._done)

    def _next_target(self) -> Target | None:
        for target in targets(self._folder, self._store.wants):
            if (
                self._done.get(target.kind) != target.manifest
                and target.manifest not in self._damaged
                and self._is_missing(target)
            ):
                return target
        return None

    def _is_missing(self, target: Target) -> bool:
        """Whether the store lacks it; becomes a new writer where the run has gone back."""
        if self._generation is None:
            self._claim(remembered_writer(self._folder.root, str(self._store)))
        step = target.manifest.step
        stored = [each for each in self._store.list() if each.kind == target.kind]
        if any(
            each.step == step and self._store.read_manifest(each) == target.manifest
            for each in stored
        ):
            self._done[target.kind] = target.manifest
            return False
        own_steps = [each.step for each in stored if each.generation == self._generation]
        if step in own_steps or (target.kind == CHECKPOINT and max(own_steps, default=0) > step):
            self._claim(None)
        return True

    def _claim(self, previous: int | None) -> None:
        self._generation = self._store.claim(previous)
        remember(self._folder, self._store, self._generation)

    def _keep_distance(self) -> None:
        """Lets the time pass that the store wants between folders, unless somebody waits."""
        if self._last_put is None:
            return
        left = self._last_put + self._store.seconds_between_puts - time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing, timeout=max(0, left))

    def _upload(self, target: Target) -> None:
        total = target.manifest.total_bytes
        self._busy = target.path.name
        self._current = Transfer(f"uploading {target.path.name}", total, is_logged=False)
        started = time.monotonic()
        try:
            stored = self._store.put(target.path, target.kind, self._current.add)
        except (CheckpointCorrupt, OSError) as error:
            self._note_lost(target, error)
            return
        finally:
            self._busy, self._current = "", None
        self._last_put = time.monotonic()
        self._done[target.kind] = target.manifest
        logger.info(
            "uploaded %s to %s/%s (%s in %s)",
            target.path.name,
            self._store,
            stored.name,
            format_bytes(total),
            format_seconds(self._last_put - started),
        )
        self._store.rotate(keep_last=self._keep_last)

    def _note_lost(self, target: Target, error: Exception) -> None:
        """A folder that changed below the upload is looked at anew; a damaged one is left."""
        try:
            is_same = read_manifest(target.path) == target.manifest
        except CheckpointCorrupt:
            is_same = False
        if is_same:
            self._damaged.append(target.manifest)
            logger.error("not uploading %s: %s", target.path.name, error)
