"""A national tree in the database, made by the thousand: one root, universities, departments, projects."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from django.db import connection, transaction

from bursar.accounting import copying
from bursar.accounting.books import Ledger, row_ids
from bursar.accounting.models import Wallet
from bursar.catalogue.models import ProductCategory
from bursar.catalogue.services import authorize_provider, create_category
from bursar.engine.ledger import Kind, nothing
from bursar.engine.ledger.book import Ints
from bursar.structure.models import Organization
from bursar.structure.services import create_organization

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
END: Final = datetime(2028, 1, 1, tzinfo=UTC)
AT: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QUOTA_TICKS: Final = 10**15  # more than a run uses


@dataclass(frozen=True)
class Nation:
    """workspace_ids   by level, from the root to the projects"""

    category: ProductCategory
    workspace_ids: list[list[int]]

    @property
    def projects(self) -> Ints:
        return np.array(self.workspace_ids[-1], dtype=np.int64)

    def wallet(self, level: int = 0, place: int = 0) -> Wallet:
        return Wallet.objects.get(category=self.category, workspace_id=self.workspace_ids[level][place])


@transaction.atomic
def make_nation(
    name: str, levels: tuple[int, ...] = (1, 20, 200, 5000), *, quota_ticks: tuple[int, ...] | None = None
) -> Nation:
    """A category of its own with a wallet for each place; each level draws from the one above, spread evenly.

    levels        how many wallets each level has
    quota_ticks   by level; each allocation of it has that much
    """
    at = START
    owner = Organization.objects.filter(slug="bench-centre").first() or create_organization(
        name="Computing Centre", slug="bench-centre", by=None, at=at
    )
    provider = getattr(owner, "provider", None) or authorize_provider(organization=owner, by=None, at=at)
    category = create_category(
        provider=provider, name=name, title=name, product_type="compute", charging="hour", unit_name="core-hours",
        ticks_per_unit=3600, by=None, at=at,
    )  # fmt: skip
    category = ProductCategory.objects.select_related("provider__organization").get(pk=category.pk)
    nation = Nation(category, [_workspaces(f"{name}-{level}", count) for level, count in enumerate(levels)])
    above: list[int] = []
    for level, workspace_ids in enumerate(nation.workspace_ids):
        quota = QUOTA_TICKS // 10**level if quota_ticks is None else quota_ticks[level]
        above = _wallets(category, workspace_ids, above, quota)
    return nation


def _workspaces(name: str, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH made AS (
                INSERT INTO organization (name, slug, country, vat_number, currency, time_zone, url)
                SELECT %(name)s || ' ' || n, %(name)s || '-' || n, '', '', 'EUR', 'UTC', '' FROM generate_series(1, %(count)s) n
                RETURNING id
            )
            INSERT INTO workspace (kind, organization_id) SELECT 'organization', id FROM made ORDER BY id RETURNING id
            """,
            {"name": name, "count": count},
        )
        return sorted(row[0] for row in cursor.fetchall())


def _wallets(category: ProductCategory, workspace_ids: list[int], above: list[int], quota: int) -> list[int]:
    """Wallets and what they hold, with the journal rows that the services would have written."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO wallet (category_id, workspace_id, used_ticks, uncovered_ticks, written_off_ticks, locked, made_at)
            SELECT %s, key, 0, 0, 0, false, %s FROM unnest(%s::bigint[]) AS v(key) RETURNING id
            """,
            [category.pk, START, copying.array(workspace_ids)],
        )
        ids = sorted(row[0] for row in cursor.fetchall())
    sources = [above[place * len(above) // len(ids)] for place in range(len(ids))] if above else []
    # An operation by the book, so that clock and journal are as they are elsewhere.
    ledger = Ledger(category=category, wallet_ids=[], by_id=None, at=START)
    operation = ledger.operation("allocate")
    ledger.journal(operation, nothing(Kind.ALLOCATE, ledger.book.now))
    ledger.finish()
    parameters: dict[str, Any] = {
        "category": category.pk,
        "operation": operation,
        "first": int(row_ids(operation, 0, 1)[0]),
        "quota": quota,
        "start": START,
        "end": END,
        "wallets": copying.array(ids),
        "sources": copying.array(sources) if above else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH given AS (
                INSERT INTO allocation (category_id, wallet_id, source_id, quota_ticks, drawn_ticks, start, "end", priority,
                                        note, made_at)
                SELECT %(category)s, wallet, source, %(quota)s, 0, %(start)s, %(end)s, 0, '', %(start)s
                FROM unnest(%(wallets)s::bigint[], %(sources)s::bigint[]) AS v(wallet, source)
                RETURNING id, wallet_id
            )
            INSERT INTO posting (id, category_id, operation_id, kind, wallet_id, allocation_id, quota_ticks, start, "end",
                                 turned, effective_at, recorded_at)
            SELECT %(first)s + row_number() OVER (ORDER BY id), %(category)s, %(operation)s,
                   'allocate', wallet_id, id, %(quota)s, %(start)s, %(end)s, '',
                   %(start)s, %(start)s
            FROM given ORDER BY id
            """,
            parameters,
        )
    return ids
