"""Worker processes under Paddle's DataLoader give the stream of a single process."""

import itertools
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import paddle
import psutil
import pytest

from src.errors import LinguaBridgeError
from src.tokens.stream import StreamingDataset, step_batches
from tests.fakes.small_tokens import DIRECTIONS, make_pairs, small_tokenizer, write_cache
from tests.integration.conftest import ROOT


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "tokens"
    cache = write_cache(folder, make_pairs(90), shard_pairs=40)

    def open_stream(**changes):
        options = {
            "language_pairs": DIRECTIONS,
            "prompt": "compact",
            "max_seq_length": 40,
            "global_batch_size": 16,
            "batch_size": 4,
            "seed": 5,
            **changes,
        }
        return StreamingDataset(cache.split("train"), small_tokenizer(), **options)

    return open_stream


def as_lists(step):
    """A step batch with lists in place of arrays or tensors, for comparing."""
    parts = [
        {name: np.asarray(array).tolist() for name, array in part.items()}
        for part in step["micro_batches"]
    ]
    return {**step, "micro_batches": parts}


@pytest.mark.parametrize(
    "changes", [{}, {"start_batch": 3}, {"rank": 1, "world_size": 2}, {"packing": True}]
)
def test_two_workers_give_the_same_steps_in_the_same_order(dataset, changes):
    changes = {**changes, "num_epochs": 2}
    here = [as_lists(step) for step in step_batches(dataset(**changes), num_workers=0)]
    steps = list(step_batches(dataset(**changes), num_workers=2))
    assert [as_lists(step) for step in steps] == here
    arrays = [array for step in steps for part in step["micro_batches"] for array in part.values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}


def test_a_rank_without_micro_batches_gets_its_steps_from_workers_too(dataset):
    changes = {"global_batch_size": 2, "rank": 2, "world_size": 3, "num_epochs": 1}
    steps = [as_lists(step) for step in step_batches(dataset(**changes), num_workers=2)]
    assert all(step["micro_batches"] == [] for step in steps)
    assert sum(step["pairs"] for step in steps) == 180


def test_a_plain_data_loader_gives_the_same_steps_as_tensors(dataset):
    stream = dataset(num_epochs=1)
    whole_steps: Any = None  # Paddle annotates batch_size as int
    loader = paddle.io.DataLoader(stream, batch_size=whole_steps, num_workers=2)
    steps = list(iter(loader))
    assert isinstance(steps[0]["micro_batches"][0]["labels"], paddle.Tensor)
    here = [as_lists(step) for step in step_batches(stream, num_workers=0)]
    assert [as_lists(step) for step in steps] == here


def has_ended(process):
    """Also where nobody has asked for its exit status yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for_the_end(processes):
    """Fails if one of them lives for another half minute."""
    give_up = time.monotonic() + 30
    while running := [process for process in processes if not has_ended(process)]:
        assert time.monotonic() < give_up, f"{running} outlive their parent"
        psutil.wait_procs(running, timeout=0.1)


def test_workers_end_with_a_killed_training_process(tmp_path):
    """They wait with more steps than the pipe holds, so that nobody would ever wake them."""
    command = [sys.executable, "-m", "tests.integration.worker_lives", str(tmp_path / "tokens")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(number)) for number in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.kill()
        parent.wait()
        wait_for_the_end(workers)


def test_workers_end_with_the_iterator(dataset):
    steps = step_batches(dataset(), num_workers=2)
    workers = [psutil.Process(number) for number in workers_of(steps)]
    assert len(workers) == 2
    del steps
    wait_for_the_end(workers)


def workers_of(steps):
    """Process ids of the loader's workers; the first step makes sure that they run."""
    before = {child.pid for child in psutil.Process().children()}
    next(steps)
    return [
        child.pid
        for child in psutil.Process().children()
        if child.pid not in before and "resource_tracker" not in " ".join(child.cmdline())
    ]


def test_ctrl_c_leaves_workers_to_the_training_process(dataset):
    steps = step_batches(dataset(), num_workers=2)
    for worker in workers_of(steps):
        os.kill(worker, signal.SIGINT)
    assert len(list(itertools.islice(steps, 100))) == 100


def test_a_killed_worker_is_an_error_in_one_sentence(dataset):
    steps = step_batches(dataset(), num_workers=1)
    for worker in workers_of(steps):
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(LinguaBridgeError, match="a worker process that prepares batches died"):
        list(itertools.islice(steps, 1000))
