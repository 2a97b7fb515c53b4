"""Does a student learn more from a teacher than alone, and as much from a cache as from it live?

    python -m benchmarks.distillation_quality [--corpus demo|real] [--steps N] [section.key=value …]

Every arm is the same student from scratch with the same pairs, steps and learning rates, trained
by `run.py student` once per seed and scored by `run.py evaluate` on the dev split: alone (the
baseline), online, cached with k = 8, 16 and 32, sequence; with --ablation also temperatures 1, 2
and 3 and alphas 0.3, 0.5, 0.7 and 0.9 online. Reported are the loss against the references (nats
per target token), chrF and BLEU per direction: means over seeds, with 95 % intervals (Student's t).

`demo` takes the demo's data and teacher (`make demo` first). `real` processes 100,000 pairs of the
folder that LINGUABRIDGE_SHARED_DATA names and trains a small teacher on them first: hours on a CPU.
Finished runs are kept in --folder and not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import store_result
from src.launch import ROOT, stage_command

# Two-sided 95 % points of Student's t by degrees of freedom.
_T_95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
_CACHE_SIZES = (8, 16, 32)

Arms = dict[str, tuple[str, ...]]


def arms_of(temperature: float, folder: Path, *, ablation: bool) -> Arms:
    """Name → overrides of each arm."""
    soft = f"student.soft_labels={folder}/soft"
    at = f"student.temperature={temperature:g}"
    arms: Arms = {
        "alone": ("student.kd_mode=none",),
        "online": ("student.kd_mode=online", at),
        "sequence": ("student.kd_mode=sequence", f"{soft}-sequence"),
    }
    for size in _CACHE_SIZES:
        own = (f"{soft}-k{size}", f"student.kd_top_k={size}", "student.kd_min_cosine=0")
        arms[f"cached_{size}"] = ("student.kd_mode=cached", at, *own)
    if ablation:
        for value in (1.0, 2.0, 3.0):
            arms[f"online_temperature_{value:g}"] = (f"student.temperature={value:g}",)
        for value in (0.3, 0.5, 0.7, 0.9):
            arms[f"online_alpha_{value:g}"] = (f"student.distillation_alpha={value:g}", at)
    return arms


def run(stage: str, arguments: Sequence[str]) -> str:
    """`run.py STAGE`; its stdout."""
    done = subprocess.run(
        stage_command(stage, arguments), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{stage} {' '.join(arguments)} ended with code {done.returncode}")
    return done.stdout


def real_config(folder: Path) -> Path:
    """A configuration for 100,000 real pairs and models that a CPU can train."""
    shared = os.environ.get("LINGUABRIDGE_SHARED_DATA")
    if not shared:
        sys.exit("--corpus real needs LINGUABRIDGE_SHARED_DATA, the folder that holds corpus/")
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.05}
    training = {
        "batch_size": 32,
        "global_batch_size": 64,
        "max_seq_length": 128,
        "learning_rate": 2.0e-3,
        "warmup_ratio": 0.05,
        "eval_steps": 1000,
        "save_steps": 1000,
        "num_epochs": 10,
    }
    content = {
        "data": {
            "sources": [f"{shared}/corpus/train_raw.tsv.gz"],
            "output_dir": f"{folder}/data",
            "sample_size": 100_000,
            "train_tokenizer_vocab_size": 8000,
            "splits": {"dev": 500, "test": 500},
        },
        "teacher": {
            **training,
            "output_dir": f"{folder}/teacher",
            "max_steps": 8000,
            "architecture": {
                **sizes,
                "hidden_size": 256,
                "num_hidden_layers": 6,
                "intermediate_size": 704,
            },
        },
        "student": {
            **training,
            "architecture": {
                **sizes,
                "hidden_size": 96,
                "num_hidden_layers": 3,
                "intermediate_size": 256,
            },
        },
        "evaluation": {"max_samples": 500, "batch_size": 250, "max_new_tokens": 96},
    }
    path = folder / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


def score_arm(
    name: str, keys: Sequence[str], seed: int, folder: Path, common: Sequence[str]
) -> dict[str, float]:
    """Trains and scores one arm with one seed."""
    output = folder / f"{name}-seed{seed}"
    own = [*keys, f"student.seed={seed}", f"student.output_dir={output}"]
    summary = json.loads(run("student", ["--json", *common, *own]))
    scores = json.loads(
        run("evaluate", ["--json", "--model", f"{output}/final", "--split", "dev", *common])
    )
    found = {"loss": float(summary["best_eval_loss"])}
    for direction, values in scores.items():
        if isinstance(values, dict) and "bleu" in values:
            found[f"bleu_{direction}"] = float(values["bleu"])
            found[f"chrf_{direction}"] = float(values["chrf"])
    return found


def summarise_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and half width of the 95 % interval of every measure."""
    found = {}
    for key in runs[0]:
        values = [single[key] for single in runs]
        half = math.nan
        if len(values) > 1:
            half = _T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
        found[key] = {"mean": round(statistics.mean(values), 4), "interval": round(half, 4)}
    return found


def prepare(arms: Arms, common: Sequence[str]) -> None:
    """What the arms read: soft labels and translations."""
    for keys in arms.values():
        if "student.kd_mode=cached" in keys:
            run("soft-labels", [*common, *keys])
        if "student.kd_mode=sequence" in keys:
            run("soft-labels", ["--decode", *common, *keys])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=("demo", "real"), default="demo")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/distillation"))
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, len(_T_95) + 2))
    parser.add_argument("--steps", type=int, help="of every student")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    folder = options.folder / options.corpus
    config = ROOT / "configs" / "demo.yaml"
    if options.corpus == "real":
        config = real_config(folder)
    common = ["--config", str(config), *options.overrides]
    if options.steps:
        common.append(f"student.max_steps={options.steps}")
    if options.corpus == "real":
        run("process", common)
        run("teacher", common)
    arms = arms_of(options.temperature, folder, ablation=options.ablation)
    arms = {name: keys for name, keys in arms.items() if not options.arms or name in options.arms}
    prepare(arms, common)
    results: dict[str, Any] = {}
    for name, keys in arms.items():
        runs = [score_arm(name, keys, seed, folder, common) for seed in range(options.seeds)]
        results[name] = summarise_seeds(runs)
        print(name, json.dumps(results[name]), flush=True)
    if options.store:
        store_result(
            f"distillation_quality_{options.corpus}",
            question="Does a student learn more from a teacher, live or cached, than alone?",
            baseline="alone: the same student, steps and pairs without a teacher",
            settings={
                "seeds": options.seeds,
                "steps": options.steps,
                "temperature": options.temperature,
            },
            results=results,
            packages=("paddlepaddle", "paddlenlp", "sacrebleu"),
        )


if __name__ == "__main__":
    main()
