"""A plan as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from src.planning.advice import COMFORTABLE, Change
from src.planning.catalogue import Catalogue
from src.planning.corpus_facts import CorpusFacts, length_advice
from src.planning.machine import DEVICE_COUNTS, Machine
from src.planning.memory import CHUNK_ELEMENTS, GIB
from src.planning.money import SPOT_SOURCE
from src.planning.plan import FASTER, SLOWER, Outlook, StagePlan
from src.planning.presets import Preset
from src.planning.schedule import (
    ASSUMED_LOSS,
    chinchilla_ratio,
    critical_batch_tokens,
    scaled_rate,
)
from src.planning.strategies import GpuNeed
from src.schema import TrainerConfig
from src.units import format_bytes, format_count, format_seconds

_MOST_REGIONS = 6
_UNKNOWN = "-"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def stage_lines(plan: StagePlan, machine: Machine) -> Iterator[str]:
    """Everything about one stage."""
    work, outlook = plan.work, plan.outlook
    shape = work.peak.shape
    yield (
        f"{plan.stage}: {shape.name}, {shape.parameters / 1e9:.3f} G parameters, "
        f"{_method(plan)}, on {machine.title}"
    )
    yield from (f"  note: {note}" for note in work.notes)
    yield f"  {_verdict(outlook, machine)}"
    yield from _indent(_memory_table(outlook))
    if plan.change is not None:
        yield from _change_lines(plan.stage, plan.change, plan.changed)
    elif outlook.verdict in ("does not fit", "cannot run"):
        yield "  no change of batch, precision, sharding or method makes it fit on this machine"
    yield ""
    yield from _indent(_time_lines(plan))
    yield from _indent(_money_lines(outlook))
    yield f"  disk: {_disk(plan)}"
    if plan.table:
        yield ""
        yield from _indent(_device_table(plan))
    yield ""
    yield from _indent(_learning_lines(plan))
    yield from _indent(_length_lines(plan.corpus, plan.work.section))


def _method(plan: StagePlan) -> str:
    section = plan.work.section
    parts = ["all weights" if section.lora is None else f"LoRA r={section.lora.r}"]
    if section.quantization != "none":
        parts.append(f"{section.quantization} weights")
    parts.append(
        plan.work.precision + (f" {section.fp16_opt_level}" if section.fp16 or section.bf16 else "")
    )
    if section.gradient_checkpointing:
        parts.append("recomputation")
    if section.sharding:
        parts.append(f"sharding {section.sharding}")
    return ", ".join(parts)


def _verdict(outlook: Outlook, machine: Machine) -> str:
    if outlook.problem is not None:
        return f"CANNOT RUN: {outlook.problem}"
    words = {"fits": "fits", "tight": "TIGHT", "does not fit": "DOES NOT FIT"}[outlook.verdict]
    return (
        f"{words}: {outlook.peak_gib:.1f} GiB of {machine.memory_gib:.1f} GiB on each device, at "
        "the largest batch"
    )


def _memory_table(outlook: Outlook) -> list[str]:
    parts = outlook.memory
    names = ("weights", "gradients", "optimizer", "activations", "loss", "teacher", "buffers",
             "runtime")  # fmt: skip
    found = [(name, getattr(parts, name)) for name in names]
    return ["  ".join(f"{name} {value / GIB:.2f}" for name, value in found if value) + "  (GiB)"]


def _change_lines(stage: str, change: Change, changed: Outlook | None) -> Iterator[str]:
    keys = " ".join(f"{stage}.{key}={_yaml(value)}" for key, value in change.keys.items())
    yield f"  smallest change that fits ({change.gib:.1f} GiB): {keys}"
    yield from (f"    {effect}" for effect in dict.fromkeys(change.effects))
    if changed is None or changed.hours is None:
        return
    cost = changed.costs[0] if changed.costs else None
    money = (
        "" if cost is None else f", from {cost.on_demand:,.0f} CNY on demand, {cost.spot:,.0f} spot"
    )
    yield f"    with it: {format_seconds(changed.hours * 3600)}{money}"


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "'{" + ", ".join(f"{key}: {each:g}" for key, each in value.items()) + "}'"
    return str(value)


def _time_lines(plan: StagePlan) -> Iterator[str]:
    outlook, steps = plan.outlook, plan.outlook.steps
    ends = " (max_steps)" if steps.is_cut else ""
    yield (
        f"{steps.total:,} steps{ends} of {outlook.global_batch:,} pairs "
        f"({format_count(outlook.tokens_per_step)} tokens), {steps.per_epoch:,} an epoch, "
        f"{steps.checkpoints:,} checkpoints; {plan.corpus.items:,} sequences an epoch "
        f"({plan.corpus.source})"
    )
    if outlook.hours is None or outlook.hours_range is None:
        yield "time: not predicted for a CPU; run with max_steps=10 and name it with --measured"
        return
    hours, (least, most) = outlook.hours, outlook.hours_range
    rate = format_count(outlook.tokens_per_second or 0.0)
    if plan.soft_label_hours is not None:
        yield (
            f"before it: {format_seconds(plan.soft_label_hours * 3600)} of `run.py soft-labels`, "
            "the teacher's pass over the corpus"
        )
    if outlook.is_measured:
        yield f"time: {format_seconds(hours * 3600)} at the measured rate of {rate} tokens/s"
        return
    yield (
        f"time: {format_seconds(hours * 3600)} ({format_seconds(least * 3600)} to "
        f"{format_seconds(most * 3600)}), {rate} tokens/s, "
        f"{outlook.utilisation or 0:.0%} of the peak"
    )


def _money_lines(outlook: Outlook) -> Iterator[str]:
    if not outlook.costs or outlook.instance is None:
        if outlook.hours is not None:
            yield "cost: no rented machine with exactly these GPUs is in the price file"
        return
    yield f"cost in CNY on {outlook.instance.name}, without disk and traffic:"
    rows = [("  region", "on demand", "spot", "reserved", "disk")]
    rows += [
        (f"  {cost.region}", f"{cost.on_demand:,.0f}", f"{cost.spot:,.0f}",
         f"{cost.reserved:,.0f}", f"{cost.disk:,.1f}")
        for cost in outlook.costs[:_MOST_REGIONS]
    ]  # fmt: skip
    yield from table(rows)
    if len(outlook.costs) > _MOST_REGIONS:
        more = len(outlook.costs) - _MOST_REGIONS
        yield f"  … and {more} dearer regions, up to {outlook.costs[-1].on_demand:,.0f} on demand"


def _disk(plan: StagePlan) -> str:
    disk = plan.disk
    parts = [
        ("models", disk.models), ("text", disk.text), ("token cache", disk.tokens),
        ("checkpoints", disk.checkpoints), ("soft labels", disk.soft_labels),
    ]  # fmt: skip
    listed = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts if size)
    return f"{format_bytes(disk.total)} ({listed})"


def _device_table(plan: StagePlan) -> list[str]:
    head = ("devices", "GiB each", "verdict", "pairs/step", "steps", "tokens/s", "time",
            "on demand", "spot")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for each in plan.table:
        cheapest = each.costs[0] if each.costs else None
        rows.append(
            (
                str(each.devices),
                f"{each.peak_gib:.1f}",
                each.verdict,
                f"{each.global_batch:,}",
                f"{each.steps.total:,}",
                _UNKNOWN
                if each.tokens_per_second is None
                else format_count(each.tokens_per_second),
                _UNKNOWN if each.hours is None else format_seconds(each.hours * 3600),
                _UNKNOWN if cheapest is None else f"{cheapest.on_demand:,.0f}",
                _UNKNOWN if cheapest is None else f"{cheapest.spot:,.0f}",
            )
        )
    return table(rows)


def _learning_lines(plan: StagePlan) -> Iterator[str]:
    section, outlook = plan.work.section, plan.outlook
    shape = plan.work.peak.shape
    tokens = outlook.steps.items * plan.work.mean.length
    ratio = chinchilla_ratio(tokens, shape.parameters)
    yield (
        f"tokens: {format_count(tokens)}, {ratio:.2g} of Chinchilla's 20 a parameter (that is for "
        "pre-training from scratch; tuning a trained model needs far fewer)"
    )
    batch = outlook.global_batch
    yield f"learning rate {section.learning_rate:g} at {batch:,} pairs a step; with another batch:"
    batches = [batch * count for count in DEVICE_COUNTS]
    rows = [("  pairs a step", *(f"{each:,}" for each in batches))]
    for rule in ("square root", "linear"):
        rates = [
            scaled_rate(section.learning_rate, batch=batch, new_batch=each, rule=rule)
            for each in batches
        ]
        rows.append((f"  {rule}", *(f"{rate:.2g}" for rate in rates)))
    yield from table(rows)
    critical = critical_batch_tokens(ASSUMED_LOSS)
    yield (
        f"critical batch: about {format_count(critical)} tokens a step at a loss of "
        f"{ASSUMED_LOSS:g} nats; this run has {format_count(outlook.tokens_per_step)}"
    )


def _length_lines(corpus: CorpusFacts, section: TrainerConfig) -> Iterator[str]:
    advice, recommended = length_advice(corpus.lengths)
    if not advice:
        yield (
            f"max_seq_length={section.max_seq_length}: `run.py process` will say what it leaves "
            "out of your text"
        )
        return
    rows = [("max_seq_length", "covers", "pairs left out", "tokens left out")]
    rows += [
        (str(each.length), each.label, f"{each.pairs_cut:.2%}", f"{each.tokens_cut:.2%}")
        for each in advice
    ]
    yield from table(rows)
    if recommended is not None:
        yield f"recommended: {recommended} (now {section.max_seq_length}): leaves out ≤ 0.1 %"


def preset_lines(found: Sequence[tuple[Preset, Machine, Sequence[StagePlan]]]) -> Iterator[str]:
    """The strategies side by side."""
    head = ("preset", "machine", "stage", "GiB", "verdict", "steps", "time", "on demand", "spot")
    rows: list[tuple[str, ...]] = [head]
    for preset, machine, plans in found:
        for plan in plans:
            each = plan.outlook
            cost = each.costs[0] if each.costs else None
            rows.append(
                (
                    preset.name,
                    preset.gpu if machine.instance is None else machine.instance.name,
                    plan.stage,
                    f"{each.peak_gib:.1f}",
                    each.verdict,
                    f"{each.steps.total:,}",
                    _UNKNOWN if each.hours is None else format_seconds(each.hours * 3600),
                    _UNKNOWN if cost is None else f"{cost.on_demand:,.0f}",
                    _UNKNOWN if cost is None else f"{cost.spot:,.0f}",
                )
            )
            rows += _soft_label_rows(preset, plan)
    yield from table(rows)
    yield ""
    yield from (f"{preset.name}: {preset.summary}" for preset, _, _ in found)
    yield ""
    yield "cost in CNY in the cheapest region, without disk and traffic; disks are in `plan` of one"


def _soft_label_rows(preset: Preset, plan: StagePlan) -> list[tuple[str, ...]]:
    """The teacher's pass over the corpus that a cached student needs first."""
    hours, each = plan.soft_label_hours, plan.outlook
    if hours is None or not each.costs or not each.hours:
        return []
    share = hours / each.hours
    return [
        (
            preset.name, preset.gpu, "soft-labels", "", "", "", format_seconds(hours * 3600),
            f"{each.costs[0].on_demand * share:,.0f}", f"{each.costs[0].spot * share:,.0f}",
        )
    ]  # fmt: skip


def need_lines(needs: Sequence[GpuNeed], *, title: str) -> Iterator[str]:
    """GPUs per strategy as a table."""
    yield title
    kinds = list(dict.fromkeys(need.gpu for need in needs))
    rows: list[tuple[str, ...]] = [("strategy", *kinds)]
    for strategy in dict.fromkeys(need.strategy for need in needs):
        cells = [need for need in needs if need.strategy == strategy]
        rows.append((strategy, *("-" if need.count is None else f"{need.count}" for need in cells)))
    yield from _indent(table(rows))


def assumption_lines(prices: Catalogue) -> Iterator[str]:
    """What the numbers rest on, each with its source."""
    assumed = (
        f"fits means at most {COMFORTABLE:.0%} of the usable memory; predictions of 43 published "
        "peaks that the constants were not fitted on are off by 4 % in the middle, 15 % at the "
        "90th percentile; of a source they never saw by 3 to 34 % (benchmarks/plan_accuracy.py)",
        "state: float32 16 bytes a trained weight; O1 18; O2 16 (2 weight, 2 gradient, 4 master, "
        "8 Adam); average +4; frozen 2, int8 1, nf4 0.6 (Rajbhandari et al. 2020; Dettmers et al. "
        "2023)",
        "activations: counted from PaddleNLP's layers, attention scores stored; its published "
        "runs come to 0.9 of the count, this project's to 0.5 on CPU (benchmarks/plan_memory.py); "
        "not yet compared on a GPU",
        f"loss: target positions only, {CHUNK_ELEMENTS / 2**20:.0f} M logits at a time "
        "(src/training/losses.py)",
        "time: 6 N operations a token and trained weight (Kaplan et al. 2020), attention, memory "
        "traffic and kernel launches; judged on 35 published speeds: 4 % in the middle; a source "
        f"that the constants never saw: 4 to 32 %, hence the range {1 / FASTER:.2f} to "
        f"{1 / SLOWER:.2f} of the time",
        f"spot: {prices.spot_ratio:.0%} of the list price ({prices.sources['spot']}); "
        f"{SPOT_SOURCE}",
        f"reserved: {prices.reserved_ratio:.0%} of the list price ({prices.sources['reserved']})",
        f"prices of {prices.as_of}: {prices.sources['on_demand']}",
        "critical batch 2e8 · loss^-4.76 tokens (Kaplan et al. 2020, eq. 1.4); rate scaling: "
        "square root for Adam (Malladi et al. 2022), linear for SGD (Goyal et al. 2017)",
        "soft labels: 110 bytes a target token at kd_top_k=32: 18 bits and a byte an entry, and 6 "
        "(src/distillation/soft_labels/layout.py)",
    )
    yield "assumptions:"
    yield from (f"  - {text}" for text in assumed)


def _indent(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"  {line}" if line else "" for line in lines)
