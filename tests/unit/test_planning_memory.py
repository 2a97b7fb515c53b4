"""Parameters, memory, time: by hand, against published numbers, and how they must move."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plan_accuracy import (
    MEMORY_AIM,
    SPEED_AIM,
    errors,
    fit_memory,
    log_ratios,
    memory_of,
    speed_of,
)
from benchmarks.published_runs import published_memory, published_speed, read_points
from src.config import load_config
from src.errors import ConfigError
from src.planning.catalogue import find_gpu
from src.planning.compute import SPEED, pass_operations, pass_time
from src.planning.memory import GIB, MEMORY, device_memory
from src.planning.schedule import critical_batch_tokens, scaled_rate, steps_of
from src.planning.sections import stage_work
from src.planning.shape import ModelShape, shape_of_model, shape_of_parameters
from src.planning.strategies import gpus_needed
from src.planning.workload import Adapters, Workload
from src.schema.model_sizes import MODEL_SIZES

SMALL = ModelShape("small", 1000, 64, 2, 128, 4, 2, is_tied=True)


@pytest.mark.parametrize("size", MODEL_SIZES, ids=lambda size: size.name)
def test_parameters_are_those_of_the_known_models(size):
    assert shape_of_model(size.name).parameters == size.parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as published with the models
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
    ],
)
def test_parameters_are_the_published_ones(name, parameters):
    assert shape_of_model(name).parameters == parameters


def test_parameters_by_hand():
    keys = 32  # 64 / 4 heads x 2
    block = 2 * 64 * 64 + 2 * 64 * keys + 3 * 64 * 128
    assert SMALL.linear_parameters == 2 * block
    assert SMALL.parameters == 1000 * 64 + 2 * (block + 64 + 2 * keys + 2 * 64) + 64
    assert SMALL.adapter_parameters(4, ("q_proj", "down_proj")) == 2 * 4 * (64 + 64 + 128 + 64)


def test_a_model_folder_is_read(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128,'
        ' "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": true}',
        encoding="utf-8",
    )
    assert shape_of_model(str(tmp_path)).parameters == SMALL.parameters
    (tmp_path / "config.json").write_text('{"vocab_size": 1000}', encoding="utf-8")
    with pytest.raises(ConfigError, match="does not give the sizes"):
        shape_of_model(str(tmp_path))


@pytest.mark.parametrize("parameters", [3e8, 1e9, 7e9, 30e9, 400e9])
def test_a_number_of_parameters_gives_a_plausible_shape(parameters):
    shape = shape_of_parameters(parameters)
    assert shape.parameters == int(parameters)
    body = shape.linear_parameters + shape.projection_parameters
    assert body == pytest.approx(parameters, rel=0.6)


def test_an_absurd_number_of_parameters_is_refused():
    with pytest.raises(ConfigError, match="cannot be planned for"):
        shape_of_parameters(7)


def test_state_by_hand():
    shape = shape_of_model("Qwen/Qwen2.5-7B")
    parts = device_memory(Workload(shape=shape, rows=1, length=1))
    assert (parts.weights + parts.gradients + parts.optimizer) / MEMORY.state == pytest.approx(
        16 * 7_615_616_512
    )
    shared = device_memory(Workload(shape=shape, rows=1, length=1, devices=8, sharding=3))
    assert shared.weights == pytest.approx(parts.weights / 8)
    assert shared.optimizer == pytest.approx(parts.optimizer / 8)


def test_all_weights_of_7b_do_not_fit_24_gb():
    shape = shape_of_model("Qwen/Qwen2.5-7B")
    smallest = Workload(shape=shape, rows=1, length=64, recomputes=True)
    assert device_memory(smallest).total / GIB > 4 * find_gpu("a10").memory_gib


workloads = st.builds(
    Workload,
    shape=st.just(shape_of_model("Qwen/Qwen2.5-0.5B")),
    rows=st.integers(1, 64),
    length=st.integers(8, 512),
    devices=st.sampled_from([1, 2, 4, 8]),
    sharding=st.integers(0, 3),
    recomputes=st.booleans(),
    adapters=st.one_of(st.none(), st.builds(Adapters, rank=st.integers(1, 64))),
    bits=st.just("none"),
)


@given(workloads)
def test_memory_never_falls_with_the_batch_and_the_length(workload):
    total = device_memory(workload).total
    assert device_memory(replace(workload, rows=workload.rows + 1)).total >= total
    assert device_memory(replace(workload, length=workload.length + 1)).total >= total


@given(workloads)
def test_what_saves_memory_saves_memory(workload):
    total = device_memory(workload).total
    assert all(value >= 0 for value in asdict(device_memory(workload)).values())
    if workload.sharding < 3:
        more = replace(workload, sharding=workload.sharding + 1)
        assert device_memory(more).total <= total * (1 + 1e-9)
    if workload.adapters is not None:
        low = replace(workload, bits="nf4")
        assert device_memory(low).total < total


@given(workloads)
def test_recomputation_stores_less_and_computes_more(workload):
    plain, again = replace(workload, recomputes=False), replace(workload, recomputes=True)
    assert pass_operations(again)[0] > pass_operations(plain)[0]
    assert pass_operations(again)[1] == pytest.approx(pass_operations(plain)[1])
    gpu = find_gpu("a100-80g")
    assert pass_time(again, gpu).total > pass_time(plain, gpu).total
    if workload.tokens > 1000:
        assert device_memory(again).activations < device_memory(plain).activations


def test_operations_by_hand():
    # 6 N of all weights that multiply, and causal attention 3 · 4 · L · D · T / 2.
    work = Workload(shape=SMALL, rows=2, length=10, loss="whole")
    weights = SMALL.linear_parameters + 1000 * 64
    assert pass_operations(work)[0] == 20 * (6 * weights + 3 * 4 * 2 * 64 * 10 / 2)
    frozen = replace(work, adapters=Adapters(1, ("q_proj",)))
    adapters = SMALL.adapter_parameters(1, ("q_proj",))
    assert pass_operations(frozen)[0] == 20 * (4 * weights + 3 * 4 * 2 * 64 * 10 / 2 + 6 * adapters)


def test_published_runs_are_predicted_as_well_as_promised():
    points = read_points()
    memory = [point for point in points if point.memory is not None]
    speed = [point for point in points if point.speed is not None]
    assert len(memory) >= 85
    assert len(speed) >= 70
    found = log_ratios(memory[1::2], lambda point: memory_of(point, MEMORY), published_memory)
    assert errors(found)["median"] <= MEMORY_AIM
    found = log_ratios(speed[1::2], lambda point: speed_of(point, SPEED), published_speed)
    assert errors(found)["median"] <= SPEED_AIM


def test_the_constants_in_use_are_those_that_were_fitted():
    points = [point for point in read_points() if point.memory is not None]
    fitted = asdict(fit_memory(points[::2]))
    assert fitted == pytest.approx(asdict(MEMORY), rel=0.02)


def test_fewer_gpus_are_needed_by_what_saves_memory():
    gpus = [find_gpu("a100-80g")]
    needs = {
        need.strategy: need.count or math.inf
        for need in gpus_needed(shape_of_parameters(7e9), gpus, rows=16, length=384)
    }
    assert needs["full, 16 bit, on each GPU"] == math.inf
    assert needs["full, 16 bit, sharding 3"] <= needs["full, 16 bit, sharding 2"]
    assert needs["LoRA r16, nf4 weights"] == 1


def test_steps_of_a_run():
    steps = steps_of(1000, global_batch=64, epochs=2, max_steps=None, save_steps=10)
    assert (steps.total, steps.per_epoch, steps.checkpoints, steps.items) == (32, 16, 4, 2000)
    cut = steps_of(1000, global_batch=64, epochs=2, max_steps=16, save_steps=10)
    assert (cut.total, cut.is_cut, cut.items) == (16, True, 1000)


def test_packed_rows_hold_the_same_tokens_in_fewer_passes():
    keys = ["teacher.global_batch_size=256", "teacher.batch_size=8", "teacher.max_seq_length=512"]
    works = {
        packing: stage_work(
            load_config([], [*keys, f"teacher.packing={packing}"]),
            "teacher",
            devices=2,
            mean_length=50.0,
        )
        for packing in ("false", "true")
    }
    alone, packed = works["false"], works["true"]
    assert (alone.mean.passes, packed.mean.passes) == (16, 2)  # 13 rows hold 128 pairs
    assert (alone.peak.rows, packed.peak.rows) == (8, 8)
    for work in works.values():
        tokens = work.mean.rows * work.mean.length * work.mean.passes * 2
        assert tokens == pytest.approx(256 * 50)
    few = stage_work(
        load_config([], [*keys, "teacher.packing=true", "teacher.global_batch_size=16"]),
        "teacher",
        devices=2,
        mean_length=50.0,
    )
    assert (few.peak.rows, few.peak.passes) == (1, 1)


def test_rules_of_thumb_by_hand():
    assert scaled_rate(1e-4, batch=64, new_batch=256, rule="linear") == pytest.approx(4e-4)
    assert scaled_rate(1e-4, batch=64, new_batch=256, rule="square root") == pytest.approx(2e-4)
    # Kaplan et al. 2020, fig. 10: about a million tokens at a loss of 3 nats.
    assert critical_batch_tokens(3.0) == pytest.approx(1.07e6, rel=0.01)
