"""Usage and drawn by day, gathered from reports and postings: a cache that makes long periods quick to tell.

Rows are recorded in a category one transaction after the other, each holding the category's lock until its commit is
visible, and take their ids while they hold it. So whoever sees a row sees all before it: "after the mark" misses nothing,
and gathering needs no lock against reporting. Reading adds what came after the mark, so that an answer never depends on
when a job ran.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection, transaction

from bursar.accounting.books import EPOCH

DAYS: Final = tuple(f"d{day:02}" for day in range(1, 32))
MONTHS: Final = tuple(f"m{month:02}" for month in range(1, 13))
AT_ONCE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to which report and which posting the rollups of a category go."""

    report_recorded_at: datetime = EPOCH
    report_id: int = 0
    posting_recorded_at: datetime = EPOCH
    posting_id: int = 0

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "report_recorded_at": self.report_recorded_at,
            "report_mark": self.report_id,
            "posting_recorded_at": self.posting_recorded_at,
            "posting_mark": self.posting_id,
        }


# What was recorded after the mark. The mark is written out, not joined: only then does the planner know how few rows these are.
# The first condition, which the second contains, is there for the parts of the table that need not be looked at.
REPORTS_AFTER: Final = """
    FROM usage_report r
    WHERE r.category_id = %(category)s AND r.recorded_at >= %(report_recorded_at)s
      AND (r.recorded_at, r.id) > (%(report_recorded_at)s, %(report_mark)s)
"""
POSTINGS_AFTER: Final = """
    FROM posting p
    WHERE p.category_id = %(category)s AND p.recorded_at >= %(posting_recorded_at)s
      AND (p.recorded_at, p.id) > (%(posting_recorded_at)s, %(posting_mark)s)
"""
# A report is of the product that its label names, a correction of that of the report it corrects. That one is reached over
# its identity, through the requests that brought it: never, as the planner would like, by reading all reports.
WITH_PRODUCTS: Final = """
    named AS MATERIALIZED (
        SELECT o.report_id, o.product
        FROM (
            SELECT DISTINCT i.recorded_at FROM report_identity i
            WHERE i.category_id = %(category)s
              AND i.report_id = ANY(ARRAY(SELECT corrects FROM fresh WHERE corrects <> ''))
        ) request CROSS JOIN LATERAL (
            SELECT r.report_id, r.labels ->> 'product' AS product FROM usage_report r
            WHERE r.category_id = %(category)s AND r.recorded_at = request.recorded_at
              AND r.labels ->> 'product' IS NOT NULL
            OFFSET 0
        ) o
    ), reports AS (
        SELECT fresh.*, left(coalesce(CASE WHEN corrects = '' THEN label ELSE named.product END, ''), 60) AS product
        FROM fresh LEFT JOIN named ON fresh.corrects <> '' AND named.report_id = fresh.corrects
    )
"""
REPORT_COLUMNS: Final = """
    r.id, r.recorded_at, r.wallet_id, coalesce(r.resource_id, 0) AS resource_id, coalesce(r.person_id, 0) AS person_id,
    r.user_name, r.corrects, r.labels ->> 'product' AS label, (r.used_at AT TIME ZONE 'UTC')::date AS day,
    r.posted_ticks AS ticks
"""


class Span(NamedTuple):
    """What a row of a rollup covers: a month with its days, or a year with its months.

    column   holds the span's first day, and names the span as PostgreSQL does
    part     a part of it, as PostgreSQL names that
    parts    the columns of its parts
    """

    column: str
    part: str
    parts: tuple[str, ...]


MONTH: Final = Span("month", "day", DAYS)
YEAR: Final = Span("year", "month", MONTHS)


def sums_by(parts: Sequence[str]) -> str:
    """A sum for each part of rows with `number`, the part's: of DAYS one for each day of the month."""
    return ", ".join(
        f"coalesce(sum(ticks) FILTER (WHERE number = {number}), 0) AS {name}"
        for number, name in enumerate(parts, start=1)
    )


def _gather(table: str, keys: Sequence[str], source: str, span: Span = MONTH) -> str:
    """Add the rows of `source` (keys, day, ticks) to a table of months or of years."""
    key = ", ".join((*keys, span.column))
    return f"""
        INSERT INTO {table} (category_id, {key}, ticks, {", ".join(span.parts)})
        SELECT %(category)s, {key}, sum(ticks), {sums_by(span.parts)}
        FROM (SELECT *, date_trunc('{span.column}', day)::date AS {span.column}, extract({span.part} FROM day)::int AS number
              FROM {source} WHERE ticks <> 0) s
        GROUP BY {key}
        ON CONFLICT (category_id, {key}) DO UPDATE
        SET ticks = {table}.ticks + excluded.ticks,
            {", ".join(f"{part} = {table}.{part} + excluded.{part}" for part in span.parts)}
    """  # noqa: S608  constants of this module


# Of a category as a whole, by what: then a nation's is told without reading it wallet by wallet.
OF_CATEGORY: Final[Mapping[str, tuple[str, ...]]] = {
    "usage_person_month": ("person_id", "user_name"),
    "usage_resource_month": ("resource_id",),
    "usage_product_month": ("product",),
}
# By year too where a month alone has tens of thousands of rows.
OF_CATEGORY_BY_YEAR: Final[Mapping[str, tuple[str, ...]]] = {
    "usage_person_year": OF_CATEGORY["usage_person_month"],
    "usage_resource_year": OF_CATEGORY["usage_resource_month"],
}
_SPANS: Final = (
    *((table, keys, MONTH) for table, keys in OF_CATEGORY.items()),
    *((table, keys, YEAR) for table, keys in OF_CATEGORY_BY_YEAR.items()),
)
_TABLES: Final = (
    "usage_month", "usage_category_month", "usage_detail_month", *OF_CATEGORY, *OF_CATEGORY_BY_YEAR, "drawn_month",
    "quota_history",
)  # fmt: skip
_USAGE_KEYS: Final = ("wallet_id",)
_DETAIL_KEYS: Final = ("wallet_id", "resource_id", "person_id", "user_name", "product")
_DRAWN_KEYS: Final = ("allocation_id",)

_GATHER_REPORTS: Final = f"""
    WITH fresh AS MATERIALIZED (
        SELECT {REPORT_COLUMNS} {REPORTS_AFTER} ORDER BY r.recorded_at, r.id LIMIT %(limit)s
    ), {WITH_PRODUCTS}, by_wallet AS (
        {_gather("usage_month", _USAGE_KEYS, "fresh")}
    ), by_category AS (
        {_gather("usage_category_month", (), "fresh")}
    ), in_detail AS (
        {_gather("usage_detail_month", _DETAIL_KEYS, "reports")}
    ), {", ".join(f"in_{table} AS ({_gather(table, keys, 'reports', span)})" for table, keys, span in _SPANS)}
    SELECT recorded_at, id, (SELECT count(*) FROM fresh) FROM fresh ORDER BY recorded_at DESC, id DESC LIMIT 1
"""  # noqa: S608
_GATHER_POSTINGS: Final = f"""
    WITH fresh AS MATERIALIZED (
        SELECT p.id, p.recorded_at, p.allocation_id, p.drawn_ticks AS ticks, p.quota_ticks, p.start, p."end",
               p.effective_at, (p.effective_at AT TIME ZONE 'UTC')::date AS day
        {POSTINGS_AFTER} ORDER BY p.recorded_at, p.id LIMIT %(limit)s
    ), drawn AS (
        {_gather("drawn_month", _DRAWN_KEYS, "(SELECT * FROM fresh WHERE allocation_id IS NOT NULL) d")}
    ), quota AS (
        INSERT INTO quota_history (category_id, allocation_id, posting_id, quota_ticks, start, "end", effective_at)
        SELECT %(category)s, allocation_id, id, quota_ticks, start, "end", effective_at FROM fresh
        WHERE allocation_id IS NOT NULL AND (quota_ticks <> 0 OR start IS NOT NULL OR "end" IS NOT NULL)
    )
    SELECT recorded_at, id, (SELECT count(*) FROM fresh) FROM fresh ORDER BY recorded_at DESC, id DESC LIMIT 1
"""  # noqa: S608


@transaction.atomic
def roll_up(*, category_id: int, limit: int = AT_ONCE) -> int:
    """Gather what was recorded since the last time, at most `limit` reports and as many postings; how many there were.

    Rollups and mark change together or not at all; of two at once the second waits, and goes on from there.
    """
    return _gather_after(category_id, _mark_to_change(category_id), limit)


@transaction.atomic
def rebuild(*, category_id: int, limit: int = 20 * AT_ONCE) -> int:
    """Gather everything anew from reports and postings; how many there were. Readers see the old until it is done."""
    _mark_to_change(category_id)
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"DELETE FROM {table} WHERE category_id = %s", [category_id])  # noqa: S608
    _write_mark(category_id, Mark())
    gathered = 0
    while found := _gather_after(category_id, _mark_to_change(category_id), limit):
        gathered += found
    return gathered


def _gather_after(category_id: int, mark: Mark, limit: int) -> int:
    parameters = {"category": category_id, "limit": limit, **mark.parameters}
    with connection.cursor() as cursor:
        cursor.execute(_GATHER_REPORTS, parameters)
        reports = cursor.fetchone()
        cursor.execute(_GATHER_POSTINGS, parameters)
        postings = cursor.fetchone()
    if reports is None and postings is None:
        return 0
    last_report = reports[:2] if reports else (mark.report_recorded_at, mark.report_id)
    last_posting = postings[:2] if postings else (mark.posting_recorded_at, mark.posting_id)
    _write_mark(category_id, Mark(*last_report, *last_posting))
    return (reports[2] if reports else 0) + (postings[2] if postings else 0)


def _mark_to_change(category_id: int) -> Mark:
    """The mark, which nobody else changes until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")  # so many reports are sorted and summed without a file
        cursor.execute(
            """
            INSERT INTO rollup_mark (category_id, report_recorded_at, report_id, posting_recorded_at, posting_id)
            VALUES (%s, %s, 0, %s, 0) ON CONFLICT DO NOTHING
            """,
            [category_id, EPOCH, EPOCH],
        )
        cursor.execute(
            """
            SELECT report_recorded_at, report_id, posting_recorded_at, posting_id FROM rollup_mark
            WHERE category_id = %s FOR UPDATE
            """,
            [category_id],
        )
        row = cursor.fetchone()
    assert row is not None
    return Mark(*row)


def _write_mark(category_id: int, mark: Mark) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE rollup_mark SET report_recorded_at = %s, report_id = %s, posting_recorded_at = %s, posting_id = %s
            WHERE category_id = %s
            """,
            [mark.report_recorded_at, mark.report_id, mark.posting_recorded_at, mark.posting_id, category_id],
        )


# ------------------------------------------------------------------------------------------------ reading
def mark_of(category_id: int) -> Mark:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT report_recorded_at, report_id, posting_recorded_at, posting_id FROM rollup_mark WHERE category_id = %s
            """,
            [category_id],
        )
        row = cursor.fetchone()
    return Mark(*row) if row else Mark()


def ask(statement: str, category_id: int, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement that reads rollups and, beside them, what came after the mark.

    The statement says itself at which mark it read: where a job moved it in between, it is asked again. Two queries, as a rule.
    """
    guarded = f"""
        SELECT m.report_id, m.posting_id, q.* FROM (
            SELECT coalesce(max(report_id), 0) AS report_id, coalesce(max(posting_id), 0) AS posting_id
            FROM rollup_mark WHERE category_id = %(category)s
        ) m LEFT JOIN (SELECT true AS there, asked.* FROM ({statement}) asked) q ON true
    """  # noqa: S608  the statement is a constant of its caller
    while True:
        mark = mark_of(category_id)
        with connection.cursor() as cursor:
            cursor.execute(guarded, {"category": category_id, **mark.parameters, **parameters})
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        if rows[0][:2] == (mark.report_id, mark.posting_id):
            return (row[3:] for row in rows if row[2])


# ------------------------------------------------------------------------------------------------ checking
def _unfolded(table: str, keys: Sequence[str], span: Span = MONTH) -> str:
    """The rows of a table of months as keys, day, ticks; of years, with the first day of each month."""
    values = ", ".join(f"({number}, {table}.{part})" for number, part in enumerate(span.parts))
    return f"""
        SELECT {", ".join(keys)}, ({span.column} + v.number * interval '1 {span.part}')::date AS day, v.ticks
        FROM {table}, LATERAL (VALUES {values}) AS v(number, ticks)
        WHERE category_id = %(category)s AND v.ticks <> 0
    """  # noqa: S608


def _compared(figure: str, subject: str, cached: str, truth: str, keys: Sequence[str]) -> str:
    """Days on which the rollups, together with what came after the mark, are not the sum of the journal."""
    key = ", ".join(keys)
    return f"""
        SELECT '{subject}', {keys[0]}, '{figure} ' || day, coalesce(sum(ticks) FILTER (WHERE is_cached), 0)::text,
               coalesce(sum(ticks) FILTER (WHERE NOT is_cached), 0)::text
        FROM (SELECT {key}, day, ticks, true AS is_cached FROM ({cached}) c
              UNION ALL SELECT {key}, day, ticks, false FROM ({truth}) t) both_
        GROUP BY {key}, day
        HAVING coalesce(sum(ticks) FILTER (WHERE is_cached), 0) <> coalesce(sum(ticks) FILTER (WHERE NOT is_cached), 0)
    """  # noqa: S608


_UP_TO_REPORT: Final = """
    FROM usage_report r
    WHERE r.category_id = %(category)s
      AND (r.recorded_at, r.id) <= (%(report_recorded_at)s, %(report_mark)s)
"""
_UP_TO_POSTING: Final = """
    FROM posting p
    WHERE p.category_id = %(category)s AND p.allocation_id IS NOT NULL
      AND (p.recorded_at, p.id) <= (%(posting_recorded_at)s, %(posting_mark)s)
"""
_VERIFY: Final = f"""
    WITH fresh AS MATERIALIZED (SELECT {REPORT_COLUMNS} {_UP_TO_REPORT}), {WITH_PRODUCTS}
    {_compared("usage of", "wallet", _unfolded("usage_month", _USAGE_KEYS), "SELECT * FROM fresh", _USAGE_KEYS)}
    UNION ALL
    {
    _compared(
        "usage of",
        "category",
        _unfolded("usage_category_month", ("category_id",)),
        "SELECT %(category)s::bigint AS category_id, day, ticks FROM fresh",
        ("category_id",),
    )
}
    UNION ALL
    {
    _compared(
        "usage by resource, person and product of",
        "wallet",
        _unfolded("usage_detail_month", _DETAIL_KEYS),
        "SELECT * FROM reports",
        _DETAIL_KEYS,
    )
}
    UNION ALL
    {
    " UNION ALL ".join(
        _compared(
            f"usage by {keys[0].removesuffix('_id')} {'of' if span is MONTH else 'in the month from'}",
            "category",
            _unfolded(table, ("category_id", *keys), span),
            f"SELECT %(category)s::bigint AS category_id, {', '.join(keys)}, date_trunc('{span.part}', day)::date AS day, "
            "ticks FROM reports",
            ("category_id", *keys),
        )
        for table, keys, span in _SPANS
    )
}
    UNION ALL
    {
    _compared(
        "drawn on",
        "allocation",
        _unfolded("drawn_month", _DRAWN_KEYS),
        f"SELECT p.allocation_id, (p.effective_at AT TIME ZONE 'UTC')::date AS day, p.drawn_ticks AS ticks {_UP_TO_POSTING}",
        _DRAWN_KEYS,
    )
}
    UNION ALL
    SELECT 'allocation', allocation_id, 'quota and window in posting ' || posting_id,
           coalesce(max(told) FILTER (WHERE is_cached), ''), coalesce(max(told) FILTER (WHERE NOT is_cached), '')
    FROM (
        SELECT allocation_id, posting_id, true AS is_cached, concat_ws(' ', quota_ticks, start, "end", effective_at) AS told
        FROM quota_history WHERE category_id = %(category)s
        UNION ALL
        SELECT p.allocation_id, p.id, false, concat_ws(' ', p.quota_ticks, p.start, p."end", p.effective_at) {
    _UP_TO_POSTING
}
          AND (p.quota_ticks <> 0 OR p.start IS NOT NULL OR p."end" IS NOT NULL)
    ) both_
    GROUP BY allocation_id, posting_id
    HAVING max(told) FILTER (WHERE is_cached) IS DISTINCT FROM max(told) FILTER (WHERE NOT is_cached)
    UNION ALL
    SELECT 'wallet', wallet_id, 'sum of ' || month, ticks::text, ({" + ".join(DAYS)})::text
    FROM usage_month WHERE category_id = %(category)s AND ticks <> {" + ".join(DAYS)}
    UNION ALL
    SELECT 'category', category_id, 'sum of ' || month, ticks::text, ({" + ".join(DAYS)})::text
    FROM usage_category_month WHERE category_id = %(category)s AND ticks <> {" + ".join(DAYS)}
    UNION ALL
    {
    " UNION ALL ".join(
        f"SELECT 'category', category_id, 'sum by {keys[0].removesuffix('_id')} of ' || {span.column}, ticks::text, "
        f"({' + '.join(span.parts)})::text FROM {table} "
        f"WHERE category_id = %(category)s AND ticks <> {' + '.join(span.parts)}"
        for table, keys, span in _SPANS
    )
}
    UNION ALL
    SELECT 'wallet', wallet_id, 'sum in detail of ' || month, ticks::text, ({" + ".join(DAYS)})::text
    FROM usage_detail_month WHERE category_id = %(category)s AND ticks <> {" + ".join(DAYS)}
    UNION ALL
    SELECT 'allocation', allocation_id, 'drawn, sum of ' || month, ticks::text, ({" + ".join(DAYS)})::text
    FROM drawn_month WHERE category_id = %(category)s AND ticks <> {" + ".join(DAYS)}
"""  # noqa: S608


def differences(*, category_id: int) -> list[tuple[str, int, str, str, str]]:
    """What in the rollups is not the sum of what was recorded up to the mark: subject, its id, figure, rollup, journal."""
    return [row[:5] for row in ask(_VERIFY, category_id, {})]  # type: ignore[misc]
