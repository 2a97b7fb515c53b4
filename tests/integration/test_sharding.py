"""Optimizer state spread over two CPU ranks: weights and files of a run without sharding."""

import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from src.errors import ConfigError
from src.monitoring.metrics import METRICS_FILE, read_metrics
from src.training.parallel import Ranks
from src.training.sharding import assign_owners
from tests.fakes.faulty_training import train

KEYS = ("teacher.batch_size=4", "teacher.global_batch_size=8", "teacher.save_total_limit=9")
SHARDED = (*KEYS, "teacher.sharding=1")


@pytest.mark.distributed
@pytest.mark.parametrize("rule", ["adamw", pytest.param("lamb", marks=pytest.mark.slow)])
def test_sharded_run_equals_the_unsharded_one_bit_for_bit(project, lives, rule):
    keys = (f"teacher.optimizer={rule}", "teacher.ema_decay=0.8")
    lives.run(project.folder / "whole", *KEYS, *keys, ranks=2)
    lives.run(project.folder / "shared", *SHARDED, *keys, ranks=2)
    assert project.losses("shared") == project.losses("whole")
    whole, shared = project.summary("whole"), project.summary("shared")
    assert shared["weights_sha256"] == whole["weights_sha256"]
    assert shared["best_eval_loss"] == whole["best_eval_loss"]
    file = "checkpoint-00000012/optimizer-rank00000.safetensors"
    theirs, ours = (load_file(project.folder / name / file) for name in ("whole", "shared"))
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        assert (array == theirs[name]).all(), name


@pytest.mark.slow
@pytest.mark.distributed
def test_sharded_run_is_killed_and_resumed_bit_for_bit(project, lives):
    lives.run(project.folder / "straight", *SHARDED, ranks=2)
    folder = project.folder / "killed"
    for kind, count in (("outside", 9), ("inside", 60)):
        assert lives.run(folder, *SHARDED, ranks=2, kind=kind, count=count)["code"] == -9
    lives.run(folder, *SHARDED, ranks=2)
    assert project.losses("killed") == project.losses("straight")
    found, expected = project.summary("killed"), project.summary("straight")
    assert found["resumed_from"] is not None
    assert found["weights_sha256"] == expected["weights_sha256"]


@pytest.mark.slow
@pytest.mark.distributed
def test_number_of_ranks_and_sharding_may_change_at_resume(project, lives):
    """Two sharded, one alone, two sharded again: the losses of a run on one rank."""
    folder = project.folder / "changing"
    lives.run(folder, *SHARDED, "teacher.max_steps=5", "teacher.lr_scheduler=constant", ranks=2)
    lives.run(folder, *KEYS, "teacher.max_steps=9", "teacher.lr_scheduler=constant")
    lives.run(folder, *SHARDED, "teacher.lr_scheduler=constant", ranks=2)
    lives.run(project.folder / "flat", *KEYS, "teacher.lr_scheduler=constant")
    assert project.summary("changing")["resumed_from"] == "checkpoint-00000009"
    assert project.losses("changing") == pytest.approx(project.losses("flat"), rel=2e-5)


def test_owners_share_the_load_and_are_the_same_for_the_same_sizes():
    sizes = {f"layer.{index}": 100 + index for index in range(20)} | {"embedding": 900}
    owners = assign_owners(sizes, ranks=3)
    loads = [sum(sizes[name] for name in sizes if owners[name] == rank) for rank in range(3)]
    assert sum(loads) == sum(sizes.values())
    assert max(loads) <= 1.1 * sum(loads) / 3
    assert assign_owners(dict(reversed(list(sizes.items()))), ranks=3) == owners


@pytest.mark.distributed
def test_stage_2_gives_the_losses_of_a_run_without_sharding_and_resumes_bit_for_bit(project, lives):
    keys = (*KEYS, "teacher.batch_size=2", "teacher.max_grad_norm=0.5")
    lives.run(project.folder / "whole", *keys, ranks=2)
    shared = (*keys, "teacher.sharding=2")
    lives.run(project.folder / "shared", *shared, ranks=2)
    assert project.losses("shared") == pytest.approx(project.losses("whole"), rel=2e-5)
    norms = [gradient_norms(project, name) for name in ("shared", "whole")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    folder = project.folder / "killed"
    assert lives.run(folder, *shared, ranks=2, kind="outside", count=17)["code"] == -9
    lives.run(folder, *shared, ranks=2)
    assert project.summary("killed")["resumed_from"] is not None
    found, expected = project.summary("killed"), project.summary("shared")
    assert found["weights_sha256"] == expected["weights_sha256"]


DEEP = (*KEYS, "teacher.architecture.num_hidden_layers=3", "teacher.batch_size=2")


@pytest.mark.distributed
@pytest.mark.parametrize(
    "keys",
    [
        (),
        pytest.param(
            ("teacher.gradient_checkpointing=true", "teacher.ema_decay=0.8"),
            marks=pytest.mark.slow,
        ),
        pytest.param(("teacher.architecture.tie_word_embeddings=false",), marks=pytest.mark.slow),
    ],
)
def test_stage_3_gives_the_weights_of_stage_2_bit_for_bit_and_resumes(project, lives, keys):
    for stage in (2, 3):
        name = str(stage)
        lives.run(project.folder / name, *DEEP, *keys, f"teacher.sharding={name}", ranks=2)
    assert project.losses("3") == project.losses("2")
    two, three = project.summary("2"), project.summary("3")
    for key in ("weights_sha256", "best_eval_loss"):
        assert three[key] == two[key]
    for file in (project.folder / "2" / "checkpoint-00000012").glob("*.safetensors"):
        theirs, ours = (
            load_file(file),
            load_file(project.folder / "3" / file.parent.name / file.name),
        )
        assert set(ours) == set(theirs)
        for name, array in theirs.items():
            assert (ours[name] == array).all(), name
    folder, keys = project.folder / "killed", (*DEEP, *keys, "teacher.sharding=3")
    assert lives.run(folder, *keys, ranks=2, kind="outside", count=17)["code"] == -9
    lives.run(folder, *keys, ranks=2)
    assert project.summary("killed")["resumed_from"] is not None
    assert project.summary("killed")["weights_sha256"] == three["weights_sha256"]


@pytest.mark.slow
@pytest.mark.distributed
def test_stage_3_goes_on_alone_and_from_there(project, lives):
    keys = (*DEEP, "teacher.lr_scheduler=constant")
    folder = project.folder / "changing"
    lives.run(folder, *keys, "teacher.sharding=3", "teacher.max_steps=5", ranks=2)
    lives.run(folder, *keys, "teacher.max_steps=9")
    lives.run(folder, *keys, "teacher.sharding=3", ranks=2)
    lives.run(project.folder / "flat", *keys)
    assert project.summary("changing")["resumed_from"] == "checkpoint-00000009"
    assert project.losses("changing") == pytest.approx(project.losses("flat"), rel=2e-5)


@pytest.mark.slow
@pytest.mark.distributed
def test_stage_3_spreads_the_frozen_weights_under_adapters(project, lives):
    lives.run(project.folder / "base", *DEEP, "teacher.max_steps=2")
    keys = (
        *KEYS,
        "teacher.architecture=null",
        f"teacher.model_name={project.folder}/base/final",
        "teacher.lora={r: 4, alpha: 8, dropout: 0.1}",
    )
    for stage in (2, 3):
        lives.run(project.folder / str(stage), *keys, f"teacher.sharding={stage}", ranks=2)
    assert project.losses("3") == project.losses("2")
    assert project.summary("3")["weights_sha256"] == project.summary("2")["weights_sha256"]


def gradient_norms(project, name):
    return [
        item["grad_norm"]
        for item in read_metrics(project.folder / name / METRICS_FILE)
        if "grad_norm" in item
    ]


@pytest.mark.parametrize(
    ("key", "ranks", "words"),
    [
        ("sharding=1", 1, "sharding=1 spreads the model over devices and this run has one"),
        ("tensor_parallel=2", 1, "tensor_parallel=2 spreads the model over devices"),
        ("sharding=3", 1, "sharding=3 spreads the model over devices and this run has one"),
        ("tensor_parallel=2", 3, "tensor_parallel=2 does not divide this run's 3 devices"),
    ],
)
def test_what_the_devices_cannot_do_is_refused_before_anything_is_made(project, key, ranks, words):
    with pytest.raises(ConfigError, match=words):
        train(project.config(f"teacher.{key}"), ranks=Ranks(rank=0, world_size=ranks))
    assert not (project.folder / "teacher").exists()


@pytest.mark.gpu(2)
@pytest.mark.distributed
@pytest.mark.parametrize(
    "keys",
    [
        ("teacher.sharding=1",),
        ("teacher.sharding=2",),
        ("teacher.sharding=3",),
        ("teacher.sharding=3", "teacher.gradient_checkpointing=true"),
        ("teacher.tensor_parallel=2",),
        ("teacher.tensor_parallel=2", "teacher.gradient_checkpointing=true"),
    ],
)
def test_spread_run_on_two_gpus_equals_the_whole_one(project, keys):
    """Under the launcher, over NCCL; interrupted in the middle and resumed."""
    run_on_gpus(project, "whole")
    run_on_gpus(project, "shared", *keys, "teacher.max_steps=6")
    run_on_gpus(project, "shared", *keys)
    assert project.summary("shared")["resumed_from"] == "checkpoint-00000006"
    assert project.losses("shared") == pytest.approx(project.losses("whole"), rel=1e-3)


@pytest.mark.gpu(4)
@pytest.mark.distributed
def test_two_replicas_of_a_cut_model_equal_two_ranks(project):
    run_on_gpus(project, "whole", devices="0,1")
    run_on_gpus(project, "cut", "teacher.tensor_parallel=2", devices="0,1,2,3")
    assert project.losses("cut") == pytest.approx(project.losses("whole"), rel=1e-3)


@pytest.mark.gpu(2)
@pytest.mark.distributed
@pytest.mark.parametrize("key", ["sharding=3", "tensor_parallel=2"])
def test_spread_run_learns_in_bfloat16(project, key):
    run_on_gpus(
        project, "shared", f"teacher.{key}", "teacher.bf16=true", "teacher.fp16_opt_level=O2"
    )
    losses = project.losses("shared")
    assert losses[12] < losses[1]


def run_on_gpus(project, name, *keys, devices="0,1"):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "paddle.distributed.launch", "--gpus", devices),
            *("--log_dir", str(project.folder / "log"), "src/train_teacher.py"),
            *("--config", str(project.file), *DEEP, "teacher.lr_scheduler=constant"),
            *("teacher.architecture.num_key_value_heads=2", *keys),
            f"teacher.output_dir={project.folder / name}",
        ],
        check=False,
    )
    assert result.returncode == 0
