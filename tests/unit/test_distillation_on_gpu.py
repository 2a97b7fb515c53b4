"""The distillation loss on a GPU is the one on a CPU: values and gradients, live and stored."""

import numpy as np
import paddle
import pytest

from src.distillation.divergences import find_divergence
from src.distillation.online import LiveTerm
from src.distillation.soft_labels.layout import METHODS, RecordLayout
from src.distillation.soft_labels.picture import take_picture
from src.distillation.stored import StoredTerm
from src.training.losses import Projection, token_loss

POSITIONS, WIDTH, ROWS, SHARED, TAU = 70, 16, 512, 500, 2.0
MEASURES = ("forward_kl", "reverse_kl", "jsd", "skewed_kl")


@pytest.fixture
def arrays():
    """Logits so far apart that a softmax clipped at -64, as Paddle's on a CPU is, would show."""
    random = np.random.default_rng(0)
    return {
        "hidden": random.normal(size=(POSITIONS, WIDTH)).astype(np.float32),
        "weight": (6 * random.normal(size=(ROWS, WIDTH))).astype(np.float32),
        "labels": random.integers(0, SHARED, POSITIONS),
        "teacher": (5 * random.normal(size=(POSITIONS, ROWS))).astype(np.float32),
    }


@pytest.fixture(autouse=True)
def device_put_back():
    yield
    paddle.device.set_device("cpu")


def live(measure, arrays):
    identity = Projection(paddle.eye(ROWS), is_rows=True)
    found = find_divergence(measure, mixture=0.3)
    return LiveTerm(paddle.to_tensor(arrays["teacher"]), identity, 0.7, TAU, SHARED, found)


def stored(method, arrays):
    layout = RecordLayout(method, 32, SHARED)
    paddle_device = paddle.device.get_device()
    paddle.device.set_device("cpu")  # the same records, wherever they are read
    logits = paddle.to_tensor(arrays["teacher"][:, :SHARED] / TAU)
    records = layout.encode(take_picture(logits, layout, np.full(POSITIONS, 0.4, np.float32)))
    paddle.device.set_device(paddle_device)
    return StoredTerm(layout.decode(paddle.to_tensor(records)), layout, 0.7, TAU)


def loss_on(device, arrays, make):
    """Loss, and its gradients by hidden states and weight."""
    paddle.device.set_device(device)
    hidden, weight = (paddle.to_tensor(arrays[name]) for name in ("hidden", "weight"))
    hidden.stop_gradient = weight.stop_gradient = False
    labels = paddle.to_tensor(arrays["labels"])
    found = token_loss(hidden, Projection(weight, is_rows=True), labels, teacher=make(arrays))
    found.total.backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return found.total.numpy(), hidden.grad.numpy(), weight.grad.numpy()


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*MEASURES, *METHODS])
def test_loss_and_gradients_are_those_of_a_cpu(arrays, name):
    def make(values):
        return live(name, values) if name in MEASURES else stored(name, values)

    for on_cpu, on_gpu in zip(
        loss_on("cpu", arrays, make), loss_on("gpu:0", arrays, make), strict=True
    ):
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=2e-5, atol=2e-5 * np.abs(on_cpu).max())
