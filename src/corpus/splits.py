"""Which pairs are held out for dev and test, so that no model sees their sentences in training.

The choice is by content hash: test takes the pairs with the lowest hashes, dev those with the
highest, so adding data replaces few of them and never moves one from test to dev. A sentence that
is held out on either side is held out everywhere: other pairs that share a side with it would leak
it into training and leave the corpus (`leaks_held_out`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.corpus.characters import Hashes, Indices, mixed
from src.corpus.dedup import CHINESE, ENGLISH, PAIR, KeyColumns
from src.corpus.language import is_member
from src.errors import DataError
from src.schema import SplitsConfig


def hold_out(
    keys: KeyColumns, kept: NDArray[np.bool_], sizes: SplitsConfig, seed: int
) -> tuple[Indices, Indices, Indices]:
    """Chooses the held-out pairs.

    Args:
        keys: Keys of the N pairs of the corpus.
        kept: `[N]`, the pairs that are still in it.
        sizes: Pairs wanted per split.
        seed: Another seed, another choice.

    Returns:
        Positions of the dev pairs, of the test pairs, and of the pairs that share a side with one
        of them and must go.

    Raises:
        DataError: If too few pairs are left for the splits and for training.
    """
    available = int(np.count_nonzero(kept))
    if available <= sizes.dev + sizes.test:
        raise DataError(
            f"only {available:,} pairs are left after filtering, too few for data.splits.dev="
            f"{sizes.dev} + data.splits.test={sizes.test} and at least one pair to train on; "
            "lower data.splits.dev and data.splits.test, or loosen data.filters"
        )
    remaining = kept.copy()
    test = _lowest(keys, remaining, sizes.test, seed, descending=False)
    remaining[test] = False
    leaks = _sharing_a_side(keys, remaining, test)
    remaining[leaks] = False
    dev = _lowest(keys, remaining, sizes.dev, seed, descending=True)
    remaining[dev] = False
    dev_leaks = _sharing_a_side(keys, remaining, dev)
    remaining[dev_leaks] = False
    if len(dev) < sizes.dev or not remaining.any():
        raise DataError(
            f"the {available:,} pairs left after filtering share so many sentences that "
            f"data.splits.dev={sizes.dev} and data.splits.test={sizes.test} leave nothing to train "
            "on; lower data.splits.dev and data.splits.test"
        )
    return dev, test, np.sort(np.concatenate((leaks, dev_leaks)))


def _lowest(
    keys: KeyColumns, chosen: NDArray[np.bool_], count: int, seed: int, *, descending: bool
) -> Indices:
    """Positions of the `count` chosen pairs with the lowest (or highest) seeded hash."""
    salt = mixed(np.array([seed + 1], dtype=np.uint64))
    best_positions = np.zeros(0, dtype=np.int64)
    best: Hashes = np.zeros(0, dtype=np.uint64)
    for place, unit in keys.units(PAIR):
        positions = np.flatnonzero(chosen[place])
        hashes = mixed(unit[positions] ^ salt)
        best = np.concatenate((best, ~hashes if descending else hashes))
        best_positions = np.concatenate((best_positions, positions + place.start))
        keep = np.argsort(best, kind="stable")[:count]
        best, best_positions = best[keep], best_positions[keep]
    return np.sort(best_positions)


def _sharing_a_side(keys: KeyColumns, chosen: NDArray[np.bool_], held_out: Indices) -> Indices:
    if not len(held_out):
        return held_out
    shares = np.zeros_like(chosen)
    for column in (ENGLISH, CHINESE):
        table = np.sort(
            np.concatenate(
                [
                    unit[
                        held_out[(held_out >= place.start) & (held_out < place.stop)] - place.start
                    ]
                    for place, unit in keys.units(column)
                ]
            )
        )
        for place, unit in keys.units(column):
            shares[place] |= is_member(unit, table)
    return np.flatnonzero(shares & chosen)
