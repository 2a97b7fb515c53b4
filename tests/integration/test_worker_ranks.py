"""The worker on an instance with several GPUs: real ranks under Paddle's real launcher."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from src.cloud.objects import Objects
from src.cloud.run_state import RunState
from tests.fakes.local_server import NOWHERE

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 140.0


@pytest.fixture
def tools(tmp_path):
    """A PATH on which the driver lists two GPUs."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "nvidia-smi").write_text("#!/bin/sh\nprintf 'GPU 0: A10\\nGPU 1: A10\\n'\n")
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def worker(project, tools, tmp_path):
    """A worker that trains for ever, and the state it reports to."""
    machine = tmp_path / "machine"
    machine.mkdir()
    (tmp_path / "bucket").mkdir()
    keys = [
        "teacher.batch_size=4",
        "teacher.max_steps=null",
        "teacher.num_epochs=99",
        "teacher.save_steps=4000",
        "teacher.eval_steps=4000",
    ]
    settings = {
        "bucket": f"file://{tmp_path}/bucket",
        "oss_endpoint": "",
        "ram_role": "",
        "run": "r",
        "launch": "0001",
        "command": ["teacher", "--config", str(project.file), *keys],
        "output_dir": str(project.folder / "teacher"),
        "heartbeat_seconds": 0.2,
    }
    path = machine / "settings.json"
    path.write_text(json.dumps(settings))
    # Where GPUs are visible, Paddle's launcher takes --gpus at its word; the ranks find none, and
    # speak to each other as ranks without GPUs do.
    environment = {
        **os.environ,
        "PATH": tools,
        "CUDA_VISIBLE_DEVICES": "0,1",
        "PADDLE_DISTRI_BACKEND": "gloo",
        "LINGUABRIDGE_METADATA_URL": NOWHERE,
    }
    with (machine / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "src.cloud.worker", str(path)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield process, RunState(Objects(f"file://{tmp_path}/bucket"), "r"), machine
    with suppress(ProcessLookupError):  # the launcher and its ranks outlive a worker
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(process, holds):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.distributed
def test_request_to_stop_lets_both_ranks_save_and_end_with_75(worker, project):
    process, state, machine = worker
    wait_until(process, lambda: (status := state.status("0001")) is not None and status.step >= 2)
    state.stop("the budget is used up")
    assert process.wait(_PATIENCE_SECONDS) == 75, (machine / "training.log").read_text()
    status = state.status("0001")
    assert (status.phase, status.exit_code) == ("interrupted", 75)
    (saved,) = (project.folder / "teacher").glob("checkpoint-*/MANIFEST.json")
    told = (machine / "worker.log").read_text()
    assert told.count("the run is asked to stop: the budget is used up") == 1
    # Both ended by themselves; a launcher that is asked to end would not report a rank's code.
    log = (machine / "training.log").read_text()
    assert re.search(r"Container rank 0 status failed .* code 75\b", log), log
    ranks = sorted((machine / "launcher").glob("workerlog.*"))
    assert len(ranks) == 2
    for rank in ranks:
        assert f"stopped by SIGTERM at step {status.step}; saved {saved.parent}" in rank.read_text()
