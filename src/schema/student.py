"""The section `student:`: training, and what it learns from a teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from src.schema.base import Fraction, PositiveInt
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
    kd_mode: Literal["online", "cached", "sequence", "none"] = "online"
    """online: the frozen teacher runs beside the student. cached: its distributions are read from
    what `run.py soft-labels` stored, and no teacher is needed. sequence: trains on the teacher's
    translations, stored by `run.py soft-labels --decode`. none: references only."""
    distillation_alpha: Fraction = 0.7
    """Share of the teacher's term in the loss; 0.7 = 70 % teacher, 30 % labels (online, cached)."""
    distillation_alpha_end: Fraction | None = None
    """Share that distillation_alpha reaches, along a straight line, after kd_schedule_steps.
    null: it stays."""
    temperature: float = Field(default=3.0, ge=0.01, le=100)
    """Softens teacher and student in the teacher's term, which is scaled by its square."""
    temperature_end: float | None = Field(default=None, ge=0.01, le=100)
    """Temperature reached, along a straight line, after kd_schedule_steps; online only. null: it
    stays."""
    kd_schedule_steps: PositiveInt | None = None
    """Optimizer steps in which distillation_alpha_end and temperature_end are reached."""
    kd_divergence: Literal["forward_kl", "reverse_kl", "jsd", "skewed_kl"] = "forward_kl"
    """How the distance between teacher and student is measured; cached knows forward_kl only."""
    kd_mixture: float = Field(default=0.5, gt=0, lt=1)
    """The teacher's weight in the mixture that jsd and skewed_kl compare with; 0.1 is usual for
    skewed_kl."""
    kd_targets: Literal["references", "teacher"] = "references"
    """What online and cached predict: the references, or the teacher's translations, stored by
    `run.py soft-labels --decode`. sequence always predicts the latter."""
    kd_reference_share: Fraction = 0.0
    """Share of the pairs that keep their reference where targets are the teacher's."""
    kd_beam_size: PositiveInt = 1
    """Hypotheses kept when the teacher translates; 1 is greedy."""
    soft_labels: str | None = None
    """Folder of what `run.py soft-labels` writes. null: `data.output_dir`/soft_labels."""
    kd_top_k: PositiveInt = 32
    """Entries stored per target token, about 3.3 bytes each with a vocabulary of 151,936 ids.
    sampled_tail uses half of that room for the most likely tokens and the other for drawn ones."""
    kd_method: Literal["auto", "uniform_tail", "sampled_tail", "tail_bucket"] = "auto"
    """What is stored of the tokens beyond the most likely ones. uniform_tail: their sum, spread
    evenly. sampled_tail: some of them, drawn by probability, which is right on average.
    tail_bucket: their sum, spread as the student does. auto: the one whose gradient is nearest to
    the full distribution's on a sample, noise considered."""
    kd_min_cosine: Fraction = 0.9
    """Soft labels are not written when the gradient they give has a lower cosine than this to that
    of the full distribution, or to itself with the noise of drawn ids; below 0.995 there is a
    warning."""

    @property
    def learns_from_translations(self) -> bool:
        """Whether the targets are the teacher's translations."""
        return self.kd_mode == "sequence" or self.kd_targets == "teacher"

    @model_validator(mode="after")
    def _check_distillation(self) -> StudentConfig:
        moving = [
            f"{key}={value:g}"
            for key, value in (
                ("distillation_alpha_end", self.distillation_alpha_end),
                ("temperature_end", self.temperature_end),
            )
            if value is not None
        ]
        is_cached = self.kd_mode == "cached"
        problems = [
            (
                bool(moving) and self.kd_schedule_steps is None,
                f"{' and '.join(moving)} {'need' if len(moving) > 1 else 'needs'} "
                "kd_schedule_steps: in how many steps?",
            ),
            (
                not moving and self.kd_schedule_steps is not None,
                f"kd_schedule_steps={self.kd_schedule_steps} has nothing to move; set "
                "distillation_alpha_end or temperature_end",
            ),
            (
                is_cached and self.temperature_end is not None,
                "kd_mode=cached holds distributions at one temperature; set temperature_end to "
                "null, or kd_mode to online",
            ),
            (
                is_cached and self.kd_divergence != "forward_kl",
                f"kd_divergence={self.kd_divergence} needs the teacher's whole distribution, which "
                "kd_mode=cached does not store; set it to forward_kl, or kd_mode to online",
            ),
            (
                self.kd_method == "sampled_tail" and self.kd_top_k == 1,
                "kd_method=sampled_tail has no room to draw with kd_top_k=1; set it to 2 or more",
            ),
            (
                self.kd_mode == "none" and self.kd_targets == "teacher",
                "kd_mode=none learns from references only; for the teacher's translations set "
                "kd_mode=sequence",
            ),
        ]
        found = [text for is_wrong, text in problems if is_wrong]
        if found:
            raise ValueError("; ".join(found))
        return self
