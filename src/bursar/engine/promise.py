"""What a giver can still promise: least over a period, so that a promise holds on each of its days."""

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
    edges = {one.start for one in (*held, *promised)} | {one.end for one in (*held, *promised)}
    instants = sorted({start, *(edge for edge in edges if start < edge < end)})
    return min(_left(held, promised, at, percent) for at in instants)


def _left(held: Sequence[Held], promised: Sequence[Held], at: int, percent: int) -> int:
    quota = sum(one.quota for one in held if one.is_open(at))
    drawn = sum(one.drawn for one in held if one.is_open(at))
    due = sum(one.quota - one.drawn for one in promised if one.is_open(at))
    return quota * percent // 100 - drawn - due


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
