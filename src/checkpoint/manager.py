"""Saving, keeping and finding the checkpoints of one run.

The training thread hands over tensors that are already in host memory and goes on; one background
thread writes, hashes, commits, links `best` and deletes what the policy lets go. At most one save
is in flight. One that fails is logged, recorded and does not stop training: the checkpoint before
it is still whole. With a store, what is saved is uploaded behind that, by `src.checkpoint.uploads`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from src.checkpoint.format import TensorFiles, write_folder, write_rank_file
from src.checkpoint.manifest import Manifest
from src.checkpoint.policy import checkpoints_to_delete
from src.checkpoint.resume import ResumePoint, find_resume
from src.checkpoint.rotation import delete_surplus, leave_later_line
from src.checkpoint.store import BEST, FINAL, LocalStore, step_name
from src.checkpoint.stores.store import Store
from src.checkpoint.uploads import FINISHED_SECONDS, INTERRUPTED_SECONDS, Uploads
from src.errors import CheckpointError, Interrupted, LinguaBridgeError
from src.units import format_bytes, format_seconds

OPTIMIZER_PREFIX = "optimizer-"
"""Files whose name starts so are needed to continue training, not to use the model."""

_WORTH_MENTIONING_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SaveFailure:
    """Something the background thread could not do.

    Attributes:
        step: Optimizer step of the checkpoint.
        reason: One sentence with the cause and what is still good.
    """

    step: int
    reason: str


@dataclass(frozen=True)
class _Action:
    """One thing for the background thread; `name` completes "could not … <checkpoint>"."""

    name: str
    run: Callable[[], object]


class CheckpointManager:
    """The checkpoints in `folder`: `checkpoint-00001200` …, `best` and `final`.

    Use it as a context manager, or call `close`: both wait for the save in flight and, up to a
    limit, for its upload.

    On ranks other than the main one `save` only adds that rank's tensor files, and everything
    else does nothing. Where a rank has none, as in data parallel training, it passes none.

    Attributes:
        failures: What could not be saved so far, oldest first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_last: int,
        keep_every: int | None = None,
        barrier: Callable[[], object] = lambda: None,
        is_main: bool = True,
        store: Store | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Claims the folder for this process and clears what a killed one left.

        Args:
            folder: Of the run; made if missing.
            keep_last: How many of the newest checkpoints stay.
            keep_every: Checkpoints at multiples of this many steps stay for good.
            barrier: Returns when every rank has called it, twice per save. It is called from the
                background thread, so it must not be a collective of the group that trains.
            is_main: Whether this rank commits, rotates, clears and uploads.
            store: What is saved is uploaded to it, and looked for there.
            clock: Gives the manifest its `created_at`, UTC.

        Raises:
            CheckpointError: If another process saves there, or the folder cannot be written.
            ValueError: If keep_last or keep_every is below 1.
        """
        checkpoints_to_delete((), keep_last=keep_last, keep_every=keep_every)  # checks the numbers
        self.failures: list[SaveFailure] = []
        self._store = LocalStore(folder)
        self._keep_last = keep_last
        self._keep_every = keep_every
        self._barrier = barrier
        self._is_main = is_main
        self._clock = clock
        self._parent: str | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[SaveFailure | None] | None = None
        self._remote = store if is_main else None
        self._uploads = (
            Uploads(self._remote, self._store, keep_last=keep_last) if self._remote else None
        )
        self._has_begun = False
        if is_main:
            self._store.claim()
            self._store.recover()

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, Exception) and not issubclass(kind, Interrupted):
            self.close(upload_seconds=INTERRUPTED_SECONDS)
        else:  # an interrupted run has waited when it saved; who presses Ctrl-C twice, has enough
            self.close(upload_seconds=0)

    def close(self, *, upload_seconds: float | None = None) -> None:
        """Waits for the save in flight and lets other processes write to the folder.

        Args:
            upload_seconds: How long to wait for the upload of what is saved; None means
                FINISHED_SECONDS.
        """
        self._executor.shutdown(wait=True)
        if self._uploads and self._has_begun:
            self._uploads.notify()  # `final` of a run with LoRA is written past this class
            self._uploads.close(FINISHED_SECONDS if upload_seconds is None else upload_seconds)
        self._store.release()

    def wait(self) -> None:
        """Returns when nothing is in flight any more; `failures` tells how it went."""
        if self._pending is None:
            return
        started = time.monotonic()
        self._pending.result()
        waited = time.monotonic() - started
        if waited > _WORTH_MENTIONING_SECONDS:
            logger.info("waited %s for the checkpoint in flight", format_seconds(waited))

    def save(
        self,
        step: int,
        *,
        tensors: TensorFiles,
        documents: Mapping[str, str],
        facts: Mapping[str, object],
        awaited: Collection[str] = (),
        is_best: bool = False,
        blocking: bool = False,
    ) -> None:
        """Starts to save a checkpoint, after waiting for the one before.

        The tensors are let go when they are written. Who calls `wait` before copying them out of
        the model never holds two copies, and may copy into the same `HostBuffers` each time.

        A checkpoint of the same step is replaced. Ones of later steps belong to a line that the
        run has left (it was resumed from an older one): they are renamed to `….abandoned`.

        Args:
            step: Optimizer steps done.
            tensors: File name → tensor name → tensor; not to be changed until `wait` returns.
            documents: File name → text.
            facts: For the manifest; `created_at` is added.
            awaited: Files that other ranks add.
            is_best: Whether `best` becomes this checkpoint.
            blocking: Returns when the checkpoint is on disk and in the store, but does not wait
                longer than INTERRUPTED_SECONDS for the store.

        Raises:
            CheckpointError: Only with `blocking`: the checkpoint was not saved.
            TypeError, ValueError: If the facts cannot be written as JSON.
        """
        json.dumps(dict(facts), allow_nan=False)
        self.wait()
        if self._is_main:
            actions = [
                _Action("save", lambda: self._write(step, tensors, documents, facts, awaited)),
                _Action("delete older checkpoints after", self._delete_surplus),
            ]
            if is_best:
                actions.insert(1, self._linking(step, BEST))
        else:
            actions = [_Action("add files to", lambda: self._add_rank_files(step, tensors))]
        self._submit(step, actions)
        if blocking:
            self._wait_or_raise()
            if self._uploads:
                self._uploads.wait(INTERRUPTED_SECONDS)

    def mark_best(self, step: int) -> None:
        """Makes `best` the model of the checkpoint of `step`, behind a save in flight."""
        if self._is_main:
            self._submit(step, [self._linking(step, BEST)])

    def save_final(self, step: int) -> Path:
        """Makes `final` the model of the checkpoint of `step`.

        Returns:
            The folder `final`.

        Raises:
            CheckpointError: If there is no such checkpoint or the disk refuses.
        """
        if self._is_main:
            self._submit(step, [self._linking(step, FINAL)])
            self._wait_or_raise()
        return self._store.root / FINAL

    def find_resume(
        self, setting: str, refuse: Callable[[Manifest], str | None] = lambda _: None
    ) -> ResumePoint | None:
        """Finds what `resume_from_checkpoint: setting` means; see `src.checkpoint.resume`.

        With several ranks ask on the main one and hand the answer to the others.

        Raises:
            StoreError: Also if the store can never take what this run saves.
        """
        self.wait()
        found = find_resume(self._store, setting, refuse, self._remote)
        self._parent = found.path.name if found else None
        if self._uploads:
            self._uploads.open()
        self._upload()  # what a killed process had saved but not uploaded
        return found

    def prune(self) -> list[str]:
        """Deletes what the policy lets go, and returns the names."""
        self.wait()
        return self._delete_surplus() if self._is_main else []

    def _delete_surplus(self) -> list[str]:
        return delete_surplus(
            self._store,
            keep_last=self._keep_last,
            keep_every=self._keep_every,
            spared=self._uploads.busy if self._uploads else (),
        )

    def _submit(self, step: int, actions: Sequence[_Action]) -> None:
        self._pending = self._executor.submit(self._attempt_all, step, actions)

    def _attempt_all(self, step: int, actions: Sequence[_Action]) -> SaveFailure | None:
        """The first action decides; those after it are attempted each for itself."""
        first, *others = actions
        failure = self._attempt(step, first)
        if failure is None:
            for action in others:
                self._attempt(step, action)
            self._upload()
        return failure

    def _upload(self) -> None:
        if self._uploads:
            self._has_begun = True
            self._uploads.notify()

    def _attempt(self, step: int, action: _Action) -> SaveFailure | None:
        """Runs in the background thread, where an exception would get lost."""
        try:
            action.run()
        except OSError as error:
            cause = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        except LinguaBridgeError as error:
            cause = str(error)
        except Exception as error:
            logger.exception("unexpected failure in the checkpoint thread")
            cause = repr(error)
        else:
            return None
        good = f"{self._parent} is whole" if self._parent else "there is none before it"
        failure = SaveFailure(
            step, f"could not {action.name} {self._store.root / step_name(step)}: {cause}; {good}"
        )
        self.failures.append(failure)
        logger.error("%s", failure.reason)
        return failure

    def _wait_or_raise(self) -> None:
        failure = self._pending.result() if self._pending else None
        if failure:
            raise CheckpointError(failure.reason)

    def _write(
        self,
        step: int,
        tensors: TensorFiles,
        documents: Mapping[str, str],
        facts: Mapping[str, object],
        awaited: Collection[str],
    ) -> None:
        started = time.monotonic()
        leave_later_line(self._store, step)
        folder = self._store.root / step_name(step)
        manifest = write_folder(
            folder,
            step=step,
            parent=self._parent,
            tensors=tensors,
            documents=documents,
            facts={**facts, "created_at": self._clock().isoformat(timespec="seconds")},
            awaited=awaited,
            barrier=self._barrier,
        )
        self._parent = folder.name
        logger.info(
            "saved %s (%s in %s)",
            folder,
            format_bytes(manifest.total_bytes),
            format_seconds(time.monotonic() - started),
        )

    def _add_rank_files(self, step: int, tensors: TensorFiles) -> None:
        """The other ranks' side of `write_folder`."""
        self._barrier()
        try:
            for name, group in tensors.items():
                write_rank_file(self._store.root / step_name(step), name, group)
        finally:
            self._barrier()

    def _linking(self, step: int, name: str) -> _Action:
        def link() -> None:
            source = self._store.get(step_name(step))
            self._store.put(source, name, keep=lambda file: not file.startswith(OPTIMIZER_PREFIX))
            logger.info("%s is now the model of step %d", self._store.root / name, step)

        return _Action(f"make {name} of", link)
