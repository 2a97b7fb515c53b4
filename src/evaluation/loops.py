"""Recognising a decoder that is caught in a loop: "I think that I think that I think that".

A weak model that starts to repeat itself goes on to the length limit, which costs time and ruins
the length ratio. Decoding asks after every token whether the end of a row is such a loop.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

# A loop is an n-gram of up to LONGEST_LOOP tokens that stands at least LOOP_REPEATS times in a row
# and fills at least LOOP_TOKENS tokens: shorter runs occur in honest text ("1 000 000 000").
LONGEST_LOOP = 32
LOOP_REPEATS = 4
LOOP_TOKENS = 32


def loop_lengths(tokens: Ids) -> Ids:
    """Length of the n-gram that the end of each row repeats, the shortest one; 0 if none.

    Args:
        tokens: `[B, steps]`, the tokens produced so far.

    Returns:
        `[B]`, 0 to LONGEST_LOOP.
    """
    steps = tokens.shape[1]
    lengths = np.zeros(len(tokens), dtype=np.int64)
    for length in range(min(LONGEST_LOOP, steps // LOOP_REPEATS), 0, -1):
        span = _span(length)
        if span <= steps:
            tail = tokens[:, steps - span :]
            lengths[(tail[:, length:] == tail[:, :-length]).all(axis=1)] = length
    return lengths


def without_loop(tokens: Ids, loop_length: int) -> list[int]:
    """Cuts the loop at the end of a row down to its first copy.

    Args:
        tokens: `[steps]`.
        loop_length: What `loop_lengths` said of the row; 0 leaves it whole.
    """
    excess = _span(loop_length) - loop_length if loop_length else 0
    ids: list[int] = tokens[: len(tokens) - excess].tolist()
    return ids


def _span(length: int) -> int:
    """Tokens at the end that must repeat an n-gram of this length."""
    return max(LOOP_REPEATS * length, LOOP_TOKENS)
