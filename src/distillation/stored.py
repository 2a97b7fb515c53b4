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
from src.models.factory import Model
from src.schema import StudentConfig
from src.tokens.records import RECORDS
from src.training.losses import TokenLoss, token_loss
from src.training.objective import projection_of, target_hidden
from src.training.run import LossFunction, MicroBatch
from src.training.teacher_term import Pull, StudentChunk

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

    @property
    def vocab_size(self) -> int:
        """See `TeacherTerm`."""
        return self.layout.vocab_size

    def pull(self, student: StudentChunk, rows: slice) -> Pull:
        """See `TeacherTerm`."""
        part = self.stored.take(rows)
        measure = {
            "uniform_tail": _uniform_tail,
            "sampled_tail": _sampled_tail,
            "tail_bucket": _tail_bucket,
        }[self.layout.method]
        return measure(part, student, self.temperature, self.vocab_size)


@dataclass(frozen=True)
class _Softened:
    """The student's distribution at τ, not normalised: `exponentials / total`.

    Attributes:
        exponentials: `[C, V]`; None: those of the chunk, as τ is 1.
        total: `[C, 1]`.
    """

    exponentials: Tensor | None
    total: Tensor


def _soften(student: StudentChunk, tau: float) -> _Softened:
    """Uses up the chunk's logits."""
    if tau == 1.0:
        return _Softened(None, student.total)
    exponentials = student.logits.scale_(1 / tau).exp_()
    return _Softened(exponentials, student.vocabulary.sum(exponentials))


def _sampled_tail(part: Stored, student: StudentChunk, tau: float, _: int) -> Pull:
    places = student.vocabulary.find(part.ids)
    picked = places.read(student.logits) / tau
    soft = _soften(student, tau)
    cross = -(part.weights * (picked - paddle.log(soft.total))).sum()
    return Pull(
        (cross - part.entropy.sum()) * tau**2,
        factor=tau / soft.total,
        base=soft.exponentials,
        entries=(places, -tau * part.weights),
    )


def _uniform_tail(part: Stored, student: StudentChunk, tau: float, vocab_size: int) -> Pull:
    vocabulary, logits = student.vocabulary, student.logits
    others = max(1, vocab_size - part.ids.shape[1])
    share = (part.rest / others).unsqueeze(-1)  # [C, 1]
    places = vocabulary.find(part.ids)
    picked = places.read(logits) / tau
    columns = vocabulary.columns_of(vocab_size)
    if columns < vocabulary.size:
        logits[:, columns:] = 0.0  # not part of the sum
    other_logits = vocabulary.sum(logits)[:, 0] / tau - picked.sum(axis=-1)
    # Its own exponentials, since the share is subtracted from all of them.
    exponentials = logits.scale_(1 / tau).exp_()
    if columns < vocabulary.size:
        exponentials[:, columns:] = 0.0
    total = vocabulary.sum(exponentials)
    log_total = paddle.log(total)
    cross = -(part.weights * (picked - log_total)).sum()
    cross = cross - (share[:, 0] * (other_logits - others * log_total[:, 0])).sum()
    own = _weighted_log(part.weights, part.weights) + _weighted_log(part.rest, share[:, 0])
    return Pull(
        (cross + own) * tau**2,
        factor=tau / total,
        base=exponentials.subtract_(share * total),
        entries=(places, tau * (share - part.weights)),
    )


def _tail_bucket(part: Stored, student: StudentChunk, tau: float, _: int) -> Pull:
    vocabulary = student.vocabulary
    places = vocabulary.find(part.ids)
    exponentials = student.logits.scale_(1 / tau).exp_()
    total = vocabulary.sum(exponentials)
    picked = places.read(exponentials)
    # Added up without the entries: one minus their sum would round to nothing.
    places.add(exponentials, -picked)
    tail = (vocabulary.sum(exponentials) / total)[:, 0].clip_(min=_TINY)
    picked = picked / total
    cross = -_weighted_log(part.weights, picked) - _weighted_log(part.rest, tail)
    own = _weighted_log(part.weights, part.weights) + _weighted_log(part.rest, part.rest)
    return Pull(
        (cross + own) * tau**2,
        factor=tau * (1 - part.rest / tail).unsqueeze(-1) / total,
        base=exponentials,
        entries=(places, tau * (picked - part.weights)),
    )


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
