"""Token losses computed from hidden states, without ever holding all logits.

With 151,936 vocabulary rows the logits of a batch are larger than everything else together. Here
the output projection, the losses and their gradients are computed for a chunk of positions at a
time; only the gradients of the hidden states and of the projection survive a chunk.

For one position with student logits s, label y, teacher logits t and temperature τ:

    cross-entropy   c = logsumexp(s) - s[y]
    divergence      k = τ² · KL(softmax(t/τ) ‖ softmax(s/τ))      (Hinton et al. 2015)
    loss            (1 - α) · c + α · k

Both are sums over positions in nats; the caller divides by the number of counted tokens in the
whole global batch, so that neither padding, micro-batches nor ranks change the result. Softmax is
written out with its own log-sum-exp: Paddle's CPU softmax family clips at -64 and its log_softmax
takes time quadratic in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor

_CHUNK_ELEMENTS = 8 * 1024 * 1024
_SMALLEST_CHUNK = 32


@dataclass(frozen=True)
class Projection:
    """An output projection: hidden states `[P, D]` to logits `[P, V]`.

    Attributes:
        weight: `[V, D]` when `is_rows`, else `[D, V]`.
        is_rows: Which of the two.
    """

    weight: Tensor
    is_rows: bool

    @property
    def vocab_size(self) -> int:
        """V, padding rows included."""
        return int(self.weight.shape[0 if self.is_rows else 1])


@dataclass(frozen=True)
class TeacherTerm:
    """The teacher's side of the loss.

    Attributes:
        hidden: Teacher's hidden states at the target positions, `[P, D_teacher]`.
        projection: The teacher's output projection.
        alpha: Share of the divergence in the loss.
        temperature: Softens both distributions; must be positive.
        vocab_size: The divergence runs over ids below this: the tokenizer's ids. Rows behind it are
            padding, of which teacher and student may have different numbers.
    """

    hidden: Tensor
    projection: Projection
    alpha: float
    temperature: float
    vocab_size: int


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
        needs_hidden_grad=is_enabled and not hidden.stop_gradient,
        needs_weight_grad=is_enabled and not weight.stop_gradient,
        teacher=teacher,
        parts=parts,
    )
    total: Tensor = _ChunkedLoss.apply(hidden, weight, options)  # type: ignore[no-untyped-call]
    return TokenLoss(
        total=total, cross_entropy=parts[0], divergence=parts[1] if teacher is not None else None
    )


@dataclass(frozen=True)
class _Options:
    """What the chunked loss needs besides the tensors that get gradients.

    `parts` takes up cross-entropy and divergence: a PyLayer returns only what has a gradient.
    """

    labels: Tensor
    is_rows: bool
    needs_hidden_grad: bool
    needs_weight_grad: bool
    teacher: TeacherTerm | None
    parts: list[Tensor]


class _ChunkedLoss(paddle.autograd.PyLayer):
    """Computes gradients together with the loss, while a chunk's logits exist."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, options: _Options) -> Tensor:
        labels, parts = options.labels, options.parts
        is_rows, teacher = options.is_rows, options.teacher
        cross_entropy = paddle.zeros([], dtype="float32")
        divergence = paddle.zeros([], dtype="float32")
        hidden_grads: list[Tensor] = []
        weight_grad: Tensor | None = None
        positions = hidden.shape[0]
        chunk = max(_SMALLEST_CHUNK, _CHUNK_ELEMENTS // weight.shape[0 if is_rows else 1])
        for start in range(0, positions, chunk):
            rows = slice(start, min(start + chunk, positions))
            chunk_hidden = hidden[rows]
            student = paddle.matmul(chunk_hidden, weight, transpose_y=is_rows).astype("float32")
            chunk_ce, chunk_kl, gradient = _chunk(student, labels[rows], teacher, rows)
            cross_entropy += chunk_ce
            divergence += chunk_kl
            gradient = gradient.astype(weight.dtype)
            if options.needs_hidden_grad:
                hidden_grads.append(paddle.matmul(gradient, weight, transpose_y=not is_rows))
            if options.needs_weight_grad:
                outer = (gradient, chunk_hidden) if is_rows else (chunk_hidden, gradient)
                part = paddle.matmul(*outer, transpose_x=True)
                weight_grad = part if weight_grad is None else weight_grad + part
        ctx.hidden_grad = paddle.concat(hidden_grads) if hidden_grads else None
        ctx.weight_grad = weight_grad
        parts[:] = [cross_entropy, divergence]
        if teacher is None:
            return cross_entropy.clone()
        return (1 - teacher.alpha) * cross_entropy + teacher.alpha * divergence

    @staticmethod
    def backward(ctx: Any, output_grad: Tensor) -> tuple[Any, Any]:
        # Paddle demands None for an input without gradient: a frozen projection beside adapters.
        return _scaled(ctx.hidden_grad, output_grad), _scaled(ctx.weight_grad, output_grad)


def _scaled(gradient: Tensor | None, factor: Tensor) -> Tensor | None:
    return None if gradient is None else gradient * factor.astype(gradient.dtype)


def _chunk(
    student: Tensor, labels: Tensor, teacher: TeacherTerm | None, rows: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss sums and the gradient of the total with respect to the chunk's logits `[C, V]`."""
    index = labels.unsqueeze(-1)
    shifted, partition = _shift_and_sum(student)
    picked = paddle.take_along_axis(shifted, index, axis=1)
    cross_entropy = (paddle.log(partition) - picked).sum()
    gradient = paddle.exp(shifted) / partition
    ones = paddle.ones_like(picked)
    gradient = paddle.put_along_axis(gradient, index, -ones, axis=1, reduce="add")
    if teacher is None:
        return cross_entropy, paddle.zeros([], dtype="float32"), gradient
    divergence, divergence_grad = _divergence(student, teacher, rows)
    gradient = gradient * (1 - teacher.alpha)
    gradient = _add_columns(gradient, divergence_grad * teacher.alpha)
    return cross_entropy, divergence, gradient


def _divergence(student: Tensor, teacher: TeacherTerm, rows: slice) -> tuple[Tensor, Tensor]:
    """`τ² KL` summed over the chunk, and its gradient `τ (q - p)` over the shared ids."""
    shared = teacher.vocab_size
    tau = teacher.temperature
    logits = paddle.matmul(
        teacher.hidden[rows], teacher.projection.weight, transpose_y=teacher.projection.is_rows
    ).astype("float32")
    teacher_shifted, teacher_sum = _shift_and_sum(_first_columns(logits, shared) / tau)
    student_shifted, student_sum = _shift_and_sum(_first_columns(student, shared) / tau)
    target = paddle.exp(teacher_shifted) / teacher_sum
    difference = teacher_shifted - student_shifted
    constants = paddle.log(student_sum) - paddle.log(teacher_sum)  # [C, 1]
    divergence = (target * difference).sum() + constants.sum()
    gradient = paddle.exp(student_shifted) / student_sum - target
    return divergence * tau**2, gradient * tau


def _shift_and_sum(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits minus their row maximum `[C, V]`, and the row sums of their exponentials `[C, 1]`."""
    shifted = logits - logits.max(axis=-1, keepdim=True)
    return shifted, paddle.exp(shifted).sum(axis=-1, keepdim=True)


def _first_columns(logits: Tensor, count: int) -> Tensor:
    return logits if logits.shape[1] == count else logits[:, :count]


def _add_columns(gradient: Tensor, addition: Tensor) -> Tensor:
    """Adds `[C, K]` to the first K columns of `[C, V]`."""
    missing = gradient.shape[1] - addition.shape[1]
    if missing:
        addition = paddle.nn.functional.pad(addition, [0, 0, 0, missing])
    return gradient + addition
