"""How good stored distributions are, before hours are spent on storing them.

Measured is what matters to training: the gradient. On a sample of target tokens the gradient that
the stored form gives is compared with the full distribution's, for a stand-in student: the
teacher itself with noise on its hidden states, as much as moves its distribution 0.1 nats away
(where a trained student of a fraction of the size stands; one far away would make every
approximation look good). Compared are the gradient of the output layer, added up over the sample
as a batch adds it up, and the gradients handed down to the hidden states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import paddle
from paddle import Tensor

from src.distillation.divergences import forward_kl
from src.distillation.soft_labels.layout import RecordLayout
from src.distillation.soft_labels.picture import take_picture
from src.distillation.stored import StoredTerm
from src.distillation.vocabulary import with_columns
from src.training.losses import Projection, chunks, scalar

STAND_IN_NATS = 0.1
WISHED_COSINE = 0.995
_WIDTH = 64  # a random projection of the hidden states keeps cosines and spares memory
_SEARCH_STEPS = 12
_SEED = 20_480


@dataclass(frozen=True)
class Fidelity:
    """One way of storing, judged on a sample.

    Attributes:
        method: See `RecordLayout`.
        top_k: The same.
        record_bytes: Per target token.
        mass_kept: Probability of the exactly stored ids, mean over positions.
        cosine: Between the gradients of the output layer, stored and full.
        error: Norm of their difference, as a share of the full one's norm.
        hidden_cosine: Cosine between the gradients of the hidden states.
        divergence: Divergence by the stored form, as a share of the true one.
    """

    method: str
    top_k: int
    record_bytes: int
    mass_kept: float
    cosine: float
    error: float
    hidden_cosine: float
    divergence: float

    @property
    def worst_cosine(self) -> float:
        """The smaller of both cosines: the output layer learns by one, all below by the other."""
        return min(self.cosine, self.hidden_cosine)

    def as_json(self) -> dict[str, object]:
        """Rounded, for the manifest."""
        return {
            name: float(f"{value:.5g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


@dataclass
class _Sums:
    """Inner products of the stored (own) and the full gradient, added up chunk by chunk."""

    weight: Tensor
    mass: float = 0.0
    divergence: float = 0.0
    hidden: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


@paddle.no_grad()
def measure_fidelity(
    hidden: Tensor,
    projection: Projection,
    layouts: Sequence[RecordLayout],
    *,
    temperature: float,
    student: tuple[Tensor, Projection] | None = None,
) -> list[Fidelity]:
    """Judges ways of storing on a sample.

    Args:
        hidden: Teacher's hidden states at target positions, `[P, D]`.
        projection: The teacher's output projection.
        layouts: The ways; all of one vocabulary.
        temperature: τ of training.
        student: Hidden states `[P, D_student]` and projection of a real student in place of the
            stand-in.
    """
    vocab_size = layouts[0].vocab_size
    noisy = hidden.astype("float32")
    if student is None:
        student = noisy + stand_in_noise(noisy, projection, vocab_size), projection
    learner_hidden, learner = student
    directions = _directions(learner_hidden)  # [P, up to 64]
    full_weight = paddle.zeros([directions.shape[1], vocab_size])
    sums = [_Sums(paddle.zeros_like(full_weight)) for _ in layouts]
    full_divergence = 0.0
    starts = np.random.default_rng(_SEED).random(hidden.shape[0], dtype=np.float32)
    for rows in chunks(hidden.shape[0], vocab_size):
        logits = with_columns(projection.logits(hidden[rows]), vocab_size).scale(1 / temperature)
        theirs = with_columns(
            learner.logits(learner_hidden[rows].astype(learner.weight.dtype)), vocab_size
        )
        value, gradient = forward_kl(logits.clone(), theirs.scale(1 / temperature))
        full_divergence += scalar(value) * temperature**2
        gradient.scale_(temperature)
        full_weight.add_(paddle.matmul(directions[rows], gradient, transpose_x=True))
        for layout, own in zip(layouts, sums, strict=True):
            picture = take_picture(logits.clone(), layout, starts[rows])
            stored = layout.decode(paddle.to_tensor(layout.encode(picture)))
            term = StoredTerm(stored, layout, 1.0, temperature)
            value, approximate = term.divergence(theirs, slice(None))
            own.mass += float((1 - picture.tail).sum())
            own.divergence += scalar(value)
            own.weight.add_(paddle.matmul(directions[rows], approximate, transpose_x=True))
            _add_hidden(own.hidden, gradient, approximate, learner)
    count = hidden.shape[0]
    return [
        _judge(layout, own, full_weight, full_divergence, count)
        for layout, own in zip(layouts, sums, strict=True)
    ]


def stand_in_noise(hidden: Tensor, projection: Projection, vocab_size: int) -> Tensor:
    """Noise `[P, D]` that moves the distributions `STAND_IN_NATS` away, on the mean."""
    paddle.seed(_SEED)
    scale = paddle.sqrt((hidden**2).mean(axis=-1, keepdim=True))
    noise = paddle.randn(hidden.shape) * scale
    rows = chunks(hidden.shape[0], vocab_size)[0]
    dtype = projection.weight.dtype
    logits = with_columns(projection.logits(hidden[rows].astype(dtype)), vocab_size)
    low, high = 1.0e-3, 1.0e1
    for _ in range(_SEARCH_STEPS):
        middle = (low * high) ** 0.5
        moved = (hidden[rows] + middle * noise[rows]).astype(dtype)
        other = with_columns(projection.logits(moved), vocab_size)
        nats = scalar(forward_kl(logits.clone(), other)[0]) / logits.shape[0]
        low, high = (low, middle) if nats > STAND_IN_NATS else (middle, high)
    moved_by: Tensor = noise * low
    return moved_by


def _directions(hidden: Tensor) -> Tensor:
    """Hidden states, projected at random where they are wide."""
    width = hidden.shape[1]
    if width <= _WIDTH:
        return hidden.astype("float32")
    paddle.seed(_SEED)
    chosen = paddle.randn([width, _WIDTH]) / width**0.5
    projected: Tensor = paddle.matmul(hidden.astype("float32"), chosen)
    return projected


def _add_hidden(sums: list[float], full: Tensor, own: Tensor, learner: Projection) -> None:
    weight = learner.weight
    rows = [weight[: full.shape[1]]] if learner.is_rows else [weight[:, : full.shape[1]]]
    pulls = [
        paddle.matmul(gradient.astype(weight.dtype), rows[0], transpose_y=not learner.is_rows)
        for gradient in (full, own)
    ]
    first, second = (pull.astype("float32") for pull in pulls)
    for place, product in enumerate((first * second, first * first, second * second)):
        sums[place] += scalar(product.sum())


def _judge(
    layout: RecordLayout, sums: _Sums, full: Tensor, full_divergence: float, count: int
) -> Fidelity:
    norm = scalar((full**2).sum()) ** 0.5
    own_norm = scalar((sums.weight**2).sum()) ** 0.5
    product = scalar((sums.weight * full).sum())
    both, first, second = sums.hidden
    return Fidelity(
        method=layout.method,
        top_k=layout.top_k,
        record_bytes=layout.record_bytes,
        mass_kept=sums.mass / count,
        cosine=product / (norm * own_norm),
        error=scalar(((sums.weight - full) ** 2).sum()) ** 0.5 / norm,
        hidden_cosine=both / (first * second) ** 0.5,
        divergence=sums.divergence / full_divergence,
    )


def report_lines(found: Sequence[Fidelity], *, temperature: float, tokens: int) -> list[str]:
    """The report as a table for people."""
    lines = [
        f"fidelity on {tokens:,} target tokens at temperature {temperature:g}, against the full "
        "distribution:",
        "  method        bytes  mass kept  cosine   error  hidden cosine",
    ]
    lines += [
        f"  {item.method:<13} {item.record_bytes:>5}  {item.mass_kept:>8.1%}  {item.cosine:.4f}"
        f"  {item.error:>6.1%}  {item.hidden_cosine:>13.4f}"
        for item in found
    ]
    return lines


def as_mapping(found: Sequence[Fidelity]) -> list[Mapping[str, object]]:
    """The report as JSON."""
    return [item.as_json() for item in found]
