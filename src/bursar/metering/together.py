"""Small requests that come in at the same time are booked together: one transaction instead of one for each.

Whoever comes while nobody books goes at once and waits for nobody. Those who come meanwhile wait, and the first of them then
books for all of them. What each is told is what it would have been told had they come one after the other.
"""

import logging
import threading
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import connection

from bursar.kernel.errors import DomainError
from bursar.metering.answers import Answer
from bursar.metering.errors import BookingBrokeOff, Fault
from bursar.metering.reports import Report
from bursar.metering.services import OrderCounts, post_as_one, post_reports
from bursar.structure.models import Person

log = logging.getLogger(__name__)

# A request of more reports pays for itself; and so many at once are booked before the first of them waits too long.
REPORTS_MAX: Final = 20
TOGETHER_MAX: Final = 200
# After a group that could not be booked as one so many requests go one by one: the next would mostly fare no better.
APART: Final = 50


@dataclass(eq=False, slots=True)
class _Request:
    """One request that waits.

    woken     set when it was booked, or when it is its turn to book
    outcome   its answer or what it is refused with; None while it was not booked
    """

    reports: Sequence[Report]
    by: Person | None
    at: datetime
    woken: threading.Event = field(default_factory=threading.Event)
    outcome: Answer | Exception | None = None


@dataclass(slots=True)
class _Line:
    """The requests of one person in one category, while one of them books."""

    waiting: deque[_Request] = field(default_factory=deque)
    apart: int = 0


_guard: Final = threading.Lock()
_lines: Final[dict[Hashable, _Line]] = {}


def post_together(
    *, reports: Sequence[Report], faults: Sequence[Fault] = (), by: Person | None, at: datetime
) -> Answer:
    """As `post_reports`, for requests of which many come at the same time.

    raises   as `post_reports`; BookingBrokeOff
    """
    if faults or connection.in_atomic_block or not _may_wait(reports, at):
        return post_reports(reports=reports, faults=faults, by=by, at=at)
    # What a token may do is looked up once for all of a group, so all of it has to be of the same.
    key = (reports[0].category_id, by and by.pk, by and by.limits)
    mine = _Request(reports, by, at)
    with _guard:
        line = _lines.get(key)
        if line is None:
            line = _lines[key] = _Line()
            mine.woken.set()
        else:
            line.waiting.append(mine)
    mine.woken.wait()
    if mine.outcome is None:
        _lead(key, line, mine)
    assert mine.outcome is not None
    if isinstance(mine.outcome, Exception):
        raise mine.outcome
    return mine.outcome


def _may_wait(reports: Sequence[Report], at: datetime) -> bool:
    """Whether it makes no difference beside which others they are booked: past use that only adds up, in one category."""
    return 0 < len(reports) <= REPORTS_MAX and all(
        report.category_id == reports[0].category_id
        and report.amount_ticks >= 0
        and not (report.is_absolute or report.scope or report.corrects)
        and report.period_end.tzinfo is not None
        and report.period_end <= at
        for report in reports
    )


def _lead(key: Hashable, line: _Line, mine: _Request) -> None:
    """Book for all who wait, then leave the lead to the next. However this ends, nobody is left waiting."""
    group = [mine]
    with _guard:
        count = len(mine.reports)
        while line.waiting and (count := count + len(line.waiting[0].reports)) <= TOGETHER_MAX:
            group.append(line.waiting.popleft())
    try:
        _book(line, group)
    finally:
        for other in group[1:]:
            if other.outcome is None:
                other.outcome = BookingBrokeOff()
            other.woken.set()
        with _guard:
            if line.waiting:
                line.waiting.popleft().woken.set()
            else:
                del _lines[key]


def _book(line: _Line, group: list[_Request]) -> None:
    if len(group) > 1 and not line.apart:
        try:
            answers = post_as_one(
                requests=[one.reports for one in group], by=group[0].by, at=max(one.at for one in group)
            )
        except (DomainError, OrderCounts):  # one is at fault, and nobody else is to suffer from it
            line.apart = APART
        else:
            for one, answer in zip(group, answers, strict=True):
                one.outcome = answer
            return
    for one in group:
        line.apart = max(0, line.apart - 1)
        try:
            one.outcome = post_reports(reports=one.reports, by=one.by, at=one.at)
        except DomainError as refusal:
            one.outcome = refusal
        except Exception:
            if one is group[0]:
                raise
            log.exception("reports could not be booked")
            one.outcome = BookingBrokeOff()
