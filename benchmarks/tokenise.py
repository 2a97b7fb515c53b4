"""How fast does text become ids, and what does a second process bring?

    LINGUABRIDGE_SHARED_DATA=FOLDER python -m benchmarks.tokenise \
        [--pairs 20000] [--cache-pairs 3000000] [--repeats 3] [--folder runs]

Encoding alone, one process: our encoder for columns, checks against the reference included;
tiktoken with the same vocabulary; Hugging Face `tokenizers` one text at a time and in batches;
PaddleNLP's two tokenizers. They take turns on the same texts; those are counted to which one gives
other ids than `tokenizers`. Rates are pairs per second of processor time.

A whole cache, from Parquet shards to the finished folder, by one process and by two: the ratio of
wall times, the start of the workers included, and pairs per second of processor time in the tasks.
How much a second process can bring on this machine at all is measured beside it: one process, then
two that share nothing, encode the same texts from memory, clocks started together.
The corpus is made from `corpus/train_raw.tsv.gz` of the folder by varying copies of it (see
benchmarks/varied_corpus.py). What is compiled at the first call is compiled before the clock
starts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import operator
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken

from benchmarks.harness import print_stored, seconds_of, store_result, summarise
from benchmarks.varied_corpus import Pair, read_pairs, vary
from src.tasks.engine import Engine
from src.tokens.cache import MANIFEST
from src.tokens.column_encoder import ColumnEncoder
from src.tokens.columns import IdColumn, TextColumn
from src.tokens.fast_encoder import FastEncoder
from src.tokens.reference import build_reference
from src.tokens.tokenizer import Tokenizer, load_tokenizer
from src.tokens.vocabulary import Vocabulary, byte_alphabet
from src.tokens.write_cache import write_token_cache

Encode = Callable[[list[str]], Any]
SHARD_ROWS, GROUP_ROWS = 500_000, 50_000
BATCH_TEXTS = 8192
WORKERS = (1, 2)


def shared_data() -> Path:
    named = os.environ.get("LINGUABRIDGE_SHARED_DATA")
    if named is None:
        raise SystemExit("LINGUABRIDGE_SHARED_DATA must name a folder with corpus/ and a tokenizer")
    return Path(named)


def real_pairs() -> list[Pair]:
    """The raw corpus, without pairs that lack a side."""
    return [pair for pair in read_pairs(shared_data() / "corpus") if pair[1] and pair[2]]


def write_text(folder: Path, count: int) -> list[Path]:
    """Text shards as `run.py process` lays them out."""
    rows = vary(real_pairs(), count)
    paths: list[Path] = []
    while part := list(islice(rows, SHARD_ROWS)):
        paths.append(folder / f"train-en-zh-{len(paths):05d}.parquet")
        table = pa.table({"en": [pair[1] for pair in part], "zh": [pair[2] for pair in part]})
        pq.write_table(table, paths[-1], compression="zstd", row_group_size=GROUP_ROWS)
    return paths


def our_encoder(tokenizer: Tokenizer) -> Encode:
    encoder = ColumnEncoder(tokenizer, FastEncoder.build(tokenizer.vocabulary))
    memory = encoder.memory()
    return lambda texts: encoder.encode(TextColumn.of(texts), memory)


def as_lists(found: Any) -> list[list[int]]:
    """What an encoder gave, as one list a text."""
    if not isinstance(found, IdColumn):
        return list(found)
    ids, lengths = found.values.tolist(), found.lengths.tolist()
    ends = found.lengths.cumsum().tolist()
    return [ids[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def tiktoken_encoder(vocabulary: Vocabulary) -> Encode:
    alphabet = byte_alphabet()
    ranks = {
        bytes(alphabet[character] for character in token): index
        for token, index in vocabulary.tokens.items()
    }
    encoding = tiktoken.Encoding(
        "qwen", pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={}
    )
    return lambda texts: [encoding.encode_ordinary(text) for text in texts]


def paddlenlp_encoder(folder: Path, **options: Any) -> Encode:
    from paddlenlp.transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
    return lambda texts: tokenizer(texts)["input_ids"]


def encoders(folder: Path) -> dict[str, Encode]:
    tokenizer = load_tokenizer(str(folder))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    reference = build_reference(tokenizer.vocabulary, "reference")
    return {
        "ours": our_encoder(tokenizer),
        "tiktoken": tiktoken_encoder(tokenizer.vocabulary),
        "tokenizers": tokenizer.encode_batch,
        "tokenizers_batch": lambda texts: [one.ids for one in reference.encode_batch(texts)],
        "paddlenlp": paddlenlp_encoder(folder),
        "paddlenlp_fast": paddlenlp_encoder(folder, use_fast=True),
    }


def measure_encoders(count: int, repeats: int) -> dict[str, object]:
    pairs = real_pairs()
    spread = [pairs[index * len(pairs) // count] for index in range(count)]
    sides = ([left for _, left, _ in spread], [right for _, _, right in spread])
    samples: dict[str, list[float]] = defaultdict(list)
    found: dict[str, list[Any]] = {}
    contestants = encoders(shared_data() / "qwen_tokenizer")
    for encode in contestants.values():
        encode(sides[0][:100])
    for _ in range(repeats):
        for name, encode in contestants.items():
            began = time.process_time()
            found[name] = [encode(part) for side in sides for part in cut(side)]
            samples[name].append(count / (time.process_time() - began))
    results: dict[str, object] = {
        f"{name}_pairs_per_cpu_second": summarise(rates) for name, rates in samples.items()
    }
    expected = [ids for part in found["tokenizers"] for ids in part]
    for name, parts in found.items():
        ids = [row for part in parts for row in as_lists(part)]
        results[f"{name}_texts_that_differ"] = sum(map(operator.ne, ids, expected))
    results["ours_over_tiktoken"] = summarise(
        [mine / other for mine, other in zip(samples["ours"], samples["tiktoken"], strict=True)]
    )
    return results


def cut(texts: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(texts), BATCH_TEXTS):
        yield texts[begin : begin + BATCH_TEXTS]


def encode_together(start: Any, seconds: Any) -> None:
    """One of several processes that begin at once; gives the wall time that it took."""
    sides = tuple(zip(*real_pairs(), strict=True))[1:]
    tokenizer = load_tokenizer(str(shared_data() / "qwen_tokenizer"))
    our_encoder(tokenizer)(list(sides[0][:100]))
    encode = our_encoder(tokenizer)
    start.wait()
    began = time.perf_counter()
    for side in sides:
        for part in cut(list(side)):
            encode(part)
    seconds.put(time.perf_counter() - began)


def measure_machine(repeats: int) -> dict[str, object]:
    """What a second process brings when neither shares anything with the other but the machine."""
    context = multiprocessing.get_context("spawn")

    def slowest(processes: int) -> float:
        start, seconds = context.Barrier(processes), context.SimpleQueue()
        running = [
            context.Process(target=encode_together, args=(start, seconds)) for _ in range(processes)
        ]
        for process in running:
            process.start()
        for process in running:
            process.join()
            if process.exitcode:
                raise SystemExit("a process that encodes died")
        return max(float(seconds.get()) for _ in running)

    return {
        "machine_two_processes_over_one": summarise(
            [2 * slowest(1) / slowest(2) for _ in range(repeats)]
        )
    }


def timed(work: tuple[Callable[[Any], Any], Any]) -> tuple[Any, float]:
    """A task's result and the processor time it took."""
    function, task = work
    began = time.process_time()
    return function(task), time.process_time() - began


@dataclass(frozen=True)
class TimedEngine(Engine):
    """Notes the processor time of the tasks."""

    cpu_seconds: list[float] = field(default_factory=list)

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        describe: Callable[[Any], str],
    ) -> Iterator[tuple[Any, Any]]:
        work = [(function, task) for task in tasks]
        names = {id(part): describe(part[1]) for part in work}
        for part, (result, seconds) in super().run(
            timed, work, describe=lambda part: names[id(part)]
        ):
            self.cpu_seconds.append(seconds)
            yield part[1], result


def measure_caches(text: list[Path], scratch: Path, pairs: int, repeats: int) -> dict[str, object]:
    tokenizer = load_tokenizer(str(shared_data() / "qwen_tokenizer"))
    samples: dict[str, list[float]] = defaultdict(list)
    manifests: set[bytes] = set()

    def write(workers: int) -> None:
        engine = TimedEngine(num_workers=workers)
        folder = scratch / "tokens"
        shutil.rmtree(folder, ignore_errors=True)
        seconds = seconds_of(
            lambda: write_token_cache(
                folder,
                splits={"train": text},
                tokenizer=tokenizer,
                text_fingerprint="",
                engine=engine,
            )
        )
        manifests.add((folder / MANIFEST).read_bytes())
        samples[f"cache_workers_{workers}_pairs_per_second"].append(pairs / seconds)
        samples[f"cache_workers_{workers}_pairs_per_cpu_second"].append(
            pairs / sum(engine.cpu_seconds)
        )

    for _ in range(repeats):
        for workers in WORKERS:
            write(workers)
    if len(manifests) != 1:
        raise SystemExit("the caches differ")
    one, two = (samples[f"cache_workers_{workers}_pairs_per_second"] for workers in WORKERS)
    samples["cache_two_workers_over_one"] = [
        more / less for more, less in zip(two, one, strict=True)
    ]
    return {name: summarise(values) for name, values in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000, help="for encoding alone")
    parser.add_argument("--cache-pairs", type=int, default=3_000_000, help="for whole caches")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="for text and caches")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = measure_encoders(options.pairs, options.repeats)
    results |= measure_machine(options.repeats)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        text = write_text(Path(scratch), options.cache_pairs)
        results |= measure_caches(text, Path(scratch), options.cache_pairs, options.repeats)
    path = store_result(
        "tokenise",
        question="How fast does text become ids, and what does a second process bring?",
        baseline="tiktoken and Hugging Face tokenizers with the same vocabulary, in the same run",
        settings={
            "pairs": options.pairs,
            "cache_pairs": options.cache_pairs,
            "repeats": options.repeats,
            "tokenizer": "Qwen2.5",
        },
        results=results,
        packages=["numba", "numpy", "pyarrow", "tokenizers", "tiktoken", "paddlenlp"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
