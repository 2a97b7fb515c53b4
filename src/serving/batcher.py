"""Dynamic batching: requests that arrive together are translated together, by one thread.

The model is one and busy, so requests wait in a queue of bounded length. The worker takes what is
there, waits some milliseconds for more, and translates all of it as one batch: on a CPU as on a GPU
eight sentences take far less time together than one after another.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from threading import Lock, Thread

from src.evaluation.translation import Translation

logger = logging.getLogger(__name__)

# Texts and their common direction in, as many translations out.
Translate = Callable[[Sequence[str], str], list[Translation]]

_POLL_SECONDS = 0.2
# Weight of the newest batch in the mean that Retry-After is made from.
_NEWEST = 0.2


class TooBusy(Exception):
    """The queue is full, or the service is shutting down.

    Attributes:
        retry_seconds: When there will probably be room.
    """

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {retry_seconds} s")
        self.retry_seconds = retry_seconds


@dataclass
class _Job:
    texts: list[str]
    direction: str
    answer: Future[list[Translation]] = field(default_factory=Future)


class Batcher:
    """A queue and the thread that works it off.

    Args:
        translate: Translates texts of one direction; called from one thread only.
        max_waiting: Jobs in the queue.
        max_texts: Texts translated together, unless one job alone has more.
        wait_seconds: How long the first job of a batch waits for others.
        on_batch: Told the number of texts and the seconds of every batch.
    """

    def __init__(
        self,
        translate: Translate,
        *,
        max_waiting: int,
        max_texts: int,
        wait_seconds: float,
        on_batch: Callable[[int, float], None] = lambda _texts, _seconds: None,
    ) -> None:
        self._translate = translate
        self._queue: Queue[_Job] = Queue(max_waiting)
        self._max_texts = max_texts
        self._wait_seconds = wait_seconds
        self._on_batch = on_batch
        self._seconds_per_job = 0.5
        self._is_closed = False
        self._lock = Lock()
        self._left_over: _Job | None = None
        self._thread = Thread(target=self._work, name="translator", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self._queue.qsize()

    @property
    def is_alive(self) -> bool:
        """Whether jobs are still worked off."""
        return self._thread.is_alive()

    def submit(self, texts: Sequence[str], direction: str) -> Future[list[Translation]]:
        """Queues texts of one direction; the future gives their translations in order.

        Raises:
            TooBusy: If the queue is full or closed.
        """
        job = _Job(list(texts), direction)
        with self._lock:  # nothing may enter after `close` has looked
            if self._is_closed:
                raise TooBusy(self._retry_seconds())
            try:
                self._queue.put_nowait(job)
            except Full:
                raise TooBusy(self._retry_seconds()) from None
        return job.answer

    def close(self, timeout_seconds: float) -> bool:
        """Takes no more jobs and waits for those in the queue; tells whether all are done."""
        with self._lock:
            self._is_closed = True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _retry_seconds(self) -> int:
        return max(1, math.ceil(self._seconds_per_job * (self._queue.qsize() + 1)))

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch:
                began = time.monotonic()
                self._answer(batch)
                seconds = time.monotonic() - began
                per_job = seconds / len(batch)
                self._seconds_per_job += _NEWEST * (per_job - self._seconds_per_job)
                self._on_batch(sum(len(job.texts) for job in batch), seconds)
            elif self._is_closed and self._queue.empty():
                return

    def _next_batch(self) -> list[_Job]:
        first = self._left_over
        self._left_over = None
        if first is None:
            try:
                first = self._queue.get(timeout=_POLL_SECONDS)
            except Empty:
                return []
        batch, texts = [first], len(first.texts)
        deadline = time.monotonic() + self._wait_seconds
        while texts < self._max_texts:
            try:
                job = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if texts + len(job.texts) > self._max_texts:
                self._left_over = job
                break
            batch.append(job)
            texts += len(job.texts)
        # Who asked may have left meanwhile.
        return [job for job in batch if job.answer.set_running_or_notify_cancel()]

    def _answer(self, batch: list[_Job]) -> None:
        for direction in dict.fromkeys(job.direction for job in batch):
            jobs = [job for job in batch if job.direction == direction]
            try:
                self._answer_together(jobs, direction)
            except Exception as error:  # noqa: BLE001 - the thread must live on
                if len(jobs) == 1:
                    self._fail(jobs[0], error)
                    continue
                logger.warning("a batch of %d failed (%s): one by one", len(jobs), error)
                for job in jobs:
                    try:
                        self._answer_together([job], direction)
                    except Exception as its_error:  # noqa: BLE001 - as above
                        self._fail(job, its_error)

    def _answer_together(self, jobs: list[_Job], direction: str) -> None:
        translations = self._translate([text for job in jobs for text in job.texts], direction)
        start = 0
        for job in jobs:
            job.answer.set_result(translations[start : start + len(job.texts)])
            start += len(job.texts)

    def _fail(self, job: _Job, error: Exception) -> None:
        logger.error("a text could not be translated", exc_info=error)
        job.answer.set_exception(error)
