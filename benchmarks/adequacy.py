"""How well and how fast does a lexicon learned from a corpus tell its misaligned pairs?

    LINGUABRIDGE_SHARED_DATA=... python -m benchmarks.adequacy [--repeats 3] [--baseline-pairs 8000]

The corpus is real and raw; a tenth of noise of five kinds is mixed in, and the lexicon is learned
from the mixture it then judges. An AUC is the probability that a real pair scores higher than a
noisy one (pairs that cannot be judged count as 1). `dev` are clean pairs of other domains, as they
are and each with its neighbour's right text.

The baseline is the same idea in plain Python: dictionaries of words, characters and bigrams and of
how often they stand opposite each other; a pair scores the mean of its units' best Dice-weighted
pointwise mutual information. It is slow and takes a kilobyte a pair of words, so it learns from and
judges the first pairs of the mixture only; the lexicon is measured on the same pairs beside it.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import random
import re
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import print_stored, store_result, summarise
from src.corpus.adequacy import Lexicon, learn
from src.corpus.texts import Texts

Pair = tuple[str, str]
Scores = NDArray[np.float32]
Result = TypeVar("Result")
KINDS = ("misaligned", "character_salad", "invented_words", "mojibake", "shuffled")
NOISE_SHARE = 0.1
BLOCK = 50_000


def read_pairs(folder: Path) -> list[Pair]:
    """The distinct raw pairs in the order of the file."""
    with gzip.open(folder / "train_raw.tsv.gz", "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return list(dict.fromkeys((left, right) for left, right in rows if left and right))


def spoil(kind: str, pair: Pair, other: Pair, han: str, rng: random.Random) -> Pair:
    left, right = pair
    if kind == "misaligned":
        return left, other[1]
    if kind == "character_salad":
        return left, "".join(rng.choices(han, k=max(len(right), 4)))
    if kind == "invented_words":
        letters = "abcdefghijklmnopqrstuvwxyz"
        count = max(len(left.split()), 2)
        return " ".join(
            "".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(count)
        ), right
    if kind == "mojibake":
        return left, right.encode("utf-8").decode("gbk", "replace")
    words, characters = left.split(), list(right)
    rng.shuffle(words)
    rng.shuffle(characters)
    return " ".join(words), "".join(characters)


def mixture(pairs: Sequence[Pair], seed: int) -> tuple[list[Pair], NDArray[np.int64]]:
    """The pairs with noise among them, and what each is: -1 real, else the place in `KINDS`."""
    rng = random.Random(seed)  # noqa: S311
    han = "".join(re.findall("[\u4e00-\u9fff]", "".join(right for _, right in pairs[:20_000])))
    each = round(len(pairs) * NOISE_SHARE / (1 - NOISE_SHARE)) // len(KINDS)
    rows = [(pair, -1) for pair in pairs]
    for place, kind in enumerate(KINDS):
        rows += [
            (spoil(kind, rng.choice(pairs), rng.choice(pairs), han, rng), place)
            for _ in range(each)
        ]
    rng.shuffle(rows)
    return [pair for pair, _ in rows], np.array([label for _, label in rows])


def columns(pairs: Sequence[Pair]) -> tuple[Texts, Texts]:
    return Texts.of([left for left, _ in pairs]), Texts.of([right for _, right in pairs])


def blocks(left: Texts, right: Texts) -> Callable[[], Iterator[tuple[Texts, Texts]]]:
    starts = range(0, len(left), BLOCK)
    return lambda: (
        (left.slice(begin, end), right.slice(begin, end))
        for begin, end in ((begin, min(begin + BLOCK, len(left))) for begin in starts)
    )


def area_under_curve(good: Scores, bad: Scores) -> float:
    good, bad = np.nan_to_num(good, nan=1.0), np.sort(np.nan_to_num(bad, nan=1.0))
    below, not_above = (np.searchsorted(bad, good, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(bad)))


def areas(scores: Scores, labels: NDArray[np.int64]) -> dict[str, float]:
    good = scores[labels < 0]
    by_kind = {
        f"auc_{kind}": area_under_curve(good, scores[labels == place])
        for place, kind in enumerate(KINDS)
    }
    return by_kind | {"auc_all": area_under_curve(good, scores[labels >= 0])}


def cpu_time_of(action: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and the processor seconds of all threads."""
    started = time.process_time()
    result = action()
    return result, time.process_time() - started


class Dictionaries:
    """The baseline."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.left: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.together: dict[str, Counter[str]] = defaultdict(Counter)
        self.pairs = len(pairs)
        for pair in pairs:
            left, right = map(self.units, pair)
            self.left.update(left)
            self.right.update(right)
            for unit in left:
                self.together[unit].update(right)

    @staticmethod
    def units(text: str) -> set[str]:
        text = text.lower()
        han = re.findall("[\u4e00-\u9fff]+", text)
        bigrams = (run[place : place + 2] for run in han for place in range(len(run)))
        return {*re.findall("[a-z0-9]+", text), *bigrams, *"".join(han)}

    def strength(self, left: str, right: str) -> float:
        count = self.together[left][right] - 1 if left in self.together else 0
        if count < 1:
            return 0.0
        frequencies = self.left[left], self.right[right]
        information = math.log(count * self.pairs / (frequencies[0] * frequencies[1]))
        return max(information, 0.0) * (2 * count / sum(frequencies))

    def score(self, pair: Pair) -> float:
        left, right = map(self.units, pair)
        table = [[self.strength(one, other) for other in right] for one in left]
        if not left or not right:
            return math.nan
        best_left = sum(max(row) for row in table) / len(left)
        best_right = sum(max(row[place] for row in table) for place in range(len(right)))
        return (best_left + best_right / len(right)) / 2


def measure_baseline(pairs: Sequence[Pair], labels: NDArray[np.int64]) -> dict[str, object]:
    dictionaries, learning = cpu_time_of(lambda: Dictionaries(pairs))
    scores, scoring = cpu_time_of(lambda: [dictionaries.score(pair) for pair in pairs])
    lexicon = learn(blocks(*columns(pairs)), table_mib=256, workers=1)
    return {
        "baseline_learn_cpu_microseconds_per_pair": learning / len(pairs) * 1e6,
        "baseline_pairs_scored_per_cpu_second": len(pairs) / scoring,
        "baseline": areas(np.array(scores, np.float32), labels),
        "lexicon_of_the_same_pairs": areas(lexicon.score(*columns(pairs)), labels),
    }


def measure_lexicon(
    pairs: Sequence[Pair], labels: NDArray[np.int64], options: argparse.Namespace
) -> tuple[Lexicon, dict[str, object]]:
    left, right = columns(pairs)
    sample = blocks(left, right)

    def learned() -> Lexicon:
        return learn(sample, table_mib=options.table_mib, workers=options.workers)

    lexicon = learned()  # compiles
    lexicon.score(left.slice(0, 10), right.slice(0, 10))
    learning = [cpu_time_of(learned)[1] / len(pairs) * 1e6 for _ in range(options.repeats)]
    scoring = [
        len(pairs) / cpu_time_of(lambda: lexicon.score(left, right))[1]
        for _ in range(options.repeats)
    ]
    tracemalloc.start()
    learned()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return lexicon, {
        "learn_cpu_microseconds_per_pair": summarise(learning),
        "pairs_scored_per_cpu_second": summarise(scoring),
        "learn_peak_mib": peak / 2**20,
        "units": list(lexicon.units),
        **areas(lexicon.score(left, right), labels),
    }


def measure_clean(lexicon: Lexicon, folder: Path) -> dict[str, object]:
    """Clean pairs lost, and the same pairs misaligned caught, at some thresholds."""
    lines = (folder / "dev.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [(left, right) for left, right in (line.split("\t") for line in lines)]
    pairs.sort(key=lambda pair: len(pair[1]))
    wrong = [(left, pairs[place - 1][1]) for place, (left, _) in enumerate(pairs)]
    good, bad = lexicon.score(*columns(pairs)), lexicon.score(*columns(wrong))
    shares = {
        f"dev_{name}_below_{limit}": float(np.mean(scores < limit))
        for limit in (0.2, 0.5, 0.6)
        for name, scores in (("clean", good), ("misaligned", bad))
    }
    return {"dev_auc_misaligned": area_under_curve(good, bad), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table-mib", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--baseline-pairs", type=int, default=8_000)
    options = parser.parse_args()
    shared = os.environ.get("LINGUABRIDGE_SHARED_DATA")
    if shared is None:
        raise SystemExit("set LINGUABRIDGE_SHARED_DATA to the folder that holds corpus/")
    folder = Path(shared) / "corpus"
    pairs, labels = mixture(read_pairs(folder), seed=1)
    first = options.baseline_pairs
    lexicon, results = measure_lexicon(pairs, labels, options)
    results |= measure_clean(lexicon, folder) | measure_baseline(pairs[:first], labels[:first])
    path = store_result(
        "adequacy",
        question="How well and how fast does a learned lexicon tell misaligned pairs?",
        baseline="mean best Dice-weighted association in Python dictionaries, in the same run",
        settings={
            "pairs": len(pairs),
            "noise_share": float(np.mean(labels >= 0)),
            "table_mib": options.table_mib,
            "workers": options.workers,
            "baseline_pairs": first,
            "repeats": options.repeats,
        },
        results=results,
        packages=["numba", "numpy"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
