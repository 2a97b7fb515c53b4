"""How well does `run.py plan` predict published memory and speed?

benchmarks/data/published_runs.yaml holds what others have published. The constants of
src/planning/memory.py and src/planning/compute.py are fitted on every second point and judged on
the others; besides, each source in turn is left out of the fitting and judged. The baselines, on
the same points: the rule of thumb of 16 bytes per trained parameter (2 per frozen one, 0.5 in 4
bits) for memory, and 6 N operations per token at 40 % of the peak for speed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import store_result
from benchmarks.published_runs import (
    DATA,
    Point,
    published_memory,
    published_speed,
    read_points,
)
from src.planning.catalogue import find_gpu
from src.planning.compute import (
    SpeedConstants,
    pass_time,
    peak_rate,
    tokens_per_second,
)
from src.planning.memory import MemoryConstants, device_memory

MEMORY_AIM, SPEED_AIM = 0.08, 0.20
# Not fitted to the published runs: those of this project's own layers.
OWN_MEMORY = ("paddlenlp", "paddlenlp_block", "host", "host_block", "host_runtime_gib")
RULE_OF_THUMB_UTILISATION = 0.40

Constants = TypeVar("Constants", MemoryConstants, SpeedConstants)
Floats = NDArray[np.float64]


def memory_of(point: Point, constants: MemoryConstants) -> float:
    """Predicted bytes, for as many devices as were published."""
    return device_memory(point.workload, constants).total * point.memory_devices


def speed_of(point: Point, constants: SpeedConstants) -> float:
    """Predicted tokens per second and device."""
    time = pass_time(point.workload, find_gpu(point.gpu), constants)
    return tokens_per_second(point.workload, time)


def memory_rule(point: Point) -> float:
    """The rule of thumb: 16 bytes per trained parameter, 2 per frozen one, 0.5 in 4 bits."""
    work = point.workload
    frozen = 0.0
    if work.adapters is not None:
        frozen = work.shape.parameters * (0.5 if work.bits == "nf4" else 2.0)
    shared = work.devices if work.sharding or work.tensor_parallel > 1 else 1
    return (frozen + 16.0 * work.trained_parameters) / shared * point.memory_devices


def speed_rule(point: Point) -> float:
    """The rule of thumb: 6 N operations per token at 40 % of the peak."""
    rate = peak_rate(find_gpu(point.gpu), "bfloat16") * RULE_OF_THUMB_UTILISATION
    return rate / (6.0 * point.workload.shape.parameters)


def log_ratios(
    points: Sequence[Point], predict: Callable[[Point], float], truth: Callable[[Point], float]
) -> Floats:
    """Logarithms of predicted over published."""
    found = np.array([predict(point) / truth(point) for point in points], dtype=np.float64)
    logs: Floats = np.log(found)
    return logs


def fit(
    start: Constants,
    names: Sequence[str],
    ratios: Callable[[Constants], Floats],
    *,
    steps: int = 60,
) -> Constants:
    """Constants that make the sum of absolute log ratios small.

    Levenberg-Marquardt on the logarithms of the constants with weights 1 / |residual| (iteratively
    reweighted least squares), and a weak pull towards the start, where a constant is not
    determined by the points. Deterministic.
    """
    pull = 0.1
    first: Floats = np.log(np.array([getattr(start, name) for name in names], dtype=np.float64))

    def constants(position: Floats) -> Constants:
        values = dict(zip(names, np.exp(position).tolist(), strict=True))
        return replace(start, **values)

    def cost(position: Floats) -> float:
        return float(
            np.abs(ratios(constants(position))).sum() + pull / 2 * ((position - first) ** 2).sum()
        )

    position: Floats = first.copy()
    damping, best = 1e-2, cost(first)
    for _ in range(steps):
        residuals = ratios(constants(position))
        nudges: list[Floats] = list(1e-4 * np.eye(len(names)))
        slopes = np.stack([(ratios(constants(position + n)) - residuals) / 1e-4 for n in nudges], 1)
        weights = 1 / np.maximum(np.abs(residuals), 0.01)
        normal = slopes.T @ (slopes * weights[:, None]) + pull * np.eye(len(names))
        downhill: Floats = slopes.T @ (weights * residuals) + pull * (position - first)
        move: Floats = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -downhill)
        now = cost(position + move)
        if now < best:
            position, best, damping = position + move, now, damping / 3
        else:
            damping *= 4
    return constants(position)


MEMORY_START = MemoryConstants(
    low_bits=0.56, activations=1.15, compiled=0.8, fused=1.0, adapter_inputs=0.5, block=2.0,
    logits=12.0, low_bit_logits=8.0, part_logits=4.0, runtime_gib=1.5, state=1.0,
)  # fmt: skip
SPEED_START = SpeedConstants(
    rate=0.75, traffic=3.0, compiled=0.5, fused=0.6, adapter_traffic=1.3, launch_milliseconds=1.0,
    adapter_launches=1.5, low_bits=0.2, update=2.0, exchange=1.0, tensor_exchange=1.0,
)  # fmt: skip


def fit_memory(points: Sequence[Point]) -> MemoryConstants:
    """Constants of `src.planning.memory` from these points."""
    names = [name for name in asdict(MEMORY_START) if name not in OWN_MEMORY]
    return fit(
        MEMORY_START,
        names,
        lambda constants: log_ratios(points, lambda p: memory_of(p, constants), published_memory),
    )


def fit_speed(points: Sequence[Point]) -> SpeedConstants:
    """Constants of `src.planning.compute` from these points."""
    return fit(
        SPEED_START,
        list(asdict(SPEED_START)),
        lambda constants: log_ratios(points, lambda p: speed_of(p, constants), published_speed),
    )


def errors(ratios: Floats) -> dict[str, Any]:
    """Summary of relative errors: predicted / published - 1."""
    found = np.exp(ratios) - 1
    sizes = np.abs(found)
    return {
        "points": len(found),
        "median": round(float(np.median(sizes)), 4),
        "mean": round(float(sizes.mean()), 4),
        "p90": round(float(np.quantile(sizes, 0.9)), 4),
        "largest": round(float(sizes.max()), 4),
        "ratio_p10": round(float(np.quantile(found + 1, 0.1)), 3),
        "ratio_p90": round(float(np.quantile(found + 1, 0.9)), 3),
    }


@dataclass(frozen=True)
class Judgement:
    """What one quantity's constants are worth.

    Attributes:
        constants: Fitted on the first half.
        fitted: Errors on the points they were fitted on.
        judged: Errors on the others.
        rule: Errors of the rule of thumb on the others.
        without_source: Errors on each table with constants fitted on all other tables.
    """

    constants: MemoryConstants | SpeedConstants
    fitted: dict[str, Any]
    judged: dict[str, Any]
    rule: dict[str, Any]
    without_source: dict[str, dict[str, Any]]


def judge(
    points: Sequence[Point],
    fitted: Callable[[Sequence[Point]], Constants],
    predict: Callable[[Point, Constants], float],
    truth: Callable[[Point], float],
    rule: Callable[[Point], float],
) -> Judgement:
    """Fits on every second point, judges on the others and on left-out tables."""
    learned, others = points[::2], points[1::2]
    constants = fitted(learned)

    def error_of(chosen: Sequence[Point], with_: Constants) -> dict[str, Any]:
        return errors(log_ratios(chosen, lambda point: predict(point, with_), truth))

    without = {}
    for group in dict.fromkeys(point.group for point in points):
        rest = fitted([point for point in points if point.group != group])
        without[group] = error_of([point for point in points if point.group == group], rest)
    return Judgement(
        constants=constants,
        fitted=error_of(learned, constants),
        judged=error_of(others, constants),
        rule=errors(log_ratios(others, rule, truth)),
        without_source=without,
    )


def judge_memory(points: Sequence[Point]) -> Judgement:
    """Of all published peaks."""
    chosen = [point for point in points if point.memory is not None]
    return judge(chosen, fit_memory, memory_of, published_memory, memory_rule)


def judge_speed(points: Sequence[Point]) -> Judgement:
    """Of all published speeds."""
    chosen = [point for point in points if point.speed is not None]
    return judge(chosen, fit_speed, speed_of, published_speed, speed_rule)


def _print(name: str, found: Judgement, aim: float) -> None:
    print(f"\n{name}: constants {_rounded(found.constants)}")
    for label, row in (
        ("fitted on", found.fitted),
        ("judged on", found.judged),
        ("rule of thumb on the same", found.rule),
    ):
        print(
            f"  {label:26s} {row['points']:3d} points: median {row['median']:.1%}, "
            f"90 % within {row['p90']:.1%}, largest {row['largest']:.1%}"
        )
    print(f"  aim: median of the judged ≤ {aim:.0%}")
    for group, row in found.without_source.items():
        print(f"  fitted without {group:20s} {row['points']:3d} points: median {row['median']:.1%}")


def _rounded(constants: MemoryConstants | SpeedConstants) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in asdict(constants).items()}


def _rows(
    points: Sequence[Point], memory: MemoryConstants, speed: SpeedConstants
) -> list[dict[str, Any]]:
    rows = []
    for point in points:
        row: dict[str, Any] = {"table": point.group, "run": point.title}
        if point.memory is not None:
            row["memory_gib"] = round(point.memory / 2**30, 2)
            row["memory_error"] = round(memory_of(point, memory) / point.memory - 1, 3)
        if point.speed is not None:
            row["tokens_per_second"] = round(point.speed, 1)
            row["speed_error"] = round(speed_of(point, speed) / point.speed - 1, 3)
        if point.left_out is not None:
            row["left_out"] = point.left_out
        rows.append(row)
    return rows


def main() -> None:
    """Fits, judges, prints every point and stores the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="write results/plan_accuracy.json")
    stores = parser.parse_args().store
    points = read_points()
    memory, speed = judge_memory(points), judge_speed(points)
    assert isinstance(memory.constants, MemoryConstants)  # noqa: S101
    assert isinstance(speed.constants, SpeedConstants)  # noqa: S101
    rows = _rows(points, memory.constants, speed.constants)
    for row in rows:
        parts = [f"{row['table']:19s} {row['run']:38s}"]
        for value, error in (("memory_gib", "memory_error"), ("tokens_per_second", "speed_error")):
            parts.append(f"{row[value]:9.2f} {row[error]:+7.1%}" if value in row else " " * 17)
        print("  ".join(parts), row.get("left_out", ""))
    _print("memory", memory, MEMORY_AIM)
    _print("speed", speed, SPEED_AIM)
    if stores:
        _store(points, memory, speed, rows)


def _store(
    points: Sequence[Point], memory: Judgement, speed: Judgement, rows: list[dict[str, Any]]
) -> None:
    results = {}
    for name, found in (("memory", memory), ("speed", speed)):
        results[name] = {
            "constants": _rounded(found.constants),
            "fitted": found.fitted,
            "judged": found.judged,
            "rule_of_thumb": found.rule,
            "without_source": found.without_source,
            "median_of_left_out_sources": round(
                statistics.median(row["median"] for row in found.without_source.values()), 4
            ),
        }
    path = store_result(
        "plan_accuracy",
        question="How far are plan's memory and speed from what others have published?",
        baseline="16 bytes per trained parameter (2 frozen, 0.5 in 4 bits); 6 N at 40 % of peak",
        settings={"points": len(points), "data": DATA.name, "split": "every second point"},
        results={**results, "points": rows},
        packages=("numpy",),
    )
    print(f"stored {path}")


if __name__ == "__main__":
    main()
