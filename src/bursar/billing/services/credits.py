"""Money that a customer has with a seller, and what it pays less for a reason."""

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F

from bursar.billing.errors import (
    CompensationNotFound,
    CompensationSettled,
    CreditNotFound,
    CurrencyOfSeller,
    ExpiredAlready,
    NothingLeftOfCredit,
    NotOfCustomer,
    NotOfSeller,
)
from bursar.billing.models import Compensation, Credit
from bursar.billing.services._common import check_amount, seller_of, tell, today_of
from bursar.catalogue.errors import InvalidInput
from bursar.catalogue.models import Offering, ServiceProvider
from bursar.kernel.money import Money
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, may, require
from bursar.structure.text import clean_line


@transaction.atomic
def give_credit(
    *,
    provider: ServiceProvider,
    customer: Organization,
    kind: str,
    amount: Decimal,
    by: Person | None,
    at: datetime,
    currency: str = "",
    project: Project | None = None,
    offerings: Collection[Offering] = (),
    expires_on: date | None = None,
    reason: str = "",
) -> Credit:
    """Grant a customer a credit (it lowers the net of what it is for), or note what it paid ahead.

    currency     "" = the seller's
    project      for what is ordered by it only; None = by anybody of the customer
    offerings    for these only; none = for all of the seller's
    expires_on   the last day on which an invoice may be issued that uses it; None = no last day
    raises       NotAllowed; InvalidInput, AmountNotPositive, AmountNotInCurrency, CurrencyOfSeller, NotOfCustomer,
                 NotOfSeller, ExpiredAlready; TextTooLong, TextNotAllowed
    """
    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    _check_currency(provider, currency)
    amount = check_amount(amount, provider.organization.currency)
    if kind not in Credit.Kind.values:
        raise InvalidInput.of({"kind": ", ".join(Credit.Kind.values)})
    if project is not None and project.organization_id != customer.pk:
        raise NotOfCustomer(what=project.name, customer=customer.name, field="project")
    for offering in offerings:
        if offering.provider_id != provider.pk:
            raise NotOfSeller(what=offering.name, seller=provider.organization.name, field="offerings")
    if expires_on is not None and expires_on < today_of(provider, at):
        raise ExpiredAlready
    seller_of(provider, at)
    credit = Credit.objects.create(
        provider=provider,
        customer=customer,
        project=project,
        kind=kind,
        currency=provider.organization.currency,
        amount=amount,
        expires_on=expires_on,
        reason=clean_line(reason, field="reason", limit=500, required=False),
        by=by,
        granted_at=at,
    )
    credit.offerings.set(offerings)
    _tell_of_credit("credit.given", credit, amount, by=by, at=at)
    return credit


@transaction.atomic
def withdraw_credit(*, credit_id: int, by: Person | None, at: datetime) -> Credit:
    """Take back what is left of a credit; what was used stays used.

    raises   CreditNotFound; NotAllowed; NothingLeftOfCredit
    """
    credit = (
        Credit.objects.select_for_update(of=("self",))
        .select_related("provider__organization", "customer")
        .filter(pk=credit_id)
        .first()
    )
    if credit is None or not _sees(credit, by, at):
        raise CreditNotFound
    require(by, Permission.MANAGE_INVOICES, credit.provider.organization, at)
    left = credit.amount - credit.used
    if credit.withdrawn_at is not None or left <= 0:
        raise NothingLeftOfCredit
    credit.withdrawn_at = at
    credit.save(update_fields=["withdrawn_at"])
    _tell_of_credit("credit.withdrawn", credit, left, by=by, at=at)
    return credit


@transaction.atomic
def compensate(
    *,
    provider: ServiceProvider,
    customer: Organization,
    amount: Decimal,
    reason: str,
    by: Person | None,
    at: datetime,
    currency: str = "",
    workspace: Workspace | None = None,
    resource: Resource | None = None,
    tax_category: str = "standard",
) -> Compensation:
    """Let a customer pay less, with a reason: a negative line on the next invoice that has something on it.

    amount     before tax
    resource   for which it is given; its workspace is that of the line then
    raises     NotAllowed; AmountNotPositive, AmountNotInCurrency, CurrencyOfSeller, NotOfCustomer, NotOfSeller; TextMissing,
               TextTooLong, TextNotAllowed
    """
    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    _check_currency(provider, currency)
    amount = check_amount(amount, provider.organization.currency)
    if resource is not None:
        if resource.offering.provider_id != provider.pk:
            raise NotOfSeller(what=resource.name, seller=provider.organization.name, field="resource")
        workspace = resource.workspace
    if workspace is not None and _payer(workspace) != customer.pk:
        raise NotOfCustomer(what=str(workspace), customer=customer.name, field="workspace")
    seller_of(provider, at)
    compensation = Compensation.objects.create(
        provider=provider,
        customer=customer,
        workspace=workspace,
        resource=resource,
        currency=provider.organization.currency,
        amount=amount,
        tax_category=clean_line(tax_category, field="tax_category", limit=40),
        reason=clean_line(reason, field="reason", limit=500),
        by=by,
        made_at=at,
    )
    _tell_of_compensation("compensation.made", compensation, by=by, at=at)
    return compensation


@transaction.atomic
def withdraw_compensation(*, compensation_id: int, by: Person | None, at: datetime) -> Compensation:
    """raises   CompensationNotFound; NotAllowed; CompensationSettled"""
    row = (
        Compensation.objects.select_for_update(of=("self",))
        .select_related("provider__organization", "customer")
        .filter(pk=compensation_id)
        .first()
    )
    if row is None or not _sees(row, by, at):
        raise CompensationNotFound
    require(by, Permission.MANAGE_INVOICES, row.provider.organization, at)
    if row.invoice_id is not None or row.withdrawn_at is not None:
        raise CompensationSettled
    row.withdrawn_at = at
    row.save(update_fields=["withdrawn_at"])
    _tell_of_compensation("compensation.withdrawn", row, by=by, at=at)
    return row


def give_back(used: dict[int, Decimal]) -> None:
    """What an invoice used of granted credits is there again, because the invoice was taken back. credit -> how much"""
    for credit, value in sorted(used.items()):
        Credit.objects.filter(pk=credit).update(used=F("used") - value)


def _payer(workspace: Workspace) -> int | None:
    return workspace.project.organization_id if workspace.project else workspace.organization_id


def _check_currency(provider: ServiceProvider, currency: str) -> None:
    own = provider.organization.currency
    if currency and currency != own:
        raise CurrencyOfSeller(seller=provider.organization.name, currency=own)


def _sees(row: Credit | Compensation, by: Person | None, at: datetime) -> bool:
    return may(by, Permission.VIEW_REVENUE, row.provider.organization, at) or may(
        by, Permission.VIEW_BILLING, row.customer, at
    )


def _tell_of_credit(kind: str, credit: Credit, amount: Decimal, *, by: Person | None, at: datetime) -> None:
    plain = Money.rounded(amount, credit.currency).plain
    tell(
        kind, credit, customer=credit.customer_id, provider=credit.provider, project_id=credit.project_id,
        facts={"kind": credit.kind, "amount": plain, "currency": credit.currency}, by=by, at=at,
    )  # fmt: skip


def _tell_of_compensation(kind: str, row: Compensation, *, by: Person | None, at: datetime) -> None:
    plain = Money.rounded(row.amount, row.currency).plain
    tell(
        kind, row, customer=row.customer_id, provider=row.provider,
        facts={"amount": plain, "currency": row.currency, "reason": row.reason}, by=by, at=at,
    )  # fmt: skip
