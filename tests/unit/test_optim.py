"""Learning rate as a function of the step; clipping; optimizer state under stable names."""

from contextlib import contextmanager
from typing import get_args

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.checkpoint.format import HostTensor
from src.errors import CheckpointError
from src.schema import TeacherConfig
from src.schema.training import MASTER_WEIGHT_OPTIMIZERS, OptimizerName
from src.training.optim import (
    build_optimizer,
    clip_gradients,
    learning_rate_at,
    optimizer_tensors,
    restore_optimizer,
)
from src.training.snapshot import Snapshot


def rates(total, **keys):
    at = learning_rate_at(TeacherConfig(**keys), total_steps=total)
    return [at(step) for step in range(total)]


def test_warmup_peak_and_floor_are_reached():
    found = rates(11, learning_rate=1.0, warmup_steps=4, min_lr=0.1, lr_scheduler="linear")
    np.testing.assert_allclose(found[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[-1] == pytest.approx(0.1)
    cosine = rates(11, learning_rate=1.0, min_lr=0.1)
    assert cosine[0] == 1.0
    assert cosine[5] == pytest.approx(0.55)
    assert cosine[-1] == pytest.approx(0.1)
    assert set(rates(5, learning_rate=2.0, lr_scheduler="constant")) == {2.0}


def test_warmup_ratio_is_a_share_of_all_steps():
    assert rates(20, learning_rate=1.0, warmup_ratio=0.2) == rates(
        20, learning_rate=1.0, warmup_steps=4
    )


@given(
    total=st.integers(1, 60),
    warmup=st.integers(0, 80),
    scheduler=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_rate_stays_between_zero_and_peak(total, warmup, scheduler):
    found = rates(total, learning_rate=0.5, warmup_steps=warmup, lr_scheduler=scheduler)
    assert all(0 <= rate <= 0.5 for rate in found)


def parameters():
    paddle.seed(3)
    layer = paddle.nn.Linear(4, 3)
    return {"b": layer.bias, "w": layer.weight}


@contextmanager
def dtype_guard(dtype):
    """Layers made inside have weights of this type."""
    previous = paddle.get_default_dtype()
    paddle.set_default_dtype(dtype)
    try:
        yield
    finally:
        paddle.set_default_dtype(previous)


def take_step(optimizer, named, seed):
    random = np.random.default_rng(seed)
    loss = sum(
        (value * paddle.to_tensor(random.normal(size=value.shape).astype("float32"))).sum()
        for value in named.values()
    )
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()


def test_clipping_scales_all_gradients_to_the_norm_and_reports_the_old_one():
    named = parameters()
    for value in named.values():
        (value * 3.0).sum().backward()
    assert clip_gradients(named, max_norm=1.0) == pytest.approx(3 * np.sqrt(15))
    norm = np.sqrt(sum((value.grad.numpy() ** 2).sum() for value in named.values()))
    assert norm == pytest.approx(1.0, rel=1e-5)
    assert clip_gradients(named, max_norm=0) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("rule", get_args(OptimizerName))
def test_restored_optimizer_continues_bit_for_bit(rule):
    config = TeacherConfig(learning_rate=0.1, optimizer=rule)
    straight = parameters()
    optimizer = build_optimizer(config, straight)
    for seed in range(4):
        take_step(optimizer, straight, seed)

    first = parameters()
    before = build_optimizer(config, first)
    for seed in range(2):
        take_step(before, first, seed)
    saved = saved_state(before, first)
    second = parameters()
    for name, value in second.items():
        value.set_value(first[name])
    after = build_optimizer(config, second)
    restore_optimizer(after, second, saved)
    for seed in range(2, 4):
        take_step(after, second, seed)
    for name, value in second.items():
        assert (value.numpy() == straight[name].numpy()).all()


@pytest.mark.parametrize("rule", MASTER_WEIGHT_OPTIMIZERS)
def test_master_weights_and_their_state_are_restored(rule):
    """Up to the update itself, which Paddle has for low precision on GPUs only."""
    config = TeacherConfig(optimizer=rule, bf16=True, fp16_opt_level="O2")
    saved: list[dict[str, HostTensor]] = []
    restored: list[dict[str, HostTensor]] = []
    for arrays in (saved, restored):
        with dtype_guard("bfloat16"):
            named = {name: paddle.nn.Linear(4, 3).weight for name in "ab"}
        optimizer = build_optimizer(config, named)
        if saved:
            restore_optimizer(optimizer, named, saved[0])
        block = paddle.static.default_main_program().global_block()
        optimizer._create_accumulators(block, list(named.values()))
        if not saved:
            masters = optimizer.state_dict().get("master_weights", {})
            for tensor in masters.values():
                tensor.set_value(paddle.randn(tensor.shape))
        arrays.append(saved_state(optimizer, named))
    assert {"a//master", "b//master"} <= set(saved[0])
    assert set(restored[0]) == set(saved[0])
    for name, tensor in saved[0].items():
        np.testing.assert_array_equal(restored[0][name].data, tensor.data, err_msg=name)


def saved_state(optimizer, named):
    """What a save copies and a file gives back."""
    return Snapshot().take(weights={}, others=optimizer_tensors(optimizer, named))[1]


def test_state_of_other_parameters_is_refused():
    named = parameters()
    optimizer = build_optimizer(TeacherConfig(), named)
    take_step(optimizer, named, 0)
    saved = saved_state(optimizer, named)
    others = {"x": named["b"], "y": named["w"]}
    with pytest.raises(CheckpointError, match="which this model does not train"):
        restore_optimizer(build_optimizer(TeacherConfig(), others), others, saved)


@pytest.mark.parametrize("rule", get_args(OptimizerName))
def test_weight_decay_spares_vectors(rule):
    named = parameters()
    named["b"].set_value(paddle.ones([3]))
    start = {name: value.numpy() for name, value in named.items()}
    optimizer = build_optimizer(
        TeacherConfig(learning_rate=0.1, weight_decay=0.5, optimizer=rule), named
    )
    for value in named.values():
        (value * 0.0).sum().backward()
    optimizer.step()
    assert (named["b"].numpy() == start["b"]).all()
    if rule in {"adamw", "sgd", "momentum"}:
        np.testing.assert_allclose(named["w"].numpy(), start["w"] * 0.95, rtol=1e-5)
    # Where the decay is part of the gradient, its size is divided out in part or whole.
    assert ((named["w"].numpy() - start["w"]) * start["w"] < 0).all()


def test_settings_reach_the_update_rule():
    """First steps in closed form: momentum and sgd move by the gradient, adam by its sign."""
    rules: dict[OptimizerName, float] = {"sgd": -0.3, "momentum": -0.3, "adam": -0.1}
    for rule, expected in rules.items():
        named = parameters()
        start = named["w"].numpy()
        config = TeacherConfig(learning_rate=0.1, weight_decay=0.0, optimizer=rule)
        optimizer = build_optimizer(config, named)
        for value in named.values():
            (value * 3.0).sum().backward()
        optimizer.step()
        np.testing.assert_allclose(named["w"].numpy() - start, expected, rtol=1e-4)
    velocity = build_optimizer(TeacherConfig(optimizer="momentum", adam_beta1=0.5), parameters())
    assert velocity._momentum == 0.5
