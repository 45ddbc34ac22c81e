"""A seller with many resources whose month is closed: how long it takes, and how much memory the process needs."""

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from time import perf_counter
from typing import Any, Final

from django.db import connection, transaction

from bursar.billing import services as billing
from bursar.catalogue import services as catalogue
from bursar.catalogue.models import Component, Offering
from bursar.config.bench.closing import CLOSED_AT, MONTH
from bursar.structure.services import create_organization

START: Final = datetime(2026, 9, 1, tzinfo=UTC)
CUSTOMERS: Final = 200


@dataclass(frozen=True, slots=True)
class Market:
    """A seller and how much there is to bill."""

    provider_id: int
    resources: int
    components: int
    reports: int


@transaction.atomic
def make_market(name: str, resources: int, reports_each: int, *, customers: int = CUSTOMERS) -> Market:
    """Resources of one offering with five components: two by use, two fixed, one by its limit.

    Of ten resources one switches its plan on the 15th, one has its limit raised on the 10th, one is paused from the 20th
    and one ends on the 25th. Reports lie evenly over the month.
    """
    centre = create_organization(name=f"Centre {name}", slug=f"market-{name}", country="DE", by=None, at=START)
    provider = catalogue.authorize_provider(organization=centre, by=None, at=START)
    offering = catalogue.create_offering(provider=provider, name=name, slug=f"market-{name}", by=None, at=START)
    categories = [
        catalogue.create_category(
            provider=provider,
            name=f"{name}-{kind}",
            title=kind,
            product_type="compute",
            charging="hour",
            unit_name="hours",
            ticks_per_unit=3600,
            requires_allocation=False,
            by=None,
            at=START,
        )
        for kind in ("cpu", "gpu")
    ]
    components = [
        *(
            _component(offering, category.title, "usage", category=category, ticks_per_unit=3600)
            for category in categories
        ),
        _component(offering, "base", "fixed"),
        _component(offering, "support", "fixed"),
        _component(offering, "storage", "limit"),
    ]
    plans = [catalogue.add_plan(offering=offering, name=title, by=None, at=START) for title in ("Standard", "Small")]
    for plan, factor in zip(plans, (2, 1), strict=True):
        for component in components:
            catalogue.set_price(plan=plan, component=component, price=Decimal(factor) / 10, amount=3, by=None, at=START)
    parameters: dict[str, Any] = {
        "name": name,
        "customers": customers,
        "resources": resources,
        "offering": offering.pk,
        "plan": plans[0].pk,
        "other": plans[1].pk,
        "storage": components[-1].pk,
        "categories": [category.pk for category in categories],
        "reports": reports_each,
        "start": START,
    }
    with connection.cursor() as cursor:
        for statement in (_CUSTOMERS, _RESOURCES, _STATES, _PLANS, _LIMITS):
            cursor.execute(statement, parameters)
        cursor.execute("SELECT add_month_parts('usage_report', %s, %s)", [MONTH, CLOSED_AT.date()])
        cursor.execute(_REPORTS, parameters)
        # Cuts draw numbers greater than those of what is there.
        cursor.execute("SELECT setval('ledger_operation_id_seq', 1000000000 + nextval('ledger_operation_id_seq'))")
    billing.edit_seller(provider=provider, bills_from=MONTH, by=None, at=START)
    return Market(provider.pk, resources, resources * len(components), resources * reports_each)


def _component(offering: Offering, key: str, billing: str, **more: Any) -> Component:
    return catalogue.add_component(
        offering=offering, key=key, title=key, billing=billing, unit_name="units", by=None, at=START, **more
    )


_CUSTOMERS: Final = """
WITH made AS (
    INSERT INTO organization (name, slug, country, vat_number, currency, time_zone, url)
    SELECT %(name)s || ' customer ' || n, %(name)s || '-customer-' || n, 'DE', '', 'EUR', 'UTC', ''
    FROM generate_series(1, %(customers)s) n RETURNING id
)
INSERT INTO workspace (kind, organization_id) SELECT 'organization', id FROM made ORDER BY id
"""
_RESOURCES: Final = """
WITH holders AS (
    SELECT w.id, row_number() OVER (ORDER BY w.id) - 1 AS place FROM workspace w JOIN organization o ON o.id = w.organization_id
    WHERE o.slug LIKE %(name)s || '-customer-%%'
)
INSERT INTO resource (workspace_id, offering_id, name, form, state, plan_id, limits, desired_plan_id, desired_limits,
    desired_paused, desired_gone, generation, observed_generation, observed_paused, backend_id, plugin_state, access, message,
    awaited_work, attempts, quota_offer, created_at, first_ok_at, terminated_at)
SELECT h.id, %(offering)s, 'Run ' || n, '{}', CASE WHEN n %% 10 = 4 THEN 'terminated' ELSE 'ok' END, %(plan)s, '{}', %(plan)s,
    '{}', false, false, 1, 1, false, n::text, '{}', '{}', '', '', 0, 0, %(start)s, %(start)s,
    CASE WHEN n %% 10 = 4 THEN timestamptz '2026-10-25 12:00Z' END
FROM generate_series(1, %(resources)s) n JOIN holders h ON h.place = n %% %(customers)s
ORDER BY n
"""
_STATES: Final = """
INSERT INTO resource_fact (resource_id, what, state, effective_at)
SELECT r.id, 'state', f.state, f.at
FROM resource r CROSS JOIN LATERAL (VALUES
    (-1, 'creating', timestamptz '2026-09-01 00:00Z'), (-1, 'ok', timestamptz '2026-09-01 00:10Z'),
    (3, 'changing', timestamptz '2026-10-20 11:00Z'), (3, 'paused', timestamptz '2026-10-20 12:00Z'),
    (4, 'terminating', timestamptz '2026-10-25 11:00Z'), (4, 'terminated', timestamptz '2026-10-25 12:00Z')
) AS f (which, state, at)
WHERE r.offering_id = %(offering)s AND (f.which < 0 OR f.which = r.backend_id::bigint %% 10)
ORDER BY f.at, r.id
"""
_PLANS: Final = """
INSERT INTO resource_fact (resource_id, what, state, plan_id, effective_at)
SELECT r.id, 'plan', '', f.plan, f.at
FROM resource r CROSS JOIN LATERAL (VALUES
    (-1, %(plan)s, timestamptz '2026-09-01 00:00Z'), (1, %(other)s, timestamptz '2026-10-15 08:00Z')
) AS f (which, plan, at)
WHERE r.offering_id = %(offering)s AND (f.which < 0 OR f.which = r.backend_id::bigint %% 10)
ORDER BY f.at, r.id
"""
_LIMITS: Final = """
INSERT INTO resource_fact (resource_id, what, state, component_id, "limit", effective_at)
SELECT r.id, 'limit', '', %(storage)s, f.units, f.at
FROM resource r CROSS JOIN LATERAL (VALUES
    (-1, 100, timestamptz '2026-09-01 00:00Z'), (2, 150, timestamptz '2026-10-10 08:00Z')
) AS f (which, units, at)
WHERE r.offering_id = %(offering)s AND (f.which < 0 OR f.which = r.backend_id::bigint %% 10)
ORDER BY f.at, r.id
"""
# In the order of recording, as they come: every resource tells every so many minutes.
_REPORTS: Final = """
INSERT INTO usage_report (id, category_id, report_id, operation_id, wallet_id, resource_id, is_absolute, amount_ticks,
    posted_ticks, period_start, period_end, used_at, recorded_at)
SELECT n * 1000000 + r.id, (%(categories)s::bigint[])[1 + n %% 2], n || '-' || r.id, n, r.workspace_id, r.id, false,
    1 + (n * 7919 + r.id) %% 7200, 1 + (n * 7919 + r.id) %% 7200, t.at - interval '1 hour', t.at, t.at - interval '1 microsecond',
    t.at + interval '1 minute'
FROM generate_series(1, %(reports)s) n CROSS JOIN LATERAL (
    SELECT timestamptz '2026-10-01Z' + interval '31 days' * (n::float8 / %(reports)s) * 0.999 AS at
) t CROSS JOIN resource r
WHERE r.offering_id = %(offering)s
"""


@dataclass(frozen=True, slots=True)
class Closing:
    """seconds   of closing alone, the process being up; mebibytes: the most that the process held"""

    seconds: float
    mebibytes: float
    invoices: int
    lines: int


def analyze() -> None:
    """What autovacuum does by itself within a minute of such a load."""
    with connection.cursor() as cursor:
        for table in ("usage_report", "resource", "resource_fact", "workspace", "organization"):
            cursor.execute(f'ANALYZE "{table}"')


def close_in_a_process(market: Market) -> Closing:
    done = subprocess.run(
        [sys.executable, "-m", "bursar.config.bench.closing", str(market.provider_id)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    seconds, mebibytes, invoices, lines = done.stdout.split()[-4:]
    return Closing(float(seconds), float(mebibytes), int(invoices), int(lines))


def read_seconds(market: Market) -> float:
    """How long it takes to read and add up the reports alone: what closing cannot do without."""
    begun = perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*) FROM (
                SELECT resource_id, u.category_id, sum(posted_ticks) FROM usage_report u
                JOIN product_category c ON c.id = u.category_id AND c.provider_id = %s GROUP BY 1, 2
            ) AS sums
            """,
            [market.provider_id],
        )
        cursor.fetchone()
    return perf_counter() - begun
