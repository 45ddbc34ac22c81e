"""What a giver can still promise: least over a period, so that a promise holds on each of its days."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """An allocation, in ticks of its category; open in `[start, end)`, microseconds since 1970."""

    quota: int
    drawn: int
    start: int
    end: int

    def is_open(self, at: int) -> bool:
        return self.start <= at < self.end


def left_to_promise(held: Sequence[Held], promised: Sequence[Held], *, start: int, end: int, percent: int = 100) -> int:
    """The most that can be promised throughout `[start, end)` without promising more than so many per cent of the quota.

    held      what the giver has; promised: what it gave on, which draws from the former
    percent   100 = each tick once; the giver's own use counts against it, use through promises only once
    returns   ticks; negative where more than that is promised already
    """
    # What is open changes at edges only, so one walk over them in order is enough, however much was promised.
    left, steps = 0, []
    for weight, rows in ((percent, held), (-100, promised)):
        for one in rows:
            ticks = weight * one.quota - 100 * one.drawn if rows is held else weight * (one.quota - one.drawn)
            if one.is_open(start):
                left += ticks
            elif start < one.start < end:
                steps.append((one.start, ticks))
            else:
                continue
            if one.end < end:
                steps.append((one.end, -ticks))
    least = left
    for _at, together in itertools.groupby(sorted(steps), key=lambda step: step[0]):
        left += sum(ticks for _instant, ticks in together)
        least = min(least, left)
    return least // 100


def held_from(held: Sequence[Held], at: int) -> int | None:
    """The first instant, not before `at`, at which something is open; None = never."""
    return min((max(one.start, at) for one in held if one.end > at), default=None)


def held_until(held: Sequence[Held], start: int) -> int:
    """Up to which instant something is open without a gap, from `start` on; `start` itself = nothing is."""
    until = start
    for one in sorted(held, key=lambda one: one.start):
        if one.start <= until < one.end:
            until = one.end
    return until
