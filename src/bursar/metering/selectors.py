"""Questions about what was reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection

from bursar.metering import rollups
from bursar.metering.history import MONTHS_MAX, Days, period_parameters, period_sums
from bursar.metering.models import UsageReport
from bursar.metering.rollups import DAYS, REPORT_COLUMNS, REPORTS_AFTER, ask, sums_by


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What a day added, corrections included, at the day of use; for a level, by how much it rose or fell."""

    day: date
    ticks: int


@dataclass(frozen=True, slots=True)
class PersonUsage:
    """What one user added; `person_id` None where the provider's user is nobody we know."""

    person_id: int | None
    user: str
    ticks: int


@dataclass(frozen=True, slots=True)
class Discrepancy:
    subject: str
    subject_id: int
    figure: str
    balance: str
    reports: str


# A filter that is NULL does not restrict; every statement stays inside one category.
_CHOSEN = """
    WHERE category_id = %(category)s
      AND (%(wallet)s::bigint IS NULL OR wallet_id = %(wallet)s)
      AND (%(wallets)s::bigint[] IS NULL OR wallet_id = ANY(%(wallets)s))
      AND (%(resource)s::bigint IS NULL OR resource_id = %(resource)s)
      AND used_at >= %(since)s AND used_at < %(until)s
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whose usage in `[since, until)`: of a wallet or several, or of a resource. None does not restrict."""

    category_id: int
    since: datetime
    until: datetime
    wallet_id: int | None = None
    resource_id: int | None = None
    wallet_ids: Sequence[int] | None = None

    @property
    def days(self) -> Days | None:
        """The days that lie in the period wholly, where the rollups can tell of it."""
        since, until = self.since.astimezone(UTC), self.until.astimezone(UTC)
        if not 2 < since.year <= until.year < 9998 or until.year - since.year > MONTHS_MAX // 12 - 1:
            return None
        first = since.date() if since.time() == time.min else since.date() + timedelta(days=1)
        last = until.date() - timedelta(days=1)
        return Days(first, last) if first <= last else None

    @property
    def chosen(self) -> str:
        """The condition on rows of a table of months or of what came after the mark."""
        found = []
        if self.wallet_id is not None:
            found.append("wallet_id = %(wallet)s")
        if self.wallet_ids is not None:
            found.append("wallet_id = ANY(%(wallets)s)")
        if self.resource_id is not None:
            found.append("resource_id = %(resource)s")
        return " AND ".join(found) or "true"

    @property
    def table(self) -> str:
        """The smallest table of months that can tell the sum."""
        if self.resource_id is not None:
            return "usage_detail_month"
        return "usage_category_month" if self.chosen == "true" else "usage_month"

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "wallets": None if self.wallet_ids is None else list(self.wallet_ids),
            "category": self.category_id,
            "wallet": self.wallet_id,
            "resource": self.resource_id,
            "since": self.since,
            "until": self.until,
        }

    @property
    def outside(self) -> str:
        """The reports of the hours before the first and after the last whole day."""
        return f"{_CHOSEN} AND (used_at < %(whole_since)s OR used_at >= %(whole_until)s)"

    def sums(self, days: Days, keys: Sequence[str], columns: str) -> list[tuple[Any, ...]]:
        """Rows of keys and ticks, of which none come to nothing. `columns`: the keys of a report."""
        table = self.table if keys == ("category_id",) else "usage_detail_month"
        key = ", ".join(keys)
        statement = f"""
            SELECT {key}, sum(ticks)::bigint FROM (
                {period_sums(days, table, keys, self.chosen)}
                UNION ALL
                SELECT {key}, ticks FROM (SELECT r.category_id, {REPORT_COLUMNS} {REPORTS_AFTER}) r
                WHERE {self.chosen} AND day BETWEEN %(first)s AND %(last)s
                UNION ALL
                SELECT {columns}, posted_ticks FROM usage_report {self.outside}
            ) s GROUP BY {key} HAVING sum(ticks) <> 0
        """  # noqa: S608  constants
        bounds = {
            "whole_since": datetime.combine(days.first, time.min, UTC),
            "whole_until": datetime.combine(days.last + timedelta(days=1), time.min, UTC),
        }
        return list(ask(statement, self.category_id, {**self.parameters, **period_parameters(days), **bounds}))


def usage_by_day(
    *,
    category_id: int,
    since: datetime,
    until: datetime,
    wallet_id: int | None = None,
    resource_id: int | None = None,
    time_zone: str = "UTC",
    wallet_ids: Sequence[int] | None = None,
) -> list[DayUsage]:
    """Ticks by day of use in `[since, until)`, days without any left out, oldest first.

    wallet_ids   several wallets together, such as all of a tree
    time_zone    whose days; those of UTC are kept ready, others are counted from the reports
    """
    asked = _Asked(category_id, since, until, wallet_id, resource_id, wallet_ids)
    days = asked.days
    if time_zone != "UTC" or days is None:
        return _reports_by_day(asked, time_zone)
    table = asked.table
    statement = f"""
        SELECT month, {", ".join(f"sum({day})" for day in DAYS)} FROM {table}
        WHERE category_id = %(category)s AND {asked.chosen} AND month BETWEEN %(first_month)s AND %(last)s GROUP BY month
        UNION ALL
        SELECT month, {sums_by(DAYS)} FROM (
            SELECT date_trunc('month', day)::date AS month, extract(day FROM day)::int AS number, ticks
            FROM (SELECT {REPORT_COLUMNS} {REPORTS_AFTER}) r
            WHERE {asked.chosen} AND day BETWEEN %(first)s AND %(last)s
        ) f GROUP BY month
    """  # noqa: S608  constants
    parameters = {**asked.parameters, **period_parameters(days), "first_month": days.first.replace(day=1)}
    found: dict[date, int] = {}
    for month, *sums in ask(statement, category_id, parameters):
        for number, ticks in enumerate(sums, start=1):
            if ticks and days.first <= (day := month.replace(day=number)) <= days.last:
                found[day] = found.get(day, 0) + int(ticks)
    whole_since = datetime.combine(days.first, time.min, UTC)
    whole_until = datetime.combine(days.last + timedelta(days=1), time.min, UTC)
    for begin, end in ((since, whole_since), (whole_until, until)):
        if begin < end:
            for one in _reports_by_day(_Asked(category_id, begin, end, wallet_id, resource_id, wallet_ids), "UTC"):
                found[one.day] = one.ticks
    return [DayUsage(day, found[day]) for day in sorted(found) if found[day]]


def _reports_by_day(asked: _Asked, time_zone: str) -> list[DayUsage]:
    rows = _fetch(
        f"""
        SELECT (used_at AT TIME ZONE %(zone)s)::date AS day, sum(posted_ticks)::bigint FROM usage_report {_CHOSEN}
        GROUP BY day HAVING sum(posted_ticks) <> 0 ORDER BY day
        """,  # noqa: S608  _CHOSEN is a constant
        {**asked.parameters, "zone": time_zone},
    )
    return [DayUsage(*row) for row in rows]


def usage_by_person(
    *,
    category_id: int,
    since: datetime,
    until: datetime,
    wallet_id: int | None = None,
    resource_id: int | None = None,
) -> list[PersonUsage]:
    """Ticks by person in `[since, until)`, the most first."""
    asked = _Asked(category_id, since, until, wallet_id, resource_id)
    days = asked.days
    if days is None:
        rows = _fetch(
            f"""
            SELECT coalesce(person_id, 0), user_name, sum(posted_ticks)::bigint FROM usage_report {_CHOSEN}
            GROUP BY coalesce(person_id, 0), user_name HAVING sum(posted_ticks) <> 0
            """,  # noqa: S608  _CHOSEN is a constant
            asked.parameters,
        )
    else:
        rows = asked.sums(days, ("person_id", "user_name"), "coalesce(person_id, 0), user_name")
    found = [PersonUsage(person_id or None, user, ticks) for person_id, user, ticks in rows]
    return sorted(found, key=lambda one: (-one.ticks, one.user, one.person_id or 0))


def usage_ticks(
    *,
    category_id: int,
    since: datetime,
    until: datetime,
    wallet_id: int | None = None,
    resource_id: int | None = None,
) -> int:
    """What was used in `[since, until)`, corrections included."""
    asked = _Asked(category_id, since, until, wallet_id, resource_id)
    days = asked.days
    if days is None:
        statement = f"SELECT coalesce(sum(posted_ticks), 0)::bigint FROM usage_report {_CHOSEN}"  # noqa: S608  a constant
        return int(_fetch(statement, asked.parameters)[0][0])
    return sum(int(ticks) for _category, ticks in asked.sums(days, ("category_id",), "category_id"))


def reports_of_resource(*, category_id: int, resource_id: int, limit: int = 100) -> list[UsageReport]:
    """The latest reports of a resource, newest use first."""
    reports = UsageReport.objects.filter(category_id=category_id, resource_id=resource_id)
    return list(reports.order_by("-used_at", "-id")[:limit])


def verify(*, category_id: int) -> list[Discrepancy]:
    """Compare wallets, scopes and rollups with the reports that they are the sum of; empty when all is well."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT 'wallet', w.id, 'used', w.used_ticks::text, coalesce(r.ticks, 0)::text
            FROM wallet w LEFT JOIN (
                SELECT wallet_id, sum(posted_ticks) AS ticks FROM usage_report WHERE category_id = %(category)s
                GROUP BY wallet_id
            ) r ON r.wallet_id = w.id
            WHERE w.category_id = %(category)s AND w.used_ticks <> coalesce(r.ticks, 0)
            UNION ALL
            SELECT 'scope', s.id, 'level', s.level_ticks::text, coalesce(r.ticks, 0)::text
            FROM scope_level s LEFT JOIN (
                SELECT wallet_id, scope, sum(posted_ticks) AS ticks FROM usage_report
                WHERE category_id = %(category)s AND scope <> '' GROUP BY wallet_id, scope
            ) r ON r.wallet_id = s.wallet_id AND r.scope = s.scope
            WHERE s.category_id = %(category)s AND s.scope <> '' AND s.level_ticks <> coalesce(r.ticks, 0)
            UNION ALL
            SELECT 'category', %(category)s, 'identities', i.count::text, r.count::text
            FROM (SELECT count(*) FROM report_identity WHERE category_id = %(category)s) i,
                 (SELECT count(*) FROM usage_report WHERE category_id = %(category)s) r
            WHERE i.count <> r.count
            """,
            {"category": category_id},
        )
        found = [Discrepancy(*row) for row in cursor.fetchall()]
    return found + [Discrepancy(*row) for row in rollups.differences(category_id=category_id)]


def _fetch(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
