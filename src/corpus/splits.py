"""Which pairs are held out for dev and test, so that no model sees their sentences in training.

The choice is by content hash: test takes the pairs with the lowest hashes, dev those with the
highest, so adding data replaces few of them and never moves one from test to dev. A sentence that
is held out on either side is held out everywhere: other pairs that share a side with it would leak
it into training and leave the corpus (`leaks_held_out`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.corpus.decontamination import SideKeys, contaminated
from src.corpus.keys import LEFT, PAIR, RIGHT, KeyColumns
from src.corpus.mixing import mixed
from src.errors import DataError
from src.schema.data import SplitsConfig

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


def hold_out(
    keys: KeyColumns, kept: Mask, sizes: SplitsConfig, seed: int, *, lost: str = ""
) -> tuple[Positions, Positions, Mask]:
    """Chooses the held-out pairs.

    Args:
        keys: Keys of the N pairs of the corpus.
        kept: `[N]`, the pairs that are still in it.
        sizes: Pairs wanted per split.
        seed: Another seed, another choice.
        lost: Why the others are gone, for the message that too few are left.

    Returns:
        Positions of the dev pairs and of the test pairs; `[N]` the pairs that share a side with
        one of them and must go.

    Raises:
        DataError: If too few pairs are left for the splits and for training.
    """
    available = int(np.count_nonzero(kept))
    if available <= sizes.dev + sizes.test:
        raise DataError(
            f"only {available:,} pairs are left after filtering{lost}, too few for data.splits.dev="
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
    return dev, test, leaks | dev_leaks


def _lowest(
    keys: KeyColumns, chosen: Mask, count: int, seed: int, *, descending: bool
) -> Positions:
    """Positions of the `count` chosen pairs with the lowest (or highest) seeded hash."""
    salt = mixed(np.array([seed + 1], dtype=np.uint64))
    best_positions = np.zeros(0, np.int64)
    best = np.zeros(0, np.uint64)
    for place, (pairs,) in keys.pieces(PAIR):
        hashes = mixed(pairs ^ salt)
        if descending:
            hashes = ~hashes
        is_better = hashes < best[-1] if 0 < count == len(best) else True
        rows = np.flatnonzero(chosen[place] & is_better)
        best = np.concatenate((best, hashes[rows]))
        best_positions = np.concatenate((best_positions, rows + place.start))
        order = np.argsort(best, kind="stable")[:count]
        best, best_positions = best[order], best_positions[order]
    return np.sort(best_positions)


def _sharing_a_side(keys: KeyColumns, chosen: Mask, held_out: Positions) -> Mask:
    """`[N]` the chosen pairs that share a side with held-out ones."""
    sides = SideKeys.of(())
    for place, (left, right) in keys.pieces(LEFT, RIGHT):
        first, last = np.searchsorted(held_out, (place.start, place.stop))
        rows = held_out[first:last] - place.start
        sides.add(left[rows], right[rows])
    return contaminated(keys, sides, chosen)
