"""From a section of the configuration to workloads: one for memory, one for time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

from src.planning.shape import ModelShape, shape_of_model, shape_of_section
from src.planning.workload import Adapters, Teacher, Workload
from src.schema import Config, StudentConfig, TrainerConfig

Stage = Literal["teacher", "student"]

_MOMENT_BYTES: Mapping[str, int] = {
    "adamw": 8,
    "adam": 8,
    "nadam": 8,
    "radam": 8,
    "lamb": 8,
    "adamax": 8,
    "rmsprop": 12,
    "adagrad": 4,
    "momentum": 4,
    "sgd": 0,
}
"""Float32 state of Paddle's optimizers per trained weight."""
_FLOAT32, _LOW = 4.0, 2.0
_TARGET_SHARES: Mapping[str, float] = {"compact": 0.49, "chatml": 0.26}


@dataclass(frozen=True)
class StageWork:
    """What one stage asks of a machine with so many devices.

    Attributes:
        stage: "teacher" or "student".
        section: Its keys.
        peak: Workload of the largest batch, which the run tries first: for memory.
        mean: Workload of a mean batch: for time.
        precision: float32, float16 or bfloat16.
        global_batch: Pairs per update.
        notes: What has to be said about it.
    """

    stage: Stage
    section: TrainerConfig
    peak: Workload
    mean: Workload
    precision: str
    global_batch: int
    notes: tuple[str, ...]


def stage_work(
    config: Config,
    stage: Stage,
    *,
    devices: int,
    mean_length: float,
    vocabulary: int | None = None,
    is_on_host: bool = False,
    shape: ModelShape | None = None,
) -> StageWork:
    """The workloads of a stage.

    Args:
        config: The whole configuration.
        stage: Which section.
        devices: GPUs, or 1 for the CPU.
        mean_length: Mean tokens of a sequence.
        vocabulary: Of the corpus' own tokenizer, where there is one.
        is_on_host: Whether it runs on the CPU.
        shape: Instead of the section's own model.

    Raises:
        ConfigError: If a model's sizes are not known.
    """
    section: TrainerConfig = getattr(config, stage)
    shape = shape or shape_of_section(section, vocabulary=vocabulary, key=stage)
    precision = "float16" if section.fp16 else "bfloat16" if section.bf16 else "float32"
    replicas = max(1, devices // section.tensor_parallel)
    per_pass = section.batch_size * replicas
    global_batch = section.global_batch_size or per_pass * section.gradient_accumulation_steps
    own = ceil(global_batch / replicas)  # pairs, or full rows of packed ones
    mean_length = min(mean_length, section.max_seq_length)
    if section.packing:
        own = ceil(global_batch * mean_length / section.max_seq_length / replicas)
    rows = min(section.batch_size, own)
    passes = max(1, ceil(own / rows))
    weight, gradient, optimizer = _bytes_per_weight(section, precision)
    low = precision != "float32"
    peak = Workload(
        shape=shape,
        rows=rows,
        length=section.max_seq_length,
        passes=passes,
        devices=devices,
        tensor_parallel=section.tensor_parallel,
        sharding=section.sharding,
        weight_bytes=weight,
        gradient_bytes=gradient,
        optimizer_bytes=optimizer,
        number_bytes=_LOW if low else _FLOAT32,
        bits=section.quantization,
        adapters=None if section.lora is None else Adapters(section.lora.r, section.lora.targets),
        recomputes=section.gradient_checkpointing,
        is_on_host=is_on_host,
        teacher=_teacher_beside(config, section, vocabulary, low=low),
    )
    if section.packing:
        mean_length *= global_batch / (replicas * rows * passes)  # the rows that hold them
    mean = replace(
        peak,
        length=mean_length,
        target_share=_TARGET_SHARES[section.prompt],
    )
    notes = _notes(section, devices, replicas)
    return StageWork(stage, section, peak, mean, precision, global_batch, notes)


def _bytes_per_weight(section: TrainerConfig, precision: str) -> tuple[float, float, float]:
    """Bytes of weight, gradient and optimizer (master copy, moments, average) of a trained weight.

    O1 keeps float32 weights and a cast copy while it computes; O2 keeps low-precision weights and
    gradients and a float32 master. Adapters, and what is frozen beside them, are made in low
    precision.
    """
    state = float(_MOMENT_BYTES[section.optimizer])
    if section.ema_decay is not None:
        state += _FLOAT32
    if precision == "float32":
        return _FLOAT32, _FLOAT32, state
    if section.lora is not None or section.fp16_opt_level == "O2":
        return _LOW, _LOW, state + _FLOAT32
    return _FLOAT32 + _LOW, _FLOAT32, state


def _teacher_beside(
    config: Config, section: TrainerConfig, vocabulary: int | None, *, low: bool
) -> Teacher | None:
    if not isinstance(section, StudentConfig) or section.kd_mode != "online":
        return None
    return teacher_of(config, section, vocabulary, low=low)


def teacher_of(
    config: Config, section: StudentConfig, vocabulary: int | None, *, low: bool
) -> Teacher:
    """The model a student learns from: its folder where it is, else what `teacher:` names."""
    folder = Path(section.teacher or Path(config.teacher.output_dir) / "final")
    if (folder / "config.json").is_file():
        shape = shape_of_model(str(folder), key="student.teacher")
    else:
        shape = shape_of_section(config.teacher, vocabulary=vocabulary, key="teacher")
    return Teacher(shape, _LOW if low else _FLOAT32)


def _notes(section: TrainerConfig, devices: int, replicas: int) -> tuple[str, ...]:
    notes = []
    if devices % section.tensor_parallel:
        notes.append(
            f"tensor_parallel={section.tensor_parallel} does not divide {devices} devices: "
            f"{devices - replicas * section.tensor_parallel} would idle"
        )
    if isinstance(section, StudentConfig) and section.kd_mode == "online":
        notes.append("the teacher runs beside the student (kd_mode=online)")
    return tuple(notes)
