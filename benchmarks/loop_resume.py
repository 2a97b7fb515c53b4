"""How long until the first batch after a resume, at step 0 and at step 1,000,000?

    python -m benchmarks.loop_resume [--step 1000000] [--replayed 4000] [--repeats 7]

Ours opens the cache and the stream at the position and makes one batch. The baseline is what a
`paddle.io.DataLoader` over an iterable data set can do, PaddleNLP's Trainer for one: read and throw
away every batch before the position. It reads the same ids from the same cache, so only the
skipping differs; it is timed over the first batches and stated per million, which take too long.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import print_stored, seconds_of, store_result, summarise
from benchmarks.loop_overhead import write_random_cache
from src.tokens.cache import TokenCache
from src.tokens.stream import StepBatch, StreamingDataset
from src.tokens.tokenizer import Tokenizer

BATCH = 16


def opened(folder: Path, tokenizer: Tokenizer, step: int) -> Iterator[StepBatch]:
    stream = StreamingDataset(
        TokenCache.open(folder / "tokens").split("train"),
        tokenizer,
        language_pairs=("en-zh",),
        prompt="compact",
        max_seq_length=160,
        global_batch_size=BATCH,
        batch_size=BATCH,
        seed=1,
    )
    epoch, batch = divmod(step, stream.steps_per_epoch)
    return iter(stream.opened_at(epoch=epoch, batch=batch, batch_size=BATCH))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    _, tokenizer = write_random_cache(folder)
    samples: dict[str, list[float]] = defaultdict(list)
    places = [("at_step_0", 0), ("at_the_step", options.step)]
    next(opened(folder, tokenizer, 0))  # the first reads the files from the disk
    for _ in range(options.repeats):
        places.reverse()  # the one that is timed after the replay finds other caches
        for name, step in places:
            samples[f"{name}_seconds"].append(
                seconds_of(lambda at=step: next(opened(folder, tokenizer, at)))  # type: ignore[misc]
            )
        replayed = itertools.islice(opened(folder, tokenizer, 0), options.replayed)
        seconds = seconds_of(lambda: sum(1 for _ in replayed))  # noqa: B023  called at once
        samples["replay_seconds_per_million_steps"].append(seconds / options.replayed * 1e6)
    samples["at_the_step_over_at_step_0"] = [
        late / early
        for late, early in zip(
            samples["at_the_step_seconds"], samples["at_step_0_seconds"], strict=True
        )
    ]
    samples["replay_over_ours"] = [
        per_million * options.step / 1e6 / ours
        for per_million, ours in zip(
            samples["replay_seconds_per_million_steps"], samples["at_the_step_seconds"], strict=True
        )
    ]
    return {name: summarise(values) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--step", type=int, default=1_000_000)
    parser.add_argument("--replayed", type=int, default=4_000, help="batches timed of the replay")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(options, Path(scratch))
    path = store_result(
        "loop_resume",
        question="How long until the first batch after a resume at step 1,000,000?",
        baseline="reading and throwing away every batch before it, from the same cache",
        settings={**vars(options), "pairs_per_step": BATCH},
        results=results,
        packages=["numpy", "paddlepaddle"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
