"""Losses and gradients against NumPy in float64."""

import numpy as np
import paddle
import pytest

from src.distillation.divergences import find_divergence
from src.distillation.online import LiveTerm
from src.training import losses
from src.training.losses import Projection, token_loss

SIZES = {"positions": 70, "width": 16, "vocabulary": 100, "shared": 90}


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def expected(hidden, weight, labels, teacher_logits=None, *, alpha=0.7, temperature=3.0):
    """Total, its gradients by hidden and weight `[V, D]`, both parts; formula of the module."""
    logits = hidden @ weight.T
    rows = np.arange(len(labels))
    cross_entropy = -log_softmax(logits)[rows, labels].sum()
    gradient = np.exp(log_softmax(logits))
    gradient[rows, labels] -= 1
    if teacher_logits is None:
        return cross_entropy, gradient @ weight, gradient.T @ hidden, (cross_entropy, None)
    shared = teacher_logits.shape[1]
    target = log_softmax(teacher_logits / temperature)
    student = log_softmax(logits[:, :shared] / temperature)
    divergence = temperature**2 * (np.exp(target) * (target - student)).sum()
    gradient *= 1 - alpha
    gradient[:, :shared] += alpha * temperature * (np.exp(student) - np.exp(target))
    total = (1 - alpha) * cross_entropy + alpha * divergence
    return total, gradient @ weight, gradient.T @ hidden, (cross_entropy, divergence)


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {
        "hidden": random.normal(size=(SIZES["positions"], SIZES["width"])),
        "weight": random.normal(size=(SIZES["vocabulary"], SIZES["width"])),
        "labels": random.integers(0, SIZES["shared"], SIZES["positions"]),
        "teacher_hidden": random.normal(size=(SIZES["positions"], 8)),
        # More padding rows than the student has: 7B and 0.5B differ so.
        "teacher_weight": random.normal(size=(8, 120)),
    }


def tensor(array):
    return paddle.to_tensor(array.astype(np.float32))


def leaf(array):
    result = tensor(array)
    result.stop_gradient = False
    return result


def live_term(
    hidden, projection, *, alpha=0.7, temperature=3.0, vocab_size, measure="forward_kl", mixture=0.5
):
    found = find_divergence(measure, mixture=mixture)
    return LiveTerm(hidden, projection, alpha, temperature, vocab_size, found)


def gradient(tensor):
    assert tensor.grad is not None
    return tensor.grad.numpy()


@pytest.mark.parametrize("chunk_elements", [8 * 1024 * 1024, 3200], ids=["whole", "chunked"])
@pytest.mark.parametrize("is_rows", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("with_teacher", [True, False], ids=["distilled", "alone"])
def test_loss_and_gradients_equal_the_formula(
    arrays, chunk_elements, is_rows, with_teacher, monkeypatch
):
    monkeypatch.setattr(losses, "_CHUNK_ELEMENTS", chunk_elements)
    hidden = leaf(arrays["hidden"])
    weight = leaf(arrays["weight"] if is_rows else arrays["weight"].T)
    teacher, teacher_logits = None, None
    if with_teacher:
        teacher = live_term(
            tensor(arrays["teacher_hidden"]),
            Projection(tensor(arrays["teacher_weight"]), is_rows=False),
            vocab_size=SIZES["shared"],
        )
        teacher_logits = (arrays["teacher_hidden"] @ arrays["teacher_weight"])[:, : SIZES["shared"]]
    result = token_loss(
        hidden,
        Projection(weight, is_rows=is_rows),
        paddle.to_tensor(arrays["labels"]),
        teacher=teacher,
    )
    (result.total * 0.5).backward()
    total, hidden_grad, weight_grad, parts = expected(
        arrays["hidden"], arrays["weight"], arrays["labels"], teacher_logits
    )
    np.testing.assert_allclose(result.total.item(), total, rtol=1e-6)
    np.testing.assert_allclose(result.cross_entropy.item(), parts[0], rtol=1e-6)
    np.testing.assert_allclose(hidden.grad.numpy(), 0.5 * hidden_grad, atol=2e-5)
    found = weight.grad.numpy() if is_rows else weight.grad.numpy().T
    np.testing.assert_allclose(found, 0.5 * weight_grad, atol=2e-5)
    if result.divergence is not None:
        np.testing.assert_allclose(result.divergence.item(), parts[1], rtol=1e-5)
    else:
        assert result.divergence is None


def test_divergence_from_itself_is_zero_and_pulls_nowhere(arrays):
    hidden, weight = leaf(arrays["hidden"]), leaf(arrays["weight"])
    teacher = live_term(
        hidden.detach(),
        Projection(weight.detach(), is_rows=True),
        alpha=1.0,
        temperature=2.0,
        vocab_size=100,
    )
    result = token_loss(
        hidden,
        Projection(weight, is_rows=True),
        paddle.to_tensor(arrays["labels"]),
        teacher=teacher,
    )
    result.total.backward()
    assert result.divergence is not None
    assert abs(result.divergence.item()) < 1e-3
    np.testing.assert_allclose(gradient(hidden), 0, atol=1e-5)


def test_far_apart_logits_are_not_clipped():
    # Paddle's own CPU softmax family stops at -64.
    hidden, weight = leaf(np.eye(1)), leaf(np.array([[0.0], [200.0]]))
    result = token_loss(hidden, Projection(weight, is_rows=True), paddle.to_tensor([0]))
    assert result.total.item() == pytest.approx(200.0)


def test_sum_does_not_depend_on_how_positions_are_split(arrays):
    weight = Projection(leaf(arrays["weight"]), is_rows=True)
    hidden, labels = leaf(arrays["hidden"]), paddle.to_tensor(arrays["labels"])
    whole = token_loss(hidden, weight, labels).total.item()
    parts = sum(
        token_loss(hidden[start : start + 7], weight, labels[start : start + 7]).total.item()
        for start in range(0, SIZES["positions"], 7)
    )
    assert parts == pytest.approx(whole, rel=1e-6)


def test_without_gradients_no_graph_is_kept(arrays):
    with paddle.no_grad():
        result = token_loss(
            leaf(arrays["hidden"]),
            Projection(leaf(arrays["weight"]), is_rows=True),
            paddle.to_tensor(arrays["labels"]),
        )
    assert result.total.stop_gradient
