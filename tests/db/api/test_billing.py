"""Invoices over REST: exact amounts as text, coded refusals, files, and who sees what."""

import json
from copy import deepcopy
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.billing.models import Buyer, Credit, CreditNote, Payment
from bursar.kernel.clock import stated_time
from bursar.structure.models import Person
from tests.db.web.test_billing import AT, Side, make_sides
from tests.factories.billing import line, make_invoice
from tests.factories.structure import make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(standing: Any) -> Side:
    return standing(make_sides)  # type: ignore[no-any-return]


@pytest.fixture
def side(made: Side) -> Any:
    with stated_time(AT):
        yield deepcopy(made)


def call(who: Person, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    client = Client()
    client.force_login(who)
    sent = "" if body is None else json.dumps(body)
    response = client.generic(method, f"/api/v1{path}", sent, content_type="application/json")
    is_json = "json" in response.headers.get("Content-Type", "")
    return response.status_code, json.loads(response.content) if is_json else response


def test_invoice__over_rest__tells_its_amounts_exactly(side: Side) -> None:
    invoice = make_invoice(side.trade)
    make_invoice(side.trade, month=date(2026, 11, 1), issued=False)
    _status, listed = call(side.owner, "GET", "/invoices?side=customer&state=overdue")
    (row,) = listed["items"]
    names = ("state", "number", "month", "net", "tax", "total", "paid", "credited", "due", "overdue")
    assert [row[name] for name in names] == [
        "issued", invoice.number_text, "2026-10", "7.87", "1.50", "9.37", "0.00", "0.00", "9.37", True,
    ]  # fmt: skip
    assert call(side.owner, "GET", "/invoices?side=seller")[1]["total"] == 0
    assert call(side.seller, "GET", "/invoices?side=seller&month=2026-11")[1]["total"] == 1
    _status, told = call(side.owner, "GET", f"/invoices/{invoice.pk}")
    assert told["taxes"] == [{"category": "standard", "percent": "19", "note": "", "net": "7.87", "tax": "1.50"}]
    assert (told["buyer_party"]["name"], told["lines"]) == ("University of the North", 2)
    _status, lines = call(side.owner, "GET", f"/invoices/{invoice.pk}/lines?limit=1&offset=1")
    assert (lines["total"], lines["items"][0]["amount"], lines["items"][0]["first_day"]) == (2, "3.87", "2026-10-20")
    status, refused = call(side.pi, "GET", f"/invoices/{invoice.pk}")
    assert (status, refused["code"]) == (404, "invoice_not_found")
    _status, own = call(side.pi, "GET", f"/projects/{side.trade.project.pk}/invoice-lines")
    assert [one["amount"] for one in own["items"]] == ["4.00", "3.87"] * 2
    status, one = call(side.pi, "GET", f"/invoice-lines/{lines['items'][0]['id']}")
    assert (status, one["currency"], one["sum"]) == (200, "EUR", "15.4838709677 × 0.25, then rounded once")


def test_invoices__many__are_listed_with_as_many_queries_as_few(side: Side) -> None:
    counts = []
    for month in range(1, 9):
        make_invoice(side.trade, [line(side.trade, side.trade.cpu, 1, "0.04")], month=date(2026, month, 1))
        if month in {2, 8}:
            with CaptureQueriesContext(connection) as asked:
                assert call(side.owner, "GET", "/invoices")[1]["total"] == month
            counts.append(len(asked))
    assert counts[0] == counts[1]


def test_export__over_rest__streams_a_month_or_a_span_of_what_one_sees(side: Side) -> None:
    first, second = make_invoice(side.trade, month=date(2026, 9, 1)), make_invoice(side.trade)

    def kept(person: Any, query: str) -> list[str]:
        status, answer = call(person, "GET", f"/invoice-exports/csv?{query}")
        assert (status, answer.streaming, answer.headers["Content-Type"]) == (200, True, "text/csv; charset=utf-8")
        lines = b"".join(answer.streaming_content).decode().splitlines()[1:]
        return sorted({line.split(",")[0] for line in lines})

    assert kept(side.owner, "month=2026-10") == [second.number_text]
    assert kept(side.owner, "from=2026-09&to=2026-10&side=customer") == [first.number_text, second.number_text]
    assert kept(side.seller, f"month=2026-09&provider_id={side.trade.provider.pk}&side=seller") == [first.number_text]
    assert kept(side.seller, f"month=2026-09&customer_id={side.trade.customer.pk + 999}") == []
    assert kept(side.pi, "month=2026-10") == []
    for query, code in (
        ("", "span_not_possible"), ("from=2026-09", "span_not_possible"), ("from=2026-10&to=2026-09", "span_not_possible"),
        ("month=2026-13", "invalid_request"),
    ):  # fmt: skip
        status, refused = call(side.owner, "GET", f"/invoice-exports/csv?{query}")
        assert (status, refused["code"]) == (422, code), query


def test_payment__over_rest__is_noted_taken_back_and_refused_with_what_is_due(side: Side) -> None:
    invoice = make_invoice(side.trade)
    path = f"/invoices/{invoice.pk}/payments"
    status, refused = call(side.seller, "POST", path, {"amount": "10"})
    assert (status, refused["code"], Decimal(refused["facts"]["due"])) == (409, "payment_too_large", Decimal("9.37"))
    for body, status_wanted in (
        ({"amount": "1.001"}, 422), ({"amount": "-1"}, 422), ({"amount": "NaN"}, 422), ({"amount": "1", "more": 1}, 422),
        ({"amount": "1", "paid_on": "2026-12-11"}, 422),
    ):  # fmt: skip
        assert call(side.seller, "POST", path, body)[0] == status_wanted, body
    assert Payment.objects.count() == 0
    status, noted = call(side.seller, "POST", path, {"amount": "9.37", "reference": "bank"})
    assert (status, noted["amount"], noted["paid_on"]) == (201, "9.37", "2026-12-10")
    assert call(side.owner, "GET", f"/invoices/{invoice.pk}")[1]["state"] == "paid"
    status, refused = call(side.owner, "POST", f"/payments/{noted['id']}/take-back", {})
    assert (status, refused["code"]) == (403, "not_allowed")
    status, back = call(side.seller, "POST", f"/payments/{noted['id']}/take-back", {})
    assert (status, back["amount"], back["takes_back_id"]) == (201, "-9.37", noted["id"])
    status, refused = call(side.seller, "POST", f"/payments/{noted['id']}/take-back", {})
    assert (status, refused["code"]) == (409, "payment_taken_back")


def test_credit_note__over_rest__takes_back_a_part_and_comes_as_a_file(side: Side) -> None:
    invoice = make_invoice(side.trade)
    first = invoice.lines.get(position=1)
    path = f"/invoices/{invoice.pk}/credit-notes"
    status, refused = call(side.seller, "POST", path, {"reason": "Wrong", "amounts": {first.pk + 99: "1"}})
    assert (status, refused["code"]) == (422, "line_not_of_invoice")
    assert CreditNote.objects.count() == 0
    status, note = call(side.seller, "POST", path, {"reason": "Wrong", "amounts": {first.pk: "4"}})
    assert (status, note["net"], note["tax"], note["total"]) == (201, "4.00", "0.76", "4.76")
    assert call(side.owner, "GET", "/credit-notes")[1]["total"] == 1
    status, file = call(side.owner, "GET", f"/credit-notes/{note['id']}/download/pdf")
    assert (status, file.headers["Content-Type"], file.content[:5]) == (200, "application/pdf", b"%PDF-")
    assert call(side.owner, "GET", f"/credit-notes/{note['id']}/download/docx")[0] == 422


def test_credit__over_rest__is_for_the_customers_own_project_only(side: Side) -> None:
    make_invoice(side.trade)
    path = f"/providers/{side.trade.provider.pk}/credits"
    body = {"customer_id": side.trade.customer.pk, "kind": "granted", "amount": "20"}
    status, refused = call(side.seller, "POST", path, {**body, "currency": "USD"})
    assert (status, refused["code"]) == (422, "currency_of_seller")
    assert call(side.seller, "POST", path, {**body, "project_id": make_project().pk})[0] == 404
    assert call(side.seller, "POST", path, {**body, "offering_ids": [10**9]})[0] == 404
    assert Credit.objects.count() == 0
    status, given = call(side.seller, "POST", path, {**body, "project_id": side.trade.project.pk})
    assert (status, given["left"]) == (201, "20.00")
    assert call(side.owner, "GET", "/credits")[1]["items"][0]["left"] == "20.00"
    assert call(side.owner, "POST", path, body)[0] == 404
    status, withdrawn = call(side.seller, "POST", f"/credits/{given['id']}/withdraw")
    assert (status, withdrawn["left"]) == (200, "0.00")
    assert call(side.seller, "POST", f"/credits/{given['id']}/withdraw")[0] == 409


def test_seller_and_buyer__over_rest__are_read_and_changed(side: Side) -> None:
    seller, buyer = f"/providers/{side.trade.provider.pk}/seller", f"/organizations/{side.trade.customer.pk}/buyer"
    assert call(side.seller, "GET", seller)[1]["due_days"] == 30
    assert call(side.seller, "PATCH", seller, {"due_days": 14})[1]["due_days"] == 14
    assert call(side.seller, "PATCH", seller, {"email": "no address"})[0] == 422
    assert call(side.owner, "PATCH", buyer, {"reference": "R-2"})[1]["reference"] == "R-2"
    assert Buyer.objects.get(organization=side.trade.customer).address == "Campus 7\n24118 Kiel"


def test_revenue_and_costs__over_rest__are_pages(side: Side) -> None:
    make_invoice(side.trade)
    path = f"/providers/{side.trade.provider.pk}/revenue?by=offering&start=2026-10&end=2026-11"
    _status, told = call(side.seller, "GET", path)
    (row,) = told["items"]
    assert (row["month"], row["net"], row["is_open"], row["key"]) == ("2026-10", "7.87", False, side.trade.offering.pk)
    assert call(side.pi, "GET", f"/projects/{side.trade.project.pk}/costs")[1]["items"] == []
    status, cost = call(side.pi, "GET", f"/resources/{side.trade.resource.pk}/costs")
    assert (status, cost["so_far"], cost["currency"], cost["month"]) == (200, "0.00", "EUR", "2026-12")
    assert Decimal(cost["expected"]) == 0
