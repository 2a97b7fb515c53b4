"""Running tasks on a Ray cluster, under the contract of `src.tasks.processes`.

Ray by itself repeats the task of a lost worker, again and again where the task is what kills it,
and queues whatever it is handed. Here nothing is repeated, no more tasks are under way than there
are workers, and a lost worker or node is an error that names its task.

The machines of a cluster share the disk: tasks name files, and workers import this project from
the folder it has here.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from src.errors import ConfigError, WorkerLost
from src.host_memory import peak_memory_bytes, resident_memory_bytes

Task = TypeVar("Task")
Result = TypeVar("Result")

_SECONDS_TO_END = 30.0
_PROJECT = Path(__file__).resolve().parents[2]
# Results are counts; the store of a local Ray would else claim a third of the memory.
_LOCAL_STORE_BYTES = 100 << 20
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else every start warns of a coming change
}


@dataclass
class _Outcome:
    worker: tuple[str, int]  # node and process
    peak_memory_bytes: int
    result: Any = None
    error: Exception | None = None
    trace: str = ""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None,
    describe: Callable[[Task], str],
    address: str | None = None,
) -> Iterator[tuple[Task, Result, int]]:
    """Runs a function over tasks and yields results as they come, in no particular order.

    A local cluster stays up for the next call and ends with this process.

    Args:
        function: Importable by name on every machine of the cluster.
        tasks: Picklable arguments.
        workers: Tasks under way at a time, one core each. None: one per core of the cluster.
        describe: Names a task in an error message.
        address: Of the cluster. None: RAY_ADDRESS, else one is started on this machine.

    Yields:
        Task, its result, and the largest resident memory so far, in bytes: of this process and
        all workers together, on whatever machine.

    Raises:
        ConfigError: If Ray is not installed or no cluster answers.
        WorkerLost: If a worker or its machine dies; names the task it was at.
        Exception: What the function raised, after the other tasks were stopped.
    """
    if not tasks:
        return
    ray = _connected(address, workers)
    limit = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    work = ray.remote(num_cpus=1, max_retries=0)(_work)
    waiting = list(reversed(tasks))
    under_way: dict[Any, Task] = {}
    memory: dict[tuple[str, int], int] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < limit:
                task = waiting.pop()
                under_way[work.remote(function, task)] = task
            for reference in ray.wait(list(under_way))[0]:
                task = under_way.pop(reference)
                outcome = _receive(ray, reference, describe(task))
                memory[outcome.worker] = outcome.peak_memory_bytes
                yield task, outcome.result, resident_memory_bytes() + sum(memory.values())
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)
        if under_way:
            # Each has ended when its worker has: else a task of the next call may be given to one
            # that is about to end, and be lost with it.
            ray.wait(list(under_way), num_returns=len(under_way), timeout=_SECONDS_TO_END)


def _connected(address: str | None, workers: int | None) -> Any:
    """The module `ray`, connected to a cluster."""
    # Ray reads these when it is imported and when it starts processes.
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ConfigError("data.engine=ray needs Ray; pip install 'ray>=2.40'") from error
    if ray.is_initialized():
        return ray
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {}
    if address == "local":
        options = {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": _LOCAL_STORE_BYTES,
        }
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": {"PYTHONPATH": _import_path()}},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"data.ray_address={address}: no Ray cluster can be used there ({reason}); start one "
            "with `ray start --head`, or leave the key out to use this machine"
        ) from error
    return ray


def _import_path() -> str:
    """This project, and what else this process imports from beside its installed packages."""
    installed = (sys.prefix, sys.base_prefix)
    own = [path for path in sys.path if path and not path.startswith(installed)]
    return os.pathsep.join(dict.fromkeys([str(_PROJECT), *own]))


def _receive(ray: Any, reference: Any, description: str) -> _Outcome:
    try:
        outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        # Not raised by the task, whose errors are values, but before it: by its import.
        raise ConfigError(
            f"data.engine=ray: a worker cannot run {description} ({error.cause!r}); every machine "
            f"of the cluster needs the same packages, and this project at {_PROJECT}"
        ) from error
    except ray.exceptions.RayError as error:
        raise WorkerLost(description, None, None) from error
    assert isinstance(outcome, _Outcome)  # noqa: S101  nothing else is ever returned
    if outcome.error is not None:
        raise outcome.error from RuntimeError(f"in a Ray worker:\n{outcome.trace}")
    return outcome


def _work(function: Callable[[Any], Any], task: Any) -> _Outcome:
    import ray

    worker = (ray.get_runtime_context().get_node_id(), os.getpid())
    try:
        result = function(task)
        return _Outcome(worker, peak_memory_bytes(), result)
    except Exception as error:  # noqa: BLE001  handed to the parent, which raises it
        trace = traceback.format_exc()
        return _Outcome(worker, peak_memory_bytes(), error=error, trace=trace)
