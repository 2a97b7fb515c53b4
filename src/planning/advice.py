"""What to change when a run does not fit: the smallest change first.

All combinations of a few changes are tried; each change has a weight that says how much it takes
from speed or quality, and the lightest combination that fits is proposed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from src.planning.machine import Machine
from src.planning.memory import device_memory
from src.planning.sections import Stage, stage_work
from src.schema import Config, LoraConfig, StudentConfig, TrainerConfig

COMFORTABLE = 0.92
"""Share of the memory that a prediction may take to count as fitting: predictions of published runs
are off by 4 % in the middle and 15 % at the 90th percentile."""
_GIB = 2**30
# How much each change takes: half a point for half the batch, which only costs speed; most for
# training adapters instead of all weights, which may cost quality.
_HALVING, _RECOMPUTE, _LOW_PRECISION = 0.5, 1.0, 1.0
_SHARDING = (0.0, 0.4, 0.8, 1.2)
_ADAPTERS, _INT8, _NF4, _CACHED = 8.0, 1.5, 2.0, 3.0


@dataclass(frozen=True)
class Change:
    """A set of changed keys that makes a stage fit.

    Attributes:
        keys: Key → value, below the stage's section.
        effects: What they cost, in words.
        gib: Predicted memory of one device.
        weight: How much the change takes; smaller is better.
        section: The section with the change.
    """

    keys: Mapping[str, Any]
    effects: tuple[str, ...]
    gib: float
    weight: float
    section: TrainerConfig


@dataclass(frozen=True)
class _Option:
    keys: Mapping[str, Any]
    effect: str
    weight: float


def smallest_change(
    config: Config,
    stage: Stage,
    machine: Machine,
    *,
    mean_length: float,
    vocabulary: int | None,
) -> Change | None:
    """The lightest combination of changes with which the stage fits; None if none does.

    The global batch, and so what is learned, stays: a smaller batch_size is made up for by
    gradient_accumulation_steps.
    """
    section: TrainerConfig = getattr(config, stage)
    limit = machine.memory_gib * COMFORTABLE
    combinations = sorted(
        _combinations(section, machine), key=lambda options: sum(each.weight for each in options)
    )
    for options in combinations:
        keys = {key: value for option in options for key, value in option.keys.items()}
        changed = section.model_copy(update=keys)
        if not _is_allowed(changed, machine):
            continue
        work = stage_work(
            config.model_copy(update={stage: changed}),
            stage,
            devices=machine.count,
            mean_length=mean_length,
            vocabulary=vocabulary,
            is_on_host=machine.gpu is None,
        )
        gib = device_memory(work.peak).total / _GIB
        if gib <= limit:
            effects = tuple(option.effect for option in options if option.effect)
            weight = sum(each.weight for each in options)
            return Change(_plain(keys), effects, gib, weight, changed)
    return None


def precision_problem(section: TrainerConfig, machine: Machine) -> str | None:
    """Why the devices cannot compute in the section's number format; None if they can."""
    if machine.gpu is None:
        if section.fp16 or section.bf16 or section.quantization != "none":
            return "the CPU trains in float32 only: set fp16, bf16 and quantization off"
        return None
    if section.bf16 and not machine.gpu.has_bfloat16:
        return f"{machine.gpu.title} has no bfloat16: set bf16=false and fp16=true"
    return None


def _is_allowed(section: TrainerConfig, machine: Machine) -> bool:
    """The rules between keys that the schema has, for combinations made here."""
    is_low = section.fp16 or section.bf16
    if section.quantization != "none" and not (is_low and section.fp16_opt_level == "O2"):
        return False
    if section.quantization != "none" and section.sharding == len(_SHARDING) - 1:
        return False
    if section.tensor_parallel > 1 and (section.sharding or section.lora is not None):
        return False
    return precision_problem(section, machine) is None and not (section.sharding and section.fp16)


def _combinations(section: TrainerConfig, machine: Machine) -> Iterator[tuple[_Option, ...]]:
    yield from itertools.product(
        _batches(section),
        _recompute(section),
        _precisions(section, machine),
        _shardings(section, machine),
        _methods(section, machine),
        _teachers(section),
    )


def _teachers(section: TrainerConfig) -> list[_Option]:
    options = [_Option({}, "", 0.0)]
    if isinstance(section, StudentConfig) and section.kd_mode == "online":
        effect = "the teacher's distributions are stored once by `run.py soft-labels`"
        options.append(_Option({"kd_mode": "cached"}, effect, _CACHED))
    return options


def _batches(section: TrainerConfig) -> list[_Option]:
    options = [_Option({}, "", 0.0)]
    size, steps = section.batch_size, section.gradient_accumulation_steps
    for halvings in range(1, int(math.log2(size)) + 1):
        rows = size >> halvings
        keys = {"batch_size": rows, "gradient_accumulation_steps": steps * size // rows}
        options.append(_Option(keys, "shorter passes are slower", _HALVING * halvings))
    return options


def _recompute(section: TrainerConfig) -> list[_Option]:
    options = [_Option({}, "", 0.0)]
    if not section.gradient_checkpointing:
        effect = "activations are computed twice: about 30 % slower"
        options.append(_Option({"gradient_checkpointing": True}, effect, _RECOMPUTE))
    return options


def _precisions(section: TrainerConfig, machine: Machine) -> list[_Option]:
    options = [_Option({}, "", 0.0)]
    if machine.gpu is None:
        if section.fp16 or section.bf16:
            keys: dict[str, Any] = {"fp16": False, "bf16": False}
            options.append(_Option(keys, "float32, as the CPU needs", _LOW_PRECISION))
        return options
    keys = {"bf16": machine.gpu.has_bfloat16, "fp16": not machine.gpu.has_bfloat16}
    keys["fp16_opt_level"] = "O2"
    if any(getattr(section, key) != value for key, value in keys.items()):
        effect = "weights in 16 bits with float32 masters"
        options.append(_Option(keys, effect, _LOW_PRECISION))
    return options


def _shardings(section: TrainerConfig, machine: Machine) -> list[_Option]:
    options = [_Option({}, "", 0.0)]
    if machine.gpu is None or machine.count <= section.tensor_parallel or section.fp16:
        return options
    for stage in range(section.sharding + 1, len(_SHARDING)):
        effect = f"state is spread over the {machine.count} devices; they exchange more"
        options.append(_Option({"sharding": stage}, effect, _SHARDING[stage]))
    return options


def _methods(section: TrainerConfig, machine: Machine) -> list[_Option]:
    options = [_Option({}, "", 0.0)]
    if section.architecture is not None:
        return options
    start, keys = 0.0, {}
    effect = ""
    if section.lora is None:
        start, keys = _ADAPTERS, {"lora": LoraConfig()}
        effect = "adapters are trained instead of all weights"
        options.append(_Option(keys, effect, start))
    if machine.gpu is None:
        return options
    for bits, weight in (("int8", _INT8), ("nf4", _NF4)):
        if section.quantization in ("none", "int8" if bits == "nf4" else "none"):
            low = f"frozen weights in {bits}"
            effects = f"{effect}, {low}" if effect else low
            options.append(_Option({**keys, "quantization": bits}, effects, start + weight))
    return options


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they are written on the command line."""
    return {
        key: {"r": value.r, "alpha": value.alpha} if isinstance(value, LoraConfig) else value
        for key, value in keys.items()
    }
