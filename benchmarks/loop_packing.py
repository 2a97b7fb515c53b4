"""What does a packed step cost beside one of pairs sorted by length?

    python -m benchmarks.loop_packing [--steps 6] [--repeats 5] [--hidden 256] [--layers 4]

Forward and backward passes over steps of the same number of pairs, drawn at random and packed into
rows of max_seq_length tokens (packing: true), beside the baseline: pairs of nearly equal length,
one in a row. Useful (not padding) tokens per CPU second are compared; the two take turns in one
process on one model. On a CPU packed attention computes whole rows and masks other pairs.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import print_stored, store_result, summarise
from benchmarks.loop_overhead import write_random_cache
from src.models.factory import Model, build_model
from src.schema import ArchitectureConfig
from src.tokens.stream import StepBatch, StreamingDataset
from src.training.objective import reference_loss
from src.training.run import to_tensors


def tokens_per_second(model: Model, steps: Iterator[StepBatch], count: int) -> tuple[float, float]:
    """Useful tokens per CPU second and their share of those computed; batches are read before."""
    batches = list(itertools.islice(steps, count))
    loss = reference_loss(model)
    started = time.process_time()
    for batch in batches:
        for arrays in batch["micro_batches"]:
            (loss(to_tensors(arrays)).total / batch["target_tokens"]).backward()
        for parameter in model.parameters():
            parameter.clear_gradient()
    seconds = time.process_time() - started
    real, computed = (
        sum(batch[name] for batch in batches) for name in ("real_tokens", "padded_tokens")
    )
    return real / seconds, real / computed


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    cache, tokenizer = write_random_cache(folder)
    model = build_model(
        ArchitectureConfig(
            hidden_size=options.hidden,
            num_hidden_layers=options.layers,
            intermediate_size=3 * options.hidden,
            num_attention_heads=4,
            num_key_value_heads=2,
        ),
        vocab_size=tokenizer.vocab_size,
        seed=1,
    )
    model.train()

    def steps(*, packing: bool, rows: int) -> Iterator[StepBatch]:
        return iter(
            StreamingDataset(
                cache.split("train"),
                tokenizer,
                language_pairs=("en-zh",),
                prompt="compact",
                max_seq_length=options.max_seq_length,
                global_batch_size=options.global_batch,
                batch_size=rows,
                seed=1,
                packing=packing,
            )
        )

    # So many rows of a packed step as hold about the tokens of a step of single pairs.
    arms = {
        "sorted": steps(packing=False, rows=options.batch),
        "packed": steps(packing=True, rows=options.packed_batch),
    }
    samples: dict[str, list[float]] = defaultdict(list)
    for repeat in range(options.repeats + 1):
        for name, source in arms.items():
            speed, useful = tokens_per_second(model, source, options.steps)
            if repeat:  # the first makes buffers and chooses kernels
                samples[f"{name}_useful_tokens_per_cpu_second"].append(speed)
                samples[f"{name}_useful_share"].append(useful)
    samples["packed_over_sorted"] = [
        ours / theirs
        for ours, theirs in zip(
            samples["packed_useful_tokens_per_cpu_second"],
            samples["sorted_useful_tokens_per_cpu_second"],
            strict=True,
        )
    ]
    return {name: summarise(values) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=6, help="in a turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16, help="pairs in a forward pass")
    parser.add_argument("--packed-batch", type=int, default=4, help="rows in a packed pass")
    parser.add_argument("--global-batch", type=int, default=64, help="pairs in a step")
    parser.add_argument("--max-seq-length", type=int, default=384)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(options, Path(scratch))
    path = store_result(
        "loop_packing",
        question="What does a packed step cost beside one of pairs sorted by length?",
        baseline="pairs of nearly equal length, one in a row, on the same model in the same run",
        settings=vars(options),
        results=results,
        packages=["paddlepaddle", "paddlenlp"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
