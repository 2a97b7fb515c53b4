"""The moving average: its formula, putting it in place and back, and exact restoring."""

import numpy as np
import paddle
import pytest

from src.errors import ModelError
from src.models.layout import host_arrays
from src.training.ema import MovingAverage


def parameters(dtype="float32"):
    paddle.seed(1)
    layer = paddle.nn.Linear(4, 3)
    layer.bias.set_value(paddle.randn([3]))
    named = {"a.bias": layer.bias, "a.weight": layer.weight}
    return layer, {name: value.astype(dtype) for name, value in named.items()}


def move(named, seed):
    random = np.random.default_rng(seed)
    for value in named.values():
        value.set_value(paddle.to_tensor(random.normal(size=value.shape)).astype(value.dtype))


def values(tensors):
    return {name: tensor.numpy().copy() for name, tensor in tensors.items()}


def test_average_follows_its_formula():
    _, named = parameters()
    average = MovingAverage(named, decay=0.9)
    expected = {name: value.numpy().astype(np.float64) for name, value in named.items()}
    for seed in range(5):
        move(named, seed)
        average.update()
        for name, value in named.items():
            expected[name] = 0.9 * expected[name] + 0.1 * value.numpy()
    for name, tensor in average.tensors.items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-6)


def test_low_precision_weights_are_averaged_in_float32():
    _, named = parameters("bfloat16")
    average = MovingAverage(named, decay=0.999)
    start = values(average.tensors)
    for value in named.values():
        value.set_value(value + 0.5)
    average.update()
    for name, tensor in average.tensors.items():
        assert tensor.dtype == paddle.float32
        # A move of 0.0005 that bfloat16 could not hold.
        assert (abs(tensor.numpy() - start[name]) > 1e-4).all()
        assert (abs(tensor.numpy() - start[name]) < 1e-3).all()


def test_weights_come_back_after_the_average_was_in_place():
    layer, _ = parameters()
    named = {"a.bias": layer.bias, "a.weight": layer.weight}
    average = MovingAverage(named, decay=0.5)
    move(named, 3)
    weights, averages = values(named), values(average.tensors)
    inputs = paddle.ones([1, 4])
    with average.applied():
        inside = layer(inputs).numpy()
    np.testing.assert_allclose(
        inside[0], averages["a.weight"].sum(axis=0) + averages["a.bias"], rtol=1e-5
    )

    def fail_inside():
        with average.applied():
            raise RuntimeError("evaluation failed")

    with pytest.raises(RuntimeError, match="evaluation failed"):
        fail_inside()
    for name, value in named.items():
        np.testing.assert_array_equal(value.numpy(), weights[name])
        assert not value.stop_gradient
    for name, tensor in average.tensors.items():
        np.testing.assert_array_equal(tensor.numpy(), averages[name])


def test_restored_average_goes_on_bit_for_bit():
    _, straight = parameters()
    first = MovingAverage(straight, decay=0.9)
    saved = {}
    for seed in range(4):
        move(straight, seed)
        first.update()
        if seed == 1:
            saved = host_arrays(first.tensors)
    _, named = parameters()
    second = MovingAverage(named, decay=0.9)
    second.restore(saved, source="here")
    for seed in range(2, 4):
        move(named, seed)
        second.update()
    for name, tensor in second.tensors.items():
        np.testing.assert_array_equal(tensor.numpy(), first.tensors[name].numpy())
    del saved["a.bias"]
    with pytest.raises(ModelError, match=r"weights in here do not fit .* missing \['a.bias'\]"):
        second.restore(saved, source="here")
