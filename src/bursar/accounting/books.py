"""Between the tables and the engine: load the part of a category's ledger that is needed, and write back what changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from django.db import connection

from bursar.catalogue.models import ProductCategory
from bursar.engine.ledger import Book, Change, Charged, Kind, Rules, advance, lock_states
from bursar.engine.ledger.book import ROOT, Ints
from bursar.events.services import Happening, record_all

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
DAY: Final = timedelta(days=1) // MICROSECOND
HOUR: Final = timedelta(hours=1) // MICROSECOND

# One statement, so that a reader without the lock sees one state: the clock, the wallets (those asked for, those with
# something due, and all above them) and their allocations. A closed allocation that nothing was drawn through says nothing.
# OFFSET 0 and the array keep the planner, which cannot know how few are above, from reading whole tables.
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
), up(id) AS (
    SELECT id FROM (SELECT unnest(%(wallets)s::bigint[]) AS id UNION SELECT wallet_id FROM due) AS asked
    UNION
    SELECT above.source_id FROM up CROSS JOIN LATERAL (
        SELECT a.source_id FROM allocation a
        WHERE a.wallet_id = up.id AND a.category_id = %(category)s
          AND a.source_id IS NOT NULL AND (a.closed_at IS NULL OR a.drawn_ticks > 0)
        OFFSET 0
    ) AS above
), concerned AS MATERIALIZED (
    SELECT coalesce(array_agg(id), '{}') AS ids FROM up
)
SELECT 0 AS what, (extract(epoch FROM applied_until) * 1000000)::bigint AS id, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
       0::bigint, 0::bigint, 0::bigint, 0::bigint
FROM clock
UNION ALL
SELECT 1, w.id, w.used_ticks, w.uncovered_ticks, w.written_off_ticks, w.locked::int, w.workspace_id, 0, 0, 0
FROM wallet w WHERE w.id = ANY((SELECT ids FROM concerned)::bigint[]) AND w.category_id = %(category)s
UNION ALL
SELECT 2, a.id, a.wallet_id, coalesce(a.source_id, -1), a.quota_ticks, a.drawn_ticks,
       (extract(epoch FROM a.start) * 1000000)::bigint, (extract(epoch FROM a."end") * 1000000)::bigint,
       a.priority, (a.closed_at IS NOT NULL)::int
FROM allocation a WHERE a.wallet_id = ANY((SELECT ids FROM concerned)::bigint[]) AND a.category_id = %(category)s
  AND (a.closed_at IS NULL OR a.drawn_ticks > 0)
ORDER BY what, id
"""


def micros(at: datetime) -> int:
    """An aware instant as the engine counts it: whole microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


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


def lock(category_id: int) -> None:
    """Wait until no other transaction works on a category's ledger; held until this one ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [category_id])


@dataclass(slots=True)
class Loaded:
    """A part of a category's ledger as a book, with the tables' ids beside its rows."""

    category: ProductCategory
    book: Book
    wallet_ids: list[int]
    workspace_ids: list[int]
    allocation_ids: list[int]
    row_of_wallet: dict[int, int] = field(default_factory=dict)
    row_of_allocation: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.row_of_wallet = {key: row for row, key in enumerate(self.wallet_ids)}
        self.row_of_allocation = {key: row for row, key in enumerate(self.allocation_ids)}


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
        "closing": at - timedelta(microseconds=rules.grace),
        "wallets": sorted(set(wallet_ids)),
    }
    with connection.cursor() as cursor:
        cursor.execute(_LOAD, parameters)
        rows: list[tuple[int, ...]] = cursor.fetchall()
    now = micros(at)
    begin = 0
    if rows and rows[0][0] == 0:
        now, begin = rows[0][1], 1
    split = next((place for place in range(begin, len(rows)) if rows[place][0] == 2), len(rows))
    wallets = _columns(rows[begin:split])
    allocations = _columns(rows[split:])
    wallet_rows = wallets[1]
    source = allocations[3]
    book = Book(
        rules=rules,
        now=now,
        used=wallets[2],
        uncovered=wallets[3],
        written_off=wallets[4],
        locked=wallets[5].astype(np.bool_),
        wallet=np.searchsorted(wallet_rows, allocations[2]),
        source=np.where(source == -1, ROOT, np.searchsorted(wallet_rows, source)),
        quota=allocations[4],
        drawn=allocations[5],
        start=allocations[6],
        end=allocations[7],
        priority=allocations[8],
        closed=allocations[9].astype(np.bool_),
    )
    return Loaded(category, book, wallet_rows.tolist(), wallets[6].tolist(), allocations[1].tolist())


def _columns(rows: Sequence[tuple[int, ...]]) -> list[Ints]:
    if not rows:
        return [np.zeros(0, dtype=np.int64)] * 10
    # A contiguous copy each: the engine writes into them.
    return [column.copy() for column in np.array(rows, dtype=np.int64).T]


def epoch_bounds(category_id: int, first: datetime, last: datetime) -> Ints:
    """The starts and ends of all the category's allocations in `(first, last]`, as the engine counts instants."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (extract(epoch FROM start) * 1000000)::bigint FROM allocation
            WHERE category_id = %(category)s AND start > %(first)s AND start <= %(last)s
            UNION SELECT (extract(epoch FROM "end") * 1000000)::bigint FROM allocation
            WHERE category_id = %(category)s AND "end" > %(first)s AND "end" <= %(last)s
            ORDER BY 1
            """,
            {"category": category_id, "first": first, "last": last},
        )
        return np.array([row[0] for row in cursor.fetchall()], dtype=np.int64)


class Ledger:
    """One transaction on a category's ledger: lock, load, let the engine decide, write.

    The caller runs inside `transaction.atomic`. What was due by `at` is applied, and journalled on its own, when the book
    is loaded. Nothing is written before `finish`.
    """

    def __init__(
        self, *, category: ProductCategory, wallet_ids: Iterable[int], by_id: int | None, at: datetime
    ) -> None:
        lock(category.pk)
        self.category = category
        self.by_id = by_id
        loaded = load(category, wallet_ids, at)
        self.loaded = loaded
        self.book = loaded.book
        # Two servers' clocks may differ a little; a ledger's time never goes back.
        self.now = max(at, instant(self.book.now))
        self._before = self.book.copy()
        self._rows: list[tuple[Any, ...]] = []
        self._closed: dict[int, int] = {}
        self._told: list[tuple[str, str, int, int, dict[str, Any]]] = []
        self.flips: dict[int, bool] = {}
        with_due = advance(self.book, micros(self.now))
        if with_due:
            operation = self.operation("due")
            for change in with_due:
                self.journal(operation, change)

    def operation(self, kind: str, reason: str = "") -> int:
        """Note who does what now; the operation's id."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO ledger_operation (category_id, kind, actor_id, reason, effective_at, recorded_at)
                VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
                """,
                [self.category.pk, kind, None if kind == "due" else self.by_id, reason, self.now, self.now],
            )
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    def journal(
        self,
        operation: int,
        change: Change,
        windows: dict[int, tuple[int, int]] | None = None,
    ) -> None:
        """Write down what a step changed.

        windows   rows of allocations whose start and end were set in this step
        """
        loaded, at = self.loaded, instant(change.at)
        for row, used, uncovered, written_off in zip(
            change.wallets.tolist(),
            change.used.tolist(),
            change.uncovered.tolist(),
            change.written_off.tolist(),
            strict=True,
        ):
            self.move(operation, change.kind, at, row, used=used, uncovered=uncovered, written_off=written_off)
        windows = windows or {}
        moved = dict(zip(change.allocations.tolist(), zip(change.drawn, change.quota, strict=True), strict=True))
        opened, closed = set(change.opened.tolist()), set(change.closed.tolist())
        self._closed.update(dict.fromkeys(closed, change.at))
        for row in sorted(moved.keys() | opened | closed | windows.keys()):
            drawn, quota = moved.get(row, (0, 0))
            turned = "closed" if row in closed else "opened" if row in opened else ""
            window = windows.get(row)
            self._rows.append(
                (
                    self.category.pk,
                    operation,
                    change.kind.value,
                    loaded.wallet_ids[int(self.book.wallet[row])],
                    loaded.allocation_ids[row],
                    0,
                    0,
                    0,
                    int(drawn),
                    int(quota),
                    instant(window[0]) if window else None,
                    instant(window[1]) if window else None,
                    turned,
                    at,
                    self.now,
                )
            )
            if turned:
                wallet_id = loaded.wallet_ids[int(self.book.wallet[row])]
                self.tell(f"allocation.{turned}", "allocation", loaded.allocation_ids[row], wallet_id)

    def journal_within(self, operation: int, change: Change, hour: datetime) -> None:
        """Write down what a draw or a release of one hour's usage moved; the usage itself is written by `move`."""
        for row, uncovered, written_off in zip(
            change.wallets.tolist(), change.uncovered.tolist(), change.written_off.tolist(), strict=True
        ):
            if uncovered or written_off:
                self.move(operation, change.kind, hour, row, uncovered=uncovered, written_off=written_off)
        owners = self.book.wallet[change.allocations].tolist()
        for row, owner, drawn in zip(change.allocations.tolist(), owners, change.drawn.tolist(), strict=True):
            self.move(operation, change.kind, hour, owner, row, drawn=drawn)

    def move(
        self,
        operation: int,
        kind: Kind,
        at: datetime,
        wallet: int,
        allocation: int | None = None,
        *,
        used: int = 0,
        uncovered: int = 0,
        written_off: int = 0,
        drawn: int = 0,
    ) -> None:
        """Write down one movement of figures; `wallet` and `allocation` are rows of the book."""
        self._rows.append(
            (
                self.category.pk,
                operation,
                kind.value,
                self.loaded.wallet_ids[wallet],
                None if allocation is None else self.loaded.allocation_ids[allocation],
                used,
                uncovered,
                written_off,
                drawn,
                0,
                None,
                None,
                "",
                at,
                self.now,
            )
        )

    def tell(self, kind: str, subject_type: str, subject_id: int, wallet_id: int, **facts: Any) -> None:
        """Have an event written with the rest, in the scope of a wallet."""
        self._told.append((kind, subject_type, subject_id, wallet_id, facts))

    def finish(self) -> None:
        """Write balances, journal, locks, events and the clock."""
        self._write_wallets()
        self._write_allocations()
        self._write_journal()
        self._follow_locks()
        self._write_events()
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO ledger_clock (category_id, applied_until) VALUES (%s, %s)
                ON CONFLICT (category_id) DO UPDATE SET applied_until = excluded.applied_until
                """,
                [self.category.pk, self.now],
            )

    def _write_wallets(self) -> None:
        book, before = self.book, self._before
        changed = np.flatnonzero(
            (book.used != before.used)
            | (book.uncovered != before.uncovered)
            | (book.written_off != before.written_off)
            | (book.locked != before.locked)
        )
        if not len(changed):
            return
        ids = np.array(self.loaded.wallet_ids, dtype=np.int64)
        columns = (ids, book.used, book.uncovered, book.written_off)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE wallet w
                SET used_ticks = v.used, uncovered_ticks = v.uncovered, written_off_ticks = v.written_off, locked = v.locked
                FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[])
                     AS v(id, used, uncovered, written_off, locked)
                WHERE w.id = v.id AND w.category_id = %s
                """,
                [*(column[changed].tolist() for column in columns), book.locked[changed].tolist(), self.category.pk],
            )

    def _write_allocations(self) -> None:
        book, before = self.book, self._before
        old = slice(0, len(before.wallet))  # those made in this operation were inserted by whoever made them
        changed = np.flatnonzero(
            (book.quota[old] != before.quota)
            | (book.drawn[old] != before.drawn)
            | (book.start[old] != before.start)
            | (book.end[old] != before.end)
            | (book.closed[old] != before.closed)
        )
        if not len(changed):
            return
        ids = np.array(self.loaded.allocation_ids, dtype=np.int64)
        columns = (ids, book.quota, book.drawn)
        rows = changed.tolist()
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE allocation a
                SET quota_ticks = v.quota, drawn_ticks = v.drawn, start = v.first, "end" = v.last,
                    closed_at = coalesce(a.closed_at, v.closed_at)
                FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[],
                            %s::timestamptz[]) AS v(id, quota, drawn, first, last, closed_at)
                WHERE a.id = v.id AND a.category_id = %s
                """,
                [
                    *(column[changed].tolist() for column in columns),
                    [instant(time) for time in book.start[changed].tolist()],
                    [instant(time) for time in book.end[changed].tolist()],
                    [instant(self._closed[row]) if row in self._closed else None for row in rows],
                    self.category.pk,
                ],
            )

    def _write_journal(self) -> None:
        if not self._rows:
            return
        with (
            connection.cursor() as cursor,
            cursor.copy(  # type: ignore[attr-defined]  # psycopg's own, through Django's wrapper
                """
                COPY posting (category_id, operation_id, kind, wallet_id, allocation_id, used_ticks, uncovered_ticks,
                              written_off_ticks, drawn_ticks, quota_ticks, start, "end", turned, effective_at,
                              recorded_at) FROM STDIN
                """
            ) as copy,
        ):
            for row in self._rows:
                copy.write_row(row)

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
                    WHERE w.id = v.id AND w.category_id = %s
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
