"""The section `student:`: training, and what it learns from a teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from src.schema.base import Fraction
from src.schema.training import TrainerConfig


class StudentConfig(TrainerConfig):
    """`run.py student`: the keys of `teacher:` and those of distillation."""

    model_name: str = "Qwen/Qwen2.5-0.5B"
    """Folder in Hugging Face layout (every model folder of this project is one), or a name that
    PaddleNLP can download."""
    output_dir: str = "models/student"
    """Folder of checkpoints, metrics and the final model."""
    teacher: str | None = None
    """Folder of the tuned teacher. null: `teacher.output_dir`/final."""
    kd_mode: Literal["online", "none"] = "online"
    """online: the frozen teacher runs beside the student. none: references only."""
    distillation_alpha: Fraction = 0.7
    """Share of the teacher's term in the loss; 0.7 = 70 % teacher, 30 % references."""
    temperature: float = Field(default=3.0, gt=0)
    """Softens teacher and student in the teacher's term, which is scaled by its square."""
