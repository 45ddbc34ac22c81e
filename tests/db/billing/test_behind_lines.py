"""The usage reports behind a line: all that it was computed from, and none of its neighbours'."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bursar.billing import lookup
from bursar.billing import services as billing
from bursar.billing.models import Invoice, InvoiceLine
from tests.factories.selling import (
    Shop,
    another_plan,
    changed,
    close,
    corrected,
    make_running,
    make_shop,
    set_prices,
    used,
    when,
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)


@pytest.fixture(scope="module")
def shop(standing: Callable[..., Any]) -> Shop:
    """It sells CPU time at 4 an hour."""
    return standing(lambda: make_shop({"cpu": 4}))


def behind(invoice: Invoice) -> list[tuple[D, list[str], D]]:
    """Of each line: its amount, the reports behind it, and what these come to at its price."""
    found = []
    for line in lookup.lines_of(invoice).select_related("invoice__cut"):
        rows = list(lookup.usage_behind(line))
        assert line.component is not None
        units = D(sum(row.posted_ticks for row in rows)) / line.component.ticks_per_unit
        found.append((line.amount, [row.report_id for row in rows], units * line.unit_price))
    return found


def test_usage_behind__plan_changed_and_changed_back__each_line_has_its_own_stretches(shop: Shop) -> None:
    cheap = another_plan(shop, {"cpu": 3}, name="Cheap")
    run = make_running(shop, at=when(1))
    first = used(shop, run, 10, on=when(10))
    run = changed(shop, run, plan_id=cheap.pk, at=when(15))
    until_then = used(shop, run, 1, on=when(15))
    since_then = used(shop, run, 5, on=when(15, hour=1))
    second = used(shop, run, 10, on=when(20))
    run = changed(shop, run, plan_id=shop.plan.pk, at=when(25))
    third = used(shop, run, 2, on=when(28))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert sorted(behind(july)) == [
        (D("45.00"), [since_then, second], D(45)),
        (D("52.00"), [first, until_then, third], D(52)),
    ]


def test_usage_behind__price_raised_within_the_month_and_corrected_later__by_line_and_adjustment(shop: Shop) -> None:
    run = make_running(shop, at=when(1))
    first = used(shop, run, 10, on=when(10))
    second = used(shop, run, 10, on=when(20))
    set_prices(shop, {"cpu": 5}, at=when(9), valid_from=when(15))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert sorted(behind(july)) == [(D("40.00"), [first], D(40)), (D("50.00"), [second], D(50))]
    corrected(shop, run, first, 11, on=when(10), at=when(9, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    ((amount, reports, now),) = behind(august)
    assert (amount, reports[0], len(reports), now) == (D("4.00"), first, 2, D(44))
    # What came after July was issued is not behind its lines.
    assert sorted(behind(july)) == [(D("40.00"), [first], D(40)), (D("50.00"), [second], D(50))]


def test_usage_behind__price_of_another_component_or_plan_turned__all_reports_of_the_month() -> None:
    shop = make_shop({"cpu": 4, "base": (6, 1)})
    another_plan(shop, {"cpu": 1}, name="Other")
    run = make_running(shop, at=when(1))
    reports = [used(shop, run, 1, on=when(day)) for day in (3, 20)]
    set_prices(shop, {"base": (7, 1)}, at=when(9), valid_from=when(15))
    (july,) = close(shop, JULY, at=when(8, 8))
    line = InvoiceLine.objects.get(invoice=july, component__key="cpu")
    assert [row.report_id for row in lookup.usage_behind(line)] == reports


def test_usage_behind__number_of_queries__does_not_grow_with_plans_or_reports(shop: Shop) -> None:
    run = make_running(shop, at=when(1))

    def asked(days: range) -> int:
        for day in days:
            plan = another_plan(shop, {"cpu": day}, name=f"Plan {day}")
            changed(shop, run, plan_id=plan.pk, at=when(day))
            used(shop, run, 1, on=when(day, hour=2))
        billing.refresh(provider=shop.provider, by=None, at=when(30))
        line = (
            lookup.lines_of(Invoice.objects.get(state="open"))
            .select_related("invoice__cut")
            .order_by("-position")[:1]
            .get()
        )
        with CaptureQueriesContext(connection) as queries:
            assert len(lookup.usage_behind(line)) == 1
        return len(queries)

    assert asked(range(2, 3)) == asked(range(3, 7)) == 6
