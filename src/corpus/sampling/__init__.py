"""Choosing `sample_size` pairs of millions, and measuring what the choice covers.

`choose` marks the rows, `coverage` compares the choice with chance on held-out text; both
read their rows block by block from a `Pool`.
"""

from src.corpus.sampling.measuring import coverage
from src.corpus.sampling.pool import Pool
from src.corpus.sampling.strategies import Choice, Strategy, choose

__all__ = ["Choice", "Pool", "Strategy", "choose", "coverage"]
