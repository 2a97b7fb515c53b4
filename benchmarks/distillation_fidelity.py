"""How much of a teacher's distribution do soft labels keep, by method, size and temperature?

    python -m benchmarks.distillation_fidelity [--corpus demo|qwen] [--tokens N] [key=value …]

`demo` takes the demo's teacher and student (`make demo` first). `qwen` takes real pairs of the
folder that LINGUABRIDGE_SHARED_DATA names in the production tokenizer, 151,646 ids here, and models
of neighbouring tokens in closed form (benchmarks/distillation_bilinear.py) as teacher and as
student, so that the vocabulary and its tail are real; --entropy sharpens them to a mean entropy of
the teacher in nats (a tuned 7B model has 1.2 to 1.4).

For k = 8 … 128 entries and temperatures 1, 2 and 3: bytes per target token, probability kept, the
divergence from the stored form as a share of the true one, and cosine and error of the gradients
against the full distribution's (the baseline), of drawn ids on average over the draws and beside
them the noise of one draw, for the trained student, in the demo for one with its initial weights,
and for the stand-ins that `run.py soft-labels` uses, which needs none. Beside them, the same for
top-k with the rest left out and the entries scaled to one, the usual recipe. Then the CPU time of
taking pictures, and the disk that ten million pairs would need.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from benchmarks.distillation_bilinear import fit, neighbours
from benchmarks.distillation_runs import Runs
from benchmarks.distillation_setting import demo_setting, full_vocabulary_setting
from benchmarks.harness import store_result
from src.config import load_config
from src.distillation.divergences import forward_kl
from src.distillation.soft_labels.fidelity import Fidelity, measure_fidelity
from src.distillation.soft_labels.layout import METHODS, RecordLayout, Stored
from src.distillation.soft_labels.picture import take_picture
from src.distillation.soft_labels.stand_ins import Learner, stand_ins
from src.models.factory import Model, load_model, make_model
from src.schema import Config
from src.tokens.stream import evaluation_batches
from src.training.corpus import Corpus, open_corpus
from src.training.losses import Projection, chunks, scalar
from src.training.objective import projection_of, target_hidden
from src.training.run import to_tensors

SIZES, MAIN_SIZE = (8, 16, 32, 64, 128), 32
TEMPERATURES = (1.0, 2.0, 3.0)
ALPHA = 0.7  # the configuration's default
QWEN_IDS = 151_665
WIDTHS = (64, 16)  # of teacher and student where they are fitted here
DISK_PAIRS = 10_000_000
_OFFSET_BYTES = 8  # per pair and direction, see src.distillation.soft_labels.write
_SEARCH_STEPS = 14
_FEWEST_TOKENS = 10  # of a pair, on the mean


class Renormalised(RecordLayout):
    """Top-k without a tail, scaled to one."""

    def decode(self, records: paddle.Tensor) -> Stored:
        stored = super().decode(records)
        weights = stored.weights / stored.weights.sum(axis=-1, keepdim=True)
        return Stored(stored.ids, weights, paddle.zeros_like(stored.rest), stored.entropy)


@dataclass(frozen=True)
class Sample:
    """The teacher and students at the same target positions of dev pairs, which none has seen."""

    hidden: paddle.Tensor
    projection: Projection
    vocab_size: int
    students: list[Learner]


@paddle.no_grad()
def hidden_of(model: Model, config: Config, corpus: Corpus, tokens: int) -> paddle.Tensor:
    """Hidden states `[P, D]` at the target positions of dev pairs, in random order."""
    model.eval()
    batches = evaluation_batches(
        corpus.cache.split("dev"),
        corpus.tokenizer,
        language_pairs=config.data.language_pairs,
        prompt=config.student.prompt,
        max_seq_length=config.student.max_seq_length,
        batch_size=16,
        max_pairs=max(1, tokens // _FEWEST_TOKENS),
    )
    hidden = paddle.concat([target_hidden(model, to_tensors(batch)) for batch in batches])
    order = np.random.default_rng(0).permutation(hidden.shape[0])[:tokens]
    return paddle.gather(hidden, paddle.to_tensor(order)).astype("float32")


def demo_sample(config: Config, corpus: Corpus, tokens: int) -> Sample:
    """The trained models of the demo."""
    teacher, trained = (
        load_model(str(Path(section.output_dir) / "final"))
        for section in (config.teacher, config.student)
    )
    vocab_size = corpus.tokenizer.vocab_size
    untrained = make_model(config.student, vocab_size=vocab_size)
    students = [
        Learner(name, hidden_of(model, config, corpus, tokens), projection_of(model))
        for name, model in (("trained", trained), ("untrained", untrained))
    ]
    hidden = hidden_of(teacher, config, corpus, tokens)
    return Sample(hidden, projection_of(teacher), vocab_size, students)


def qwen_sample(corpus: Corpus, tokens: int, entropy: float | None) -> Sample:
    """Models of neighbouring tokens, after tokens of dev pairs."""
    vocab_size = corpus.tokenizer.vocab_size
    teacher, student = fit(corpus.cache.split("train"), vocab_size=vocab_size, widths=WIDTHS)
    ids = np.random.default_rng(0).permutation(neighbours(corpus.cache.split("dev"))[0])[:tokens]
    hidden = teacher.hidden(ids)
    factor = 1.0 if entropy is None else sharpening(hidden, teacher.projection, entropy)
    learner = Learner("trained", student.hidden(ids) * factor, student.projection)
    return Sample(hidden * factor, teacher.projection, vocab_size, [learner])


@paddle.no_grad()
def sharpening(hidden: paddle.Tensor, projection: Projection, nats: float) -> float:
    """The factor that gives the distributions this mean entropy."""
    low, high = 0.1, 100.0
    for _ in range(_SEARCH_STEPS):
        middle = (low * high) ** 0.5
        is_flat = mean_entropy(hidden * middle, projection) > nats
        low, high = (middle, high) if is_flat else (low, middle)
    return low


@paddle.no_grad()
def mean_entropy(hidden: paddle.Tensor, projection: Projection) -> float:
    total = 0.0
    for rows in chunks(hidden.shape[0], projection.vocab_size):
        logits = projection.logits(hidden[rows])
        logits = logits - paddle.logsumexp(logits, axis=-1, keepdim=True)
        total -= scalar((logits.exp() * logits).sum())
    return total / int(hidden.shape[0])


@paddle.no_grad()
def mean_divergence(sample: Sample, learner: Learner, temperature: float) -> float:
    total = 0.0
    for rows in chunks(sample.hidden.shape[0], sample.vocab_size):
        theirs, own = (
            part[:, : sample.vocab_size].contiguous().scale(1 / temperature)
            for part in (
                sample.projection.logits(sample.hidden[rows]),
                learner.projection.logits(learner.hidden[rows]),
            )
        )
        total += scalar(forward_kl(theirs, own)[0])
    return total / int(sample.hidden.shape[0])


def ways_of(sizes: Sequence[int], vocab_size: int) -> dict[str, list[RecordLayout]]:
    """Name → what is compared."""
    sizes = [size for size in sizes if size < vocab_size]
    ways: dict[str, list[RecordLayout]] = {
        method: [RecordLayout(method, size, vocab_size) for size in sizes] for method in METHODS
    }
    ways["renormalised"] = [Renormalised("uniform_tail", size, vocab_size) for size in sizes]
    return ways


@paddle.no_grad()
def judge(sample: Sample, temperature: float, sizes: Sequence[int]) -> list[dict[str, object]]:
    """Every way against every student, as rows of the table."""
    learners = [
        *sample.students,
        *stand_ins(
            sample.hidden,
            sample.projection,
            vocab_size=sample.vocab_size,
            temperature=temperature,
        ),
    ]
    rows: list[dict[str, object]] = []
    for learner in learners:
        nats = mean_divergence(sample, learner, temperature)
        print(f"T={temperature:g} {learner.name}: {nats:.3f} nats from the teacher")
        for name, ways in ways_of(sizes, sample.vocab_size).items():
            for found in measure_fidelity(
                sample.hidden,
                sample.projection,
                ways,
                temperature=temperature,
                alpha=ALPHA,
                learner=learner,
            ):
                rows.append({"temperature": temperature, "nats": round(nats, 4)})
                rows[-1] |= describe(found, name)
    return rows


def describe(found: Fidelity, name: str) -> dict[str, object]:
    qwen_bytes = RecordLayout(found.method, found.top_k, QWEN_IDS).record_bytes
    print(
        f"  {name:<13} k={found.top_k:<4}{qwen_bytes:>4} B  mass {found.mass_kept:.3f}  "
        f"KL {found.divergence:.3f}  cosine {found.cosine:.4f}  error {found.error:.3f}  "
        f"at rest {found.rest_cosine:.4f}  hidden {found.hidden_cosine:.4f}  "
        f"noise {found.noise_cosine:.4f}",
        flush=True,
    )
    return {"name": name, f"bytes_at_{QWEN_IDS}_ids": qwen_bytes} | found.as_json()


@paddle.no_grad()
def picture_seconds(sample: Sample) -> dict[str, float]:
    """CPU seconds of taking and encoding a thousand pictures, without the teacher."""
    found = {}
    for method in METHODS:
        layout = RecordLayout(method, MAIN_SIZE, sample.vocab_size)
        seconds = 0.0
        for rows in chunks(sample.hidden.shape[0], sample.vocab_size):
            logits = sample.projection.logits(sample.hidden[rows])[:, : sample.vocab_size]
            starts = np.full(logits.shape[0], 0.5, dtype=np.float32)
            began = time.process_time()
            layout.encode(take_picture(logits.contiguous(), layout, starts))
            seconds += time.process_time() - began
        found[method] = round(1000 * seconds / int(sample.hidden.shape[0]), 3)
    return found


def disk_of(config: Config, record_bytes: int) -> dict[str, float]:
    """What ten million pairs like these need, in both directions."""
    path = Path(config.data.output_dir) / "tokens" / "MANIFEST.json"
    segments = json.loads(path.read_text(encoding="utf-8"))["splits"]["train"]["segments"]
    pairs = sum(segment["pairs"] for segment in segments)
    tokens = sum(sum(segment["tokens"].values()) for segment in segments)
    targets = tokens / pairs + len(config.data.language_pairs)  # an end beside every text
    per_pair = targets * record_bytes + len(config.data.language_pairs) * _OFFSET_BYTES
    return {
        "target_tokens_per_pair": round(targets, 2),
        "record_bytes": record_bytes,
        "gigabytes_of_10_million_pairs": round(per_pair * DISK_PAIRS / 1e9, 1),
    }


def open_sample(options: argparse.Namespace) -> tuple[Config, Sample]:
    """The configuration, and teacher and students of its corpus."""
    folder = options.folder / options.corpus
    if options.corpus == "demo":
        config = load_config([demo_setting(folder, None).config], options.overrides)
        return config, demo_sample(config, open_corpus(config), options.tokens)
    setting = full_vocabulary_setting(folder)
    Runs(folder, setting.config, options.overrides).stage("process")
    config = load_config([setting.config], options.overrides)
    return config, qwen_sample(open_corpus(config), options.tokens, options.entropy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=("demo", "qwen"), default="demo")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/fidelity"))
    parser.add_argument("--tokens", type=int, default=1500, help="target tokens of the sample")
    parser.add_argument("--entropy", type=float, help="mean nats; qwen only")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=SIZES, help="k at temperature 1; 32 at others"
    )
    parser.add_argument("--temperatures", type=float, nargs="*", default=TEMPERATURES)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    config, sample = open_sample(options)
    results: dict[str, Any] = {
        "mean_entropy_nats": round(mean_entropy(sample.hidden, sample.projection), 3),
        "picture_cpu_seconds_per_1000_tokens": picture_seconds(sample),
        "disk": disk_of(config, RecordLayout("sampled_tail", MAIN_SIZE, QWEN_IDS).record_bytes),
    }
    print(json.dumps(results))
    results["rows"] = [
        row
        for value in options.temperatures
        for row in judge(sample, value, options.sizes if value == 1 else [MAIN_SIZE])
    ]
    if options.store:
        name = "distillation_fidelity" if options.corpus == "demo" else "distillation_fidelity_qwen"
        store_result(
            name,
            question="How much of a teacher's distribution do soft labels keep?",
            baseline="the full distribution; and top-k scaled to one (renormalised)",
            settings={
                "corpus": options.corpus,
                "entropy": options.entropy,
                "target_tokens": int(sample.hidden.shape[0]),
                "vocabulary": sample.vocab_size,
            },
            results=results,
            packages=("paddlepaddle", "numpy"),
        )


if __name__ == "__main__":
    main()
