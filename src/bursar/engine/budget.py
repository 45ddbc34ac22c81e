"""When spending passes the thresholds of a budget, and what it is likely to come to."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

TOTAL_STRETCH: Final = date(1970, 1, 1)
"""The stretch of a budget without an end: its name in tables."""


@dataclass(frozen=True, slots=True, order=True)
class Threshold:
    """percent   of the budget, from 1; action   tell | hold | pause"""

    percent: int
    action: str


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that is passed and whose action stands. stretch   the first day of what it was passed in"""

    stretch: date
    threshold: Threshold


@dataclass(frozen=True, slots=True)
class Turn:
    """What has to change so that the crossings are as they are to be.

    begin   the lowest threshold first
    end     as they were given
    """

    begin: tuple[Threshold, ...]
    end: tuple[Crossing, ...]


def stretch_of(span: str, day: date) -> date:
    """The first day of the month or year that a day lies in; of a total always the same."""
    if span == "total":
        return TOTAL_STRETCH
    return day.replace(day=1) if span == "month" else day.replace(month=1, day=1)


def is_in(span: str, stretch: date, month: date) -> bool:
    """Whether a month, told by its first day, belongs to a stretch of a budget."""
    return stretch_of(span, month) == stretch


def is_reached(spent: Decimal, amount: Decimal, percent: int) -> bool:
    """Whether so many per cent are spent, exactly. A budget of nothing is passed by the first cent, and not before."""
    return spent > 0 and spent * 100 >= amount * percent


def turn(
    *,
    stretch: date,
    spent: Decimal,
    amount: Decimal,
    thresholds: Iterable[Threshold],
    standing: Iterable[Crossing],
) -> Turn:
    """Which crossings begin and which end.

    spent, amount   in one currency; spent may be negative where more was taken back than billed
    thresholds      those in force
    standing        the crossings that have not ended, of this stretch and of earlier ones
    """
    standing = tuple(standing)
    due = {threshold for threshold in thresholds if is_reached(spent, amount, threshold.percent)}
    over = tuple(c for c in standing if c.stretch != stretch or c.threshold not in due)
    kept = {c.threshold for c in standing if c.stretch == stretch}
    return Turn(begin=tuple(sorted(due - kept)), end=over)


def expected(spent: Decimal, used: Decimal, elapsed: Fraction) -> Fraction:
    """What spending is likely to be at the end of the month, if use goes on as it went so far.

    spent     so far, with fixed prices and limits, which are billed for the whole month from its first day on
    used      the part of it that is billed by use in this month
    elapsed   the part of the month that is over; at its very beginning nothing can be said of use
    """
    if elapsed <= 0 or elapsed >= 1:
        return Fraction(spent)
    return Fraction(spent) + Fraction(used) * (1 - elapsed) / elapsed
