"""Does `run.py plan` know how much memory this project's own runs take?

    python -m benchmarks.plan_memory --judged --store

Trains small models for two steps on CPU, each in its own process, and compares the peak of its
resident memory with the prediction. The constants for PaddleNLP's layers were chosen on the runs
called "chosen on"; the others judge them. Whoever chooses constants anew after looking at a judged
run has to make it one of those they were chosen on, and to write down another before it is run.
Baseline: 16 bytes per parameter beside the program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import store_result
from src.config import load_config
from src.corpus.demo import write_demo_corpus
from src.data_processor import DataProcessor
from src.host_memory import status_bytes
from src.planning.memory import GIB, MEMORY, host_memory
from src.planning.sections import Stage, StageWork, stage_work
from src.schema import Config

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 2048
AIM = 0.15
_SECONDS_BETWEEN_LOOKS = 0.02  # the system keeps the peak, so that nothing between two is missed


@dataclass(frozen=True)
class Run:
    """A model and a batch.

    Attributes:
        name: For the table.
        sizes: Width, layers, feed-forward, heads, key-value heads.
        rows: Pairs of a pass.
        length: Tokens of the longest.
        is_judged: Whether the constants were not chosen on it.
        stage: Which command trains it; a student has a teacher of the same sizes beside it.
        keys: Further keys of the section.
    """

    name: str
    sizes: tuple[int, int, int, int, int]
    rows: int
    length: int
    is_judged: bool
    stage: Stage = "teacher"
    keys: tuple[str, ...] = ()


RUNS = (
    Run("tiny", (128, 3, 352, 4, 2), 16, 96, is_judged=False),
    Run("wide", (768, 4, 2048, 12, 4), 4, 64, is_judged=False),
    Run("many rows", (256, 6, 704, 8, 8), 64, 96, is_judged=False),
    Run("long rows", (256, 4, 704, 8, 4), 8, 512, is_judged=False),
    Run("recomputed", (256, 6, 704, 8, 8), 64, 96, is_judged=False,
        keys=("gradient_checkpointing=true",)),
    Run("middle", (512, 4, 1408, 8, 2), 32, 128, is_judged=False),
    Run("deep", (192, 12, 512, 6, 2), 24, 128, is_judged=False),
    Run("broad", (640, 6, 1792, 10, 2), 16, 160, is_judged=False),
    Run("large", (1024, 6, 2816, 16, 4), 4, 96, is_judged=False),
    Run("recomputed deep", (384, 10, 1024, 6, 6), 48, 128, is_judged=False,
        keys=("gradient_checkpointing=true",)),
    Run("averaged", (512, 6, 1408, 8, 4), 16, 96, is_judged=False, keys=("ema_decay=0.9",)),
    # Written down before any of them had been run.
    Run("slim", (320, 8, 896, 5, 5), 20, 112, is_judged=True),
    Run("square", (448, 5, 1216, 7, 7), 12, 192, is_judged=True),
    Run("heavy", (896, 4, 2432, 14, 2), 6, 80, is_judged=True),
    Run("recomputed wide", (576, 8, 1536, 9, 3), 32, 96, is_judged=True,
        keys=("gradient_checkpointing=true",)),
    Run("averaged deep", (256, 14, 704, 4, 4), 16, 144, is_judged=True,
        keys=("ema_decay=0.9",)),
    Run("plain student", (384, 7, 1088, 6, 3), 28, 104, is_judged=True, stage="student",
        keys=("kd_mode=none",)),
)  # fmt: skip


def prepare(folder: Path) -> Path:
    """A small processed corpus and a configuration for it."""
    corpus = folder / "corpus"
    write_demo_corpus(corpus, pairs=4000, seed=0)
    content = {
        "data": {
            "sources": [str(corpus / "{en,zh}.txt")],
            "output_dir": str(folder / "data"),
            "train_tokenizer_vocab_size": VOCABULARY,
            "splits": {"dev": 40, "test": 40},
            "quality_threshold": 0.3,
            "num_workers": 1,
        },
        "monitoring": {"visualdl": False},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    DataProcessor(load_config([file])).process()
    return file


def overrides(run: Run, output: Path) -> list[str]:
    """The run as `section.key=value`."""
    width, layers, inner, heads, keys = run.sizes
    sizes = (
        f"{{hidden_size: {width}, num_hidden_layers: {layers}, intermediate_size: {inner}, "
        f"num_attention_heads: {heads}, num_key_value_heads: {keys}}}"
    )
    settings = (
        f"architecture={sizes}", f"output_dir={output}", f"batch_size={run.rows}",
        f"global_batch_size={run.rows}", f"max_seq_length={run.length}", "max_steps=2",
        "logging_steps=1", "eval_samples=4", *run.keys,
    )  # fmt: skip
    return [f"{run.stage}.{setting}" for setting in settings]


def peak_bytes(run: Run, file: Path, folder: Path) -> int:
    """Peak resident memory of the run's process."""
    command = [
        sys.executable, str(ROOT / "run.py"), run.stage, "--config", str(file),
        *overrides(run, folder / run.name.replace(" ", "-")),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    peak = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=said)
        while process.poll() is None:
            with contextlib.suppress(OSError, KeyError):
                peak = status_bytes(Path(f"/proc/{process.pid}/status"), "VmHWM")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if process.returncode:
            said.seek(0)
            text = said.read().decode("utf-8", "replace")
            raise SystemExit(f"{run.name} ended with code {process.returncode}:\n{text[-2000:]}")
    return peak


def predicted_bytes(run: Run, config: Config) -> float:
    """What the plan says."""
    return host_memory(_work(run, config).peak)


def _work(run: Run, config: Config) -> StageWork:
    return stage_work(
        config,
        run.stage,
        devices=1,
        mean_length=run.length,
        vocabulary=config.data.train_tokenizer_vocab_size,
        is_on_host=True,
    )


def rule_bytes(run: Run, config: Config) -> float:
    """The rule of thumb: 16 bytes per parameter, and the program."""
    return 16.0 * _work(run, config).peak.shape.parameters + MEMORY.host_runtime_gib * GIB


def measure(run: Run, file: Path, folder: Path) -> dict[str, Any]:
    """Predicted and measured, in MiB."""
    config = load_config([file], overrides(run, folder / run.name))
    measured, predicted = peak_bytes(run, file, folder), predicted_bytes(run, config)
    row = {
        "run": run.name,
        "judged": run.is_judged,
        "measured_mib": round(measured / 2**20),
        "predicted_mib": round(predicted / 2**20),
        "error": round(predicted / measured - 1, 3),
        "rule_error": round(rule_bytes(run, config) / measured - 1, 3),
    }
    print(
        f"{run.name:16s} {'judged' if run.is_judged else 'chosen on':9s} measured "
        f"{row['measured_mib']:5d} MiB, predicted {row['predicted_mib']:5d}, {row['error']:+.1%} "
        f"(rule of thumb {row['rule_error']:+.1%})",
        flush=True,
    )
    return row


def main() -> None:
    """Measures and prints; stores with --store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="write results/plan_memory.json")
    parser.add_argument("--judged", action="store_true", help="only the judged runs")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = prepare(folder)
        rows = [measure(run, file, folder) for run in RUNS if run.is_judged or not parsed.judged]
    errors = [abs(row["error"]) for row in rows if row["judged"]]
    worst, median = max(errors), statistics.median(errors)
    print(f"judged: median {median:.1%}, worst {worst:.1%}, aim {AIM:.0%}")
    if parsed.store:
        store_result(
            "plan_memory",
            question="How far is plan's memory from the measured peak of this project's CPU runs?",
            baseline="16 bytes per parameter and the program",
            settings={"runs": len(rows), "vocabulary": VOCABULARY},
            results={"runs": rows, "judged_median": round(median, 3), "judged_worst": worst},
            packages=("paddlepaddle", "paddlenlp", "numpy"),
        )


if __name__ == "__main__":
    main()
