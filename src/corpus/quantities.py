"""The quantities of a pair that the report draws: how they are measured and binned."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

HISTOGRAM_EDGES: dict[str, NDArray[np.float64]] = {
    "english_words": np.linspace(0, 80, 41),
    "chinese_characters": np.linspace(0, 160, 41),
    "length_ratio": np.linspace(0.0, 3.0, 31),
    "score": np.linspace(0.0, 1.0, 26),
}


def measure(pairs: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Each quantity of N pairs, by its name in `HISTOGRAM_EDGES`, clipped to its range.

    Args:
        pairs: Columns en, zh, score and length_ratio.
    """
    spaces = pc.count_substring(pairs["en"], " ")
    columns = {
        "english_words": pc.add(spaces, 1),
        "chinese_characters": pc.utf8_length(pairs["zh"]),
        "length_ratio": pairs["length_ratio"],
        "score": pairs["score"],
    }
    return {
        name: np.clip(column.to_numpy().astype(np.float64), edges[0], edges[-1])
        for (name, column), edges in zip(columns.items(), HISTOGRAM_EDGES.values(), strict=True)
    }
