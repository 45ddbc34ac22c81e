"""Invoices on both sides, how a line came about, payments, credit notes, credits, revenue, and who stands on the paper."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.contrib import messages
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import formats
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from bursar.billing import exports, focus, lookup, pdf, selectors, services
from bursar.billing.asking import ask_to_refresh
from bursar.billing.documents import Document, credit_note_document, day_of, document_of, named
from bursar.billing.errors import SpanNotPossible
from bursar.billing.explanation import explain
from bursar.billing.models import Buyer, Invoice, InvoiceLine, TaxRate
from bursar.billing.selectors import Cost, Revenue
from bursar.catalogue.models import ServiceProvider
from bursar.structure.models import Organization, Project
from bursar.structure.roles import Permission, may, require
from bursar.structure.selectors import organization_seen, project_seen
from bursar.web.billing_forms import (
    BuyerForm,
    CompensationForm,
    CreditForm,
    CreditNoteForm,
    ExportForm,
    MonthForm,
    PaymentForm,
    SellerForm,
    TaxRateForm,
)
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.panels import Panel
from bursar.web.tabs import card, scope_page
from bursar.web.viewer import Viewer
from bursar.web.views.structure import at_of, viewer_of

LINES_TYPED_MAX: Final = 200  # a credit note of an invoice with more is written by the API, or for all of it
LINES_SHOWN_MAX: Final = 500
SELLERS_SHOWN_MAX: Final = 50
STATES: Final = (
    ("open", gettext_lazy("Provisional")),
    ("unpaid", gettext_lazy("To be paid")),
    ("overdue", gettext_lazy("Overdue")),
    *((state.value, state.label) for state in Invoice.State if state != Invoice.State.OPEN),
)


# ------------------------------------------------------------------------------------------------ lists
def _months(rows: Any) -> list[tuple[str, str]]:
    found = rows.order_by("-month").values_list("month", flat=True).distinct()[:60]
    return [(f"{month:%Y-%m-%d}", formats.date_format(month, "YEAR_MONTH_FORMAT")) for month in found]


def _listing(request: HttpRequest, rows: Any, *, is_seller: bool) -> Listing:
    """A list of invoices; `is_seller`: as the seller sees them, so the customers are named and chosen."""
    at = at_of(request)
    other, other_name = ("customer", "customer__name") if is_seller else ("provider", "provider__organization__name")
    others = rows.order_by(other_name).values_list(other, other_name).distinct()[:200]
    sellers = rows.order_by("provider__organization__name").values_list("provider", "provider__organization__name")
    filters = [
        Filter("month", gettext_lazy("Any month"), _months(rows), "month"),
        Filter(
            other,
            gettext_lazy("Any customer") if is_seller else gettext_lazy("Any seller"),
            [(str(pk), name) for pk, name in others],
            other,
        ),
        Filter("state", gettext_lazy("Any state"), STATES, lambda found, value: lookup.with_state(found, value, at)),
    ]
    if is_seller:
        own = [(str(pk), name) for pk, name in sellers.distinct()[:50]]
        if len(own) > 1:
            filters.insert(1, Filter("provider", gettext_lazy("All sellers"), own, "provider"))
    return Listing(
        request,
        rows,
        label=gettext_lazy("Invoices"),
        sort="-month",
        search=("number_text__icontains", other_name + "__icontains"),
        search_label=gettext_lazy("Search a number or a name"),
        columns={
            "number": Column(gettext_lazy("Invoice"), sort="number_text"),
            "month": Column(gettext_lazy("Month"), sort=("month",)),
            "other": Column(gettext_lazy("Customer") if is_seller else gettext_lazy("Seller"), sort=other_name),
            "state": Column(gettext_lazy("State"), sort="state"),
            "total": Column(gettext_lazy("Total"), sort="total", classes="num"),
            "due": Column(gettext_lazy("Due"), sort="due_on", classes="num"),
        },
        filters=filters,
    )


def invoices(request: HttpRequest) -> HttpResponse:
    listing = _listing(request, lookup.owed_by(viewer_of(request), at_of(request)), is_seller=False)
    return page(request, "bursar/billing/invoices.html", {"listing": listing, "is_seller": False})


def provider_invoices(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    managed = list(lookup.sellers_seen(viewer, at, Permission.MANAGE_INVOICES)[:SELLERS_SHOWN_MAX])
    closings = lookup.closable(managed, at)
    context = {
        "listing": _listing(request, lookup.owed_to(viewer, at), is_seller=True),
        "is_seller": True,
        "managed": managed,
        "closings": closings,
        "moving": any(one.is_running for one in closings),
    }
    return page(request, "bursar/billing/invoices.html", context)


def invoices_export(request: HttpRequest) -> HttpResponseBase:
    """All issued invoices of a span of months, of one other side or of all."""
    viewer, at = viewer_of(request), at_of(request)
    form = ExportForm(request.GET)
    back = "provider_invoices" if request.GET.get("side") == "seller" else "invoices"
    if not form.is_valid():
        messages.error(request, _("Choose a first and a last month."))
        return redirect(back)
    asked = form.cleaned_data
    rows = lookup.of_side(asked["side"], viewer, at)
    for name in ("customer", "provider"):
        if asked[name] is not None:
            rows = rows.filter(**{name: asked[name]})
    try:
        found = lookup.of_span(rows, first=asked["from"], last=asked["to"])
    except SpanNotPossible:
        messages.error(request, _("Choose a first and a last month."))
        return redirect(back)
    kind, ending = exports.FORMS[asked["form"]]
    name = f"invoices-{asked['from']:%Y-%m}-to-{asked['to']:%Y-%m}.{ending}"
    disposition = content_disposition_header(True, name) or "attachment"
    return StreamingHttpResponse(
        exports.stream(asked["form"], found), content_type=kind, headers={"Content-Disposition": disposition}
    )


# ------------------------------------------------------------------------------------------------ one invoice
def invoice(request: HttpRequest, pk: int) -> HttpResponse:
    return _invoice_page(request, pk)


def _invoice_page(request: HttpRequest, pk: int, form: PaymentForm | None = None) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    document = lookup.document_seen(pk, viewer, at)
    row = document.invoice
    manages = may(viewer, Permission.MANAGE_INVOICES, row.provider.organization, at)
    as_seller = may(viewer, Permission.VIEW_REVENUE, row.provider.organization, at)
    can_pay = manages and document.due > 0
    if can_pay and form is None:
        initial = {"amount": document.money(document.due).amount, "paid_on": day_of(at, row)}
        form = PaymentForm(currency=row.currency, initial=initial)
    taken_back = {payment.takes_back_id for payment in document.payments if payment.takes_back_id}
    context = {
        "document": document,
        "invoice": row,
        "overdue": lookup.is_due_and_late(row, at),
        "manages": manages,
        "as_seller": as_seller,
        "payment_form": form if can_pay else None,
        "taken_back": taken_back,
        "can_issue": manages and document.is_provisional,
        "can_credit": manages and not document.is_provisional and row.credited < row.total,
        "sections": document.sections,
        "is_long": len(document.lines) > LINES_SHOWN_MAX,
    }
    return page(
        request, "bursar/billing/invoice.html", context, form=form if form is not None and form.is_bound else None
    )


def invoice_line(request: HttpRequest, pk: int) -> HttpResponse:
    """How an amount came about: days, plan, price version, and the usage behind it."""
    viewer, at = viewer_of(request), at_of(request)
    row = lookup.line_seen(pk, viewer, at)
    line = named(row)
    records = lookup.usage_behind(row)
    listing = None
    if row.component is not None and row.component.billing == "usage":
        listing = Listing(
            request,
            records,
            label=gettext_lazy("Usage records"),
            columns={
                "used_at": Column(gettext_lazy("Counted at")),
                "period": Column(gettext_lazy("Used from – to")),
                "quantity": Column(gettext_lazy("Quantity"), classes="num"),
                "report": Column(gettext_lazy("Report")),
            },
            per_page=50,
        )
        for record in listing.rows:
            record.units = Decimal(record.posted_ticks) / row.component.ticks_per_unit
    sees_invoice = selectors.invoices_seen(viewer, at).filter(pk=row.invoice_id).exists()
    context = {
        "line": line,
        "row": row,
        "invoice": row.invoice,
        "explanation": explain(line, row.invoice.time_zone),
        "listing": listing,
        "sees_invoice": sees_invoice,
    }
    return page(request, "bursar/billing/line.html", context)


FORMS: Final[dict[str, tuple[str, str, Callable[[Document], bytes | str]]]] = {
    "pdf": ("pdf", "application/pdf", pdf.document_pdf),
    "csv": ("csv", "text/csv; charset=utf-8", lambda document: exports.lines_csv([document])),
    "json": (
        "json",
        "application/json",
        lambda document: json.dumps(exports.document_json(document), ensure_ascii=False, indent=2),
    ),
    "focus": ("focus.csv", "text/csv; charset=utf-8", lambda document: focus.focus_csv([document])),
}


def _download(document: Document, form: str) -> HttpResponse:
    if form not in FORMS:
        raise Http404
    ending, kind, make = FORMS[form]
    name = f"{document.file_name}.{ending}"
    return HttpResponse(
        make(document),
        content_type=kind,
        headers={"Content-Disposition": content_disposition_header(True, name) or "attachment"},
    )


def invoice_download(request: HttpRequest, pk: int, form: str) -> HttpResponse:
    return _download(lookup.document_seen(pk, viewer_of(request), at_of(request)), form)


def credit_note_download(request: HttpRequest, pk: int, form: str) -> HttpResponse:
    note = lookup.credit_note_seen(pk, viewer_of(request), at_of(request))
    return _download(credit_note_document(note), form)


# ------------------------------------------------------------------------------------------------ what the seller does
def _to_invoice(pk: int, *_args: Any, **_named: Any) -> str:
    return reverse("invoice", args=[pk])


@require_POST
@refusals_as_messages(to=_to_invoice)
def invoice_issue(request: HttpRequest, pk: int) -> HttpResponse:
    row = services.issue_invoice(invoice_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("Issued as {number}.").format(number=row.number_text))
    return redirect("invoice", pk)


@require_POST
def payment_note(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.find_invoice(invoice_id=pk, person=viewer, at=at)
    require(viewer, Permission.MANAGE_INVOICES, row.provider.organization, at)
    form = PaymentForm(request.POST, currency=row.currency)
    if form.is_valid():
        with refusals_in(form):
            services.note_payment(invoice_id=pk, by=viewer, at=at, **form.cleaned_data)
            messages.success(request, _("Noted."))
            return redirect("invoice", pk)
    if selectors.find_invoice(invoice_id=pk, person=viewer, at=at).state in {
        Invoice.State.ISSUED,
        Invoice.State.PART_PAID,
    }:
        return _invoice_page(request, pk, form)
    for error in [text for errors in form.errors.values() for text in errors]:
        messages.error(request, str(error))
    return redirect("invoice", pk)


@require_POST
@refusals_as_messages(to=_to_invoice)
def payment_take_back(request: HttpRequest, pk: int, payment: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.find_invoice(invoice_id=pk, person=viewer, at=at)
    require(viewer, Permission.MANAGE_INVOICES, row.provider.organization, at)
    if not selectors.payments_of(row).filter(pk=payment).exists():
        raise Http404
    services.take_back_payment(payment_id=payment, by=viewer, at=at)
    messages.success(request, _("Taken back."))
    return redirect("invoice", pk)


def credit_note_make(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.find_invoice(invoice_id=pk, person=viewer, at=at)
    require(viewer, Permission.MANAGE_INVOICES, row.provider.organization, at)
    document = document_of(row)
    lines = document.lines if len(document.lines) <= LINES_TYPED_MAX else []
    form = CreditNoteForm(request.POST or None, currency=row.currency, lines=lines)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            note = services.credit_invoice(
                invoice_id=pk,
                reason=form.cleaned_data["reason"],
                amounts=form.amounts(),
                carries_out=form.cleaned_data["extent"] == CreditNoteForm.AGAIN,
                by=viewer,
                at=at,
            )
            messages.success(request, _("Credit note {number} was issued.").format(number=note.number_text))
            return redirect("invoice", pk)
    context = {"document": document, "invoice": row, "too_many": len(document.lines) > LINES_TYPED_MAX}
    return page(request, "bursar/billing/credit_note_form.html", context, form=form)


@require_POST
@refusals_as_messages(to=lambda **_named: reverse("provider_invoices"))
def provider_refresh(request: HttpRequest, slug: str) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    ask_to_refresh(provider=lookup.seller_seen(viewer, at, slug=slug), by=viewer, at=at)
    messages.success(request, _("The open invoices are being computed. Look again in a minute."))
    return redirect("provider_invoices")


@require_POST
@refusals_as_messages(to=lambda **_named: reverse("provider_invoices"))
def provider_close_month(request: HttpRequest, slug: str) -> HttpResponse:
    """The closing takes transactions of its own, so a job does it."""
    viewer, at = viewer_of(request), at_of(request)
    provider = lookup.seller_seen(viewer, at, slug=slug)
    require(viewer, Permission.MANAGE_INVOICES, provider.organization, at)
    form = MonthForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose a month."))
        return redirect("provider_invoices")
    closing = services.ask_to_close(provider=provider, month=form.cleaned_data["month"], by=viewer, at=at)
    if closing is None:
        messages.info(request, _("This month is closed already."))
    return redirect("provider_invoices")


# ------------------------------------------------------------------------------------------------ credits
def provider_credits(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    sellers = list(lookup.sellers_seen(viewer, at))
    managed = {one.pk for one in lookup.sellers_seen(viewer, at, Permission.MANAGE_INVOICES)}
    given = (
        selectors.credits_seen(viewer, at)
        .filter(provider__in=sellers)
        .prefetch_related("offerings")
        .order_by("-granted_at", "-pk")
    )
    compensations = (
        selectors.compensations_seen(viewer, at)
        .filter(provider__in=sellers)
        .select_related("workspace__project", "workspace__organization")
        .order_by("-made_at", "-pk")
    )
    context = {
        "credits": Listing(
            request,
            given,
            label=gettext_lazy("Credits"),
            prefix="c-",
            search=("customer__name__icontains", "reason__icontains"),
            columns={
                "customer": Column(gettext_lazy("Customer"), sort="customer__name"),
                "for": Column(gettext_lazy("For")),
                "amount": Column(gettext_lazy("Given"), sort="amount", classes="num"),
                "left": Column(gettext_lazy("Left"), sort="left", classes="num"),
                "expires": Column(gettext_lazy("Last day"), sort="expires_on"),
                "actions": Column(gettext_lazy("Actions"), hidden=True),
            },
        ),
        "compensations": Listing(
            request,
            compensations,
            label=gettext_lazy("Compensations"),
            prefix="k-",
            search=("customer__name__icontains", "reason__icontains"),
            columns={
                "customer": Column(gettext_lazy("Customer"), sort="customer__name"),
                "reason": Column(gettext_lazy("Reason")),
                "amount": Column(gettext_lazy("Amount"), sort="amount", classes="num"),
                "invoice": Column(gettext_lazy("On")),
                "actions": Column(gettext_lazy("Actions"), hidden=True),
            },
        ),
        "managed": managed,
        "sellers": [one for one in sellers if one.pk in managed],
        "today": at.date(),
    }
    return page(request, "bursar/billing/credits.html", context)


def _managed(request: HttpRequest, slug: str) -> ServiceProvider:
    """A seller whose invoices the viewer manages; who may only look is told so."""
    viewer, at = viewer_of(request), at_of(request)
    provider = lookup.seller_seen(viewer, at, slug=slug)
    require(viewer, Permission.MANAGE_INVOICES, provider.organization, at)
    return provider


def credit_give(request: HttpRequest, slug: str) -> HttpResponse:
    provider = _managed(request, slug)
    form = CreditForm(
        request.POST or None,
        provider=provider,
        customers=lookup.customers_of(provider),
        initial={"customer": request.GET.get("customer")},
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            values = {**form.cleaned_data, "offerings": list(form.cleaned_data["offerings"])}
            services.give_credit(provider=provider, by=viewer_of(request), at=at_of(request), **values)
            messages.success(request, _("Given."))
            return redirect("provider_credits")
    context = {"provider": provider, "title": _("Give a credit"), "action": _("Give")}
    return page(request, "bursar/billing/form.html", context, form=form)


def compensation_make(request: HttpRequest, slug: str) -> HttpResponse:
    provider = _managed(request, slug)
    viewer, at = viewer_of(request), at_of(request)
    named_invoice = request.GET.get("invoice", "")
    found = (
        lookup.owed_to(viewer, at).filter(provider=provider, pk=int(named_invoice)).first()
        if named_invoice.isdecimal() and len(named_invoice) < 18
        else None
    )
    customers = lookup.customers_of(provider)
    resources: dict[int, tuple[str, Any]] = {}
    if found is not None:
        customers = customers.filter(pk=found.customer_id)
        rows = InvoiceLine.objects.filter(invoice=found, resource__isnull=False).select_related("resource__offering")
        resources = {
            line.resource_id: (f"{line.resource.name} ({line.resource.offering})", line.resource)  # type: ignore[union-attr, misc]
            for line in rows.order_by("resource__name", "resource_id").distinct("resource__name", "resource_id")[:500]
        }
    form = CompensationForm(
        request.POST or None,
        provider=provider,
        customers=customers,
        resources=[(pk, name) for pk, (name, _row) in resources.items()],
        initial={"customer": found.customer_id if found else None, "tax_category": "standard"},
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            values = form.cleaned_data
            chosen = values.pop("resource", None)
            services.compensate(
                provider=provider, resource=resources[chosen][1] if chosen else None, by=viewer, at=at, **values
            )
            messages.success(request, _("It stands on the next invoice."))
            return redirect("provider_credits")
    context = {"provider": provider, "title": _("Compensate a customer"), "action": _("Compensate")}
    return page(request, "bursar/billing/form.html", context, form=form)


def _to_credits(*_args: Any, **_named: Any) -> str:
    return reverse("provider_credits")


@require_POST
@refusals_as_messages(to=_to_credits)
def credit_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    services.withdraw_credit(credit_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("Withdrawn. What was used of it stays used."))
    return redirect("provider_credits")


@require_POST
@refusals_as_messages(to=_to_credits)
def compensation_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    services.withdraw_compensation(compensation_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("Withdrawn."))
    return redirect("provider_credits")


# ------------------------------------------------------------------------------------------------ revenue
BREAKDOWNS: Final = {
    "offering": gettext_lazy("By offering"),
    "plan": gettext_lazy("By plan"),
    "customer": gettext_lazy("By customer"),
}
MONTHS: Final = {"6": gettext_lazy("6 months"), "12": gettext_lazy("12 months"), "36": gettext_lazy("3 years")}
SERIES_MAX: Final = 8


def months_back(today: date, count: int) -> list[date]:
    """The first days of so many months, the present one last."""
    number = today.year * 12 + today.month - 1
    return [date(n // 12, n % 12 + 1, 1) for n in range(number - count + 1, number + 1)]


def revenue_chart(rows: list[Revenue], months: list[date], currency: str) -> dict[str, Any]:
    """Stacked by month; the largest by name, the others together. For drawing only."""
    totals: dict[tuple[int | None, str], Decimal] = {}
    for one in rows:
        totals[one.key, one.name] = totals.get((one.key, one.name), Decimal(0)) + one.net
    largest = sorted(totals, key=lambda key: (-totals[key], key[1]))[:SERIES_MAX]
    values: dict[Any, list[float]] = {key: [0.0] * len(months) for key in [*largest, None]}
    for one in rows:
        key = (one.key, one.name)
        values[key if key in values else None][months.index(one.month)] += float(one.net)
    series = [{"name": name or _("deductions"), "values": values[key, name]} for key, name in largest]
    if len(totals) > len(largest):
        series.append({"name": _("others"), "values": values[None]})
    return {
        "kind": "stack", "unit": currency, "x": [formats.date_format(m, "YEAR_MONTH_FORMAT") for m in months], "series": series,
    }  # fmt: skip


def provider_revenue(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    sellers = list(lookup.sellers_seen(viewer, at))
    provider = next((one for one in sellers if one.organization.slug == request.GET.get("seller")), None)
    provider = provider or (sellers[0] if sellers else None)
    by = request.GET.get("by", "")
    by = by if by in BREAKDOWNS else "offering"
    span = request.GET.get("months", "")
    span = span if span in MONTHS else "12"
    context: dict[str, Any] = {
        "sellers": sellers, "provider": provider, "by": by, "breakdowns": BREAKDOWNS.items(), "span": span,
        "spans": MONTHS.items(), "heading_of_parts": {"offering": _("Offering"), "plan": _("Plan"), "customer": _("Customer")}[by],
    }  # fmt: skip
    if provider is not None:
        months = months_back(at.date(), int(span))
        found = selectors.revenue(provider=provider, person=viewer, at=at, by=by, start=months[0])
        rows = [one for one in found if one.month in set(months)]
        by_currency: dict[str, list[Revenue]] = {}
        for one in rows:
            by_currency.setdefault(one.currency, []).append(one)
        context["currencies"] = [
            (currency, revenue_chart(own, months, currency), _revenue_table(own))
            for currency, own in by_currency.items()
        ]
    return page(request, "bursar/billing/revenue.html", context)


def _revenue_table(rows: list[Revenue]) -> dict[str, Any]:
    """What each thing came to, the most first: issued, and what is still open."""
    sums: dict[tuple[int | None, str], list[Decimal]] = {}
    for one in rows:
        both = sums.setdefault((one.key, one.name), [Decimal(0), Decimal(0)])
        both[one.is_open] += one.net
    parts = [(name, issued, provisional) for (_key, name), (issued, provisional) in sums.items()]
    parts.sort(key=lambda row: (-(row[1] + row[2]), row[0]))
    return {
        "rows": parts,
        "issued": sum((row[1] for row in parts), Decimal(0)),
        "open": sum((row[2] for row in parts), Decimal(0)),
    }


# ------------------------------------------------------------------------------------------------ who stands on the paper
def provider_seller(request: HttpRequest, slug: str) -> HttpResponse:
    provider = _managed(request, slug)
    viewer, at = viewer_of(request), at_of(request)
    seller = lookup.seller_shown(provider, at)
    form = SellerForm(request.POST or None, instance=seller)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            changes = {name: form.cleaned_data[name] for name in form.Meta.fields}
            services.edit_seller(provider=provider, by=viewer, at=at, **changes)
            messages.success(request, _("Saved."))
            return redirect("provider_seller", slug)
    context = {"provider": provider, "title": _("Billing settings"), "action": _("Save"), "seller": seller}
    return page(request, "bursar/billing/seller.html", context, form=form)


def organization_billing(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = organization_seen(pk, viewer, at)
    require(viewer, Permission.VIEW_BILLING, row, at)
    rows = lookup.owed_by(viewer, at).filter(customer=row)
    context = {
        **scope_page(request, row, "billing"),
        "listing": _listing(request, rows, is_seller=False),
        "costs": selectors.costs_of_organization(organization=row, person=viewer, at=at),
        "credits": list(
            selectors.credits_seen(viewer, at)
            .filter(customer=row, withdrawn_at=None, used__lt=F("amount"))
            .prefetch_related("offerings")
            .order_by("expires_on", "pk")[:50]
        ),
        "buyer": Buyer.objects.filter(organization=row).first(),
        "today": at.date(),
    }
    return page(request, "bursar/billing/organization.html", context)


def buyer_edit(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = organization_seen(pk, viewer, at)
    require(viewer, Permission.EDIT_ORGANIZATION, row, at)
    form = BuyerForm(
        request.POST or None, instance=Buyer.objects.filter(organization=row).first() or Buyer(organization=row)
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_buyer(organization=row, by=viewer, at=at, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("organization_billing", pk)
    return page(request, "bursar/billing/buyer.html", scope_page(request, row, "billing"), form=form)


def tax_rates(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    require(viewer, Permission.READ_PLATFORM, None, at)
    form = TaxRateForm(request.POST or None, initial={"valid_from": at.date()})
    if request.method == "POST":
        require(viewer, Permission.OPERATE_PLATFORM, None, at)
        if form.is_valid():
            with refusals_in(form):
                services.set_tax_rate(by=viewer, at=at, **form.cleaned_data)
                messages.success(request, _("Added. What was issued keeps its tax."))
                return redirect("tax_rates")
    rows = TaxRate.objects.select_related("by").order_by("country", "category", "-valid_from", "-pk")
    listing = Listing(
        request,
        rows,
        label=gettext_lazy("Tax rates"),
        search=("country__iexact", "category__icontains"),
        columns={
            "country": Column(gettext_lazy("Country"), sort="country"),
            "category": Column(gettext_lazy("Category"), sort="category"),
            "percent": Column(gettext_lazy("Rate"), sort="percent", classes="num"),
            "valid_from": Column(gettext_lazy("Valid from"), sort="valid_from"),
            "by": Column(gettext_lazy("By")),
        },
    )
    context = {"listing": listing, "may_add": may(viewer, Permission.OPERATE_PLATFORM, None, at)}
    return page(request, "bursar/billing/tax_rates.html", context, form=form)


# ------------------------------------------------------------------------------------------------ costs of a project
def project_costs(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = project_seen(pk, viewer, at)
    require(viewer, Permission.VIEW_COSTS, row, at)
    lines = lookup.lines_of_project(row, viewer, at)
    listing = Listing(
        request,
        lines,
        label=gettext_lazy("What was billed"),
        search=("resource__name__icontains", "component__title__icontains"),
        columns={
            "month": Column(gettext_lazy("Invoice of")),
            "resource": Column(gettext_lazy("Resource")),
            "what": Column(gettext_lazy("What")),
            "amount": Column(gettext_lazy("Net"), classes="num"),
        },
        filters=(
            Filter(
                "month", gettext_lazy("Any month"),
                [(key, name) for key, name in _months(Invoice.objects.filter(lines__in=lines.order_by()))], "invoice__month",
            ),
        ),
    )  # fmt: skip
    context = {
        **scope_page(request, row, "costs"),
        "costs": selectors.costs_of_project(project=row, person=viewer, at=at),
        "listing": listing,
        "lines": [(named(one), one) for one in listing.rows],
        "is_empty": not listing.rows,
    }
    return page(request, "bursar/billing/project.html", context)


def cost_of(request_viewer: Any, resource: Any, at: Any) -> Cost | None:
    """What a resource costs this month, for its page; None where that is not for the viewer, or there is nothing to say."""
    if not may(request_viewer, Permission.VIEW_COSTS, resource.workspace, at):
        return None
    cost = selectors.cost_of_resource(resource=resource, person=request_viewer, at=at)
    return cost if cost.so_far or cost.expected else None


def _cost_card(costs: list[Cost], url: str) -> Panel | None:
    if not costs:
        return None
    return Panel(
        gettext_lazy("Costs of this month"), "bursar/billing/_costs_panel.html", icon="coin", data=costs, url=url
    )


@card("project", "costs", order=60)
def project_card(viewer: Viewer, project: Project) -> Panel | None:
    assert viewer.person is not None
    if not viewer.may(Permission.VIEW_COSTS, project):
        return None
    costs = selectors.costs_of_project(project=project, person=viewer.person, at=viewer.at)
    return _cost_card(costs, reverse("project_costs", args=[project.pk]))


@card("organization", "costs", order=60)
def organization_card(viewer: Viewer, organization: Organization) -> Panel | None:
    assert viewer.person is not None
    if not viewer.may(Permission.VIEW_BILLING, organization):
        return None
    costs = selectors.costs_of_organization(organization=organization, person=viewer.person, at=viewer.at)
    return _cost_card(costs, reverse("organization_billing", args=[organization.pk]))


urlpatterns = [
    path("invoices/", invoices, name="invoices"),
    path("invoices/export/", invoices_export, name="invoices_export"),
    path("invoices/<int:pk>/", invoice, name="invoice"),
    path("invoices/<int:pk>/download/<slug:form>/", invoice_download, name="invoice_download"),
    path("invoices/<int:pk>/issue/", invoice_issue, name="invoice_issue"),
    path("invoices/<int:pk>/payments/", payment_note, name="payment_note"),
    path("invoices/<int:pk>/payments/<int:payment>/take-back/", payment_take_back, name="payment_take_back"),
    path("invoices/<int:pk>/credit/", credit_note_make, name="credit_note_make"),
    path("invoice-lines/<int:pk>/", invoice_line, name="invoice_line"),
    path("credit-notes/<int:pk>/download/<slug:form>/", credit_note_download, name="credit_note_download"),
    path("provider/invoices/", provider_invoices, name="provider_invoices"),
    path("provider/credits/", provider_credits, name="provider_credits"),
    path("provider/credits/<int:pk>/withdraw/", credit_withdraw, name="credit_withdraw"),
    path("provider/compensations/<int:pk>/withdraw/", compensation_withdraw, name="compensation_withdraw"),
    path("provider/revenue/", provider_revenue, name="provider_revenue"),
    path("providers/<slug:slug>/billing/", provider_seller, name="provider_seller"),
    path("providers/<slug:slug>/refresh-invoices/", provider_refresh, name="provider_refresh"),
    path("providers/<slug:slug>/close-month/", provider_close_month, name="provider_close_month"),
    path("providers/<slug:slug>/credits/new/", credit_give, name="credit_give"),
    path("providers/<slug:slug>/compensations/new/", compensation_make, name="compensation_make"),
    path("organizations/<int:pk>/billing/", organization_billing, name="organization_billing"),
    path("organizations/<int:pk>/billing/address/", buyer_edit, name="buyer_edit"),
    path("projects/<int:pk>/costs/", project_costs, name="project_costs"),
    path("operator/tax-rates/", tax_rates, name="tax_rates"),
]
