"""Half-open stretches of time."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)`, aware instants; `end` None = without end.

    raises   ValueError when an instant has no time zone or the end is not after the start
    """

    start: datetime
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or (self.end is not None and self.end.tzinfo is None):
            raise ValueError("a period needs aware instants")
        if self.end is not None and self.end <= self.start:
            raise ValueError("a period ends after it starts")

    def holds(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)
