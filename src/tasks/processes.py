"""Running tasks in worker processes, where a lost process is an error and never a shorter result.

The pools of the standard library do not say which task died with its worker; here each worker has
its own pipe and holds one task at a time, so the parent always knows. Workers are forked from a
server process without threads: a fork of the parent would copy the locks of whatever threads it
runs, and a spawned worker would import everything again, seconds for each.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, Generic, TypeVar

from src.errors import WorkerLost
from src.host_memory import (
    peak_memory_bytes,
    release_freed_memory,
    resident_memory_bytes,
)
from src.launch import ROOT

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass
class _Worker(Generic[Task]):
    process: ForkServerProcess
    pipe: Connection
    tasks: list[Task]  # none or one


@dataclass
class _Outcome:
    result: Any
    peak_memory_bytes: int
    error: Exception | None = None
    trace: str = ""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    describe: Callable[[Task], str],
) -> Iterator[tuple[Task, Result, int]]:
    """Runs a function over tasks and yields results as they come, in no particular order.

    Args:
        function: Importable by name, as its module is loaded anew in each worker.
        tasks: Picklable arguments.
        workers: Processes; with 1 the tasks run in this process, in order.
        describe: Names a task in an error message.

    Yields:
        Task, its result, and resident memory in bytes: of this process now, and the most that each
        worker has had.

    Raises:
        WorkerLost: If a worker process dies; names the task it was at.
        Exception: What the function raised, after the other workers were stopped.
    """
    release_freed_memory()  # what this process holds counts beside what the workers need
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, function(task), peak_memory_bytes()
        return
    waiting = list(reversed(tasks))
    crew: list[_Worker[Task]] = []
    memory: dict[int | None, int] = {}
    try:
        for _ in range(min(workers, len(tasks))):
            crew.append(_start(function))
            _hand_over(crew[-1], waiting, describe)
        while busy := [worker for worker in crew if worker.tasks]:
            for worker in _ready(busy):
                task = worker.tasks.pop()
                outcome = _receive(worker, describe(task))
                memory[worker.process.pid] = outcome.peak_memory_bytes
                _hand_over(worker, waiting, describe)
                yield task, outcome.result, resident_memory_bytes() + sum(memory.values())
    finally:
        for worker in crew:
            worker.process.terminate()
            worker.process.join()
            worker.pipe.close()


def start_server(module: str) -> None:
    """Starts the process that workers are forked from, and returns at once.

    It takes seconds to import what tasks need, which this process may use for something else.

    Args:
        module: What the tasks to come need.
    """
    with _deaf_to_interrupts():
        _context(module)
        forkserver.ensure_running()


def _start(function: Callable[[Task], Result]) -> _Worker[Task]:
    context = _context(function.__module__)
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, theirs), daemon=True)
    with _deaf_to_interrupts():
        process.start()
    theirs.close()  # else the end of the worker would not end its pipe
    return _Worker(process, ours, [])


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C reaches the whole process group; the parent decides what it means.

    A process that is started here inherits the mask: it is deaf from its first instruction on.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _context(module: str) -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # The server does not look where this process does, and says nothing of what it cannot find.
    if str(ROOT) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    # Counts for the first start only; what is not loaded then, workers load themselves.
    context.set_forkserver_preload([module])
    return context


def _hand_over(worker: _Worker[Task], waiting: list[Task], describe: Callable[[Task], str]) -> None:
    if not waiting:
        return
    worker.tasks.append(waiting.pop())
    try:
        worker.pipe.send(worker.tasks[0])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _lost(worker, describe(worker.tasks[0])) from error


def _ready(busy: list[_Worker[Task]]) -> list[_Worker[Task]]:
    # The pipe of a dead worker is ready too: it is at its end.
    ready = wait([worker.pipe for worker in busy])
    return [worker for worker in busy if worker.pipe in ready]


def _receive(worker: _Worker[Task], description: str) -> _Outcome:
    try:
        outcome = worker.pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        raise _lost(worker, description) from error
    assert isinstance(outcome, _Outcome)  # noqa: S101  nothing else is ever sent
    if outcome.error is not None:
        raise outcome.error from RuntimeError(f"in a worker process:\n{outcome.trace}")
    return outcome


def _lost(worker: _Worker[Task], description: str) -> WorkerLost:
    worker.process.join()
    return WorkerLost(description, worker.process.pid, worker.process.exitcode)


def _work(function: Callable[[Task], Result], pipe: Connection) -> None:
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return  # the parent is gone
        try:
            outcome = _Outcome(function(task), peak_memory_bytes())
        except Exception as error:  # noqa: BLE001  handed to the parent, which raises it
            outcome = _Outcome(None, peak_memory_bytes(), error, traceback.format_exc())
        try:
            pipe.send(outcome)
        except BrokenPipeError:
            return
