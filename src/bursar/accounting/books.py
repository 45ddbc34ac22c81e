"""Between the tables and the engine: load the part of a category's ledger that is needed, and write back what changed."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from django.db import connection, transaction

from bursar.accounting import columns, copying
from bursar.accounting.models import Wallet
from bursar.catalogue.models import ProductCategory
from bursar.engine.ledger import Book, Change, Charged, Kind, Rules, advance, lock_states
from bursar.engine.ledger.book import MAX, ROOT, Ints
from bursar.events.services import Happening, record_all
from bursar.structure import prepared

_CLOCK, _WALLET, _ALLOCATION = range(3)  # what a row of _LOAD is about
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
DAY: Final = timedelta(days=1) // MICROSECOND
HOUR: Final = timedelta(hours=1) // MICROSECOND

# One statement, so that a reader without the lock sees one state: the clock, the wallets (those asked for, those with
# something due, and all above them) and their allocations. A closed allocation that nothing was drawn through says nothing.
# All columns are bigint; -1 is the provider.
# OFFSET 0 and the array keep the planner, which cannot know how few are above, from reading whole tables, and `+ 0` from
# going through a category that is so new that it believes it to be empty.
_LOAD: Final = """
WITH RECURSIVE clock AS (
    SELECT applied_until FROM ledger_clock WHERE category_id = %(category)s
), due AS (
    SELECT a.wallet_id FROM allocation a
    WHERE a.category_id = %(category)s AND a.closed_at IS NULL
      AND a.start > (SELECT applied_until FROM clock) AND a.start <= %(at)s
    UNION SELECT a.wallet_id FROM allocation a
    WHERE a.category_id = %(category)s AND a.closed_at IS NULL
      AND a."end" > (SELECT applied_until FROM clock) AND a."end" <= %(at)s
    UNION SELECT a.wallet_id FROM allocation a
    WHERE a.category_id = %(category)s AND a.closed_at IS NULL AND a."end" <= %(closing)s
), asked AS MATERIALIZED (
    SELECT unnest(%(wallets)s::bigint[]) AS id UNION SELECT wallet_id FROM due
), up AS (
    SELECT a.* FROM asked CROSS JOIN LATERAL (_INTO_ asked.id OFFSET 0) a
    UNION
    SELECT a.* FROM (SELECT DISTINCT source_id FROM up) AS above CROSS JOIN LATERAL (_INTO_ above.source_id OFFSET 0) a
), concerned AS MATERIALIZED (
    SELECT coalesce(array_agg(id), '{}') AS ids FROM (SELECT id FROM asked UNION SELECT source_id FROM up) AS found
)
SELECT 0::bigint, micros_of(applied_until), coalesce(micros_of(least(
           (SELECT min(a.start) FROM allocation a WHERE a.category_id = %(category)s AND a.closed_at IS NULL
              AND a.start > greatest(%(at)s, applied_until)),
           (SELECT min(a."end") FROM allocation a WHERE a.category_id = %(category)s AND a.closed_at IS NULL
              AND a."end" > greatest(%(at)s, applied_until)),
           (SELECT min(a."end") FROM allocation a WHERE a.category_id = %(category)s AND a.closed_at IS NULL
              AND a."end" > greatest(%(at)s, applied_until) - %(grace)s) + %(grace)s
       )), 9223372036854775807),
       0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint
FROM clock
UNION ALL
SELECT 1, w.id, w.used_ticks, w.uncovered_ticks, w.written_off_ticks, w.locked::int, w.workspace_id, 0, 0, 0
FROM wallet w WHERE w.id = ANY((SELECT ids FROM concerned)::bigint[]) AND w.category_id + 0 = %(category)s
UNION ALL
SELECT 2, id, wallet_id, coalesce(source_id, -1), quota_ticks, drawn_ticks,
       micros_of(start), micros_of("end"), priority, (closed_at IS NOT NULL)::int
FROM up
""".replace(
    "_INTO_",
    """
        SELECT a.id, a.wallet_id, a.source_id, a.quota_ticks, a.drawn_ticks, a.start, a."end", a.priority, a.closed_at
        FROM allocation a
        WHERE (a.closed_at IS NULL OR a.drawn_ticks > 0) AND a.category_id + 0 = %(category)s AND a.wallet_id =
    """.strip(),
)


def micros(at: datetime) -> int:
    """An aware instant as the engine counts it: whole microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def all_micros(instants: Iterable[datetime]) -> Ints:
    """The same of many. Raises TypeError where one has no time zone."""
    return np.array([(at - EPOCH) // MICROSECOND for at in instants], dtype=np.int64)


def instant(count: int) -> datetime:
    return EPOCH + count * MICROSECOND


def rules_of(category: ProductCategory) -> Rules:
    over_time = category.is_over_time
    return Rules(
        charged=Charged.OVER_TIME if over_time else Charged.ONCE,
        grace=category.grace_days * DAY if over_time else 0,
        requires_allocation=category.requires_allocation,
        allows_suballocation=category.allows_suballocation,
        allows_overallocation=category.allows_overallocation,
    )


class Held(NamedTuple):
    """What holding a category's lock told.

    until   up to when what is due was applied: a ledger's time never goes back, though servers' clocks differ a little
    stamp   a number drawn anew by each operation: the same as before means that nothing was written since
    operation_id   an id for the operation that may follow
    """

    until: datetime
    stamp: int
    operation_id: int


def lock(category_id: int) -> Held:
    """Wait until no other transaction works on a category's ledger; held until this one ends."""
    with prepared.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [category_id])
        # A statement of its own: it sees what was committed while the first waited.
        cursor.execute(
            """
            SELECT coalesce(applied_until, %s), coalesce(stamp, 0), nextval('ledger_operation_id_seq')
            FROM (SELECT) AS one LEFT JOIN ledger_clock ON category_id = %s
            """,
            [EPOCH, category_id],
        )
        row = cursor.fetchone()
    assert row is not None
    return Held(*row)


def lock_all(category_ids: Iterable[int]) -> None:
    """Hold the ledgers of several categories, in the order in which everybody takes them; before any row of other tables."""
    for category_id in sorted(set(category_ids)):
        lock(category_id)


@dataclass(slots=True)
class Loaded:
    """A part of a category's ledger as a book, with the tables' ids beside its rows.

    next_due   the next instant at which anything in the category starts, ends or closes, after the one it was loaded for
    bounds     what `epoch_bounds` found, from `bounds_since` on
    wallets    the wallets' ids as an array
    """

    category: ProductCategory
    book: Book
    wallet_ids: list[int]
    workspace_ids: list[int]
    allocation_ids: list[int]
    next_due: int = MAX
    bounds: Ints | None = None
    bounds_since: datetime = EPOCH
    row_of_wallet: dict[int, int] = field(default_factory=dict)
    row_of_allocation: dict[int, int] = field(default_factory=dict)
    wallet_of_workspace: dict[int, int] = field(default_factory=dict)
    wallets: Ints = field(init=False)
    _allocations: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.wallets = np.array(self.wallet_ids, dtype=np.int64)
        self._allocations = np.array(self.allocation_ids, dtype=np.int64)
        self.wallet_of_workspace = dict(zip(self.workspace_ids, self.wallet_ids, strict=True))
        self.row_of_wallet = {key: row for row, key in enumerate(self.wallet_ids)}
        self.row_of_allocation = {key: row for row, key in enumerate(self.allocation_ids)}

    @property
    def allocations(self) -> Ints:
        """The allocations' ids; an operation may have made more since they were loaded."""
        if len(self._allocations) != len(self.allocation_ids):
            self._allocations = np.array(self.allocation_ids, dtype=np.int64)
        return self._allocations


def read(category: ProductCategory, wallet_ids: Iterable[int], at: datetime) -> Loaded:
    """These wallets and everything above them as they are at an instant, what is due by then applied in memory only."""
    loaded = load(category, wallet_ids, at)
    advance(loaded.book, max(micros(at), loaded.book.now))
    return loaded


def load(category: ProductCategory, wallet_ids: Iterable[int], at: datetime) -> Loaded:
    """These wallets, those with something due by an instant and everything above them, as the tables hold them."""
    rules = rules_of(category)
    parameters: dict[str, Any] = {
        "category": category.pk,
        "at": at,
        "grace": timedelta(microseconds=rules.grace),
        "closing": at - timedelta(microseconds=rules.grace),
        "wallets": copying.array(sorted(set(wallet_ids))),
    }
    table = copying.read(_LOAD, parameters, width=10)
    kinds = table[0]
    clock, wallets, allocations = (table[1:, kinds == kind] for kind in (_CLOCK, _WALLET, _ALLOCATION))
    rows, source = wallets[0], allocations[2]
    book = Book(
        rules=rules,
        now=int(clock[0, 0]) if clock.size else micros(at),
        used=wallets[1],
        uncovered=wallets[2],
        written_off=wallets[3],
        locked=wallets[4].astype(np.bool_),
        wallet=np.searchsorted(rows, allocations[1]),
        source=np.where(source == ROOT, ROOT, np.searchsorted(rows, source)),
        quota=allocations[3],
        drawn=allocations[4],
        start=allocations[5],
        end=allocations[6],
        priority=allocations[7],
        closed=allocations[8].astype(np.bool_),
    )
    next_due = int(clock[1, 0]) if clock.size else book.now
    return Loaded(category, book, rows.tolist(), wallets[5].tolist(), allocations[0].tolist(), next_due)


# The books of categories as this process' last operation left them: only reports leave one, anything else takes it away. The
# stamp tells whether another process wrote since, so that what is kept makes an answer quicker, never different.
_KEPT: Final[dict[int, tuple[int, Loaded]]] = {}
_KEPT_MAX: Final = 64
_WALLETS_KEPT_MAX: Final = 20_000


def known_wallets(category_id: int, held: Held) -> Mapping[int, int]:
    """The wallets of workspaces in a category, as far as they are known without asking."""
    stamp, kept = _KEPT.get(category_id, (0, None))
    return {} if kept is None or stamp != held.stamp else kept.wallet_of_workspace


def _load_or_take(category: ProductCategory, wallet_ids: Iterable[int], at: datetime, held: Held) -> Loaded:
    """What an operation needs: as it was kept, if nothing was written since and nothing is due; else from the tables."""
    wanted = set(wallet_ids)
    stamp, kept = _KEPT.pop(category.pk, (0, None))
    if kept is None or stamp != held.stamp or kept.next_due <= micros(at) or kept.book.rules != rules_of(category):
        return load(category, wanted, at)
    if wanted <= kept.row_of_wallet.keys():
        kept.category = category
        return kept
    # Nobody else writes here at the moment, so that keeping all of a category that is not large pays.
    everyone = Wallet.objects.filter(category=category).values_list("pk", flat=True)[: _WALLETS_KEPT_MAX + 1]
    return load(category, wanted if len(everyone) > _WALLETS_KEPT_MAX else everyone, at)


def _keep(stamp: int, loaded: Loaded) -> None:
    if len(loaded.wallet_ids) > _WALLETS_KEPT_MAX:
        return
    while len(_KEPT) >= _KEPT_MAX:
        _KEPT.pop(next(iter(_KEPT)), None)
    _KEPT[loaded.category.pk] = (stamp, loaded)


# The next report may well be of a little earlier.
_FURTHER_BACK: Final = timedelta(days=31)


def epoch_bounds(loaded: Loaded, since: datetime) -> Ints:
    """The starts and ends of all the category's allocations at an instant and later, as the engine counts instants; ascending.

    They are kept with what was loaded: allocations do not change between reports.
    """
    if loaded.bounds is None or loaded.bounds_since > since:
        since = since - _FURTHER_BACK if since > EPOCH else since
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT micros_of(start) FROM allocation WHERE category_id = %(category)s AND start >= %(since)s
                UNION SELECT micros_of("end") FROM allocation WHERE category_id = %(category)s AND "end" >= %(since)s
                """,
                {"category": loaded.category.pk, "since": since},
            )
            loaded.bounds = np.unique(np.array([row[0] for row in cursor.fetchall()], dtype=np.int64))
            loaded.bounds_since = since
    return loaded.bounds


ROWS_OF_AN_OPERATION: Final = 1 << 24


def _next_operation_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('ledger_operation_id_seq')")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def row_ids(operation_id: int, first: int, count: int) -> Ints:
    """The ids of rows that an operation writes into a table: in the order of operations, and within one in that of writing.

    A sequence would be asked for each row, which costs as much as a tenth of writing it.
    """
    if first + count > ROWS_OF_AN_OPERATION:
        raise OverflowError(f"an operation writes at most {ROWS_OF_AN_OPERATION} rows into a table")
    return np.arange(first, first + count, dtype=np.int64) + operation_id * ROWS_OF_AN_OPERATION


_NEVER: Final = np.iinfo(np.int64).min
_OPENED, _CLOSED = 1, 2
_TURNED: Final = ("", "opened", "closed")


class _Sort(NamedTuple):
    """What a row of the journal has to say, and so the form in which it is written."""

    allocation: bool
    window: bool
    turned: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the journal by columns: wallets and allocations are rows of the book, instants microseconds since 1970.

    allocation   ROOT where a row is about the wallet alone
    start, end   _NEVER where the window was not set
    turned       a place in _TURNED
    """

    operation: int
    kind: Kind
    wallet: Ints
    allocation: Ints
    used: Ints
    uncovered: Ints
    written_off: Ints
    drawn: Ints
    quota: Ints
    start: Ints
    end: Ints
    turned: Ints
    effective: Ints

    def sort_of(self, row: int) -> _Sort:
        return _Sort(bool(self.allocation[row] != ROOT), bool(self.start[row] != _NEVER), int(self.turned[row]))


class _Step(NamedTuple):
    """A statement that writes balances, and how many rows it changes."""

    statement: str
    values: list[Any]
    rows: int


def _alike(rows: _Rows) -> list[Ints]:
    """The rows' places, those of one form together."""
    form = (rows.allocation != ROOT) * 6 + (rows.start != _NEVER) * 3 + rows.turned
    return [np.flatnonzero(form == one) for one in np.unique(form).tolist()]


class Ledger:
    """One transaction on a category's ledger: lock, load, let the engine decide, write.

    The caller runs inside `transaction.atomic`; one that books usage and nothing else gives what `lock` told it, and what it
    worked on may then be kept for the next. What was due by `at` is applied, and journalled on its own, when the book
    is loaded. Nothing is written before `finish`.
    """

    def __init__(
        self,
        *,
        category: ProductCategory,
        wallet_ids: Iterable[int],
        by_id: int | None,
        at: datetime,
        held: Held | None = None,
    ) -> None:
        self.category = category
        self.by_id = by_id
        self._keeps = held is not None
        held = held or lock(category.pk)
        self._next_id: int | None = held.operation_id
        if self._keeps:
            loaded = _load_or_take(category, wallet_ids, max(at, held.until), held)
        else:
            _KEPT.pop(category.pk, None)
            loaded = load(category, wallet_ids, at)
        self.loaded = loaded
        self.book = loaded.book
        # Two servers' clocks may differ a little; a ledger's time never goes back.
        self.now = max(at, instant(self.book.now))
        self._before = self.book.copy()
        self._rows: list[_Rows] = []
        self._closed: dict[int, int] = {}
        self._told: list[tuple[str, str, int, int, dict[str, Any]]] = []
        self._balances_begun = False
        self.flips: dict[int, bool] = {}
        with_due = advance(self.book, micros(self.now))
        if with_due:
            self._keeps = False
            operation = self.operation("due")
            for change in with_due:
                self.journal(operation, change)

    def operation(self, kind: str, reason: str = "") -> int:
        """Note who does what now; the operation's id."""
        operation_id, self._next_id = self._next_id or _next_operation_id(), None
        copying.begin_statement(
            """
            INSERT INTO ledger_operation (id, category_id, kind, actor_id, reason, effective_at, recorded_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            """,
            [operation_id, self.category.pk, kind, None if kind == "due" else self.by_id, reason, self.now, self.now],
            rows=1,
        )
        return operation_id

    def journal(
        self,
        operation: int,
        change: Change,
        windows: dict[int, tuple[int, int]] | None = None,
    ) -> None:
        """Write down what a step changed.

        windows   rows of allocations whose start and end were set in this step
        """
        windows = windows or {}
        set_anew = np.array(sorted(windows), dtype=np.int64)
        rows = np.unique(np.concatenate((change.allocations, change.opened, change.closed, set_anew)))
        places = np.searchsorted(rows, change.allocations)
        drawn, quota = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        drawn[places], quota[places] = change.drawn, change.quota
        turned = np.zeros(len(rows), dtype=np.int64)
        turned[np.searchsorted(rows, change.opened)] = _OPENED
        turned[np.searchsorted(rows, change.closed)] = _CLOSED
        self._closed.update(dict.fromkeys(change.closed.tolist(), change.at))
        start, end = np.full(len(rows), _NEVER), np.full(len(rows), _NEVER)
        for row, window in windows.items():
            start[rows == row], end[rows == row] = window
        self._note(
            operation, change.kind, change.at, wallets=change.wallets, used=change.used, uncovered=change.uncovered,
            written_off=change.written_off, allocations=rows, drawn=drawn, quota=quota, turned=turned, start=start, end=end,
        )  # fmt: skip
        turning = [(row, "opened") for row in change.opened.tolist()] + [
            (row, "closed") for row in change.closed.tolist()
        ]
        for row, what in turning:
            allocation_id = self.loaded.allocation_ids[row]
            wallet_id = self.loaded.wallet_ids[int(self.book.wallet[row])]
            self.tell(f"allocation.{what}", "allocation", allocation_id, wallet_id)

    def journal_usage(
        self,
        operation: int,
        kind: Kind,
        hour: Ints,
        *,
        wallets: Ints,
        used: Ints,
        uncovered: Ints,
        written_off: Ints,
        allocations: Ints,
        allocation_hours: Ints,
        drawn: Ints,
    ) -> None:
        """Write down what was used, and how it was drawn or given back, each by the hour it belongs to.

        hour               shape (wallets,), and of the same shape used, uncovered, written_off
        allocation_hours   shape (allocations,), and of the same shape drawn
        """
        if len(wallets) or len(allocations):
            self._note(
                operation, kind, hour, wallets=wallets, used=used, uncovered=uncovered, written_off=written_off,
                allocations=allocations, drawn=drawn, allocation_at=allocation_hours,
            )  # fmt: skip

    def _note(
        self,
        operation: int,
        kind: Kind,
        at: Ints | int,
        *,
        wallets: Ints,
        used: Ints,
        uncovered: Ints,
        written_off: Ints,
        allocations: Ints,
        drawn: Ints,
        quota: Ints | int = 0,
        turned: Ints | int = 0,
        start: Ints | int = _NEVER,
        end: Ints | int = _NEVER,
        allocation_at: Ints | int | None = None,
    ) -> None:
        """One row for each allocation; a wallet's own figures ride on the first of its instant, else on a row of their own."""
        owners = self.book.wallet[allocations]
        wallet_at = np.broadcast_to(at, wallets.shape)
        owner_at = np.broadcast_to(at if allocation_at is None else allocation_at, owners.shape)
        instants, places = np.unique(np.concatenate((wallet_at, owner_at)), return_inverse=True)
        count = max(1, len(instants))
        keys = np.concatenate((wallets, owners)) * count + places
        wallet_keys, owner_keys = keys[: len(wallets)], keys[len(wallets) :]
        known, first = np.unique(owner_keys, return_index=True)
        found = np.searchsorted(known, wallet_keys)
        rides = np.zeros(len(wallets), dtype=np.bool_)
        if len(known):
            found = np.minimum(found, len(known) - 1)
            rides = known[found] == wallet_keys
        alone, carrier = ~rides, first[found[rides]] if len(known) else found[rides]
        lone = int(np.count_nonzero(alone))

        def of_wallet(figures: Ints) -> Ints:
            column = np.zeros(lone + len(allocations), dtype=np.int64)
            column[:lone] = figures[alone]
            column[lone + carrier] = figures[rides]
            return column

        def of_allocation(figures: Ints | int, otherwise: int) -> Ints:
            column = np.full(lone + len(allocations), otherwise, dtype=np.int64)
            column[lone:] = figures
            return column

        self._rows.append(
            _Rows(
                operation=operation,
                kind=kind,
                wallet=np.concatenate((wallets[alone], owners)),
                allocation=of_allocation(allocations, ROOT),
                used=of_wallet(used),
                uncovered=of_wallet(uncovered),
                written_off=of_wallet(written_off),
                drawn=of_allocation(drawn, 0),
                quota=of_allocation(quota, 0),
                start=of_allocation(start, _NEVER),
                end=of_allocation(end, _NEVER),
                turned=of_allocation(turned, 0),
                effective=np.concatenate((wallet_at[alone], owner_at)),
            )
        )

    def tell(self, kind: str, subject_type: str, subject_id: int, wallet_id: int, **facts: Any) -> None:
        """Have an event written with the rest, in the scope of a wallet."""
        self._told.append((kind, subject_type, subject_id, wallet_id, facts))

    def finish(self) -> None:
        """Write balances, journal, locks, events and the clock."""
        self.begin_balances()
        self._write_journal()
        self._follow_locks()
        self._write_events()

    def begin_balances(self) -> None:
        """Write balances and the clock, once, when nothing will change them or go wrong any more; `finish` has the rest."""
        if self._balances_begun:
            return
        self._balances_begun = True
        stamp = secrets.randbits(62) + 1
        clock = _Step(
            """
            INSERT INTO ledger_clock (category_id, applied_until, stamp) VALUES (%s, %s, %s)
            ON CONFLICT (category_id) DO UPDATE SET applied_until = excluded.applied_until, stamp = excluded.stamp
            """,
            [self.category.pk, self.now, stamp],
            1,
        )
        if self._keeps:
            transaction.on_commit(partial(_keep, stamp, self.loaded))
        for step in (*self._changed_wallets(), *self._changed_allocations(), clock):
            copying.begin_statement(step.statement, step.values, rows=step.rows)

    def _changed_wallets(self) -> Iterator[_Step]:
        book, before = self.book, self._before
        figures = {
            "used_ticks": (book.used, before.used, "bigint"),
            "uncovered_ticks": (book.uncovered, before.uncovered, "bigint"),
            "written_off_ticks": (book.written_off, before.written_off, "bigint"),
            "locked": (book.locked, before.locked, "boolean"),
        }
        differs = {name: now != then for name, (now, then, _) in figures.items()}
        moved = [name for name, where in differs.items() if where.any()]  # mostly what was used, and nothing else
        if not moved:
            return
        changed = np.flatnonzero(np.logical_or.reduce([differs[name] for name in moved]))
        values = [self.loaded.wallets, *(figures[name][0] for name in moved)]
        yield _Step(
            f"""
            UPDATE wallet w SET {", ".join(f"{name} = v.{name}" for name in moved)}
            FROM unnest(%s::bigint[], {", ".join(f"%s::{figures[name][2]}[]" for name in moved)}) AS v(id, {", ".join(moved)})
            WHERE w.id = v.id AND w.category_id + 0 = %s
            """,  # noqa: S608  names of ours
            [*(copying.array(column[changed]) for column in values), self.category.pk],
            len(changed),
        )

    def _changed_allocations(self) -> Iterator[_Step]:
        book, before = self.book, self._before
        old = slice(0, len(before.wallet))  # those made in this operation were inserted by whoever made them
        reshaped = (
            (book.quota[old] != before.quota)
            | (book.start[old] != before.start)
            | (book.end[old] != before.end)
            | (book.closed[old] != before.closed)
        )
        drawn = np.flatnonzero((book.drawn[old] != before.drawn) & ~reshaped)
        changed = np.flatnonzero(reshaped)
        ids = self.loaded.allocations
        if len(drawn):  # all that a report does
            yield _Step(
                """
                UPDATE allocation a SET drawn_ticks = v.drawn FROM unnest(%s::bigint[], %s::bigint[]) AS v(id, drawn)
                WHERE a.id = v.id AND a.category_id + 0 = %s
                """,
                [copying.array(ids[drawn]), copying.array(book.drawn[drawn]), self.category.pk],
                len(drawn),
            )
        if len(changed):
            yield _Step(
                """
                UPDATE allocation a
                SET quota_ticks = v.quota, drawn_ticks = v.drawn, start = v.first, "end" = v.last,
                    closed_at = coalesce(a.closed_at, v.closed_at)
                FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[],
                            %s::timestamptz[]) AS v(id, quota, drawn, first, last, closed_at)
                WHERE a.id = v.id AND a.category_id + 0 = %s
                """,
                [
                    *(copying.array(column[changed]) for column in (ids, book.quota, book.drawn)),
                    [instant(time) for time in book.start[changed].tolist()],
                    [instant(time) for time in book.end[changed].tolist()],
                    [instant(self._closed[row]) if row in self._closed else None for row in changed.tolist()],
                    self.category.pk,
                ],
                len(changed),
            )

    def _write_journal(self) -> None:
        wallet_ids = self.loaded.wallets
        allocation_ids = self.loaded.allocations
        now = micros(self.now)
        blocks = []
        written = 0
        for rows in self._rows:
            for part in _alike(rows):
                sort = rows.sort_of(part[0])
                values = {
                    "id": columns.whole(row_ids(rows.operation, written, len(part))),
                    "category_id": columns.whole(self.category.pk),
                    "operation_id": columns.whole(rows.operation),
                    "kind": columns.constant(rows.kind.value),
                    "wallet_id": columns.whole(wallet_ids[rows.wallet[part]]),
                    "allocation_id": (
                        columns.whole(allocation_ids[rows.allocation[part]]) if sort.allocation else columns.NULL
                    ),
                    "used_ticks": columns.whole(rows.used[part]),
                    "uncovered_ticks": columns.whole(rows.uncovered[part]),
                    "written_off_ticks": columns.whole(rows.written_off[part]),
                    "drawn_ticks": columns.whole(rows.drawn[part]),
                    "quota_ticks": columns.whole(rows.quota[part]),
                    "start": columns.instants(rows.start[part]) if sort.window else columns.NULL,
                    "end": columns.instants(rows.end[part]) if sort.window else columns.NULL,
                    "turned": columns.constant(_TURNED[sort.turned]),
                    "effective_at": columns.instants(rows.effective[part]),
                    "recorded_at": columns.instants(now),
                }
                blocks.append((len(part), values))
                written += len(part)
        if blocks:
            copying.begin("posting", *blocks)

    def _follow_locks(self) -> None:
        """Walk down from the wallets whose lock flipped, over those that were not loaded, until nothing changes."""
        loaded, book = self.loaded, self.book
        flipped = np.flatnonzero(book.locked != self._before.locked)
        self.flips = {loaded.wallet_ids[row]: bool(book.locked[row]) for row in flipped.tolist()}
        if not book.rules.requires_allocation:
            return
        frontier, known = list(self.flips), loaded.row_of_wallet
        while frontier:
            parameters: dict[str, Any] = {
                "category": self.category.pk,
                "now": self.now,
                "above": frontier,
                "known": list(known),
            }
            with connection.cursor() as cursor:
                cursor.execute(
                    """
                    WITH asked AS (
                        SELECT DISTINCT a.wallet_id FROM allocation a
                        WHERE a.category_id = %(category)s AND a.source_id = ANY(%(above)s)
                          AND a.closed_at IS NULL AND a.start <= %(now)s AND a."end" > %(now)s
                          AND a.drawn_ticks < a.quota_ticks AND NOT a.wallet_id = ANY(%(known)s)
                    )
                    SELECT w.id, w.locked, a.source_id IS NULL OR NOT s.locked
                    FROM asked JOIN wallet w ON w.id = asked.wallet_id AND w.category_id = %(category)s
                    JOIN allocation a ON a.wallet_id = w.id AND a.category_id = %(category)s
                      AND a.closed_at IS NULL AND a.start <= %(now)s AND a."end" > %(now)s
                      AND a.drawn_ticks < a.quota_ticks
                    LEFT JOIN wallet s ON s.id = a.source_id AND s.category_id = %(category)s
                    """,
                    parameters,
                )
                rows = cursor.fetchall()
                below = sorted({row[0]: row[1] for row in rows}.items())
                place = {wallet_id: index for index, (wallet_id, _) in enumerate(below)}
                states = lock_states(
                    len(below),
                    np.array([place[row[0]] for row in rows], dtype=np.int64),
                    np.array([row[2] for row in rows], dtype=np.bool_),
                ).tolist()
                turned = {
                    wallet_id: state for (wallet_id, was), state in zip(below, states, strict=True) if state != was
                }
                cursor.execute(
                    """
                    UPDATE wallet w SET locked = v.locked FROM unnest(%s::bigint[], %s::boolean[]) AS v(id, locked)
                    WHERE w.id = v.id AND w.category_id + 0 = %s
                    """,
                    [list(turned), list(turned.values()), self.category.pk],
                )
            for wallet_id, state in turned.items():
                # With several sources a wallet may be asked twice, and be back where it began.
                if self.flips.pop(wallet_id, state) == state:
                    self.flips[wallet_id] = state
            frontier = list(turned)

    def _write_events(self) -> None:
        for wallet_id, locked in sorted(self.flips.items()):
            self.tell("wallet.locked" if locked else "wallet.unlocked", "wallet", wallet_id, wallet_id)
        if not self._told:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT w.id, w.workspace_id, coalesce(s.organization_id, p.organization_id), s.project_id
                FROM wallet w JOIN workspace s ON s.id = w.workspace_id LEFT JOIN project p ON p.id = s.project_id
                WHERE w.id = ANY(%s) AND w.category_id = %s
                """,
                [sorted({told[3] for told in self._told}), self.category.pk],
            )
            scopes = {row[0]: row[1:] for row in cursor.fetchall()}
        provider_id = self.category.provider.organization_id
        record_all(
            (
                Happening(
                    kind=kind,
                    subject_type=subject_type,
                    subject_id=subject_id,
                    facts={
                        "category_id": self.category.pk,
                        "wallet_id": wallet_id,
                        "workspace_id": scopes[wallet_id][0],
                        **facts,
                    },
                    organization_id=scopes[wallet_id][1],
                    project_id=scopes[wallet_id][2],
                    provider_id=provider_id,
                )
                for kind, subject_type, subject_id, wallet_id, facts in self._told
            ),
            by_id=self.by_id,
            at=self.now,
        )
