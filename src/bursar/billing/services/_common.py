"""What the services of billing share: locking in one order (seller, invoice, credits), amounts, telling of events."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from bursar.billing.errors import (
    AmountNotInCurrency,
    AmountNotPositive,
    InvoiceNotFound,
    InvoiceStillOpen,
)
from bursar.billing.models import Invoice, Seller
from bursar.billing.reckoning import Terms
from bursar.catalogue.models import ServiceProvider
from bursar.events.services import Happening, record
from bursar.kernel.money import minor_digits
from bursar.structure.models import Organization, Person
from bursar.structure.roles import Permission, may, require

INVOICE_RELATED: Final = ("provider__organization", "customer")
WHOLE_DIGITS_MAX: Final = 10  # what a unit price can hold


def terms_of(provider: ServiceProvider) -> Terms:
    """By what the months of a seller are counted now."""
    organization = provider.organization
    return Terms(
        provider.pk, organization.currency, minor_digits(organization.currency), ZoneInfo(organization.time_zone)
    )


def terms_of_invoice(invoice: Invoice) -> Terms:
    return Terms(invoice.provider_id, invoice.currency, minor_digits(invoice.currency), ZoneInfo(invoice.time_zone))


def today_of(provider: ServiceProvider, at: datetime) -> date:
    """The seller's day at an instant."""
    return at.astimezone(ZoneInfo(provider.organization.time_zone)).date()


def seller_of(provider: ServiceProvider, at: datetime) -> Seller:
    """The provider as a seller; it bills from the month on in which it is first looked at."""
    seller = Seller.objects.select_related("provider__organization", "closed_cut").filter(provider=provider).first()
    if seller is None:
        month = today_of(provider, at).replace(day=1)
        Seller.objects.bulk_create(
            [Seller(provider=provider, bills_from=month, closed_until=month)], ignore_conflicts=True
        )
        seller = Seller.objects.select_related("provider__organization", "closed_cut").get(provider=provider)
    return seller


def lock_seller(seller: Seller) -> Seller:
    """The seller as it stands now, locked: numbers are given, and lines are written, by one at a time."""
    return (
        Seller.objects.select_for_update(of=("self",))
        .select_related("provider__organization", "closed_cut")
        .get(pk=seller.pk)
    )


def lock_invoice(invoice_id: int, by: Person | None, at: datetime, *, issued: bool = True) -> Invoice:
    """The invoice, locked, for one who manages the seller's invoices.

    raises   InvoiceNotFound, also for whoever may not see it; NotAllowed; InvoiceStillOpen
    """
    row = Invoice.objects.select_for_update(of=("self",)).select_related(*INVOICE_RELATED).filter(pk=invoice_id).first()
    if row is None or not _sees(row, by, at):
        raise InvoiceNotFound
    require(by, Permission.MANAGE_INVOICES, row.provider.organization, at)
    if issued and row.state == Invoice.State.OPEN:
        raise InvoiceStillOpen
    return row


def _sees(invoice: Invoice, by: Person | None, at: datetime) -> bool:
    return may(by, Permission.VIEW_REVENUE, invoice.provider.organization, at) or may(
        by, Permission.VIEW_BILLING, invoice.customer, at
    )


def check_amount(value: Decimal, currency: str) -> Decimal:
    """A sum of money as somebody states it.

    raises   AmountNotPositive, AmountNotInCurrency
    """
    digits = minor_digits(currency)
    if not value.is_finite() or value >= 10**WHOLE_DIGITS_MAX:
        raise AmountNotInCurrency(currency=currency, digits=digits, whole=WHOLE_DIGITS_MAX)
    if value <= 0:
        raise AmountNotPositive
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        raise AmountNotInCurrency(currency=currency, digits=digits, whole=WHOLE_DIGITS_MAX)
    return value.quantize(Decimal(1).scaleb(-digits))


def due_of(invoice: Invoice) -> Decimal:
    """What is still to be paid of an issued invoice."""
    return invoice.total - invoice.paid - invoice.credited


def state_of(invoice: Invoice) -> str:
    """The state that follows from what was paid and credited."""
    states = Invoice.State
    if invoice.credited and invoice.credited >= invoice.total:
        return states.CREDITED
    if due_of(invoice) <= 0:
        return states.PAID
    return states.PART_PAID if invoice.paid > 0 else states.ISSUED


def happening(
    kind: str,
    subject: Any,
    *,
    customer: Organization | int | None,
    provider: ServiceProvider | None,
    project_id: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Happening:
    """An event that both the customer's side and the seller's find."""
    return Happening(
        kind=kind,
        subject_type=subject._meta.model_name,
        subject_id=subject.pk,
        facts=facts or {},
        organization_id=customer.pk if isinstance(customer, Organization) else customer,
        project_id=project_id,
        provider_id=None if provider is None else provider.organization_id,
    )


def tell(kind: str, subject: Any, *, by: Person | None, at: datetime, **more: Any) -> None:
    record(happening(kind, subject, **more), by_id=None if by is None else by.pk, at=at)
