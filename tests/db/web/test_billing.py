"""Pages of invoices: what they say, how a line came about, and what a seller does there."""

import json
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from bursar.accounting.models import Operation
from bursar.billing import services
from bursar.billing.models import Buyer, Credit, CreditNote, Invoice, Payment, Seller, TaxRate
from bursar.kernel.clock import stated_time
from bursar.metering.services import post_reports
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.billing import Trade, line, make_invoice, make_trade
from tests.factories.ledger import make_report
from tests.factories.structure import make_membership, make_operator, make_person

pytestmark = pytest.mark.django_db

AT = datetime(2026, 12, 10, 12, 0, tzinfo=UTC)


@dataclass
class Side:
    trade: Trade
    seller: Person
    owner: Person
    pi: Person
    member: Person


def make_sides() -> Side:
    trade = make_trade()
    people = [make_person(full_name=name) for name in ("Sel", "Own", "Pi", "Mem")]
    make_membership(person=people[0], role=Role.PROVIDER_MANAGER, scope=trade.provider.organization)
    make_membership(person=people[1], role=Role.ORGANIZATION_OWNER, scope=trade.customer)
    make_membership(person=people[2], role=Role.PROJECT_MANAGER, scope=trade.project)
    make_membership(person=people[3], role=Role.PROJECT_MEMBER, scope=trade.project)
    return Side(trade, *people)


@pytest.fixture(scope="module")
def made(standing: Any) -> Side:
    return standing(make_sides)  # type: ignore[no-any-return]


@pytest.fixture
def side(made: Side) -> Any:
    with stated_time(AT):
        yield deepcopy(made)


def of(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def said(answer: Any) -> str:
    text: str = answer.content.decode()
    return " ".join(text.replace("\u202f", " ").replace("&nbsp;", " ").split())


# ------------------------------------------------------------------------------------------------ the customer's side
def test_invoices__of_a_customer__are_listed_with_what_is_due_and_overdue(side: Side) -> None:
    late = make_invoice(side.trade)
    make_invoice(side.trade, month=date(2026, 11, 1), issued=False)
    paid = make_invoice(side.trade, month=date(2026, 9, 1), paid="9.37")
    client = of(side.owner)
    answer = client.get(reverse("invoices"))
    assert [(row.month, row.state) for row in answer.context["listing"].rows] == [
        (date(2026, 11, 1), "open"), (date(2026, 10, 1), "issued"), (date(2026, 9, 1), "paid"),
    ]  # fmt: skip
    text = said(answer)
    assert text.count('data-state="overdue"') == text.count('data-state="provisional"') == 1
    for state, numbers in (
        ("overdue", [late.number_text]),
        ("paid", [paid.number_text]),
        ("unpaid", [late.number_text]),
    ):
        rows = client.get(reverse("invoices"), {"state": state}).context["listing"].rows
        assert [row.number_text for row in rows] == numbers, state
    rows = client.get(reverse("invoices"), {"month": "2026-09-01"}).context["listing"].rows
    assert [row.number_text for row in rows] == [paid.number_text]
    assert "No invoices yet" in said(of(side.member).get(reverse("invoices")))


def test_invoices__on_the_day_it_is_due__is_not_overdue_in_the_sellers_calendar(side: Side) -> None:
    make_invoice(side.trade, due_on=date(2026, 12, 10))
    eve = datetime(2026, 12, 10, 22, 59, tzinfo=UTC)  # a minute before midnight in Berlin
    for at, count in ((eve, 0), (eve + timedelta(minutes=1), 1)):
        with stated_time(at):
            rows = of(side.owner).get(reverse("invoices"), {"state": "overdue"}).context["listing"].rows
            assert len(rows) == count


def test_invoice__of_many_lines__asks_no_more_than_of_few(side: Side) -> None:
    few = make_invoice(side.trade)
    lines = [line(side.trade, None, 1, 1, kind="compensation", names={"text": f"No {n}"}) for n in range(60)]
    many = make_invoice(side.trade, lines, month=date(2026, 9, 1))
    client = of(side.owner)
    counts = []
    for row in (few, few, many):
        with CaptureQueriesContext(connection) as asked:
            assert client.get(reverse("invoice", args=[row.pk])).status_code == 200
        counts.append(len(asked))
    assert counts[1] == counts[2]


def test_line__of_a_limit__says_which_days_count(side: Side) -> None:
    basis = {
        "quantity": "480/31", "kind": "limits", "period": "month", "first": "2026-10-20", "last": "2026-10-31",
        "stretches": [{"from": "2026-10-20", "to": "2026-10-31", "days": 12, "limit": 40, "of": 31}],
    }  # fmt: skip
    invoice = make_invoice(side.trade, [line(side.trade, side.trade.disk, "15.4838709677", "3.87", basis=basis)])
    address = reverse("invoice_line", args=[invoice.lines.get().pk])
    for person in (side.owner, side.pi, side.seller):
        text = said(of(person).get(address))
        assert "40 × 12 of 31 days" in text
        assert "480/31 × 0.25, then rounded once" in text
        assert "20 Oct 2026 – 31 Oct 2026" in text
    assert of(side.member).get(address).status_code == 404
    assert of(side.pi).get(reverse("invoice", args=[invoice.pk])).status_code == 404


def test_line__of_usage__shows_the_reports_it_was_computed_from_and_none_that_came_later(side: Side) -> None:
    trade = side.trade
    category = trade.cpu.category
    assert category is not None
    until = datetime(2026, 10, 5, tzinfo=UTC)
    reports = [
        make_report(
            trade.workspace, category, 3600 * n, until=until + timedelta(hours=n), resource_id=trade.resource.pk
        )
        for n in (1, 2)
    ]
    post_reports(reports=reports, by=None, at=AT - timedelta(days=40))
    known = Operation.objects.filter(category_id=category.pk).order_by("-id")[0].pk
    invoice = make_invoice(trade, [line(trade, trade.cpu, 3, "0.12")], operations={str(category.pk): known})
    late = make_report(trade.workspace, category, 3600, until=until + timedelta(hours=9), resource_id=trade.resource.pk)
    post_reports(reports=[late], by=None, at=AT)
    answer = of(side.owner).get(reverse("invoice_line", args=[invoice.lines.get().pk]))
    rows = answer.context["listing"].rows
    assert [(row.report_id, row.units) for row in rows] == [
        (reports[0].report_id, Decimal(1)), (reports[1].report_id, Decimal(2)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "form, kind, begins",
    [
        ("pdf", "application/pdf", b"%PDF-"),
        ("csv", "text/csv; charset=utf-8", b"invoice,credit_note,"),
        ("json", "application/json", b"{"),
        ("focus", "text/csv; charset=utf-8", b"AvailabilityZone,BilledCost,"),
    ],
)
def test_download__in_each_form__is_a_file_named_by_the_invoice(
    side: Side, form: str, kind: str, begins: bytes
) -> None:
    invoice = make_invoice(side.trade)
    answer = of(side.owner).get(reverse("invoice_download", args=[invoice.pk, form]))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
    assert answer.content.startswith(begins)
    name = f"invoice-{invoice.number_text.lower()}.{'focus.csv' if form == 'focus' else form}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert of(side.owner).get(reverse("invoice_download", args=[invoice.pk, "exe"])).status_code == 404


def test_export__of_some_months__one_file_of_what_each_side_sees(side: Side) -> None:
    first, second = make_invoice(side.trade, month=date(2026, 9, 1)), make_invoice(side.trade)
    elsewhere = make_invoice(make_trade(provider=side.trade.provider))
    asked = {"from": "2026-09", "to": "2026-10", "form": "json"}

    def kept(person: Person, **more: Any) -> list[str]:
        answer = of(person).get(reverse("invoices_export"), {**asked, **more})
        assert (answer.streaming, answer.headers["Content-Type"]) == (True, "application/json")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="invoices-2026-09-to-2026-10.json"'
        return [one["number"] for one in json.loads(b"".join(answer.streaming_content))]

    numbers = [first.number_text, second.number_text, elsewhere.number_text]
    assert kept(side.seller, side="seller") == numbers
    assert kept(side.seller, side="seller", customer=elsewhere.customer_id) == numbers[2:]
    assert kept(side.owner, side="customer") == numbers[:2]
    assert kept(side.owner, side="seller") == kept(side.member, side="customer") == []
    for wrong in ({"from": "2026-11"}, {"to": "x"}, {"form": "pdf"}, {"customer": "-1"}, {"to": ""}):
        answer = of(side.owner).get(reverse("invoices_export"), {**asked, "side": "customer", **wrong}, follow=True)
        assert "Choose a first and a last month." in said(answer), wrong


def test_costs__of_a_project__list_what_was_billed_for_those_who_may_see_costs(side: Side) -> None:
    make_invoice(side.trade)
    client = of(side.pi)
    answer = client.get(reverse("project_costs", args=[side.trade.project.pk]))
    assert [(one.what, one.amount) for one, _row in answer.context["lines"]] == [
        ("CPU time", Decimal("4.000")), ("Storage", Decimal("3.870")),
    ]  # fmt: skip
    assert of(side.member).get(reverse("project_costs", args=[side.trade.project.pk])).status_code == 403


def test_buyer__edited_by_an_owner__stands_on_the_page(side: Side) -> None:
    address = reverse("buyer_edit", args=[side.trade.customer.pk])
    refused = of(side.owner).post(
        address, {"legal_name": "U", "address": "A", "email": "not an address", "reference": ""}
    )
    assert refused.status_code == 422
    sent = {"legal_name": "University plc", "address": "Road 1\nTown", "email": "pay@example.org", "reference": "R-1"}
    answer = of(side.owner).post(address, sent, follow=True)
    assert "University plc" in said(answer)
    buyer = Buyer.objects.get(organization=side.trade.customer)
    assert (buyer.legal_name, buyer.address, buyer.email) == ("University plc", "Road 1\nTown", "pay@example.org")


# ------------------------------------------------------------------------------------------------ the seller's side
def test_payment__noted_too_large_then_right_then_taken_back__says_what_is_due(side: Side) -> None:
    invoice = make_invoice(side.trade)
    client = of(side.seller)
    address = reverse("payment_note", args=[invoice.pk])
    refused = client.post(address, {"amount": "9.38", "paid_on": "2026-12-01"})
    assert refused.status_code == 422
    assert "9.37 EUR are due" in said(refused)
    assert Payment.objects.count() == 0
    sent = {"amount": "5", "paid_on": "2026-12-01", "reference": "bank"}
    page = said(client.post(address, sent, follow=True))
    assert 'data-state="overdue"' in page
    assert '4.37 <span class="unit">EUR</span>' in page
    payment = Payment.objects.get()
    back = reverse("payment_take_back", args=[invoice.pk, payment.pk])
    client.post(back)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.paid) == ("issued", Decimal(0))
    assert client.post(reverse("payment_take_back", args=[invoice.pk, 10**6])).status_code == 404


def test_credit_note__of_a_part_of_a_line__is_issued_and_can_be_downloaded(side: Side) -> None:
    invoice = make_invoice(side.trade)
    first = invoice.lines.get(position=1)
    client = of(side.seller)
    address = reverse("credit_note_make", args=[invoice.pk])
    refused = client.post(address, {"extent": "lines", "reason": "Wrong", f"line_{first.pk}": "5"})
    assert refused.status_code == 422
    assert "at most 4.00 EUR can still be taken back" in said(refused)
    assert CreditNote.objects.count() == 0
    client.post(address, {"extent": "lines", "reason": "Wrong", f"line_{first.pk}": "1"})
    note = CreditNote.objects.get()
    assert (note.net, note.tax, note.total) == (Decimal("1.000"), Decimal("0.190"), Decimal("1.190"))
    answer = client.get(reverse("credit_note_download", args=[note.pk, "csv"]))
    assert b",-1.00,standard,19," in answer.content


def test_credit__given_and_withdrawn__stands_in_the_list(side: Side) -> None:
    make_invoice(side.trade)
    client = of(side.seller)
    slug = side.trade.provider.organization.slug
    sent = {"customer": side.trade.customer.pk, "kind": "granted", "amount": "20", "expires_on": "2026-12-09"}
    refused = client.post(reverse("credit_give", args=[slug]), sent)
    assert refused.status_code == 422
    assert "The last day of a credit is today or later." in said(refused)
    sent["expires_on"] = "2026-12-31"
    client.post(reverse("credit_give", args=[slug]), sent)
    credit = Credit.objects.get()
    assert (credit.amount, credit.expires_on) == (Decimal("20.000"), date(2026, 12, 31))
    assert "20.00" in said(client.get(reverse("provider_credits")))
    assert "20.00" in said(of(side.owner).get(reverse("organization_billing", args=[side.trade.customer.pk])))
    assert of(side.owner).get(reverse("credit_give", args=[slug])).status_code == 404
    client.post(reverse("credit_withdraw", args=[credit.pk]))
    credit.refresh_from_db()
    assert credit.withdrawn_at == AT


def test_compensation__for_a_resource_of_an_invoice__is_made(side: Side) -> None:
    invoice = make_invoice(side.trade)
    client = of(side.seller)
    address = reverse("compensation_make", args=[side.trade.provider.organization.slug]) + f"?invoice={invoice.pk}"
    sent = {
        "customer": side.trade.customer.pk, "resource": side.trade.resource.pk, "amount": "3", "tax_category": "standard",
        "reason": "It was down.",
    }  # fmt: skip
    client.post(address, sent)
    text = said(client.get(reverse("provider_credits")))
    assert "It was down." in text
    assert "the next invoice" in text


def test_revenue__by_customer__is_what_was_issued_less_what_was_credited(side: Side) -> None:
    invoice = make_invoice(side.trade)
    make_invoice(side.trade, month=date(2026, 11, 1), issued=False)
    of_line = {invoice.lines.get(position=1).pk: Decimal(1)}
    services.credit_invoice(invoice_id=invoice.pk, reason="Wrong", amounts=of_line, by=None, at=AT)
    answer = of(side.seller).get(reverse("provider_revenue"), {"by": "customer", "months": "6"})
    ((currency, data, table),) = answer.context["currencies"]
    assert (currency, table["issued"], table["open"]) == ("EUR", Decimal("6.870"), Decimal("7.870"))
    assert data["series"] == [{"name": side.trade.customer.name, "values": [0.0, 0.0, 0.0, 6.87, 7.87, 0.0]}]
    assert data["x"][0] == "July 2026"


def test_seller__edited__is_kept_and_what_cannot_be_is_said(side: Side) -> None:
    client = of(side.seller)
    address = reverse("provider_seller", args=[side.trade.provider.organization.slug])
    fields = client.get(address).context["form"].initial
    sent = {**{name: value for name, value in fields.items() if value is not None}, "due_days": "14"}
    assert client.post(address, {**sent, "grace_days": "400"}).status_code == 422
    assert client.post(address, sent).status_code == 302
    assert Seller.objects.get(provider=side.trade.provider).due_days == 14


def test_tax_rate__added_by_an_operator__is_listed(side: Side) -> None:
    client = of(make_operator())
    address = reverse("tax_rates")
    sent = {"country": "DE", "category": "standard", "percent": "19", "valid_from": "2026-01-01"}
    assert client.post(address, {**sent, "percent": "101"}).status_code == 422
    client.post(address, sent)
    assert TaxRate.objects.filter(country="DE").count() == 1
    assert "19&nbsp;%" in client.get(address).content.decode()


def test_issue__of_a_month_that_is_not_over__is_refused_in_words(side: Side) -> None:
    invoice = make_invoice(side.trade, month=date(2026, 12, 1), issued=False)
    answer = of(side.seller).post(reverse("invoice_issue", args=[invoice.pk]), follow=True)
    assert "is not over for" in said(answer)
    assert Invoice.objects.get(pk=invoice.pk).state == "open"
