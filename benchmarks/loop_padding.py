"""How many of the computed tokens are real, cut as we do, padded otherwise, and packed?

    LINGUABRIDGE_SHARED_DATA=FOLDER python -m benchmarks.loop_padding [--pairs 200000]

Counted, not timed, over one epoch of the real corpus in both directions, at the same number of
pairs per forward pass:

    ours               length-sorted windows, micro-batches padded to their longest
    packed             packing: true; the random pairs of a step dealt out to rows of at most
                       max_seq_length tokens, micro-batches padded to their longest row
    longest_random     random pairs, padded to the longest of the batch (dynamic padding)
    maximum            every pair padded to max_seq_length
    packed_next_fit    random pairs one after another into rows of max_seq_length tokens, a new
                       row when one does not fit; computed on the lengths alone
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import print_stored, store_result
from benchmarks.tokenise import shared_data, write_text
from src.tokens.cache import TokenCache
from src.tokens.stream import StreamingDataset
from src.tokens.tokenizer import load_tokenizer
from src.tokens.write_cache import write_token_cache

DIRECTIONS = ("en-zh", "zh-en")


def open_stream(
    folder: Path, options: argparse.Namespace, batch_size: int, *, packing: bool = False
) -> StreamingDataset:
    return StreamingDataset(
        TokenCache.open(folder / "tokens").split("train"),
        load_tokenizer(str(shared_data() / "qwen_tokenizer")),
        language_pairs=DIRECTIONS,
        prompt=options.prompt,
        max_seq_length=options.max_seq_length,
        global_batch_size=options.global_batch,
        batch_size=batch_size,
        seed=1,
        packing=packing,
        num_epochs=1,
    )


def sequence_lengths(stream: StreamingDataset) -> NDArray[np.int64]:
    """Of every item of the epoch, from micro-batches of one pair, which have no padding."""
    parts = [part["input_ids"].shape[1] for step in stream for part in step["micro_batches"]]
    return np.array(parts, dtype=np.int64)


def density(lengths: NDArray[np.int64], widths: NDArray[np.int64]) -> float:
    return float(lengths.sum() / widths.sum())


def padded_to_longest(lengths: NDArray[np.int64], batch: int) -> float:
    groups = [lengths[begin : begin + batch] for begin in range(0, len(lengths), batch)]
    return float(lengths.sum() / sum(len(group) * int(group.max()) for group in groups))


def useful_share(stream: StreamingDataset) -> tuple[int, float]:
    """Real tokens of an epoch, and their share of the computed ones."""
    real = computed = 0
    for step in stream:
        real += step["real_tokens"]
        computed += step["padded_tokens"]
    return real, real / computed


def next_fit(lengths: NDArray[np.int64], width: int) -> float:
    rows, filled = 1, 0
    for length in lengths.tolist():
        if filled + length > width:
            rows, filled = rows + 1, 0
        filled += length
    return float(lengths.sum() / (rows * width))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    tokenizer = load_tokenizer(str(shared_data() / "qwen_tokenizer"))
    write_token_cache(
        folder / "tokens",
        splits={"train": write_text(folder, options.pairs)},
        tokenizer=tokenizer,
        text_fingerprint="0" * 64,
    )
    real, ours = useful_share(open_stream(folder, options, options.batch))
    _, packed = useful_share(open_stream(folder, options, options.batch, packing=True))
    lengths = sequence_lengths(open_stream(folder, options, 1))
    if lengths.sum() != real:
        raise SystemExit(f"{real} tokens in steps, {lengths.sum()} in sequences")
    random = np.random.default_rng(0).permutation(lengths)
    found = {
        "ours": ours,
        "packed": packed,
        "longest_random": padded_to_longest(random, options.batch),
        "maximum": density(lengths, np.full_like(lengths, options.max_seq_length)),
        "packed_next_fit": next_fit(random, options.max_seq_length),
    }
    ratios = {f"ours_over_{name}": found["ours"] / found[name] for name in list(found)[1:]}
    return {
        **{f"{name}_useful_share": round(value, 4) for name, value in found.items()},
        **{name: round(value, 3) for name, value in ratios.items()},
        "mean_sequence_tokens": round(float(lengths.mean()), 1),
        "sequences": len(lengths),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=16, help="pairs in a forward pass")
    parser.add_argument("--global-batch", type=int, default=256, help="pairs in a step")
    parser.add_argument("--max-seq-length", type=int, default=384)
    parser.add_argument("--prompt", choices=("compact", "chatml"), default="compact")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="for text and cache")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        results = measure(options, Path(scratch))
    path = store_result(
        "loop_padding",
        question="How many of the computed tokens are real?",
        baseline="the same pairs padded to the longest of a random batch",
        settings={key: str(value) for key, value in vars(options).items()},
        results=results,
        packages=["numpy"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
