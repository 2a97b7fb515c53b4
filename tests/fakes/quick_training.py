"""A training that takes seconds, to stand in for run.py on instances of the tests.

It has what the real one has to offer to the cloud: it resumes from the newest checkpoint in the
bucket, saves there every few steps, writes metrics.jsonl and summary.json, and on SIGTERM saves and
ends with 75. Where alerts go to WeCom, it tells of its start. Its "weights" are a chain of hashes
over the steps: they are the same at the end only if every step was taken once, in order, on the
right state.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import yaml

STEPS = 40
SAVE_EVERY = 5
SECONDS_PER_STEP = 0.04


def weights_after(step: int) -> str:
    """The chain up to a step."""
    weights = "start"
    for number in range(1, step + 1):
        weights = advance(weights, number)
    return weights


def advance(weights: str, step: int) -> str:
    return hashlib.sha256(f"{weights}/{step}".encode()).hexdigest()


def tell(output: Path, step: int) -> None:
    """Sends what the real training would: one event of its own, one that the controller tells."""
    # Imported here: they take longer than the training.
    from src.config import load_config
    from src.monitoring.alerts import open_alerts

    with open_alerts(load_config([Path("config.yaml")], []).alerts, output) as alerts:
        alerts.send("epoch", f"from step {step}")
        alerts.send("finished", f"from step {step}")


def main() -> int:
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    output = Path(config["teacher"]["output_dir"])
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = Path(os.environ["QUICK_TRAINING_CHECKPOINT"])
    if os.environ.get("QUICK_TRAINING_FAILS"):
        sys.stderr.write("teacher: the disk is full\n")
        return int(os.environ["QUICK_TRAINING_FAILS"])
    state: dict[str, Any] = {"step": 0, "weights": "start"}
    if checkpoint.is_file():
        state = json.loads(checkpoint.read_text(encoding="utf-8"))
    if config["alerts"]["wecom"]:
        tell(output, state["step"])
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))

    def save() -> None:
        partial = checkpoint.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(state), encoding="utf-8")
        partial.replace(checkpoint)

    with (output / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        while state["step"] < STEPS:
            time.sleep(SECONDS_PER_STEP)  # the work of a step
            step = state["step"] + 1
            state = {"step": step, "weights": advance(state["weights"], step)}
            record = {"step": step, "total_steps": STEPS, "loss": 1 / step}
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            if step % SAVE_EVERY == 0 or asked:
                save()
            if asked and step < STEPS:
                return 75
    summary = {"steps": STEPS, "weights_sha256": state["weights"]}
    (output / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
