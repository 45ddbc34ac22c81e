"""What was in force when."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Generic, TypeVar

T = TypeVar("T")


class Steps(Generic[T]):
    """A value that holds from an instant on until the next one; before the first there is none.

    Made from (instant, number, value) in any order; of two for one instant the one with the greater number counts.

    ats      aware UTC instants, strictly rising
    values   as many
    """

    __slots__ = ("ats", "values")

    def __init__(self, facts: Iterable[tuple[datetime, int, T]]) -> None:
        # In UTC: instants of different zones are slow to compare, and unequal to themselves in an hour that comes twice.
        rows = [(at.astimezone(UTC), number, value) for at, number, value in facts]
        if len(rows) > 1:
            rows.sort(key=_place)
        last = {at: value for at, _, value in rows}
        self.ats: list[datetime] = list(last)
        self.values: list[T] = list(last.values())

    def at(self, instant: datetime) -> T | None:
        """What is in force at an instant; from its own on, a value counts."""
        place = bisect_right(self.ats, instant)
        return self.values[place - 1] if place else None

    def before(self, instant: datetime) -> T | None:
        """What was in force up to an instant; a value from that very instant does not count yet."""
        place = bisect_left(self.ats, instant)
        return self.values[place - 1] if place else None

    def between(self, start: datetime, end: datetime) -> range:
        """The places of the values whose instants lie after `start` and before `end`."""
        return range(bisect_right(self.ats, start), bisect_left(self.ats, end))


def _place(row: tuple[datetime, int, T]) -> tuple[datetime, int]:
    return row[0], row[1]
