"""The periods of a gift: once, or every so many calendar months from its start."""

from calendar import monthrange
from datetime import datetime

from bursar.grants.models import Gift


def plus_months(start: datetime, months: int) -> datetime:
    """The same day so many months later; the last of the month where that one is shorter."""
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def period_of(gift: Gift, at: datetime) -> tuple[int, datetime]:
    """The number of the period in which the instant lies, from 0, and where it ends; the gift's end ends the last."""
    if not gift.every_months:
        return 0, gift.end
    number = 0
    while plus_months(gift.start, (number + 1) * gift.every_months) <= at:
        number += 1
    return number, min(gift.end, plus_months(gift.start, (number + 1) * gift.every_months))
