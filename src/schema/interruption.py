"""The section `interruption:`: what ends a run early, and what starts it again."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from src.schema.base import NonNegativeInt, PositiveInt, Section

Positive = Annotated[float, Field(gt=0)]
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


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
    off_peak: str | None = None
    """Hours of the day in which training runs, e.g. "00:00-08:00"; at their end it saves and stops,
    and `--supervise` goes on when they begin again. null: any time."""
    timezone: str = "Asia/Shanghai"
    """Time zone of `off_peak`."""
    supervise: SuperviseConfig = SuperviseConfig()

    @field_validator("off_peak")
    @classmethod
    def _are_hours(cls, value: str | None) -> str | None:
        if value is not None and (not _HOURS.fullmatch(value) or value[:5] == value[6:]):
            raise ValueError("write it as HH:MM-HH:MM with two different times, e.g. 00:00-08:00")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("not a known time zone; write it as Asia/Shanghai or UTC") from None
        return value
