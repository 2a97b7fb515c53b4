"""The quantities of a pair that the report draws: how they are measured and binned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from src.corpus.texts import Texts

HISTOGRAM_EDGES: dict[str, NDArray[np.float64]] = {
    "left_characters": np.linspace(0, 400, 41),
    "right_characters": np.linspace(0, 400, 41),
    "length_ratio": np.linspace(0.0, 3.0, 31),
    "quality": np.linspace(0.0, 1.0, 26),
    "adequacy": np.linspace(0.0, 1.0, 26),
}
"""Edges of equally wide bins; what lies outside counts in the first or last."""

Histograms = dict[str, NDArray[np.int64]]


def histograms(left: Texts, right: Texts, columns: Mapping[str, NDArray[np.float32]]) -> Histograms:
    """Counts per bin of N pairs, for the quantities that are known; NaN counts nowhere.

    Args:
        left: N texts.
        right: N texts.
        columns: `[N]` each; those that name a quantity are counted.
    """
    measured: dict[str, NDArray[np.float32]] = {
        "left_characters": _characters(left),
        "right_characters": _characters(right),
        **{name: column for name, column in columns.items() if name in HISTOGRAM_EDGES},
    }
    return {
        name: counts_per_bin(values, HISTOGRAM_EDGES[name]) for name, values in measured.items()
    }


def _characters(texts: Texts) -> NDArray[np.float32]:
    lengths: pa.Array = pc.utf8_length(texts.to_arrow())
    return np.asarray(lengths.to_numpy(zero_copy_only=False), np.float32)


def counts_per_bin(values: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """`[bins]` how many values fall into each of the equally wide bins; NaN into none."""
    bins = len(edges) - 1
    places = (values[~np.isnan(values)] - edges[0]) * (bins / (edges[-1] - edges[0]))
    return np.bincount(np.clip(places.astype(np.int64), 0, bins - 1), minlength=bins)
