"""Hours of the day, and the place on earth where the day is meant."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


def _require_hours(value: str) -> str:
    if not _HOURS.fullmatch(value) or value[:5] == value[6:]:
        raise ValueError("write it as HH:MM-HH:MM with two different times, e.g. 00:00-08:00")
    return value


def _require_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a known time zone; write it as Asia/Shanghai or UTC") from None
    return value


Hours = Annotated[str, AfterValidator(_require_hours)]
"""`"22:00-06:30"`, over midnight if written so."""
Timezone = Annotated[str, AfterValidator(_require_timezone)]
"""A name such as `"Asia/Shanghai"`."""
