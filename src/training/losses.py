"""Token losses computed from hidden states, without ever holding all logits.

With 151,936 vocabulary rows the logits of a batch are larger than everything else together. Here
the output projection, the losses and their gradients are computed for a chunk of positions at a
time; only the gradients of the hidden states and of the projection survive a chunk.

For one position with student logits s, label y, and a divergence k from what a teacher says:

    cross-entropy   c = logsumexp(s) - s[y]
    loss            (1 - α) · c + α · k        (Hinton et al. 2015, arXiv 1503.02531)

Both are sums over positions in nats; the caller divides by the number of counted tokens in the
whole global batch, so that neither padding, micro-batches nor ranks change the result. What k is,
and where the teacher's side comes from, is `src.distillation`.

Softmax is written out with its own log-sum-exp: Paddle's CPU softmax family clips at -64 and its
log_softmax takes time quadratic in the vocabulary. Buffers of a chunk are overwritten in place: on
a CPU, fresh memory costs four times what the arithmetic does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor

from src.models.split import TensorGroup
from src.training.teacher_term import StudentChunk, TeacherTerm
from src.training.vocabulary import VocabularyPart

_CHUNK_ELEMENTS = 8 * 1024 * 1024
_SMALLEST_CHUNK = 32


@dataclass(frozen=True)
class Projection:
    """An output projection: hidden states `[P, D]` to logits `[P, V]`.

    Attributes:
        weight: `[V, D]` when `is_rows`, else `[D, V]`.
        is_rows: Which of the two.
        group: The devices that the vocabulary is cut over; None: V is all of it.
    """

    weight: Tensor
    is_rows: bool
    group: TensorGroup | None = None

    @property
    def vocab_size(self) -> int:
        """V, padding rows included; this device's part of it where it is cut."""
        return int(self.weight.shape[0 if self.is_rows else 1])

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits `[C, V]` of hidden states `[C, D]`, in memory of their own."""
        values: Tensor = paddle.matmul(hidden, self.weight, transpose_y=self.is_rows)
        return values if values.dtype == paddle.float32 else values.astype("float32")


def scalar(tensor: Tensor) -> float:
    """The number in a tensor that holds one."""
    return float(tensor.numpy())


@dataclass(frozen=True)
class TokenLoss:
    """Sums over positions, in nats.

    Attributes:
        total: Scalar tensor with gradient.
        cross_entropy: Scalar tensor, no gradient.
        divergence: Scalar tensor, no gradient; None without a teacher.
    """

    total: Tensor
    cross_entropy: Tensor
    divergence: Tensor | None


def token_loss(
    hidden: Tensor, projection: Projection, labels: Tensor, *, teacher: TeacherTerm | None = None
) -> TokenLoss:
    """Cross-entropy, and divergence from a teacher, summed over positions.

    Args:
        hidden: `[P, D]`, hidden states at the positions that predict a counted token.
        projection: The output projection of the model that is trained or evaluated.
        labels: `[P]`, int64, the tokens to predict.
        teacher: Adds the teacher's term.
    """
    parts: list[Tensor] = []
    weight = projection.weight
    is_enabled = paddle.is_grad_enabled()
    options = _Options(
        labels,
        projection.is_rows,
        projection.group,
        needs_hidden_grad=is_enabled and not hidden.stop_gradient,
        needs_weight_grad=is_enabled and not weight.stop_gradient,
        teacher=teacher,
        parts=parts,
    )
    total: Tensor = _ChunkedLoss.apply(hidden, weight, options)  # type: ignore[no-untyped-call]
    return TokenLoss(
        total=total, cross_entropy=parts[0], divergence=parts[1] if teacher is not None else None
    )


def chunks(positions: int, vocab_size: int) -> list[slice]:
    """Cuts positions so that the logits `[C, V]` of a piece stay small."""
    size = max(_SMALLEST_CHUNK, _CHUNK_ELEMENTS // vocab_size)
    return [slice(start, min(start + size, positions)) for start in range(0, positions, size)]


@dataclass(frozen=True)
class _Options:
    """What the chunked loss needs besides the tensors that get gradients.

    `parts` takes up cross-entropy and divergence: a PyLayer returns only what has a gradient.
    """

    labels: Tensor
    is_rows: bool
    group: TensorGroup | None
    needs_hidden_grad: bool
    needs_weight_grad: bool
    teacher: TeacherTerm | None
    parts: list[Tensor]


class _ChunkedLoss(paddle.autograd.PyLayer):
    """Computes gradients together with the loss, while a chunk's logits exist."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, options: _Options) -> Tensor:
        labels, parts, teacher = options.labels, options.parts, options.teacher
        is_rows = options.is_rows
        projection = Projection(weight, is_rows, options.group)
        vocabulary = VocabularyPart(projection.vocab_size, options.group)
        cross_entropy = paddle.zeros([], dtype="float32")
        divergence = paddle.zeros([], dtype="float32")
        hidden_grads: list[Tensor] = []
        weight_grad: Tensor | None = None
        for rows in chunks(hidden.shape[0], projection.vocab_size):
            chunk_hidden = hidden[rows]
            student = projection.logits(chunk_hidden)
            chunk_ce, chunk_divergence, gradient = _chunk(
                student, labels[rows], vocabulary, teacher, rows
            )
            cross_entropy += chunk_ce
            divergence += chunk_divergence
            gradient = gradient.astype(weight.dtype)
            if options.needs_hidden_grad:
                hidden_grads.append(paddle.matmul(gradient, weight, transpose_y=not is_rows))
            if options.needs_weight_grad:
                outer = (gradient, chunk_hidden) if is_rows else (chunk_hidden, gradient)
                part = paddle.matmul(*outer, transpose_x=True)
                weight_grad = part if weight_grad is None else weight_grad.add_(part)
        # Each device's columns give a part of what flows back into the shared hidden states.
        ctx.hidden_grad = vocabulary.add(paddle.concat(hidden_grads)) if hidden_grads else None
        ctx.weight_grad = weight_grad
        parts[:] = [cross_entropy, divergence]
        if teacher is None:
            return cross_entropy.clone()
        return (1 - teacher.alpha) * cross_entropy + teacher.alpha * divergence

    @staticmethod
    def backward(ctx: Any, output_grad: Tensor) -> tuple[Any, Any]:
        # Paddle demands None for an input without gradient: a frozen projection beside adapters.
        return _scale_(ctx.hidden_grad, output_grad), _scale_(ctx.weight_grad, output_grad)


def _scale_(gradient: Tensor | None, factor: Tensor) -> Tensor | None:
    """In place: what is as large as the output projection is not copied for a number."""
    return None if gradient is None else gradient.multiply_(factor.astype(gradient.dtype))


def _chunk(
    logits: Tensor,
    labels: Tensor,
    vocabulary: VocabularyPart,
    teacher: TeacherTerm | None,
    rows: slice,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss sums and the gradient of the total with respect to the chunk's logits `[C, V]`.

    The logits are used up.
    """
    if teacher is None:
        return _cross_entropy(logits, labels, vocabulary)
    student = StudentChunk.prepare(logits, vocabulary, teacher.vocab_size)
    padding, share = student.padding, 1 - teacher.alpha
    places = vocabulary.find(labels.unsqueeze(-1))
    picked = places.read(student.logits)
    pull = teacher.pull(student, rows)
    log_total = paddle.log(student.total) if padding is None else padding.log_total(student.total)
    gradient = pull.mix(student.exponentials, share * paddle.exp(-log_total), teacher.alpha)
    places.add(gradient, paddle.full_like(picked, -share))
    if padding is not None:
        padding.write_gradient(gradient, log_total, share)
    return (log_total - picked).sum(), pull.value, gradient


def _cross_entropy(
    logits: Tensor, labels: Tensor, vocabulary: VocabularyPart
) -> tuple[Tensor, Tensor, Tensor]:
    """The same without a teacher; the gradient takes the place of the logits."""
    logits.subtract_(vocabulary.highest(logits))
    places = vocabulary.find(labels.unsqueeze(-1))
    picked = places.read(logits)
    exponentials = logits.exp_()
    total = vocabulary.sum(exponentials)
    gradient = exponentials.multiply_(1 / total)
    places.add(gradient, paddle.full_like(picked, -1.0))
    return (paddle.log(total) - picked).sum(), paddle.zeros([], dtype="float32"), gradient
