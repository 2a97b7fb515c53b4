"""How much of a held-out text a choice covers, compared with chance, as both grow.

The held-out text has many kinds of 1- to 3-grams; of more than 2**17 a sample stands for all. One
reading of all candidates notes for each kind how early it turns up when the candidates, and when
the chosen ones, are taken in a pseudo-random order, in 65,536 steps. From that follow the curves of
both for every number of tokens: a selection and chance are only ever compared at equal tokens,
because a choice of longer pairs would otherwise win by length.
"""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.sampling.grams import (
    MOST_GRAMS,
    MOST_UNITS,
    Hashes,
    Indices,
    Sides,
    code_table,
    is_sampled,
    pair_grams,
    sides_of,
)
from src.corpus.sampling.pool import Pool, Progress, in_order, priorities
from src.corpus.sampling.ranking import Bools
from src.corpus.texts import Texts
from src.corpus.utf8 import Codes

POINTS = 20
"""Points of the curve."""
MOST_KINDS = 1 << 17
"""With more kinds of n-grams one in a power of two is looked up; a share of 50 % is then known to
within a quarter of a percent, and the table stays in the processor's cache."""

_STEPS = 1 << 16
_STEP_SHIFT = np.uint64(48)
_NEVER = _STEPS - 1  # so the step before holds what would fall into it
_LEAST_SLOTS = 16
_HELD_OUT_ROWS = 256  # of the held-out text that are read at a time
_FREE = np.uint64(0)  # no n-gram has this hash but one in 2 ** 64
_SLOT_SHIFT, _ONE = np.uint64(32), np.uint64(1)
_SALT = 0x5DEECE66D  # not the order in which pairs were chosen, or a part would be no fair sample


class _Pairs(NamedTuple):
    """What is known of the n pairs of a block: whether each was chosen, and its step."""

    is_chosen: Bools
    steps: NDArray[np.uint16]


class _Found(NamedTuple):
    """What one thread has found.

    Attributes:
        steps: `[2, S]` the earliest step at which the kind of each slot turned up, among all
            candidates and among the chosen.
        tokens: `[2, _STEPS]` tokens of the pairs of each step.
    """

    steps: NDArray[np.uint16]
    tokens: Indices


def coverage(
    pool: Pool,
    chosen: Sequence[Bools],
    left: Texts,
    right: Texts,
    *,
    seed: int,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Shares of the kinds of 1- to 3-grams of a held-out text that the chosen pairs contain.

    Args:
        pool: All candidates.
        chosen: A mask per block.
        left: Held-out text that had no part in the choice.
        right: Its other sides.
        seed: Decides the order in which both selections grow.
        workers: Threads; the result does not depend on them.
        progress: Called with rows done, which add up to N.

    Returns:
        `selected`, `random` and `all`: the share covered by the choice, by as many tokens at
        random, and by all candidates; `tokens` of the choice and `random_tokens`, the tokens at
        random that cover as much; and a `curve` of `share` of the choice (ascending to 1),
        `selected` and `random`, each of `POINTS` values. Empty if the held-out text is.
    """
    kinds, thin_mask = _wanted(sides_of(left, right))
    if not len(kinds):
        return {}
    slots = np.zeros(max(1 << (2 * len(kinds)).bit_length(), _LEAST_SLOTS), np.uint64)
    _enter(kinds, slots)
    founds = [
        _Found(np.full((2, len(slots)), _NEVER, np.uint16), np.zeros((2, _STEPS), np.int64))
        for _ in range(workers)
    ]
    free: SimpleQueue[_Found] = SimpleQueue()
    for found in founds:
        free.put(found)

    def look_up(block: int) -> int:
        sides = sides_of(*pool.texts(block))
        order = priorities(pool.keys(block), seed ^ _SALT) >> _STEP_SHIFT
        steps = np.minimum(order, np.uint64(_NEVER - 1)).astype(np.uint16)
        found = free.get()  # as many as there are threads
        pairs = _Pairs(chosen[block], steps)
        _look_up(sides, pairs, slots, thin_mask, code_table(), found)
        free.put(found)
        return len(steps)

    for rows in in_order(look_up, range(pool.block_count), workers):
        if progress is not None:
            progress(rows)
    steps = np.minimum.reduce([found.steps for found in founds])
    tokens = np.sum([found.tokens for found in founds], axis=0)
    return _summary(steps, tokens, len(kinds))


def _wanted(sides: Sides) -> tuple[Hashes, np.uint64]:
    """At most `MOST_KINDS` kinds of n-grams, and the mask that tells which are looked up."""
    rows = len(sides.left_offsets) - 1
    thin_mask = np.uint64(0)
    kinds = np.zeros(0, np.uint64)
    for begin in range(0, rows, _HELD_OUT_ROWS):
        last = min(begin + _HELD_OUT_ROWS, rows)
        found = _sampled_grams(sides, begin, last, code_table(), thin_mask)
        kinds = np.unique(np.concatenate([kinds, found]))
        while len(kinds) > MOST_KINDS:
            thin_mask = thin_mask << _ONE | _ONE
            kinds = _sampled(kinds, thin_mask)
    return kinds, thin_mask


def _summary(steps: NDArray[np.uint16], tokens: Indices, kinds: int) -> dict[str, Any]:
    """The result of `coverage` from the earliest steps and the tokens of each step."""
    found = [np.bincount(row, minlength=_STEPS)[:_NEVER] for row in steps]
    # Each curve begins with no token and nothing covered.
    random_shares, shares = (np.append(0, np.cumsum(row)) / kinds for row in found)
    random_tokens, chosen_tokens = (np.append(0, np.cumsum(row[:_NEVER])) for row in tokens)
    points = np.arange(1, POINTS + 1) / POINTS
    curve = np.interp(points * chosen_tokens[-1], chosen_tokens, shares)
    random_curve = np.interp(points * chosen_tokens[-1], random_tokens, random_shares)
    return {
        "selected": float(shares[-1]),
        "random": float(random_curve[-1]),
        "all": float(random_shares[-1]),
        "tokens": int(chosen_tokens[-1]),
        "random_tokens": int(random_tokens[np.searchsorted(random_shares, shares[-1])]),
        "curve": {
            "share": points.tolist(),
            "selected": curve.tolist(),
            "random": random_curve.tolist(),
        },
    }


@compiled
def _sampled_grams(
    sides: Sides, begin: int, end: int, codes: Codes, thin_mask: np.uint64
) -> Hashes:
    units, grams = np.empty(2 * MOST_UNITS, np.uint64), np.empty(MOST_GRAMS, np.uint64)
    found = np.empty((end - begin) * MOST_GRAMS, np.uint64)
    count = 0
    for row in range(begin, end):
        gram_count, _ = pair_grams(sides, row, codes, units, grams)
        for gram in grams[:gram_count]:
            if is_sampled(gram, thin_mask):
                found[count] = gram
                count += 1
    return found[:count].copy()


@compiled
def _sampled(kinds: Hashes, thin_mask: np.uint64) -> Hashes:
    return np.array([kind for kind in kinds if is_sampled(kind, thin_mask)], np.uint64)


@compiled
def _enter(kinds: Hashes, slots: Hashes) -> None:
    for kind in kinds:
        slots[_slot(kind, slots)] = kind


@compiled_part
def _slot(gram: np.uint64, slots: Hashes) -> int:
    """Where a hash stands or would stand."""
    mask = len(slots) - 1
    slot = np.int64(gram >> _SLOT_SHIFT) & mask
    while slots[slot] != _FREE and slots[slot] != gram:
        slot = (slot + 1) & mask
    return int(slot)


@compiled
def _look_up(
    sides: Sides,
    pairs: _Pairs,
    slots: Hashes,
    thin_mask: np.uint64,
    codes: Codes,
    found: _Found,
) -> None:
    units, grams = np.empty(2 * MOST_UNITS, np.uint64), np.empty(MOST_GRAMS, np.uint64)
    is_chosen, steps_of_pairs = pairs
    steps, tokens = found
    for row in range(len(steps_of_pairs)):
        gram_count, token_count = pair_grams(sides, row, codes, units, grams)
        step = steps_of_pairs[row]
        tokens[0, step] += token_count
        if is_chosen[row]:
            tokens[1, step] += token_count
        for gram in grams[:gram_count]:
            if is_sampled(gram, thin_mask):
                slot = _slot(gram, slots)
                if slots[slot] == gram:
                    steps[0, slot] = min(steps[0, slot], step)
                    if is_chosen[row]:
                        steps[1, slot] = min(steps[1, slot], step)
