"""The divergences of distillation and their gradients in float64, as their formulas say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log_softmax(logits: Array) -> Array:
    """Of the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def divergence_of(name: str, log_p: Array, log_q: Array, mixture: float) -> float:
    """The measure of that name, summed over positions `[P, V]`."""
    p, q = np.exp(log_p), np.exp(log_q)
    m = mixture * p + (1 - mixture) * q
    values = {
        "forward_kl": lambda: p * (log_p - log_q),
        "reverse_kl": lambda: q * (log_q - log_p),
        "jsd": lambda: mixture * p * (log_p - np.log(m)) + (1 - mixture) * q * (log_q - np.log(m)),
        "skewed_kl": lambda: p * (log_p - np.log(m)),
    }
    return float(values[name]().sum())


def numeric_gradient(function, logits: Array, *, step: float = 1e-5) -> Array:
    """Central differences of a function of logits `[P, V]`."""
    gradient = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        values = []
        for sign in (1, -1):
            moved = logits.copy()
            moved[place] += sign * step
            values.append(function(moved))
        gradient[place] = (values[0] - values[1]) / (2 * step)
    return gradient
