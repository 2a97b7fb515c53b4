"""Learning a lexicon from a sample of the corpus, in two readings and bounded memory."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from src.corpus.adequacy.associations import Meetings, strongest_partners
from src.corpus.adequacy.calibration import calibrate
from src.corpus.adequacy.evidence import side_tables
from src.corpus.adequacy.lexicon import Lexicon
from src.corpus.adequacy.pieces import (
    Pairs,
    joined_pairs,
    packed_pairs,
    read_pieces,
    take_pairs,
)
from src.corpus.adequacy.tally import count_units, make_table
from src.corpus.adequacy.units import Units
from src.corpus.adequacy.vocabulary import Vocabulary, frequent_units
from src.host_memory import release_freed_memory

_LEAST_COUNT = 4
_UNIT_SHARE = 16
_UNIT_CELLS = 1 << 21
_MOST_HELD_OUT = 20_000
_LARGEST_SHARE = 0.125
_SALT = np.uint64(0x5851F42D4C957F2D)


def learn(pairs: Pairs, *, table_mib: int, workers: int) -> Lexicon:
    """Learns which words go with which, and what that says of a pair.

    The same pairs in the same order give the same lexicon, however they are cut into columns and
    for any number of workers. A pair counts four times at most, wherever it stands; near-duplicates
    are the caller's to remove.

    Args:
        pairs: Gives the sample from its beginning at each call, as columns of left and right texts
            of any lengths. It is called twice.
        table_mib: Memory of the table of counts in MiB; 150 more are needed besides.
        workers: Threads.

    Returns:
        A lexicon; one that answers NaN to everything if the sample is too small to tell.
    """
    with ThreadPoolExecutor(workers) as executor:
        left, right, total = _count_vocabularies(pairs, table_mib, executor, workers)
        meetings = Meetings(left, right, pairs=total, table_mib=table_mib)
        held_out = []
        share = min(_MOST_HELD_OUT / max(total, 1), _LARGEST_SHARE)
        for piece in read_pieces(pairs, executor, workers):
            is_held_out = _draw(piece.keys, share)
            held_out.append(packed_pairs(piece, np.flatnonzero(is_held_out)))
            meetings.count(take_pairs(piece, np.flatnonzero(~is_held_out)), executor, workers)
    release_freed_memory()  # of the reading, before the tables are made
    tables = side_tables((left.units, right.units), strongest_partners(meetings))
    return Lexicon(tables, calibrate(tables, joined_pairs(held_out)), total)


def _count_vocabularies(
    pairs: Pairs, table_mib: int, executor: Executor, workers: int
) -> tuple[Vocabulary, Vocabulary, int]:
    """The frequent units of both sides, and how many pairs there are."""
    tables = [make_table(max(table_mib // _UNIT_SHARE, 1), _UNIT_CELLS) for _ in range(2)]
    bounds = [len(tables[0]) * worker // workers for worker in range(workers + 1)]
    total = 0
    for piece in read_pieces(pairs, executor, workers):
        total += len(piece.keys)
        tasks = [
            executor.submit(count_units, *side, table, first, last)
            for side, table in zip((piece.left, piece.right), tables, strict=True)
            for first, last in pairwise(bounds)
        ]
        for task in tasks:
            task.result()
    left, right = (frequent_units(table, _LEAST_COUNT) for table in tables)
    return left, right, total


def _draw(keys: Units, share: float) -> NDArray[np.bool_]:
    """Draws about that share of the pairs by their hashes; equal pairs share their lot."""
    mixed = (keys ^ _SALT) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(40)) < np.uint64(share * (1 << 24))
