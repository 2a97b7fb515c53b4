"""Runs of benchmarks.distillation_quality: done once each, noted, and summed up.

    records/<arm>-seed<n>.json     scores of one trained student, its settings and CPU seconds
    records/stored-<name>.json     what a teacher stored, and what that took
    records/stage-<name>.json      process and teacher
    models/<arm>-seed<n>/          the student's run
    evaluations/<name>/            its translations
    stored/<name>/                 soft labels or translations

A record is written when its run is done, whole or not at all; a run without one is started again,
and the program itself then goes on from its last checkpoint or shard.
"""

from __future__ import annotations

import json
import math
import re
import resource
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.files import write_text
from src.launch import stage_command

# Two-sided 95 % points of Student's t by degrees of freedom.
_T_95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
ALONE, TEACHER = "alone", "teacher"
_TEMPERATURE = re.compile(r"_t([\d.]+)")

Summary = dict[str, dict[str, dict[str, Any]]]


class RunFailed(Exception):
    """A command ended with an error, or a record was made with other settings."""


@dataclass(frozen=True)
class Record:
    """One scored model.

    Attributes:
        arm: How it learned; "teacher" for the teacher.
        seed: Of initial weights and order.
        measures: Name → value.
    """

    arm: str
    seed: int
    measures: Mapping[str, float]


class Runs:
    """All runs of a folder.

    Args:
        folder: Where they and their records are.
        config: Configuration file of all.
        overrides: Of all, `section.key=value`.
    """

    def __init__(self, folder: Path, config: Path, overrides: Sequence[str]) -> None:
        self._folder = folder
        self._common = ["--config", str(config), *overrides]

    def stage(self, stage: str) -> None:
        """`run.py process` or `run.py teacher`."""

        def work() -> dict[str, Any]:
            _, seconds = _run(stage, self._common)
            return {"cpu_seconds": round(seconds, 1)}

        self._once(f"stage-{stage}", self._common, work)

    def store(self, name: str, keys: Sequence[str]) -> None:
        """`run.py soft-labels`, with --decode where translations are learned from."""
        arguments = [*self._common, *keys, self._stored_key(name)]
        options = ["--decode"] if "student.kd_mode=sequence" in keys else []

        def work() -> dict[str, Any]:
            out, seconds = _run("soft-labels", ["--json", *options, *arguments])
            summary: dict[str, Any] = json.loads(out)
            return {"cpu_seconds": round(seconds, 1), "summary": summary}

        self._once(f"stored-{name}", arguments, work)

    def score(self, arm: str, keys: Sequence[str], *, seed: int, stored: str | None) -> None:
        """Trains and scores a student."""
        name = f"{arm}-seed{seed}"
        output = self._folder / "models" / name
        arguments = [*self._common, *keys, f"student.seed={seed}", f"student.output_dir={output}"]
        if stored is not None:
            arguments.append(self._stored_key(stored))

        def work() -> dict[str, Any]:
            out, seconds = _run("student", ["--json", *arguments])
            facts = {"train_cpu_seconds": round(seconds, 1), "summary": json.loads(out)}
            return {"arm": arm, "seed": seed, **facts, **self._scores(name, output / "final")}

        self._once(name, arguments, work)

    def score_teacher(self) -> None:
        """Scores the teacher, to know what there is to be learned."""
        from src.config import load_config
        from src.distillation.teacher import teacher_folder

        config = load_config([Path(self._common[1])], self._common[2:])

        def work() -> dict[str, Any]:
            return {"arm": TEACHER, "seed": 0, **self._scores(TEACHER, teacher_folder(config))}

        self._once(TEACHER, self._common, work)

    def records(self) -> list[Record]:
        """What has been scored."""
        found = []
        for path in sorted((self._folder / "records").glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            if "arm" in content:
                found.append(Record(content["arm"], content["seed"], _measures(content)))
        return found

    def stored(self) -> dict[str, Any]:
        """What was stored, and what that and the stages before took."""
        paths = sorted((self._folder / "records").glob("*.json"))
        contents = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
        return {
            name: {"cpu_seconds": content["cpu_seconds"], **content.get("summary", {})}
            for name, content in contents.items()
            if "cpu_seconds" in content
        }

    def _scores(self, name: str, model: Path) -> dict[str, Any]:
        arguments = ["--json", "--model", str(model), "--split", "dev", *self._common]
        arguments += ["--output", str(self._folder / "evaluations" / name)]
        out, seconds = _run("evaluate", arguments)
        directions = {
            name: {key: values[key] for key in ("bleu", "chrf", "cross_entropy", "intervals", "n")}
            for name, values in json.loads(out).items()
        }
        return {"evaluate_cpu_seconds": round(seconds, 1), "directions": directions}

    def _stored_key(self, name: str) -> str:
        return f"student.soft_labels={self._folder}/stored/{name}"

    def _once(
        self, name: str, arguments: Sequence[str], work: Callable[[], dict[str, Any]]
    ) -> None:
        path = self._folder / "records" / f"{name}.json"
        if path.is_file():
            made_with = json.loads(path.read_text(encoding="utf-8"))["arguments"]
            if made_with != list(arguments):
                other = sorted(set(made_with) ^ set(arguments))
                raise RunFailed(
                    f"{path} was made with other settings ({', '.join(other)}); name another "
                    "--folder or delete it"
                )
            return
        content = {"arguments": list(arguments), **work()}
        write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        print(name, json.dumps(_measures(content) or content["cpu_seconds"]), flush=True)


def _run(stage: str, arguments: Sequence[str]) -> tuple[str, float]:
    """`run.py STAGE`; its stdout, and the CPU seconds of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        stage_command(stage, arguments), stdout=subprocess.PIPE, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RunFailed(f"run.py {stage} {' '.join(arguments)} ended with code {done.returncode}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, seconds


def _measures(content: Mapping[str, Any]) -> dict[str, float]:
    """Of a scored model: per direction, and their means as loss, bleu and chrf."""
    directions = content.get("directions")
    if not directions:
        return {}
    found = {}
    for name, key in (("loss", "cross_entropy"), ("chrf", "chrf"), ("bleu", "bleu")):
        values = {direction: float(scores[key]) for direction, scores in directions.items()}
        found[name] = statistics.mean(values.values())
        found |= {f"{name}_{direction}": value for direction, value in values.items()}
    if "train_cpu_seconds" in content:
        found["train_cpu_seconds"] = float(content["train_cpu_seconds"])
    return {name: round(value, 4) for name, value in found.items()}


def summarise_records(records: Sequence[Record]) -> dict[str, Summary]:
    """Arms, and their differences to others with the same seeds."""
    by_arm: dict[str, dict[int, Mapping[str, float]]] = {}
    for record in records:
        by_arm.setdefault(record.arm, {})[record.seed] = record.measures
    arms = {name: _over_seeds(list(seeds.values())) for name, seeds in by_arm.items()}
    differences: dict[str, dict[str, Any]] = {}
    for name, seeds in by_arm.items():
        for other in _compared_with(name):
            shared = sorted(set(seeds) & set(by_arm.get(other, {})))
            rows = [
                {key: seeds[seed][key] - by_arm[other][seed][key] for key in seeds[seed]}
                for seed in shared
            ]
            if rows:
                differences[f"{name} - {other}"] = _over_seeds(rows)
    return {"arms": arms, "differences": differences}


def _compared_with(arm: str) -> list[str]:
    """The same student alone, and with its teacher beside it at the same temperature."""
    if arm in (ALONE, TEACHER):
        return []
    temperature = _TEMPERATURE.search(arm)
    online = f"online_t{temperature[1]}" if temperature else arm
    return [ALONE] if online == arm else [ALONE, online]


def _over_seeds(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean, half width of the 95 % interval, and number of seeds, of every measure."""
    found = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        half = None
        if len(values) > 1:
            half = _T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
            half = round(half, 4)
        mean = round(statistics.mean(values), 4)
        found[key] = {"mean": mean, "interval": half, "seeds": len(values)}
    return found
