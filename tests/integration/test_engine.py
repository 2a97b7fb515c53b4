"""Tasks on processes and on a real local Ray: the same results, the same errors."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import psutil
import pytest

from src.errors import ConfigError, DataError, WorkerLost
from src.tasks.engine import Engine, EngineKind, available_cores, run_tasks
from tests.fakes.worker_tasks import die_at_bad_task, refuse_bad_task

ENGINES: list[EngineKind] = ["processes", "ray"]


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    """Ends the local cluster that the first use of Ray starts."""
    ray = pytest.importorskip("ray", reason="needs Ray; pip install 'ray>=2.40'")
    yield
    ray.shutdown()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_task_is_answered_once(engine: EngineKind) -> None:
    tasks = [*range(4, 30)]
    results = list(run_tasks(refuse_bad_task, tasks, workers=2, describe=str, engine=engine))
    assert sorted((task, result) for task, result, _ in results) == [(n, 10 * n) for n in tasks]
    assert all(memory > 1 << 20 for _, _, memory in results)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_task_raises_arrives_as_it_was(engine: EngineKind) -> None:
    with pytest.raises(DataError, match=r"^three cannot be used$") as caught:
        list(Engine(engine, 2).run(refuse_bad_task, [1, 2, 3, 4], describe=str))
    assert "in refuse_bad_task" in str(caught.value.__cause__)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_is_an_error_that_names_its_task(engine: EngineKind) -> None:
    results = run_tasks(
        die_at_bad_task,
        [1, 2, 3, 4],
        workers=2,
        describe=lambda task: f"unit {task}",
        engine=engine,
    )
    with pytest.raises(WorkerLost, match="while working on unit 3;") as caught:
        list(results)
    assert caught.value.task == "unit 3"
    # What was broken is not carried into the next call.
    again = run_tasks(die_at_bad_task, [1, 2], workers=2, describe=str, engine=engine)
    assert sorted(result for _, result, _ in again) == [10, 20]


def test_nothing_to_do_starts_nothing() -> None:
    no_tasks: list[int] = []
    nowhere = Engine("ray", 2, ray_address="nowhere:1")
    assert list(nowhere.run(refuse_bad_task, no_tasks, describe=str)) == []


def test_a_missing_ray_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError) as caught:
        list(Engine("ray", 2).run(refuse_bad_task, [1], describe=str))
    assert str(caught.value) == "data.engine=ray needs Ray; pip install 'ray>=2.40'"


def test_workers_default_to_the_cores_of_the_machine() -> None:
    assert Engine().workers == available_cores()
    assert Engine("ray", 3).workers == 3


def test_workers_that_lack_the_code_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_in_this_process")
    exec("def answer(task):\n    return task\n", module.__dict__)  # noqa: S102  a module without a file
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(ConfigError, match=r"every machine of the cluster needs .* this project at"):
        list(Engine("ray", 2).run(module.answer, [1], describe=str))


INTERRUPTED = """
import sys, time
from src.tasks.engine import Engine

try:
    for task, _ in Engine("ray", 2).run(time.sleep, [0, 600, 600, 600], describe=str):
        print("done", task, flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_local_ray_with_all_its_processes() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done 0\n"
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) > 2
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
