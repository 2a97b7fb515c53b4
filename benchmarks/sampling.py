"""What does a sample of a tenth of the tokens cover, how much of it is noise, what does it cost?

    LINGUABRIDGE_SHARED_DATA=FOLDER python -m benchmarks.sampling [--share 0.1] [--repeats 3]

Candidates are the pairs of `corpus/train_raw.tsv.gz` that are distinct and break no rule, and a
tenth of noise of five kinds: sides of different pairs, random Han characters, random letters, UTF-8
read as GBK, and both sides shuffled. Pairs are scored as `run.py process` scores them.

Coverage is the share of the kinds of 1- to 3-grams of a held-out text that the real pairs of a
sample contain: `outside`, the dev and test files, of other domains; and `inside`, 6,000 of the real
pairs, which are no candidates. All samples have the same number of tokens. They are compared with
chance, with the best by score, and with the exact greedy choice (feature decay: a priority queue,
every n-gram in memory), for its usual objective and for that of `diverse`, behind the same gate.
Processor time is per candidate, compilation excluded.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import store_result, summarise
from benchmarks.varied_corpus import read_pairs
from src.compiled import compiled
from src.corpus.adequacy import learn
from src.corpus.filters import KEPT, build_rules, first_broken
from src.corpus.sampling import Strategy, choose, coverage
from src.corpus.sampling.diverse import GATE_SHARE
from src.corpus.sampling.grams import Features, gram_chunks
from src.corpus.scores import score_pairs
from src.corpus.texts import Texts
from src.schema.data import DataConfig
from tests.fakes.text_pool import Row, TextPool

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
LANGUAGES = ("en", "zh")
BLOCK_ROWS = 50_000
HELD_OUT_ROWS = 6000
REAL_PER_NOISE = 9
SEED = 1
STRATEGIES: tuple[Strategy, ...] = ("random", "quality_filtered", "diverse")
OBJECTIVES = {
    "exact_greedy_usual": ((0.0, 0.0, 1.0), 0.5),
    "exact_greedy_same_objective": ((0.0, 0.0, 0.25, 1.0), 0.25),
}
TRIES = 5
CLOSE_ENOUGH = 0.002


class Corpus(NamedTuple):
    """Candidates and what is known of them.

    Attributes:
        pool: N pairs.
        scores: `[N]` the worse of quality and adequacy.
        is_noise: `[N]`.
        held_out: The two texts.
    """

    pool: TextPool
    scores: NDArray[np.float32]
    is_noise: Bools
    held_out: dict[str, tuple[Texts, Texts]]


def columns(rows: list[Row]) -> tuple[Texts, Texts]:
    return Texts.of([row[0] for row in rows]), Texts.of([row[1] for row in rows])


def real_rows(folder: Path) -> list[Row]:
    """Distinct pairs that break no rule."""
    rows = list({(left, right): None for _, left, right in read_pairs(folder) if left and right})
    data = DataConfig()
    scores = score_pairs(*columns(rows), LANGUAGES, data.filters)
    broken = first_broken(scores, build_rules(data.filters, data.quality_threshold))
    return [row for row, rule in zip(rows, broken.tolist(), strict=True) if rule == KEPT]


def noise(rows: list[Row], count: int, rng: random.Random) -> list[Row]:
    """Five kinds in turn, each made of real pairs."""
    han = [character for _, right in rows for character in right if is_han(character)]

    def letters() -> str:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 10)))

    kinds: list[Callable[[str, str], Row]] = [
        lambda left, _: (left, rng.choice(rows)[1]),
        lambda left, right: (left, "".join(rng.choice(han) if is_han(c) else c for c in right)),
        lambda left, right: (" ".join(letters() for _ in left.split()), right),
        lambda left, right: (left, right.encode("utf-8").decode("gbk", "ignore")),
        lambda left, right: (
            " ".join(rng.sample(left.split(), len(left.split()))),
            "".join(rng.sample(right, len(right))),
        ),
    ]
    return [kinds[number % len(kinds)](*rng.choice(rows)) for number in range(count)]


def is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def read_corpus(folder: Path) -> Corpus:
    rng = random.Random(SEED)  # noqa: S311
    rows = real_rows(folder)
    rng.shuffle(rows)
    inside, rows = rows[:HELD_OUT_ROWS], rows[HELD_OUT_ROWS:]
    labelled = [(row, False) for row in rows]
    labelled += [(row, True) for row in noise(rows, len(rows) // REAL_PER_NOISE, rng)]
    rng.shuffle(labelled)
    candidates = [row for row, _ in labelled]
    left, right = columns(candidates)
    scores = score_pairs(left, right, LANGUAGES, DataConfig().filters)["quality"]
    lexicon = learn(lambda: iter([(left, right)]), table_mib=256, workers=1)
    scores = np.fmin(scores, lexicon.score(left, right))
    ends = [*range(BLOCK_ROWS, len(candidates), BLOCK_ROWS), len(candidates)]
    outside = [
        (left, right)
        for name in ("dev", "test")
        for line in (folder / f"{name}.tsv").read_text(encoding="utf-8").split("\n")
        for left, separator, right in [line.partition("\t")]
        if separator
    ]
    return Corpus(
        TextPool(candidates, scores=scores, ends=ends),
        scores,
        np.array([is_noise for _, is_noise in labelled]),
        {"outside": columns(outside), "inside": columns(inside)},
    )


class Grams(NamedTuple):
    """Every distinct n-gram of every candidate, numbered without collisions worth mentioning."""

    kinds: Indices
    ends: Indices
    tokens: Indices


def all_grams(pool: TextPool) -> Grams:
    chunks = [
        chunk
        for block in range(pool.block_count)
        for chunk in gram_chunks(*pool.texts(block), np.arange(pool.rows(block)), Features(32))
    ]
    lengths = np.concatenate([np.diff(chunk.ends, prepend=0) for chunk in chunks])
    _, kinds = np.unique(np.concatenate([chunk.cells for chunk in chunks]), return_inverse=True)
    tokens = np.concatenate([chunk.tokens for chunk in chunks])
    return Grams(kinds, np.cumsum(lengths), tokens)


def exact_greedy(
    grams: Grams, is_admitted: Bools, budget: float, fresh: tuple[float, ...], decay: float
) -> Bools:
    """Always the worthiest pair next, until the tokens are used up.

    Args:
        grams: Of N pairs.
        is_admitted: `[N]` which may be chosen.
        budget: Tokens.
        fresh: What a kind of n-gram is worth by the number of admitted pairs that have it; the
            last for all above.
        decay: Its worth is multiplied by this when it is chosen.
    """
    lengths = np.diff(grams.ends, prepend=0)
    counts = np.bincount(grams.kinds[np.repeat(is_admitted, lengths)])
    worths = np.zeros(int(grams.kinds.max()) + 1)
    worths[: len(counts)] = np.array(fresh)[np.minimum(counts, len(fresh) - 1)]
    chosen = np.zeros(len(lengths), np.bool_)
    _take_worthiest(grams, np.flatnonzero(is_admitted), worths, decay, budget, chosen)
    return chosen


@compiled
def _worth(grams: Grams, pair: int, worths: Floats) -> float:
    begin = grams.ends[pair - 1] if pair else 0
    total = 0.0
    for place in range(begin, grams.ends[pair]):
        total += worths[grams.kinds[place]]
    return float(total / max(grams.tokens[pair], 1))


@compiled
def _sift(pairs: Indices, bounds: Floats, place: int, count: int) -> None:
    """Lets an entry of the heap sink to where nothing below is worth more."""
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and bounds[child + 1] > bounds[child]:
            child += 1
        if bounds[child] <= bounds[place]:
            return
        bounds[place], bounds[child] = bounds[child], bounds[place]
        pairs[place], pairs[child] = pairs[child], pairs[place]
        place = child


@compiled
def _take_worthiest(
    grams: Grams, pairs: Indices, worths: Floats, decay: float, budget: float, chosen: Bools
) -> None:
    # Worth only falls, so what a pair was worth once is an upper bound (lazy greedy).
    count = len(pairs)
    bounds = np.array([_worth(grams, pair, worths) for pair in pairs])
    for place in range(count // 2, -1, -1):
        _sift(pairs, bounds, place, count)
    while count and budget > 0:
        pair = pairs[0]
        worth = _worth(grams, pair, worths)
        if worth < bounds[0]:
            bounds[0] = worth
        else:
            chosen[pair] = True
            budget -= grams.tokens[pair]
            for place in range(grams.ends[pair - 1] if pair else 0, grams.ends[pair]):
                worths[grams.kinds[place]] *= decay
            count -= 1
            pairs[0], bounds[0] = pairs[count], bounds[count]
        _sift(pairs, bounds, 0, count)


def sample(pool: TextPool, strategy: Strategy, tokens: Indices, share: float) -> Bools:
    """The choice of a strategy that has a share of all tokens."""
    size = round(len(tokens) * share)
    chosen = np.concatenate(choose(pool, strategy, size, SEED).masks)
    for _ in range(TRIES):
        found = tokens[chosen].sum() / tokens.sum()
        if abs(found / share - 1) < CLOSE_ENOUGH:
            break
        size = round(size * share / found)
        chosen = np.concatenate(choose(pool, strategy, size, SEED).masks)
    return chosen


def describe(corpus: Corpus, chosen: Bools, tokens: Indices) -> dict[str, float]:
    lengths = [corpus.pool.rows(block) for block in range(corpus.pool.block_count)]
    masks = np.split(chosen & ~corpus.is_noise, np.cumsum(lengths)[:-1])
    described = {
        f"{name}_coverage_percent": 100 * coverage(corpus.pool, masks, *text, seed=SEED)["selected"]
        for name, text in corpus.held_out.items()
    }
    return described | {
        "noise_percent": 100 * float(corpus.is_noise[chosen].mean()),
        "pairs": int(chosen.sum()),
        "tokens_percent": 100 * float(tokens[chosen].sum() / tokens.sum()),
    }


def compare(corpus: Corpus, share: float) -> dict[str, dict[str, float]]:
    grams = all_grams(corpus.pool)
    admitted = np.ones(len(corpus.scores), np.bool_)
    admitted[np.argsort(corpus.scores, kind="stable")[: int(len(admitted) * GATE_SHARE)]] = False
    budget = share * float(grams.tokens.sum())
    samples: dict[str, Bools] = {
        name: sample(corpus.pool, name, grams.tokens, share) for name in STRATEGIES
    }
    for greedy, (fresh, decay) in OBJECTIVES.items():
        samples[greedy] = exact_greedy(grams, admitted, budget, fresh, decay)
    samples["everything"] = np.ones(len(admitted), np.bool_)
    return {name: describe(corpus, chosen, grams.tokens) for name, chosen in samples.items()}


def costs(corpus: Corpus, share: float, repeats: int) -> dict[str, Any]:
    """Processor microseconds per candidate, one thread."""
    pool, count = corpus.pool, len(corpus.scores)
    size = round(count * share)
    masks = choose(pool, "random", size, SEED).masks

    def extract() -> None:
        for block in range(pool.block_count):
            gram_chunks(*pool.texts(block), np.arange(pool.rows(block)), Features(26))

    actions: dict[str, Callable[[], object]] = {"extraction": extract}
    for strategy in STRATEGIES:
        actions[strategy] = partial(choose, pool, strategy, size, SEED)
    actions["coverage"] = lambda: coverage(pool, masks, *corpus.held_out["outside"], seed=SEED)
    return {
        f"{name}_microseconds": summarise([_cost(action) / count for _ in range(repeats)])
        for name, action in actions.items()
    }


def _cost(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return 1e6 * (time.process_time() - started)


def gains(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """How much of the exact greedy's gain over chance `diverse` reaches."""

    def gain(method: str, text: str) -> float:
        key = f"{text}_coverage_percent"
        return found[method][key] - found["random"][key]

    return {
        f"{text}_gain_of_{method}_reached_percent": 100 * gain("diverse", text) / gain(method, text)
        for text in ("outside", "inside")
        for method in ("exact_greedy_usual", "exact_greedy_same_objective")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=0.1, help="of all tokens")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    named = os.environ.get("LINGUABRIDGE_SHARED_DATA")
    if named is None:
        raise SystemExit("LINGUABRIDGE_SHARED_DATA must name a folder with corpus/")
    corpus = read_corpus(Path(named) / "corpus")
    found = compare(corpus, options.share)
    for name, facts in found.items():
        print(f"{name:28}", "  ".join(f"{key} {value:.5g}" for key, value in facts.items()))
    results = {"samples": found} | gains(found) | costs(corpus, options.share, options.repeats)
    path = store_result(
        "sampling",
        question="What does a sample cover, how much of it is noise, and what does it cost?",
        baseline="a random sample and the exact greedy choice of as many tokens",
        settings={
            "candidates": len(corpus.scores),
            "noise": int(corpus.is_noise.sum()),
            "share_of_tokens": options.share,
            "repeats": options.repeats,
        },
        results=results,
        packages=("numba", "numpy"),
    )
    print(path)


if __name__ == "__main__":
    main()
