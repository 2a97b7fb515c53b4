"""Runs whose model is cut over two CPU ranks: losses and files of a run on one."""

import pytest
from safetensors.numpy import load_file

from src.errors import ConfigError
from src.training.parallel import Ranks
from tests.fakes.faulty_training import train

pytestmark = pytest.mark.distributed

KEYS = (
    "teacher.architecture.num_hidden_layers=2",
    "teacher.architecture.num_key_value_heads=2",
    "teacher.batch_size=4",
    "teacher.global_batch_size=8",
    "teacher.lr_scheduler=constant",
    "teacher.max_grad_norm=0.5",
    "teacher.save_total_limit=9",
)
CUT = (*KEYS, "teacher.tensor_parallel=2")


def test_cut_run_equals_the_whole_one_and_resumes_bit_for_bit(project, lives):
    lives.run(project.folder / "whole", *KEYS)
    lives.run(project.folder / "cut", *CUT, ranks=2)
    whole, cut = project.summary("whole"), project.summary("cut")
    assert project.losses("cut") == pytest.approx(project.losses("whole"), rel=1e-4)
    assert cut["best_eval_loss"] == pytest.approx(whole["best_eval_loss"], rel=1e-4)
    assert cut["tokens_seen"] == whole["tokens_seen"]
    for file in (project.folder / "whole" / "checkpoint-00000004").glob("*.safetensors"):
        theirs = load_file(file)
        ours = load_file(project.folder / "cut" / file.parent.name / file.name)
        assert {name: array.shape for name, array in ours.items()} == {
            name: array.shape for name, array in theirs.items()
        }
    folder = project.folder / "killed"
    assert lives.run(folder, *CUT, ranks=2, kind="outside", count=15)["code"] == -9
    lives.run(folder, *CUT, ranks=2)
    assert project.summary("killed")["resumed_from"] is not None
    assert project.summary("killed")["weights_sha256"] == cut["weights_sha256"]


@pytest.mark.slow
def test_number_of_devices_may_change_at_resume(project, lives):
    """Cut over two, whole on one, a replica on each of two, cut again: the losses of one."""
    folder = project.folder / "changing"
    average = "teacher.ema_decay=0.8"
    lives.run(folder, *CUT, average, "teacher.max_steps=3", ranks=2)
    lives.run(folder, *KEYS, average, "teacher.max_steps=6")
    lives.run(folder, *KEYS, average, "teacher.max_steps=9", ranks=2)
    lives.run(folder, *CUT, average, "teacher.gradient_checkpointing=true", ranks=2)
    lives.run(project.folder / "flat", *KEYS, average)
    assert project.summary("changing")["resumed_from"] == "checkpoint-00000009"
    assert project.losses("changing") == pytest.approx(project.losses("flat"), rel=1e-4)


@pytest.mark.slow
def test_a_stored_model_is_cut_while_it_is_read(project, lives):
    lives.run(project.folder / "base", *KEYS, "teacher.max_steps=2")
    stored = ("teacher.architecture=null", f"teacher.model_name={project.folder}/base/final")
    for name, keys, ranks in (("whole", KEYS, 1), ("cut", CUT, 2)):
        settings = [key for key in keys if "architecture" not in key]
        lives.run(project.folder / name, *settings, *stored, ranks=ranks)
    assert project.losses("cut") == pytest.approx(project.losses("whole"), rel=1e-4)


@pytest.mark.parametrize(("key", "size"), [("num_key_value_heads", 1), ("intermediate_size", 25)])
def test_a_model_that_cannot_be_cut_is_refused(key, size):
    from src.models.description import cut_config

    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}
    with pytest.raises(ConfigError, match=f"does not divide the model's {key}={size}"):
        cut_config({**sizes, key: size}, 2)


def test_replicas_of_a_cut_model_are_refused_on_cpus(project):
    with pytest.raises(ConfigError, match="tensor_parallel=2 on 4 CPU processes"):
        train(project.config("teacher.tensor_parallel=2"), ranks=Ranks(rank=0, world_size=4))
    assert not (project.folder / "teacher").exists()
