"""Who sends invoices, who gets them, and what part of them is tax."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import Min
from django.utils.formats import date_format

from bursar.billing.errors import BillsAlready, FirstMonthNotPossible, TaxCountryMissing, TaxRateNotPossible
from bursar.billing.models import Buyer, Invoice, Seller, TaxRate
from bursar.billing.reckoning import month_of
from bursar.billing.services._common import lock_seller, seller_of, tell, terms_of
from bursar.catalogue.errors import InvalidInput
from bursar.catalogue.models import ServiceProvider
from bursar.catalogue.services._common import check, set_fields
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization, Person
from bursar.structure.roles import Permission, require
from bursar.structure.services.organizations import lock_organization
from bursar.structure.values import clean_country

SELLER_FIELDS: Final = frozenset(
    {
        "legal_name",
        "address",
        "email",
        "bank_account",
        "note",
        "number_prefix",
        "grace_days",
        "due_days",
        "issues_by_itself",
        "bills_from",
    }
)
BUYER_FIELDS: Final = frozenset({"legal_name", "address", "email", "reference"})
DAYS_MAX: Final = 366
MONTHS_AHEAD_MAX: Final = 120


@transaction.atomic
def edit_seller(*, provider: ServiceProvider, by: Person | None, at: datetime, **changes: Any) -> Seller:
    """Change what stands on a seller's invoices and when they are issued; any of SELLER_FIELDS.

    bills_from   a day of the first month that is billed, until a month was closed
    raises       NotAllowed; InvalidInput, BillsAlready, FirstMonthNotPossible
    """
    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    _check_names(changes, SELLER_FIELDS)
    seller = lock_seller(seller_of(provider, at))
    first = changes.pop("bills_from", None)
    changed = set_fields(seller, changes)
    if first is not None:
        changed += _set_first_month(seller, first.replace(day=1), at)
    check(seller)
    errors = {name: str(DAYS_MAX) for name in ("grace_days", "due_days") if not 0 <= getattr(seller, name) <= DAYS_MAX}
    if errors:
        raise InvalidInput.of({name: f"0 – {most}" for name, most in errors.items()})
    if changed:
        seller.save(update_fields=changed)
        tell(
            "seller.edited", seller, customer=provider.organization_id, provider=provider, facts={"fields": changed},
            by=by, at=at,
        )  # fmt: skip
    return seller


def _set_first_month(seller: Seller, first: date, at: datetime) -> list[str]:
    if first == seller.bills_from:
        return []
    issued = Invoice.objects.filter(provider=seller.provider_id).exclude(state=Invoice.State.OPEN)
    if seller.closed_until != seller.bills_from or issued.exists():
        raise BillsAlready(first=seller.bills_from.isoformat())
    earliest, latest = _first_months(seller.provider, at)
    if not earliest <= first <= latest:
        raise FirstMonthNotPossible(
            first=date_format(earliest, "YEAR_MONTH_FORMAT"), last=date_format(latest, "YEAR_MONTH_FORMAT")
        )
    # Provisional invoices of months that are not billed are made no more.
    Invoice.objects.filter(provider=seller.provider_id, month__lt=first, state=Invoice.State.OPEN).delete()
    seller.bills_from = seller.closed_until = first
    return ["bills_from", "closed_until"]


def _first_months(provider: ServiceProvider, at: datetime) -> tuple[date, date]:
    """The first and the last month that may be the first one billed.

    All months from it on are computed each hour until they are closed. None before can have anything on it: nothing is sold
    by who is not authorized. Who was authorized again has sold before, so its oldest resource counts as well.
    """
    terms = terms_of(provider)
    oldest = Resource.objects.filter(offering__provider=provider).aggregate(Min("created_at"))["created_at__min"]
    return (
        terms.month_of(min(provider.authorized_at, oldest or provider.authorized_at)),
        month_of(terms.month_of(at)).plus(MONTHS_AHEAD_MAX).first,
    )


@transaction.atomic
def edit_buyer(*, organization: Organization, by: Person | None, at: datetime, **changes: Any) -> Buyer:
    """Change what stands on the invoices of an organization and where they go; any of BUYER_FIELDS.

    raises   NotAllowed; InvalidInput
    """
    require(by, Permission.EDIT_ORGANIZATION, organization, at)
    _check_names(changes, BUYER_FIELDS)
    lock_organization(organization)
    buyer = Buyer.objects.filter(organization=organization).first() or Buyer(organization=organization)
    changed = set_fields(buyer, changes)
    check(buyer)
    if changed:
        buyer.save()
        tell("buyer.edited", buyer, customer=organization, provider=None, facts={"fields": changed}, by=by, at=at)
    return buyer


@transaction.atomic
def set_tax_rate(
    *, country: str, percent: Decimal, valid_from: date, by: Person | None, at: datetime, category: str = "standard"
) -> TaxRate:
    """Add the rate of a country and category from a day on; of several from one day the last counts.

    What was issued keeps its tax: the new rate counts for what is computed from now on.
    raises   NotAllowed; InvalidValue, TaxCountryMissing, TaxRateNotPossible, InvalidInput
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    country = clean_country(country)
    if not country:
        raise TaxCountryMissing
    exponent = percent.normalize().as_tuple().exponent if percent.is_finite() else None
    if not isinstance(exponent, int) or -exponent > 3 or not 0 <= percent <= 100:
        raise TaxRateNotPossible
    rate = TaxRate(country=country, category=category, percent=percent, valid_from=valid_from, by=by)
    check(rate)
    rate.save()
    tell(
        "tax_rate.set", rate, customer=None, provider=None,
        facts={"country": country, "category": category, "percent": str(percent), "valid_from": valid_from.isoformat()},
        by=by, at=at,
    )  # fmt: skip
    return rate


def _check_names(changes: dict[str, Any], possible: frozenset[str]) -> None:
    unknown = sorted(changes.keys() - possible)
    if unknown:
        raise InvalidInput.of({name: ", ".join(sorted(possible)) for name in unknown})
