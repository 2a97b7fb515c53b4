"""The section `interruption:`: what ends a run early, and what starts it again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from src.schema.base import NonNegativeInt, PositiveInt, Section
from src.schema.hours import Hours, Timezone

Positive = Annotated[float, Field(gt=0)]


class SuperviseConfig(Section):
    """`run.py teacher --supervise`: starting a run again when it ended before its end."""

    most_restarts: NonNegativeInt = 100
    """Starts again, over the whole run."""
    most_without_progress: PositiveInt = 3
    """Crashes in a row without a newer checkpoint after which it gives up."""
    first_wait_seconds: Positive = 5.0
    """Wait before starting again after progress; doubles while there is none."""
    longest_wait_seconds: Positive = 300.0
    """Longest wait before starting again."""


class InterruptionConfig(Section):
    """Reasons to save and stop besides signals, and what happens then."""

    reclaim_notice: Literal["auto", "always", "never"] = "auto"
    """Whether training asks the instance's metadata service if the machine is about to be taken
    away. auto: on Alibaba Cloud's machines."""
    metadata_url: str = Field(default="http://100.100.100.200", pattern=r"^https?://[^\s/?#]+$")
    """Address of that service."""
    poll_seconds: Positive = 5.0
    """Seconds between two questions. The notice comes 5 minutes ahead."""
    off_peak: Hours | None = None
    """Hours of the day in which training runs, e.g. "00:00-08:00"; at their end it saves and stops,
    and `--supervise` goes on when they begin again. null: any time."""
    timezone: Timezone = "Asia/Shanghai"
    """Time zone of `off_peak`."""
    supervise: SuperviseConfig = SuperviseConfig()
