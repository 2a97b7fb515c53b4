"""How fast do training batches come out of the token cache, and how soon does the first one?

    LINGUABRIDGE_SHARED_DATA=FOLDER python -m benchmarks.loader \
        [--pairs 500000] [--repeats 5] [--folder runs]

Ours: `StreamingDataset` over a cache of many shards, shuffled, sorted by length, in steps of 256
pairs joined with their prompts and padded. The baseline reads the same ids the usual way: a
`paddle.io.Dataset` that gives one pair from memory maps, in `paddle.io.DataLoader` with a random
sampler and a function that joins and pads a list of pairs. Both make int64 arrays in this process,
without workers; they take turns.

The first batch is timed from opening the cache on; starting from the cache is compared with
tokenising the same text first. The corpus is made from `corpus/train_raw.tsv.gz` of the folder by
varying copies of it (see benchmarks/varied_corpus.py).
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from benchmarks.harness import print_stored, store_result, summarise
from benchmarks.tokenise import shared_data, write_text
from src.tokens.cache import TokenCache
from src.tokens.prompts import build_prompt
from src.tokens.stream import StreamingDataset
from src.tokens.tokenizer import Tokenizer, load_tokenizer
from src.tokens.write_cache import write_token_cache

STEP_PAIRS = 256
MAX_SEQ_LENGTH = 256
SHARD_ROWS = 50_000

Batch = dict[str, NDArray[np.int64]]


def open_stream(folder: Path, tokenizer: Tokenizer) -> StreamingDataset:
    return StreamingDataset(
        TokenCache.open(folder).split("train"),
        tokenizer,
        language_pairs=("en-zh",),
        prompt="compact",
        max_seq_length=MAX_SEQ_LENGTH,
        global_batch_size=STEP_PAIRS,
        batch_size=STEP_PAIRS,
        seed=1,
    )


class MappedPairs(paddle.io.Dataset):  # type: ignore[misc, type-arg, unused-ignore]
    """One pair at a time from two flat files of ids and their offsets, all mapped into memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.ids = [np.load(folder / f"ids-{side}.npy", mmap_mode="r") for side in (0, 1)]
        self.offsets = [np.load(folder / f"offsets-{side}.npy", mmap_mode="r") for side in (0, 1)]

    def __len__(self) -> int:
        return len(self.offsets[0]) - 1

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(
            ids[offsets[index] : offsets[index + 1]]
            for ids, offsets in zip(self.ids, self.offsets, strict=True)
        )


def write_flat_files(cache: TokenCache, folder: Path) -> None:
    split = cache.split("train")
    for side in (0, 1):
        places = split.locate(side, np.arange(len(split)))
        np.save(folder / f"ids-{side}.npy", split.read(side, places))
        np.save(folder / f"offsets-{side}.npy", np.concatenate([[0], np.cumsum(places.lengths)]))


def open_baseline(folder: Path, tokenizer: Tokenizer) -> paddle.io.DataLoader:
    prompt = build_prompt("compact", tokenizer, "en", "zh")

    def collate(pairs: Sequence[tuple[Any, Any]]) -> Batch:
        rows = [
            np.concatenate([source, prompt.infix, target, prompt.suffix])[:MAX_SEQ_LENGTH]
            for source, target in pairs
        ]
        longest = max(map(len, rows))
        inputs = np.full((len(rows), longest), tokenizer.pad_id, np.int64)
        labels = np.full((len(rows), longest), -100, np.int64)
        for number, (row, (source, _)) in enumerate(zip(rows, pairs, strict=True)):
            inputs[number, : len(row)] = row
            begin = len(source) + len(prompt.infix)
            labels[number, begin - 1 : len(row) - 1] = row[begin:]
        return {"input_ids": inputs, "labels": labels}

    return paddle.io.DataLoader(
        MappedPairs(folder),
        batch_size=STEP_PAIRS,
        shuffle=True,
        collate_fn=collate,  # type: ignore[arg-type, unused-ignore]  # annotated for samples
        num_workers=0,
        use_buffer_reader=False,
        return_list=False,
    )


def measure(folder: Path, text: list[Path], repeats: int, steps: int) -> dict[str, object]:
    tokenizer = load_tokenizer(str(shared_data() / "qwen_tokenizer"))
    samples: dict[str, list[float]] = defaultdict(list)
    cache = folder / "tokens"
    for _ in range(repeats):
        began = time.perf_counter()
        write_token_cache(
            cache,
            splits={"train": text},
            tokenizer=tokenizer,
            text_fingerprint="",
            shard_rows=SHARD_ROWS,
        )
        samples["tokenise_first_seconds"].append(time.perf_counter() - began)
        write_flat_files(TokenCache.open(cache), folder)
        for name, opened in (
            ("ours", lambda: iter(open_stream(cache, tokenizer))),
            ("plain_data_loader", lambda: iter(open_baseline(folder, tokenizer))),
        ):
            began = time.perf_counter()
            batches = opened()
            next(batches)
            samples[f"{name}_first_batch_seconds"].append(time.perf_counter() - began)
            began = time.process_time()
            done = sum(1 for _ in itertools.islice(batches, steps))
            rate = done * STEP_PAIRS / (time.process_time() - began)
            samples[f"{name}_pairs_per_cpu_second"].append(rate)
    for above, below in (
        ("ours_pairs_per_cpu_second", "plain_data_loader_pairs_per_cpu_second"),
        ("tokenise_first_seconds", "ours_first_batch_seconds"),
    ):
        pairs = zip(samples[above], samples[below], strict=True)
        samples[f"{above}_over_{below}"] = [one / other for one, other in pairs]
    return {name: summarise(values) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--steps", type=int, default=1000, help="timed, 256 pairs each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="for text and caches")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        text = write_text(Path(scratch), options.pairs)
        results = measure(Path(scratch), text, options.repeats, options.steps)
    path = store_result(
        "loader",
        question="How fast do training batches come out of the token cache?",
        baseline="paddle.io.DataLoader over memory maps, one pair at a time, in the same run",
        settings={
            "pairs": options.pairs,
            "steps": options.steps,
            "pairs_per_step": STEP_PAIRS,
            "repeats": options.repeats,
            "tokenizer": "Qwen2.5",
        },
        results=results,
        packages=["numpy", "paddlepaddle"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
