"""What becomes of each readable row, as one byte."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from src.corpus.filters import Rule

Verdicts = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FIRST_RULE = 32
"""Code of the first filter rule; rule i has the code FIRST_RULE + i."""


class Verdict(IntEnum):
    """Verdicts other than a broken rule."""

    TRAIN = 0
    DEV = 1
    TEST = 2
    SAMPLED_OUT = 3
    DUPLICATE_PAIR = 4
    LOW_ADEQUACY = 5
    DUPLICATE_SIDE = 6
    TEMPLATE = 7
    NEAR_DUPLICATE = 8
    LEAKS_EVALUATION = 9
    LEAKS_HELD_OUT = 10


SPLITS = {"train": Verdict.TRAIN, "dev": Verdict.DEV, "test": Verdict.TEST}


def reasons(rules: Sequence[Rule]) -> dict[int, str]:
    """The reason that reports give, by the code of each verdict that drops a row."""
    return {
        **{
            int(verdict): verdict.name.lower()
            for verdict in Verdict
            if verdict >= Verdict.DUPLICATE_PAIR
        },
        **{FIRST_RULE + index: rule.reason for index, rule in enumerate(rules)},
    }
