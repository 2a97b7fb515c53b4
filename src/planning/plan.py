"""The plan of a stage: does it fit, how long does it take, what does it cost, what to change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from src.checkpoint.interval import EXPECTED_UPTIME_SECONDS, save_interval
from src.errors import ConfigError
from src.planning.advice import COMFORTABLE, Change, precision_problem, smallest_change
from src.planning.catalogue import Catalogue, InstanceType, instances_with
from src.planning.compute import PassTime, pass_time, utilisation
from src.planning.corpus_facts import CorpusFacts, corpus_facts
from src.planning.disk import DiskNeeds, disk_needs
from src.planning.machine import DEVICE_COUNTS, Machine
from src.planning.memory import GIB, MemoryParts, device_memory, host_memory
from src.planning.money import RegionCost, costs
from src.planning.schedule import Steps, steps_of
from src.planning.sections import Stage, StageWork, stage_work, teacher_of
from src.schema import Config, StudentConfig, TrainerConfig

Verdict = Literal["fits", "tight", "does not fit", "cannot run"]

SLOWER, FASTER = 0.7, 1.3
"""Range of the speed: predicted tables of other sources are off by 4 to 32 % in the middle."""
DENSITY = 0.98
"""Share of computed positions that are real tokens, with batches sorted by length."""
_STALL_SECONDS = 5.0
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Outlook:
    """A stage on one number of devices.

    Attributes:
        devices: How many.
        verdict: Whether the peak is within the memory.
        problem: Why it cannot run at all; None otherwise.
        memory: Peak on one device, by part.
        peak_gib: The same in all; on the CPU with the copy that saving makes.
        global_batch: Pairs per step.
        tokens_per_step: Real tokens.
        steps: The length of the run.
        tokens_per_second: Real tokens per second of all devices; None where nothing says.
        hours: Predicted or measured; None where nothing says.
        hours_range: Fastest and slowest expected.
        utilisation: Model FLOPs utilisation.
        is_measured: Whether hours come from a run.
        instance: What would be rented; None where no type has these devices.
        costs: By region, cheapest first.
    """

    devices: int
    verdict: Verdict
    problem: str | None
    memory: MemoryParts
    peak_gib: float
    global_batch: int
    tokens_per_step: float
    steps: Steps
    tokens_per_second: float | None
    hours: float | None
    hours_range: tuple[float, float] | None
    utilisation: float | None
    is_measured: bool
    instance: InstanceType | None
    costs: tuple[RegionCost, ...]


@dataclass(frozen=True)
class StagePlan:
    """Everything about one stage on one machine.

    Attributes:
        stage: "teacher" or "student".
        work: Its workloads on the machine.
        corpus: What it trains on.
        outlook: On the machine as it is.
        table: On 1, 2, 4 and 8 such devices.
        change: The smallest change with which it fits; None where it fits, or none helps.
        changed: The outlook with that change.
        disk: What it writes.
        soft_label_hours: The teacher's pass over the corpus before a student with kd_mode=cached;
            None where there is none, or nothing says.
    """

    stage: Stage
    work: StageWork
    corpus: CorpusFacts
    outlook: Outlook
    table: tuple[Outlook, ...]
    change: Change | None
    changed: Outlook | None
    disk: DiskNeeds
    soft_label_hours: float | None


@dataclass(frozen=True)
class Measured:
    """The rate of a short run, from its summary.json.

    Attributes:
        seconds_per_step: Mean after the first step.
        folder: Where it was read.
    """

    seconds_per_step: float
    folder: str


def read_measured(folder: Path) -> Measured:
    """The rate that a run with `max_steps` has measured.

    Raises:
        ConfigError: If the folder holds no finished run, or one without a rate.
    """
    path = folder / "summary.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seconds = float(content["full_run"]["seconds_per_step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--measured {folder}: {path} gives no full_run.seconds_per_step; finish a short run "
            "there first, e.g. with teacher.max_steps=10"
        ) from error
    if seconds <= 0:
        raise ConfigError(f"--measured {folder}: {path} gives {seconds} seconds per step")
    return Measured(seconds, str(folder))


def plan_stage(
    config: Config,
    stage: Stage,
    machine: Machine,
    *,
    prices: Catalogue,
    pairs: int | None = None,
    measured: Measured | None = None,
) -> StagePlan:
    """Plans one stage.

    Args:
        config: The whole configuration.
        stage: Which section.
        machine: What it would run on.
        prices: GPUs and prices.
        pairs: Sentence pairs to train on; None: what report.json or data.sample_size say.
        measured: A rate measured on this very machine.

    Raises:
        ConfigError: If a model's sizes are not known.
    """
    section: TrainerConfig = getattr(config, stage)
    corpus = corpus_facts(config, pairs=pairs, prompt=section.prompt)

    def on(devices: int, config: Config = config) -> tuple[StageWork, Outlook]:
        work = _work(config, stage, machine, corpus, devices)
        same = devices == machine.count
        rate = measured if same else None
        instance = machine.instance if same else None
        return work, _outlook(
            work, machine, corpus, instance=instance, measured=rate, prices=prices, config=config
        )

    work, outlook = on(machine.count)
    counts = () if machine.gpu is None else DEVICE_COUNTS
    change = None
    if outlook.verdict in ("does not fit", "cannot run"):
        change = smallest_change(
            config, stage, machine, mean_length=corpus.mean_length, vocabulary=corpus.vocabulary
        )
    changed = None
    if change is not None:
        changed = on(machine.count, config.model_copy(update={stage: change.section}))[1]
    return StagePlan(
        stage=stage,
        work=work,
        corpus=corpus,
        outlook=outlook,
        table=tuple(on(count)[1] for count in counts),
        change=change,
        changed=changed,
        disk=disk_needs(config, work, corpus),
        soft_label_hours=_soft_label_hours(config, work, machine, corpus, outlook),
    )


def _work(
    config: Config, stage: Stage, machine: Machine, corpus: CorpusFacts, devices: int
) -> StageWork:
    return stage_work(
        config,
        stage,
        devices=devices,
        mean_length=corpus.mean_length,
        vocabulary=corpus.vocabulary,
        is_on_host=machine.gpu is None,
    )


def _outlook(
    work: StageWork,
    machine: Machine,
    corpus: CorpusFacts,
    *,
    instance: InstanceType | None,
    measured: Measured | None,
    prices: Catalogue,
    config: Config,
) -> Outlook:
    devices = work.peak.devices
    memory = device_memory(work.peak)
    peak = (host_memory(work.peak) if machine.gpu is None else memory.total) / GIB
    problem = precision_problem(work.section, machine)
    step = _step_seconds(work, machine, measured)
    section = work.section
    steps = steps_of(
        corpus.items,
        global_batch=work.global_batch,
        epochs=section.num_epochs,
        max_steps=section.max_steps,
        save_steps=_save_steps(section, step),
    )
    tokens = work.global_batch * work.mean.length
    hours = None if step is None else steps.total * step / _SECONDS_PER_HOUR
    if instance is None and machine.gpu is not None:
        fitting = instances_with(machine.gpu.name, devices)
        instance = fitting[0] if fitting else None
    found: tuple[RegionCost, ...] = ()
    if hours is not None and instance is not None:
        gib = disk_needs(config, work, corpus).total / GIB
        found = tuple(costs(instance, hours, machines=1, disk_gib=gib, prices=prices))
    spread = (1.0, 1.0) if measured is not None else (1 / FASTER, 1 / SLOWER)
    return Outlook(
        devices=devices,
        verdict="cannot run" if problem else _verdict(peak, machine.memory_gib),
        problem=problem,
        memory=memory,
        peak_gib=peak,
        global_batch=work.global_batch,
        tokens_per_step=tokens,
        steps=steps,
        tokens_per_second=None if step is None else tokens / step,
        hours=hours,
        hours_range=None if hours is None else (hours * spread[0], hours * spread[1]),
        utilisation=_utilisation(work, machine),
        is_measured=measured is not None,
        instance=instance,
        costs=found,
    )


def _verdict(peak: float, memory: float) -> Verdict:
    if peak <= COMFORTABLE * memory:
        return "fits"
    return "tight" if peak <= memory else "does not fit"


def _time(work: StageWork, machine: Machine) -> PassTime | None:
    if machine.gpu is None:
        return None
    # Padding is computed like text.
    padded = replace(work.mean, length=work.mean.length / DENSITY)
    return pass_time(padded, machine.gpu, precision=work.precision)


def _step_seconds(work: StageWork, machine: Machine, measured: Measured | None) -> float | None:
    if measured is not None:
        return measured.seconds_per_step
    time = _time(work, machine)
    return None if time is None else time.total * work.mean.passes


def _utilisation(work: StageWork, machine: Machine) -> float | None:
    time = _time(work, machine)
    if time is None or machine.gpu is None:
        return None
    return utilisation(work.mean, time, machine.gpu, work.precision)


def _soft_label_hours(
    config: Config, work: StageWork, machine: Machine, corpus: CorpusFacts, outlook: Outlook
) -> float | None:
    """The teacher's forward pass over one epoch, as large as the student's."""
    section = work.section
    if not isinstance(section, StudentConfig) or section.kd_mode != "cached":
        return None
    if machine.gpu is None:
        return None
    teacher = teacher_of(config, section, corpus.vocabulary, low=work.precision != "float32")
    beside = replace(work.mean, length=work.mean.length / DENSITY, teacher=teacher)
    seconds = pass_time(beside, machine.gpu, precision=work.precision).teacher
    epoch = min(outlook.steps.per_epoch, outlook.steps.total)
    return epoch * work.mean.passes * seconds / _SECONDS_PER_HOUR


def _save_steps(section: TrainerConfig, step_seconds: float | None) -> int:
    """Steps between checkpoints; `auto` follows Young and Daly with a stall of 5 s."""
    if isinstance(section.save_steps, int):
        return section.save_steps
    if step_seconds is None:
        return 1000
    return max(1, round(save_interval(_STALL_SECONDS, EXPECTED_UPTIME_SECONDS) / step_seconds))


def as_json(plan: StagePlan) -> dict[str, Any]:
    """The plan for `--json`; memory in bytes, money in CNY, time in hours."""
    change = plan.change
    return {
        "stage": plan.stage,
        "model": plan.work.peak.shape.name,
        "parameters": plan.work.peak.shape.parameters,
        "trained_parameters": plan.work.peak.trained_parameters,
        "corpus": {
            "sequences": plan.corpus.items,
            "mean_length": plan.corpus.mean_length,
            "source": plan.corpus.source,
        },
        "outlook": _outlook_json(plan.outlook),
        "table": [_outlook_json(each) for each in plan.table],
        "change": None
        if change is None
        else {"keys": dict(change.keys), "effects": list(change.effects), "gib": change.gib},
        "changed": None if plan.changed is None else _outlook_json(plan.changed),
        "soft_label_hours": plan.soft_label_hours,
        "disk_bytes": asdict(plan.disk),
        "notes": list(plan.work.notes),
    }


def _outlook_json(outlook: Outlook) -> dict[str, Any]:
    plain: Mapping[str, Any] = {
        name: getattr(outlook, name)
        for name in (
            "devices", "verdict", "problem", "peak_gib", "global_batch", "tokens_per_step",
            "tokens_per_second", "hours", "hours_range", "utilisation", "is_measured",
        )
    }  # fmt: skip
    return {
        **plain,
        "memory_bytes": asdict(outlook.memory),
        "steps": asdict(outlook.steps),
        "instance": None if outlook.instance is None else outlook.instance.name,
        "costs_cny": [asdict(cost) for cost in outlook.costs],
    }
