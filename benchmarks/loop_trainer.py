"""Step time and peak memory of a training step, ours and PaddleNLP's own Trainer's.

    python -m benchmarks.loop_trainer [--steps 4] [--repeats 3] [--hidden 128] [--layers 2]

Both train the same Qwen2 of tiny widths and the real vocabulary of 151,936 with AdamW, clipping and
accumulation on the same sequences of equal length, of which the second half carries loss. Each runs
in a process of its own, in turns. Ours gathers the target positions before the output projection
and takes the loss in chunks; the Trainer's model computes the logits of every position at once. The
first step, which makes buffers, is left out. Memory is the peak of the resident set, less what the
process held before the model was made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import print_stored, store_result, summarise
from src.host_memory import peak_memory_bytes, resident_memory_bytes

VOCAB_SIZE = 151_936
KINDS = ("ours", "paddlenlp_trainer")


def sequences(options: argparse.Namespace) -> Any:
    """Token ids `[steps + 1, pairs of a step, length]`."""
    shape = (options.steps + 1, options.batch * options.accumulation, options.length)
    return np.random.default_rng(0).integers(0, VOCAB_SIZE, shape)


def make_model(options: argparse.Namespace) -> Any:
    from src.models.factory import build_model
    from src.schema import ArchitectureConfig

    architecture = ArchitectureConfig(
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        intermediate_size=3 * options.hidden,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return build_model(architecture, vocab_size=VOCAB_SIZE, seed=1)


def ours(options: argparse.Namespace, _folder: Path) -> list[tuple[float, float]]:
    """Wall-clock and CPU time at the end of every step."""
    from benchmarks.loop_overhead import NoSaver
    from src.schema import TeacherConfig
    from src.training.interrupt import StopRequest
    from src.training.loop import fit
    from src.training.objective import reference_loss
    from src.training.parallel import ALONE
    from src.training.run import Run
    from src.training.state import TrainingState
    from src.training.trainable import make_trainable

    config = TeacherConfig(
        batch_size=options.batch,
        gradient_accumulation_steps=options.accumulation,
        max_seq_length=options.length,
        learning_rate=1e-4,
        logging_steps=10**9,
        save_steps=10**9,
        eval_steps=10**9,
    )
    model = make_model(options)
    times: list[tuple[float, float]] = []
    half = options.length // 2

    def steps() -> Any:
        for number, ids in enumerate(sequences(options)):
            times.append((time.perf_counter(), time.process_time()))
            yield step_batch(ids, half, number, options.batch)

    run = Run(
        config=config,
        ranks=ALONE,
        trained=make_trainable(config, model),
        learning_rate=lambda _: 1e-4,
        loss=reference_loss(model),
        open_batches=lambda _: steps(),
        evaluate=lambda: 1.0,
        state=TrainingState(global_batch_size=options.batch * options.accumulation),
        total_steps=options.steps + 1,
        saver=NoSaver(),
        metrics=None,
        stop=StopRequest(),
    )
    fit(run)
    return [*times[1:], (time.perf_counter(), time.process_time())]


def step_batch(ids: Any, half: int, number: int, batch: int) -> dict[str, Any]:
    """One step as the stream delivers it."""
    length = ids.shape[1]
    starts = np.arange(batch)[:, None] * length
    positions = (starts + np.arange(half, length - 1)).reshape(-1)
    micro_batches = [
        {
            "input_ids": part,
            "target_positions": positions,
            "labels": part.reshape(-1)[positions + 1],
            "directions": np.zeros(batch, dtype=np.int64),
        }
        for part in ids.reshape(-1, batch, length)
    ]
    return {
        "micro_batches": micro_batches,
        "target_tokens": len(positions) * len(micro_batches),
        "real_tokens": ids.size,
        "padded_tokens": ids.size,
        "pairs": len(ids),
        "epoch": 0,
        "batch": number + 1,
    }


def paddlenlp_trainer(options: argparse.Namespace, folder: Path) -> list[tuple[float, float]]:
    """Wall-clock and CPU time at the end of every step."""
    import paddle
    from paddlenlp.trainer import Trainer, TrainerCallback, TrainingArguments

    half = options.length // 2
    rows = sequences(options).reshape(-1, options.length)
    labels = np.full_like(rows, -100)
    # PaddleNLP's causal models take labels that are shifted already.
    labels[:, half:-1] = rows[:, half + 1 :]

    class Rows(paddle.io.Dataset):  # type: ignore[misc, type-arg, unused-ignore]
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"input_ids": rows[index], "labels": labels[index]}

    times: list[tuple[float, float]] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            times.append((time.perf_counter(), time.process_time()))

    arguments = TrainingArguments(
        output_dir=str(folder),
        device="cpu",
        max_steps=options.steps + 1,
        per_device_train_batch_size=options.batch,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=1e-4,
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=10**9,
        save_strategy="no",
        disable_tqdm=True,
        report_to=[],
    )
    Trainer(
        model=make_model(options), args=arguments, train_dataset=Rows(), callbacks=[Clock()]
    ).train()
    return times


def run_side(options: argparse.Namespace) -> None:
    """One kind in this process; prints seconds per step and bytes."""
    import paddle  # noqa: F401  what both hold before they begin
    import paddlenlp.transformers  # noqa: F401

    before = resident_memory_bytes()
    with tempfile.TemporaryDirectory() as folder:
        times = globals()[options.side](options, Path(folder))
    walls = np.diff([wall for wall, _ in times])
    cpus = np.diff([cpu for _, cpu in times])
    found = {
        "seconds_per_step": float(np.median(walls)),
        "cpu_seconds_per_step": float(np.median(cpus)),
        "peak_bytes": peak_memory_bytes() - before,
    }
    print(json.dumps(found))


def measure(options: argparse.Namespace) -> dict[str, object]:
    samples: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.repeats):
        for kind in KINDS:
            command = [sys.executable, "-m", "benchmarks.loop_trainer", *sys.argv[1:]]
            result = subprocess.run(
                [*command, "--side", kind], capture_output=True, text=True, check=True
            )
            for name, value in json.loads(result.stdout.splitlines()[-1]).items():
                samples[f"{kind}_{name}"].append(value)
    for name in ("seconds_per_step", "cpu_seconds_per_step", "peak_bytes"):
        pairs = zip(samples[f"paddlenlp_trainer_{name}"], samples[f"ours_{name}"], strict=True)
        samples[f"trainer_over_ours_{name}"] = [theirs / own for theirs, own in pairs]
    return {name: summarise(values) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="sequences in a forward pass")
    parser.add_argument("--length", type=int, default=64, help="tokens of a sequence")
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--side", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options)
        return
    results = measure(options)
    settings = {key: value for key, value in vars(options).items() if key != "side"}
    path = store_result(
        "loop_trainer",
        question="How long is a step and how much memory does it take, beside PaddleNLP's Trainer?",
        baseline="paddlenlp.trainer.Trainer with the model's own loss, on the same sequences",
        settings={**settings, "vocab_size": VOCAB_SIZE},
        results=results,
        packages=["paddlepaddle", "paddlenlp"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
