"""What part of a line goes to the tax office, and why nothing does."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from stdnum.eu import vat

from bursar.billing.models import Buyer, Seller, TaxRate
from bursar.structure.models import Organization

SAME_ORGANIZATION: Final = "same_organization"
REVERSE_CHARGE: Final = "reverse_charge"
NO_RATE: Final = "no_rate"
NOTHING: Final = Decimal("0.000")


class Taxed(NamedTuple):
    """per cent of the net, with the code of why it is none; "" = it is the rate"""

    percent: Decimal
    note: str


class Rates:
    """The rates of a country that were known at a cut."""

    def __init__(self, country: str, last: int | None) -> None:
        rows = TaxRate.objects.filter(country=country)
        if last is not None:
            rows = rows.filter(pk__lte=last)
        self._rows: dict[str, list[tuple[date, Decimal]]] = {}
        for category, valid_from, percent in rows.order_by("valid_from", "pk").values_list(
            "category", "valid_from", "percent"
        ):
            self._rows.setdefault(category, []).append((valid_from, percent))

    def of(self, category: str, last_day: date) -> Decimal | None:
        """The rate in force on the last day of a month; of several from one day the one written last."""
        valid = [percent for valid_from, percent in self._rows.get(category, ()) if valid_from <= last_day]
        return valid[-1] if valid else None


def taxed(parties: Mapping[str, Any], rates: Rates, category: str, last_day: date) -> Taxed:
    """How a line is taxed between two parties as they stand on the invoice."""
    seller, buyer = parties["seller"], parties["buyer"]
    if seller["organization"] == buyer["organization"]:
        return Taxed(NOTHING, SAME_ORGANIZATION)
    if _is_reverse_charge(seller, buyer):
        return Taxed(NOTHING, REVERSE_CHARGE)
    percent = rates.of(category, last_day)
    return Taxed(NOTHING, NO_RATE) if percent is None else Taxed(percent, "")


def _is_reverse_charge(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> bool:
    """Both are known to the tax offices of different countries of the European Union."""
    countries = {seller["country"].lower(), buyer["country"].lower()}
    return len(countries) == 2 and countries <= vat.MEMBER_STATES and _is_known(seller) and _is_known(buyer)


def _is_known(party: Mapping[str, Any]) -> bool:
    number = party["vat_number"]
    if not number:
        return False
    return bool(vat.is_valid(number) or vat.is_valid(party["country"] + number))


def parties_of(
    seller: Seller, organization: Organization, customer: Organization, buyer: Buyer | None
) -> dict[str, Any]:
    """Both parties as they are now, as an invoice keeps them. organization   the seller's"""
    return {
        "seller": {
            "organization": organization.pk,
            "name": seller.legal_name or organization.name,
            "address": seller.address,
            "country": organization.country,
            "vat_number": organization.vat_number,
            "email": seller.email,
            "bank_account": seller.bank_account,
            "note": seller.note,
        },
        "buyer": {
            "organization": customer.pk,
            "name": (buyer.legal_name if buyer else "") or customer.name,
            "address": buyer.address if buyer else "",
            "country": customer.country,
            "vat_number": customer.vat_number,
            "email": buyer.email if buyer else "",
            "reference": buyer.reference if buyer else "",
        },
    }
