"""Sums of the journal at places in it, so that a past balance need not be added up from the beginning.

A checkpoint stands after each `CHUNK` postings of a category. Checkpoint n sums up the stretch of recording from
checkpoint `n - reach(n)` to its own, and a few of those stretches (`prefix`) make up any past from the beginning. Within a
stretch the sums run along the other time: one row for each instant at which something took effect, holding all up to it. So
a past balance by both times is one row of each stretch, and what was recorded after the last checkpoint before it.

Only wallets with many postings are summed up; the others are quicker to add up than to keep. All rows here can be thrown
away and are made again; `differences` compares them with the journal.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

CHUNK: Final = 10_000
MANY: Final = 20_000
BASE: Final = 16
REACH_MAX: Final = BASE**3
# Beside the advisory locks of categories, which are one number each.
_LOCK: Final = 7_301


def reach(number: int) -> int:
    """How many chunks a checkpoint sums up, its own included: the greatest power of 16 that divides its number."""
    size = 1
    while size < REACH_MAX and number % (size * BASE) == 0:
        size *= BASE
    return size


def prefix(number: int) -> list[int]:
    """The checkpoints whose stretches together are everything up to one of them."""
    found = []
    while number > 0:
        found.append(number)
        number -= reach(number)
    return found


def keep(category_id: int) -> int:
    """Make the checkpoints of a category that are missing, each in a transaction of its own; their number.

    Writers are not held up: what they record from here on lies at the category's clock or after it, and a checkpoint ends
    before it.
    """
    made = 0
    while _keep_next(category_id):
        made += 1
    return made


@transaction.atomic
def _keep_next(category_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, category_id % 2**31])
        cursor.execute(
            """
            SELECT number, recorded_until, recorded_until - lead(recorded_until) OVER (ORDER BY number DESC)
            FROM ledger_checkpoint WHERE category_id = %s ORDER BY number DESC LIMIT 1
            """,
            [category_id],
        )
        number, since, lasted = cursor.fetchone() or (0, None, None)
        number += 1
        until = _next_end(cursor, category_id, since, lasted or timedelta(hours=1))
        if until is None:
            return False
        parameters: dict[str, Any] = {
            "category": category_id, "number": number, "since": since, "until": until, "many": MANY,
            "from": number - reach(number), "max": REACH_MAX, "base": BASE,
        }  # fmt: skip
        cursor.execute("INSERT INTO ledger_checkpoint VALUES (%(category)s, %(number)s, %(until)s)", parameters)
        cursor.execute(_COUNT, parameters)
        cursor.execute(_SUM_STRETCH, parameters)
        cursor.execute(_SUM_PAST, parameters)
    return True


def _next_end(cursor: Any, category_id: int, since: datetime | None, lasted: timedelta) -> datetime | None:
    """When the next `CHUNK` postings had been recorded; None where there are not so many yet.

    lasted   how long the last ones took; a little more than that is looked at first, and more and more where it is too short.
             Without a bound all that was ever recorded would be sorted, for each checkpoint.
    """
    parameters: dict[str, Any] = {"category": category_id, "since": since, "chunk": CHUNK - 1}
    cursor.execute(
        """
        SELECT (SELECT min(recorded_at) FROM posting WHERE category_id = %(category)s
                AND recorded_at > coalesce(%(since)s::timestamptz, '-infinity')),
               (SELECT applied_until FROM ledger_clock WHERE category_id = %(category)s)
        """
        if since is None
        else "SELECT %(since)s::timestamptz, applied_until FROM ledger_clock WHERE category_id = %(category)s",
        parameters,
    )
    begin, end = cursor.fetchone() or (None, None)
    if begin is None or end is None:
        return None
    width = 2 * max(lasted, timedelta(seconds=1))
    while True:
        bound = min(end - begin, width) + begin
        cursor.execute(
            """
            SELECT recorded_at FROM posting
            WHERE category_id = %(category)s AND recorded_at > coalesce(%(since)s::timestamptz, '-infinity')
              AND recorded_at <= %(bound)s AND recorded_at < %(end)s
            ORDER BY recorded_at, id OFFSET %(chunk)s LIMIT 1
            """,
            {**parameters, "bound": bound, "end": end},
        )
        row = cursor.fetchone()
        if row is not None:
            found: datetime = row[0]
            return found
        if bound >= end:
            return None
        width = 4 * width


_COUNT: Final = """
INSERT INTO ledger_checkpoint_wallet AS w (category_id, wallet_id, postings, summed_since)
SELECT %(category)s, wallet_id, count(*), CASE WHEN count(*) >= %(many)s THEN %(number)s::int END FROM posting
WHERE category_id = %(category)s AND recorded_at <= %(until)s
  AND recorded_at > coalesce(%(since)s::timestamptz, '-infinity')
GROUP BY wallet_id
ON CONFLICT (category_id, wallet_id) DO UPDATE SET
    postings = w.postings + excluded.postings,
    summed_since = coalesce(w.summed_since,
                            CASE WHEN w.postings + excluded.postings >= %(many)s THEN %(number)s::int END)
"""

# A posting may speak of its wallet and of one allocation at once: each gets a row of its own.
_PARTS = """
    CROSS JOIN LATERAL (VALUES
        (0::bigint, p.used_ticks, p.uncovered_ticks, p.written_off_ticks, 0::bigint),
        (p.allocation_id, 0, 0, 0, p.drawn_ticks)
    ) AS v(allocation_id, used, uncovered, written_off, drawn)
    WHERE v.allocation_id IS NOT NULL AND (v.used, v.uncovered, v.written_off, v.drawn) <> (0, 0, 0, 0)
"""
_RUNNING = """
    SELECT %(category)s, s.wallet_id, s.allocation_id, s.number, s.effective_at, sum(s.used) OVER w, sum(s.uncovered) OVER w,
           sum(s.written_off) OVER w, sum(s.drawn) OVER w
    FROM sums s WINDOW w AS (PARTITION BY s.number, s.wallet_id, s.allocation_id ORDER BY s.effective_at)
"""
_TOTALS = """p.wallet_id, v.allocation_id, p.effective_at, sum(v.used) AS used, sum(v.uncovered) AS uncovered,
             sum(v.written_off) AS written_off, sum(v.drawn) AS drawn"""

# The new checkpoint's stretch, for the wallets that were summed up before.
_STRETCH: Final = f"""
    SELECT %(number)s::int AS number, {_TOTALS}
    FROM (
        SELECT * FROM posting
        WHERE category_id = %(category)s AND recorded_at <= %(until)s AND recorded_at > coalesce(
            (SELECT recorded_until FROM ledger_checkpoint WHERE category_id = %(category)s AND number = %(from)s),
            '-infinity')
        OFFSET 0
    ) AS p
    JOIN ledger_checkpoint_wallet c
      ON c.category_id = %(category)s AND c.wallet_id = p.wallet_id AND c.summed_since < %(number)s
    {_PARTS} GROUP BY p.wallet_id, v.allocation_id, p.effective_at
"""  # noqa: S608  constants
_SUM_STRETCH: Final = f"INSERT INTO ledger_checkpoint_sum WITH sums AS ({_STRETCH}) {_RUNNING}"

# Every stretch so far, for the wallets that have just become ones with many postings: summed up by chunk first, for a chunk has
# thousands of their postings and few hours. Checkpoints are numbered from 1 in the order of their ends, so a posting's chunk is one
# more than how many ended before it: a search in one array, not a look into the table for each.
_PAST: Final = f"""
    SELECT n.number, f.wallet_id, f.allocation_id, f.effective_at, sum(f.used) AS used, sum(f.uncovered) AS uncovered,
           sum(f.written_off) AS written_off, sum(f.drawn) AS drawn
    FROM (
        SELECT p.chunk, {_TOTALS}
        FROM ledger_checkpoint_wallet c
        CROSS JOIN LATERAL (
            SELECT q.*, 1 + width_bucket(q.recorded_at - interval '1 microsecond', ARRAY(
                SELECT k.recorded_until FROM ledger_checkpoint k WHERE k.category_id = %(category)s ORDER BY k.number
            )) AS chunk
            FROM posting q
            WHERE q.category_id = %(category)s AND q.wallet_id = c.wallet_id AND q.recorded_at <= %(until)s
            OFFSET 0
        ) AS p
        {_PARTS} AND c.category_id = %(category)s AND c.summed_since = %(number)s
        GROUP BY p.chunk, p.wallet_id, v.allocation_id, p.effective_at
    ) AS f
    CROSS JOIN LATERAL (
        SELECT DISTINCT (f.chunk + r.size - 1) / r.size * r.size
        FROM (VALUES (1), (%(base)s), (%(base)s * %(base)s), (%(max)s)) AS r(size)
    ) AS n(number)
    WHERE n.number <= %(number)s
    GROUP BY n.number, f.wallet_id, f.allocation_id, f.effective_at
"""  # noqa: S608  constants
_SUM_PAST: Final = f"INSERT INTO ledger_checkpoint_sum WITH sums AS ({_PAST}) {_RUNNING}"


def differences(category_id: int) -> list[tuple[int, int, int]]:
    """Where the sums are not those of the journal: (wallet id, allocation id or 0, checkpoint), at most a hundred."""
    parameters = {"category": category_id, "base": BASE, "max": REACH_MAX}
    with connection.cursor() as cursor:
        cursor.execute(_DIFFERENCES, parameters)
        return [(row[0], row[1], row[2]) for row in cursor.fetchall()]


_DIFFERENCES: Final = f"""
WITH last AS (
    SELECT max(number) AS number, max(recorded_until) AS until FROM ledger_checkpoint WHERE category_id = %(category)s
), sums AS ({
    _PAST.replace("%(until)s", "(SELECT until FROM last)")
    .replace("c.summed_since = %(number)s", "c.summed_since IS NOT NULL")
    .replace("%(number)s", "(SELECT number FROM last)")
}), made AS ({_RUNNING}), kept AS (
    SELECT category_id, wallet_id, allocation_id, number, effective_at, used_ticks::numeric, uncovered_ticks::numeric,
           written_off_ticks::numeric, drawn_ticks::numeric
    FROM ledger_checkpoint_sum WHERE category_id = %(category)s
)
SELECT DISTINCT wallet_id, allocation_id, number FROM (
    (TABLE made EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE made)
) AS x(category_id, wallet_id, allocation_id, number, effective_at, used, uncovered, written_off, drawn)
ORDER BY wallet_id, allocation_id, number LIMIT 100
"""  # noqa: S608  constants
