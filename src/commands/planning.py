"""The command `plan`: memory, time and money before anything is rented."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.commands.command import Command, config_of, json_argument, positive, print_json
from src.errors import EXIT_DONE, EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from src.planning.catalogue import Catalogue
    from src.planning.plan import StagePlan

_ALL = "all"
_NEEDED_ROWS, _NEEDED_LENGTH = 16, 384


def _plan(parsed: argparse.Namespace) -> int:
    if parsed.simulate is not None:
        return _simulate(parsed)
    if parsed.parameters is not None:
        return _needs(parsed)
    if parsed.preset == _ALL:
        return _compare_presets(parsed)
    return _stages(parsed)


def _stages(parsed: argparse.Namespace) -> int:
    from src.planning.machine import find_machine
    from src.planning.plan import as_json, plan_stage, read_measured
    from src.planning.show import assumption_lines, stage_lines

    prices = _prices(parsed)
    config = config_of(parsed)
    machine = find_machine(_gpu_of(parsed), parsed.instance, prices)
    measured = None if parsed.measured is None else read_measured(parsed.measured)
    if measured is not None and len(_stage_names(parsed)) > 1:
        raise ConfigError("--measured is the rate of one stage; name it with --stage")
    plans = [
        plan_stage(config, stage, machine, prices=prices, pairs=parsed.pairs, measured=measured)
        for stage in _stage_names(parsed)
    ]
    if parsed.json:
        assumptions = list(assumption_lines(prices))[1:]
        print_json(
            {
                "machine": machine.title,
                "memory_gib": machine.memory_gib,
                "stages": {plan.stage: as_json(plan) for plan in plans},
                "assumptions": [line.removeprefix("  - ") for line in assumptions],
            }
        )
    else:
        for plan in plans:
            print("\n".join(stage_lines(plan, machine)), end="\n\n")
        print("\n".join(assumption_lines(prices)))
    return _exit_code(plans)


def _gpu_of(parsed: argparse.Namespace) -> str | None:
    """The GPUs to plan for; a preset is planned on its own machine unless another is named."""
    from src.planning.presets import read_preset

    if parsed.gpu is None and parsed.instance is None and parsed.preset is not None:
        return read_preset(parsed.preset).gpu
    gpu: str | None = parsed.gpu
    return gpu


def _stage_names(parsed: argparse.Namespace) -> tuple[Any, ...]:
    return ("teacher", "student") if parsed.stage is None else (parsed.stage,)


def _prices(parsed: argparse.Namespace) -> Catalogue:
    from src.planning.catalogue import catalogue, read_catalogue

    return catalogue() if parsed.prices is None else read_catalogue(parsed.prices)


def _exit_code(plans: list[StagePlan]) -> int:
    """1 where a stage does not fit, so that scripts notice."""
    fits = all(plan.outlook.verdict in ("fits", "tight") for plan in plans)
    return EXIT_DONE if fits else EXIT_FAILED


def _compare_presets(parsed: argparse.Namespace) -> int:
    from src.config import load_config
    from src.planning.machine import find_machine
    from src.planning.plan import as_json, plan_stage
    from src.planning.presets import all_presets
    from src.planning.show import preset_lines

    prices = _prices(parsed)
    found = []
    for preset in all_presets():
        config = load_config(parsed.config, parsed.overrides, preset=preset.name)
        named = preset.gpu if parsed.gpu is None and parsed.instance is None else parsed.gpu
        machine = find_machine(named, parsed.instance, prices)
        plans = [
            plan_stage(config, stage, machine, prices=prices, pairs=parsed.pairs or _size(config))
            for stage in _stage_names(parsed)
        ]
        found.append((preset, machine, plans))
    if parsed.json:
        print_json(
            {
                preset.name: {
                    "summary": preset.summary,
                    "machine": machine.title,
                    "stages": {plan.stage: as_json(plan) for plan in plans},
                }
                for preset, machine, plans in found
            }
        )
    else:
        print("\n".join(preset_lines(found)))
    return _exit_code([plan for _, _, plans in found for plan in plans])


def _size(config: Any) -> int:
    """Pairs a strategy is compared on: its sample, or the whole corpus it was made for."""
    from src.planning.presets import WHOLE_CORPUS_PAIRS

    return config.data.sample_size or WHOLE_CORPUS_PAIRS


def _needs(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from src.planning.shape import shape_of_parameters
    from src.planning.show import need_lines
    from src.planning.strategies import gpus_needed

    prices = _prices(parsed)
    shape = shape_of_parameters(parsed.parameters)
    kinds = [
        prices.gpus[name]
        for name in ("t4", "a10", "a100-40g", "a100-80g", "h200")
        if name in prices.gpus
    ]
    needs = gpus_needed(shape, kinds, rows=_NEEDED_ROWS, length=_NEEDED_LENGTH)
    if parsed.json:
        print_json({"parameters": shape.parameters, "needs": [asdict(need) for need in needs]})
        return EXIT_DONE
    title = (
        f"fewest GPUs for {shape.name} parameters at {_NEEDED_ROWS} x {_NEEDED_LENGTH} tokens a "
        "pass, with recomputation (-: does not fit)"
    )
    print("\n".join(need_lines(needs, title=title)))
    return EXIT_DONE


def _simulate(parsed: argparse.Namespace) -> int:
    from src.planning.simulation_report import report, report_json
    from src.planning.spot_simulation import Job
    from src.planning.traces import read_trace, synthetic_traces

    prices = _prices(parsed)
    if parsed.simulate:
        traces = [read_trace(path) for path in parsed.simulate]
    else:
        traces = synthetic_traces(zones=parsed.zones, seed=parsed.seed)
    job = Job(
        work_seconds=parsed.work_hours * 3600,
        stall_seconds=parsed.stall,
        upload_seconds=parsed.upload,
        deadline_seconds=None if parsed.deadline is None else parsed.deadline * 3600,
        spot_ratio=prices.spot_ratio if parsed.spot_ratio is None else parsed.spot_ratio,
    )
    found = report(job, traces, starts=parsed.starts)
    if parsed.json:
        print_json(report_json(job, traces, found))
    else:
        from src.planning.simulation_report import report_lines

        print("\n".join(report_lines(job, traces, found)))
    return EXIT_DONE


def _positive_number(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share above 0 and up to 1")
    return value


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    machine = parser.add_argument_group("machine (default: this one, or the preset's)")
    machine.add_argument("--gpu", metavar="KIND[:COUNT]", help="e.g. a10:4, a100-80g, h200:8")
    machine.add_argument("--instance", metavar="TYPE", help="e.g. ecs.gn7i-c16g1.4xlarge")
    machine.add_argument("--prices", type=Path, metavar="FILE", help="another price file")
    work = parser.add_argument_group("work")
    work.add_argument("--stage", choices=("teacher", "student"), help="only this stage")
    work.add_argument("--pairs", type=positive, metavar="N", help="sentence pairs to train on")
    work.add_argument(
        "--measured",
        type=Path,
        metavar="DIR",
        help="output_dir of a short run on this machine: its rate instead of a predicted one",
    )
    work.add_argument(
        "--parameters",
        type=_positive_number,
        metavar="N",
        help="instead of a plan: GPUs that a model of N parameters needs, e.g. 7e9",
    )
    _simulation_arguments(parser)


def _simulation_arguments(parser: argparse.ArgumentParser) -> None:
    replay = parser.add_argument_group("--simulate: replaying interruptions")
    replay.add_argument(
        "--simulate",
        nargs="*",
        type=Path,
        metavar="TRACE",
        help="instead of a plan: cost and time of spot policies on these traces, one CSV of rows "
        "`time,instances` per zone, in whole seconds or hours with a point; without any, on "
        "generated ones",
    )
    replay.add_argument(
        "--work-hours", type=_positive_number, default=72.0, metavar="H",
        help="work of the run, without interruptions (72)",
    )  # fmt: skip
    replay.add_argument(
        "--stall", type=_positive_number, default=18.0, metavar="S",
        help="seconds training stands still for a save (18)",
    )  # fmt: skip
    replay.add_argument(
        "--upload", type=_positive_number, default=180.0, metavar="S",
        help="seconds until a save is durable (180)",
    )  # fmt: skip
    replay.add_argument(
        "--deadline", type=_positive_number, metavar="H",
        help="hours after which it must be done, on demand if need be",
    )  # fmt: skip
    replay.add_argument(
        "--spot-ratio", type=_share, metavar="R", help="spot price as a share of the list price"
    )
    replay.add_argument(
        "--starts", type=positive, default=40, metavar="N", help="starts per policy (40)"
    )
    replay.add_argument(
        "--zones", type=positive, default=3, metavar="N", help="generated zones (3)"
    )
    replay.add_argument("--seed", type=int, default=0, metavar="N", help="of generated traces (0)")


COMMANDS = {
    "plan": Command(
        help="memory, time and cost of a run, before it is paid for",
        reads_writes="Reads the configuration, report.json of data.output_dir where it is, and "
        "the price file. Writes\nnothing. Exit code 1 where a stage does not fit.",
        examples=(
            "plan --gpu a10:4",
            "plan --instance ecs.gn7i-c16g1.4xlarge --pairs 5000000 --stage student",
            "plan --preset all",
            "plan --stage teacher --measured models/teacher   # the rate of a max_steps run",
            "plan --parameters 7e9",
            "plan --simulate                                  # spot policies, generated traces",
        ),
        run=_plan,
        add_arguments=_arguments,
    ),
}
