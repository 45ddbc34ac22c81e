"""Questions that read, always for a given viewer (None = the system)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum

from bursar.billing.canonical import amount
from bursar.billing.errors import InvoiceNotFound
from bursar.billing.gathering import Gathered, gather
from bursar.billing.models import Compensation, Credit, Invoice, InvoiceLine, Payment, Seller
from bursar.billing.reckoning import Terms, month_of, rate_gathered
from bursar.billing.services._common import terms_of
from bursar.catalogue.models import PlanComponent, ServiceProvider
from bursar.engine.rating.facts import History, StateFact, Used
from bursar.engine.rating.life import Life
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Permission, organizations_where, require, workspaces_where

SECOND: Final = timedelta(seconds=1)
INVOICE_RELATED: Final = ("customer", "provider__organization")


def selling_providers() -> list[ServiceProvider]:
    """Those who sell for money, or are set up to; in the order of their numbers."""
    priced = PlanComponent.objects.filter(plan__offering__provider=OuterRef("pk")).filter(Q(price__gt=0) | ~Q(tiers=[]))
    return list(
        ServiceProvider.objects.filter(Exists(priced) | Exists(Seller.objects.filter(provider=OuterRef("pk"))))
        .select_related("organization")
        .order_by("pk")
    )


# ------------------------------------------------------------------------------------------------ invoices
def invoices_seen(person: Person | None, at: datetime) -> QuerySet[Invoice]:
    """The invoices that a person sees whole: those of organizations whose bills they may see, on either side."""
    rows = Invoice.objects.select_related(*INVOICE_RELATED)
    return rows if person is None else rows.filter(_either_side(person, at))


def find_invoice(*, invoice_id: int, person: Person | None, at: datetime) -> Invoice:
    """raises   InvoiceNotFound"""
    found = invoices_seen(person, at).select_related("cut").filter(pk=invoice_id).first()
    if found is None:
        raise InvoiceNotFound
    return found


def lines_seen(person: Person | None, at: datetime) -> QuerySet[InvoiceLine]:
    """All lines of invoices that are seen whole; of others those of the projects whose costs the person may see."""
    rows = InvoiceLine.objects.select_related("invoice")
    if person is None:
        return rows
    return rows.filter(
        Q(invoice__customer__in=organizations_where(person, Permission.VIEW_BILLING, at))
        | Q(invoice__provider__organization__in=organizations_where(person, Permission.VIEW_REVENUE, at))
        | Q(workspace__in=workspaces_where(person, Permission.VIEW_COSTS, at))
    )


def is_overdue(invoice: Invoice, today: date) -> bool:
    """Whether it should have been paid before today, by the seller's calendar."""
    unpaid = invoice.state in {Invoice.State.ISSUED, Invoice.State.PART_PAID}
    return unpaid and invoice.due_on is not None and invoice.due_on < today


def payments_of(invoice: Invoice) -> QuerySet[Payment]:
    return Payment.objects.filter(invoice=invoice).select_related("prepayment", "by", "takes_back")


# ------------------------------------------------------------------------------------------------ credits
def credits_seen(person: Person | None, at: datetime) -> QuerySet[Credit]:
    """Credits of organizations whose bills the person may see, on either side; `left` is what may still be used."""
    rows = Credit.objects.select_related("provider__organization", "customer", "project").annotate(
        left=F("amount") - F("used")
    )
    return rows if person is None else rows.filter(_either_side(person, at))


def compensations_seen(person: Person | None, at: datetime) -> QuerySet[Compensation]:
    rows = Compensation.objects.select_related("provider__organization", "customer", "workspace", "resource", "invoice")
    return rows if person is None else rows.filter(_either_side(person, at))


def _either_side(person: Person, at: datetime) -> Q:
    """Of what has a customer and a provider: what concerns an organization whose bills, or whose revenue, the person may see."""
    return Q(customer__in=organizations_where(person, Permission.VIEW_BILLING, at)) | Q(
        provider__organization__in=organizations_where(person, Permission.VIEW_REVENUE, at)
    )


# ------------------------------------------------------------------------------------------------ revenue
@dataclass(frozen=True, slots=True)
class Revenue:
    """What came of one thing in one month, net of tax. key, name   empty for what belongs to no offering or plan"""

    key: int | None
    name: str
    month: date
    currency: str
    net: Decimal
    is_open: bool


_REVENUE: Final[Mapping[str, tuple[str, str]]] = {
    "offering": ("resource__offering_id", "resource__offering__name"),
    "plan": ("plan_id", "plan__name"),
    "customer": ("invoice__customer_id", "invoice__customer__name"),
}


def revenue(
    *,
    provider: ServiceProvider,
    person: Person | None,
    at: datetime,
    by: str = "offering",
    start: date | None = None,
    end: date | None = None,
) -> list[Revenue]:
    """What a seller's invoices come to by offering, plan or customer and by month of invoice, credit notes taken off.

    by           offering | plan | customer
    start, end   first days of months: from the one on, up to the other that is not among them
    raises       NotAllowed
    """
    require(person, Permission.VIEW_REVENUE, provider.organization, at)
    key, name = _REVENUE[by]
    lines = InvoiceLine.objects.filter(invoice__provider=provider)
    if start is not None:
        lines = lines.filter(invoice__month__gte=start)
    if end is not None:
        lines = lines.filter(invoice__month__lt=end)
    fields = (key, name, "invoice__month", "invoice__currency", "invoice__state")
    sums: dict[tuple[Any, ...], Decimal] = {}
    for *of, net in lines.order_by().values_list(*fields).annotate(Sum("amount")):
        _add(sums, of, net)
    for *of, net in (
        lines.filter(credited_by__isnull=False).order_by().values_list(*fields).annotate(Sum("credited_by__amount"))
    ):
        _add(sums, of, -net)
    return [
        Revenue(pk, title or "", month, currency, net, is_open)
        for (pk, title, month, currency, is_open), net in sorted(
            sums.items(), key=lambda one: (one[0][2], one[0][1] or "", one[0][0] or 0)
        )
    ]


def _add(sums: dict[tuple[Any, ...], Decimal], of: Sequence[Any], net: Decimal) -> None:
    pk, title, month, currency, state = of
    key = (pk, title, month, currency, state == Invoice.State.OPEN)
    sums[key] = sums.get(key, Decimal(0)) + net


# ------------------------------------------------------------------------------------------------ costs of this month
@dataclass(frozen=True, slots=True)
class Cost:
    """What this month costs at one seller, net of tax, by the seller's calendar.

    so_far     as though everything ended now
    expected   to the end of the month: plans and limits as they are, use going on at its pace of this month
    """

    provider: ServiceProvider
    month: date
    currency: str
    so_far: Decimal
    expected: Decimal


def cost_of_resource(*, resource: Resource, person: Person | None, at: datetime) -> Cost:
    """raises   NotAllowed"""
    require(person, Permission.VIEW_COSTS, resource.workspace, at)
    provider = ServiceProvider.objects.select_related("organization").get(pk=resource.offering.provider_id)
    so_far, expected = _costs(provider, [resource.pk], at)
    terms = terms_of(provider)
    return Cost(
        provider,
        terms.month_of(at),
        terms.currency,
        so_far.get(resource.pk, Decimal(0)),
        expected.get(resource.pk, Decimal(0)),
    )


def costs_of_project(*, project: Project, person: Person | None, at: datetime) -> list[Cost]:
    """What a project costs this month with those below it, by seller.

    raises   NotAllowed
    """
    require(person, Permission.VIEW_COSTS, project, at)
    return costs_of(Resource.objects.filter(workspace__project__path__contains=[project.pk]), at=at)


def costs_of_organization(*, organization: Organization, person: Person | None, at: datetime) -> list[Cost]:
    """What an organization costs this month with all its projects, by seller.

    raises   NotAllowed
    """
    require(person, Permission.VIEW_BILLING, organization, at)
    own = Q(workspace__organization=organization) | Q(workspace__project__organization=organization)
    return costs_of(Resource.objects.filter(own), at=at)


def costs_of(resources: QuerySet[Resource], *, at: datetime) -> list[Cost]:
    """What resources cost this month, by seller; some queries for each seller. For those who asked whether it may be seen."""
    by_provider: dict[int, list[int]] = {}
    for pk, provider in resources.order_by("pk").values_list("pk", "offering__provider_id"):
        by_provider.setdefault(provider, []).append(pk)
    providers = ServiceProvider.objects.select_related("organization").in_bulk(by_provider)
    found = []
    for pk, ids in sorted(by_provider.items()):
        terms = terms_of(providers[pk])
        so_far, expected = _costs(providers[pk], ids, at)
        found.append(
            Cost(
                providers[pk],
                terms.month_of(at),
                terms.currency,
                sum(so_far.values(), Decimal(0)),
                sum(expected.values(), Decimal(0)),
            )
        )
    return [one for one in found if one.so_far or one.expected]


def _costs(
    provider: ServiceProvider, resources: Collection[int], at: datetime
) -> tuple[dict[int, Decimal], dict[int, Decimal]]:
    """By resource: what it costs so far this month, and what by its end."""
    terms = terms_of(provider)
    month = terms.month_of(at)
    found = gather(provider_id=provider.pk, month=month_of(month), zone=terms.zone, cut=None, resources=resources)
    start, end = terms.start(month), month_of(month).end(terms.zone)
    until_now = {pk: _ended(history, at) for pk, history in found.histories.items()}
    going_on = {pk: _at_this_pace(history, start, at, end) for pk, history in found.histories.items()}
    return _sums(terms, month, found, until_now), _sums(terms, month, found, going_on)


def _sums(terms: Terms, month: date, found: Gathered, histories: dict[int, History]) -> dict[int, Decimal]:
    rated = rate_gathered(terms, month, Gathered(found.subjects, histories, found.offers))
    sums: dict[int, int] = {}
    for items in rated.by_customer.values():
        for item in items:
            assert item.resource is not None
            sums[item.resource] = sums.get(item.resource, 0) + item.minor
    return {resource: amount(value, terms.digits) for resource, value in sums.items()}


def _ended(history: History, at: datetime) -> History:
    """As though it ended now, where it exists."""
    if not Life(history).exists_at(at):
        return history
    number = max((fact.number for fact in history.states), default=0) + 1
    states = (*(one for one in history.states if one.at <= at), StateFact(number, at, "terminating"))
    return replace(history, states=states)


def _at_this_pace(history: History, start: datetime, at: datetime, end: datetime) -> History:
    """With as much use until the month's end as there was on average since it began, or since the resource exists."""
    if not history.used or not Life(history).exists_at(at):
        return history
    began = min((fact.at for fact in history.states if fact.state == "ok"), default=start)
    elapsed, ahead = at - max(start, began), end - at
    if elapsed.total_seconds() <= 0:
        return history
    pace = Fraction(ahead // SECOND, max(1, elapsed // SECOND))
    by_component: dict[int, Fraction] = {}
    for one in history.used:
        by_component[one.component] = by_component.get(one.component, Fraction(0)) + one.quantity
    more = tuple(Used(at, component, quantity * pace) for component, quantity in sorted(by_component.items()))
    return replace(history, used=(*history.used, *more))
