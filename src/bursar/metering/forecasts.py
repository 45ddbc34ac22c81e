"""When a wallet is likely to run out, and what of its allocations is likely to be forfeited.

The sums are `bursar.engine.forecast`; here they are given what was used and what is held. Usage is that of the wallet and of all
below it: what a wallet that has other sources too used is counted whole in each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np
from django.db import connection
from django.db.models import Min

from bursar.accounting.books import Loaded, instant, micros, read
from bursar.accounting.models import Allocation, Wallet
from bursar.accounting.selectors import ids_below
from bursar.catalogue.models import ProductCategory
from bursar.engine.backtest import Backtest, backtest
from bursar.engine.forecast import (
    HISTORY_WEEKS_MAX,
    Forecast,
    Grant,
    Range,
    Stretch,
    forecast,
    forecast_level,
)
from bursar.engine.ledger import advance, available
from bursar.engine.ledger.book import ROOT, Book, Charged, Ints
from bursar.metering.selectors import usage_by_day

HISTORY: Final = timedelta(weeks=HISTORY_WEEKS_MAX)


class Known(StrEnum):
    YES = "yes"
    TOO_SHORT = "too_short"  # less than two whole weeks since its first allocation began
    NOTHING_HELD = "nothing_held"  # no allocation is open or planned
    FREE = "free"  # free to use: there is no bound to run into


@dataclass(frozen=True, slots=True)
class Forfeit:
    """What is likely to be unused of an allocation at its end, in ticks; None beyond the horizon of two years."""

    allocation_id: int
    end: datetime
    ticks: Range | None


@dataclass(frozen=True, slots=True)
class FanPoint:
    """What is used from now until an instant; of a level, where it stands then. Ticks."""

    at: datetime
    ticks: Range


@dataclass(frozen=True, slots=True)
class WalletForecast:
    """The answers at 10, 50 and 90%.

    weeks                whole weeks of history it rests on
    early, likely, late  by when 10, 50, 90% of the futures have run out; None = fewer have before `until`
    samples, run_out     how many futures were drawn, and how many of them run out before `until`
    forfeits             over time only, by end; a level gives back what it leaves
    bound_ticks          what can be used from now on as things stand (of a level: how high it may stand)
    until                the last end, or the horizon
    """

    wallet_id: int
    known: Known
    weeks: int = 0
    early: datetime | None = None
    likely: datetime | None = None
    late: datetime | None = None
    samples: int = 0
    run_out: int = 0
    forfeits: tuple[Forfeit, ...] = ()
    fan: tuple[FanPoint, ...] = ()
    bound_ticks: int = 0
    until: datetime | None = None


def forecast_of(*, wallet: Wallet, at: datetime) -> WalletForecast:
    """The forecast of a wallet: four statements, whatever its history. The same wallet, day and books give the same answer."""
    category = wallet.category
    if not category.requires_allocation:
        return WalletForecast(wallet.pk, Known.FREE)
    loaded = read(category, [wallet.pk], at)
    book, row = loaded.book, loaded.row_of_wallet[wallet.pk]
    held = np.flatnonzero((book.wallet == row) & ~book.closed & (book.end > book.now)).tolist()
    if not held:
        return WalletForecast(wallet.pk, Known.NOTHING_HELD)
    ahead = _ahead(book, row, held)
    usage = _usage(wallet, at)
    stops = _stops(wallet)
    now = book.now
    if category.is_over_time:
        columns = {source: place for place, source in enumerate(ahead.sources)}
        found = forecast(
            usage=usage,
            now=now,
            grants=[_grant(book, one, columns) for one in held],
            stretches=ahead.stretches(),
            uncovered=int(book.uncovered[row]),
            stops=stops,
            seed=wallet.pk,
        )
        standing, bound = 0, ahead.free[0][-1]
    else:
        mine = book.wallet == row
        standing = int(book.drawn[mine].sum() + book.uncovered[row] + book.written_off[row])
        found = forecast_level(
            changes=usage,
            level=standing,
            now=now,
            last=int(book.end[held].max()),
            rooms=ahead.rooms(),
            stops=stops,
            seed=wallet.pk,
        )
        bound = standing + ahead.free[0][-1] - int(book.uncovered[row])
    return _told(wallet, loaded, held, found, standing, bound)


def _grant(book: Book, row: int, columns: dict[int, int]) -> Grant:
    return Grant(
        left=int(book.quota[row] - book.drawn[row]),
        start=int(book.start[row]),
        end=int(book.end[row]),
        priority=int(book.priority[row]),
        source=columns.get(int(book.source[row])),
    )


def _told(
    wallet: Wallet, loaded: Loaded, held: Sequence[int], found: Forecast, standing: int, bound: int
) -> WalletForecast:
    if found.run_out is None:
        return WalletForecast(wallet.pk, Known.TOO_SHORT, weeks=found.weeks)
    moments = (found.run_out.early, found.run_out.likely, found.run_out.late)
    early, likely, late = (None if one is None else instant(one) for one in moments)
    forfeits = [
        Forfeit(loaded.allocation_ids[row], instant(int(loaded.book.end[row])), ticks)
        for row, ticks in zip(held, found.forfeited, strict=False)
    ]
    return WalletForecast(
        wallet_id=wallet.pk,
        known=Known.YES,
        weeks=found.weeks,
        early=early,
        likely=likely,
        late=late,
        samples=found.samples,
        run_out=found.run_out.samples,
        forfeits=tuple(sorted(forfeits, key=lambda one: (one.end, one.allocation_id))),
        fan=tuple(
            FanPoint(instant(moment), Range(ticks.low + standing, ticks.middle + standing, ticks.high + standing))
            for moment, ticks in found.fan
        ),
        bound_ticks=bound,
        until=instant(found.fan[-1][0]),
    )


# ------------------------------------------------------------------------------------------------ what was used
def _usage(wallet: Wallet, at: datetime) -> Ints:
    """By day until yesterday (UTC), at most a year, from the first whole day on which the wallet held something."""
    began = Allocation.objects.filter(category_id=wallet.category_id, wallet=wallet, start__lte=at).aggregate(
        first=Min("start")
    )["first"]
    if began is None:
        return np.zeros(0, dtype=np.int64)
    until = _midnight(at)
    since = max(_first_whole_day(began), until - HISTORY)
    days = max(0, (until - since).days)
    usage: Ints = np.zeros(days, dtype=np.int64)
    if days:
        found = usage_by_day(
            category_id=wallet.category_id, wallet_ids=ids_below(wallet=wallet), since=since, until=until
        )
        for one in found:
            usage[(one.day - since.date()).days] = one.ticks
    return usage if wallet.category.is_over_time else _changes(usage)


def _changes(days: Ints) -> Ints:
    """The first report of a level says where it stands, not that it rose: what can happen again begins after it."""
    found = np.flatnonzero(days)
    return days[found[0] + 1 :] if len(found) else days


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _first_whole_day(at: datetime) -> datetime:
    return _midnight(at + timedelta(days=1) - timedelta(microseconds=1))


def _stops(wallet: Wallet) -> int | None:
    """When the project that holds it ends, or was archived: nothing is used from then on."""
    project = wallet.workspace.project
    if project is None:
        return None
    ends = [one for one in (project.end, project.archived_at) if one is not None]
    return micros(min(ends)) if ends else None


# ------------------------------------------------------------------------------------------------ what is free above
@dataclass(frozen=True, slots=True)
class _Ahead:
    """At each instant when a window on the way up starts or ends: what is free then by source, and last in the wallet.

    standing   what stands uncovered in the wallet then, of a level
    is_open    whether the wallet holds an open allocation then
    """

    sources: list[int]
    instants: list[int]
    free: list[tuple[int, ...]]
    kept: list[tuple[int, ...]]
    standing: list[int]
    is_open: list[bool]

    def stretches(self) -> list[Stretch]:
        return [Stretch(*one) for one in zip(self.instants, self.free, self.kept, strict=True)]

    def rooms(self) -> list[tuple[int, int | None]]:
        found = zip(self.instants, self.free, self.standing, self.is_open, strict=True)
        return [(at, free[-1] - standing if is_open else None) for at, free, standing, is_open in found]


def _ahead(loaded_book: Book, row: int, held: Sequence[int]) -> _Ahead:
    """Let time pass on a copy of the book in which nobody uses anything more."""
    book = loaded_book.copy()
    above, edge = {row}, {row}
    while edge:
        sources = book.source[np.isin(book.wallet, list(edge)) & ~book.closed]
        edge = set(sources[sources != ROOT].tolist()) - above
        above |= edge
    on_the_way = np.isin(book.wallet, list(above)) & ~book.closed
    end = int(book.end[held].max())
    bounds = np.concatenate((book.start[on_the_way], book.end[on_the_way]))
    instants = [book.now, *np.unique(bounds[(bounds > book.now) & (bounds < end)]).tolist()]
    found = _Ahead(sorted(set(book.source[held].tolist()) - {ROOT}), instants, [], [], [], [])
    if book.rules.charged is Charged.OVER_TIME:
        # The forecast covers what stands here by itself: here it must not take its room a second time.
        book.used[row] -= book.uncovered[row]
        book.uncovered[row] = 0
    for number, at in enumerate(instants):
        if number:
            advance(book, at)
        asked = [*found.sources, row]
        free = tuple(available(book, one) for one in asked)
        kept = free
        if number:
            before = book.copy()
            before.closed |= book.start == at
            kept = tuple(min(available(before, one), most) for one, most in zip(asked, free, strict=True))
        found.free.append(free)
        found.kept.append(kept)
        found.standing.append(int(book.uncovered[row]))
        found.is_open.append(bool((book.holds(at) & ~book.closed & (book.wallet == row)).any()))
    return found


# ------------------------------------------------------------------------------------------------ looking back
def backtest_category(*, category: ProductCategory, at: datetime, seed: int) -> Backtest:
    """What the forecast would have said of each wallet's own usage in the last year, beside what came: two statements.

    A history begins with the wallet's first allocation, or with its first usage where it came before.
    """
    until = _midnight(at)
    since = until - HISTORY
    usage: dict[int, Ints] = {}
    began: dict[int, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT wallet_id, (used_at AT TIME ZONE 'UTC')::date - %(first)s::date, sum(posted_ticks)::bigint
            FROM usage_report WHERE category_id = %(category)s AND used_at >= %(since)s AND used_at < %(until)s
            GROUP BY 1, 2 ORDER BY 1, 2
            """,
            {"category": category.pk, "since": since, "until": until, "first": since.date()},
        )
        for wallet_id, day, ticks in cursor:
            if wallet_id not in usage:
                usage[wallet_id] = np.zeros(HISTORY.days, dtype=np.int64)
                began[wallet_id] = day
            usage[wallet_id][day] = ticks
    starts = Allocation.objects.filter(category=category, wallet_id__in=list(usage)).values_list("wallet_id")
    for wallet_id, first in starts.annotate(first=Min("start")):
        began[wallet_id] = max(0, min(began[wallet_id], (_first_whole_day(first) - since).days))
    histories = [days[began[wallet_id] :] for wallet_id, days in sorted(usage.items())]
    return backtest(
        [days if category.is_over_time else _changes(days) for days in histories],
        seed=seed,
        is_level=not category.is_over_time,
    )
