"""Soft labels and translations on the real program: written, killed, shared, read, refused."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from src.distillation.lesson import open_lesson
from src.distillation.sequence.translate import write_translations
from src.distillation.soft_labels.write import write_soft_labels
from src.errors import ConfigError, DataError, ModelError
from src.train_student import train_student
from src.train_teacher import train_teacher
from tests.integration.conftest import ROOT

CACHED = ("student.kd_mode=cached", "student.kd_top_k=64", "student.temperature=1")


@pytest.fixture(scope="module")
def taught_by(processed_data, tmp_path_factory):
    """A trained teacher, which the projects of this module share."""
    from tests.integration.conftest import Project

    project = Project(processed_data, tmp_path_factory.mktemp("teacher"))
    train_teacher(project.config("teacher.max_steps=30"))
    return project.folder / "teacher" / "final"


@pytest.fixture
def lesson(project, taught_by):
    """A project whose soft labels lie in its own folder."""
    content = json.loads(project.file.read_text(encoding="utf-8"))
    content["student"] |= {"teacher": str(taught_by), "soft_labels": str(project.folder / "soft")}
    project.file.write_text(json.dumps(content), encoding="utf-8")
    return project


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def small_shards(monkeypatch):
    """Several shards in a corpus of few hundred pairs."""
    monkeypatch.setattr("src.distillation.items.SHARD_ROWS", 100)


def test_cached_student_trains_without_a_teacher(lesson, caplog):
    caplog.set_level("INFO")
    summary = write_soft_labels(lesson.config(*CACHED))
    assert summary["bytes_per_target_token"] < 145
    assert "fidelity on" in caplog.text
    away = "student.teacher=nowhere"  # the teacher may have stayed on another machine
    cached = train_student(lesson.config(*CACHED, away))
    lines = (lesson.folder / "student/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if "cross_entropy" in line]
    assert len(records) == cached["steps"] == 12
    for item in records:
        expected = 0.3 * item["cross_entropy"] + 0.7 * item["divergence"]
        assert item["loss"] == pytest.approx(expected, rel=1e-4)


def test_cached_student_is_near_the_online_one(lesson):
    keys = ("student.temperature=1", "student.kd_top_k=64")
    write_soft_labels(lesson.config(*keys))
    train_student(lesson.config(*keys, f"student.output_dir={lesson.folder}/online"))
    train_student(lesson.config(*keys, "student.kd_mode=cached"))
    assert lesson.losses("student") == pytest.approx(lesson.losses("online"), rel=0.03)


def killed_at(change, lesson, *keys):
    """Exit code of a process that writes and ends itself at that change of a file."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "tests.integration.distillation_lives", str(change)),
            *(str(lesson.file), *keys),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
    ).returncode


def test_writing_survives_kills_and_gives_the_same_bytes(lesson, small_shards):
    write_soft_labels(lesson.config(*CACHED))
    whole = files_of(lesson.folder / "soft")
    shutil.rmtree(lesson.folder / "soft")
    for kill_at in (3, 12):
        assert killed_at(kill_at, lesson, *CACHED) == -signal.SIGKILL
        assert not (lesson.folder / "soft/labels/MANIFEST.json").exists()
    with pytest.raises(DataError, match=r"unfinished; run `python run\.py soft-labels` again"):
        open_lesson(lesson.config(*CACHED))
    write_soft_labels(lesson.config(*CACHED))
    assert files_of(lesson.folder / "soft") == whole


def test_translating_survives_kills_and_gives_the_same_bytes(lesson, small_shards):
    keys = ("student.kd_mode=sequence", "evaluation.max_new_tokens=12")
    write_translations(lesson.config(*keys))
    whole = files_of(lesson.folder / "soft")
    shutil.rmtree(lesson.folder / "soft")
    assert killed_at(8, lesson, *keys) == -signal.SIGKILL
    assert not (lesson.folder / "soft/taught").exists()
    with pytest.raises(DataError, match=r"soft-labels --decode"):
        open_lesson(lesson.config(*keys))
    write_translations(lesson.config(*keys))
    assert files_of(lesson.folder / "soft") == whole


def test_a_signal_ends_the_writing_in_order(lesson):
    with subprocess.Popen(
        lesson.command("soft-labels", *CACHED), stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "shards to make" in line:
                os.kill(process.pid, signal.SIGTERM)
                break
        rest = process.stderr.read()
    assert process.returncode == 75
    assert "stopped by SIGTERM; finished shards in" in rest
    assert "Traceback" not in rest


@pytest.mark.distributed
def test_two_ranks_write_the_same_shards_and_train_the_same_student(lesson, small_shards):
    write_soft_labels(lesson.config(*CACHED))
    whole = files_of(lesson.folder / "soft/labels")
    train_student(lesson.config(*CACHED, "student.max_steps=4", "student.global_batch_size=8"))
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    launcher += ["--log_dir", str(lesson.folder / "log")]
    two = f"student.soft_labels={lesson.folder}/two"
    for script, arguments in (
        ("tests/integration/distillation_lives.py", ("never", str(lesson.file), *CACHED, two)),
        (
            "run.py",
            (
                *("student", "--config", str(lesson.file), *CACHED, two, "student.max_steps=4"),
                *("student.global_batch_size=8", "student.batch_size=4"),
                f"student.output_dir={lesson.folder}/both",
            ),
        ),
    ):
        result = subprocess.run(
            [*launcher, script, *arguments],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    assert files_of(lesson.folder / "two/labels") == whole
    assert lesson.losses("both") == pytest.approx(lesson.losses("student"), rel=2e-5)


def test_cached_student_resumes_bit_for_bit(lesson):
    write_soft_labels(lesson.config(*CACHED))
    keys = (*CACHED, "student.distillation_alpha_end=0.2", "student.kd_schedule_steps=10")
    worker = "student.dataloader_num_workers=1"
    other = f"student.output_dir={lesson.folder}/straight"
    straight = train_student(lesson.config(*keys, worker, other))
    with subprocess.Popen(
        lesson.command("student", *keys), stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 9/12" in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL
    resumed = train_student(lesson.config(*keys, worker))
    assert resumed["resumed_from"] is not None
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert lesson.losses("student") == lesson.losses("straight")


def test_accumulation_and_padding_do_not_change_the_cached_loss(lesson):
    write_soft_labels(lesson.config(*CACHED))
    train_student(lesson.config(*CACHED, "student.max_steps=4"))
    parts = ("student.batch_size=3", "student.global_batch_size=8", "student.max_steps=4")
    train_student(lesson.config(*CACHED, *parts, f"student.output_dir={lesson.folder}/parts"))
    assert lesson.losses("parts") == pytest.approx(lesson.losses("student"), rel=2e-5)


@pytest.mark.parametrize("mode", [(), CACHED])
def test_packed_rows_give_the_loss_of_their_pairs_alone(lesson, mode):
    """A step holds every pair, so that both ways see the same; stored labels go by pair."""
    mode = (*mode, "data.max_samples.en-zh=60", "data.max_samples.zh-en=30")
    mode += ("student.kd_min_cosine=0",)
    if "student.kd_mode=cached" in mode:
        write_soft_labels(lesson.config(*mode))
    keys = (*mode, "student.global_batch_size=5000", "student.num_epochs=2")
    train_student(lesson.config(*keys))
    packed = ("student.packing=true", f"student.output_dir={lesson.folder}/packed")
    summary = train_student(lesson.config(*keys, *packed, "student.dataloader_num_workers=1"))
    assert summary["steps"] == 2
    assert lesson.losses("packed") == pytest.approx(lesson.losses("student"), rel=2e-5)


def test_what_does_not_fit_is_refused_in_one_sentence(lesson, taught_by, processed_data):
    with pytest.raises(DataError, match=r"no soft labels in .*; run `python run\.py soft-labels`"):
        train_student(lesson.config(*CACHED))
    with pytest.raises(ConfigError, match="kd_top_k=5000 is more than the 400 ids"):
        write_soft_labels(lesson.config("student.kd_top_k=5000"))
    with pytest.raises(ConfigError, match=r"cosine 0\.\d+.* below student\.kd_min_cosine=0\.99"):
        write_soft_labels(lesson.config("student.kd_top_k=2", "student.kd_min_cosine=0.9999"))
    write_soft_labels(lesson.config(*CACHED))
    with pytest.raises(DataError, match=r"temperature 1.* where this configuration has 2"):
        train_student(lesson.config(*CACHED, "student.temperature=2"))
    with pytest.raises(DataError, match="max_seq_length 96 where this configuration has 120"):
        train_student(lesson.config(*CACHED, "student.max_seq_length=120"))
    with pytest.raises(DataError, match="top_k 64 where this configuration has 32"):
        write_soft_labels(lesson.config(*CACHED, "student.kd_top_k=32"))
    other = lesson.folder / "other"
    shutil.copytree(taught_by.parent / "checkpoint-00000030", other)
    path = other / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match=r"holds soft labels made from teacher [0-9a-f]{12} where"):
        train_student(lesson.config(*CACHED, f"student.teacher={other}"))
    document = json.loads((taught_by / "config.json").read_text(encoding="utf-8"))
    document["linguabridge"]["prompt"] = "chatml"
    (other / "config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError, match=r"was tuned with prompt=chatml .* set student\.prompt"):
        train_student(lesson.config(f"student.teacher={other}"))


def test_torn_and_damaged_shards_are_named_and_made_again(lesson):
    write_soft_labels(lesson.config(*CACHED))
    labels = lesson.folder / "soft/labels"
    whole = files_of(labels)
    shard = labels / "en-zh/shard-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-100])
    result = lesson.run("student", *CACHED)
    assert result.returncode == 1
    assert "shard-00000.bin has" in result.stderr
    assert "Traceback" not in result.stderr
    content = bytearray(whole["en-zh/shard-00000.bin"])
    content[-50_000:] = bytes(50_000)
    shard.write_bytes(content)
    keys = ("student.dataloader_num_workers=1", "student.max_steps=60")
    result = lesson.run("student", *CACHED, *keys)
    assert result.returncode == 1
    assert "shard-00000.bin has other bytes than were written" in result.stderr
    assert "Traceback" not in result.stderr
    write_soft_labels(lesson.config(*CACHED))
    assert files_of(labels) == whole
    manifest = labels / "MANIFEST.json"
    document = json.loads(whole["MANIFEST.json"])
    for key, value in (("vocab_size", 401), ("record_bytes", None)):
        manifest.write_text(json.dumps({**document, key: value}), encoding="utf-8")
        with pytest.raises(DataError, match=rf"has {key} {value}, not .*: it is not as it was"):
            open_lesson(lesson.config(*CACHED))
    del document["fidelity"]
    manifest.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=r"lacks 'fidelity'.*: it is not as it was written"):
        write_soft_labels(lesson.config(*CACHED))


def test_teacher_that_does_not_fit_in_memory_is_refused(lesson, monkeypatch):
    monkeypatch.setattr("src.models.memory.free_bytes", lambda: 1000)
    with pytest.raises(ModelError, match=r"take .* as float32 and 1000 B of memory are free; run"):
        train_student(lesson.config())


def test_translations_become_targets_alone_mixed_and_with_soft_labels(lesson):
    keys = ("student.kd_mode=sequence", "evaluation.max_new_tokens=40")
    with pytest.raises(DataError, match=r"run `python run\.py soft-labels --decode` first"):
        train_student(lesson.config(*keys))
    summary = write_translations(lesson.config(*keys))
    assert 0 < summary["translated"] <= summary["pairs"]
    manifest = lesson.folder / "soft/taught/MANIFEST.json"
    manifest.unlink()
    with pytest.raises(DataError, match=r"taught .*; run `python run\.py soft-labels --decode` "):
        open_lesson(lesson.config(*keys))
    write_translations(lesson.config(*keys))
    alone = train_student(lesson.config(*keys))
    with pytest.raises(DataError, match=r"another student\.kd_reference_share"):
        train_student(lesson.config(*keys, "student.kd_reference_share=0.5"))
    write_translations(lesson.config(*keys, "student.kd_reference_share=0.5"))
    mixed = train_student(
        lesson.config(
            *keys, "student.kd_reference_share=0.5", f"student.output_dir={lesson.folder}/mixed"
        )
    )
    assert mixed["weights_sha256"] != alone["weights_sha256"]
    both = (*CACHED, "student.kd_targets=teacher", *keys[1:], "student.kd_reference_share=0.5")
    write_soft_labels(lesson.config(*both))
    train_student(lesson.config(*both, f"student.output_dir={lesson.folder}/both"))
    with pytest.raises(DataError, match="made from text"):
        train_student(lesson.config(*CACHED))


def test_student_starts_from_a_checkpoint(lesson):
    write_soft_labels(lesson.config(*CACHED))
    first = train_student(lesson.config(*CACHED, "student.max_steps=6"))
    start = ("student.architecture=null", f"student.model_name={lesson.folder}/student/final")
    keys = (*CACHED, *start, f"student.output_dir={lesson.folder}/second", "student.max_steps=4")
    train_student(lesson.config(*keys))
    assert lesson.losses("second")[1] < lesson.losses("student")[1]
    assert first["steps"] == 6
