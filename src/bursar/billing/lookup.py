"""What pages and API look up for a viewer: the two sides of invoices, their documents, and the usage behind a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from operator import or_
from zoneinfo import ZoneInfo

from django.db.models import Count, DateField, DateTimeField, F, Func, Q, QuerySet, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce

from bursar.billing.documents import LINE_JOINS, Document, Party, amount_due, day_of, document_of
from bursar.billing.errors import InvoiceNotFound, SpanNotPossible
from bursar.billing.gathering import LEAD, stretches_of
from bursar.billing.models import Closing, CreditNote, Invoice, InvoiceLine, Seller
from bursar.billing.reckoning import month_of, next_month
from bursar.billing.selectors import find_invoice, invoices_seen, is_overdue, lines_seen
from bursar.billing.services._common import terms_of
from bursar.billing.services.closings import is_silent
from bursar.catalogue.errors import ProviderNotFound
from bursar.catalogue.models import Component, ServiceProvider
from bursar.metering.models import UsageReport
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Permission, organizations_where, require


# ------------------------------------------------------------------------------------------------ the two sides
def owed_by(viewer: Person, at: datetime) -> QuerySet[Invoice]:
    """Invoices of the organizations whose bills the viewer may see, the newest first."""
    return (
        invoices_seen(viewer, at)
        .filter(customer__in=organizations_where(viewer, Permission.VIEW_BILLING, at))
        .order_by("-month", "-pk")
    )


def owed_to(viewer: Person, at: datetime) -> QuerySet[Invoice]:
    """Invoices of the sellers whose revenue the viewer may see, the newest first."""
    return (
        invoices_seen(viewer, at)
        .filter(provider__organization__in=organizations_where(viewer, Permission.VIEW_REVENUE, at))
        .order_by("-month", "-pk")
    )


def of_side(side: str, viewer: Person, at: datetime) -> QuerySet[Invoice]:
    """Invoices owed by the viewer's organizations ("customer"), or to them ("seller"); both where that is not said."""
    if side == "customer":
        return owed_by(viewer, at)
    return owed_to(viewer, at) if side == "seller" else invoices_seen(viewer, at).order_by("-month", "-pk")


def of_span(
    rows: QuerySet[Invoice], *, month: date | None = None, first: date | None = None, last: date | None = None
) -> QuerySet[Invoice]:
    """Those issued of a month, or of all months from one to another, in the order in which they stand in an export.

    raises   SpanNotPossible
    """
    if month is not None:
        if first is not None or last is not None:
            raise SpanNotPossible
        first = last = month
    if first is None or last is None or first > last:
        raise SpanNotPossible
    return (
        rows.exclude(state=Invoice.State.OPEN)
        .filter(month__gte=first.replace(day=1), month__lte=last)
        .order_by("provider_id", "number")
    )


def with_state(rows: QuerySet[Invoice], state: str, at: datetime) -> QuerySet[Invoice]:
    """Those in a state; "overdue" = those that should have been paid before today, "unpaid" = on which something is due."""
    unpaid = Q(state__in=(Invoice.State.ISSUED, Invoice.State.PART_PAID))
    if state == "overdue":
        return rows.filter(unpaid, due_on__lt=_today(at))
    return rows.filter(unpaid) if state == "unpaid" else rows.filter(state=state)


def _today(at: datetime) -> Cast:
    """The day that it is now, by the calendar of the seller of each row."""
    there = Func(
        F("time_zone"), Value(at, output_field=DateTimeField()), function="timezone", output_field=DateTimeField()
    )
    return Cast(there, DateField())


def is_due_and_late(invoice: Invoice, at: datetime) -> bool:
    return is_overdue(invoice, day_of(at, invoice))


def sellers_seen(
    viewer: Person, at: datetime, permission: Permission = Permission.VIEW_REVENUE
) -> QuerySet[ServiceProvider]:
    return (
        ServiceProvider.objects.filter(organization__in=organizations_where(viewer, permission, at))
        .select_related("organization")
        .order_by("organization__name", "pk")
    )


def seller_seen(viewer: Person, at: datetime, *, pk: int | None = None, slug: str = "") -> ServiceProvider:
    """By its number, or by its short name.

    raises   ProviderNotFound
    """
    rows = sellers_seen(viewer, at)
    found = rows.filter(organization__slug=slug).first() if slug else rows.filter(pk=pk or 0).first()
    if found is None:
        raise ProviderNotFound
    return found


def seller_shown(provider: ServiceProvider, at: datetime) -> Seller:
    """How a provider sends invoices; where that was never said, what would be if it were left as it is. Writes nothing."""
    found = Seller.objects.filter(provider=provider).first()
    first = terms_of(provider).month_of(at)
    return found or Seller(provider=provider, bills_from=first, closed_until=first)


@dataclass(frozen=True, slots=True)
class Closable:
    """The oldest month of a seller that is not closed, as its page shows it.

    over_from   the first day after it, by the seller's calendar: from then on it can be closed
    grace_to    the last day on which what is told late still comes onto its own invoices
    count       how many invoices would be issued, as they were computed last
    newer       how many months after it are over as well, and wait for it
    closing     what was asked for last, and came of it
    """

    provider: ServiceProvider
    month: date
    over_from: date
    grace_to: date
    count: int
    newer: int
    closing: Closing | None
    is_over: bool
    in_grace: bool
    is_running: bool
    is_silent: bool


def closable(providers: Sequence[ServiceProvider], at: datetime) -> list[Closable]:
    """For those who manage these sellers' invoices. Three queries, however many there are."""
    sellers = {one.provider_id: one for one in Seller.objects.filter(provider__in=providers)}
    rows = Invoice.objects.filter(provider__in=providers, state=Invoice.State.OPEN).order_by()
    counts = {
        (provider, month): count
        for provider, month, count in rows.values_list("provider", "month").annotate(Count("pk"))
    }
    asked = Closing.objects.filter(provider__in=providers).order_by("provider", "-asked_at", "-pk").distinct("provider")
    closings = {one.provider_id: one for one in asked}
    found = []
    for provider in providers:
        terms = terms_of(provider)
        now, today = terms.month_of(at), at.astimezone(terms.zone).date()
        seller = sellers.get(provider.pk) or Seller(provider=provider, bills_from=now, closed_until=now)
        month, over_from = seller.closed_until, next_month(seller.closed_until)
        grace_to = over_from + timedelta(days=seller.grace_days - 1)
        closing = closings.get(provider.pk)
        silent = closing is not None and is_silent(closing, at)
        found.append(
            Closable(
                provider=provider,
                month=month,
                over_from=over_from,
                grace_to=grace_to,
                count=counts.get((provider.pk, month), 0),
                newer=max((now.year - over_from.year) * 12 + now.month - over_from.month, 0),
                closing=closing,
                is_over=today >= over_from,
                in_grace=over_from <= today <= grace_to,
                is_running=closing is not None and closing.ended_at is None and not silent,
                is_silent=silent,
            )
        )
    return found


def customers_of(provider: ServiceProvider) -> QuerySet[Organization]:
    """Organizations that have, or had, something of a provider or money with it."""
    own = Q(workspace__resources__offering__provider=provider) | Q(
        projects__workspace__resources__offering__provider=provider
    )
    known = Organization.objects.filter(own | Q(invoices__provider=provider) | Q(credits__provider=provider))
    return Organization.objects.filter(pk__in=known.values("pk")).order_by("name", "pk")


# ------------------------------------------------------------------------------------------------ papers
def document_seen(
    invoice_id: int, viewer: Person, at: datetime, lines: Sequence[InvoiceLine] | None = None
) -> Document:
    """lines   None = all; () where they come in pages

    raises   InvoiceNotFound
    """
    return document_of(find_invoice(invoice_id=invoice_id, person=viewer, at=at), lines)


def bare_document(invoice: Invoice) -> Document:
    """An invoice without what stands on it, for one line of it: its currency and its month. Reads nothing."""
    nobody = Party("")
    return Document(
        invoice=invoice, credit_note=None, seller=nobody, buyer=nobody, lines=(), taxes=(), net=invoice.net, tax=invoice.tax,
        total=invoice.total, due=amount_due(invoice), payments=(), credit_notes=(),
    )  # fmt: skip


def lines_of(invoice: Invoice) -> QuerySet[InvoiceLine]:
    """For those who see the invoice whole."""
    return InvoiceLine.objects.filter(invoice=invoice).select_related(*LINE_JOINS).order_by("position", "id")


def credit_notes_seen(viewer: Person, at: datetime) -> QuerySet[CreditNote]:
    return CreditNote.objects.filter(invoice__in=invoices_seen(viewer, at).order_by().values("pk")).select_related(
        "invoice__customer", "invoice__provider__organization"
    )


def credit_note_seen(pk: int, viewer: Person, at: datetime) -> CreditNote:
    """raises   InvoiceNotFound"""
    found = credit_notes_seen(viewer, at).filter(pk=pk).first()
    if found is None:
        raise InvoiceNotFound
    return found


def line_seen(pk: int, viewer: Person, at: datetime) -> InvoiceLine:
    """A line that the viewer may see, of an invoice seen whole or of a project whose costs they may see.

    raises   InvoiceNotFound
    """
    found = (
        lines_seen(viewer, at).filter(pk=pk).select_related("invoice__customer", "invoice__cut", *LINE_JOINS).first()
    )
    if found is None:
        raise InvoiceNotFound
    return found


def lines_of_project(project: Project, viewer: Person, at: datetime) -> QuerySet[InvoiceLine]:
    """What a project and those below it were billed, the newest first.

    raises   NotAllowed
    """
    require(viewer, Permission.VIEW_COSTS, project, at)
    return (
        InvoiceLine.objects.filter(workspace__project__path__contains=[project.pk])
        .select_related("invoice__provider__organization", *LINE_JOINS)
        .order_by("-invoice__month", "workspace_id", "resource_id", "invoice_id", "position")
    )


# ------------------------------------------------------------------------------------------------ behind a line
def usage_behind(line: InvoiceLine) -> QuerySet[UsageReport]:
    """The reports of the line's month that its component was billed by, corrections included, as far as they were known when
    it was computed. Empty for what is not billed by use.

    Where plan or price changed within the month, only those of the parts of it in which the line's plan and price were in
    force.
    """
    component, invoice = line.component, line.invoice
    if component is None or component.billing != Component.Billing.USAGE or component.category_id is None:
        return UsageReport.objects.none()
    zone = ZoneInfo(invoice.time_zone)
    start, end = (datetime(month.year, month.month, 1, tzinfo=zone) for month in (line.month, next_month(line.month)))
    rows = UsageReport.objects.filter(
        category_id=component.category_id,
        resource_id=line.resource_id,
        recorded_at__gte=start - LEAD,
        used_at__gte=start,
        used_at__lt=end,
    ).exclude(posted_ticks=0)
    if invoice.cut is not None:
        rows = rows.filter(operation_id__lte=invoice.cut.operations.get(str(component.category_id), 0))
    of_one_category = Component.objects.filter(
        offering=component.offering_id, category=component.category_id, billing=Component.Billing.USAGE
    )
    if of_one_category.count() > 1:
        told = Func(F("scope"), Value(" "), Value(3), function="split_part")
        rows = rows.annotate(of_component=Coalesce(KeyTextTransform("component", "labels"), told)).filter(
            of_component=component.key
        )
    if line.resource is not None:
        parts = stretches_of(
            resource=line.resource.pk, offering=line.resource.offering_id, component=component.pk, month=month_of(line.month),
            zone=zone, cut=invoice.cut,
        )  # fmt: skip
        if len(parts) > 1:
            own = [part for part in parts if (part.plan, part.version) == (line.plan_id, line.price_id)]
            rows = rows.filter(reduce(or_, (Q(used_at__gte=a, used_at__lt=b) for a, b, *_ in own), Q(pk__in=())))
    return rows.order_by("used_at", "id")
