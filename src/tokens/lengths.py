"""How long the training sequences are, and what each `max_seq_length` would leave out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.languages import split_direction
from src.tokens.columns import IntArray
from src.tokens.split import TokenSplit

CANDIDATES = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Lengths worth choosing from; the memory and the time of a step grow with them."""
MOST_PAIRS_CUT = 0.001
"""Share of pairs that a recommended length may leave out."""

_PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Cut:
    """What one `max_seq_length` leaves out of one direction: longer sequences, as a whole.

    Attributes:
        max_seq_length: In tokens, prompt included.
        pairs: Sequences left out.
        tokens: Their tokens.
    """

    max_seq_length: int
    pairs: int
    tokens: int


@dataclass(frozen=True)
class DirectionLengths:
    """The sequences of one direction: prompt, source and target.

    Attributes:
        pairs: Their number.
        tokens: Of all of them.
        percentiles: "p50", "p90", "p95", "p99" and "max" in tokens: so many percent of the
            sequences are at most that long. Empty without pairs.
        cuts: One for each length that was counted for, ascending.
    """

    pairs: int
    tokens: int
    percentiles: dict[str, int]
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class LengthStatistics:
    """Lengths of training sequences.

    Attributes:
        directions: By direction, such as "en-zh".
        recommended: The smallest candidate that leaves out at most 0.1 % of the pairs of every
            direction; None if none does.
    """

    directions: dict[str, DirectionLengths]
    recommended: int | None

    def to_json(self, configured: Mapping[str, int]) -> dict[str, Any]:
        """By direction, as report.json has it.

        Args:
            configured: `max_seq_length` of each stage that trains.
        """
        return {
            direction: {
                "pairs": lengths.pairs,
                "tokens": lengths.tokens,
                **lengths.percentiles,
                "candidates": [
                    {
                        "max_seq_length": cut.max_seq_length,
                        "cut_pairs": cut.pairs,
                        "cut_tokens": cut.tokens,
                    }
                    for cut in lengths.cuts
                ],
                "recommendation": self.recommended,
                "configured": dict(configured),
            }
            for direction, lengths in self.directions.items()
        }


def length_statistics(
    split: TokenSplit,
    prompt_overheads: Mapping[str, int],
    *,
    candidates: Sequence[int] = CANDIDATES,
    also: Iterable[int] = (),
) -> LengthStatistics:
    """Reads the offsets of a split and counts; holds one shard's at a time.

    Args:
        split: Such as `cache.split("train")`.
        prompt_overheads: Direction → tokens that its prompt adds (`Prompt.overhead`).
        candidates: Values of `max_seq_length` to weigh, ascending.
        also: Others to count for, which are never recommended.
    """
    weighed = sorted({*candidates, *also})
    directions = {}
    for direction, overhead in prompt_overheads.items():
        rows, _ = split.rows_of(*split_direction(direction))
        counts = _count_lengths(length for _, length in split.pair_lengths(rows))
        directions[direction] = _summarise(counts, overhead, weighed)
    fitting = [
        length
        for length in candidates
        if all(
            found.cuts[weighed.index(length)].pairs <= MOST_PAIRS_CUT * found.pairs
            for found in directions.values()
        )
    ]
    return LengthStatistics(directions, fitting[0] if fitting else None)


def _count_lengths(parts: Iterator[IntArray]) -> IntArray:
    """How many sequences have each length: int64 `[longest + 1]`."""
    counts = np.zeros(1, np.int64)
    for lengths in parts:
        more = np.bincount(lengths, minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    return counts


def _summarise(counts: IntArray, overhead: int, candidates: Sequence[int]) -> DirectionLengths:
    lengths = np.arange(len(counts), dtype=np.int64) + overhead
    pairs = int(counts.sum())
    percentiles = {}
    if pairs:
        below = np.cumsum(counts)
        # The nearest rank: the shortest length that this share of the sequences does not exceed.
        ranks = [-(-pairs * percent // 100) for percent in _PERCENTILES]
        places = np.searchsorted(below, [*ranks, pairs])
        names = [*(f"p{percent}" for percent in _PERCENTILES), "max"]
        percentiles = dict(zip(names, lengths[places].tolist(), strict=True))
    cuts = []
    for candidate in candidates:
        long = lengths > candidate
        cut_tokens = int((counts * lengths)[long].sum())
        cuts.append(Cut(candidate, int(counts[long].sum()), cut_tokens))
    return DirectionLengths(pairs, int((counts * lengths).sum()), percentiles, tuple(cuts))
