"""The student's loss from stored distributions: no teacher in memory.

At temperature τ, with the stored probabilities p_i of the ids i of a position, the rest r of the
probability, and the student's q = softmax(s / τ) over V ids, the divergence is the KL divergence
from the stored distribution, where the rest is filled in as the method says:

    uniform_tail   r / (V - k) on each other id
    sampled_tail   nothing is left: the drawn ids carry the tail. Its cross-entropy is right on
                   average; the teacher's own entropy is stored
    tail_bucket    one more outcome, "any other id", of probability r and 1 - Σ q_i

and the loss adds τ² times it. Gradients with respect to s, before that factor: `(q - p) / τ` with
p filled in; for the bucket `(q_v - r q_v / (1 - Σ q_i)) / τ` on other ids v.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.distillation.schedule import schedule_of
from src.distillation.soft_labels.layout import RecordLayout, Stored
from src.distillation.vocabulary import limit_columns
from src.models.factory import Model
from src.schema import StudentConfig
from src.tokens.records import RECORDS
from src.training.losses import TokenLoss, add_at, token_loss
from src.training.objective import projection_of, target_hidden
from src.training.run import LossFunction, MicroBatch

_TINY = 1.0e-30


@dataclass(frozen=True)
class StoredTerm:
    """`τ² KL(stored ‖ student)` at the target positions of one micro-batch.

    Attributes:
        stored: Distributions at these positions.
        layout: How they were stored.
        alpha: Share of the divergence in the loss.
        temperature: τ, the one they were stored at.
    """

    stored: Stored
    layout: RecordLayout
    alpha: float
    temperature: float

    def divergence(self, student: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """See `src.training.losses.TeacherTerm`."""
        tau = self.temperature
        part = self.stored.take(rows)
        logits = limit_columns(student.scale(1 / tau), self.layout.vocab_size)
        logits.subtract_(logits.max(axis=-1, keepdim=True))
        measure = {
            "uniform_tail": self._uniform_tail,
            "sampled_tail": _sampled_tail,
            "tail_bucket": _tail_bucket,
        }[self.layout.method]
        value, gradient = measure(part, logits)
        return value * tau**2, gradient.scale_(tau)

    def _uniform_tail(self, part: Stored, logits: Tensor) -> tuple[Tensor, Tensor]:
        vocab_size = self.layout.vocab_size
        others = max(1, vocab_size - part.ids.shape[1])
        share = (part.rest / others).unsqueeze(-1)  # [C, 1]
        picked = paddle.take_along_axis(logits, part.ids, axis=1)
        all_logits = logits if logits.shape[1] == vocab_size else logits[:, :vocab_size]
        other_logits = all_logits.sum(axis=-1) - picked.sum(axis=-1)
        gradient, log_sum = _softmax_(logits)
        cross = -(part.weights * (picked - log_sum)).sum()
        cross = cross - (share[:, 0] * (other_logits - others * log_sum[:, 0])).sum()
        own = _weighted_log(part.weights, part.weights) + _weighted_log(part.rest, share[:, 0])
        gradient.subtract_(share)
        if gradient.shape[1] > vocab_size:
            gradient[:, vocab_size:] = 0.0
        add_at(gradient, part.ids, share - part.weights)
        return cross + own, gradient


def _sampled_tail(part: Stored, logits: Tensor) -> tuple[Tensor, Tensor]:
    picked = paddle.take_along_axis(logits, part.ids, axis=1)
    gradient, log_sum = _softmax_(logits)
    cross = -(part.weights * (picked - log_sum)).sum()
    add_at(gradient, part.ids, -part.weights)
    return cross - part.entropy.sum(), gradient


def _tail_bucket(part: Stored, logits: Tensor) -> tuple[Tensor, Tensor]:
    q, _ = _softmax_(logits)
    picked = paddle.take_along_axis(q, part.ids, axis=1)
    # Added up without the entries: one minus their sum would round to nothing.
    add_at(q, part.ids, -picked)
    tail = q.sum(axis=-1).clip_(min=_TINY)
    cross = -_weighted_log(part.weights, picked) - _weighted_log(part.rest, tail)
    own = _weighted_log(part.weights, part.weights) + _weighted_log(part.rest, part.rest)
    gradient = q.multiply_((1 - part.rest / tail).unsqueeze(-1))
    add_at(gradient, part.ids, picked - part.weights)
    return cross + own, gradient


def _softmax_(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax in place of logits whose largest is 0, and its log-sum `[C, 1]`."""
    total = logits.exp_().sum(axis=-1, keepdim=True)
    return logits.multiply_(1 / total), paddle.log(total)


def _weighted_log(weights: Tensor, values: Tensor) -> Tensor:
    """Σ weight · log value, where nothing times the logarithm of nothing is nothing."""
    return (weights * paddle.log(values.clip(min=_TINY))).sum()


def cached_loss(student: Model, layout: RecordLayout, section: StudentConfig) -> LossFunction:
    """`(1 - alpha) * cross-entropy + alpha * τ² KL(stored ‖ student)`, summed over target tokens.

    Args:
        student: The model that is trained.
        layout: Of the records that come with every micro-batch.
        section: Alpha, and the temperature the records were made at.
    """
    schedule = schedule_of(section)

    def loss(micro_batch: MicroBatch) -> TokenLoss:
        labels = micro_batch["labels"]
        records = micro_batch.get(RECORDS)
        if records is None:  # the trial run before step 0 has no pairs
            records = paddle.zeros([labels.shape[0], layout.record_bytes], dtype="uint8")
        alpha, temperature = schedule.at(micro_batch)
        term = StoredTerm(layout.decode(records), layout, alpha, temperature)
        return token_loss(
            target_hidden(student, micro_batch), projection_of(student), labels, teacher=term
        )

    return loss
