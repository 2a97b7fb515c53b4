"""The demo from end to end, with so few steps that only the path is tested, not the quality."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.config import load_config
from src.demo import trained_student

ROOT = Path(__file__).resolve().parents[2]


def demo_command(folder):
    overrides = (
        f"data.sources={folder}/corpus/{{en,zh}}.txt",
        f"data.output_dir={folder}/data",
        f"teacher.output_dir={folder}/teacher",
        f"student.output_dir={folder}/student",
        "teacher.max_steps=6",
        "student.max_steps=4",
        "evaluation.max_samples=8",
        "evaluation.max_new_tokens=16",
    )
    return [sys.executable, str(ROOT / "run.py"), "demo", *overrides]


def run_demo(folder, *arguments):
    return subprocess.run(
        [*demo_command(folder), *arguments], capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.distributed
def test_demo_runs_every_stage_and_then_skips_what_is_up_to_date(tmp_path):
    result = run_demo(tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    process = summary["process"]
    assert process["rows_in"] == 30_000
    assert process["rows_in"] == process["kept"] + sum(process["dropped"].values())
    assert process["kept"] == process["sampled_out"] + sum(process["splits"].values())
    assert (summary["teacher"]["steps"], summary["student"]["steps"]) == (6, 4)
    for name in ("teacher", "student"):
        for direction in ("en-zh", "zh-en"):
            assert summary["evaluate"][name][direction]["n"] == 8
        assert (tmp_path / name / "curves.html").is_file()
    assert len(summary["translations"]) == 3
    assert set(summary["seconds"]) == {"process", "teacher", "student", "evaluate", "translate"}
    assert "Warning" not in result.stderr
    # A student of four steps loses every number, and the demo says so.
    warnings = [line for line in result.stderr.splitlines() if "WARNING" in line]
    assert all(
        re.search(r"WARNING line \d: the translation (has|lacks) ", line) for line in warnings
    )
    assert "step 6/6" in result.stderr
    assert result.stdout == ""

    again = run_demo(tmp_path)
    assert again.returncode == 0
    assert "is up to date" in again.stderr
    assert "── teacher" not in again.stderr


def test_stage_that_fails_is_named_with_its_code(tmp_path):
    result = run_demo(tmp_path, "data.splits.dev=1000000")
    assert result.returncode == 1
    assert "demo: process ended with code 1" in result.stderr
    assert not (tmp_path / "summary.json").exists()


def test_translate_takes_the_demos_student_only_while_there_is_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config([], ["student.output_dir=models/student"])
    assert trained_student(config) is None
    Path("runs/demo/student/final").mkdir(parents=True)
    assert trained_student(config) == "runs/demo/student/final"
    Path("models/student/final").mkdir(parents=True)
    assert trained_student(config) is None


@pytest.mark.distributed
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    command = [*demo_command(tmp_path), "teacher.max_steps=2000", "teacher.logging_steps=5"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 10/2000" in line:
                # As the terminal does it: to every process of the session's group.
                os.killpg(process.pid, signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 75, rest
    assert "teacher was interrupted and has saved its state; run the demo again to go on" in rest
    (checkpoint,) = (tmp_path / "teacher").glob("checkpoint-*")
    assert (checkpoint / "MANIFEST.json").is_file()
