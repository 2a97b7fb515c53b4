"""What runs the tasks of a stage: processes of this machine, or a Ray cluster.

Both keep one contract: results come as they are ready, a lost worker is an error that names its
task, and what a task raises arrives as it was raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from src.tasks import processes

Task = TypeVar("Task")
Result = TypeVar("Result")
EngineKind = Literal["processes", "ray"]


@dataclass
class PeakMemory:
    """The most resident memory noted so far.

    Attributes:
        bytes: Of the parent and all its workers together.
    """

    bytes: int = 0

    def note(self, count: int) -> None:
        """Takes up a measurement in bytes."""
        self.bytes = max(self.bytes, count)


@dataclass(frozen=True)
class Engine:
    """A choice of engine that can be handed around.

    Attributes:
        kind: What runs the tasks.
        num_workers: Tasks at a time. None: one per core of this machine, or of the Ray cluster.
        ray_address: Ray cluster to use. None: RAY_ADDRESS, else a local one.
        peak: Memory of all that was run.
    """

    kind: EngineKind = "processes"
    num_workers: int | None = None
    ray_address: str | None = None
    peak: PeakMemory = field(default_factory=PeakMemory, compare=False)

    @property
    def workers(self) -> int:
        """Workers for what is done on this machine alone."""
        return self.num_workers or available_cores()

    def prepare(self, module: str) -> None:
        """Begins to start what will run tasks that need a module; returns at once."""
        if self.kind == "processes" and self.workers > 1:
            processes.start_server(module)

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        *,
        describe: Callable[[Task], str],
    ) -> Iterator[tuple[Task, Result]]:
        """Runs a function over tasks and yields each with its result; see `run_tasks`."""
        outcomes = run_tasks(
            function,
            tasks,
            workers=self.num_workers,
            describe=describe,
            engine=self.kind,
            ray_address=self.ray_address,
        )
        for task, result, memory in outcomes:
            self.peak.note(memory)
            yield task, result


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None,
    describe: Callable[[Task], str],
    engine: EngineKind = "processes",
    ray_address: str | None = None,
) -> Iterator[tuple[Task, Result, int]]:
    """Runs a function over tasks and yields results as they come, in no particular order.

    Args:
        function: Importable by name, as its module is loaded anew in each worker.
        tasks: Picklable arguments.
        workers: Tasks at a time. None: one per core of this machine, or of the Ray cluster.
        describe: Names a task in an error message.
        engine: What runs the tasks.
        ray_address: Ray cluster to use. None: RAY_ADDRESS, else a local one.

    Yields:
        Task, its result, and resident memory in bytes: of this process now, and the most that each
        worker has had.

    Raises:
        WorkerLost: If a worker dies; names the task it was at.
        ConfigError: If Ray is wanted and is not there.
        Exception: What the function raised, after the other workers were stopped.
    """
    if engine == "ray":
        from src.tasks import ray_cluster

        return ray_cluster.run_tasks(
            function, tasks, workers=workers, describe=describe, address=ray_address
        )
    return processes.run_tasks(
        function, tasks, workers=workers or available_cores(), describe=describe
    )


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))
