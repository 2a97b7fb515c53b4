"""The teacher beside the student: its distribution on target positions, computed live."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.distillation.divergences import Divergence, find_divergence, shift_
from src.distillation.schedule import schedule_of
from src.distillation.vocabulary import limit_columns, with_columns
from src.models.borders import prepare_for_borders
from src.models.factory import Model
from src.schema import StudentConfig
from src.training.losses import Projection, TokenLoss, token_loss
from src.training.objective import projection_of, target_hidden
from src.training.run import LossFunction, MicroBatch
from src.training.teacher_term import Pull, StudentChunk


@dataclass(frozen=True)
class LiveTerm:
    """`τ² D(teacher, student)` at the target positions of one micro-batch.

    Attributes:
        hidden: Teacher's hidden states at the target positions, `[P, D_teacher]`.
        projection: The teacher's output projection.
        alpha: Share of the divergence in the loss.
        temperature: τ, softens both distributions; must be positive.
        vocab_size: Ids of the tokenizer.
        measure: D.
    """

    hidden: Tensor
    projection: Projection
    alpha: float
    temperature: float
    vocab_size: int
    measure: Divergence

    def pull(self, student: StudentChunk, rows: slice) -> Pull:
        """See `TeacherTerm`; τ² and 1/τ make the gradient `τ ∂D/∂s`."""
        tau = self.temperature
        whole = student.vocabulary.whole(student.logits)
        logits = with_columns(self.projection.logits(self.hidden[rows]), whole.shape[1])
        teacher = shift_(limit_columns(logits.scale_(1 / tau), self.vocab_size))
        value, gradient = self.measure(teacher, whole.scale_(1 / tau))
        return Pull(value * tau**2, factor=tau, base=student.vocabulary.own(gradient))


def distillation_loss(
    student: Model, teacher: Model, section: StudentConfig, *, vocab_size: int
) -> LossFunction:
    """`(1 - alpha) * cross-entropy + alpha * τ² D(teacher, student)`, summed over target tokens.

    Args:
        student: The model that is trained.
        teacher: Frozen and in evaluation mode, as `Teacher.load` gives it.
        section: Alpha, temperature and the measure D.
        vocab_size: Ids of the tokenizer both models share.
    """
    if section.packing:
        prepare_for_borders(teacher, is_low_precision=section.fp16 or section.bf16)
    projection = projection_of(teacher)
    measure = find_divergence(section.kd_divergence, mixture=section.kd_mixture)
    schedule = schedule_of(section)

    def loss(micro_batch: MicroBatch) -> TokenLoss:
        with paddle.no_grad():
            hidden = target_hidden(teacher, micro_batch)
        alpha, temperature = schedule.at(micro_batch)
        term = LiveTerm(hidden, projection, alpha, temperature, vocab_size, measure)
        return token_loss(
            target_hidden(student, micro_batch),
            projection_of(student),
            micro_batch["labels"],
            teacher=term,
        )

    return loss
