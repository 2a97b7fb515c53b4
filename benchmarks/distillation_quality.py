"""Does a student learn more from a teacher than alone, and as much from a cache as from it live?

    python -m benchmarks.distillation_quality [--corpus demo|real] [--steps N] [section.key=value …]

Every arm is the same student from scratch with the same pairs, order, steps and learning rates,
trained by `run.py student` and scored by `run.py evaluate` on the dev split: alone (the baseline),
online, cached, sequence, with several seeds; cached with fewer and more entries, and with
--ablation other temperatures, alphas and ways of storing, with one, unless --arms names them.
Reported are the loss on the references (nats per target token, measured at temperature 1 whatever
the arm trained at), chrF and BLEU: means over seeds with 95 % intervals (Student's t), and the same
for the differences to `alone` and to online at the same temperature. Steps are equal, compute is
not: hence CPU seconds.

`demo` takes the demo's corpus and teacher (`make demo` first); with --pairs the students see that
many of its pairs. `real` processes 100,000 pairs of the folder that LINGUABRIDGE_SHARED_DATA names
and trains a small teacher on them first. Both take hours on a CPU. What is done is noted in
--folder run by run and not repeated, so that the same command goes on after an interruption;
--report sums up what is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.distillation_runs import Record, RunFailed, Runs, summarise_records
from benchmarks.distillation_setting import Setting, demo_setting, real_setting
from benchmarks.harness import store_result

MAIN_SIZE, SIDE_SIZES = 32, (8, 64)
TEMPERATURES, ALPHAS = (1.0, 2.0, 3.0), (0.3, 0.5, 0.9)
METHODS = ("uniform_tail", "sampled_tail", "tail_bucket")


@dataclass(frozen=True)
class Arm:
    """One way of learning.

    Attributes:
        name: Of its records.
        keys: What it overrides.
        stored: Folder of what a teacher has to store first, below the benchmark's; None: nothing.
        is_main: Whether it runs with every seed.
    """

    name: str
    keys: tuple[str, ...]
    stored: str | None = None
    is_main: bool = False


def online_arm(temperature: float, *, is_main: bool = False) -> Arm:
    keys = ("student.kd_mode=online", f"student.temperature={temperature:g}")
    return Arm(f"online_t{temperature:g}", keys, is_main=is_main)


def cached_arm(
    size: int, temperature: float, *, method: str | None = None, is_main: bool = False
) -> Arm:
    way = f"_{method}" if method else ""
    keys = [
        "student.kd_mode=cached",
        f"student.kd_top_k={size}",
        f"student.temperature={temperature:g}",
        "student.kd_min_cosine=0",
    ]
    if method:
        keys.append(f"student.kd_method={method}")
    name = f"cached_{size}_t{temperature:g}{way}"
    return Arm(name, tuple(keys), f"k{size}-t{temperature:g}{way}", is_main)


def arms_of(temperature: float) -> list[Arm]:
    """What runs with every seed, then the other sizes."""
    return [
        Arm("alone", ("student.kd_mode=none",), is_main=True),
        online_arm(temperature, is_main=True),
        cached_arm(MAIN_SIZE, temperature, is_main=True),
        Arm("sequence", ("student.kd_mode=sequence",), "decoded", is_main=True),
        *(cached_arm(size, temperature) for size in SIDE_SIZES),
    ]


def ablations_of(temperature: float) -> Iterator[Arm]:
    """Temperatures, alphas and ways of storing, one at a time."""
    for value in TEMPERATURES:
        if value != temperature:
            yield online_arm(value)
            yield cached_arm(MAIN_SIZE, value)
    for value in ALPHAS:
        online = online_arm(temperature)
        share = f"student.distillation_alpha={value:g}"
        yield Arm(f"{online.name}_alpha_{value:g}", (*online.keys, share))
    for method in METHODS:
        yield cached_arm(MAIN_SIZE, temperature, method=method)


@dataclass
class _Benchmark:
    """All runs of one folder."""

    runs: Runs
    failed: list[str] = field(default_factory=list)

    def work(self, arms: Sequence[Arm], seeds: int) -> None:
        """Runs what has not been run: the main arms, seed by seed, then the others once."""
        self._guarded("teacher", self.runs.score_teacher)
        plan = [(arm, seed) for seed in range(seeds) for arm in arms if arm.is_main]
        plan += [(arm, 0) for arm in arms if not arm.is_main]
        for arm, seed in plan:
            self._guarded(f"{arm.name}, seed {seed}", partial(self._one, arm, seed))

    def _one(self, arm: Arm, seed: int) -> None:
        if arm.stored is not None:
            self.runs.store(arm.stored, arm.keys)
        self.runs.score(arm.name, arm.keys, seed=seed, stored=arm.stored)

    def _guarded(self, what: str, action: Callable[[], None]) -> None:
        """One arm that fails must not cost the others their time."""
        try:
            action()
        except RunFailed as error:
            self.failed.append(f"{what}: {error}")
            print(self.failed[-1], file=sys.stderr, flush=True)


def show(records: Sequence[Record]) -> dict[str, Any]:
    """Prints the tables; returns their content."""
    summary = summarise_records(records)
    for title, rows in (("arms", summary["arms"]), ("differences", summary["differences"])):
        print(f"{title}: mean ± half of the 95 % interval over seeds")
        for name, measures in rows.items():
            shown = "  ".join(
                f"{key} {value['mean']:.3f}"
                + (f" ± {value['interval']:.3f}" if value["interval"] else "")
                for key, value in measures.items()
                if key in ("loss", "chrf", "bleu", "train_cpu_seconds")
            )
            print(f"  {name:<36} {shown}  (n={measures['loss']['seeds']})")
    return summary


def prepare(setting: Setting, runs: Runs) -> None:
    """The pairs, and where the setting asks for it a teacher."""
    runs.stage("process")
    if setting.trains_teacher:
        runs.stage("teacher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=("demo", "real"), default="demo")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/distillation"))
    parser.add_argument("--pairs", type=int, help="the students see; demo: all, real: 100,000")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 10))
    parser.add_argument("--steps", type=int, help="of every student")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--arms", nargs="*", help="only these, with every seed")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--report", action="store_true", help="runs nothing")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    folder = options.folder / options.corpus
    make = demo_setting if options.corpus == "demo" else real_setting
    setting = make(folder, options.pairs)
    overrides = [*setting.overrides, *options.overrides]
    if options.steps:
        overrides.append(f"student.max_steps={options.steps}")
    runs = Runs(folder, setting.config, overrides)
    benchmark = _Benchmark(runs)
    if not options.report:
        prepare(setting, runs)
        arms = arms_of(options.temperature)
        if options.ablation:
            arms += ablations_of(options.temperature)
        if options.arms:
            arms = [replace(arm, is_main=True) for arm in arms if arm.name in options.arms]
        benchmark.work(arms, options.seeds)
    summary = show(runs.records())
    if options.store:
        store_result(
            f"distillation_quality_{options.corpus}",
            question="Does a student learn more from a teacher, live or cached, than alone?",
            baseline="alone: the same student, steps and pairs without a teacher",
            settings={"temperature": options.temperature, "overrides": overrides},
            results=summary | {"stored": runs.stored()},
            packages=("paddlepaddle", "paddlenlp", "sacrebleu"),
        )
    if benchmark.failed:
        sys.exit("; ".join(benchmark.failed))


if __name__ == "__main__":
    main()
