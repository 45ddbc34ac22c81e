"""What was used in any period of whole days (UTC), from the rollups and what came after them: never other than the reports say.

Each statement stays inside one category, and their number does not depend on how long the period or how large the tree is.
"""

from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any, ClassVar, Final

from django.db import connection

from bursar.accounting import selectors as accounting
from bursar.accounting.books import instant, micros
from bursar.accounting.models import Allocation, Wallet
from bursar.accounting.selectors import AllocationState
from bursar.engine.health import (
    Health,
    Held,
    health,
    next_expiry,
    over_commitment,
    paced,
    recommended_over_commitment,
)
from bursar.engine.quota import QuotaChange, Stage, quota_at, stages
from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_
from bursar.metering.rollups import (
    DAYS,
    MONTHS,
    POSTINGS_AFTER,
    REPORT_COLUMNS,
    REPORTS_AFTER,
    WITH_PRODUCTS,
    ask,
    sums_by,
)

DAY: Final = timedelta(days=1)
DAYS_MAX: Final = 400
MONTHS_MAX: Final = 600
TOP_MAX: Final = 100
LATELY_DAYS: Final = 30


@dataclass(eq=False)
class PeriodBackwards(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "period_backwards"
    message: ClassVar[str] = N_("The period ends ({last}) before it begins ({first}).")
    first: date
    last: date


@dataclass(eq=False)
class PeriodTooLong(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "period_too_long"
    message: ClassVar[str] = N_("A period has at most {months} months.")
    months: int


@dataclass(eq=False)
class StepTooFine(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "step_too_fine"
    message: ClassVar[str] = N_("Days and weeks are told for at most {days} days at once. Ask for months, or for less.")
    days: int


# ------------------------------------------------------------------------------------------------ periods
@dataclass(frozen=True, slots=True)
class Days:
    """The days from `first` to `last`, both counted, in UTC.

    raises   PeriodBackwards; PeriodTooLong
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise PeriodBackwards(first=self.first, last=self.last)
        if _month_number(self.last) - _month_number(self.first) >= MONTHS_MAX:
            raise PeriodTooLong(months=MONTHS_MAX)

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def whole_months(self) -> list[date]:
        """The first days of the months that lie in the period wholly."""
        edges = {month for month, _first, _last in self.edges}
        return [month for month in self.months if month not in edges]

    @property
    def whole_months_by_year(self) -> dict[date, list[int]]:
        """The numbers of those of them that are several of a year, by its first day."""
        found: dict[date, list[int]] = {}
        for month in self.whole_months:
            found.setdefault(month.replace(month=1), []).append(month.month)
        return {year: numbers for year, numbers in found.items() if len(numbers) > 1}

    @property
    def months(self) -> list[date]:
        numbers = range(_month_number(self.first), _month_number(self.last) + 1)
        return [date(number // 12, number % 12 + 1, 1) for number in numbers]

    @property
    def edges(self) -> list[tuple[date, int, int]]:
        """The months of which only a part lies in the period, with the first and the last day of that part; at most two."""
        found = []
        for month in {month_of(self.first): None, month_of(self.last): None}:
            length = monthrange(month.year, month.month)[1]
            begins = self.first.day if month == month_of(self.first) else 1
            ends = self.last.day if month == month_of(self.last) else length
            if (begins, ends) != (1, length):
                found.append((month, begins, ends))
        return found


def days_until(last: date, number: int) -> Days:
    """So many days, of which the last is given."""
    return Days(last - min(timedelta(days=number - 1), last - date.min), last)


def month_of(day: date) -> date:
    return day.replace(day=1)


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


class Step(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def step_for(days: Days) -> Step:
    """Days for a quarter of a year, weeks for a year, months for longer."""
    return Step.DAY if len(days) <= 92 else Step.WEEK if len(days) <= DAYS_MAX else Step.MONTH


def stretches(days: Days, step: Step) -> list[tuple[date, date]]:
    """The steps of a period, each with its first and last day: weeks from Monday, the outer ones cut off by the period."""
    found = []
    begins = days.first
    while begins <= days.last:
        if step is Step.DAY:
            ends = begins
        elif step is Step.WEEK:
            ends = begins + min(timedelta(days=6 - begins.weekday()), days.last - begins)
        else:
            ends = begins.replace(day=monthrange(begins.year, begins.month)[1])
        ends = min(ends, days.last)
        found.append((begins, ends))
        if ends == date.max:
            break
        begins = ends + DAY
    return found


def _end_of(day: date) -> datetime:
    """The last instant of a day."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, tzinfo=UTC)


# ------------------------------------------------------------------------------------------------ the tree below
def below_by_child(wallet: Wallet) -> dict[int, int]:
    """All wallets below one, each with the child through which it draws; the wallet itself with 0.

    One that is reached through several children counts once: for the nearest, and of those the one made first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE down(id, child, depth) AS (
                SELECT DISTINCT a.wallet_id, a.wallet_id, 1 FROM allocation a
                WHERE a.source_id = %(wallet)s AND a.category_id = %(category)s
                  AND (a.closed_at IS NULL OR a.drawn_ticks > 0)
                UNION
                SELECT a.wallet_id, down.child, down.depth + 1 FROM down JOIN allocation a ON a.source_id = down.id
                WHERE a.category_id = %(category)s AND (a.closed_at IS NULL OR a.drawn_ticks > 0)
            )
            SELECT DISTINCT ON (id) id, child FROM down ORDER BY id, depth, child
            """,
            {"wallet": wallet.pk, "category": wallet.category_id},
        )
        return {wallet.pk: 0, **dict(cursor.fetchall())}


# ------------------------------------------------------------------------------------------------ sums by day
@dataclass(frozen=True, slots=True)
class _Months:
    """What a statement about months told: sums by day where they were asked for, else by month.

    total   the sum of all there ever was, the tail included; 0 where it was not asked for
    """

    by_day: Mapping[date, int]
    by_month: Mapping[date, int]
    after: int
    total: int

    def without(self, others: "_Months") -> "_Months":
        return _Months(
            {day: self.by_day.get(day, 0) - others.by_day.get(day, 0) for day in {*self.by_day, *others.by_day}},
            {month: ticks - others.by_month.get(month, 0) for month, ticks in self.by_month.items()},
            self.after - others.after,
            self.total - others.total,
        )

    def within(self, first: date, last: date) -> int:
        day, total = first, 0
        while day <= last:
            month = month_of(day)
            length = monthrange(day.year, day.month)[1]
            if day.day == 1 and month in self.by_month and last >= day.replace(day=length):
                total += self.by_month[month]
                day = day.replace(day=length)
            else:
                total += self.by_day.get(day, 0)
            if day == date.max:
                break
            day += DAY
        return total


_SUMS: Final = ", ".join(f"sum({day})" for day in DAYS)
_NO_DAYS: Final = ", ".join("0" for _day in DAYS)
# Wallets, one look into the table for each: what it costs follows the answer, not the table. A list of thousands written
# into each condition would take longer to plan than to carry out.
_CHOSEN: Final = "chosen AS MATERIALIZED (SELECT unnest(%(chosen)s::bigint[]) AS id)"


def _each(table: str, columns: str, condition: str, key: str = "wallet_id") -> str:
    """Rows of a table of months for each of the chosen."""
    return f"""chosen CROSS JOIN LATERAL (
        SELECT {columns} FROM {table} t WHERE t.category_id = %(category)s AND t.{key} = chosen.id AND {condition} OFFSET 0
    ) m"""  # noqa: S608  constants


def _series(source: Callable[[str, str], str], used: str, kept: str) -> str:
    """A statement's rows of kind, month, sum, thirty-one sums.

    source   table of months: columns, condition -> rows
    used     what all of them used in all
    kept     which of the reports after the mark count
    """
    return f"""
        WITH {_CHOSEN}, fresh AS MATERIALIZED (
            SELECT day, ticks FROM (SELECT {REPORT_COLUMNS} {REPORTS_AFTER}) r WHERE {kept} AND day >= %(first)s
        )
        SELECT 'days', month, sum(ticks), {_SUMS}
        FROM {source(f"month, ticks, {', '.join(DAYS)}", "month = ANY(%(by_day)s::date[])")} GROUP BY month
        UNION ALL
        SELECT 'month', month, sum(ticks), {_NO_DAYS}
        FROM {source("month, ticks", "month = ANY(%(by_month)s::date[])")} GROUP BY month
        UNION ALL
        SELECT 'after', NULL, sum(ticks), {_NO_DAYS} FROM {source("ticks", "month > %(last)s")}
        UNION ALL
        SELECT 'days', month, sum(ticks), {sums_by(DAYS)}
        FROM (SELECT date_trunc('month', day)::date AS month, extract(day FROM day)::int AS number, ticks FROM fresh) f
        GROUP BY month
        UNION ALL
        SELECT 'total', NULL, {used}, {_NO_DAYS}
    """  # noqa: S608  constants


_OF_WALLETS: Final = _series(
    lambda columns, condition: _each("usage_month", columns, condition),
    "(SELECT sum(used_ticks) FROM chosen JOIN wallet ON wallet.id = chosen.id WHERE category_id = %(category)s)",
    "wallet_id IN (SELECT id FROM chosen)",
)
_OF_CATEGORY: Final = _series(
    lambda columns, condition: (
        f"(SELECT {columns} FROM usage_category_month WHERE category_id = %(category)s AND {condition}) m"  # noqa: S608
    ),
    "(SELECT sum(used_ticks) FROM wallet WHERE category_id = %(category)s)",
    "true",
)
# From so many wallets on it is worth asking whether the others are fewer.
_MANY: Final = 500


def _months(category_id: int, wallet_ids: Iterable[int], days: Days, step: Step) -> _Months:
    """The sums of wallets; of more than half of a category's, those of the whole category without the others."""
    by_day = days.months if step is not Step.MONTH else [month for month, _first, _last in days.edges]
    by_month = [] if step is not Step.MONTH else days.whole_months
    parameters = {"by_day": by_day, "by_month": by_month, "first": days.first, "last": month_of(days.last)}

    def asked(statement: str, chosen: list[int]) -> _Months:
        rows = ask(statement, category_id, {**parameters, "chosen": chosen})
        return _gathered(rows, days, set(by_month))

    wanted = sorted(wallet_ids)
    others = _others(category_id, wanted)
    if others is None:
        return asked(_OF_WALLETS, wanted)
    whole = asked(_OF_CATEGORY, [])
    return whole.without(asked(_OF_WALLETS, others)) if others else whole


def _others(category_id: int, wanted: Sequence[int]) -> list[int] | None:
    """The other wallets of a category; None where they are not so much fewer that it is worth going by them."""
    rows = Wallet.objects.filter(category_id=category_id)
    if len(wanted) < _MANY or rows.count() > 2 * len(wanted):
        return None
    inside = set(wanted)
    return sorted(pk for pk in rows.values_list("pk", flat=True) if pk not in inside)


def _gathered(rows: Iterable[Sequence[Any]], days: Days, by_month: set[date]) -> _Months:
    told: dict[date, int] = {}
    months = dict.fromkeys(by_month, 0)
    after = total = 0
    for kind, month, ticks, *amounts in rows:
        if kind == "total":
            total = int(ticks or 0)
        elif kind == "after" or (month is not None and month > days.last):
            after += int(ticks or 0)
        elif month in months:
            months[month] += int(ticks)
        else:
            for number, amount in enumerate(amounts, start=1):
                if amount:
                    day = month.replace(day=number)
                    told[day] = told.get(day, 0) + int(amount)
    after += sum(ticks for day, ticks in told.items() if day > days.last)
    return _Months(told, months, after, total)


# ------------------------------------------------------------------------------------------------ series
@dataclass(frozen=True, slots=True)
class Point:
    """A step of a period.

    change_ticks   what was used in it, corrections included; of a level, by how much it rose or fell
    level_ticks    all that was used until its end; of a level, the level at its end
    quota_ticks    what the wallet's allocations allowed at its end; drawn_ticks, what of that was drawn
    """

    first: date
    last: date
    change_ticks: int
    level_ticks: int
    quota_ticks: int
    drawn_ticks: int

    @property
    def utilisation(self) -> Fraction | None:
        """Drawn of the quota; None where there was none."""
        return Fraction(self.drawn_ticks, self.quota_ticks) if self.quota_ticks else None


@dataclass(frozen=True, slots=True)
class Series:
    """Use of a wallet over time, with that of all below it or without."""

    wallet: Wallet
    days: Days
    step: Step
    below: bool
    points: tuple[Point, ...]

    @property
    def change_ticks(self) -> int:
        return sum(point.change_ticks for point in self.points)


def usage_series(*, wallet: Wallet, days: Days, at: datetime, step: Step | None = None, below: bool = True) -> Series:
    """Use, quota and utilisation over a period, step by step. The present step is told as it stands, and of those to come
    the quota that is agreed.

    raises   StepTooFine
    """
    step = step or step_for(days)
    if step is not Step.MONTH and len(days) > DAYS_MAX:
        raise StepTooFine(days=DAYS_MAX)
    wallet_ids = below_by_child(wallet) if below else {wallet.pk: 0}
    months = _months(wallet.category_id, wallet_ids, days, step)
    history = quota_history(category_id=wallet.category_id, wallet_id=wallet.pk)
    steps = stretches(days, step)
    changes = [months.within(first, last) for first, last in steps]
    level = months.total - months.after - sum(changes)
    points, today = [], at.astimezone(UTC).date()
    for (first, last), change in zip(steps, changes, strict=True):
        level += change
        quota, drawn = history.at(at if first <= today <= last else _end_of(last))
        points.append(Point(first, last, change, level, quota, drawn))
    return Series(wallet, days, step, below, tuple(points))


# ------------------------------------------------------------------------------------------------ quota over time
@dataclass(frozen=True, slots=True)
class QuotaOverTime:
    """The stages of allocations, and by how much each was drawn on which day."""

    stages: Mapping[int, Sequence[Stage]]
    drawn: Mapping[int, Sequence[tuple[date, int]]]

    def at(self, moment: datetime) -> tuple[int, int]:
        """Quota and drawn of the allocations that were open at an instant; drawn to the end of its day."""
        quotas = quota_at(self.stages, micros(moment))
        day = moment.astimezone(UTC).date()
        return sum(quotas.values()), sum(self.drawn_until(key, day) for key in quotas)

    def drawn_until(self, allocation_id: int, day: date) -> int:
        total = 0
        for when, ticks in self.drawn.get(allocation_id, ()):
            if when > day:
                break
            total = ticks
        return total


_STAGES: Final = f"""
    SELECT allocation_id, posting_id, quota_ticks, start, "end", effective_at FROM quota_history
    WHERE category_id = %(category)s AND allocation_id = ANY(%(allocations)s)
    UNION ALL
    SELECT p.allocation_id, p.id, p.quota_ticks, p.start, p."end", p.effective_at {POSTINGS_AFTER}
      AND p.allocation_id = ANY(%(allocations)s) AND (p.quota_ticks <> 0 OR p.start IS NOT NULL OR p."end" IS NOT NULL)
"""  # noqa: S608
_DRAWN: Final = f"""
    SELECT allocation_id, month, {", ".join(DAYS)} FROM drawn_month
    WHERE category_id = %(category)s AND allocation_id = ANY(%(allocations)s)
    UNION ALL
    SELECT allocation_id, month, {sums_by(DAYS)} FROM (
        SELECT p.allocation_id, date_trunc('month', p.effective_at AT TIME ZONE 'UTC')::date AS month,
               extract(day FROM p.effective_at AT TIME ZONE 'UTC')::int AS number, p.drawn_ticks AS ticks
        {POSTINGS_AFTER} AND p.allocation_id = ANY(%(allocations)s) AND p.drawn_ticks <> 0
    ) f GROUP BY allocation_id, month
"""  # noqa: S608


def _stages_of(category_id: int, allocation_ids: Iterable[int]) -> dict[int, list[Stage]]:
    found: dict[int, list[tuple[int, QuotaChange]]] = {}
    rows = ask(_STAGES, category_id, {"allocations": sorted(allocation_ids)})
    for allocation_id, posting_id, quota, start, end, effective_at in rows:
        change = QuotaChange(
            micros(effective_at),
            int(quota),
            None if start is None else micros(start),
            None if end is None else micros(end),
        )
        found.setdefault(allocation_id, []).append((posting_id, change))
    return {key: stages(change for _id, change in sorted(changes)) for key, changes in found.items()}


def quota_history(*, category_id: int, wallet_id: int) -> QuotaOverTime:
    """What a wallet's allocations allowed and how much of it was drawn, at any instant, as the journal tells it."""
    held = list(Allocation.objects.filter(category_id=category_id, wallet_id=wallet_id).values_list("pk", flat=True))
    if not held:
        return QuotaOverTime({}, {})
    moved: dict[int, dict[date, int]] = {}
    for allocation_id, month, *amounts in ask(_DRAWN, category_id, {"allocations": held}):
        days = moved.setdefault(allocation_id, {})
        for number, amount in enumerate(amounts, start=1):
            if amount:
                day = month.replace(day=number)
                days[day] = days.get(day, 0) + int(amount)
    drawn: dict[int, list[tuple[date, int]]] = {}
    for allocation_id, days in moved.items():
        total = 0
        levels = drawn.setdefault(allocation_id, [])
        for day in sorted(days):
            total += days[day]
            levels.append((day, total))
    return QuotaOverTime(_stages_of(category_id, held), drawn)


# ------------------------------------------------------------------------------------------------ who used how much
class By(StrEnum):
    CHILD = "child"
    PERSON = "person"
    RESOURCE = "resource"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True)
class Part:
    """What one child, person, resource or product used in a period.

    key    id of the child's wallet, of the person or of the resource; None where it is not known or a product
    name   of the child's workspace, of the user at the provider, of the product
    own    it is the wallet itself among its children
    """

    key: int | None
    name: str
    ticks: int
    own: bool = False


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Who or what used how much in a period, the most first.

    other_ticks, other_count   what those used that are not among `parts`, and how many they are
    hidden_ticks               what was used where the asker may not see by whom
    total_ticks                all together
    """

    days: Days
    by: By
    parts: tuple[Part, ...]
    other_ticks: int
    other_count: int
    hidden_ticks: int
    total_ticks: int


_KEYS: Final[Mapping[By, tuple[str, tuple[str, ...]]]] = {
    By.CHILD: ("usage_month", ("wallet_id",)),
    By.PERSON: ("usage_detail_month", ("person_id", "user_name")),
    By.RESOURCE: ("usage_detail_month", ("resource_id",)),
    By.PRODUCT: ("usage_detail_month", ("product",)),
}


def period_sums(days: Days, table: str, keys: Sequence[str], chosen: str = "", each: str = "", years: str = "") -> str:
    """A statement's rows of keys and ticks from a table of months: whole months by their sum, of the others the days.

    chosen   a condition on the rows
    each     instead: the column that is one of the rows of `chosen`, which the statement begins with
    years    a table of the same by year, for what is long
    """
    key = ", ".join(keys)

    def rows(table: str, ticks: str, condition: str) -> str:
        if each:
            source = _each(table, f"{key}, {ticks} AS ticks", condition, each)
            return f"SELECT {key}, ticks FROM {source}"  # noqa: S608
        return (
            f"SELECT {key}, {ticks} AS ticks FROM {table} WHERE category_id = %(category)s AND {chosen} AND {condition}"  # noqa: S608
        )

    by_year = days.whole_months_by_year if years else {}
    parts = [rows(table, "ticks", f"month = ANY(%({'few' if years else 'whole'}_months)s::date[])")]
    parts += [
        rows(years, _parts_of(MONTHS, numbers), f"year = %(year_{year.year})s") for year, numbers in by_year.items()
    ]
    parts += [
        rows(table, _days_of_month(month, first, last), f"month = %(edge_{number})s")
        for number, (month, first, last) in enumerate(days.edges)
    ]
    return " UNION ALL ".join(parts)


def _days_of_month(month: date, first: int, last: int) -> str:
    return _parts_of(DAYS[: monthrange(month.year, month.month)[1]], range(first, last + 1))


def _parts_of(parts: Sequence[str], numbers: Sequence[int]) -> str:
    """The sum of some parts of a row: of more than half of them what is left of it without the others."""
    wanted = [name for number, name in enumerate(parts, start=1) if number in numbers]
    others = [name for name in parts if name not in wanted]
    return " + ".join(wanted) if len(wanted) <= len(others) else " - ".join(("ticks", *others))


def period_parameters(days: Days) -> dict[str, Any]:
    by_year = days.whole_months_by_year
    return {
        "whole_months": days.whole_months,
        "few_months": [month for month in days.whole_months if month.replace(month=1) not in by_year],
        **{f"year_{year.year}": year for year in by_year},
        "first": days.first,
        "last": days.last,
        **{f"edge_{number}": month for number, (month, _first, _last) in enumerate(days.edges)},
    }


def _sums(category_id: int, wallet_ids: Iterable[int], days: Days, by: By, limit: int | None) -> list[tuple[Any, ...]]:
    """Rows of keys, ticks, the sum of all and how many there are, the most first; those that come to nothing left out."""
    table, keys = _KEYS[by]
    key = ", ".join(keys)
    chosen = sorted(wallet_ids)
    if by is not By.CHILD and (others := _others(category_id, chosen)) is not None:
        return _sums_of_nearly_all(category_id, others, days, by, limit)
    with_products = f", {WITH_PRODUCTS}" if by is By.PRODUCT else ""
    statement = f"""
        WITH {_CHOSEN}, fresh AS MATERIALIZED (
            SELECT * FROM (SELECT {REPORT_COLUMNS} {REPORTS_AFTER}) r
            WHERE wallet_id IN (SELECT id FROM chosen) AND day BETWEEN %(first)s AND %(last)s
        ){with_products}
        SELECT {key}, sum(ticks) AS used, sum(sum(ticks)) OVER () AS total, count(*) OVER () AS number
        FROM ({period_sums(days, table, keys, each="wallet_id")}
              UNION ALL SELECT {key}, ticks FROM {"reports" if with_products else "fresh"}) s
        GROUP BY {key} HAVING sum(ticks) <> 0 ORDER BY used DESC, {key} LIMIT %(limit)s
    """  # noqa: S608  constants
    parameters = {"chosen": chosen, "limit": limit, **period_parameters(days)}
    return list(ask(statement, category_id, parameters))


_OF_ALL: Final[Mapping[By, str]] = {
    By.PERSON: "usage_person_month",
    By.RESOURCE: "usage_resource_month",
    By.PRODUCT: "usage_product_month",
}
_OF_ALL_BY_YEAR: Final[Mapping[By, str]] = {By.PERSON: "usage_person_year", By.RESOURCE: "usage_resource_year"}


def _sums_of_nearly_all(
    category_id: int, others: Sequence[int], days: Days, by: By, limit: int | None
) -> list[tuple[Any, ...]]:
    """As `_sums`, of all wallets of a category but these: what the whole category used, without them."""
    table, keys = _KEYS[by]
    key = ", ".join(keys)
    statement = f"""
        WITH {_CHOSEN}, fresh AS MATERIALIZED (
            SELECT * FROM (SELECT {REPORT_COLUMNS} {REPORTS_AFTER}) r
            WHERE wallet_id NOT IN (SELECT id FROM chosen) AND day BETWEEN %(first)s AND %(last)s
        ){f", {WITH_PRODUCTS}" if by is By.PRODUCT else ""}
        SELECT {key}, sum(ticks) AS used, sum(sum(ticks)) OVER () AS total, count(*) OVER () AS number
        FROM ({period_sums(days, _OF_ALL[by], keys, "true", years=_OF_ALL_BY_YEAR.get(by, ""))}
              UNION ALL SELECT {key}, -ticks FROM ({period_sums(days, table, keys, each="wallet_id")}) o
              UNION ALL SELECT {key}, ticks FROM {"reports" if by is By.PRODUCT else "fresh"}) s
        GROUP BY {key} HAVING sum(ticks) <> 0 ORDER BY used DESC, {key} LIMIT %(limit)s
    """  # noqa: S608  constants
    return list(ask(statement, category_id, {"chosen": others, "limit": limit, **period_parameters(days)}))


def usage_breakdown(
    *, wallet: Wallet, days: Days, by: By, seen: Iterable[int] | None = None, below: bool = True, top: int = 10
) -> Breakdown:
    """Who or what used how much, of the wallet and all below it.

    seen   ids of the wallets whose people or resources may be told by name; None = all. By child the names of the
           tree are told to whoever sees the wallet
    """
    children = below_by_child(wallet) if below else {wallet.pk: 0}
    if by is By.CHILD:
        return _by_child(wallet, children, days, top)
    told = set(children) if seen is None else set(children).intersection(seen)
    rows = _sums(wallet.category_id, told, days, by, top)
    total = int(rows[0][-2]) if rows else 0
    hidden = 0
    if len(told) < len(children):
        others = _sums(wallet.category_id, set(children) - told, days, By.CHILD, 1)
        hidden = int(others[0][-2]) if others else 0
    parts = []
    for *keys, ticks, _total, _number in rows:
        number = keys[0] or None if by is not By.PRODUCT else None
        name = keys[-1] if by is not By.RESOURCE else ""
        parts.append(Part(number, name, int(ticks)))
    rest = total - sum(part.ticks for part in parts)
    number = int(rows[0][-1]) - len(rows) if rows else 0
    return Breakdown(days, by, tuple(parts), rest, number, hidden, total + hidden)


def _by_child(wallet: Wallet, children: Mapping[int, int], days: Days, top: int) -> Breakdown:
    used: dict[int, int] = {}
    for wallet_id, ticks, _total, _number in _sums(wallet.category_id, children, days, By.CHILD, None):
        child = children[wallet_id]
        used[child] = used.get(child, 0) + int(ticks)
    ranked = sorted(((ticks, child) for child, ticks in used.items() if ticks), key=lambda one: (-one[0], one[1]))
    shown = ranked[:top]
    wallets = _named(child or wallet.pk for _ticks, child in shown)
    parts = tuple(
        Part(child or wallet.pk, str(wallets[child or wallet.pk].workspace), ticks, own=not child)
        for ticks, child in shown
    )
    other = sum(ticks for ticks, _child in ranked[top:])
    total = sum(ticks for ticks, _child in ranked)
    return Breakdown(days, By.CHILD, parts, other, len(ranked) - len(shown), 0, total)


def _named(wallet_ids: Iterable[int]) -> dict[int, Wallet]:
    owners = (f"workspace__{owner}" for owner in ("project", "organization", "person"))
    return Wallet.objects.select_related(*owners).in_bulk(list(wallet_ids))


# ------------------------------------------------------------------------------------------------ health
@dataclass(frozen=True, slots=True)
class ChildHealth:
    """How one holder uses what it has from one source. `state` None: nothing of it is open."""

    wallet: Wallet
    state: Health | None
    quota_ticks: int
    drawn_ticks: int


@dataclass(frozen=True, slots=True)
class Commitment:
    """What was given out of a wallet's quota at an instant.

    ratio         given for held; None where nothing is held
    recommended   the ratio with which nine tenths would be used at `expiry`, at the pace of those who hold it now; None
                  where there is no pace
    """

    held_ticks: int
    given_ticks: int
    ratio: Fraction | None
    recommended: Fraction | None
    expiry: datetime | None


def commitment_at(*, wallet: Wallet, at: datetime) -> tuple[int, int]:
    """Quota held and quota given out at any instant, past ones as the journal tells them."""
    rows = Allocation.objects.filter(category_id=wallet.category_id)
    into = list(rows.filter(wallet=wallet).values_list("pk", flat=True))
    out = list(rows.filter(source=wallet).values_list("pk", flat=True))
    if not into and not out:
        return 0, 0
    quotas = quota_at(_stages_of(wallet.category_id, {*into, *out}), micros(at))
    return sum(quotas.get(key, 0) for key in into), sum(quotas.get(key, 0) for key in out)


def commitment(
    *, wallet: Wallet, into: Iterable[AllocationState], out: Iterable[AllocationState], at: datetime
) -> Commitment:
    """Of a wallet's allocations as they are now, `into` it and `out` of it."""
    now, over_time = micros(at), wallet.category.is_over_time
    mine = [one for one in map(_held, _unclosed(into)) if one.holds(now)]
    given = [_held(one) for one in _unclosed(out)]
    held = sum(one.quota for one in mine)
    running = [one for one in given if one.holds(now)]
    expiry = next_expiry(given, now)
    # What flows through a wallet is its own and that of those below; the rest of what it drew is its own.
    drawn = sum(one.drawn for one in mine)
    share = Fraction(max(0, drawn - sum(one.drawn for one in running)), drawn) if drawn else Fraction(0)
    here = share * sum((paced(one, expiry or now, is_over_time=over_time, now=now) for one in mine), Fraction(0))
    return Commitment(
        held_ticks=held,
        given_ticks=sum(one.quota for one in running),
        ratio=over_commitment(sum(one.quota for one in running), held),
        recommended=recommended_over_commitment(given, held=held, used_here=here, is_over_time=over_time, now=now),
        expiry=None if expiry is None else instant(expiry),
    )


def children_health(*, wallet: Wallet, at: datetime) -> tuple[Commitment, list[ChildHealth]]:
    """How those who hold quota of a wallet use it, by name; and how much was given out."""
    into = accounting.allocations_into(wallet=wallet, at=at)
    out = accounting.allocations_out_of(wallet=wallet, at=at)
    by_child: dict[int, list[AllocationState]] = {}
    for one in out:
        by_child.setdefault(one.allocation.wallet_id, []).append(one)
    states = health_of(category=wallet.category, groups=by_child, at=at)
    now = micros(at)
    rows = []
    for child_id, group in by_child.items():
        running = [one for one in map(_held, _unclosed(group)) if one.holds(now)]
        rows.append(
            ChildHealth(
                group[0].allocation.wallet,
                states[child_id],
                sum(one.quota for one in running),
                sum(one.drawn for one in running),
            )
        )
    rows.sort(key=lambda row: (str(row.wallet.workspace), row.wallet.pk))
    return commitment(wallet=wallet, into=into, out=out, at=at), rows


def health_of(
    *, category: Any, groups: Mapping[Any, Sequence[AllocationState]], at: datetime
) -> dict[Any, Health | None]:
    """The health of each group of allocations of one holder from one source; two statements for any number."""
    now = micros(at)
    wanted = [one.allocation.pk for group in groups.values() for one in _unclosed(group)]
    lately = _drawn_lately(category.pk, wanted, at)
    return {
        key: health(
            [_held(one) for one in _unclosed(group)],
            used_lately=any(lately.get(one.allocation.pk, 0) > 0 for one in group),
            is_over_time=category.is_over_time,
            now=now,
        )
        for key, group in groups.items()
    }


def _drawn_lately(category_id: int, allocation_ids: Sequence[int], at: datetime) -> dict[int, int]:
    """What was drawn through allocations in the last 30 days, today included."""
    if not allocation_ids:
        return {}
    today = at.astimezone(UTC).date()
    days = Days(today - timedelta(days=LATELY_DAYS - 1), today)
    statement = f"""
        WITH {_CHOSEN}
        SELECT allocation_id, sum(ticks) FROM (
            {period_sums(days, "drawn_month", ("allocation_id",), each="allocation_id")}
            UNION ALL
            SELECT p.allocation_id, p.drawn_ticks {POSTINGS_AFTER} AND p.drawn_ticks <> 0
              AND p.allocation_id IN (SELECT id FROM chosen)
              AND (p.effective_at AT TIME ZONE 'UTC')::date BETWEEN %(first)s AND %(last)s
        ) s GROUP BY allocation_id
    """  # noqa: S608  constants
    rows = ask(statement, category_id, {"chosen": sorted(allocation_ids), **period_parameters(days)})
    return {allocation_id: int(ticks) for allocation_id, ticks in rows}


def _unclosed(states: Iterable[AllocationState]) -> list[AllocationState]:
    return [one for one in states if one.state != "closed"]


def _held(state: AllocationState) -> Held:
    one = state.allocation
    return Held(one.quota_ticks, state.drawn_ticks, micros(one.start), micros(one.end))
