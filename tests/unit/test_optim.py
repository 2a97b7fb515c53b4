"""Learning rate as a function of the step; clipping; optimizer state under stable names."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import CheckpointError
from src.schema import TeacherConfig
from src.training.optim import (
    build_optimizer,
    clip_gradients,
    learning_rate_at,
    optimizer_arrays,
    restore_optimizer,
)


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


def test_restored_optimizer_continues_bit_for_bit():
    config = TeacherConfig(learning_rate=0.1)
    straight = parameters()
    optimizer = build_optimizer(config, straight)
    for seed in range(4):
        take_step(optimizer, straight, seed)

    first = parameters()
    before = build_optimizer(config, first)
    for seed in range(2):
        take_step(before, first, seed)
    saved = optimizer_arrays(before, first)
    second = parameters()
    for name, value in second.items():
        value.set_value(first[name])
    after = build_optimizer(config, second)
    restore_optimizer(after, second, saved)
    for seed in range(2, 4):
        take_step(after, second, seed)
    for name, value in second.items():
        assert (value.numpy() == straight[name].numpy()).all()


def test_state_of_other_parameters_is_refused():
    named = parameters()
    optimizer = build_optimizer(TeacherConfig(), named)
    take_step(optimizer, named, 0)
    saved = optimizer_arrays(optimizer, named)
    others = {"x": named["b"], "y": named["w"]}
    with pytest.raises(CheckpointError, match="which this model does not train"):
        restore_optimizer(build_optimizer(TeacherConfig(), others), others, saved)


def test_weight_decay_spares_vectors():
    named = parameters()
    start = {name: value.numpy() for name, value in named.items()}
    optimizer = build_optimizer(TeacherConfig(learning_rate=0.1, weight_decay=0.5), named)
    for value in named.values():
        (value * 0.0).sum().backward()
    optimizer.step()
    assert (named["b"].numpy() == start["b"]).all()
    np.testing.assert_allclose(named["w"].numpy(), start["w"] * 0.95, rtol=1e-5)
