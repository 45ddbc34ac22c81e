"""Who sees what; costs so far and expected; mails with the paper; the commands."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.billing import notices, selectors
from bursar.billing import services as billing
from bursar.billing.errors import InvoiceNotFound
from bursar.billing.models import InvoiceLine
from bursar.delivery import services as delivery
from bursar.delivery import tasks as _tasks  # noqa: F401  fills the table of mails
from bursar.structure.mail import MAIL_TASK
from bursar.structure.roles import NotAllowed
from tests.factories.selling import (
    Shop,
    another_customer,
    close,
    corrected,
    ended,
    lines,
    make_running,
    make_shop,
    open_invoice,
    set_prices,
    used,
    when,
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)


@pytest.fixture(scope="module")
def shop(standing: Callable[..., Any]) -> Shop:
    """It sells CPU time at 4 an hour and a base at 31 a month."""
    return standing(lambda: make_shop({"cpu": 4, "base": (31, 1)}))


def test_invoices_seen__by_both_sides_and_by_nobody_else(shop: Shop) -> None:
    make_running(shop, at=when(1))
    other = another_customer(shop)
    make_running(shop, at=when(1), workspace=other)
    mine, theirs = close(shop, JULY, at=when(8, 8))
    world, at = shop.world, when(8, 8)
    assert set(selectors.invoices_seen(world.owner, at)) == {mine}
    assert set(selectors.invoices_seen(world.manager, at)) == {mine, theirs}
    assert set(selectors.invoices_seen(world.pi, at)) == set()
    assert set(selectors.lines_seen(world.pi, at)) == set(mine.lines.all())
    assert set(selectors.lines_seen(world.member, at)) == set()
    with pytest.raises(InvoiceNotFound):
        selectors.find_invoice(invoice_id=theirs.pk, person=world.owner, at=at)
    assert selectors.find_invoice(invoice_id=mine.pk, person=world.owner, at=at) == mine


def test_revenue__by_offering_and_customer__credit_notes_taken_off(shop: Shop) -> None:
    make_running(shop, at=when(1))
    (invoice,) = close(shop, JULY, at=when(8, 8))
    line = InvoiceLine.objects.get(invoice=invoice)
    billing.credit_invoice(invoice_id=invoice.pk, reason="Some", amounts={line.pk: D(1)}, by=None, at=when(8, 8))
    for by, name in (("offering", shop.world.offering.name), ("customer", shop.customer.name), ("plan", "Standard")):
        found = selectors.revenue(provider=shop.provider, person=shop.world.manager, at=when(8, 8), by=by)
        assert [(one.name, one.month, one.net, one.is_open) for one in found] == [(name, JULY, D(30), False)]
    with pytest.raises(NotAllowed):
        selectors.revenue(provider=shop.provider, person=shop.world.owner, at=when(8, 8))


def test_cost_of_resource__in_the_middle_of_the_month__so_far_and_at_this_pace(shop: Shop) -> None:
    """10 days and a half of 31 at 31 a month, and 10 hours used since the 1st: as many more until the end."""
    run = make_running(shop, at=when(1))
    used(shop, run, 10, on=when(3))
    cost = selectors.cost_of_resource(resource=run, person=shop.world.pi, at=when(16, hour=12))
    assert (cost.so_far, cost.expected, cost.currency, cost.month) == (D("56.00"), D("111.00"), "EUR", JULY)
    with pytest.raises(NotAllowed):
        selectors.cost_of_resource(resource=run, person=shop.world.member, at=when(16))


def test_costs_of_project__number_of_queries__does_not_grow_with_resources(shop: Shop) -> None:
    def asked(count: int) -> int:
        for _ in range(count):
            used(shop, make_running(shop, at=when(1)), 1, on=when(2))
        with CaptureQueriesContext(connection) as queries:
            (cost,) = selectors.costs_of_project(project=shop.world.project, person=shop.world.pi, at=when(11))
        assert cost.so_far % 14 == 0  # 10 days and one hour each
        return len(queries)

    assert asked(1) == asked(3)


def test_refresh_and_close__number_of_queries__does_not_grow_with_resources_or_customers(shop: Shop) -> None:
    def refreshed() -> int:
        with CaptureQueriesContext(connection) as queries:
            billing.refresh(provider=shop.provider, by=None, at=when(4))
        return len(queries)

    def more(count: int) -> None:
        for _ in range(count):
            used(shop, make_running(shop, at=when(1), workspace=another_customer(shop)), 1, on=when(2))

    more(1)
    refreshed()
    more(1)
    few = refreshed()
    more(3)
    assert refreshed() == few


def test_property__what_was_invoiced_with_adjustments__is_the_month_computed_with_all_facts(shop: Shop) -> None:
    set_prices(shop, {"base": (0, 0)}, at=when(1))
    run, gone = make_running(shop, at=when(1)), make_running(shop, at=when(1))
    names = [used(shop, run, hours, on=when(day)) for day, hours in ((3, 7), (9, 11), (30, 2))]
    late = used(shop, gone, 5, on=when(4))
    ended(shop, gone, at=when(20))
    close(shop, JULY, at=when(8, 8))
    corrected(shop, run, names[0], 1, on=when(3), at=when(9, 8))
    used(shop, run, 13, on=when(31), at=when(10, 8))
    corrected(shop, gone, late, 9, on=when(4), at=when(11, 8))
    close(shop, AUGUST, at=when(8, 9))
    corrected(shop, run, names[0], 2, on=when(3), at=when(9, 9))
    close(shop, date(2026, 9, 1), at=when(8, 10))
    total = sum(InvoiceLine.objects.filter(month=JULY).values_list("amount", flat=True))
    assert total == 4 * (2 + 11 + 2 + 13 + 9)
    assert [lines(one) for one in selectors.invoices_seen(None, when(8, 10)).order_by("number")][2] == [
        ("adjustment", "cpu", D("4.00"))
    ]


# ------------------------------------------------------------------------------------------------ mails
def mails() -> list[dict[str, Any]]:
    return [job.args for job in ProcrastinateJob.objects.filter(task_name=MAIL_TASK).order_by("id")]


def test_send__an_issued_invoice__one_mail_with_the_paper_however_often(shop: Shop) -> None:
    make_running(shop, at=when(1))
    billing.edit_buyer(organization=shop.customer, email="bills@example.org", by=None, at=when(1))
    (invoice,) = close(shop, JULY, at=when(8, 8))
    waiting = ProcrastinateJob.objects.get(task_name="bursar.billing.tasks.send_invoices")
    assert waiting.args == {"invoice_ids": [invoice.pk]}
    before = len(mails())
    assert notices.send(invoice_ids=[invoice.pk], at=when(8, 8)) == 1
    assert notices.send(invoice_ids=[invoice.pk], at=when(8, 8)) == 0
    (asked,) = mails()[before:]
    delivery.send_mail(**asked, at=when(8, 8))
    message = mail.outbox[-1]
    assert message.to == ["bills@example.org"]
    assert message.subject == f"Invoice 00001 of {shop.provider.organization.name}"
    assert "It comes to 31.00 EUR." in message.body
    assert "31.00 EUR are to be paid by 7 Sep 2026." in message.body
    ((name, content, kind),) = message.attachments
    assert (name, kind, content[:5]) == ("00001.pdf", "application/pdf", b"%PDF-")


def test_tell_overdue__without_an_address__those_who_may_see_bills_are_told_while_it_is_due(shop: Shop) -> None:
    make_running(shop, at=when(1))
    (invoice,) = close(shop, JULY, at=when(8, 8))
    before = len(mails())
    assert billing.tell_overdue(at=when(8, 9, hour=7)) == 1
    (asked,) = mails()[before:]
    assert (asked["kind"], asked["to_person_id"]) == ("invoice_overdue", shop.world.owner.pk)
    delivery.send_mail(**asked, at=when(8, 9, hour=7))
    assert mail.outbox[-1].subject == f"Invoice 00001 of {shop.provider.organization.name} is overdue"
    assert "31.00 EUR should have been paid by 7 Sep 2026" in mail.outbox[-1].body
    billing.note_payment(invoice_id=invoice.pk, amount=D(31), by=None, at=when(8, 9, hour=8))
    count = len(mail.outbox)
    delivery.send_mail(**{**asked, "key": "another"}, at=when(8, 9, hour=9))
    assert len(mail.outbox) == count  # paid meanwhile: nothing to say any more


def test_refresh__open_invoice__nobody_is_told(shop: Shop) -> None:
    make_running(shop, at=when(1))
    open_invoice(shop, JULY, at=when(4))
    assert not ProcrastinateJob.objects.filter(task_name="bursar.billing.tasks.send_invoices").exists()
