"""Choosing `sample_size` pairs: at random, by score, or for the widest coverage of language.

Every strategy depends on the set of rows only, never on their order: where a choice is arbitrary, a
seeded hash of the row's content decides.

`diverse` is a one-pass threshold greedy. Pairs come in the order of that hash. A pair is worth the
sum of the current values of its n-grams, per unit of text; a pair above the threshold is kept, and
the values of its n-grams are halved, so that what is said again is worth less. The threshold
follows the worth of recent pairs so that the budget is used up evenly. Two things keep it from
collecting rubbish, which is always new: the worst pairs by score cannot enter, and only n-grams
that occur in two pairs or more have a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from src.corpus.characters import Hashes, Indices, mixed
from src.corpus.ngrams import HASH_BITS, Ngrams, pair_ngrams

Strategy = Literal["quality_filtered", "diverse", "random"]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TABLE_BITS = 22
"""The n-gram table has `2 ** TABLE_BITS` cells; more n-grams than that share cells. Ten times more
still cost nothing measurable, a hundred times more a twentieth of the gain."""
GATE_SHARE = 0.25
"""Largest share of the rows, worst by score, that `diverse` leaves out beforehand."""

_BLOCK = 4096  # pairs whose n-grams are in memory at a time, about 100 each
_WINDOW = 512  # pairs between two settings of the threshold
_MOST_HALVINGS = 30


def select(
    strategy: Strategy,
    *,
    english: Sequence[str],
    chinese: Sequence[str],
    scores: npt.NDArray[np.float32] | Float64s,
    keys: Hashes,
    size: int | None,
    seed: int,
) -> Bools:
    """Chooses `min(size, N)` of N pairs.

    Args:
        strategy: `random`: stable, adding rows to the corpus changes few choices.
            `quality_filtered`: the highest scores. `diverse`: see the module docstring.
        english: N texts; read by `diverse` only, in blocks.
        chinese: N texts, the other sides.
        scores: `[N]`, quality of each pair, higher is better.
        keys: `[N]`, hash of each pair's content; equal keys mean equal pairs.
        size: Pairs to choose; None chooses all.
        seed: Another seed, another choice among what is equally good.

    Returns:
        `[N]`, True where chosen.

    Raises:
        ValueError: If the columns differ in length, a score is not finite, `size` is negative or
            the strategy is unknown.
    """
    rows = len(keys)
    if not len(english) == len(chinese) == len(scores) == rows:
        raise ValueError(
            f"columns differ in length: {len(english)} English, {len(chinese)} Chinese, "
            f"{len(scores)} scores, {rows} keys"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(scores))} scores are not finite")
    if size is not None and size < 0:
        raise ValueError(f"size={size} is negative")
    priority = _priority(keys, seed)
    if size is None or size >= rows:
        return np.ones(rows, np.bool_)
    if strategy == "random":
        return _mask(np.lexsort((-scores, priority))[:size], rows)
    by_score = np.lexsort((priority, -scores))
    if strategy == "quality_filtered":
        return _mask(by_score[:size], rows)
    if strategy == "diverse":
        admitted = by_score[: rows - _gated_out(rows, size)]
        order = admitted[np.argsort(priority[admitted], kind="stable")]
        return _mask(order[_choose_diverse(english, chinese, order, size)], rows)
    raise ValueError(f"unknown strategy {strategy!r}; use quality_filtered, diverse or random")


def coverage(
    *,
    english: Sequence[str],
    chinese: Sequence[str],
    chosen: Bools,
    held_out_english: Sequence[str],
    held_out_chinese: Sequence[str],
) -> float:
    """Share of the distinct 1- to 3-grams of a held-out text that a selection contains.

    Args:
        english: N texts to choose from, one side.
        chinese: N texts, the other side.
        chosen: `[N]`, the selection.
        held_out_english: Text that had no part in the choice.
        held_out_chinese: Its other side.

    Returns:
        0 to 1; 0 if the held-out text is empty.
    """
    everything = np.arange(len(held_out_english))
    blocks = [
        block.hashes for block in _ngram_blocks(held_out_english, held_out_chinese, everything)
    ]
    wanted = np.unique(np.concatenate(blocks)) if blocks else np.zeros(0, np.uint64)
    if not len(wanted):
        return 0.0
    is_found = np.zeros(len(wanted), np.bool_)
    for block in _ngram_blocks(english, chinese, np.flatnonzero(chosen)):
        places = np.searchsorted(wanted, block.hashes)
        places[places == len(wanted)] = 0
        is_found[places[wanted[places] == block.hashes]] = True
    return float(is_found.mean())


class CoverageTable:
    """What the corpus says and how often it was already chosen, in a fixed amount of memory.

    An n-gram's value is 1 until it is chosen and halves each time; n-grams that occur in fewer
    than two pairs have none. Values are kept as the number of halvings: sums of powers of two are
    exact in float64, so worth does not depend on the machine's order of summation.

    Args:
        bits: The table has `2 ** bits` cells of three bytes.
    """

    def __init__(self, bits: int = TABLE_BITS) -> None:
        self._shift = np.uint64(HASH_BITS - bits)
        self._seen_once = np.zeros(1 << bits, np.bool_)
        self._seen_twice = np.zeros(1 << bits, np.bool_)
        self._halvings = np.zeros(1 << bits, np.uint8)
        self._values = 0.5 ** np.arange(_MOST_HALVINGS + 1)

    def count(self, block: Ngrams) -> None:
        """Notes that these pairs exist; all pairs are counted before the first is valued."""
        cells = self._cells(block.hashes)
        self._seen_twice[cells[self._seen_once[cells]]] = True
        self._seen_once[cells] = True
        cells.sort()
        self._seen_twice[cells[1:][cells[1:] == cells[:-1]]] = True

    def valued_cells(self, block: Ngrams) -> list[Indices]:
        """Per pair of the block the cells of its n-grams that have a value."""
        cells = self._cells(block.hashes)
        has_value = self._seen_twice[cells]
        borders = np.searchsorted(block.rows[has_value], np.arange(1, len(block.units)))
        return np.split(cells[has_value], borders)

    def value(self, cells: Indices) -> float:
        """Sum of the current values."""
        return float(self._values[self._halvings[cells]].sum())

    def halve(self, cells: Indices) -> None:
        """Notes that a pair with these n-grams was chosen."""
        self._halvings[cells] = np.minimum(self._halvings[cells] + 1, _MOST_HALVINGS)

    def _cells(self, hashes: Hashes) -> Indices:
        return (hashes >> self._shift).astype(np.int64)


def _choose_diverse(
    english: Sequence[str], chinese: Sequence[str], order: Indices, size: int
) -> Indices:
    """Positions in `order` of exactly `size` pairs, `size <= len(order)`."""
    table = CoverageTable()
    for block in _ngram_blocks(english, chinese, order):
        table.count(block)
    worth = np.zeros(len(order))
    is_kept = np.zeros(len(order), np.bool_)
    start = kept = 0
    for block in _ngram_blocks(english, chinese, order):
        cells, units = table.valued_cells(block), np.maximum(block.units, 1)
        for first in range(0, len(cells), _WINDOW):
            window = slice(first, first + _WINDOW)
            stop = start + len(cells[window])
            wanted = round(size * stop / len(order)) - kept
            recent = worth[start - _WINDOW : start]
            if not start:
                recent = _worths(table, cells[window], units[window])
            threshold = _threshold(recent, wanted / (stop - start))
            worth[start:stop], is_kept[start:stop] = _decide(
                table, cells[window], units[window], threshold
            )
            kept += int(np.count_nonzero(is_kept[start:stop]))
            start = stop
    return _trim_or_fill(worth, is_kept, size)


def _decide(
    table: CoverageTable, cells: list[Indices], units: Indices, threshold: float
) -> tuple[Float64s, Bools]:
    """Worth and fate of consecutive pairs; the only part that must run one pair at a time."""
    worth = np.zeros(len(cells))
    is_kept = np.zeros(len(cells), np.bool_)
    for index, (pair_cells, pair_units) in enumerate(zip(cells, units.tolist(), strict=True)):
        worth[index] = table.value(pair_cells) / pair_units
        if worth[index] > threshold:
            is_kept[index] = True
            table.halve(pair_cells)
    return worth, is_kept


def _worths(table: CoverageTable, cells: list[Indices], units: Indices) -> Float64s:
    return np.array([table.value(pair_cells) for pair_cells in cells]) / units


def _threshold(recent: Float64s, share: float) -> float:
    """The worth that `share` of the recent pairs exceed."""
    return float(np.quantile(recent, 1.0 - min(max(share, 0.0), 1.0)))


def _trim_or_fill(worth: Float64s, is_kept: Bools, size: int) -> Indices:
    """The kept pairs, less the least worthy or plus the worthiest left out, to make `size`."""
    # Stable: equally worthy pairs rank by their place in the order, which is a hash.
    ranking = np.lexsort((-worth, ~is_kept))
    return np.sort(ranking[:size])


def _gated_out(rows: int, size: int) -> int:
    # At most half of what has to go anyway: with less choice than that, coverage would have none
    # and the gate alone would decide.
    return min(int(rows * GATE_SHARE), (rows - size) // 2)


def _priority(keys: Hashes, seed: int) -> Hashes:
    """A pseudo-random order of the rows that depends on content and seed only."""
    return mixed(keys ^ mixed(np.array([seed % 2**64], np.uint64)))


def _ngram_blocks(
    english: Sequence[str], chinese: Sequence[str], order: Indices
) -> Iterator[Ngrams]:
    """N-grams of the pairs in the given order, a block at a time."""
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK].tolist()
        yield pair_ngrams([english[row] for row in rows], [chinese[row] for row in rows])


def _mask(rows: Indices, count: int) -> Bools:
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask
