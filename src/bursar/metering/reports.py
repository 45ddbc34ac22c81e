"""A report as it is handed in, and a request of many as columns."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np

from bursar.accounting.books import EPOCH, all_micros, micros
from bursar.engine.ledger.book import Ints, Mask
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.errors import Fault, fault

AHEAD_MAX: Final = timedelta(minutes=5)
TEXT_MAX: Final = 200


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
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
    labels: dict[str, str] = {}

    @property
    def used_at(self) -> datetime:
        """The last instant of the period."""
        return self.period_end - timedelta(microseconds=1)

    @property
    def order(self) -> tuple[datetime, str]:
        """Of two levels of one scope the one with the greater order counts."""
        return (self.period_end, self.report_id)


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A report as it may come in: what a resource and its component say already may be left out.

    component   key of the resource's component that was used; "" where `category_id` says which
    """

    report_id: str
    amount_ticks: int
    period_start: datetime
    period_end: datetime
    category_id: int | None = None
    workspace_id: int | None = None
    component: str = ""
    is_absolute: bool = False
    scope: str = ""
    corrects: str = ""
    resource_id: int | None = None
    person_id: int | None = None
    user: str = ""
    job: str = ""
    labels: dict[str, str] = {}


_encode: Final = msgspec.json.Encoder().encode
# msgspec makes each report a dictionary of its own, most of them empty.
_NO_LABELS: Final[list[tuple[str, str]]] = []


def are_plain(reports: Sequence[Report]) -> bool:
    """Whether all are differences of whole wallets that correct nothing: then nothing stored has to be looked at."""
    return not any(report.is_absolute or report.scope or report.corrects for report in reports)


def people_named(reports: Sequence[Report]) -> set[int]:
    return {report.person_id for report in reports if report.person_id is not None}


_BLANK: Final = blake2b(digest_size=16)


def _digest(content: bytes) -> bytes:
    made = _BLANK.copy()  # quicker than one that is set up anew
    made.update(content)
    return made.digest()


class Columns:
    """Reports by columns, in their order.

    ends     of their periods, where they are known already
    raises   OverflowError where an amount or an id does not fit an int64; TypeError where an instant has no time zone
    """

    def __init__(self, reports: Sequence[Report], ends: Ints | None = None) -> None:
        self.reports = reports
        self.report_ids = [report.report_id for report in reports]
        self.workspace_ids: Ints = np.array([report.workspace_id for report in reports], dtype=np.int64)
        self.amounts: Ints = np.array([report.amount_ticks for report in reports], dtype=np.int64)
        self.starts: Ints = all_micros([report.period_start for report in reports])
        self.ends: Ints = all_micros([report.period_end for report in reports]) if ends is None else ends
        self.absolute: Mask = np.array([report.is_absolute for report in reports], dtype=np.bool_)

    @cached_property
    def plain(self) -> bool:
        return are_plain(self.reports)

    def content_hashes(self) -> list[bytes]:
        """What makes two reports with one id the same; who the user is to us may be learned later and is left out."""
        contents = (
            (
                report.workspace_id,
                report.amount_ticks,
                start,
                end,
                report.is_absolute,
                report.scope,
                report.corrects,
                report.resource_id,
                report.user,
                report.job,
                sorted(report.labels.items()) if report.labels else _NO_LABELS,
            )
            for report, start, end in zip(self.reports, self.starts.tolist(), self.ends.tolist(), strict=True)
        )
        return [_digest(content) for content in map(_encode, contents)]


def looked_at(reports: Sequence[Report], at: datetime, ends: Ints | None = None) -> tuple[Columns | None, list[Fault]]:
    """The reports by columns, or what is wrong with them by themselves: at most one fault for each.

    ends   of their periods, where they are known already
    """
    latest = at + AHEAD_MAX
    try:
        columns = Columns(reports, ends)
    except (OverflowError, TypeError):
        pass
    else:
        if _sound(columns, micros(latest)):
            return columns, []
    codes = ((index, report.report_id, _fault_of(report, latest)) for index, report in enumerate(reports))
    return None, [fault(index, report_id, code) for index, report_id, code in codes if code]


def _sound(columns: Columns, latest: int) -> bool:
    """Whether all are in order, told by passes over columns; when not, each is looked at by itself."""
    ids, reports = columns.report_ids, columns.reports
    texts = [text for report in reports for text in (report.scope, report.corrects, report.user, report.job) if text]
    texts += [text for report in reports if report.labels for text in (*report.labels, *report.labels.values())]
    texts += ids
    return bool(
        all(ids)
        and max(map(len, texts), default=0) <= TEXT_MAX
        and _storable("".join(texts))
        and (columns.amounts >= -TICKS_MAX).all()
        and (columns.ends > columns.starts).all()
        and (columns.ends - 1 <= latest).all()
        and (columns.starts >= 0).all()
        and not (columns.absolute & (columns.amounts < 0)).any()
        and all(_countable(report) for report in reports if report.resource_id or report.person_id)
    )


def _storable(text: str) -> bool:
    """Whether PostgreSQL can hold a text."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half a character, as file names and users may hold
        return False


def _countable(report: Report) -> bool:
    return max(abs(report.resource_id or 0), abs(report.person_id or 0)) <= TICKS_MAX


def _fault_of(report: Report, latest: datetime) -> str:
    if not report.report_id:
        return "report_id_missing"
    texts = [report.report_id, report.scope, report.corrects, report.user, report.job]
    texts += [text for label in report.labels.items() for text in label]
    if max(map(len, texts)) > TEXT_MAX:
        return "text_too_long"
    if not all(map(_storable, texts)):
        return "text_not_storable"
    if not -TICKS_MAX <= report.amount_ticks <= TICKS_MAX:
        return "overflow"
    if abs(report.workspace_id) > TICKS_MAX:
        return "unknown_workspace"
    if not _countable(report):
        return "id_out_of_range"
    if report.period_start.tzinfo is None or report.period_end.tzinfo is None:
        return "period_without_time_zone"
    if report.period_end <= report.period_start:
        return "period_empty"
    if report.period_start < EPOCH:
        return "long_ago"
    if report.used_at > latest:
        return "in_the_future"
    if report.is_absolute and report.amount_ticks < 0:
        return "negative_level"
    return ""
