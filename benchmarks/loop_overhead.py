"""What does the training loop cost beside the computation it drives?

    python -m benchmarks.loop_overhead [--steps 40] [--hidden 256] [--layers 4]

Ours: `src.training.loop.fit` with everything a production run has switched on: the stream, judging
of every step, the moving average off, metrics.jsonl at every 10th step. The baseline: forward,
backward, clipping and AdamW on the same micro-batches, with nothing around them. They take turns
step by step in one process, each on a model of its own, from the same weights. CPU seconds are
compared, so that other work on the machine does not decide; wall-clock seconds stand beside.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import print_stored, store_result, summarise
from src.models.factory import Model, build_model
from src.monitoring.metrics import MetricsWriter
from src.schema import ArchitectureConfig, TeacherConfig
from src.tokens.cache import TokenCache
from src.tokens.stream import StreamingDataset
from src.tokens.tokenizer import Tokenizer, train_tokenizer
from src.tokens.write_cache import write_token_cache
from src.training.interrupt import StopRequest
from src.training.loop import fit
from src.training.losses import scalar
from src.training.objective import reference_loss
from src.training.optim import build_optimizer, learning_rate_at
from src.training.parallel import ALONE
from src.training.run import Run, StepBatch, to_tensors
from src.training.state import TrainingState
from src.training.trainable import make_trainable

PAIRS = 4000
VOCAB_SIZE = 4000
# The first step makes buffers, chooses kernels and sorts a window, as every 32,768th pair does.
WARMUP_STEPS = 2


class NoSaver:
    """Checkpoints are measured by benchmarks/checkpoint_save.py."""

    def save(self, _state: TrainingState, *, blocking: bool = False) -> Path:  # noqa: ARG002
        return Path()

    def keep_best(self, _state: TrainingState) -> None:
        return None

    def roll_back(self, _state: TrainingState) -> None:
        return None

    def new_failures(self) -> tuple[str, ...]:
        return ()


def write_random_cache(folder: Path) -> tuple[TokenCache, Tokenizer]:
    """Pairs of invented words, 5 to 40 a side."""
    random = np.random.default_rng(0)
    words = [
        "".join(random.choice(list("abcdefghijklmnop"), size=random.integers(2, 7)))
        for _ in range(3000)
    ]

    def sentences() -> list[str]:
        return [" ".join(random.choice(words, random.integers(5, 40))) for _ in range(PAIRS)]

    table = pa.table({"en": sentences(), "zh": sentences()})
    text = folder / "train-en-zh-00000.parquet"
    pq.write_table(table, text)
    tokenizer = train_tokenizer(iter(table["en"].to_pylist()), VOCAB_SIZE)
    write_token_cache(
        folder / "tokens", splits={"train": [text]}, tokenizer=tokenizer, text_fingerprint="0" * 64
    )
    return TokenCache.open(folder / "tokens"), tokenizer


def open_stream(cache: TokenCache, tokenizer: Tokenizer, config: TeacherConfig) -> StreamingDataset:
    return StreamingDataset(
        cache.split("train"),
        tokenizer,
        language_pairs=("en-zh",),
        prompt=config.prompt,
        max_seq_length=config.max_seq_length,
        global_batch_size=config.batch_size * config.gradient_accumulation_steps,
        batch_size=config.batch_size,
        seed=1,
    )


@dataclass(frozen=True)
class Moment:
    """Where wall clock and CPU clock of this process stand."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.perf_counter(), time.process_time())

    def since(self) -> Moment:
        """What has gone by."""
        now = Moment.now()
        return Moment(now.wall - self.wall, now.cpu - self.cpu)


class Bare:
    """The computation alone, on batches that are there."""

    def __init__(self, config: TeacherConfig, model: Model) -> None:
        trained = make_trainable(config, model)
        self.optimizer = build_optimizer(config, trained.parameters)
        self.optimizer._grad_clip = paddle.nn.ClipGradByGlobalNorm(config.max_grad_norm)
        self.loss = reference_loss(model)
        model.train()

    def step(self, batch: StepBatch) -> Moment:
        started = Moment.now()
        for arrays in batch["micro_batches"]:
            loss = self.loss(to_tensors(arrays)).total / batch["target_tokens"]
            loss.backward()
            scalar(loss)
        self.optimizer.step()
        self.optimizer.clear_grad()
        return started.since()


class Turns:
    """Gives the loop its batches, and computes each of them bare when the loop is done with it.

    Attributes:
        loop: What each step of the loop took, from asking for its batch to asking for the next.
        bare: What each of them took without the loop.
    """

    def __init__(self, stream: StreamingDataset, bare: Bare) -> None:
        self.loop: list[Moment] = []
        self.bare: list[Moment] = []
        self._stream, self._bare = stream, bare

    def open(self, state: TrainingState) -> Iterator[StepBatch]:
        batches = iter(
            self._stream.opened_at(
                epoch=state.epoch, batch=state.batch, batch_size=state.micro_batch_size
            )
        )
        while True:
            started = Moment.now()
            batch = next(batches)
            yield batch
            self.loop.append(started.since())
            self.bare.append(self._bare.step(batch))


def run_loop(config: TeacherConfig, model: Model, turns: Turns, steps: int, folder: Path) -> None:
    """Trains one step more than is timed: nobody asks for a batch after the last."""
    metrics = MetricsWriter(folder, visualdl=False)
    run = Run(
        config=config,
        ranks=ALONE,
        trained=make_trainable(config, model),
        learning_rate=learning_rate_at(config, total_steps=100_000),
        loss=reference_loss(model),
        open_batches=turns.open,
        evaluate=lambda: 1.0,
        state=TrainingState(),
        total_steps=steps + 1,
        saver=NoSaver(),
        metrics=metrics,
        stop=StopRequest(),
    )
    fit(run)
    metrics.close()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    cache, tokenizer = write_random_cache(folder)
    config = TeacherConfig(
        max_seq_length=160,
        batch_size=options.batch,
        gradient_accumulation_steps=options.accumulation,
        logging_steps=10,
        eval_steps=10**9,
        save_steps=10**9,
    )
    architecture = ArchitectureConfig(
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        intermediate_size=3 * options.hidden,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    stream = open_stream(cache, tokenizer, config)
    models = [build_model(architecture, vocab_size=tokenizer.vocab_size, seed=1) for _ in range(2)]
    turns = Turns(stream, Bare(config, models[1]))
    run_loop(config, models[0], turns, WARMUP_STEPS + options.steps, folder)
    loop, bare = turns.loop[WARMUP_STEPS:], turns.bare[WARMUP_STEPS:]
    samples: dict[str, list[float]] = {}
    for unit in ("cpu", "wall"):
        ours, theirs = ([getattr(each, unit) for each in times] for times in (loop, bare))
        samples[f"loop_{unit}_seconds_per_step"] = ours
        samples[f"bare_{unit}_seconds_per_step"] = theirs
        samples[f"loop_over_bare_{unit}_seconds_per_step"] = [
            one / other for one, other in zip(ours, theirs, strict=True)
        ]
    return {name: summarise(values) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="timed of each")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16, help="pairs in a micro-batch")
    parser.add_argument("--accumulation", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(options, Path(scratch))
    path = store_result(
        "loop_overhead",
        question="What does the training loop cost beside the computation it drives?",
        baseline="forward, backward, clipping and AdamW on the same batches in the same run",
        settings=vars(options),
        results=results,
        packages=["paddlepaddle", "paddlenlp"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
