"""What cannot be trained is refused in one sentence, before a model is built."""

import json
import os
import shutil

import pytest

from src.errors import CheckpointNotFound, ConfigError, DataError, LinguaBridgeError, ModelError
from src.models import factory
from src.train_teacher import train_teacher


@pytest.fixture
def no_model(monkeypatch):
    def build(*_, **__):
        raise AssertionError("a model was built")

    monkeypatch.setattr(factory, "make_model", build)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("fp16=true", "bf16=true"), "fp16=true and bf16=true contradict each other"),
        (("warmup_steps=50", "max_steps=10"), "warmup_steps=50 is more than max_steps=10"),
        (("warmup_steps=5", "warmup_ratio=0.1"), "contradict each other; keep one"),
        (("num_epochs=0",), "teacher.num_epochs: input should be greater than 0, got 0"),
        (("learning_rate=fast",), "teacher.learning_rate: input should be a valid number"),
        (("learning_rate=-1",), "teacher.learning_rate: input should be greater than 0"),
        (("learning_rate=true",), "teacher.learning_rate: input should be a number, got True"),
        (("learning_rate=.inf",), "teacher.learning_rate: input should be a finite number"),
        (("batch_size=yes",), "teacher.batch_size: input should be a number, got True"),
        (("sharding=true",), "teacher.sharding: input should be a number, got True"),
        (("min_lr=1",), "min_lr=1 is above learning_rate=0.01"),
        (("sharding=4",), "teacher.sharding"),
        (("sharding=1", "fp16=true"), "sharding=1 and fp16=true"),
        (("sharding=2", "health.noise_scale=true"), "sharding=2 and health.noise_scale=true"),
        (("sharding=1", "tensor_parallel=2"), "tensor_parallel=2 and sharding=1 do not go"),
        (("lora.r=4", "tensor_parallel=2"), "tensor_parallel=2 and lora do not go together"),
        (("fp16=true", "tensor_parallel=2"), "tensor_parallel=2 and fp16=true do not go"),
        (("optimizer=lamb", "tensor_parallel=2"), "tensor_parallel=2 and optimizer=lamb"),
        (("tensor_parallel=0",), "teacher.tensor_parallel: input should be greater than 0, got 0"),
        (("save_steps=often",), "teacher.save_steps"),
        (("health.spike_report=20",), "spike_report=20 is above spike_skip=10"),
        (("health.spike_skp=3",), "did you mean teacher.health.spike_skip"),
    ],
)
def test_contradictions_and_wrong_values_are_refused_by_the_configuration(project, keys, words):
    with pytest.raises(ConfigError) as caught:
        project.config(*(f"teacher.{key}" for key in keys))
    assert words in str(caught.value)


def test_cache_of_another_tokenizer(project, no_model, tmp_path):
    data = tmp_path / "processed"
    shutil.copytree(project.config().data.output_dir, data)
    manifest = data / "tokens" / "MANIFEST.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["tokenizer_fingerprint"] = "0" * 64
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        train_teacher(project.config(f"data.output_dir={data}"))
    assert "tokenizer" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_model_or_optimizer(project, monkeypatch):
    train_teacher(project.config("teacher.max_steps=4"))

    def build(*_, **__):
        raise AssertionError("a model was built")

    monkeypatch.setattr(factory, "make_model", build)
    for key, words in (
        ("architecture.hidden_size=32", "it was made with another model"),
        ("optimizer=sgd", "optimizer was 'adamw' and is 'sgd' now"),
    ):
        with pytest.raises(CheckpointNotFound) as caught:
            train_teacher(project.config("teacher.max_steps=8", f"teacher.{key}"))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def broken_folders(root):
    """Model folders that cannot be read, by what is wrong with them."""
    (root / "empty").mkdir()
    (root / "torn").mkdir()
    (root / "torn" / "config.json").write_text('{"model_type": ', encoding="utf-8")
    (root / "torn" / "model.safetensors").write_bytes(b"\0" * 4)
    (root / "other").mkdir()
    (root / "other" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (root / "weightless").mkdir()
    (root / "weightless" / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    (root / "file").write_text("weights", encoding="utf-8")
    return ("empty", "torn", "other", "weightless", "file", "missing")


def test_unreadable_model_folders(project, tmp_path):
    for name in broken_folders(tmp_path):
        with pytest.raises(LinguaBridgeError) as caught:
            train_teacher(
                project.config("teacher.architecture=null", f"teacher.model_name={tmp_path}/{name}")
            )
        assert "\n" not in str(caught.value), name
        assert str(tmp_path / name) in str(caught.value), name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_folder_without_permission(project, no_model, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(LinguaBridgeError, match="cannot hold checkpoints: Permission denied"):
        train_teacher(project.config(f"teacher.output_dir={closed}/run"))


def test_output_folder_that_is_a_file(project, no_model, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(LinguaBridgeError, match="cannot hold checkpoints"):
        train_teacher(project.config(f"teacher.output_dir={tmp_path}/file"))


def test_missing_model_with_lora(project, no_model):
    with pytest.raises(ModelError, match="nowhere"):
        train_teacher(
            project.config(
                "teacher.architecture=null", "teacher.model_name=./nowhere", "teacher.lora.r=4"
            )
        )


def test_a_run_says_with_which_other_settings_it_goes_on(project, caplog):
    train_teacher(project.config("teacher.max_steps=4"))
    caplog.clear()
    train_teacher(project.config("teacher.max_steps=6", "teacher.weight_decay=0.5"))
    assert any("weight_decay was 0.01 and is 0.5 now" in line for line in caplog.messages)


def test_a_finished_run_keeps_the_name_of_its_settings(project):
    train_teacher(project.config("teacher.max_steps=4"))
    summary = project.summary("teacher")
    with pytest.raises(ConfigError) as caught:
        train_teacher(project.config("teacher.max_steps=4", "teacher.health.spike_skip=99"))
    assert "holds a finished run with other settings" in str(caught.value)
    assert "health.spike_skip was 10 and is 99 now" in str(caught.value)
    assert project.summary("teacher") == summary


def test_a_corpus_without_dev_pairs(project, no_model, tmp_path):
    data = tmp_path / "processed"
    shutil.copytree(project.config().data.output_dir, data)
    manifest = data / "tokens" / "MANIFEST.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["splits"]["dev"] = {"pairs": 0, "segments": []}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"the dev split holds no pairs.*data\.splits\.dev"):
        train_teacher(project.config(f"data.output_dir={data}"))
