"""Invoices and their lines, payments, credit notes, credits, compensations, sellers, buyers, tax rates, revenue, costs."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from ninja import Query, Router, Schema, Status
from pydantic import Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.billing import exports, focus, lookup, pdf, selectors, services
from bursar.billing.asking import ask_to_refresh
from bursar.billing.documents import Document, amount_due, credit_note_document, named
from bursar.billing.explanation import explain
from bursar.billing.models import Buyer, Credit, CreditNote, Invoice, InvoiceLine, Payment, TaxRate
from bursar.billing.selectors import Cost
from bursar.catalogue.errors import OfferingNotFound
from bursar.catalogue.models import ServiceProvider
from bursar.kernel.money import Money, plain
from bursar.metering.models import UsageReport
from bursar.provisioning import selectors as provisioning
from bursar.structure.errors import NotFound
from bursar.structure.models import Organization, Project
from bursar.structure.roles import Permission, require
from bursar.structure.selectors import organization_seen, project_seen

router = Router(tags=["Billing"])
KEY_MAX = 2**63 - 1
Key = Annotated[int, Field(ge=1, le=KEY_MAX)]
Amount = Annotated[Decimal, Field(max_digits=18, description="with at most the decimals of the currency")]
Month = Annotated[str, Field(pattern=r"^(19|20)\d\d-(0[1-9]|1[0-2])$", description="such as 2026-10")]
Form = Literal["pdf", "csv", "json", "focus"]
ManyForm = Literal["csv", "json", "focus"]
FILE: dict[str, Any] = {
    "responses": {
        200: {
            "description": "OK",
            "content": {
                "application/pdf": {"schema": {"type": "string", "format": "binary"}},
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        }
    }
}


EXPORT: dict[str, Any] = {
    "responses": {
        200: {
            "description": "OK",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            },
        }
    }
}


# ------------------------------------------------------------------------------------------------ what is said
class PaymentIn(Strict):
    amount: Amount
    paid_on: date | None = Field(None, description="today by the seller's calendar, if empty")
    reference: str = Field("", max_length=100)


class TakeBackIn(Strict):
    paid_on: date | None = None
    reference: str = Field("", max_length=100)


class CreditNoteIn(Strict):
    reason: str = Field(max_length=500)
    amounts: dict[int, Amount] | None = Field(
        None,
        max_length=10_000,
        description="line id -> how much of it, with the line's own sign; empty: all that is left",
    )
    carries_out: bool = Field(
        False, description="what is too much when the month is computed again with all that is known now"
    )


class CreditIn(Strict):
    customer_id: Key
    kind: Credit.Kind
    amount: Amount
    currency: str = Field("", max_length=3, description="the seller's, if empty")
    project_id: Key | None = Field(None, description="only for what it orders")
    offering_ids: list[Key] = Field([], max_length=200, description="only for these; none = all of the seller's")
    expires_on: date | None = Field(None, description="the last day of issue of an invoice that uses it")
    reason: str = Field("", max_length=500)


class CompensationIn(Strict):
    customer_id: Key
    amount: Amount
    reason: str = Field(max_length=500)
    currency: str = Field("", max_length=3, description="the seller's, if empty")
    resource_id: Key | None = None
    tax_category: str = Field("standard", max_length=40)


class SellerIn(Strict):
    legal_name: str | None = Field(None, max_length=200)
    address: str | None = Field(None, max_length=500)
    email: str | None = Field(None, max_length=254)
    bank_account: str | None = Field(None, max_length=200)
    note: str | None = Field(None, max_length=1000)
    number_prefix: str | None = Field(None, max_length=20)
    grace_days: int | None = Field(None, ge=0, le=366)
    due_days: int | None = Field(None, ge=0, le=366)
    issues_by_itself: bool | None = None
    bills_from: date | None = Field(None, description="a day of the first month that is billed")


class BuyerIn(Strict):
    legal_name: str | None = Field(None, max_length=200)
    address: str | None = Field(None, max_length=500)
    email: str | None = Field(None, max_length=254)
    reference: str | None = Field(None, max_length=100)


class TaxRateIn(Strict):
    country: str = Field(min_length=2, max_length=2, description="of the seller, ISO 3166")
    category: str = Field("standard", max_length=40)
    percent: Annotated[Decimal, Field(ge=0, le=100)]
    valid_from: date


class MonthCloseIn(Strict):
    month: Month


# ------------------------------------------------------------------------------------------------ what is answered
class InvoiceOut(Schema):
    id: int
    state: Invoice.State
    number: str = Field(description="empty while it is provisional")
    customer_id: int
    customer: str
    provider_id: int
    seller: str
    currency: str
    month: str
    issued_at: datetime | None
    due_on: date | None
    overdue: bool
    computed_at: datetime | None
    net: str
    tax: str
    total: str
    paid: str
    credited: str
    due: str


class TaxOut(Schema):
    category: str
    percent: str
    note: str = Field(description="why nothing is taxed: reverse_charge, same_organization, no_rate")
    net: str
    tax: str


class PaymentOut(Schema):
    id: int
    invoice_id: int
    amount: str = Field(description="less than nothing when it takes another back")
    paid_on: date
    reference: str
    takes_back_id: int | None
    prepayment_id: int | None
    recorded_at: datetime


class CreditNoteOut(Schema):
    id: int
    invoice_id: int
    number: str
    reason: str
    carries_out: bool
    net: str
    tax: str
    total: str
    issued_at: datetime


class PartyOut(Schema):
    name: str
    address: str
    country: str
    vat_number: str
    email: str
    reference: str
    bank_account: str
    note: str


class InvoiceDetailsOut(InvoiceOut):
    time_zone: str
    seller_party: PartyOut
    buyer_party: PartyOut
    taxes: list[TaxOut]
    payments: list[PaymentOut]
    credit_notes: list[CreditNoteOut]
    lines: int = Field(description="how many; they come in pages at /invoices/{invoice_id}/lines")
    fingerprint: str


class LineOut(Schema):
    id: int
    position: int
    kind: InvoiceLine.Kind
    month: str
    first_day: date
    last_day: date
    workspace_id: int | None
    project_id: int | None
    project: str
    resource_id: int | None
    resource: str
    offering_id: int | None
    offering: str
    component_id: int | None
    component: str
    plan_id: int | None
    plan: str
    price_id: int | None
    compensation_id: int | None
    credit_id: int | None
    description: str
    quantity: str
    exact_quantity: str = Field(description="a whole number, a decimal or a fraction")
    unit: str
    unit_price: str
    amount: str
    tax_category: str
    tax_percent: str
    tax_note: str
    basis: dict[str, Any] = Field(description="days, hours, limits, steps: how the quantity came about")


class CalculationStepOut(Schema):
    when: str
    how: str


class LineDetailsOut(LineOut):
    invoice_id: int
    currency: str
    steps: list[CalculationStepOut]
    sum: str
    notes: list[str]


class LineReportOut(Schema):
    report_id: str
    used_at: datetime
    period_start: datetime
    period_end: datetime
    corrects: str
    posted_ticks: int
    quantity: str = Field(description="in the unit of the line")


class CreditOut(Schema):
    id: int
    provider_id: int
    customer_id: int
    customer: str
    project_id: int | None
    offering_ids: list[int]
    kind: Credit.Kind
    currency: str
    amount: str
    used: str
    left: str
    expires_on: date | None
    reason: str
    granted_at: datetime
    withdrawn_at: datetime | None


class CompensationOut(Schema):
    id: int
    provider_id: int
    customer_id: int
    customer: str
    workspace_id: int | None
    resource_id: int | None
    currency: str
    amount: str
    tax_category: str
    reason: str
    made_at: datetime
    invoice_id: int | None
    withdrawn_at: datetime | None


class SellerOut(Schema):
    provider_id: int
    legal_name: str
    address: str
    email: str
    bank_account: str
    note: str
    number_prefix: str
    grace_days: int
    due_days: int
    issues_by_itself: bool
    bills_from: date
    closed_until: date = Field(description="first day of the first month that is not closed")
    last_invoice: int
    last_credit_note: int


class BuyerOut(Schema):
    organization_id: int
    legal_name: str
    address: str
    email: str
    reference: str


class TaxRateOut(Schema):
    id: int
    country: str
    category: str
    percent: str
    valid_from: date
    recorded_at: datetime


class RevenueOut(Schema):
    key: int | None
    name: str
    month: str
    currency: str
    net: str
    is_open: bool


class CostOut(Schema):
    provider_id: int
    seller: str
    month: str
    currency: str
    so_far: str
    expected: str = Field(description="to the end of the month: plans and limits as they are, use going on at its pace")


class ClosedOut(Schema):
    issued: int
    lines: int
    numbers: list[str]


# ------------------------------------------------------------------------------------------------ from rows to shapes
def _money(amount: Decimal, currency: str) -> str:
    return Money.rounded(amount, currency).plain


def _key(number: int) -> int:
    """A number that the database can hold; others are nobody's."""
    return number if 0 < number <= KEY_MAX else 0


def _month(text: str) -> date:
    year, _dash, month = text.partition("-")
    return date(int(year), int(month), 1)


def _invoice(row: Invoice, at: datetime) -> dict[str, Any]:
    sums = {name: _money(getattr(row, name), row.currency) for name in ("net", "tax", "total", "paid", "credited")}
    return {
        "id": row.pk,
        "state": row.state,
        "number": row.number_text,
        "customer_id": row.customer_id,
        "customer": row.customer.name,
        "provider_id": row.provider_id,
        "seller": str(row.provider),
        "currency": row.currency,
        "month": f"{row.month:%Y-%m}",
        "issued_at": row.issued_at,
        "due_on": row.due_on,
        "overdue": lookup.is_due_and_late(row, at),
        "computed_at": row.computed_at,
        **sums,
        "due": _money(amount_due(row), row.currency),
    }


def _payment(row: Payment, currency: str) -> dict[str, Any]:
    names = ("invoice_id", "paid_on", "reference", "takes_back_id", "prepayment_id", "recorded_at")
    return {"id": row.pk, "amount": _money(row.amount, currency), **{name: getattr(row, name) for name in names}}


def _credit_note(row: CreditNote, currency: str) -> dict[str, Any]:
    return {
        "id": row.pk,
        "invoice_id": row.invoice_id,
        "number": row.number_text,
        "reason": row.reason,
        "carries_out": row.carries_out,
        "issued_at": row.issued_at,
        **{name: _money(getattr(row, name), currency) for name in ("net", "tax", "total")},
    }


def _details(request: HttpRequest, invoice_id: int) -> dict[str, Any]:
    person, at = person_of(request), at_of(request)
    document = lookup.document_seen(_key(invoice_id), person, at, lines=())
    row = document.invoice

    def party(one: Any) -> dict[str, str]:
        return {name: getattr(one, name) for name in one.__slots__}

    return {
        **_invoice(row, at),
        "time_zone": row.time_zone,
        "seller_party": party(document.seller),
        "buyer_party": party(document.buyer),
        "taxes": [
            {
                "category": tax.category,
                "percent": plain(tax.percent),
                "note": tax.note,
                "net": document.plain(tax.net),
                "tax": document.plain(tax.tax),
            }
            for tax in document.taxes
        ],
        "payments": [_payment(one, row.currency) for one in document.payments],
        "credit_notes": [_credit_note(one, row.currency) for one in document.credit_notes],
        "lines": InvoiceLine.objects.filter(invoice=row).count(),
        "fingerprint": row.fingerprint,
    }


def _credit(row: Credit) -> dict[str, Any]:
    names = (
        "provider_id",
        "customer_id",
        "project_id",
        "kind",
        "currency",
        "expires_on",
        "reason",
        "granted_at",
        "withdrawn_at",
    )
    return {
        "id": row.pk,
        **{name: getattr(row, name) for name in names},
        "customer": row.customer.name,
        "offering_ids": sorted(one.pk for one in row.offerings.all()),
        "amount": _money(row.amount, row.currency),
        "used": _money(row.used, row.currency),
        "left": _money(Decimal(0) if row.withdrawn_at else row.amount - row.used, row.currency),
    }


def _compensation(row: Any) -> dict[str, Any]:
    names = (
        "provider_id", "customer_id", "workspace_id", "resource_id", "currency", "tax_category", "reason", "made_at",
        "invoice_id", "withdrawn_at",
    )  # fmt: skip
    return {
        "id": row.pk,
        **{name: getattr(row, name) for name in names},
        "customer": row.customer.name,
        "amount": _money(row.amount, row.currency),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "provider_id": cost.provider.pk,
        "seller": str(cost.provider),
        "month": f"{cost.month:%Y-%m}",
        "currency": cost.currency,
        "so_far": _money(cost.so_far, cost.currency),
        "expected": _money(cost.expected, cost.currency),
    }


def _seller(request: HttpRequest, provider_id: int) -> ServiceProvider:
    return lookup.seller_seen(person_of(request), at_of(request), pk=_key(provider_id))


def _managed(request: HttpRequest, provider_id: int) -> ServiceProvider:
    """Before it is looked at what else was named: whoever may not manage learns nothing of it."""
    found = _seller(request, provider_id)
    require(person_of(request), Permission.MANAGE_INVOICES, found.organization, at_of(request))
    return found


def _customer(provider: ServiceProvider, pk: int) -> Organization:
    """raises   NotFound"""
    found = lookup.customers_of(provider).filter(pk=pk).first()
    if found is None:
        raise NotFound(noun="organization")
    return found


def _file(document: Document, form: str) -> HttpResponse:
    content: bytes | str
    if form == "pdf":
        content, kind, ending = pdf.document_pdf(document), "application/pdf", "pdf"
    elif form == "json":
        content = json.dumps(exports.document_json(document), ensure_ascii=False, indent=2)
        kind, ending = "application/json", "json"
    elif form == "focus":
        content, kind, ending = focus.focus_csv([document]), "text/csv; charset=utf-8", "focus.csv"
    else:
        content, kind, ending = exports.lines_csv([document]), "text/csv; charset=utf-8", "csv"
    name = content_disposition_header(as_attachment=True, filename=f"{document.file_name}.{ending}")
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": name or "attachment"})


# ------------------------------------------------------------------------------------------------ invoices
class InvoiceQuery(Schema):
    side: Literal["customer", "seller", ""] = Field("", description="those owed by you, or to you; both if empty")
    state: Invoice.State | Literal["overdue", "unpaid", ""] = ""
    month: Annotated[str, Field(pattern=r"^((19|20)\d\d-(0[1-9]|1[0-2]))?$")] = ""
    customer_id: Key | None = None
    provider_id: Key | None = None


@router.get("/invoices", response=Page[InvoiceOut], summary="Invoices that you see whole, on either side")
def list_invoices(request: HttpRequest, paging: Paging, asked: Annotated[InvoiceQuery, Query()]) -> Any:
    person, at = person_of(request), at_of(request)
    rows = lookup.of_side(asked.side, person, at)
    if asked.state:
        rows = lookup.with_state(rows, asked.state, at)
    if asked.month:
        rows = rows.filter(month=_month(asked.month))
    if asked.customer_id is not None:
        rows = rows.filter(customer=asked.customer_id)
    if asked.provider_id is not None:
        rows = rows.filter(provider=asked.provider_id)
    answer = page_of(request, rows, paging)
    answer["items"] = [_invoice(row, at) for row in answer["items"]]
    return answer


@router.get("/invoices/{invoice_id}", response={200: InvoiceDetailsOut, **PROBLEMS}, summary="An invoice")
def get_invoice(request: HttpRequest, invoice_id: int) -> Any:
    return _details(request, invoice_id)


@router.get(
    "/invoices/{invoice_id}/lines", response={200: Page[LineOut], **PROBLEMS}, summary="The lines of an invoice"
)
def list_lines(request: HttpRequest, invoice_id: int, paging: Paging) -> Any:
    document = lookup.document_seen(_key(invoice_id), person_of(request), at_of(request), lines=())
    answer = page_of(request, lookup.lines_of(document.invoice), paging)
    answer["items"] = [exports.line_json(document, named(row)) for row in answer["items"]]
    return answer


@router.get(
    "/invoices/{invoice_id}/download/{form}",
    response={200: None, **PROBLEMS},
    openapi_extra=FILE,
    summary="An invoice as PDF, as CSV or JSON of its lines, or as FOCUS rows",
)
def download_invoice(request: HttpRequest, invoice_id: int, form: Form) -> Any:
    return _file(lookup.document_seen(_key(invoice_id), person_of(request), at_of(request)), form)


class ExportQuery(Schema):
    side: Literal["customer", "seller", ""] = Field("", description="those owed by you, or to you; both if empty")
    month: Month | None = Field(None, description="one month; or else `from` and `to`")
    from_: Month | None = Field(None, alias="from", description="the first month")
    to: Month | None = Field(None, description="the last month")
    customer_id: Key | None = None
    provider_id: Key | None = None


@router.get(
    "/invoice-exports/{form}",
    response={200: None, **PROBLEMS},
    openapi_extra=EXPORT,
    summary="All issued invoices of a month or of several, with their credit notes, as CSV, JSON or FOCUS rows",
)
def export_invoices(request: HttpRequest, form: ManyForm, asked: Annotated[ExportQuery, Query()]) -> Any:
    rows = lookup.of_side(asked.side, person_of(request), at_of(request))
    if asked.customer_id is not None:
        rows = rows.filter(customer=asked.customer_id)
    if asked.provider_id is not None:
        rows = rows.filter(provider=asked.provider_id)
    month, first, last = (None if text is None else _month(text) for text in (asked.month, asked.from_, asked.to))
    found = lookup.of_span(rows, month=month, first=first, last=last)
    kind, ending = exports.FORMS[form]
    span = asked.month or f"{asked.from_}-to-{asked.to}"
    name = content_disposition_header(as_attachment=True, filename=f"invoices-{span}.{ending}")
    return StreamingHttpResponse(
        exports.stream(form, found), content_type=kind, headers={"Content-Disposition": name or "attachment"}
    )


@router.get(
    "/invoice-lines/{line_id}",
    response={200: LineDetailsOut, **PROBLEMS},
    summary="A line and how it was computed; also of projects whose costs you may see",
)
def get_line(request: HttpRequest, line_id: int) -> Any:
    row = lookup.line_seen(_key(line_id), person_of(request), at_of(request))
    line = named(row)
    told = explain(line, row.invoice.time_zone)
    return {
        **exports.line_json(lookup.bare_document(row.invoice), line),
        "invoice_id": row.invoice_id,
        "currency": row.invoice.currency,
        "steps": [{"when": step.when, "how": step.how} for step in told.steps],
        "sum": told.sum,
        "notes": list(told.notes),
    }


@router.get(
    "/invoice-lines/{line_id}/usage",
    response={200: Page[LineReportOut], **PROBLEMS},
    summary="The usage reports that a line was computed from",
)
def list_usage_behind(request: HttpRequest, line_id: int, paging: Paging) -> Any:
    row = lookup.line_seen(_key(line_id), person_of(request), at_of(request))
    answer = page_of(request, lookup.usage_behind(row), paging)
    per_unit = row.component.ticks_per_unit if row.component else 1

    def told(report: UsageReport) -> dict[str, Any]:
        names = ("report_id", "used_at", "period_start", "period_end", "corrects", "posted_ticks")
        quantity = plain((Decimal(report.posted_ticks) / per_unit).quantize(Decimal("0.0000000001")))
        return {**{name: getattr(report, name) for name in names}, "quantity": quantity}

    answer["items"] = [told(report) for report in answer["items"]]
    return answer


@router.post(
    "/invoices/{invoice_id}/issue", response={200: InvoiceDetailsOut, **PROBLEMS}, summary="Issue an invoice now"
)
def issue_invoice(request: HttpRequest, invoice_id: int) -> Any:
    services.issue_invoice(invoice_id=_key(invoice_id), by=person_of(request), at=at_of(request))
    return _details(request, invoice_id)


@router.post(
    "/providers/{provider_id}/invoices/refresh",
    response={202: None, **PROBLEMS},
    summary="Have a seller's open invoices computed again",
)
def refresh_invoices(request: HttpRequest, provider_id: int) -> Any:
    ask_to_refresh(provider=_seller(request, provider_id), by=person_of(request), at=at_of(request))
    return Status(202, None)


@router.post(
    "/providers/{provider_id}/months/close",
    response={200: ClosedOut, **PROBLEMS},
    summary="Issue all invoices of a month that is over",
)
def close_month(request: HttpRequest, provider_id: int, payload: MonthCloseIn) -> Any:
    provider = _managed(request, provider_id)
    month = _month(payload.month)
    return services.close_month(provider=provider, month=month, by=person_of(request), at=at_of(request))


# ------------------------------------------------------------------------------------------------ payments
@router.post("/invoices/{invoice_id}/payments", response={201: PaymentOut, **PROBLEMS}, summary="Note a payment")
def note_payment(request: HttpRequest, invoice_id: int, payload: PaymentIn) -> Any:
    row = services.note_payment(invoice_id=_key(invoice_id), by=person_of(request), at=at_of(request), **payload.dict())
    return Status(201, _payment(row, row.invoice.currency))


@router.post(
    "/payments/{payment_id}/take-back",
    response={201: PaymentOut, **PROBLEMS},
    summary="A payment was none, or went back",
)
def take_back_payment(request: HttpRequest, payment_id: int, payload: TakeBackIn) -> Any:
    row = services.take_back_payment(
        payment_id=_key(payment_id), by=person_of(request), at=at_of(request), **payload.dict()
    )
    return Status(201, _payment(row, row.invoice.currency))


# ------------------------------------------------------------------------------------------------ credit notes
@router.post(
    "/invoices/{invoice_id}/credit-notes",
    response={201: CreditNoteOut, **PROBLEMS},
    summary="Take back an issued invoice, whole or in part",
)
def credit_invoice(request: HttpRequest, invoice_id: int, payload: CreditNoteIn) -> Any:
    row = services.credit_invoice(
        invoice_id=_key(invoice_id), by=person_of(request), at=at_of(request), **payload.dict()
    )
    return Status(201, _credit_note(row, row.invoice.currency))


@router.get("/credit-notes", response=Page[CreditNoteOut], summary="Credit notes of invoices that you see whole")
def list_credit_notes(request: HttpRequest, paging: Paging) -> Any:
    rows = lookup.credit_notes_seen(person_of(request), at_of(request)).order_by("-issued_at", "-pk")
    answer = page_of(request, rows, paging)
    answer["items"] = [_credit_note(row, row.invoice.currency) for row in answer["items"]]
    return answer


@router.get("/credit-notes/{credit_note_id}", response={200: CreditNoteOut, **PROBLEMS}, summary="A credit note")
def get_credit_note(request: HttpRequest, credit_note_id: int) -> Any:
    row = lookup.credit_note_seen(_key(credit_note_id), person_of(request), at_of(request))
    return _credit_note(row, row.invoice.currency)


@router.get(
    "/credit-notes/{credit_note_id}/download/{form}",
    response={200: None, **PROBLEMS},
    openapi_extra=FILE,
    summary="A credit note as PDF, CSV, JSON or FOCUS rows",
)
def download_credit_note(request: HttpRequest, credit_note_id: int, form: Form) -> Any:
    row = lookup.credit_note_seen(_key(credit_note_id), person_of(request), at_of(request))
    return _file(credit_note_document(row), form)


# ------------------------------------------------------------------------------------------------ credits, compensations
@router.get("/credits", response=Page[CreditOut], summary="Credits on either side")
def list_credits(
    request: HttpRequest, paging: Paging, customer_id: Key | None = None, provider_id: Key | None = None
) -> Any:
    rows = selectors.credits_seen(person_of(request), at_of(request)).prefetch_related("offerings")
    if customer_id is not None:
        rows = rows.filter(customer=customer_id)
    if provider_id is not None:
        rows = rows.filter(provider=provider_id)
    answer = page_of(request, rows.order_by("expires_on", "pk"), paging)
    answer["items"] = [_credit(row) for row in answer["items"]]
    return answer


@router.post(
    "/providers/{provider_id}/credits", response={201: CreditOut, **PROBLEMS}, summary="Give a customer a credit"
)
def give_credit(request: HttpRequest, provider_id: int, payload: CreditIn) -> Any:
    provider = _managed(request, provider_id)
    values = payload.dict()
    customer = _customer(provider, values.pop("customer_id"))
    project_id, offering_ids = values.pop("project_id"), set(values.pop("offering_ids"))
    project = None if project_id is None else Project.objects.filter(pk=project_id, organization=customer).first()
    if project_id is not None and project is None:
        raise NotFound(noun="project")
    offerings = list(provider.offerings.filter(pk__in=offering_ids).order_by("pk"))
    if len(offerings) != len(offering_ids):
        raise OfferingNotFound
    row = services.give_credit(
        provider=provider, customer=customer, project=project, offerings=offerings, by=person_of(request),
        at=at_of(request), **values,
    )  # fmt: skip
    return Status(201, _credit(row))


@router.post(
    "/credits/{credit_id}/withdraw", response={200: CreditOut, **PROBLEMS}, summary="Withdraw what is left of a credit"
)
def withdraw_credit(request: HttpRequest, credit_id: int) -> Any:
    return _credit(services.withdraw_credit(credit_id=_key(credit_id), by=person_of(request), at=at_of(request)))


@router.get("/compensations", response=Page[CompensationOut], summary="Compensations on either side")
def list_compensations(
    request: HttpRequest, paging: Paging, customer_id: Key | None = None, provider_id: Key | None = None
) -> Any:
    rows = selectors.compensations_seen(person_of(request), at_of(request))
    if customer_id is not None:
        rows = rows.filter(customer=customer_id)
    if provider_id is not None:
        rows = rows.filter(provider=provider_id)
    answer = page_of(request, rows.order_by("-made_at", "-pk"), paging)
    answer["items"] = [_compensation(row) for row in answer["items"]]
    return answer


@router.post(
    "/providers/{provider_id}/compensations",
    response={201: CompensationOut, **PROBLEMS},
    summary="Let a customer pay less, with a reason",
)
def compensate(request: HttpRequest, provider_id: int, payload: CompensationIn) -> Any:
    provider = _managed(request, provider_id)
    values = payload.dict()
    customer, resource_id = _customer(provider, values.pop("customer_id")), values.pop("resource_id")
    resource = None if resource_id is None else provisioning.resource_of_provider(provider, resource_id)
    row = services.compensate(
        provider=provider, customer=customer, resource=resource, by=person_of(request), at=at_of(request), **values
    )
    return Status(201, _compensation(row))


@router.post(
    "/compensations/{compensation_id}/withdraw",
    response={200: CompensationOut, **PROBLEMS},
    summary="Withdraw a compensation that is on no issued invoice",
)
def withdraw_compensation(request: HttpRequest, compensation_id: int) -> Any:
    row = services.withdraw_compensation(
        compensation_id=_key(compensation_id), by=person_of(request), at=at_of(request)
    )
    return _compensation(row)


# ------------------------------------------------------------------------------------------------ who stands on the paper
@router.get(
    "/providers/{provider_id}/seller", response={200: SellerOut, **PROBLEMS}, summary="How a provider sends invoices"
)
def get_seller(request: HttpRequest, provider_id: int) -> Any:
    return lookup.seller_shown(_seller(request, provider_id), at_of(request))


@router.patch("/providers/{provider_id}/seller", response={200: SellerOut, **PROBLEMS}, summary="Change that")
def edit_seller(request: HttpRequest, provider_id: int, payload: SellerIn) -> Any:
    provider = _seller(request, provider_id)
    changes = {name: value for name, value in payload.dict(exclude_unset=True).items() if value is not None}
    return services.edit_seller(provider=provider, by=person_of(request), at=at_of(request), **changes)


@router.get(
    "/organizations/{organization_id}/buyer",
    response={200: BuyerOut, **PROBLEMS},
    summary="What stands on the invoices of an organization",
)
def get_buyer(request: HttpRequest, organization_id: int) -> Any:
    person, at = person_of(request), at_of(request)
    row = organization_seen(_key(organization_id), person, at)
    require(person, Permission.VIEW_BILLING, row, at)
    return Buyer.objects.filter(organization=row).first() or Buyer(organization=row)


@router.patch(
    "/organizations/{organization_id}/buyer", response={200: BuyerOut, **PROBLEMS}, summary="Change what stands there"
)
def edit_buyer(request: HttpRequest, organization_id: int, payload: BuyerIn) -> Any:
    person, at = person_of(request), at_of(request)
    row = organization_seen(_key(organization_id), person, at)
    changes = {name: value for name, value in payload.dict(exclude_unset=True).items() if value is not None}
    return services.edit_buyer(organization=row, by=person, at=at, **changes)


def _tax_rate(row: TaxRate) -> dict[str, Any]:
    names = ("country", "category", "valid_from", "recorded_at")
    return {"id": row.pk, "percent": plain(row.percent), **{name: getattr(row, name) for name in names}}


@router.get("/tax-rates", response={200: Page[TaxRateOut], **PROBLEMS}, summary="Tax rates by country and category")
def list_tax_rates(request: HttpRequest, paging: Paging, country: str = "") -> Any:
    require(person_of(request), Permission.READ_PLATFORM, None, at_of(request))
    rows = TaxRate.objects.order_by("country", "category", "-valid_from", "-pk")
    answer = page_of(request, rows.filter(country=country.upper()) if country else rows, paging)
    answer["items"] = [_tax_rate(row) for row in answer["items"]]
    return answer


@router.post("/tax-rates", response={201: TaxRateOut, **PROBLEMS}, summary="Add a tax rate")
def set_tax_rate(request: HttpRequest, payload: TaxRateIn) -> Any:
    row = services.set_tax_rate(by=person_of(request), at=at_of(request), **payload.dict())
    row.refresh_from_db()
    return Status(201, _tax_rate(row))


# ------------------------------------------------------------------------------------------------ revenue and costs
class RevenueQuery(Schema):
    by: Literal["offering", "plan", "customer"] = "offering"
    start: Annotated[str, Field(pattern=r"^((19|20)\d\d-(0[1-9]|1[0-2]))?$", description="the first month")] = ""
    end: Annotated[str, Field(pattern=r"^((19|20)\d\d-(0[1-9]|1[0-2]))?$", description="the first month after")] = ""


@router.get(
    "/providers/{provider_id}/revenue",
    response={200: Page[RevenueOut], **PROBLEMS},
    summary="What a seller's invoices come to, net, by offering, plan or customer and by month",
)
def get_revenue(request: HttpRequest, provider_id: int, paging: Paging, asked: Annotated[RevenueQuery, Query()]) -> Any:
    found = selectors.revenue(
        provider=_seller(request, provider_id),
        person=person_of(request),
        at=at_of(request),
        by=asked.by,
        start=_month(asked.start) if asked.start else None,
        end=_month(asked.end) if asked.end else None,
    )
    answer = page_of(request, found, paging)
    answer["items"] = [
        {
            "key": one.key,
            "name": one.name,
            "month": f"{one.month:%Y-%m}",
            "currency": one.currency,
            "net": _money(one.net, one.currency),
            "is_open": one.is_open,
        }
        for one in answer["items"]
    ]
    return answer


def _costs(request: HttpRequest, found: list[Cost], paging: Any) -> dict[str, Any]:
    answer = page_of(request, found, paging)
    answer["items"] = [_cost(one) for one in answer["items"]]
    return answer


@router.get(
    "/organizations/{organization_id}/costs",
    response={200: Page[CostOut], **PROBLEMS},
    summary="What an organization costs this month with all its projects, by seller",
)
def get_organization_costs(request: HttpRequest, organization_id: int, paging: Paging) -> Any:
    person, at = person_of(request), at_of(request)
    row = organization_seen(_key(organization_id), person, at)
    return _costs(request, selectors.costs_of_organization(organization=row, person=person, at=at), paging)


@router.get(
    "/projects/{project_id}/costs",
    response={200: Page[CostOut], **PROBLEMS},
    summary="What a project costs this month with those below it, by seller",
)
def get_project_costs(request: HttpRequest, project_id: int, paging: Paging) -> Any:
    person, at = person_of(request), at_of(request)
    row = project_seen(_key(project_id), person, at)
    return _costs(request, selectors.costs_of_project(project=row, person=person, at=at), paging)


@router.get(
    "/projects/{project_id}/invoice-lines",
    response={200: Page[LineOut], **PROBLEMS},
    summary="What a project and those below it were billed, line by line",
)
def list_project_lines(request: HttpRequest, project_id: int, paging: Paging) -> Any:
    person, at = person_of(request), at_of(request)
    rows = lookup.lines_of_project(project_seen(_key(project_id), person, at), person, at)
    answer = page_of(request, rows, paging)
    answer["items"] = [exports.line_json(lookup.bare_document(row.invoice), named(row)) for row in answer["items"]]
    return answer


@router.get(
    "/resources/{resource_id}/costs", response={200: CostOut, **PROBLEMS}, summary="What a resource costs this month"
)
def get_resource_costs(request: HttpRequest, resource_id: int) -> Any:
    person, at = person_of(request), at_of(request)
    row = provisioning.resource_for(person, _key(resource_id), at=at)
    return _cost(selectors.cost_of_resource(resource=row, person=person, at=at))
