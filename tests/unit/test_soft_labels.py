"""Records of soft labels: bits, sizes, what is drawn, how faithful it is."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.distillation.soft_labels import fidelity
from src.distillation.soft_labels.fidelity import (
    Fidelity,
    measure_fidelity,
    report_lines,
    worst_of,
)
from src.distillation.soft_labels.layout import METHODS, Picture, RecordLayout
from src.distillation.soft_labels.picture import draw_starts, take_picture
from src.distillation.soft_labels.stand_ins import STAND_IN_NATS, stand_ins
from src.distillation.soft_labels.write import judge_fidelity
from src.errors import ConfigError
from src.schema import Config
from src.training.losses import Projection

QWEN_IDS = 151_665


@st.composite
def pictures(draw):
    vocab_size = draw(st.sampled_from([2, 3, 300, 2048, QWEN_IDS, 1 << 25]))
    method = draw(st.sampled_from(METHODS))
    top_k = draw(st.integers(1, min(vocab_size, 40)))
    layout = RecordLayout(method, top_k, vocab_size)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    count = draw(st.integers(1, 5))
    logs = -np.sort(random.exponential(2.0, size=(count, layout.exact)), axis=1)
    ids = random.integers(0, vocab_size, size=(count, layout.exact + layout.drawn))
    ids[:, 0] = vocab_size - 1
    return layout, Picture(
        ids=ids,
        log_probabilities=logs.astype(np.float32),
        tail=random.choice([0.0, 1e-20, 0.01, 0.7], size=count).astype(np.float32),
        entropy=random.uniform(0, 11, size=count).astype(np.float32),
    )


@given(pictures())
@settings(max_examples=60, deadline=None)
def test_what_is_stored_comes_back(case):
    layout, picture = case
    records = layout.encode(picture)
    assert records.shape == (len(picture.ids), layout.record_bytes)
    stored = layout.decode(paddle.to_tensor(records))
    np.testing.assert_array_equal(stored.ids.numpy(), picture.ids)
    np.testing.assert_allclose(
        stored.weights.numpy().sum(axis=1) + stored.rest.numpy(), 1, atol=1e-5
    )
    exact = stored.weights.numpy()[:, : layout.exact]
    true = np.exp(picture.log_probabilities)
    true *= (1 - picture.tail)[:, None] / true.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(exact, true, rtol=0.08, atol=0.004)
    if layout.drawn:
        np.testing.assert_allclose(stored.entropy.numpy(), picture.entropy, atol=2e-4)


def test_the_default_fits_110_bytes_of_the_production_vocabulary():
    sizes = {method: RecordLayout(method, 32, QWEN_IDS) for method in METHODS}
    assert {layout.id_bits for layout in sizes.values()} == {18}
    assert {method: layout.record_bytes for method, layout in sizes.items()} == {
        "uniform_tail": 108,
        "sampled_tail": 110,
        "tail_bucket": 108,
    }


def test_a_zero_tail_stays_zero_and_a_sure_teacher_is_stored_whole():
    layout = RecordLayout("sampled_tail", 4, 50)
    logits = np.zeros([1, 50], np.float32)
    logits[0, 7] = 500.0
    picture = take_picture(paddle.to_tensor(logits), layout, np.zeros(1, np.float32))
    stored = layout.decode(paddle.to_tensor(layout.encode(picture)))
    assert stored.ids.numpy()[0, 0] == 7
    np.testing.assert_array_equal(stored.weights.numpy()[0, 0], 1)
    assert stored.weights.numpy()[0, 1:].max() < 1e-20


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 9)), min_size=1, max_size=8))
def test_what_is_drawn_does_not_depend_on_the_batch(items):
    rows, counts = (np.array(column) for column in zip(*items, strict=True))
    together = draw_starts(rows, counts, key=12)
    alone = [draw_starts(rows[[i]], counts[[i]], key=12) for i in range(len(rows))]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert ((together >= 0) & (together < 1)).all()


def test_draws_are_even_and_differ_by_direction():
    rows = np.arange(5000)
    some, others = (draw_starts(rows, np.full(5000, 2), key=key) for key in (1, 2))
    assert abs(some.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(some, others)[0, 1]) < 0.05
    assert np.histogram(some, 10)[0].min() > 850


@pytest.fixture(scope="module")
def teacher():
    """Hidden states of 300 positions and an output projection of 500 ids."""
    random = np.random.default_rng(0)
    scale = np.geomspace(3, 0.3, 24).astype(np.float32)  # some directions say more than others
    hidden = paddle.to_tensor(random.normal(size=(300, 24)).astype(np.float32) * scale)
    weight = paddle.to_tensor(random.normal(size=(500, 24)).astype(np.float32))
    return hidden, Projection(weight, is_rows=True)


def test_fidelity_grows_with_what_is_stored(teacher):
    hidden, projection = teacher
    learners = stand_ins(hidden, projection, vocab_size=500, temperature=1.0)
    assert [learner.name for learner in learners] == ["narrow", "perturbed"]
    sizes = [RecordLayout(method, k, 500) for method in METHODS for k in (4, 64)]
    for learner in learners:
        found = measure_fidelity(
            hidden, projection, sizes, temperature=1.0, alpha=0.7, learner=learner
        )
        for small, large in zip(found[::2], found[1::2], strict=True):
            assert small.mass_kept < large.mass_kept
            if small.method == "sampled_tail":  # right on average, more or less noisy in a draw
                assert min(small.cosine, small.rest_cosine, small.hidden_cosine) > 0.999
                assert small.noise_cosine < large.noise_cosine < 1
            else:
                assert small.cosine < large.cosine <= 1.00001
                assert small.error > large.error
                assert small.noise_cosine == 1
        assert found[-1].record_bytes == sizes[-1].record_bytes
        assert len(report_lines(found, temperature=1.0, tokens=300)) == 2 + len(found)
        (whole,) = measure_fidelity(
            hidden,
            projection,
            [RecordLayout("uniform_tail", 500, 500)],
            temperature=2.0,
            alpha=0.7,
            learner=learner,
        )
        assert whole.cosine == pytest.approx(1, abs=2e-3)
        assert whole.mass_kept == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_noise_of_drawing_is_that_of_many_draws(teacher, alpha, monkeypatch):
    """Cosine between the gradient of the output layer and itself with what a draw adds."""
    hidden, projection = teacher
    learner = stand_ins(hidden, projection, vocab_size=500, temperature=1.0)[0]
    layout, noises = RecordLayout("sampled_tail", 8, 500), []
    for seed in range(20):
        monkeypatch.setattr(fidelity, "_SEED", seed)
        (found,) = measure_fidelity(
            hidden, projection, [layout], temperature=1.0, alpha=alpha, learner=learner
        )
        noises.append(found.noise_cosine**-2 - 1)
        assert found.cosine > 0.999

    logits, theirs = (
        part.logits(states).numpy().astype(np.float64)
        for part, states in ((projection, hidden), (learner.projection, learner.hidden))
    )
    p, q = (np.exp(part) / np.exp(part).sum(axis=1, keepdims=True) for part in (logits, theirs))
    tail = p.copy()
    np.put_along_axis(tail, np.argsort(-p)[:, : layout.exact], 0.0, axis=1)
    states, rest = hidden.numpy().astype(np.float64), tail.sum(axis=1, keepdims=True)
    added = [
        states.T @ (rest / layout.drawn * draw(tail, layout.drawn, starts) - tail)
        for starts in np.random.default_rng(7).random((20, len(p)))
    ]
    drawn = alpha**2 * np.mean([(part**2).sum() for part in added])
    lengths = (states**2).sum(axis=1)
    kl = alpha**2 * (lengths * ((q - p) ** 2).sum(axis=1)).sum()
    labels = (1 - alpha) ** 2 * (lengths * (1 - (p**2).sum(axis=1))).sum()
    assert np.mean(noises) == pytest.approx(drawn / (kl + labels), rel=0.15)


def draw(weights, count, starts):
    """How often each id is drawn, at equal distances along the cumulative distribution."""
    drawn = []
    for row, start in zip(weights, starts, strict=True):
        points = (start + np.arange(count)) / count * row.sum()
        ids = np.searchsorted(row.cumsum(), points, side="right")
        drawn.append(np.bincount(ids, minlength=len(row)))
    return np.array(drawn)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_stand_ins_are_as_far_from_the_teacher_as_a_trained_student(teacher, temperature):
    hidden, projection = teacher
    logits = projection.logits(hidden).numpy().astype(np.float64) / temperature
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    narrow, perturbed = stand_ins(hidden, projection, vocab_size=500, temperature=temperature)
    for learner in (narrow, perturbed):
        own = learner.projection.logits(learner.hidden).numpy().astype(np.float64) / temperature
        log_q = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
        nats = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)[:256].mean()
        assert nats == pytest.approx(STAND_IN_NATS, rel=0.02)
    sizes = np.linalg.svd(narrow.hidden.numpy(), compute_uv=False)
    assert 0 < (sizes > 1e-4 * sizes[0]).sum() < 24


def test_of_a_teacher_that_knows_next_to_nothing_the_stand_ins_know_less():
    """One direction would already be nearer than asked for."""
    random = np.random.default_rng(1)
    hidden = paddle.to_tensor((1 + 0.01 * random.normal(size=(64, 8))).astype(np.float32))
    weight = paddle.to_tensor(random.normal(size=(100, 8)).astype(np.float32))
    projection = Projection(weight, is_rows=True)
    layouts = [RecordLayout(method, 32, 100) for method in METHODS]
    for learner in stand_ins(hidden, projection, vocab_size=100, temperature=1.0):
        found = measure_fidelity(
            hidden, projection, layouts, temperature=1.0, alpha=0.7, learner=learner
        )
        assert min(item.cosine for item in found) > 0.8


def judged(student="narrow", method="tail_bucket", cosine=0.999, hidden=0.999, noise=1.0):
    return Fidelity(student, method, 32, 108, 0.9, cosine, 0.1, 0.999, hidden, noise, 1.0)


def test_a_way_of_storing_is_as_good_as_for_the_student_that_it_suits_least():
    found = [
        judged("perturbed", "uniform_tail", 0.99, 0.98),
        judged("perturbed", "tail_bucket", 0.97, 0.96),
        judged("narrow", "uniform_tail", 0.99, 0.7),
        judged("narrow", "tail_bucket", 0.9, 0.95),
    ]
    assert worst_of(found) == found[2:]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (judged(), None),
        (judged(noise=0.998), None),
        (judged(cosine=0.99), "gradients of cosine 0.990"),
        (judged(hidden=0.98), "and 0.980 below it"),
        (judged(method="sampled_tail", noise=0.96), "with 4% more noise in a batch (cosine 0.960)"),
    ],
)
def test_a_picture_that_lacks_something_is_named(seen, words, caplog):
    judge_fidelity(Config().student, [seen])
    if words is None:
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert words in record.getMessage()
        assert "keeps 90% of the teacher's probability" in record.getMessage()


def test_what_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="cosine nan"):
        judge_fidelity(Config().student, [judged(cosine=float("nan"))])


@pytest.mark.parametrize("seen", [judged(cosine=0.85), judged(method="sampled_tail", noise=0.85)])
def test_a_picture_that_misleads_is_refused(seen):
    with pytest.raises(ConfigError, match=r"0\.850.*below student\.kd_min_cosine=0\.9; raise"):
        judge_fidelity(Config().student, [seen])
    judge_fidelity(Config.model_validate({"student": {"kd_min_cosine": 0.8}}).student, [seen])
