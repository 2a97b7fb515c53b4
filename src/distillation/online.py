"""The teacher beside the student: forward KL divergence on target positions, computed live."""

from __future__ import annotations

import paddle

from src.models.factory import Model
from src.training.loop import LossFunction, MicroBatch
from src.training.losses import TeacherTerm, TokenLoss, token_loss
from src.training.objective import projection_of, target_hidden


def distillation_loss(
    student: Model, teacher: Model, *, alpha: float, temperature: float, vocab_size: int
) -> LossFunction:
    """`(1 - alpha) * cross-entropy + alpha * τ² KL(teacher ‖ student)`, summed over target tokens.

    Args:
        student: The model that is trained.
        teacher: Frozen; put into evaluation mode here.
        alpha: Share of the teacher's term.
        temperature: τ.
        vocab_size: Ids of the tokenizer both models share.
    """
    teacher.eval()
    for parameter in teacher.parameters():
        parameter.stop_gradient = True
    teacher_projection = projection_of(teacher)

    def loss(micro_batch: MicroBatch) -> TokenLoss:
        with paddle.no_grad():
            teacher_hidden = target_hidden(teacher, micro_batch)
        term = TeacherTerm(teacher_hidden, teacher_projection, alpha, temperature, vocab_size)
        return token_loss(
            target_hidden(student, micro_batch),
            projection_of(student),
            micro_batch["labels"],
            teacher=term,
        )

    return loss
