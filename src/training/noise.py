"""The gradient noise scale: how large a batch still pays.

McCandlish et al., "An Empirical Model of Large-Batch Training" (2018), appendix A.1. With gradients
of two batch sizes b < B, squared norms |g_b|² and |g_B|² give unbiased estimates of the true
gradient's squared norm and of the variance of one pair's gradient:

    |G|² = (B |g_B|² - b |g_b|²) / (B - b)        S = (|g_b|² - |g_B|²) / (1/b - 1/B)

Their ratio S / |G|² is the noise scale in pairs: far below it twice the batch halves the steps, far
above it a larger batch is wasted. Single estimates are noisy, so both are averaged first.

The small batch is one micro-batch per rank, another one at each step. Micro-batches hold sentences
of similar length, so the estimate is somewhat high: it counts differences between lengths as noise.
"""

from __future__ import annotations

from dataclasses import dataclass

_DECAY = 0.98


@dataclass
class NoiseScale:
    """Running averages; saved with every checkpoint.

    Attributes:
        gradient: Of |G|², weighted by `weight`.
        variance: Of S, weighted likewise.
        weight: 1 - decay to the number of estimates; corrects for the start at zero.
    """

    gradient: float = 0.0
    variance: float = 0.0
    weight: float = 0.0

    def add(
        self, *, small_square: float, small_pairs: float, big_square: float, big_pairs: float
    ) -> None:
        """Takes in one step.

        Args:
            small_square: Mean of |g_b|², each the gradient of a mean over its own tokens.
            small_pairs: b, mean where small batches differ.
            big_square: |g_B|².
            big_pairs: B, more than b.
        """
        gradient = (big_pairs * big_square - small_pairs * small_square) / (big_pairs - small_pairs)
        variance = (small_square - big_square) / (1 / small_pairs - 1 / big_pairs)
        self.gradient = _DECAY * self.gradient + (1 - _DECAY) * gradient
        self.variance = _DECAY * self.variance + (1 - _DECAY) * variance
        self.weight = _DECAY * self.weight + (1 - _DECAY)

    @property
    def pairs(self) -> float | None:
        """The noise scale in pairs; None while the averages make no sense."""
        if self.weight == 0.0 or self.gradient <= 0 or self.variance <= 0:
            return None
        return self.variance / self.gradient
