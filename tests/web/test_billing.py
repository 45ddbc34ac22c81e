"""Invoices in a real browser: opened, explained, kept as a PDF, paid; and how the other pages of billing look."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from bursar.billing import services
from bursar.billing.models import Invoice
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.billing import Trade, line, make_invoice, make_trade
from tests.factories.structure import make_membership, make_person

TODAY = datetime.now(UTC).date()
THIS_MONTH = TODAY.replace(day=1)


def months_ago(count: int) -> date:
    number = TODAY.year * 12 + TODAY.month - 1 - count
    return date(number // 12, number % 12 + 1, 1)


@pytest.fixture
def trade(transactional_db: None) -> Any:
    yield make_trade(project="Ice cores of the Weddell Sea", resource="ice-sheet-run")
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


SOAK = os.environ.get("BURSAR_SOAK") == "1"


def look(visitor: Any, path: str, name: str) -> None:
    """In CI on a phone, where most goes wrong; in full in light, dark and on a phone, with pictures."""
    if SOAK:
        visitor.look_at(path, name)
    else:
        visitor.go(path)


def somebody(role: Role, scope: Any) -> Person:
    person = make_person()
    make_membership(person=person, role=role, scope=scope)
    return person


def all_kinds(trade: Trade, **more: Any) -> Invoice:
    month: date = more["month"]
    other = make_trade(provider=trade.provider, customer=trade.customer, project="Lattice physics", resource="vm-01")
    days = {"from": f"{month:%Y-%m}-01", "to": f"{month:%Y-%m}-12", "days": 12, "limit": 40, "of": 30}
    basis = {"kind": "limits", "quantity": "16", "first": days["from"], "last": days["to"], "stretches": [days]}
    lines = [
        line(trade, trade.cpu, "12345.6789", "493.83", month=month),
        line(trade, trade.disk, 16, 4, percent=7, tax_category="reduced", month=month, basis=basis),
        line(other, other.cpu, 100, 4, month=month),
        line(trade, trade.cpu, -5, "-0.20", kind="adjustment", month=months_ago(4)),
        line(trade, None, 1, -25, kind="compensation", month=month, names={"text": "Two days without the file system"}),
        line(trade, None, 1, -7, kind="credit", month=month, names={"text": "Granted for teaching"}),
    ]
    return make_invoice(trade, lines, **more)


def test_invoice__opened_explained_downloaded_and_paid__by_clicking(visit: Callable[..., Any], trade: Trade) -> None:
    invoice = all_kinds(trade, month=months_ago(2), due_on=TODAY - timedelta(days=3))
    owner = visit(somebody(Role.ORGANIZATION_OWNER, trade.customer))
    owner.go("/")
    owner.page.get_by_role("link", name="Invoices", exact=True).click()
    owner.page.wait_for_url("**/invoices/")
    with owner.page.expect_event("load"):
        owner.page.get_by_role("link", name=invoice.number_text).click()
    owner.check()
    assert "Overdue." in owner.page.locator("main").inner_text()
    with owner.page.expect_download() as kept:
        owner.page.get_by_role("link", name="PDF").click()
    assert kept.value.suggested_filename == f"invoice-{invoice.number_text.lower()}.pdf"
    assert kept.value.path().read_bytes().startswith(b"%PDF-")
    owner.show("invoice")
    with owner.page.expect_event("load"):
        owner.page.get_by_role("link", name="Storage").click()
    owner.check()
    assert "40 × 12 of 30 days" in owner.page.locator("main").inner_text()
    owner.show("invoice-line")

    seller = visit(somebody(Role.PROVIDER_MANAGER, trade.provider.organization))
    seller.go(f"/invoices/{invoice.pk}/")
    seller.page.get_by_label("Reference").fill("bank 17")
    with seller.page.expect_event("load"):
        seller.page.get_by_role("button", name="Note it").click()
    seller.check()
    assert "bank 17" in seller.page.locator("main").inner_text()
    invoice.refresh_from_db()
    assert (invoice.state, invoice.paid) == ("paid", invoice.total)
    seller.show("invoice-paid")


def test_pages__of_billing__are_in_order_on_a_phone_and_in_full_in_every_look(
    visit: Callable[..., Any], trade: Trade
) -> None:
    at = datetime.now(UTC)
    first = all_kinds(trade, month=months_ago(2))
    make_invoice(trade, month=months_ago(1), paid="9.37")
    still_open = make_invoice(trade, month=THIS_MONTH, issued=False)
    facts: dict[str, Any] = {"by": None, "at": at}
    sides: dict[str, Any] = {"provider": trade.provider, "customer": trade.customer}
    services.give_credit(
        kind="granted", amount=Decimal(500), reason="For teaching", project=trade.project, **sides, **facts
    )
    services.give_credit(
        kind="prepayment", amount=Decimal(1000), expires_on=TODAY + timedelta(days=90), **sides, **facts
    )
    services.compensate(amount=Decimal(9), reason="It was down for a day.", **sides, **facts)
    of_line = {first.lines.get(position=1).pk: Decimal(100)}
    services.credit_invoice(invoice_id=first.pk, reason="Reported twice", amounts=of_line, **facts)
    slug = trade.provider.organization.slug
    seller = visit(somebody(Role.PROVIDER_MANAGER, trade.provider.organization), "phone")
    for path, name in (
        ("/provider/invoices/", "invoices-of-customers"),
        (f"/invoices/{still_open.pk}/", "invoice-provisional"),
        (f"/invoices/{first.pk}/credit/", "credit-note-form"),
        ("/provider/credits/", "credits"),
        (f"/providers/{slug}/credits/new/", "credit-form"),
        (f"/providers/{slug}/compensations/new/?invoice={first.pk}", "compensation-form"),
        ("/provider/revenue/?by=offering", "revenue"),
        (f"/providers/{slug}/billing/", "seller"),
    ):
        look(seller, path, name)
    owner = visit(somebody(Role.ORGANIZATION_OWNER, trade.customer), "phone")
    for path, name in (
        ("/invoices/", "invoices"),
        (f"/organizations/{trade.customer.pk}/billing/", "organization-billing"),
        (f"/organizations/{trade.customer.pk}/billing/address/", "buyer"),
        (f"/projects/{trade.project.pk}/costs/", "project-costs"),
    ):
        look(owner, path, name)
    operator = visit(somebody(Role.PLATFORM_OPERATOR, None), "phone")
    look(operator, "/operator/tax-rates/", "tax-rates")
