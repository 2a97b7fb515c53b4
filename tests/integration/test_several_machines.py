"""Two launchers as on two machines, one CPU rank each, on a folder that both see."""

import signal
import subprocess
import sys
import time

import pytest

from src.errors import EXIT_INTERRUPTED
from src.launch import ask_to_end
from src.monitoring.metrics import METRICS_FILE, read_metrics
from tests.fakes.training_lives import ROOT
from tests.integration.training_lives import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

KEYS = (
    "teacher.batch_size=4",
    "teacher.global_batch_size=8",
    "teacher.lr_scheduler=constant",
    "teacher.save_total_limit=9",
)


def start_two_machines(project, name, *keys):
    meeting_point = f"127.0.0.1:{free_ports(1)[0]}"
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "paddle.distributed.launch", "--nnodes", "2"),
                *("--master", meeting_point, "--rank", str(machine), "--nproc_per_node", "1"),
                *("--log_dir", str(project.folder / f"log-{machine}"), "src/train_teacher.py"),
                *("--config", str(project.file), *KEYS, *keys),
                f"teacher.output_dir={project.folder / name}",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for machine in range(2)
    ]


def end_with(code, machines):
    """Waits for both launchers; what they have written is shown if they end otherwise."""
    words = [machine.communicate()[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [code, code], "\n".join(words)


def run_on_two_machines(project, name, *keys):
    end_with(0, start_two_machines(project, name, *keys))


def test_two_machines_train_save_and_resume_like_two_ranks_of_one(project, lives):
    lives.run(project.folder / "one", *KEYS, ranks=2)
    run_on_two_machines(project, "two", "teacher.max_steps=5")
    run_on_two_machines(project, "two")
    assert project.summary("two")["resumed_from"] == "checkpoint-00000005"
    assert project.losses("two") == project.losses("one")
    assert project.summary("two")["weights_sha256"] == project.summary("one")["weights_sha256"]


def test_a_notice_to_one_machine_stops_both_after_the_same_step(project):
    never = [f"teacher.{key}=100000" for key in ("max_steps", "save_steps", "eval_steps")]
    keys = (*never, "teacher.num_epochs=10000")
    machines = start_two_machines(project, "two", *keys)
    metrics = project.folder / "two" / METRICS_FILE
    while not metrics.is_file() or len(read_metrics(metrics)) < 2:
        assert [machine.poll() for machine in machines] == [None, None]
        time.sleep(0.05)
    ask_to_end(machines[1], signal.SIGTERM, is_launcher=True)
    end_with(EXIT_INTERRUPTED, machines)
    checkpoints = list((project.folder / "two").glob("checkpoint-*"))
    assert len(checkpoints) == 1
    for machine in range(2):
        words = (project.folder / f"log-{machine}" / "workerlog.0").read_text(encoding="utf-8")
        assert f"stopped by SIGTERM at step {int(checkpoints[0].name[-8:])}; saved" in words


def test_a_model_is_spread_over_two_machines(project, lives):
    lives.run(project.folder / "one", *KEYS, "teacher.sharding=3", ranks=2)
    run_on_two_machines(project, "two", "teacher.sharding=3")
    assert project.losses("two") == project.losses("one")
