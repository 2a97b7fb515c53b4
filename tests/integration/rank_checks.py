"""What two ranks must agree on, run as two processes that load Paddle once for all of it.

`python -m tests.integration.rank_checks FILE RANK` is one rank, with the environment that Paddle's
launcher would give it; rank r writes what it has found to FILE with `.r` at its end, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from src.distillation.divergences import find_divergence
from src.distillation.online import LiveTerm
from src.distillation.soft_labels.layout import METHODS, RecordLayout
from src.distillation.soft_labels.picture import take_picture
from src.distillation.stored import StoredTerm
from src.errors import EXIT_DONE, LinguaBridgeError
from src.launch import leave
from src.models.factory import Model, build_model, hidden_states, output_projection
from src.models.layout import named_weights
from src.models.split import find_split, vocabulary_group
from src.schema import ArchitectureConfig, TeacherConfig
from src.training.losses import Projection, TokenLoss, scalar, token_loss
from src.training.objective import reference_loss
from src.training.parallel import Ranks, form_replicas, join_ranks
from src.training.teacher_term import TeacherTerm
from src.training.trainable import Trainable, make_trainable

Array = npt.NDArray[np.floating[Any]]

VOCABULARY, IDS_SHARED = 60, 53
SIZES = ArchitectureConfig(
    hidden_size=16,
    num_hidden_layers=3,
    intermediate_size=24,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.3,
)
UNTIED = SIZES.model_copy(update={"tie_word_embeddings": False})
IDS = np.array([[3, 9, 4, 1, 30, 59], [7, 7, 2, 0, 0, 0]], dtype=np.int64)
LATE_SECONDS = 33  # more than the 30 after which gloo gives up
MICRO_BATCH = {
    "input_ids": IDS,
    "target_positions": np.array([1, 2, 3, 6, 7]),
    "labels": np.array([4, 1, 30, 7, 59]),
}


def tensors(arrays: dict[str, Array]) -> dict[str, paddle.Tensor]:
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}


def present(trained: Trainable) -> int:
    """Numbers of the model that this rank holds now."""
    named = named_weights(trained.model).values()
    return sum(int(value.size) for value in named if value._is_initialized())


def check_visiting(ranks: Ranks) -> dict[str, Any]:
    """How much of a model a rank holds between passes, and after the forward pass."""
    model = build_model(SIZES, vocab_size=VOCABULARY, seed=3)
    total = sum(int(value.size) for value in named_weights(model).values())
    layer = sum(int(value.size) for value in model.qwen2.layers[0].parameters())
    trained = make_trainable(TeacherConfig(sharding=3), model, ranks)
    between = present(trained)
    loss = reference_loss(model)(tensors(MICRO_BATCH)).total
    after_forward = present(trained)
    trained.backward(loss)
    with paddle.no_grad():
        hidden_states(model, paddle.to_tensor(IDS))
    evaluated = present(trained)
    trained.end_pass()
    return {
        "total": total,
        "layer": layer,
        "between": between,
        "after_forward": after_forward,
        "after_evaluation": evaluated,
        "at_the_end": present(trained),
    }


def gradient_of(value: paddle.Tensor) -> paddle.Tensor:
    assert value.grad is not None
    return value.grad


def gradients(model: Model) -> dict[str, Array]:
    """Gradients of the loss of one micro-batch, of whole weights."""
    reference_loss(model)(tensors(MICRO_BATCH)).total.backward()
    split = find_split(model)
    found = {}
    for name, value in named_weights(model).items():
        gradient = gradient_of(value)
        whole = gradient if split is None else split.whole(name, gradient)
        found[name] = whole.numpy()
    return found


def check_split_model(sizes: ArchitectureConfig, vocab_size: int) -> dict[str, float]:
    """The farthest that a cut model is from the whole one, over the size of the largest number."""
    whole = build_model(sizes, vocab_size=vocab_size, seed=3)
    cut = build_model(sizes, vocab_size=vocab_size, seed=3, tensor_parallel=2)
    split = find_split(cut)
    assert split is not None
    ids = paddle.to_tensor(IDS)
    hidden = [hidden_states(model, ids).numpy() for model in (whole, cut)]
    expected, found = gradients(whole), gradients(cut)
    return {
        "hidden": distance(*hidden),
        "gradients": max(distance(found[name], array) for name, array in expected.items()),
        "cut": len(split.axes),
        "weights": len(expected),
    }


def make_term(kind: str, generator: np.random.Generator) -> TeacherTerm:
    """A teacher's term of 70 positions, over fewer ids than the vocabulary has."""
    logits = paddle.to_tensor(2 * generator.normal(size=(70, IDS_SHARED)).astype("float32"))
    if kind == "live":
        identity = Projection(paddle.eye(IDS_SHARED), is_rows=True)
        measure = find_divergence("forward_kl", mixture=0.5)
        return LiveTerm(logits, identity, 0.3, 2.0, IDS_SHARED, measure)
    layout = RecordLayout(kind, 6, IDS_SHARED)
    with paddle.no_grad():
        picture = take_picture(logits, layout, np.full(70, 0.4, np.float32))
    records = paddle.to_tensor(layout.encode(picture))
    return StoredTerm(layout.decode(records), layout, 0.3, 2.0)


def check_split_loss(kind: str, *, is_rows: bool) -> dict[str, float]:
    """The loss over a cut vocabulary next to the same over a whole one."""
    generator = np.random.default_rng(5)
    term = make_term(kind, generator)
    weight = generator.normal(size=(VOCABULARY, 16)).astype("float32")
    weight = weight if is_rows else np.ascontiguousarray(weight.T)
    states = generator.normal(size=(70, 16)).astype("float32")
    labels = paddle.to_tensor(generator.integers(0, IDS_SHARED, size=70))
    model = build_model(SIZES, vocab_size=VOCABULARY, seed=3, tensor_parallel=2)
    group = vocabulary_group(model, output_projection(model)[0])
    assert group is not None
    half = VOCABULARY // 2
    own = slice(group.rank * half, (group.rank + 1) * half)
    part = weight[own] if is_rows else weight[:, own]
    results = []
    for matrix, of in ((weight, None), (part, group)):
        hidden, projection = paddle.to_tensor(states), paddle.to_tensor(matrix.copy())
        hidden.stop_gradient = projection.stop_gradient = False
        loss: TokenLoss = token_loss(
            hidden, Projection(projection, is_rows, of), labels, teacher=term
        )
        loss.total.backward()
        results.append((scalar(loss.total), scalar(loss.cross_entropy), hidden, projection))
    (total, cross_entropy, hidden, projection), (mine, own_entropy, shared, cut) = results
    expected = gradient_of(projection).numpy()
    return {
        "total": abs(mine / total - 1),
        "cross_entropy": abs(own_entropy / cross_entropy - 1),
        "hidden": distance(gradient_of(shared).numpy(), gradient_of(hidden).numpy()),
        "weight": distance(
            gradient_of(cut).numpy(), expected[own] if is_rows else expected[:, own]
        ),
    }


def distance(found: Array, expected: Array) -> float:
    return float(abs(found - expected).max() / abs(expected).max())


def check_patience(ranks: Ranks) -> float:
    """Seconds for which this rank has waited for one that came late."""
    if ranks.rank == 1:
        time.sleep(LATE_SECONDS)
    begin = time.monotonic()
    ranks.barrier()
    return time.monotonic() - begin


def check_lost(ranks: Ranks) -> str:
    """What this rank says of one that does not come, as the other hears nothing."""
    if not ranks.is_main:
        return ""
    try:
        ranks.barrier(patience=0.5)
    except LinguaBridgeError as error:
        return str(error)
    return ""


def main() -> None:
    ranks = join_ranks()
    found: dict[str, Any] = {"waited": check_patience(ranks), "visiting": check_visiting(ranks)}
    split = form_replicas(ranks, tensor_parallel=2)
    found["replicas"] = [split.replica, split.replicas, split.sum_replicas([2.0])]
    found["tied"] = check_split_model(SIZES, VOCABULARY)
    found["untied"] = check_split_model(UNTIED, VOCABULARY)
    found["odd_vocabulary"] = check_split_model(UNTIED, VOCABULARY + 1)
    for kind in ("live", *METHODS):
        found[f"loss_rows_{kind}"] = check_split_loss(kind, is_rows=True)
        found[f"loss_columns_{kind}"] = check_split_loss(kind, is_rows=False)
    found["lost"] = check_lost(ranks)
    Path(f"{sys.argv[1]}.{ranks.rank}").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
    leave(EXIT_DONE)  # as recipes do: else a rank whose peer has gone is aborted now and then
