"""How fast reports become durable, and how quick the ledger is to ask, on a database of its own with fsync on."""

import statistics
from collections.abc import Callable, Sequence
from datetime import timedelta
from time import perf_counter
from typing import Final
from unittest import mock

import numpy as np
from django.db import connection, transaction

from bursar.accounting import copying, history, selectors
from bursar.accounting.books import ROWS_OF_AN_OPERATION, load
from bursar.accounting.checkpoints import keep
from bursar.accounting.columns import Block
from bursar.accounting.models import Allocation
from bursar.accounting.services import change_allocation
from bursar.config.bench.nation import AT, Nation, make_nation
from bursar.engine.ledger.book import Ints
from bursar.metering.reports import Columns, Report
from bursar.metering.services import post_reports
from bursar.metering.writing import begin_writing

SEED: Final = 20_260_101
NAMES: Final = 300  # users who take turns


def reports(nation: Nation, name: str, count: int, *, workspaces: Ints | None = None) -> list[Report]:
    """Jobs of the last minutes, of projects at random."""
    random = np.random.default_rng([SEED, *name.encode()])
    places = nation.projects if workspaces is None else workspaces
    chosen = places[random.integers(0, len(places), count)].tolist()
    amounts = random.integers(1, 1_000_000, count).tolist()
    instants = [AT - timedelta(minutes=5, seconds=second) for second in range(60)]
    began = [instant - timedelta(hours=3) for instant in instants]
    return [
        Report(
            f"{name}-{number:07}", nation.category.pk, chosen[number], amounts[number], began[number % 60],
            instants[number % 60], user=f"user{number % NAMES}", job=f"{name}.{number}",
        )
        for number in range(count)
    ]  # fmt: skip


def add_identities(nation: Nation, count: int) -> None:
    """Names of reports that came before, so many that their index no longer fits a cache's first lines."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO report_identity (category_id, report_id, content_hash, recorded_at)
            SELECT %s, 'before-' || lpad(n::text, 10, '0'), decode(md5(n::text), 'hex'), %s
            FROM generate_series(1, %s) AS n
            """,
            [nation.category.pk, AT, count],
        )
    vacuum("report_identity")


def vacuum(*tables: str) -> None:
    """As autovacuum does in time."""
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"VACUUM ANALYZE {table}")


def _bare_copy(columns: Columns) -> None:
    """What somebody would write who only wants these reports in a table: rows laid out and copied, then committed."""

    def into_bare(table: str, *blocks: Block) -> None:
        if table == "usage_report":
            copying.write("bare", *blocks)

    batch = columns.reports
    with transaction.atomic(), mock.patch.object(copying, "begin", into_bare):
        begin_writing(
            category_id=1, operation_id=1, at=AT, reports=batch, whose=batch, hashes=lambda: [bytes(16)] * len(batch),
            wallet_ids=columns.workspace_ids, amounts=columns.amounts, posted=columns.amounts, starts=columns.starts,
            ends=columns.ends, charged_at=columns.ends,
        )  # fmt: skip


def posting(nation: Nation, name: str, size: int, batches: int) -> tuple[float, float]:
    """Reports per second through the posting service, and of the same reports by a bare COPY.

    The bare COPY goes into a table of the same columns without any index, with a commit after each batch, in the same binary
    form; the two take turns, so that what else the machine does falls on both.
    """
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE usage_report)")
    for number in range(2):  # what the first ones find out is kept for those after them
        post_reports(reports=reports(nation, f"{name}-warm{number}", size), by=None, at=AT, at_most=size)
    spent, bare = [], []
    for number in range(batches):
        batch = reports(nation, f"{name}-{number}", size)
        begun = perf_counter()
        post_reports(reports=batch, by=None, at=AT, at_most=size)
        spent.append(perf_counter() - begun)
        columns = Columns(batch)
        begun = perf_counter()
        _bare_copy(columns)
        bare.append(perf_counter() - begun)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bare")
    return size / statistics.median(spent), size / statistics.median(bare)


def percentile(times: Sequence[float], of_hundred: float) -> float:
    return float(np.percentile(np.array(times), of_hundred))


def timed(action: Callable[[int], object], times: int) -> list[float]:
    """Milliseconds of each call."""
    spent = []
    for number in range(times):
        begun = perf_counter()
        action(number)
        spent.append((perf_counter() - begun) * 1000)
    return spent


def select_one(_number: int = 0) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def wallet_read(nation: Nation, times: int) -> list[float]:
    """Milliseconds to learn what a project has available and whether it is locked."""
    places = nation.projects
    random = np.random.default_rng(SEED).permutation(len(places))

    def ask(number: int) -> None:
        workspace_id = int(places[random[number % len(places)]])
        selectors.standing(workspace_id=workspace_id, category_id=nation.category.pk, at=AT)

    timed(ask, 20)
    return timed(ask, times)


# So many operations of a hundred reports at a time, in their order, as they would have come in: a statement about all of them
# would sort ten million rows on disk.
_STEP: Final = 250


def add_postings(nation: Nation, count: int) -> None:
    """A history of usage, a row of each project in turn and of those above it, a thousand reports to an hour."""
    operations, begin = count // 4 // 100, AT - timedelta(days=320)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("SELECT add_month_parts('posting', %s, %s)", [begin.date(), AT.date()])
        cursor.execute(
            """
            CREATE TEMPORARY TABLE way_up ON COMMIT DROP AS
            WITH RECURSIVE up AS (
                SELECT a.wallet_id AS leaf, 0 AS step, a.wallet_id, a.id, a.source_id FROM allocation a
                WHERE a.category_id = %(category)s
                  AND NOT EXISTS (SELECT FROM allocation b WHERE b.source_id = a.wallet_id)
                UNION ALL
                SELECT up.leaf, up.step + 1, a.wallet_id, a.id, a.source_id
                FROM up JOIN allocation a ON a.wallet_id = up.source_id
            )
            SELECT up.*, dense_rank() OVER (ORDER BY leaf) - 1 AS place FROM up
            """,
            {"category": nation.category.pk},
        )
        cursor.execute("ANALYZE way_up")
        for first in range(0, operations, _STEP):
            cursor.execute(
                """
                WITH operation AS (
                    INSERT INTO ledger_operation (category_id, kind, reason, effective_at, recorded_at)
                    SELECT %(category)s, 'usage', '', at, at
                    FROM generate_series(%(first)s, %(last)s) AS n, LATERAL (SELECT %(begin)s + n * interval '6 minutes' AS at) t
                    RETURNING id, recorded_at
                ), numbered AS (
                    SELECT id, recorded_at, %(first)s + row_number() OVER (ORDER BY id) - 1 AS n FROM operation
                ), report AS MATERIALIZED (
                    SELECT id, recorded_at, k, (n * 100 + k) %% %(leaves)s AS place
                    FROM numbered CROSS JOIN generate_series(0, 99) AS k
                )
                INSERT INTO posting (id, category_id, operation_id, kind, wallet_id, allocation_id, used_ticks, drawn_ticks,
                                     effective_at, recorded_at)
                SELECT r.id * %(rows)s + r.k * 8 + w.step, %(category)s, r.id, 'draw', w.wallet_id, w.id,
                       CASE WHEN w.step = 0 THEN 10 ELSE 0 END, 10, date_trunc('hour', r.recorded_at), r.recorded_at
                FROM report r JOIN way_up w ON w.place = r.place ORDER BY r.id, r.k, w.step
                """,
                {
                    "category": nation.category.pk,
                    "first": first,
                    "last": min(first + _STEP, operations) - 1,
                    "leaves": len(nation.projects),
                    "begin": begin,
                    "rows": ROWS_OF_AN_OPERATION,
                },
            )
        cursor.execute(
            "UPDATE ledger_clock SET applied_until = %s, stamp = 0 WHERE category_id = %s", [AT, nation.category.pk]
        )
    vacuum("posting", "ledger_operation")
    keep(nation.category.pk)
    vacuum("ledger_checkpoint_sum", "ledger_checkpoint_wallet")


def as_of(nation: Nation, times: int) -> list[float]:
    """Milliseconds to learn a wallet's balance at a past date, of the root, universities, departments and projects in turn."""
    levels = [1, 20, 200, len(nation.projects)]
    wallets = [nation.wallet(level, place) for level, size in enumerate(levels) for place in (0, size // 2, size - 1)]

    def ask(number: int) -> None:
        at = AT - timedelta(days=3 + number * 7 % 300, hours=number % 24)
        history.balance_as_of(wallet=wallets[number % len(wallets)], effective_at=at, known_at=None, at=AT)

    timed(ask, len(wallets))
    return timed(ask, times)


def fanout_growth(few: int, many: int, posts: int) -> float:
    """How many times dearer one report on a child becomes when its parent has many children instead of few."""
    nations = [make_nation(f"fan-{size}", (1, size)) for size in (few, many)]
    vacuum("wallet", "allocation")
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(posts + 20):
        for nation, times in zip(nations, spent, strict=True):
            one = reports(nation, f"fan-{number}", 1, workspaces=nation.projects[:few])
            begun = perf_counter()
            post_reports(reports=one, by=None, at=AT)
            times.append(perf_counter() - begun)
    return statistics.median(spent[1][20:]) / statistics.median(spent[0][20:])


def depth_growth(posts: int) -> float:
    """How many times dearer one report becomes at the foot of a chain of 16 instead of 2."""
    nations = [make_nation(f"chain-{depth}", (1,) * depth) for depth in (2, 16)]
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(posts):
        for nation, times in zip(nations, spent, strict=True):
            one = reports(nation, f"chain-{number}", 1)
            begun = perf_counter()
            post_reports(reports=one, by=None, at=AT)
            times.append(perf_counter() - begun)
    return statistics.median(spent[1]) / statistics.median(spent[0])


def lock_and_free(count: int) -> tuple[float, float, float]:
    """Seconds to lock so many wallets by one report above them, to free them by more quota, and of a bare update of as many.

    An event is written for each of them; the baseline writes as many rows of both.
    """
    nation = make_nation(f"locks-{count}", (1, count), quota_ticks=(1_000, 500))
    vacuum("wallet", "allocation")
    top = np.array(nation.workspace_ids[0], dtype=np.int64)
    filling = [
        Report("fill", nation.category.pk, int(top[0]), 1_000, AT - timedelta(hours=1), AT - timedelta(minutes=1))
    ]
    begun = perf_counter()
    post_reports(reports=filling, by=None, at=AT)
    locking = perf_counter() - begun
    root = Allocation.objects.select_related("category__provider__organization", "wallet", "source").get(
        category=nation.category, source=None
    )
    begun = perf_counter()
    change_allocation(allocation=root, quota_ticks=2_000, by=None, at=AT)
    freeing = perf_counter() - begun
    begun = perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE wallet SET locked = locked WHERE category_id = %s", [nation.category.pk])
        cursor.execute(
            """
            INSERT INTO event (at, kind, subject_type, subject_id, facts)
            SELECT %s, 'bench.bare', 'wallet', id, '{}' FROM wallet WHERE category_id = %s
            """,
            [AT, nation.category.pk],
        )
    return locking, freeing, perf_counter() - begun


def part_of_a_million(wallets: int) -> tuple[int, float]:
    """How many wallets a request of a single report loads out of so many, and in how many milliseconds."""
    nation = make_nation("million", (1, 20, 200, 5_000, wallets - 5_221))
    vacuum("wallet", "allocation")
    place = [nation.wallet(4, 77).pk]
    times = timed(lambda _number: load(nation.category, place, AT), 20)
    return len(load(nation.category, place, AT).wallet_ids), statistics.median(times)
