"""Months closed through the real services: what stands on invoices, what comes late, and the same bytes again."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest

from bursar.billing import services as billing
from bursar.billing.errors import (
    InvoiceEmpty,
    InvoiceIssuedAlready,
    MonthNotBilled,
    MonthNotOver,
    OlderMonthOpen,
)
from bursar.billing.models import Cut, Invoice, InvoiceLine, Seller
from bursar.billing.verification import verify
from bursar.catalogue import services as catalogue
from bursar.provisioning import services as provisioning
from bursar.provisioning.models import ResourceFact
from tests.factories.selling import (
    Shop,
    another_customer,
    another_plan,
    changed,
    close,
    corrected,
    ended,
    lines,
    make_running,
    make_shop,
    matched,
    open_invoice,
    set_prices,
    used,
    when,
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def shop(standing: Callable[..., Any]) -> Shop:
    """A centre that sells CPU time by use, a fixed piece and storage by its limit; nothing has a price yet."""
    return standing(lambda: make_shop({}))


JULY, AUGUST, SEPTEMBER = date(2026, 7, 1), date(2026, 8, 1), date(2026, 9, 1)


def verdicts(*invoices: Invoice) -> list[bool]:
    fresh = Invoice.objects.select_related("cut", "provider__organization").filter(pk__in=[one.pk for one in invoices])
    return [verdict.is_right for verdict in verify(fresh.order_by("number"))]


def test_close_month__fixed_and_usage_corrected_in_the_month__one_usage_line(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4, "base": (6, 1)})
    run = make_running(shop, at=when(1))
    name = used(shop, run, 10, on=when(10))
    assert open_invoice(shop, JULY, at=when(11)).total == D("46.00")
    corrected(shop, run, name, 15, on=when(10), at=when(12))
    (invoice,) = close(shop, JULY, at=when(8, 8))
    assert lines(invoice) == [("charge", "cpu", D("60.00")), ("charge", "base", D("6.00"))]
    assert (invoice.number, invoice.number_text, invoice.state) == (1, "00001", "issued")
    assert (invoice.net, invoice.tax, invoice.total) == (D("66.00"), D(0), D("66.00"))
    assert (invoice.due_on, invoice.time_zone, invoice.currency) == (date(2026, 9, 7), "UTC", "EUR")
    assert verdicts(invoice) == [True]


def test_close_month__usage_told_before_and_after_issuing__in_the_month_and_an_adjustment_for_it(shop: Shop) -> None:
    """Of 30 July: told on 3 August it is in July, told on 9 August, after the eighth, an adjustment in August."""
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    used(shop, run, 3, on=when(30), at=when(3, 8))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert lines(july) == [("charge", "cpu", D("12.00"))]
    used(shop, run, 2, on=when(30), at=when(9, 8))
    used(shop, run, 1, on=when(10, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert lines(august) == [("charge", "cpu", D("4.00")), ("adjustment", "cpu", D("8.00"))]
    adjustment = InvoiceLine.objects.get(invoice=august, kind="adjustment")
    assert (adjustment.month, adjustment.quantity, adjustment.unit_price) == (JULY, D(2), D(4))
    assert adjustment.basis["was"] == {"minor": 1200, "quantity": "3"}
    assert adjustment.basis["is"] == {"minor": 2000, "quantity": "5"}
    assert verdicts(july, august) == [True, True]


def test_close_month__correction_after_issuing__adjusted_once_and_both_give_the_same_bytes(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    name = used(shop, run, 10, on=when(10))
    (july,) = close(shop, JULY, at=when(8, 8))
    corrected(shop, run, name, 6, on=when(10), at=when(20, 8))
    used(shop, run, 5, on=when(21, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert lines(august) == [("charge", "cpu", D("20.00")), ("adjustment", "cpu", D("-16.00"))]
    used(shop, run, 1, on=when(3, 9))
    (september,) = close(shop, SEPTEMBER, at=when(8, 10))
    assert lines(september) == [("charge", "cpu", D("4.00"))]
    assert verdicts(july, august, september) == [True, True, True]


def test_close_month__correction_of_what_ended__an_invoice_of_the_adjustment_alone(shop: Shop) -> None:
    """More is taken back than the month comes to: the rest is the customer's, and pays what comes next."""
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    name = used(shop, run, 10, on=when(10))
    ended(shop, run, at=when(20))
    close(shop, JULY, at=when(8, 8))
    corrected(shop, run, name, 7, on=when(10), at=when(20, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert lines(august) == [("adjustment", "cpu", D("-12.00"))]
    assert (august.total, august.paid, august.state) == (D("-12.00"), D("-12.00"), "paid")
    again = make_running(shop, at=when(1, 9))
    used(shop, again, 5, on=when(2, 9))
    (september,) = close(shop, SEPTEMBER, at=when(8, 10))
    assert (september.total, september.paid, september.state) == (D("20.00"), D("12.00"), "part_paid")
    assert verdicts(august, september) == [True, True]


def test_close_month__plan_switched_back_in_time__the_lines_of_both_plans_are_adjusted(shop: Shop) -> None:
    set_prices(shop, {"base": (6, 1)})
    cheap = another_plan(shop, {"base": (2, 1)}, name="Small")
    run = make_running(shop, at=when(1))
    close(shop, JULY, at=when(8, 8))
    ResourceFact.objects.create(resource=run, what="plan", plan=cheap, effective_at=when(15))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    # July: 6 x 14/31 = 2.71 and 2 x 17/31 = 1.10 instead of 6.00.
    assert lines(august) == [
        ("charge", "base", D("2.00")),
        ("adjustment", "base", D("-3.29")),
        ("adjustment", "base", D("1.10")),
    ]
    assert verdicts(*Invoice.objects.all()) == [True, True]


def test_close_month__switch_of_plan_in_the_month__each_day_by_the_plan_in_force_at_its_end(shop: Shop) -> None:
    set_prices(shop, {"base": (6, 1)})
    cheap = another_plan(shop, {"base": (2, 1)}, name="Small")
    run = make_running(shop, at=when(1))
    changed(shop, run, plan_id=cheap.pk, at=when(15))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert lines(july) == [("charge", "base", D("2.71")), ("charge", "base", D("1.10"))]


def test_close_month__usage_before_and_after_a_switch__each_at_the_price_of_then(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    cheap = another_plan(shop, {"cpu": 3}, name="Small")
    run = make_running(shop, at=when(1))
    used(shop, run, 10, on=when(10))
    changed(shop, run, plan_id=cheap.pk, at=when(15))
    used(shop, run, 10, on=when(20))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert lines(july) == [("charge", "cpu", D("40.00")), ("charge", "cpu", D("30.00"))]
    assert verdicts(july) == [True]


def test_close_month__new_price_in_the_month__usage_at_the_price_in_force_when_it_was_used(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    set_prices(shop, {"cpu": 5}, at=when(10), valid_from=when(20))
    used(shop, run, 2, on=when(19))
    used(shop, run, 2, on=when(21))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert lines(july) == [("charge", "cpu", D("8.00")), ("charge", "cpu", D("10.00"))]


def test_close_month__limit_raised_and_resource_ended__days_at_the_highest_limit(shop: Shop) -> None:
    set_prices(shop, {"storage": 1})
    run = make_running(shop, at=when(1), limits={"storage": 100})
    changed(shop, run, limits={"storage": 150}, at=when(10))
    other = make_running(shop, at=when(1), limits={"storage": 16})
    ended(shop, other, at=when(10, hour=12))
    (july,) = close(shop, JULY, at=when(8, 8))
    # (100 x 9 + 150 x 22) / 31 and 16 x 10 / 31
    assert lines(july) == [("charge", "storage", D("135.48")), ("charge", "storage", D("5.16"))]


def test_close_month__paused_resource__billed_unless_it_is_free_while_paused() -> None:
    shop = make_shop(
        {"base": (31, 1), "idle": (31, 1)},
        components=(
            {"key": "base", "title": "Base", "billing": "fixed", "unit_name": "pieces"},
            {"key": "idle", "title": "Running", "billing": "fixed", "unit_name": "pieces", "free_while_paused": True},
        ),
    )
    run = make_running(shop, at=when(1))
    provisioning.pause_resource(resource_id=run.pk, by=shop.world.pi, at=when(10, hour=12))
    matched(run.pk, paused=True, at=when(10, hour=12))
    (july,) = close(shop, JULY, at=when(8, 8))
    assert lines(july) == [("charge", "base", D("31.00")), ("charge", "idle", D("10.00"))]


def test_close_month__in_yen_and_a_zone_ahead__days_and_digits_are_the_sellers() -> None:
    """20 July in Tokyo begins at 15:00 UTC of the 19th."""
    shop = make_shop({"base": (10, 1)}, currency="JPY", time_zone="Asia/Tokyo", country="JP", customer_country="JP")
    make_running(shop, at=when(19, hour=15))
    (july,) = close(shop, JULY, at=when(31, 7, hour=15))
    assert lines(july) == [("charge", "base", D(4))]
    assert (july.currency, july.time_zone, str(july.total)) == ("JPY", "Asia/Tokyo", "4.000")


def test_close_month__two_metered_components_on_one_category__each_use_at_its_own_price() -> None:
    shop = make_shop(
        {"cpu": 4, "gpu": 10},
        components=(
            {"key": "cpu", "title": "CPU", "billing": "usage", "unit_name": "h", "category": "cpu"},
            {
                "key": "gpu",
                "title": "GPU",
                "billing": "usage",
                "unit_name": "h",
                "category": "cpu",
                "ticks_per_unit": 36_000,
            },
        ),
    )
    run = make_running(shop, at=when(1))
    used(shop, run, 2, on=when(3))
    used(shop, run, 1, on=when(4), component="gpu")
    (july,) = close(shop, JULY, at=when(8, 8))
    assert lines(july) == [("charge", "cpu", D("8.00")), ("charge", "gpu", D("10.00"))]


def test_close_month__two_customers_and_one_that_used_nothing__numbers_without_a_gap(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    second, third = another_customer(shop), another_customer(shop)
    first_run = make_running(shop, at=when(1))
    make_running(shop, at=when(1), workspace=second)
    third_run = make_running(shop, at=when(1), workspace=third)
    used(shop, first_run, 1, on=when(3))
    used(shop, third_run, 2, on=when(3))
    found = close(shop, JULY, at=when(8, 8))
    assert [(one.customer_id, one.number, one.total) for one in found] == [
        (shop.customer.pk, 1, D("4.00")),
        (third.project.organization_id, 2, D("8.00")),
    ]
    assert Seller.objects.get(provider=shop.provider).closed_until == AUGUST
    assert close(shop, JULY, at=when(9, 8)) == []  # twice is once


def test_close_month__not_in_turn__refused_and_nothing_written(shop: Shop) -> None:
    set_prices(shop, {"base": (6, 1)})
    make_running(shop, at=when(1))
    with pytest.raises(MonthNotOver):
        close(shop, JULY, at=when(31, hour=23))
    with pytest.raises(OlderMonthOpen) as refusal:
        close(shop, AUGUST, at=when(8, 9))
    assert refusal.value.older == "July 2026"
    with pytest.raises(MonthNotBilled):
        close(shop, date(2026, 6, 1), at=when(8, 9))
    assert Invoice.objects.count() == 0


def test_issue_invoice__by_hand_before_the_others__its_own_number_and_what_comes_late_in_the_next(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    used(shop, run, 1, on=when(3))
    provisional = open_invoice(shop, JULY, at=when(1, 8, hour=1))
    assert (provisional.state, provisional.number, provisional.total) == ("open", None, D("4.00"))
    issued = billing.issue_invoice(invoice_id=provisional.pk, by=shop.world.manager, at=when(2, 8))
    assert (issued.pk, issued.number, issued.state) == (provisional.pk, 1, "issued")
    with pytest.raises(InvoiceIssuedAlready):
        billing.issue_invoice(invoice_id=provisional.pk, by=shop.world.manager, at=when(2, 8))
    used(shop, run, 2, on=when(30), at=when(3, 8))
    assert close(shop, JULY, at=when(8, 8)) == []
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert lines(august) == [("adjustment", "cpu", D("8.00"))]
    assert verdicts(issued, august) == [True, True]


def test_issue_invoice__of_which_nothing_is_left__taken_away_and_said_so(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    name = used(shop, run, 1, on=when(3))
    provisional = open_invoice(shop, JULY, at=when(1, 8, hour=1))
    corrected(shop, run, name, 0, on=when(3), at=when(2, 8))
    with pytest.raises(InvoiceEmpty):
        billing.issue_invoice(invoice_id=provisional.pk, by=None, at=when(2, 8))
    assert Invoice.objects.count() == 0
    assert Seller.objects.get().last_invoice == 0


def test_refresh__facts_change__lines_are_replaced_and_an_empty_invoice_goes(shop: Shop) -> None:
    set_prices(shop, {"cpu": 4})
    run = make_running(shop, at=when(1))
    name = used(shop, run, 3, on=when(3))
    first = open_invoice(shop, JULY, at=when(4))
    kept = list(first.lines.values_list("pk", flat=True))
    again = open_invoice(shop, JULY, at=when(5))
    assert list(again.lines.values_list("pk", flat=True)) == kept  # the same facts, the same rows
    assert again.computed_at == when(5)
    corrected(shop, run, name, 1, on=when(3), at=when(6))
    assert lines(open_invoice(shop, JULY, at=when(7))) == [("charge", "cpu", D("4.00"))]
    corrected(shop, run, name, 0, on=when(3), at=when(8))
    assert billing.refresh(provider=shop.provider, by=None, at=when(9)) == 0
    assert Invoice.objects.count() == 0


def test_refresh__again_and_again__cuts_that_nothing_stands_on_go(shop: Shop) -> None:
    set_prices(shop, {"base": (6, 1)})
    make_running(shop, at=when(1))
    for day in range(2, 9):
        billing.refresh(provider=shop.provider, by=None, at=when(day))
    assert Cut.objects.count() <= 3


def test_close_due_months__days_of_grace__only_when_they_are_over_and_wanted(shop: Shop) -> None:
    set_prices(shop, {"base": (6, 1)})
    make_running(shop, at=when(1))
    assert billing.close_due_months(provider=shop.provider, at=when(7, 8, hour=23)) == []
    assert billing.close_due_months(provider=shop.provider, at=when(8, 8)) == [JULY]
    billing.edit_seller(provider=shop.provider, issues_by_itself=False, by=None, at=when(9, 8))
    assert billing.close_due_months(provider=shop.provider, at=when(20, 9)) == []
    billing.edit_seller(provider=shop.provider, issues_by_itself=True, grace_days=0, by=None, at=when(20, 9))
    assert billing.close_due_months(provider=shop.provider, at=when(1, 11)) == [AUGUST, SEPTEMBER, date(2026, 10, 1)]
    assert [one.number for one in Invoice.objects.filter(number__isnull=False).order_by("month")] == [1, 2, 3, 4]


def test_close_month__a_plan_without_prices__no_invoice(shop: Shop) -> None:
    make_running(shop, at=when(1))
    assert close(shop, JULY, at=when(8, 8)) == []
    assert Seller.objects.get(provider=shop.provider).closed_until == AUGUST


def test_close_month__price_raised_for_what_was_free_before__billed_from_then_on(shop: Shop) -> None:
    set_prices(shop, {"base": (0, 1)})
    make_running(shop, at=when(1))
    close(shop, JULY, at=when(8, 8))
    catalogue.set_price(
        plan=shop.plan, component=shop.components["base"], price=D(31), amount=1, by=None, at=when(10, 8),
        valid_from=when(22, 8),
    )  # fmt: skip
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert lines(august) == [("charge", "base", D("10.00"))]
