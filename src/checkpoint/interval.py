"""How often to save: often enough that a lost machine costs little, seldom enough to get on.

With stalls of δ seconds per save and failures that come at random every M seconds of up-time on
average, the run's expected length is shortest at the interval of Daly, "A higher order estimate of
the optimum checkpoint interval for restart dumps" (2006), eq. 37; its first term is Young's (1974):

    τ = √(2 δ M) · (1 + ⅓ √(δ / 2M) + ⅑ δ / 2M) - δ      for δ < 2 M, else M

The optimum is flat: an interval wrong by a factor of two costs a few percent of the loss.
"""

from __future__ import annotations

import math

SHORTEST_SECONDS = 60.0
"""Below this the background writing of one checkpoint would meet the next."""
LONGEST_SECONDS = 3600.0
"""What nobody wants to lose, however reliable the machine seems."""
EXPECTED_UPTIME_SECONDS = 4 * 3600.0
"""Mean up-time of an interruptible machine before anything was observed; counts as one failure."""


def young_daly_interval(stall_seconds: float, mean_uptime_seconds: float) -> float:
    """The interval between saves that loses least, in seconds of computing.

    Args:
        stall_seconds: How long training stands still for a save, δ; 0 or more.
        mean_uptime_seconds: Mean time between interruptions, M; more than 0.

    Raises:
        ValueError: If a number is out of range.
    """
    if not (stall_seconds >= 0 and mean_uptime_seconds > 0):
        raise ValueError(
            f"a save of {stall_seconds} s with a mean up-time of {mean_uptime_seconds} s; give a "
            "stall of 0 or more and an up-time above 0"
        )
    ratio = stall_seconds / (2 * mean_uptime_seconds)
    if ratio >= 1:
        return mean_uptime_seconds
    series = 1 + math.sqrt(ratio) / 3 + ratio / 9
    return math.sqrt(2 * stall_seconds * mean_uptime_seconds) * series - stall_seconds


def observed_mean_uptime(up_seconds: float, interruptions: int) -> float:
    """Mean time between interruptions, as seen so far.

    One interruption after `EXPECTED_UPTIME_SECONDS` is counted in beforehand (the posterior mean of
    an exponential rate under that prior), so that the first hours do not decide alone.
    """
    return (up_seconds + EXPECTED_UPTIME_SECONDS) / (interruptions + 1)


def save_interval(stall_seconds: float, mean_uptime_seconds: float) -> float:
    """`young_daly_interval`, kept within an hour and a minute, in seconds.

    The lower bound rises with the stall, so that saving never takes more than a tenth of the time.
    """
    shortest = max(SHORTEST_SECONDS, 10 * stall_seconds)
    best = young_daly_interval(stall_seconds, mean_uptime_seconds)
    return max(shortest, min(LONGEST_SECONDS, best))
