"""Hours of the day in which training runs, e.g. when electricity or machines are cheap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class OffPeak:
    """Hours from `begin` to `end`, over midnight when they are written so.

    Attributes:
        begin, end: Times of the day; they differ.
        zone: Where the day is meant.
    """

    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, timezone: str) -> OffPeak:
        """`"22:00-06:30"`, `"Asia/Shanghai"`; the schema has checked both."""
        begin, end = (time.fromisoformat(part) for part in text.split("-"))
        return cls(begin, end, ZoneInfo(timezone))

    def contains(self, moment: datetime) -> bool:
        """Whether a moment (with time zone) lies in these hours."""
        local = moment.astimezone(self.zone).time().replace(tzinfo=None)
        if self.begin < self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end

    def next_begin(self, moment: datetime) -> datetime:
        """When these hours begin, after a moment."""
        return self._next(self.begin, moment)

    def next_end(self, moment: datetime) -> datetime:
        """When these hours end, after a moment."""
        return self._next(self.end, moment)

    def _next(self, hour: time, moment: datetime) -> datetime:
        local = moment.astimezone(self.zone)
        found = datetime.combine(local.date(), hour, self.zone)
        # Clocks on one wall are compared: where the hour changes, a day is no 24 hours.
        if found <= local:
            found = datetime.combine(local.date() + timedelta(days=1), hour, self.zone)
        return found
