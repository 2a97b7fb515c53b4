"""Adapters on a frozen model: what is trained, saved, resumed, refused and merged."""

import json
import shutil

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file, save_file

from src.distillation.teacher import find_teacher
from src.errors import CheckpointError, CheckpointNotFound, ConfigError, ModelError
from src.models.factory import (
    hidden_states,
    load_model,
    logits,
    make_model,
    trainable_parameters,
)
from src.models.hub import model_fingerprint, weight_files
from src.models.layout import read_weights, set_tensors
from src.train_student import train_student
from src.train_teacher import train_teacher
from src.training.corpus import open_corpus
from src.training.parallel import Ranks
from src.training.recipe import train_model
from tests.fakes.full_disk import files_limited_to
from tests.integration.conftest import Project

IDS = np.array([[3, 9, 4, 1, 30], [7, 7, 2, 0, 0]], dtype=np.int64)


@pytest.fixture(scope="session")
def base(processed_data, tmp_path_factory):
    """A model folder to adapt."""
    project = Project(processed_data, tmp_path_factory.mktemp("base"))
    train_teacher(project.config("teacher.max_steps=2"))
    return project.folder / "teacher" / "final"


@pytest.fixture
def adapted(project, base):
    """Configurations that train adapters on the base model."""

    def config(*overrides, section="teacher"):
        keys = (
            "architecture=null",
            f"model_name={base}",
            "lora={r: 4, alpha: 8, dropout: 0.1}",
            "lora.targets=[q_proj, v_proj, down_proj]",
            "lr_scheduler=constant",
            "eval_steps=4",
            "max_steps=8",
        )
        return project.config(*(f"{section}.{key}" for key in keys), *overrides)

    return config


def output(model):
    model.eval()
    with paddle.no_grad():
        return logits(model, hidden_states(model, paddle.to_tensor(IDS))).numpy()


def folder_of(project, *parts):
    return project.folder.joinpath("teacher", *parts)


def test_only_adapters_are_trained_and_saved(project, base, adapted):
    train_teacher(adapted())
    checkpoint = folder_of(project, "checkpoint-00000008")
    assert not (checkpoint / "model.safetensors").exists()
    adapter = load_file(checkpoint / "adapter.safetensors")
    layer = "base_model.model.model.layers.0"
    assert {name: array.shape for name, array in adapter.items()} == {
        f"{layer}.self_attn.q_proj.lora_A.weight": (4, 16),
        f"{layer}.self_attn.q_proj.lora_B.weight": (16, 4),
        f"{layer}.self_attn.v_proj.lora_A.weight": (4, 16),
        f"{layer}.self_attn.v_proj.lora_B.weight": (8, 4),
        f"{layer}.mlp.down_proj.lora_A.weight": (4, 24),
        f"{layer}.mlp.down_proj.lora_B.weight": (16, 4),
    }
    assert all(abs(array).max() > 0 for array in adapter.values())
    state = load_file(checkpoint / "optimizer-rank00000.safetensors")
    assert {name.partition("//")[0] for name in state} == set(adapter)
    description = json.loads((checkpoint / "adapter.json").read_text(encoding="utf-8"))
    assert description["base_model_name_or_path"] == str(base)
    assert (description["r"], description["lora_alpha"]) == (4, 8)
    assert description["linguabridge"] == {"base_fingerprint": model_fingerprint(str(base))}


def test_final_is_the_merged_model_and_computes_what_was_trained(project, base, adapted):
    config = adapted()
    train_teacher(config)
    final, checkpoint = folder_of(project, "final"), folder_of(project, "checkpoint-00000008")
    plain, merged = (load_file(path / "model.safetensors") for path in (base, final))
    assert set(merged) == set(plain)
    changed = {name for name, array in merged.items() if (array != plain[name]).any()}
    assert changed == {
        f"model.layers.0.{name}.weight"
        for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
    }
    assert (final / "adapter.safetensors").read_bytes() == (
        checkpoint / "adapter.safetensors"
    ).read_bytes()
    unmerged = make_model(config.teacher, vocab_size=1)
    adapter = read_weights([checkpoint / "adapter.safetensors"])
    set_tensors(trainable_parameters(unmerged), adapter, source="there")
    expected = output(unmerged)
    np.testing.assert_allclose(output(load_model(str(final))), expected, atol=1e-5)
    published = json.loads((final / "config.json").read_text(encoding="utf-8"))
    assert published["eos_token_id"] == open_corpus(config).tokenizer.eos_id
    # With this name `transformers` would take the folder for an adapter.
    assert not (final / "adapter_config.json").exists()
    # A folder with the adapter alone is a model, too: the base is found and merged.
    assert (output(load_model(str(checkpoint))) == output(load_model(str(final)))).all()
    assert abs(expected - output(load_model(str(base)))).max() > 1e-3


@pytest.mark.parametrize("keys", [(), ("teacher.ema_decay=0.8",)], ids=["raw", "average"])
def test_resumed_adapters_equal_uninterrupted_ones_bit_for_bit(project, adapted, keys):
    straight = train_teacher(adapted(*keys, f"teacher.output_dir={project.folder}/straight"))
    train_teacher(adapted(*keys, "teacher.max_steps=5"))
    resumed = train_teacher(adapted(*keys))
    assert resumed["resumed_from"] == "checkpoint-00000005"
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    for file in ("adapter.safetensors", "optimizer-rank00000.safetensors"):
        ours, theirs = (
            load_file(project.folder / name / "checkpoint-00000008" / file)
            for name in ("teacher", "straight")
        )
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_recomputed_activations_give_the_same_adapters(project, adapted):
    plain = train_teacher(adapted("teacher.max_steps=3"))
    again = train_teacher(
        adapted(
            "teacher.max_steps=3",
            "teacher.gradient_checkpointing=true",
            f"teacher.output_dir={project.folder}/recomputed",
        )
    )
    assert again["final_loss"] == pytest.approx(plain["final_loss"], rel=1e-5)
    assert project.losses("recomputed") == pytest.approx(project.losses("teacher"), rel=1e-5)


def refuse_to_build():
    raise AssertionError("the model was built before the checkpoint was refused")


def resume(config, model="same"):
    """Starts a run up to the moment at which it would build its model."""
    corpus = open_corpus(config)
    ingredients = {"corpus": corpus.fingerprint, "model": model}
    if model == "same":
        ingredients["model"] = model_fingerprint(config.teacher.model_name)
    return train_model(
        config,
        config.teacher,
        corpus=corpus,
        build=refuse_to_build,
        ranks=Ranks(rank=0, world_size=1),
        ingredients=ingredients,
    )


def test_checkpoints_that_do_not_fit_are_refused_before_the_model_is_built(adapted):
    train_teacher(adapted("teacher.max_steps=2"))
    with pytest.raises(CheckpointNotFound, match=r"lora was 'r=4' and is 'r=8' now"):
        resume(adapted("teacher.lora.r=8"))
    with pytest.raises(CheckpointNotFound, match=r"lora was 'alpha=8' and is 'alpha=16' now"):
        resume(adapted("teacher.lora.alpha=16"))
    with pytest.raises(CheckpointNotFound, match=r"v_proj,down_proj' and is 'targets=q_proj' now"):
        resume(adapted("teacher.lora.targets=[q_proj]"))
    with pytest.raises(CheckpointNotFound, match=r"lora was .* and is 'off' now"):
        resume(adapted("teacher.lora=null"))
    with pytest.raises(CheckpointNotFound, match="optimizer was 'adamw' and is 'sgd' now"):
        resume(adapted("teacher.optimizer=sgd"))
    with pytest.raises(CheckpointNotFound, match="it was made with another model"):
        resume(adapted(), model="another")
    with pytest.raises(AssertionError, match="the model was built"):
        resume(adapted("teacher.lora.dropout=0", "teacher.max_steps=3"))


def test_adapter_without_its_base_is_explained(project, base, adapted, tmp_path):
    moved = tmp_path / "base"
    shutil.copytree(base, moved)
    train_teacher(adapted(f"teacher.model_name={moved}", "teacher.max_steps=2"))
    best = folder_of(project, "best")
    assert weight_files(best) == [best / "adapter.safetensors", moved / "model.safetensors"]
    weights = load_file(moved / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    (moved / "model.safetensors").unlink()
    save_file(weights, moved / "model.safetensors")
    with pytest.raises(ModelError, match=r"was trained on another model than .*base holds now"):
        load_model(str(best))
    shutil.rmtree(moved)
    with pytest.raises(ModelError, match=r"model folder .*base does not exist"):
        load_model(str(best))
    (best / "adapter.json").unlink()
    with pytest.raises(ModelError, match=r"adapter\.safetensors without adapter\.json"):
        load_model(str(best))


def test_disk_full_at_the_end_is_explained_and_made_good(project, adapted):
    first = train_teacher(adapted("teacher.max_steps=2"))
    shutil.rmtree(folder_of(project, "final"))
    size = folder_of(project, "checkpoint-00000002", "tokenizer.json").stat().st_size
    with (
        files_limited_to(2 * size),
        pytest.raises(CheckpointError, match=r"final: File too large; make room .*002 is whole"),
    ):
        train_teacher(adapted("teacher.max_steps=2"))
    assert not folder_of(project, "final").exists()
    again = train_teacher(adapted("teacher.max_steps=2"))
    assert again["weights_sha256"] == first["weights_sha256"]
    assert folder_of(project, "final", "model.safetensors").is_file()


def test_student_adapts_with_an_adapted_teacher(project, adapted):
    train_teacher(adapted("teacher.max_steps=2"))
    best = folder_of(project, "best")
    config = adapted(f"student.teacher={best}", "student.max_steps=3", section="student")
    summary = train_student(config)
    assert summary["steps"] == 3
    assert (project.folder / "student/checkpoint-00000003/adapter.safetensors").is_file()
    corpus = open_corpus(config)
    teacher = find_teacher(config, corpus.tokenizer)
    assert (output(teacher.load()) == output(load_model(str(best)))).all()


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_low_bit_weights_are_refused_on_a_cpu_with_the_reason(project, base, kind):
    config = project.config(
        "teacher.architecture=null",
        f"teacher.model_name={base}",
        "teacher.lora={}",
        f"teacher.quantization={kind}",
        "teacher.bf16=true",
        "teacher.fp16_opt_level=O2",
    )
    with pytest.raises(ConfigError, match=f"quantization={kind} needs a GPU: Paddle's") as caught:
        train_teacher(config)
    assert "\n" not in str(caught.value)
    assert not (project.folder / "teacher").exists()
