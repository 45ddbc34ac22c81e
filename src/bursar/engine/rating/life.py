"""The life of a resource put in order: when it existed, when it was paused, and what of its days were like another."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bursar.engine.rating.facts import History
from bursar.engine.rating.steps import Steps

FOREVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
ENDED: Final = frozenset({"terminating", "terminated"})
AGAIN: Final = frozenset({"ok", "changing", "paused"})

Span = tuple[datetime, datetime]  # [start, end)


@dataclass(frozen=True, slots=True)
class Run:
    """Days on end of one month in which nothing turned after they began, or one day in which something did.

    first    day of the month, from 1
    days     how many
    pieces   the stretches of them in which the resource existed, at least one
    plan     in force at the end of each of the days, or when the resource ended on it; None = none yet
    paused   from the beginning to the end of each of the days
    """

    first: int
    days: int
    pieces: tuple[Span, ...]
    plan: int | None
    paused: bool


class Life:
    """What is known of a resource, in order and in UTC.

    A resource exists from its first `ok` until it is terminating or terminated, and again from a later ok, changing or
    paused. It is paused in that state, and while it is changing after it.
    """

    __slots__ = ("limits", "pauses", "plans", "spans", "turns")

    def __init__(self, history: History) -> None:
        states = Steps((fact.at, fact.number, fact.state) for fact in history.states)
        self.spans, self.pauses = _spans_and_pauses(states)
        self.plans = Steps((fact.at, fact.number, fact.plan) for fact in history.plans)
        components = {fact.component for fact in history.limits}
        self.limits = {
            component: Steps((f.at, f.number, f.limit) for f in history.limits if f.component == component)
            for component in components
        }
        turns = {*states.ats, *self.plans.ats}
        for steps in self.limits.values():
            turns.update(steps.ats)
        self.turns = sorted(turns)

    def exists_in(self, start: datetime, end: datetime) -> bool:
        return any(a < end and b > start for a, b in self.spans)

    def exists_at(self, instant: datetime) -> bool:
        return any(a <= instant < b for a, b in self.spans)

    def runs(self, starts: tuple[datetime, ...], prices: tuple[datetime, ...]) -> Iterator[Run]:
        """The days on which the resource existed, as few runs as the facts allow.

        starts   when the days of the month begin, and the next month
        prices   the instants from which some price is in force, in order; days on which one turns stand apart as well
        """
        cuts = {0, len(starts) - 1}
        for turns in (self.turns, prices):
            for place in range(bisect_right(turns, starts[0]), bisect_left(turns, starts[-1])):
                day = bisect_right(starts, turns[place]) - 1
                cuts.add(day)
                if turns[place] != starts[day]:
                    cuts.add(day + 1)
        edges = sorted(cuts)
        for i in range(len(edges) - 1):
            first, after = edges[i], edges[i + 1]
            begin, end = starts[first], starts[after]
            pieces = tuple((max(a, begin), min(b, end)) for a, b in self.spans if a < end and b > begin)
            if pieces:
                paused = any(a <= begin and b >= end for a, b in self.pauses)
                yield Run(first + 1, after - first, pieces, self.plans.before(pieces[-1][1]), paused)


def _spans_and_pauses(states: Steps[str]) -> tuple[list[Span], list[Span]]:
    spans: list[Span] = []
    pauses: list[Span] = []
    began: datetime | None = None
    stopped: datetime | None = None
    for at, state in zip(states.ats, states.values, strict=True):
        starts = state in AGAIN if spans else state == "ok"
        if began is None and starts:
            began = at
        elif began is not None and state in ENDED:
            spans.append((began, at))
            began = None
        if began is not None and state == "paused":
            stopped = stopped or at
        elif stopped is not None and not (began is not None and state == "changing"):
            pauses.append((stopped, at))
            stopped = None
    if began is not None:
        spans.append((began, FOREVER))
    if stopped is not None:
        pauses.append((stopped, FOREVER))
    return spans, pauses
