"""Divergences and stored distributions against float64: values, gradients, unequal vocabularies."""

import numpy as np
import paddle
import pytest

from src.distillation.divergences import find_divergence
from src.distillation.online import LiveTerm
from src.distillation.soft_labels.layout import METHODS, RecordLayout
from src.distillation.soft_labels.picture import take_picture
from src.distillation.stored import StoredTerm
from src.training import losses
from src.training.losses import Projection, token_loss
from src.training.teacher_term import pull_of
from src.training.vocabulary import row_sums
from tests.fakes.numpy_divergences import divergence_of, log_softmax, numeric_gradient

POSITIONS, SHARED, TAU = 5, 23, 2.0
WIDTHS = {"teacher_wider": (29, 26), "student_wider": (24, 27), "no_padding": (23, 23)}
MEASURES = ("forward_kl", "reverse_kl", "jsd", "skewed_kl")


def tensor(array):
    return paddle.to_tensor(np.asarray(array, dtype=np.float32))


def live_term(teacher_logits, measure, *, alpha=1.0, tau=TAU, shared=SHARED):
    """A teacher whose hidden states are its logits."""
    identity = Projection(tensor(np.eye(teacher_logits.shape[1])), is_rows=True)
    found = find_divergence(measure, mixture=0.3)
    return LiveTerm(tensor(teacher_logits), identity, alpha, tau, shared, found)


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("measure", MEASURES)
def test_divergence_and_gradient_equal_the_formula_over_the_shared_ids(measure, widths):
    random = np.random.default_rng(1)
    teacher, student = (3 * random.normal(size=(POSITIONS, width)) for width in widths)

    def expected(logits):
        log_p, log_q = (log_softmax(side[:, :SHARED] / TAU) for side in (teacher, logits))
        return TAU**2 * divergence_of(measure, log_p, log_q, 0.3)

    with paddle.no_grad():
        value, gradient = pull_of(live_term(teacher, measure), tensor(student), slice(None))
    assert value.item() == pytest.approx(expected(student), rel=2e-6)
    np.testing.assert_allclose(gradient.numpy(), numeric_gradient(expected, student), atol=3e-6)
    assert np.abs(gradient.numpy()[:, SHARED:]).max(initial=0) < 1e-25


@pytest.mark.parametrize("measure", MEASURES)
def test_divergence_of_sure_and_opposite_models_is_a_number(measure):
    teacher, student = np.zeros([2, 9]), np.zeros([2, 9])
    teacher[:, 0] = student[:, 1] = 300.0
    with paddle.no_grad():
        value, gradient = pull_of(
            live_term(teacher, measure, tau=1.0, shared=9), tensor(student), slice(None)
        )
    assert np.isfinite(value.item())
    assert np.isfinite(gradient.numpy()).all()


def stored_of(teacher, layout, seed=0):
    starts = np.random.default_rng(seed).random(len(teacher), dtype=np.float32)
    with paddle.no_grad():
        picture = take_picture(tensor(teacher), layout, starts)
    return layout.decode(paddle.to_tensor(layout.encode(picture)))


def filled_in(stored, layout, log_q):
    """Value of the divergence from the stored distribution, in float64."""
    ids, weights, rest, entropy = (
        value.numpy().astype(np.float64)
        for value in (stored.ids, stored.weights, stored.rest, stored.entropy)
    )
    total = 0.0
    for row, own in enumerate(ids.astype(int)):
        others = np.setdiff1d(np.arange(layout.vocab_size), own)
        total -= weights[row] @ log_q[row, own]
        if layout.method == "sampled_tail":
            total -= entropy[row]
            continue
        total += weights[row] @ np.log(weights[row])
        if layout.method == "uniform_tail":
            share = rest[row] / len(others)
            total += rest[row] * np.log(share) - share * log_q[row, others].sum()
        else:
            tail = np.exp(log_q[row, others]).sum()
            total += rest[row] * (np.log(rest[row]) - np.log(tail))
    return total


@pytest.mark.parametrize("width", [SHARED, 27], ids=["no_padding", "padded"])
@pytest.mark.parametrize("method", METHODS)
def test_stored_loss_and_gradient_equal_the_formula_on_the_stored_distribution(method, width):
    random = np.random.default_rng(2)
    layout = RecordLayout(method, 6, SHARED)
    stored = stored_of(2 * random.normal(size=(POSITIONS, SHARED)), layout)
    student = 2 * random.normal(size=(POSITIONS, width))

    def expected(logits):
        return TAU**2 * filled_in(stored, layout, log_softmax(logits[:, :SHARED] / TAU))

    with paddle.no_grad():
        term = StoredTerm(stored, layout, 1.0, TAU)
        value, gradient = pull_of(term, tensor(student), slice(None))
    assert value.item() == pytest.approx(expected(student), rel=2e-6)
    np.testing.assert_allclose(gradient.numpy(), numeric_gradient(expected, student), atol=3e-6)
    assert np.abs(gradient.numpy()[:, SHARED:]).max(initial=0) < 1e-25


@pytest.mark.parametrize("method", METHODS)
def test_with_every_id_stored_the_loss_is_the_full_divergence(method):
    random = np.random.default_rng(3)
    teacher, student = random.normal(size=(2, POSITIONS, SHARED))
    entries = 2 * SHARED if method == "sampled_tail" else SHARED
    layout = RecordLayout(method, entries, SHARED)
    assert layout.exact == SHARED
    with paddle.no_grad():
        full, full_gradient = pull_of(
            live_term(teacher, "forward_kl", tau=1.0), tensor(student), slice(None)
        )
        term = StoredTerm(stored_of(teacher, layout), layout, 1.0, 1.0)
        value, gradient = pull_of(term, tensor(student), slice(None))
    # What is left is the rounding of 8-bit log-probabilities.
    assert value.item() == pytest.approx(full.item(), rel=0.01)
    np.testing.assert_allclose(gradient.numpy(), full_gradient.numpy(), atol=0.003)


def test_drawn_tails_are_right_on_average():
    teacher = 1.5 * np.random.default_rng(4).normal(size=(1, 200))
    layout = RecordLayout("sampled_tail", 16, 200)
    repeats = 4000
    stored = stored_of(np.repeat(teacher, repeats, axis=0), layout)
    mean = np.zeros(200)
    np.add.at(mean, stored.ids.numpy().ravel(), stored.weights.numpy().ravel() / repeats)
    true = np.exp(log_softmax(teacher))[0]
    assert mean.sum() == pytest.approx(1, abs=1e-5)
    deviation = np.sqrt(true / repeats)  # more than that of systematic draws
    assert (np.abs(mean - true) < 5 * deviation * np.sqrt(1 / layout.drawn) + 0.01 * true).all()


@pytest.mark.parametrize("method", METHODS)
def test_whole_stored_loss_does_not_depend_on_chunks(method, monkeypatch):
    random = np.random.default_rng(5)
    layout = RecordLayout(method, 6, SHARED)
    stored = stored_of(random.normal(size=(70, SHARED)), layout)
    hidden, weight = random.normal(size=(70, 8)), random.normal(size=(8, 27))
    labels = paddle.to_tensor(random.integers(0, SHARED, 70))
    found = []
    for elements in (8 * 1024 * 1024, 1):
        monkeypatch.setattr(losses, "_CHUNK_ELEMENTS", elements)
        leaves = [tensor(hidden), tensor(weight)]
        for leaf in leaves:
            leaf.stop_gradient = False
        term = StoredTerm(stored, layout, 0.6, TAU)
        result = token_loss(leaves[0], Projection(leaves[1], is_rows=False), labels, teacher=term)
        result.total.backward()
        found.append([result.total.item(), *(leaf.grad.numpy() for leaf in leaves)])
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


PADDING = {"none": (SHARED, 0.0), "some": (27, 0.0), "above_all": (27, 300.0)}


@pytest.mark.parametrize("tau", [1.0, TAU])
@pytest.mark.parametrize("padding", PADDING.values(), ids=PADDING)
@pytest.mark.parametrize("kind", [*METHODS, "live"])
def test_both_terms_together_equal_the_formula_whatever_padding_columns_say(kind, padding, tau):
    random = np.random.default_rng(6)
    width, lift = padding
    teacher = 2 * random.normal(size=(POSITIONS, SHARED))
    student = 2 * random.normal(size=(POSITIONS, width))
    student[:, SHARED:] += lift
    labels = random.integers(0, SHARED, POSITIONS)
    if kind == "live":
        term = live_term(teacher, "forward_kl", alpha=0.6, tau=tau)
    else:
        layout = RecordLayout(kind, 6, SHARED)
        term = StoredTerm(stored_of(teacher, layout), layout, 0.6, tau)

    def expected(logits):
        log_q = log_softmax(logits[:, :SHARED] / tau)
        if kind == "live":
            divergence = divergence_of("forward_kl", log_softmax(teacher / tau), log_q, 0.3)
        else:
            divergence = filled_in(term.stored, layout, log_q)
        cross_entropy = -log_softmax(logits)[np.arange(POSITIONS), labels].sum()
        return 0.4 * cross_entropy + 0.6 * tau**2 * divergence

    hidden = tensor(student)
    hidden.stop_gradient = False
    identity = Projection(tensor(np.eye(width)), is_rows=True)
    result = token_loss(hidden, identity, paddle.to_tensor(labels), teacher=term)
    result.total.backward()
    assert result.total.item() == pytest.approx(expected(student), rel=2e-6)
    np.testing.assert_allclose(hidden.grad.numpy(), numeric_gradient(expected, student), atol=5e-6)


def test_rows_of_a_large_vocabulary_are_summed_without_losing_digits():
    values = np.random.default_rng(7).random((3, 151_936), dtype=np.float32)
    sums = row_sums(paddle.to_tensor(values)).numpy()[:, 0]
    np.testing.assert_allclose(sums, values.astype(np.float64).sum(-1), rtol=2e-6)
