"""Months, quarters and years of the calendar, and when their days begin in a time zone."""

from calendar import monthrange
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

FIRST_HALF: Final = 15  # days; the rest of the month is the second half
MONTHS_IN: Final = {"month": 1, "quarter": 3, "year": 12}


class Month(NamedTuple):
    year: int
    month: int

    @classmethod
    def of(cls, instant: datetime, zone: tzinfo) -> "Month":
        local = instant.astimezone(zone)
        return cls(local.year, local.month)

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def days(self) -> int:
        return monthrange(self.year, self.month)[1]

    def plus(self, months: int) -> "Month":
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def start(self, zone: tzinfo) -> datetime:
        return day_starts(self, zone)[0]

    def end(self, zone: tzinfo) -> datetime:
        return day_starts(self, zone)[-1]

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@lru_cache(maxsize=1024)
def months_of(period: str, month: Month) -> tuple[Month, ...]:
    """The calendar months of the month, quarter or year that a month belongs to, in order."""
    length = MONTHS_IN[period]
    first = month.plus(-((month.month - 1) % length))
    return tuple(first.plus(i) for i in range(length))


@lru_cache(maxsize=1024)
def days_of(period: str, month: Month) -> int:
    """Days in the month, quarter or year that a month belongs to."""
    return sum(m.days for m in months_of(period, month))


@lru_cache(maxsize=1024)
def day_starts(month: Month, zone: tzinfo) -> tuple[datetime, ...]:
    """The instants at which the days of a month begin, and at last the one at which the next month does, in UTC.

    A day whose midnight does not exist begins where the clock was put forward; one with two midnights at the first.
    """
    days = [date(month.year, month.month, day) for day in range(1, month.days + 1)]
    days.append(month.plus(1).first)
    return tuple(datetime(d.year, d.month, d.day, tzinfo=zone).astimezone(UTC) for d in days)
