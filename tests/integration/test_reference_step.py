"""A step of the real loop against the same step computed plainly; gradients against slopes."""

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from src.models.factory import hidden_states, load_model, logits, trainable_parameters
from src.schema import TeacherConfig
from src.training import losses
from src.training.interrupt import StopRequest
from src.training.loop import fit
from src.training.objective import reference_loss
from src.training.parallel import Ranks
from src.training.run import Run
from src.training.state import TrainingState
from src.training.trainable import make_trainable
from tests.fakes.numpy_qwen2 import NumpyQwen2

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RATE = 0.02


class NoSaver:
    """A run that keeps nothing."""

    def save(self, state, *, blocking=False):
        return Path()

    def keep_best(self, state):
        return None

    def roll_back(self, state):
        return None

    def new_failures(self):
        return ()


@pytest.fixture
def batch():
    """Six sequences of different lengths with prompts that carry no loss; 80 target tokens."""
    random = np.random.default_rng(7)
    ids = random.integers(0, 100, (6, 20))
    lengths, prompts = [20, 20, 19, 15, 12, 20], [3, 5, 2, 6, 7, 4]
    positions = np.concatenate(
        [
            row * 20 + np.arange(prompt, length - 1)
            for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True))
        ]
    )
    labels = ids.reshape(-1)[positions + 1]
    return ids, positions, labels


def micro_batches(batch, sizes):
    """The batch cut into forward passes of so many rows, as the stream delivers it."""
    ids, positions, labels = batch
    start, parts = 0, []
    for size in sizes:
        chosen = (positions >= start * 20) & (positions < (start + size) * 20)
        parts.append(
            {
                "input_ids": ids[start : start + size],
                "target_positions": positions[chosen] - start * 20,
                "labels": labels[chosen],
                "directions": np.zeros(size, dtype=np.int64),
            }
        )
        start += size
    return parts


def loop_step(model, section, batch, sizes):
    """The weights after one step of the loop, over micro-batches and chunks."""
    ids, _, labels = batch
    step = {
        "micro_batches": micro_batches(batch, sizes),
        "target_tokens": len(labels),
        "real_tokens": ids.size,
        "padded_tokens": ids.size,
        "pairs": len(ids),
        "epoch": 0,
        "batch": 1,
    }
    run = Run(
        config=section,
        ranks=Ranks(rank=0, world_size=1),
        trained=make_trainable(section, model),
        learning_rate=lambda _: RATE,
        loss=reference_loss(model),
        open_batches=lambda _: iter([step]),
        evaluate=lambda: 1.0,
        state=TrainingState(),
        total_steps=1,
        saver=NoSaver(),
        metrics=None,
        stop=StopRequest(),
    )
    assert fit(run) == "done"
    return {name: value.numpy() for name, value in trainable_parameters(model).items()}, run


def plain_loss(model, batch):
    """All logits at once, Paddle's own operations, one division by the number of targets."""
    ids, positions, labels = (paddle.to_tensor(array) for array in batch)
    scores = logits(model, hidden_states(model, ids)).reshape([-1, 100])
    chosen = paddle.gather(scores, positions)
    picked = paddle.take_along_axis(chosen, labels.unsqueeze(-1), axis=1).squeeze(-1)
    return (paddle.logsumexp(chosen, axis=-1) - picked).sum() / len(batch[2])


@pytest.mark.parametrize("name", ["qwen2_tied", "qwen2_untied"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_equals_the_same_step_without_chunks_and_accumulation(
    batch, monkeypatch, name, optimizer
):
    section = TeacherConfig(
        optimizer=optimizer, max_steps=1, batch_size=2, max_seq_length=20, max_grad_norm=0.5
    )
    monkeypatch.setattr(losses, "_CHUNK_ELEMENTS", 1)  # chunks of 32 positions, the smallest
    folder = str(GOLDEN / name)
    stepped, run = loop_step(load_model(folder), section, batch, sizes=(1, 2, 3))

    model = load_model(folder)
    parameters = trainable_parameters(model)
    before = {key: value.numpy() for key, value in parameters.items()}
    matrices = {value.name for value in parameters.values() if value.ndim > 1}
    common: dict[str, Any] = {
        "learning_rate": RATE,
        "parameters": list(parameters.values()),
        "grad_clip": paddle.nn.ClipGradByGlobalNorm(0.5),
    }
    if optimizer == "adamw":
        plain = paddle.optimizer.AdamW(
            beta2=0.98,
            weight_decay=0.01,
            apply_decay_param_fun=lambda key: key in matrices,
            **common,
        )
    else:
        plain = paddle.optimizer.SGD(**common)
        # Paddle adds its decay after clipping, as the loop does.
        for value in parameters.values():
            value.regularizer = paddle.regularizer.L2Decay(0.01 if value.ndim > 1 else 0.0)
    loss = plain_loss(model, batch)
    loss.backward()
    plain.step()
    assert run.state.loss == pytest.approx(loss.item(), rel=1e-5)
    for key, value in parameters.items():
        expected, found = value.numpy() - before[key], stepped[key] - before[key]
        # Adam divides a gradient by its size: where that is nothing, rounding decides.
        tolerance = 2e-2 * RATE if optimizer == "adamw" else 1e-4 * abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=tolerance + 1e-7, err_msg=key)
        assert abs(expected).max() > 0


@pytest.mark.parametrize("name", ["qwen2_tied", "qwen2_untied"])
def test_gradients_are_the_slopes_of_the_loss_in_float64(batch, name):
    reference = NumpyQwen2(GOLDEN / name)
    model = load_model(str(GOLDEN / name))
    total = reference_loss(model)(
        {key: paddle.to_tensor(value) for key, value in micro_batches(batch, sizes=(6,))[0].items()}
    ).total / len(batch[2])
    total.backward()
    assert total.item() == pytest.approx(reference.loss(*batch), rel=1e-5)
    random = np.random.default_rng(0)
    for key, parameter in trainable_parameters(model).items():
        gradient = gradient_of(parameter)
        if gradient.ndim > 1 and "embed_tokens" not in key:
            gradient = gradient.T  # in memory linear weights stand [in, out]
        weight = reference.weights[key]
        largest = np.unravel_index(abs(gradient).argmax(), gradient.shape)
        for index in (largest, tuple(random.integers(0, size) for size in weight.shape)):
            slope = central_difference(reference, batch, weight, index)
            scale = abs(gradient).max()
            assert gradient[index] == pytest.approx(slope, rel=1e-3, abs=1e-4 * scale), key


def gradient_of(parameter):
    assert parameter.grad is not None
    return parameter.grad.numpy()


def central_difference(reference, batch, weight, index, step=1e-6):
    value = weight[index]
    ends = []
    for moved in (value + step, value - step):
        weight[index] = moved
        ends.append(reference.loss(*batch))
    weight[index] = value
    return (ends[0] - ends[1]) / (2 * step)
