"""How far a student's distribution is from its teacher's: four measures and their gradients.

Notation for one position: p = softmax(t), q = softmax(s) over V ids, with the logits already
divided by the temperature. Every measure D is a function of p and q; its gradient with respect to
the student's logits follows from g = ∂D/∂q by the chain rule of the softmax:

    ∂D/∂s = q ⊙ (g - ⟨q, g⟩)

    name         D                                 g
    forward_kl   Σ p (log p - log q)               -p / q, so ∂D/∂s = q - p
    reverse_kl   Σ q (log q - log p)               log q - log p
    jsd          w KL(p ‖ m) + (1 - w) KL(q ‖ m)   (1 - w) (log q - log m)
    skewed_kl    KL(p ‖ m)                         -(1 - w) p / m

with the mixture m = w p + (1 - w) q. Sources: Hinton et al. 2015 (arXiv 1503.02531); MiniLLM, Gu et
al. 2024 (2306.08543); GKD, Agarwal et al. 2024 (2306.13649); DistiLLM, Ko et al. 2024 (2402.03898).
All functions take logits whose largest is 0 in every row (`shift_`) and overwrite their buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import paddle
from paddle import Tensor

from src.training.vocabulary import row_sums

Divergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Teacher's and student's logits `[C, V]`, both overwritten, to the divergence summed over the
chunk and its gradient with respect to the student's logits `[C, V]`."""

_TINY = 1.0e-38


def find_divergence(name: str, *, mixture: float) -> Divergence:
    """The measure of that name.

    Args:
        name: A name of the table above.
        mixture: w, the teacher's weight in the mixture; above 0 and below 1.
    """
    found: dict[str, Divergence] = {
        "forward_kl": forward_kl,
        "reverse_kl": reverse_kl,
        "jsd": partial(jensen_shannon, mixture=mixture),
        "skewed_kl": partial(skewed_kl, mixture=mixture),
    }
    return found[name]


def shift_(logits: Tensor) -> Tensor:
    """Subtracts from every row of `[C, V]` its largest, in place."""
    return logits.subtract_(logits.max(axis=-1, keepdim=True))


def forward_kl(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """KL(p ‖ q): the student must put mass wherever the teacher does."""
    difference = teacher - student
    teacher_sum, student_sum = row_sums(teacher.exp_()), row_sums(student.exp_())
    target = teacher.multiply_(1 / teacher_sum)
    constants = paddle.log(student_sum) - paddle.log(teacher_sum)  # [C, 1]
    value = difference.multiply_(target).sum() + constants.sum()
    return value, student.multiply_(1 / student_sum).subtract_(target)


def reverse_kl(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """KL(q ‖ p): the student must not put mass where the teacher has none."""
    slope = _log_softmax_(student)  # log q
    weights = paddle.exp(slope)  # q
    slope.subtract_(_log_softmax_(teacher))
    return _through_softmax(weights, slope)


def jensen_shannon(teacher: Tensor, student: Tensor, *, mixture: float) -> tuple[Tensor, Tensor]:
    """The generalised Jensen-Shannon divergence, bounded and between the two above."""
    log_p, log_q = _log_softmax_(teacher), _log_softmax_(student)
    p, q = paddle.exp(log_p), paddle.exp(log_q)
    log_m = _mixed(p, q, mixture).log_()
    log_p.subtract_(log_m)
    log_q.subtract_(log_m)
    from_teacher = log_p.multiply_(p).sum()
    from_student, gradient = _through_softmax(q, log_q)
    return (
        mixture * from_teacher + (1 - mixture) * from_student,
        gradient.scale_(1 - mixture),
    )


def skewed_kl(teacher: Tensor, student: Tensor, *, mixture: float) -> tuple[Tensor, Tensor]:
    """KL(p ‖ m): forward KL whose gradient stays bounded where q is small."""
    log_p, log_q = _log_softmax_(teacher), _log_softmax_(student)
    p, q = paddle.exp(log_p), paddle.exp(log_q)
    m = _mixed(p, q, mixture)
    slope = (p / m).scale_(mixture - 1)
    value = log_p.subtract_(m.log_()).multiply_(p).sum()
    return value, _through_softmax(q, slope)[1]


def _mixed(p: Tensor, q: Tensor, mixture: float) -> Tensor:
    """m, kept above zero where both are: there m's logarithm meets a factor of zero."""
    return p.scale(mixture).add_(q.scale(1 - mixture)).clip_(min=_TINY)


def _log_softmax_(logits: Tensor) -> Tensor:
    """Log-probabilities in place of the logits."""
    return logits.subtract_(paddle.log(row_sums(paddle.exp(logits))))


def _through_softmax(q: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Σ ⟨q, g⟩ over the chunk, and q ⊙ (g - ⟨q, g⟩)."""
    inner = row_sums(q * slope)  # [C, 1]
    return inner.sum(), slope.subtract_(inner).multiply_(q)
