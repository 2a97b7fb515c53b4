"""Worker processes that make step batches ahead of time, and end with the training process.

Paddle's workers look for their parent only when they are out of work. One that has made more than
the pipe holds waits for somebody to read it, for ever if the trainer was ended by kill -9. So every
worker watches its parent in a thread of its own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import paddle

from src.errors import LinguaBridgeError
from src.tokens.transport import StepBatch, decode_step, encode_step

# How often a worker looks whether its parent lives, and how long a loader waits for its workers.
_WATCH_SECONDS = 0.5
_FAREWELL_SECONDS = 5


def worker_steps(
    dataset: paddle.io.IterableDataset,  # type: ignore[type-arg, unused-ignore]
    *,
    num_workers: int,
) -> Iterator[StepBatch]:
    """The step batches of a data set, in order, made by worker processes.

    The workers end when the iterator is closed or forgotten.

    Raises:
        LinguaBridgeError: If a worker dies or cannot read its data.
    """
    loader = paddle.io.DataLoader(
        dataset,
        batch_size=None,  # type: ignore[arg-type]  # a step is a batch already
        num_workers=num_workers,
        collate_fn=encode_step,  # type: ignore[arg-type]  # annotated for lists of samples
        worker_init_fn=partial(_prepare_worker, os.getpid()),
        places=[paddle.CPUPlace()],
        use_buffer_reader=False,
        # Through a pipe: shared memory is short in containers and left behind by kill -9.
        use_shared_memory=False,
    )
    batches: Any = iter(loader)  # annotated without what ends it
    try:
        while True:
            try:
                encoded = next(batches)
            except StopIteration:
                return
            except SystemError as error:
                raise LinguaBridgeError(
                    f"a worker process that prepares batches died ({str(error).strip()}); often "
                    "memory ran out: lower dataloader_num_workers and run the same command again"
                ) from error
            yield decode_step(encoded.numpy())
    finally:
        # A reading thread of Paddle's holds its iterator, which is therefore never collected: the
        # workers would stay until the process ends, and be reported dead then.
        batches._try_shutdown_all(_FAREWELL_SECONDS)


def _prepare_worker(parent: int, _worker: int) -> None:
    """Runs first in each worker.

    Ctrl-C reaches the whole process group: the training process decides when workers end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), name="watch-parent", daemon=True).start()


def _follow(parent: int) -> None:
    """Ends this process when its parent is gone."""
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
