"""Packing: several sequences in one row, so that pairs of any lengths pad each other's rows.

The sequences of a step are dealt out to about as few rows of the given width as hold them, the
longest first, each to the row that holds least so far (Graham, "Bounds on multiprocessing timing
anomalies", 1969). So the rows of a step are nearly equally long, and it is the longest of them, not
the given width, that a forward pass computes. Where dealing overflows a row, more rows are taken.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from src.tokens.columns import IntArray

# Rows that are added when they were too few, as a share of them: a 16th.
_GROWTH = 16


class Rows(NamedTuple):
    """The rows of a step, the shortest first.

    Attributes:
        order: The sequences as they lie in the rows, row after row `[B]`.
        counts: Sequences in each row `[R]`, at least one.
        lengths: Tokens in each row `[R]`, ascending.
    """

    order: IntArray
    counts: IntArray
    lengths: IntArray

    def sequences(self, begin: int, end: int) -> IntArray:
        """The sequences in rows `begin` to `end`, in order."""
        starts = np.concatenate(([0], np.cumsum(self.counts)))
        return self.order[starts[begin] : starts[end]]


def single_rows(lengths: IntArray) -> Rows:
    """A row for each sequence.

    Args:
        lengths: Tokens of each `[B]`, ascending.
    """
    return Rows(np.arange(len(lengths)), np.ones_like(lengths), lengths)


def pack_rows(lengths: IntArray, *, width: int, ranks: int, batch_size: int) -> Rows:
    """Several sequences in a row.

    The number of rows is a multiple of the number of forward passes where there are sequences
    enough: then no rank has more to do than another, and none has nothing.

    Args:
        lengths: Tokens of each sequence `[B]`, in any order.
        width: Most tokens in a row.
        ranks: Processes that share the rows.
        batch_size: Most rows in a forward pass.

    Raises:
        ValueError: If a sequence is longer than a row.
    """
    if not len(lengths) or lengths.max() > width:
        raise ValueError(f"rows of {width} tokens cannot hold sequences of {lengths.tolist()}")
    longest_first = np.argsort(-lengths, kind="stable")
    # Two sequences of more than half a row never share one.
    least = max(-(-int(lengths.sum()) // width), int((2 * lengths > width).sum()))
    while True:
        passes = ranks * -(-least // (ranks * batch_size))
        count = min(len(lengths), -(-least // passes) * passes)
        owners = _deal(lengths[longest_first].tolist(), rows=count, width=width)
        if owners is not None:
            break
        least = count + 1 + count // _GROWTH
    filled = np.bincount(owners, weights=lengths[longest_first], minlength=count).astype(np.int64)
    shortest_first = np.argsort(filled, kind="stable")
    places = np.empty_like(shortest_first)
    places[shortest_first] = np.arange(count)
    by_row = np.argsort(places[owners], kind="stable")
    return Rows(
        order=longest_first[by_row],
        counts=np.bincount(owners, minlength=count)[shortest_first],
        lengths=filled[shortest_first],
    )


def _deal(lengths: list[int], *, rows: int, width: int) -> IntArray | None:
    """The row of each of these sequences, which descend in length; None if a row overflows."""
    heap = [(0, row) for row in range(rows)]
    owners = []
    for length in lengths:
        filled, row = heap[0]
        if filled + length > width:
            return None
        heapq.heapreplace(heap, (filled + length, row))
        owners.append(row)
    return np.array(owners, dtype=np.int64)
