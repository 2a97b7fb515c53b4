"""The shell scripts around a run, with an `ssh` that runs its command here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "deploy" / "aliyun"
RECORD = {
    "step": 7,
    "total_steps": 12,
    "loss": 1.5,
    "lr": 0.01,
    "grad_norm": 1.0,
    "tokens_per_second": 10.0,
    "samples_per_second": 2.0,
    "data_seconds": 0.1,
    "compute_seconds": 0.9,
    "memory_bytes": 1024,
    "seconds_left": 5.0,
}

# As ssh does, it hands the words after the host to a shell, joined by spaces.
SSH = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$SSH_NOTES"
count=$(($(cat "$SSH_COUNT" 2>/dev/null || echo 0) + 1))
echo "$count" > "$SSH_COUNT"
if ((count <= ${SSH_FAILURES:-0})); then exit 255; fi
while [[ "$1" != "--" ]]; do shift; done
shift 2
bash -c "$*"
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine behind ssh with one run, in folders whose names need quoting."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(SSH, encoding="utf-8")
    # The wait before the next attempt takes no time here.
    (programs / "sleep").write_text('#!/bin/sh\necho "slept $1" >&2\n', encoding="utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    run = tmp_path / "a run's folder; $HOME"
    run.mkdir()
    (run / "metrics.jsonl").write_text(json.dumps(RECORD) + "\n", encoding="utf-8")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("SSH_COUNT", str(tmp_path / "count"))
    project = tmp_path / "the project"
    project.symlink_to(ROOT)
    return run, project


def monitor(*arguments):
    return subprocess.run(
        [SCRIPTS / "monitor_training.sh", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_run_is_watched_over_ssh_whatever_its_name(machine, tmp_path):
    run, project = machine
    result = monitor(
        *("-i", "/a key", "-p", "2222", "-d", project, "--python", sys.executable),
        *("--json", "root@host", run),
    )
    assert result.returncode == 0, result.stderr
    (state,) = json.loads(result.stdout)
    assert (state["folder"], state["latest"]["step"]) == (str(run), 7)
    words = (tmp_path / "notes").read_text(encoding="utf-8").splitlines()
    assert [word for word in words if word in {"/a key", "2222", "--", "root@host"}] == [
        "/a key",
        "2222",
        "--",
        "root@host",
    ]
    assert "-t" not in words


def test_lost_connection_is_made_again(machine, monkeypatch):
    run, project = machine
    monkeypatch.setenv("SSH_FAILURES", "3")
    result = monitor("-d", project, "--python", sys.executable, "root@host", run)
    assert result.returncode == 0, result.stderr
    assert "step 7 of 12" in result.stdout
    assert [line for line in result.stderr.splitlines() if "slept" in line] == [
        "slept 5",
        "slept 10",
        "slept 20",
    ]
    assert result.stderr.count("no connection to root@host; trying again in") == 3


def test_asked_once_a_lost_connection_is_the_answer(machine, monkeypatch):
    monkeypatch.setenv("SSH_FAILURES", "9")
    assert monitor("--once", "root@host").returncode == 255


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the machine"),
        (("-i",), "-i needs a value"),
        (("--nonsense", "host"), "unknown option --nonsense"),
        (("--spot", "host"), "--spot takes no host"),
        (("--config", "a.yaml", "host"), "--config goes with --spot"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, words):
    result = monitor(*arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def supervise(*arguments, **environment):
    return subprocess.run(
        [SCRIPTS / "supervise.sh", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        cwd="/",
    )


def test_supervise_script_hands_everything_on():
    result = supervise("teacher", "teacher.batchsize=3")
    assert result.returncode == 2
    assert "did you mean teacher.batch_size?" in result.stderr
    assert "--supervise" in supervise("student", "--help").stdout


@pytest.mark.parametrize("arguments", [(), ("process",)])
def test_supervise_script_wants_a_stage(arguments):
    result = supervise(*arguments)
    assert (result.returncode, "teacher or student" in result.stderr) == (2, True)
