"""The rows that may be chosen, as every strategy sees them: blocks of columns, read when needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, read_only
from src.corpus.mixing import mix
from src.corpus.sampling.grams import Hashes
from src.corpus.texts import Texts

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int], None]


class Pool(Protocol):
    """Candidates in blocks of about 50,000 rows.

    Every method may be called from several threads and several times, and answers the same each
    time. Nothing is kept between calls, so a block's columns cost memory only while it is used.
    """

    @property
    def block_count(self) -> int:
        """Blocks; one may be empty."""

    def rows(self, block: int) -> int:
        """Candidates in a block."""

    def keys(self, block: int) -> NDArray[np.uint64]:
        """`[n]` hash of each pair's content; equal keys mean equal pairs."""

    def scores(self, block: int) -> NDArray[np.float32]:
        """`[n]` quality of each pair, finite, higher is better."""

    def weight(self, block: int) -> float:
        """How eagerly the pairs of a block are chosen, above 0; 1 is ordinary."""

    def texts(self, block: int) -> tuple[Texts, Texts]:
        """`[n]` left and right sides."""


def priorities(keys: Hashes, seed: int) -> Hashes:
    """`[n]` a pseudo-random place of each row in the order of all, from content and seed only."""
    # The seed counts even where a key is 0, the fixed point of the mixing.
    return _mixed(
        read_only(keys), np.uint64((seed * 0x9E3779B97F4A7C15 + 0xD1342543DE82EF95) % 2**64)
    )


@compiled
def _mixed(keys: Hashes, seed: np.uint64) -> Hashes:
    mixed = np.empty_like(keys)
    seed = mix(seed)
    for index in range(len(keys)):
        mixed[index] = mix(mix(keys[index]) ^ seed)
    return mixed


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Runs a function over tasks in threads and yields the results in the order of the tasks.

    At most one task more than there are threads is begun ahead of what was taken, so that memory is
    bounded whatever the number of tasks.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as executor:
        try:
            for task in tasks:
                if len(pending) > workers:
                    yield pending.popleft().result()
                pending.append(executor.submit(function, task))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
