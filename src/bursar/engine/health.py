"""How well a quota is used: in good order, at risk, idle or under-used; and how far more was given out than is held.

Instants and stretches are whole microseconds, amounts whole ticks; shares are exact fractions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

DAY: Final = 86_400_000_000
AHEAD: Final = 30 * DAY
IDLE_AFTER: Final = 30 * DAY
USED_UP: Final = Fraction(9, 10)
USED_UP_SOON: Final = Fraction(8, 10)
BEHIND: Final = Fraction(1, 2)
# What an allocation must hold of all that was given, for its end to count as the next expiry.
MEANINGFUL: Final = Fraction(1, 10)


class Health(StrEnum):
    OK = "ok"
    AT_RISK = "at_risk"
    IDLE = "idle"
    UNDER_USED = "under_used"


@dataclass(frozen=True, slots=True)
class Held:
    """An allocation that is not closed: what it allows, what is drawn through it, and its window `[start, end)`."""

    quota: int
    drawn: int
    start: int
    end: int

    def holds(self, at: int) -> bool:
        return self.start <= at < self.end


def expected(held: Iterable[Held], now: int) -> Fraction:
    """What would be used by now of the allocations that are open, if each were used evenly from its start to its end."""
    return sum(
        (Fraction(one.quota * (now - one.start), one.end - one.start) for one in held if one.holds(now)), Fraction(0)
    )


def health(held: Sequence[Held], *, used_lately: bool, is_over_time: bool, now: int) -> Health | None:
    """How a holder uses what it has from one source; None when nothing of it is open.

    held          its allocations from that source, closed ones left out; what is drawn through one that has ended counts
                  no more: a renewed quota begins at nothing
    used_lately   whether anything was used through them in the last 30 days

    At risk: nine tenths of what is open are used, or four fifths of what will still hold in 30 days where that is less;
    one of which nothing is used runs no risk. Idle: nothing was used for 30 days, and one has been open that long; a level
    that stands is in use although it does not change. Under-used: less than half of what an even use would have used by now.
    """
    running = [one for one in held if one.holds(now)]
    if not running:
        return None
    quota = sum(one.quota for one in running)
    used = sum(one.drawn for one in running)
    later = sum(one.quota for one in held if one.holds(now + AHEAD))
    if used and (used >= USED_UP * quota or (later < quota and used >= USED_UP_SOON * later)):
        return Health.AT_RISK
    unused = not used_lately and (is_over_time or not used)
    if unused and min(one.start for one in running) <= now - IDLE_AFTER:
        return Health.IDLE
    if used < BEHIND * expected(running, now):
        return Health.UNDER_USED
    return Health.OK


def over_commitment(given: int, held: int) -> Fraction | None:
    """Quota given out for quota held: 3/2 = half as much again as there is. None where nothing is held."""
    return Fraction(given, held) if held else None


def next_expiry(given: Iterable[Held], now: int) -> int | None:
    """The first end of an open allocation that holds at least a tenth of all that is given out."""
    running = [one for one in given if one.holds(now)]
    total = sum(one.quota for one in running)
    return min((one.end for one in running if one.quota >= MEANINGFUL * total), default=None)


def recommended_over_commitment(
    given: Sequence[Held], *, held: int, used_here: Fraction | int = 0, is_over_time: bool, now: int
) -> Fraction | None:
    """The over-commitment with which nine tenths of what is held would be used at the next expiry.

    given       the allocations to others, closed ones left out
    held        the quota of the giver
    used_here   what the giver will itself have used by then, not through those it gave to
    returns     None where nothing is given, held or used, so that no pace is known

    Those who got quota use a certain part of it: all that each has drawn since its start, carried on at the same pace to
    the expiry or its own end (a level stays as it is). With more or less given out, the same part of it would be used.
    """
    running = [one for one in given if one.holds(now) and one.start < now]
    expiry = next_expiry(given, now)
    if expiry is None or not held:
        return None
    quota = sum(one.quota for one in given if one.holds(now))
    by_then = sum((paced(one, expiry, is_over_time=is_over_time, now=now) for one in running), Fraction(0))
    if by_then <= 0:
        return None
    room = max(Fraction(0), USED_UP * held - used_here)
    return room * quota / by_then / held


def paced(one: Held, until: int, *, is_over_time: bool, now: int) -> Fraction:
    """What an open allocation will have drawn at an instant (at most its end) at the pace since its start."""
    if not is_over_time or one.start >= now:
        return Fraction(one.drawn)
    return Fraction(one.drawn * (min(until, one.end) - one.start), now - one.start)
