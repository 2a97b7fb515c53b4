"""The two-batch estimator finds the noise scale of a problem whose noise scale is known."""

import numpy as np
import pytest

from src.training.noise import NoiseScale


def test_noise_scale_of_gradients_with_known_mean_and_variance():
    """Per-pair gradients g + ε in 50 dimensions: |G|² = 2, tr Σ = 100, so the scale is 50 pairs."""
    random = np.random.default_rng(5)
    mean = np.full(50, np.sqrt(2 / 50))
    noise = NoiseScale()
    for _ in range(600):
        gradients = mean + random.normal(0, np.sqrt(2), (64, 50))
        big, small = gradients.mean(axis=0), gradients[:8].mean(axis=0)
        noise.add(
            small_square=float(small @ small),
            small_pairs=8,
            big_square=float(big @ big),
            big_pairs=64,
        )
    assert noise.pairs == pytest.approx(50, rel=0.15)


def test_nothing_is_claimed_before_anything_was_seen_or_where_it_makes_no_sense():
    noise = NoiseScale()
    assert noise.pairs is None
    noise.add(small_square=1.0, small_pairs=1, big_square=2.0, big_pairs=4)
    assert noise.pairs is None  # the small batch's gradient was the shorter one
