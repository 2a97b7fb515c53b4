"""Choosing `sample_size` pairs: at random, by score, or for the widest coverage of language.

Where a choice is arbitrary, a seeded hash of the pair's content decides: never the order of the
rows, the number of threads or the time.

- `random`: the smallest hashes. With weights w of the sources each hash is read as a number u
  between 0 and 1 and the smallest -ln(u) / w are taken, which is sampling without replacement with
  chances in proportion to w (Efraimidis and Spirakis 2006). Stable: rows that are added to the
  corpus change few choices.
- `quality_filtered`: the highest scores.
- `diverse`: see `diverse.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from src.corpus.sampling.diverse import Gate, choose_diverse
from src.corpus.sampling.grams import Hashes
from src.corpus.sampling.pool import Pool, Progress, priorities
from src.corpus.sampling.ranking import Bools, FirstRows, SortKeys, ascending_bits, find_cut

Strategy = Literal["quality_filtered", "diverse", "random"]


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        masks: `[n]` per block, True where chosen.
        gate: What `diverse` left out beforehand; None where there was no gate.
    """

    masks: list[Bools]
    gate: Gate | None = None


def choose(
    pool: Pool,
    strategy: Strategy,
    size: int,
    seed: int,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Choice:
    """Chooses `min(size, N)` of the N rows of a pool.

    Args:
        pool: The candidates.
        strategy: See the module docstring.
        size: Rows to choose.
        seed: Another seed, another choice among what is equally good.
        workers: Threads of `diverse`; the result does not depend on them.
        progress: Called with numbers of rows done, which add up to N.

    Raises:
        ValueError: If the strategy is unknown, the size negative, or a weight or score impossible.
    """
    report = progress or (lambda _: None)
    choosers: dict[str, Callable[[], Choice]] = {
        "random": lambda: _first(pool, _random_keys(pool, seed), size, report),
        "quality_filtered": lambda: _first(pool, _quality_keys(pool, seed), size, report),
        "diverse": lambda: Choice(*choose_diverse(pool, size, seed, workers, report)),
    }
    if strategy not in choosers:
        raise ValueError(f"unknown strategy {strategy!r}; use {', '.join(sorted(choosers))}")
    if size < 0:
        raise ValueError(f"size={size} is negative; use 0 or more")
    rows = [pool.rows(block) for block in range(pool.block_count)]
    _check_weights(pool)
    if not 0 < size < sum(rows):
        report(sum(rows))
        return Choice([np.full(count, size > 0, np.bool_) for count in rows])
    return choosers[strategy]()


def _first(pool: Pool, sort_keys: SortKeys, size: int, progress: Progress) -> Choice:
    """Marks the `size` rows with the smallest keys."""
    first = FirstRows(find_cut(sort_keys, pool.block_count, size), size)
    masks: list[Bools] = []
    for block in range(pool.block_count):
        masks.append(first.mask(sort_keys(block)))
        progress(pool.rows(block))
    return Choice(masks)


def _random_keys(pool: Pool, seed: int) -> SortKeys:
    if len({pool.weight(block) for block in range(pool.block_count)}) == 1:
        return lambda block: priorities(pool.keys(block), seed)

    def weighted(block: int) -> Hashes:
        # 52 bits and a half: above 0 and below 1, exactly.
        places = priorities(pool.keys(block), seed) >> np.uint64(12)
        fractions = (places.astype(np.float64) + 0.5) * 2.0**-52
        # With equal weights the order of the hashes; positive floats order as their bits.
        sort_keys: Hashes = (-np.log1p(-fractions) / pool.weight(block)).view(np.uint64)
        return sort_keys

    return weighted


def _quality_keys(pool: Pool, seed: int) -> SortKeys:
    def falling(block: int) -> Hashes:
        scores = np.uint64(0xFFFFFFFF) - ascending_bits(pool.scores(block))
        return scores << np.uint64(32) | priorities(pool.keys(block), seed) >> np.uint64(32)

    return falling


def _check_weights(pool: Pool) -> None:
    for block in range(pool.block_count):
        weight = pool.weight(block)
        if not 0 < weight < math.inf:
            raise ValueError(f"weight={weight} of block {block} is not a number above 0")
