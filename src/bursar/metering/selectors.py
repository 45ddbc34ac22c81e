"""Questions about what was reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import connection

from bursar.metering.models import UsageReport


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
    """
    statement = f"""
        SELECT (used_at AT TIME ZONE %(zone)s)::date AS day, sum(posted_ticks)::bigint FROM usage_report {_CHOSEN}
        GROUP BY day HAVING sum(posted_ticks) <> 0 ORDER BY day
    """  # noqa: S608  _CHOSEN is a constant
    rows = _fetch(statement, category_id, wallet_id, resource_id, since, until, time_zone, wallet_ids)
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
    statement = f"""
        SELECT person_id, user_name, sum(posted_ticks)::bigint AS ticks FROM usage_report {_CHOSEN}
        GROUP BY person_id, user_name HAVING sum(posted_ticks) <> 0 ORDER BY ticks DESC, user_name
    """  # noqa: S608  _CHOSEN is a constant
    rows = _fetch(statement, category_id, wallet_id, resource_id, since, until, "UTC")
    return [PersonUsage(*row) for row in rows]


def usage_ticks(
    *,
    category_id: int,
    since: datetime,
    until: datetime,
    wallet_id: int | None = None,
    resource_id: int | None = None,
) -> int:
    """What was used in `[since, until)`, corrections included."""
    statement = f"SELECT coalesce(sum(posted_ticks), 0)::bigint FROM usage_report {_CHOSEN}"  # noqa: S608  a constant
    return int(_fetch(statement, category_id, wallet_id, resource_id, since, until, "UTC")[0][0])


def reports_of_resource(*, category_id: int, resource_id: int, limit: int = 100) -> list[UsageReport]:
    """The latest reports of a resource, newest use first."""
    reports = UsageReport.objects.filter(category_id=category_id, resource_id=resource_id)
    return list(reports.order_by("-used_at", "-id")[:limit])


def verify(*, category_id: int) -> list[Discrepancy]:
    """Compare wallets and scopes with the reports that they are the sum of; empty when all is well."""
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
        return [Discrepancy(*row) for row in cursor.fetchall()]


def _fetch(
    statement: str,
    category_id: int,
    wallet_id: int | None,
    resource_id: int | None,
    since: datetime,
    until: datetime,
    time_zone: str,
    wallet_ids: Sequence[int] | None = None,
) -> list[tuple[Any, ...]]:
    parameters: dict[str, int | str | datetime | list[int] | None] = {
        "wallets": None if wallet_ids is None else list(wallet_ids),
        "category": category_id,
        "wallet": wallet_id,
        "resource": resource_id,
        "since": since,
        "until": until,
        "zone": time_zone,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
