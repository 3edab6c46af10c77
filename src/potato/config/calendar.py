"""Freezes: spans of time in which nothing starts. Pure; the time comes in.

Weekly ones are told in a time zone's own clock, so that 18:00 stays 18:00 when summer ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Span:
    """Once, from one time to another."""

    begin: datetime
    end: datetime

    def until(self, now: datetime) -> datetime | None:
        """When it ends, if it is now."""
        return self.end if self.begin <= now < self.end else None


@dataclass(frozen=True, slots=True)
class Weekly:
    """Each week from one weekday and time to another, such as Friday 18:00 to Monday 06:00. Days count from Monday as 0."""

    day: int
    hour: int
    minute: int
    end_day: int
    end_hour: int
    end_minute: int
    zone: str = "UTC"

    def until(self, now: datetime) -> datetime | None:
        """When it ends, if it is now."""
        zone = ZoneInfo(self.zone)
        here = now.astimezone(zone).replace(tzinfo=None)
        begin = _latest(here, self.day, self.hour, self.minute)
        end = _latest(begin + _WEEK, self.end_day, self.end_hour, self.end_minute)
        if end <= begin:
            end += _WEEK
        return end.replace(tzinfo=zone).astimezone(now.tzinfo) if here < end else None


def _latest(at: datetime, day: int, hour: int, minute: int) -> datetime:
    """The last such weekday and time that is not after `at`."""
    found = (at - timedelta(days=(at.weekday() - day) % 7)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return found if found <= at else found - _WEEK


Freeze = Span | Weekly
