"""Teacher and student on the real loop: exact resume, ranks, accumulation, early stopping."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from src.errors import (
    CheckpointNotFound,
    ConfigError,
    DataError,
    ModelError,
    TrainingDiverged,
)
from src.models.factory import load_model
from src.tokens.stream import evaluation_batches
from src.train_student import train_student
from src.train_teacher import train_teacher
from src.training.corpus import open_corpus
from src.training.objective import mean_loss, reference_loss
from src.training.parallel import Ranks
from src.training.precision import Precision


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


@pytest.mark.parametrize("rule", ["sgd", "lamb"])
def test_other_optimizers_resume_bit_for_bit(project, rule):
    keys = (f"teacher.optimizer={rule}", "teacher.lr_scheduler=constant")
    straight = train_teacher(project.config(*keys, f"teacher.output_dir={project.folder}/straight"))
    train_teacher(project.config(*keys, "teacher.max_steps=7"))
    resumed = train_teacher(project.config(*keys))
    assert resumed["resumed_from"] == "checkpoint-00000007"
    assert resumed["weights_sha256"] == straight["weights_sha256"]


def test_moving_average_is_evaluated_published_and_resumed(project):
    keys = ("teacher.ema_decay=0.7", "teacher.lr_scheduler=constant", "teacher.eval_steps=3")
    straight = train_teacher(project.config(*keys, f"teacher.output_dir={project.folder}/straight"))
    train_teacher(project.config(*keys, "teacher.max_steps=7"))
    resumed = train_teacher(project.config(*keys))
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert resumed["best_eval_loss"] == straight["best_eval_loss"]
    final = project.folder / "teacher" / "final"
    for file in ("model.safetensors", "raw.safetensors"):
        theirs = load_file(project.folder / "straight" / "final" / file)
        for name, array in load_file(final / file).items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    # Training itself is that of a run without an average.
    plain = train_teacher(
        project.config("teacher.lr_scheduler=constant", f"teacher.output_dir={project.folder}/raw")
    )
    assert plain["weights_sha256"] != straight["weights_sha256"]
    raw = load_file(final / "raw.safetensors")
    for name, array in load_file(project.folder / "raw/final/model.safetensors").items():
        np.testing.assert_array_equal(array, raw[name], err_msg=name)
    assert project.losses("raw") == project.losses("straight")
    assert resumed["best_eval_loss"] == pytest.approx(dev_loss(project, "best"), rel=1e-6)


def dev_loss(project, name):
    """The dev loss of a folder's published model."""
    config = project.config()
    model = load_model(str(project.folder / "teacher" / name))
    model.eval()
    batches = evaluation_batches(
        open_corpus(config).cache.split("dev"),
        open_corpus(config).tokenizer,
        language_pairs=config.data.language_pairs,
        prompt=config.teacher.prompt,
        max_seq_length=config.teacher.max_seq_length,
        batch_size=config.teacher.batch_size,
        max_pairs=config.teacher.eval_samples,
        rank=0,
        world_size=1,
    )
    precision = Precision(config.teacher)
    return mean_loss(reference_loss(model), batches, ranks=Ranks(0, 1), precision=precision)


def test_moving_average_may_be_switched_on_and_off_at_resume(project, caplog):
    caplog.set_level("INFO")
    train_teacher(project.config("teacher.max_steps=2"))
    on = train_teacher(project.config("teacher.max_steps=4", "teacher.ema_decay=0.5"))
    assert on["resumed_from"] == "checkpoint-00000002"
    assert "checkpoint-00000002 holds no moving average: it starts at these weights" in caplog.text
    off = train_teacher(project.config("teacher.max_steps=6"))
    assert off["resumed_from"] == "checkpoint-00000004"
    assert "the moving average in checkpoint-00000004 is given up: ema_decay is null" in caplog.text
    assert not (project.folder / "teacher/final/raw.safetensors").exists()


def test_quick_check_says_what_a_full_run_would_take(project, caplog):
    caplog.set_level("INFO")
    summary = train_teacher(project.config("teacher.max_steps=3", "teacher.num_epochs=2"))
    forecast = summary["full_run"]
    assert forecast["steps"] > 100
    assert forecast["hours"] == pytest.approx(2 * forecast["hours_per_epoch"])
    assert forecast["hours"] * 3600 > forecast["steps"] * forecast["seconds_per_step"]
    line = f"max_steps=3 ended this run; all 2 epochs would take {forecast['steps']:,} steps and "
    assert line in caplog.text


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
