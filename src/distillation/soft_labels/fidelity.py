"""How good stored distributions are, before hours are spent on storing them.

Measured is what matters to training: the gradient. On a sample of target tokens the gradient that
the stored form gives is compared with the full distribution's, for students that stand where
trained ones do (`stand_ins`). Compared are the gradient of the output layer, added up over the
sample as a batch adds it up, and the gradients handed down to the hidden states. A trained student
is at rest: its tokens' gradients cancel in the sum but for chance, and an error that does not
cancel weighs more than against a student that all tokens pull the same way. So the first is also
given as it would be then.

Where ids are drawn, the stored form is right on average and wrong in each draw. The average is
what counts over the thousands of batches of a training, so the three are of that; by how much
drawing makes the gradient noisier is given beside them, against the noise that the labels bring
anyway: a reference is one draw from what could be said.

A way of storing is as good as the worst of the four, with the student that it suits least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import paddle
from paddle import Tensor

from src.distillation.divergences import forward_kl, shift_
from src.distillation.soft_labels.layout import METHODS, RecordLayout, Stored
from src.distillation.soft_labels.picture import take_picture
from src.distillation.soft_labels.stand_ins import Learner
from src.distillation.stored import StoredTerm
from src.distillation.vocabulary import with_columns
from src.training.losses import Projection, chunks, scalar
from src.training.teacher_term import pull_of
from src.training.vocabulary import Places, row_sums

WISHED_COSINE = 0.995
_WIDTH = 64  # a random projection of the hidden states keeps cosines and spares memory
_SEED = 20_480
_TINY = 1.0e-30


@dataclass(frozen=True)
class Fidelity:
    """One way of storing, judged on a sample.

    Attributes:
        student: Whose gradients were compared.
        method: See `RecordLayout`.
        top_k: The same.
        record_bytes: Per target token.
        mass_kept: Probability of the exactly stored ids, mean over positions.
        cosine: Between the gradients of the output layer, stored and full.
        error: Norm of their difference, as a share of the full one's norm.
        rest_cosine: The first cosine for a student at rest: 1 / sqrt(1 + ρ²), where ρ is the norm
            of the error over that of the full gradient if tokens were independent with mean zero.
        hidden_cosine: Cosine between the gradients of the hidden states.
        noise_cosine: 1 / sqrt(1 + ν²), where ν is the norm of what drawing adds to the gradient of
            the output layer over the noise of the whole loss at rest, labels included.
        divergence: Divergence by the stored form, as a share of the true one.
    """

    student: str
    method: str
    top_k: int
    record_bytes: int
    mass_kept: float
    cosine: float
    error: float
    rest_cosine: float
    hidden_cosine: float
    noise_cosine: float
    divergence: float

    @property
    def worst_cosine(self) -> float:
        """The smallest of the four."""
        return min(self.cosine, self.rest_cosine, self.hidden_cosine, self.noise_cosine)

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
    noise: Tensor
    mass: float = 0.0
    divergence: float = 0.0
    hidden: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


@dataclass(frozen=True)
class _Full:
    """What the full distribution gives.

    Attributes:
        weight: Gradient of the output layer, `[directions, V]`.
        divergence: Summed over the sample.
        at_rest: Norm of `weight` if tokens' gradients were independent with mean zero.
        labels: The same of the cross-entropy's, by chance alone: if references were drawn from the
            teacher's distribution.
    """

    weight: Tensor
    divergence: float
    at_rest: float
    labels: float


@paddle.no_grad()
def measure_fidelity(
    hidden: Tensor,
    projection: Projection,
    layouts: Sequence[RecordLayout],
    *,
    temperature: float,
    alpha: float,
    learner: Learner,
) -> list[Fidelity]:
    """Judges ways of storing on a sample, for one student.

    Args:
        hidden: Teacher's hidden states at target positions, `[P, D]`.
        projection: The teacher's output projection.
        layouts: The ways; all of one vocabulary.
        temperature: τ of training.
        alpha: Share of the divergence in the loss.
        learner: The student, at the same positions.
    """
    vocab_size = layouts[0].vocab_size
    directions = _directions(learner.hidden)  # [P, up to 64]
    full_weight = paddle.zeros([directions.shape[1], vocab_size])
    sums = [_Sums(full_weight.clone(), full_weight.clone()) for _ in layouts]
    full_divergence, at_rest, labels = 0.0, 0.0, 0.0
    starts = np.random.default_rng(_SEED).random(hidden.shape[0], dtype=np.float32)
    for rows in chunks(hidden.shape[0], vocab_size):
        raw = with_columns(projection.logits(hidden[rows]), vocab_size)
        logits = raw.scale(1 / temperature)
        theirs = with_columns(
            learner.projection.logits(learner.hidden[rows].astype(learner.projection.weight.dtype)),
            vocab_size,
        )
        value, gradient = forward_kl(shift_(logits.clone()), shift_(theirs.scale(1 / temperature)))
        full_divergence += scalar(value) * temperature**2
        gradient.scale_(temperature)
        full_weight.add_(paddle.matmul(directions[rows], gradient, transpose_x=True))
        lengths = (directions[rows] ** 2).sum(-1)
        at_rest += scalar((lengths * (gradient**2).sum(-1)).sum())
        labels += scalar((lengths * (1 - (_softmax(raw) ** 2).sum(-1))).sum())
        for layout, own in zip(layouts, sums, strict=True):
            picture = take_picture(logits.clone(), layout, starts[rows])
            stored = layout.decode(paddle.to_tensor(layout.encode(picture)))
            term = StoredTerm(stored, layout, 1.0, temperature)
            value, approximate = pull_of(term, theirs, slice(None))
            if layout.drawn:
                noise = _drawn_noise(stored, layout, logits).scale_(temperature)
                own.noise.add_(paddle.matmul(directions[rows], noise, transpose_x=True))
                approximate.subtract_(noise)
            own.mass += float((1 - picture.tail).sum())
            own.divergence += scalar(value)
            own.weight.add_(paddle.matmul(directions[rows], approximate, transpose_x=True))
            _add_hidden(own.hidden, gradient, approximate, learner.projection)
    count = hidden.shape[0]
    full = _Full(full_weight, full_divergence, at_rest**0.5, labels**0.5)
    return [
        _judge(learner.name, layout, own, full, count, alpha)
        for layout, own in zip(layouts, sums, strict=True)
    ]


def _drawn_noise(stored: Stored, layout: RecordLayout, logits: Tensor) -> Tensor:
    """What these draws make of the gradient with respect to the logits less what all would, τ = 1.

    Args:
        stored: Distributions of C positions.
        layout: How they were stored.
        logits: Teacher's logits divided by the temperature, `[C, V]`.
    """
    exact, drawn = stored.ids[:, : layout.exact], stored.ids[:, layout.exact :]
    shares = stored.weights[:, layout.exact :]
    noise = _softmax(logits)
    top = Places(exact)
    top.add(noise, -top.read(noise))
    scale = shares.sum(axis=-1, keepdim=True) / row_sums(noise).clip_(min=_TINY)
    noise.multiply_(scale)
    Places(drawn).add(noise, -shares)
    return noise


def _softmax(logits: Tensor) -> Tensor:
    exponentials = paddle.exp(shift_(logits.clone()))
    probabilities: Tensor = exponentials.divide_(row_sums(exponentials))
    return probabilities


def _directions(hidden: Tensor) -> Tensor:
    """Hidden states, projected at random where they are wide."""
    width = hidden.shape[1]
    if width <= _WIDTH:
        return hidden.astype("float32")
    paddle.seed(_SEED)
    chosen = paddle.randn([width, _WIDTH]) / width**0.5
    projected: Tensor = paddle.matmul(hidden.astype("float32"), chosen)
    return projected


def _add_hidden(sums: list[float], full: Tensor, own: Tensor, projection: Projection) -> None:
    weight = projection.weight
    rows = [weight[: full.shape[1]]] if projection.is_rows else [weight[:, : full.shape[1]]]
    pulls = [
        paddle.matmul(gradient.astype(weight.dtype), rows[0], transpose_y=not projection.is_rows)
        for gradient in (full, own)
    ]
    first, second = (pull.astype("float32") for pull in pulls)
    for place, product in enumerate((first * second, first * first, second * second)):
        sums[place] += scalar(product.sum())


def _judge(
    student: str, layout: RecordLayout, own: _Sums, full: _Full, count: int, alpha: float
) -> Fidelity:
    norm = scalar((full.weight**2).sum()) ** 0.5
    own_norm = scalar((own.weight**2).sum()) ** 0.5
    product = scalar((own.weight * full.weight).sum())
    error = scalar(((own.weight - full.weight) ** 2).sum()) ** 0.5
    both, first, second = own.hidden
    noise = alpha * scalar((own.noise**2).sum()) ** 0.5
    loss_noise = math.hypot(alpha * full.at_rest, (1 - alpha) * full.labels)
    return Fidelity(
        student=student,
        method=layout.method,
        top_k=layout.top_k,
        record_bytes=layout.record_bytes,
        mass_kept=own.mass / count,
        cosine=product / (norm * own_norm),
        error=error / norm,
        rest_cosine=1 / (1 + (error / full.at_rest) ** 2) ** 0.5,
        hidden_cosine=both / (first * second) ** 0.5,
        noise_cosine=1 / math.hypot(1, noise / loss_noise),
        divergence=own.divergence / full.divergence,
    )


def worst_of(found: Sequence[Fidelity]) -> list[Fidelity]:
    """For every way of storing the student that it suits least, in the order of the ways."""
    worst: dict[tuple[str, int], Fidelity] = {}
    for item in found:
        way = (item.method, item.top_k)
        if way not in worst or item.worst_cosine < worst[way].worst_cosine:
            worst[way] = item
    return list(worst.values())


def report_lines(found: Sequence[Fidelity], *, temperature: float, tokens: int) -> list[str]:
    """The report as a table for people."""
    lines = [
        f"fidelity on {tokens:,} target tokens at temperature {temperature:g}, against the full "
        "distribution:",
        "  method        student    bytes  mass kept  cosine  at rest  hidden states   noise",
    ]
    lines += [
        f"  {item.method:<13} {item.student:<9}  {item.record_bytes:>5}  {item.mass_kept:>9.1%}"
        f"  {item.cosine:>6.4f}  {item.rest_cosine:>7.4f}  {item.hidden_cosine:>13.4f}"
        f"  {item.noise_cosine:>6.4f}"
        for item in sorted(found, key=lambda item: METHODS.index(item.method))
    ]
    return lines


def as_mapping(found: Sequence[Fidelity]) -> list[Mapping[str, object]]:
    """The report as JSON."""
    return [item.as_json() for item in found]
