"""A report as it is handed in, and what it comes down to: a difference at a wallet, at an instant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from bursar.accounting.books import micros
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.errors import Fault, fault

AHEAD_MAX: Final = timedelta(minutes=5)
TEXT_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says was used, in ticks of the category, during `[period_start, period_end)`.

    report_id    chosen by the provider, once per category and for ever
    is_absolute  the amount is a level, not a difference
    scope        what the level is of (a job, a drive); "" is the whole wallet
    corrects     the id of the report whose amount this one replaces; scope, kind and instant are that one's
    user         the name of the user at the provider, and `person_id` who that is, where it is known
    """

    report_id: str
    category_id: int
    workspace_id: int
    amount_ticks: int
    period_start: datetime
    period_end: datetime
    is_absolute: bool = False
    scope: str = ""
    corrects: str = ""
    resource_id: int | None = None
    person_id: int | None = None
    user: str = ""
    job: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def used_at(self) -> datetime:
        """The last instant of the period."""
        return self.period_end - timedelta(microseconds=1)

    @property
    def order(self) -> tuple[datetime, str]:
        """Of two levels of one scope the one with the greater order counts."""
        return (self.period_end, self.report_id)


def content_hash(report: Report) -> bytes:
    """What makes two reports with one id the same; who the user is to us may be learned later and is left out."""
    content = (
        report.workspace_id,
        report.amount_ticks,
        micros(report.period_start),
        micros(report.period_end),
        report.is_absolute,
        report.scope,
        report.corrects,
        report.resource_id,
        report.user,
        report.job,
        sorted(report.labels.items()),
    )
    return blake2b(msgspec.json.encode(content), digest_size=16).digest()


def faults_of(reports: list[Report], at: datetime) -> list[Fault]:
    """What is wrong with reports by themselves, at most one fault for each."""
    latest = at + AHEAD_MAX
    found = []
    for index, report in enumerate(reports):
        code = _fault_of(report, latest)
        if code:
            found.append(fault(index, report.report_id, code))
    return found


def _fault_of(report: Report, latest: datetime) -> str:
    if not report.report_id:
        return "report_id_missing"
    texts = (report.report_id, report.scope, report.corrects, report.user, report.job)
    if max(map(len, texts)) > TEXT_MAX:
        return "text_too_long"
    if any("\0" in text for text in texts):  # PostgreSQL cannot hold it
        return "text_too_long"
    if not -TICKS_MAX <= report.amount_ticks <= TICKS_MAX:
        return "overflow"
    if report.period_start.tzinfo is None or report.period_end.tzinfo is None:
        return "period_without_time_zone"
    if report.period_end <= report.period_start:
        return "period_empty"
    if report.used_at > latest:
        return "in_the_future"
    if report.is_absolute and report.amount_ticks < 0:
        return "negative_level"
    return ""
