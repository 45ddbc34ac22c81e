"""The journal asked by both times: a wallet as it was at an effective instant, as far as was known at another.

Usage took effect in the hour that it belongs to and is known from when it was recorded, so a late report changes the past as
it is known later and leaves alone what was known before. The answer is added up from the journal alone; the present
balances are not looked at. `checkpoints` makes it quicker, never different.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from django.db.models import prefetch_related_objects

from bursar.accounting.books import micros, rules_of
from bursar.accounting.checkpoints import prefix
from bursar.accounting.errors import EffectiveAfterKnown, KnownInTheFuture
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.engine import ledger as engine
from bursar.engine.ledger import Book
from bursar.engine.ledger.book import ROOT, Ints
from bursar.engine.ledger.plan import drawing
from bursar.structure import prepared


@dataclass(frozen=True, slots=True)
class AllocationAsOf:
    """An allocation in the past: `state` is unmade, planned, open, grace or closed.

    An unmade one took effect later, but usage of before was drawn through it; it has no quota and no window yet.
    """

    allocation: Allocation
    quota_ticks: int
    drawn_ticks: int
    start: datetime | None
    end: datetime | None
    state: str


@dataclass(frozen=True, slots=True)
class BalanceAsOf:
    """A wallet at an effective instant, as far as was known at another. `available_ticks` None: free to use, no bound.

    known_at   None: everything that is known
    """

    wallet: Wallet
    effective_at: datetime
    known_at: datetime | None
    quota_ticks: int
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    available_ticks: int | None
    locked: bool
    over: bool
    allocations: tuple[AllocationAsOf, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """From one balance of a wallet to another: the second less the first, in ticks.

    available_ticks   None where there is no bound
    allocations       (allocation, quota, drawn): those of which one of the two changed
    """

    first: BalanceAsOf
    second: BalanceAsOf
    quota_ticks: int
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    available_ticks: int | None
    allocations: tuple[tuple[Allocation, int, int], ...]


def balance_as_of(
    *,
    wallet: Wallet,
    effective_at: datetime | None = None,
    known_at: datetime | None = None,
    at: datetime,
    use_checkpoints: bool = True,
) -> BalanceAsOf:
    """A wallet as it was; without times, as it is.

    effective_at   when it was so; None: at `known_at`
    known_at       what was recorded by then is counted; None: everything
    raises         KnownInTheFuture, EffectiveAfterKnown
    """
    return balances_as_of(
        wallets=[wallet], effective_at=effective_at, known_at=known_at, at=at, use_checkpoints=use_checkpoints
    )[wallet.pk]


def balances_as_of(
    *,
    wallets: Sequence[Wallet],
    effective_at: datetime | None = None,
    known_at: datetime | None = None,
    at: datetime,
    use_checkpoints: bool = True,
) -> dict[int, BalanceAsOf]:
    """`balance_as_of` for wallets of one category, by id; as many statements as for one."""
    if known_at is not None and known_at > at:
        raise KnownInTheFuture
    latest = known_at or at
    if effective_at is not None and effective_at > latest:
        raise EffectiveAfterKnown
    if not wallets:
        return {}
    past = _Past(wallets[0].category, effective_at or latest, known_at, use_checkpoints=use_checkpoints)
    past.load([wallet.pk for wallet in wallets], present=effective_at is None and known_at is None)
    return past.balances(wallets)


def name_sources(balance: BalanceAsOf) -> BalanceAsOf:
    """Fetch the names of what a balance's allocations come from, for whoever shows them: a few statements, however many."""
    names = ("project", "organization", "person")
    allocations = [one.allocation for one in balance.allocations]
    prefetch_related_objects(allocations, *(f"source__workspace__{name}" for name in names))
    return balance


def difference(first: BalanceAsOf, second: BalanceAsOf) -> Difference:
    """What changed between two balances of one wallet."""
    quota: dict[int, int] = defaultdict(int)
    drawn: dict[int, int] = defaultdict(int)
    named: dict[int, Allocation] = {}
    for sign, balance in ((-1, first), (1, second)):
        for one in balance.allocations:
            named[one.allocation.pk] = one.allocation
            quota[one.allocation.pk] += sign * one.quota_ticks
            drawn[one.allocation.pk] += sign * one.drawn_ticks
    bound = first.available_ticks is not None and second.available_ticks is not None
    return Difference(
        first=first,
        second=second,
        quota_ticks=second.quota_ticks - first.quota_ticks,
        used_ticks=second.used_ticks - first.used_ticks,
        uncovered_ticks=second.uncovered_ticks - first.uncovered_ticks,
        written_off_ticks=second.written_off_ticks - first.written_off_ticks,
        available_ticks=(second.available_ticks or 0) - (first.available_ticks or 0) if bound else None,
        allocations=tuple((named[key], quota[key], drawn[key]) for key in sorted(named) if quota[key] or drawn[key]),
    )


@dataclass(slots=True)
class _Terms:
    """What was agreed of an allocation by then."""

    quota: int = 0
    start: datetime | None = None
    end: datetime | None = None
    closed: bool = False


@dataclass(slots=True)
class _Figures:
    used: int = 0
    uncovered: int = 0
    written_off: int = 0
    drawn: dict[int, int] = field(default_factory=lambda: defaultdict(int))


# The wallets asked for and all that they ever had a source in.
_ABOVE: Final = """
WITH RECURSIVE up(id) AS (
    SELECT unnest(%(wallets)s::bigint[])
    UNION
    SELECT above.source_id FROM up CROSS JOIN LATERAL (
        SELECT a.source_id FROM allocation a
        WHERE a.wallet_id = up.id AND a.category_id = %(category)s AND a.source_id IS NOT NULL
        OFFSET 0
    ) AS above
) SELECT id FROM up
"""

# Holders of what starts, ends or closes in (clock, at], by the windows of now.
_DUE: Final = """
SELECT wallet_id FROM allocation WHERE category_id = %(category)s AND start > %(clock)s AND start <= %(at)s
UNION SELECT wallet_id FROM allocation WHERE category_id = %(category)s AND "end" > %(clock)s AND "end" <= %(at)s
UNION SELECT wallet_id FROM allocation
WHERE category_id = %(category)s AND "end" > %(clock)s - %(grace)s AND "end" <= %(at)s - %(grace)s
"""

# And by the windows of then, of those that were moved since.
_DUE_THEN: Final = """
SELECT p.wallet_id FROM (
    SELECT DISTINCT wallet_id, allocation_id FROM posting
    WHERE category_id = %(category)s AND start IS NOT NULL AND recorded_at > %(known)s
) AS p CROSS JOIN LATERAL (
    SELECT start, "end" FROM posting
    WHERE category_id = %(category)s AND wallet_id = p.wallet_id AND allocation_id = p.allocation_id
      AND start IS NOT NULL AND recorded_at <= %(known)s
    ORDER BY recorded_at DESC, id DESC LIMIT 1
) AS w
WHERE w.start > %(clock)s AND w.start <= %(at)s OR w."end" > %(clock)s AND w."end" <= %(at)s
   OR w."end" > %(clock)s - %(grace)s AND w."end" <= %(at)s - %(grace)s
"""

_TERMS: Final = """
SELECT allocation_id, quota_ticks, start, "end", turned FROM posting
WHERE category_id = %(category)s AND wallet_id = ANY(%(wallets)s::bigint[])
  AND (start IS NOT NULL OR turned <> '' OR quota_ticks <> 0)
  AND recorded_at <= %(known)s AND operation_id <= %(last)s AND effective_at <= %(at)s
ORDER BY id
"""

_TICKS: Final = "sum(used_ticks), sum(uncovered_ticks), sum(written_off_ticks), sum(drawn_ticks)"

_SUM_ALL: Final = f"""
SELECT wallet_id, coalesce(allocation_id, 0), {_TICKS} FROM posting
WHERE category_id = %(category)s AND wallet_id = ANY(%(wallets)s::bigint[])
  AND effective_at <= %(at)s AND recorded_at <= %(known)s AND operation_id <= %(last)s
GROUP BY 1, 2
"""  # noqa: S608  constants

_SUM_STRETCHES: Final = f"""
SELECT k.wallet_id, k.allocation_id, {_TICKS}
FROM (
    SELECT id AS wallet_id, 0::bigint AS allocation_id FROM unnest(%(wallets)s::bigint[]) AS u(id)
    UNION ALL
    SELECT wallet_id, id FROM allocation WHERE category_id = %(category)s AND wallet_id = ANY(%(wallets)s::bigint[])
) AS k
CROSS JOIN unnest(%(numbers)s::int[]) AS n(number)
CROSS JOIN LATERAL (
    SELECT used_ticks, uncovered_ticks, written_off_ticks, drawn_ticks FROM ledger_checkpoint_sum s
    WHERE s.category_id = %(category)s AND s.wallet_id = k.wallet_id AND s.allocation_id = k.allocation_id
      AND s.number = n.number AND s.effective_at <= %(at)s
    ORDER BY s.effective_at DESC LIMIT 1
) AS s
GROUP BY 1, 2
"""  # noqa: S608  constants

# By recording, which is one short stretch of the table, and not by wallet, which may have millions: OFFSET 0 keeps the
# planner from choosing.
_SUM_TAIL: Final = f"""
SELECT wallet_id, coalesce(allocation_id, 0), {_TICKS} FROM (
    SELECT wallet_id, allocation_id, used_ticks, uncovered_ticks, written_off_ticks, drawn_ticks, effective_at FROM posting
    WHERE category_id = %(category)s AND recorded_at > %(since)s AND recorded_at <= %(known)s AND operation_id <= %(last)s
    OFFSET 0
) AS tail
WHERE wallet_id = ANY(%(wallets)s::bigint[]) AND effective_at <= %(at)s
GROUP BY 1, 2
"""  # noqa: S608  constants


class _Past:
    """A part of a category's ledger, added up from the journal.

    The statements agree on one state of the journal by the last operation that the first of them saw: numbers grow in the
    order of recording, and nothing is ever changed.
    """

    def __init__(
        self, category: ProductCategory, effective_at: datetime, known_at: datetime | None, *, use_checkpoints: bool
    ) -> None:
        self.category = category
        self.at = effective_at
        self.known_at = known_at
        self.rules = rules_of(category)
        self._use_checkpoints = use_checkpoints
        self._parameters: dict[str, Any] = {"category": category.pk}

    def load(self, wallet_ids: list[int], *, present: bool) -> None:
        last = self._fetch(
            """
            SELECT recorded_at, id FROM ledger_operation
            WHERE category_id = %(category)s AND recorded_at <= coalesce(%(known)s::timestamptz, 'infinity')
            ORDER BY recorded_at DESC, id DESC LIMIT 1
            """,
            known=self.known_at,
        )
        clock, number = last[0] if last else (self.at, 0)
        # Two servers' clocks may differ a little: what was recorded belongs to the present.
        self.at = max(self.at, clock) if present else self.at
        applied_until = min(self.at, clock)
        self._parameters |= {"known": clock, "last": number, "at": self.at}
        asked = list(wallet_ids)
        if applied_until < self.at and last:
            grace = timedelta(microseconds=self.rules.grace)
            asked += [row[0] for row in self._fetch(_DUE, clock=clock, grace=grace)]
            if self.known_at is not None:
                asked += [row[0] for row in self._fetch(_DUE_THEN, clock=clock, grace=grace)]
        above = self._fetch(_ABOVE, wallets=asked)
        self.wallet_ids = sorted(row[0] for row in above)
        self.figures = self._figures()
        self.terms: dict[int, _Terms] = defaultdict(_Terms)
        for key, quota, start, end, turned in self._fetch(_TERMS, wallets=self.wallet_ids):
            terms = self.terms[key]
            terms.quota += quota
            if start is not None:
                terms.start, terms.end = start, end
            terms.closed = terms.closed or turned == "closed"
        self.allocations = list(
            Allocation.objects.filter(category=self.category, wallet_id__in=self.wallet_ids).order_by("pk")
        )
        self._make_book(applied_until)

    def _fetch(self, statement: str, **more: Any) -> list[tuple[Any, ...]]:
        with prepared.cursor() as cursor:
            cursor.execute(statement, self._parameters | more)
            return cursor.fetchall()

    def _figures(self) -> Mapping[int, _Figures]:
        summed, numbers, since = self._checkpoint()
        found: list[tuple[Any, ...]] = []
        if summed:
            found += self._fetch(_SUM_STRETCHES, wallets=summed, numbers=numbers)
            found += self._fetch(_SUM_TAIL, wallets=summed, since=since)
        others = sorted(set(self.wallet_ids) - set(summed))
        if others:
            found += self._fetch(_SUM_ALL, wallets=others)
        figures: dict[int, _Figures] = defaultdict(_Figures)
        for wallet_id, allocation_id, used, uncovered, written_off, drawn in found:
            one = figures[wallet_id]
            one.used += int(used)
            one.uncovered += int(uncovered)
            one.written_off += int(written_off)
            if allocation_id:
                one.drawn[allocation_id] += int(drawn)
        return figures

    def _checkpoint(self) -> tuple[list[int], list[int], datetime | None]:
        """The wallets that are summed up, the stretches up to the last checkpoint that was known, and where it stands."""
        if not self._use_checkpoints:
            return [], [], None
        rows = self._fetch(
            """
            SELECT c.number, c.recorded_until, (
                SELECT array_agg(wallet_id) FROM ledger_checkpoint_wallet
                WHERE category_id = %(category)s AND wallet_id = ANY(%(wallets)s::bigint[]) AND summed_since IS NOT NULL
            )
            FROM ledger_checkpoint c WHERE c.category_id = %(category)s AND c.recorded_until <= %(known)s
            ORDER BY c.recorded_until DESC LIMIT 1
            """,
            wallets=self.wallet_ids,
        )
        if not rows or not rows[0][2]:
            return [], [], None
        number, until, summed = rows[0]
        return sorted(summed), prefix(number), until

    def _make_book(self, applied_until: datetime) -> None:
        rows = self.row_of_wallet = {key: row for row, key in enumerate(self.wallet_ids)}
        figures = [self.figures[key] for key in self.wallet_ids]
        terms = [self.terms[one.pk] for one in self.allocations]
        self.book = Book(
            rules=self.rules,
            now=micros(applied_until),
            used=_ints(one.used for one in figures),
            uncovered=_ints(one.uncovered for one in figures),
            written_off=_ints(one.written_off for one in figures),
            locked=np.full(len(figures), self.rules.requires_allocation, dtype=np.bool_),
            wallet=_ints(rows[one.wallet_id] for one in self.allocations),
            source=_ints(ROOT if one.source_id is None else rows[one.source_id] for one in self.allocations),
            quota=_ints(one.quota for one in terms),
            drawn=_ints(self.figures[one.wallet_id].drawn[one.pk] for one in self.allocations),
            start=_ints(0 if one.start is None else micros(one.start) for one in terms),
            end=_ints(0 if one.end is None else micros(one.end) for one in terms),
            priority=_ints(one.priority for one in self.allocations),
            closed=np.array([one.closed or one.start is None for one in terms], dtype=np.bool_),
        )
        if applied_until < self.at:
            engine.advance(self.book, micros(self.at))

    def balances(self, wallets: Sequence[Wallet]) -> dict[int, BalanceAsOf]:
        book = self.book
        columns = (book.used.tolist(), book.uncovered.tolist(), book.written_off.tolist())
        allocations: dict[int, list[AllocationAsOf]] = defaultdict(list)
        for place, allocation in enumerate(self.allocations):
            known = self._allocation(place, allocation)
            if known is not None:
                allocations[allocation.wallet_id].append(known)
        # What came late may have been drawn through quota of later, or given back before it was used: then a past sum
        # lies outside the bounds that hold in the present, and there is no more and no less room than none and all.
        np.maximum(book.drawn, 0, out=book.drawn)
        np.maximum(book.quota, book.drawn, out=book.quota)
        free = not book.rules.requires_allocation
        into, over = drawing(book, book.now).into, engine.over(book).tolist()
        found = {}
        for wallet in wallets:
            row = self.row_of_wallet[wallet.pk]
            available = None if free else engine.available(book, row)
            used, uncovered, written_off = (column[row] for column in columns)
            found[wallet.pk] = BalanceAsOf(
                wallet=wallet,
                effective_at=self.at,
                known_at=self.known_at,
                quota_ticks=sum(self.terms[self.allocations[one].pk].quota for one in into[row]),
                used_ticks=used,
                uncovered_ticks=uncovered,
                written_off_ticks=written_off,
                available_ticks=available,
                locked=available == 0,
                over=over[row] and not free,
                allocations=tuple(allocations[wallet.pk]),
            )
        return found

    def _allocation(self, row: int, allocation: Allocation) -> AllocationAsOf | None:
        """None where nothing was known of it."""
        book, terms = self.book, self.terms[allocation.pk]
        drawn = int(book.drawn[row])
        if terms.start is None:
            return AllocationAsOf(allocation, terms.quota, drawn, None, None, "unmade") if drawn else None
        if book.closed[row]:
            state = "closed"
        elif book.now < book.start[row]:
            state = "planned"
        elif book.now < book.end[row]:
            state = "open"
        else:
            state = "grace" if book.now < book.closes()[row] else "closed"
        return AllocationAsOf(allocation, terms.quota, drawn, terms.start, terms.end, state)


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), dtype=np.int64)
