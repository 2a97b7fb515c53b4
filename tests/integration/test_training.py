"""Teacher and student on the real loop: exact resume, ranks, accumulation, early stopping."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from src.errors import (
    CheckpointNotFound,
    ConfigError,
    DataError,
    ModelError,
    TrainingDiverged,
)
from src.train_student import train_student
from src.train_teacher import train_teacher


def test_two_runs_of_the_same_configuration_give_the_same_weights(project):
    first = train_teacher(project.config())
    second = train_teacher(project.config(f"teacher.output_dir={project.folder}/again"))
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["steps"] == 12
    assert first["final_loss"] < project.losses("teacher")[1]


def test_interrupted_and_resumed_run_equals_a_straight_one(project):
    straight = train_teacher(project.config(f"teacher.output_dir={project.folder}/straight"))
    for signal_number, at_step, code in ((signal.SIGTERM, 5, 75), (signal.SIGKILL, 9, -9)):
        with subprocess.Popen(
            project.command("teacher"), stderr=subprocess.PIPE, encoding="utf-8"
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if f"step {at_step}/12" in line:
                    os.kill(process.pid, signal_number)
                    break
            rest = process.stderr.read()
        assert process.returncode == code
        if code == 75:
            assert re.search(r"stopped by SIGTERM at step \d+; saved .*checkpoint-", rest)
    resumed = train_teacher(project.config())
    # The kill may have hit the save of step 8, which goes on behind the training.
    assert resumed["resumed_from"] in {f"checkpoint-{step:08d}" for step in (5, 6, 7, 8)}
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert resumed["best_eval_loss"] == straight["best_eval_loss"]
    assert project.losses("teacher") == project.losses("straight")


def test_finished_run_is_not_repeated_until_a_setting_changes(project):
    first = train_teacher(project.config())
    again = train_teacher(project.config("teacher.logging_steps=3"))
    assert again == first
    longer = train_teacher(project.config("teacher.max_steps=14"))
    assert longer["steps"] == 14
    assert longer["resumed_from"] == "checkpoint-00000012"


def test_accumulation_does_not_change_the_loss(project):
    train_teacher(project.config("teacher.max_steps=5"))
    train_teacher(
        project.config(
            "teacher.max_steps=5",
            "teacher.batch_size=3",
            "teacher.global_batch_size=8",
            f"teacher.output_dir={project.folder}/small",
        )
    )
    whole, parts = project.losses("teacher"), project.losses("small")
    assert parts == pytest.approx(whole, rel=2e-5)


def test_recomputed_activations_give_the_same_loss(project):
    train_teacher(project.config("teacher.max_steps=3"))
    train_teacher(
        project.config(
            "teacher.max_steps=3",
            "teacher.gradient_checkpointing=true",
            f"teacher.output_dir={project.folder}/recomputed",
        )
    )
    assert project.losses("recomputed") == pytest.approx(project.losses("teacher"), rel=1e-5)


def test_early_stopping_keeps_the_best_and_ends_in_order(project):
    summary = train_teacher(
        project.config(
            "teacher.max_steps=40",
            "teacher.eval_steps=1",
            "teacher.early_stopping_patience=3",
            "teacher.early_stopping_threshold=10",
        )
    )
    assert summary["exit_reason"] == "early stopping"
    assert summary["steps"] == 4
    best = json.loads((project.folder / "teacher/best/state.json").read_text(encoding="utf-8"))
    assert best["state"]["step"] == 4


def test_diverging_run_stops_and_says_what_to_lower(project):
    with pytest.raises(TrainingDiverged, match=r"lower learning_rate \(1e\+30\)"):
        train_teacher(project.config("teacher.learning_rate=1.0e+30", "teacher.max_grad_norm=0"))


def test_student_learns_from_the_teacher_and_logs_both_parts(project):
    train_teacher(project.config())
    alone = train_student(
        project.config("student.kd_mode=none", f"student.output_dir={project.folder}/alone")
    )
    distilled = train_student(project.config())
    assert distilled["weights_sha256"] != alone["weights_sha256"]
    lines = (project.folder / "student/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if "eval_loss" not in line]
    for item in records:
        expected = 0.3 * item["cross_entropy"] + 0.7 * item["divergence"]
        assert item["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.distributed
def test_two_ranks_see_the_same_batches_as_one(project):
    train_teacher(project.config("teacher.max_steps=6", "teacher.global_batch_size=8"))
    script = "src/train_teacher.py"
    result = subprocess.run(
        [
            *(sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"),
            *("--log_dir", str(project.folder / "log"), script, "--config", str(project.file)),
            *("teacher.max_steps=6", "teacher.global_batch_size=8", "teacher.batch_size=4"),
            f"teacher.output_dir={project.folder}/two",
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert project.losses("two") == pytest.approx(project.losses("teacher"), rel=2e-5)
    one, two = project.summary("teacher"), project.summary("two")
    assert one["tokens_seen"] == two["tokens_seen"]
    assert one["best_eval_loss"] == pytest.approx(two["best_eval_loss"], rel=1e-4)


def test_missing_ingredients_are_named_with_the_next_step(project, tmp_path):
    with pytest.raises(DataError, match=r"run `python run\.py process`"):
        train_teacher(project.config(f"data.output_dir={tmp_path}/none"))
    with pytest.raises(ModelError, match=r"run `python run\.py teacher` first"):
        train_student(project.config())
    with pytest.raises(ModelError, match="does not exist"):
        train_teacher(project.config("teacher.architecture=null", "teacher.model_name=./nowhere"))
    with pytest.raises(CheckpointNotFound):
        train_teacher(project.config("teacher.resume_from_checkpoint=./nowhere"))


@pytest.mark.parametrize("key", ["fp16", "bf16"])
def test_mixed_precision_on_a_cpu_is_refused_before_the_model_is_built(project, key):
    result = project.run("teacher", f"teacher.{key}=true")
    assert result.returncode == 2
    assert f"teacher.{key}=true needs a GPU" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project.folder / "teacher").exists()


def test_changed_stream_settings_are_refused_by_name(project):
    train_teacher(project.config("teacher.max_steps=4"))
    with pytest.raises(CheckpointNotFound, match="seed was 42 and is 7 now"):
        train_teacher(project.config("teacher.max_steps=8", "teacher.seed=7"))
    with pytest.raises(ConfigError, match="never"):
        train_teacher(project.config("teacher.resume_from_checkpoint=never", "teacher.max_steps=9"))


def test_student_of_another_teacher_does_not_continue(project):
    train_teacher(project.config("teacher.max_steps=4"))
    train_student(project.config("student.max_steps=4"))
    train_teacher(project.config("teacher.max_steps=6"))
    with pytest.raises(CheckpointNotFound, match="it was made with another teacher"):
        train_student(project.config("student.max_steps=6"))


def test_teacher_with_another_tokenizer_is_refused(project):
    train_teacher(project.config("teacher.max_steps=1"))
    path = project.folder / "teacher/final/tokenizer.json"
    text = path.read_text(encoding="utf-8")
    path.unlink()  # a hard link: the checkpoint keeps its own
    path.write_text(text.replace("<to_en>", "<to_xx>"), encoding="utf-8")
    with pytest.raises(ModelError, match="has another tokenizer"):
        train_student(project.config())


def test_lost_final_model_is_made_again(project):
    first = train_teacher(project.config("teacher.max_steps=2"))
    shutil.rmtree(project.folder / "teacher/final")
    again = train_teacher(project.config("teacher.max_steps=2"))
    assert again["weights_sha256"] == first["weights_sha256"]
    assert (project.folder / "teacher/final/model.safetensors").is_file()
