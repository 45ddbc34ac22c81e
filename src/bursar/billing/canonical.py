"""The document of an invoice, whose bytes are the same whenever it is computed from the same facts."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Protocol

from bursar.billing.models import Invoice, InvoiceLine
from bursar.engine.rating.exact import text
from bursar.engine.rating.totals import Rate
from bursar.kernel.money import plain

VERSION: Final = 1


@dataclass(slots=True)
class Item:
    """A line on its way into an invoice.

    minor   the amount in whole minor units of the currency
    basis   how the quantity came about, as JSON
    """

    kind: str
    month: date
    quantity: Fraction
    unit_price: Fraction
    minor: int
    tax_category: str
    workspace: int | None = None
    offering: int | None = None
    resource: int | None = None
    component: int | None = None
    plan: int | None = None
    price: int | None = None
    compensation: int | None = None
    credit: int | None = None
    percent: Decimal = Decimal(0)
    note: str = ""
    basis: str = "{}"

    @property
    def group(self) -> tuple[str, Decimal, str]:
        """What it is taxed together with."""
        return (self.tax_category, self.percent, self.note)


class Summary(Protocol):
    """What stands under the lines, in whole minor units; taxes by (category, per cent, note), net of them, and tax."""

    @property
    def net(self) -> int: ...
    @property
    def tax(self) -> int: ...
    @property
    def taxes(self) -> Iterable[tuple[Rate, int, int]]: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A summary as it is kept."""

    net: int
    tax: int
    taxes: tuple[tuple[Rate, int, int], ...]


def document(invoice: Invoice, parties: Mapping[str, Any], items: Iterable[Item], sums: Summary, digits: int) -> bytes:
    """Ids, exact quantities, prices, amounts, taxes and the parties; no names of things, which may change.

    The number and the day of issue are not in it: they follow from the issuing, and not from facts.
    """
    told = {
        "version": VERSION,
        "customer": invoice.customer_id,
        "provider": invoice.provider_id,
        "currency": invoice.currency,
        "month": invoice.month.isoformat(),
        "time_zone": invoice.time_zone,
        "parties": parties,
        "lines": [_line(item, digits) for item in items],
        "taxes": [
            [category, text(percent), note, money(net, digits), money(tax, digits)]
            for (category, percent, note), net, tax in sorted(sums.taxes)
        ],
        "net": money(sums.net, digits),
        "tax": money(sums.tax, digits),
        "total": money(sums.net + sums.tax, digits),
    }
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _line(item: Item, digits: int) -> list[Any]:
    return [
        item.kind,
        item.month.isoformat(),
        item.workspace,
        item.resource,
        item.component,
        item.plan,
        item.price,
        item.compensation,
        item.credit,
        text(item.quantity),
        text(item.unit_price),
        money(item.minor, digits),
        item.tax_category,
        plain(item.percent),
        item.note,
    ]


def money(minor: int, digits: int) -> str:
    """Whole minor units as a text with all decimals of the currency."""
    return f"{Decimal(minor).scaleb(-digits):f}"


def amount(minor: int, digits: int) -> Decimal:
    return Decimal(minor).scaleb(-digits)


def minor(value: Decimal, digits: int) -> int:
    """The other way; the value has no more decimals than the currency."""
    return int(value.scaleb(digits))


def items_of(lines: Iterable[InvoiceLine], digits: int) -> list[Item]:
    """The lines of an invoice as they are kept."""
    return [
        Item(
            kind=line.kind,
            month=line.month,
            quantity=exact_quantity(line),
            unit_price=Fraction(line.unit_price),
            minor=minor(line.amount, digits),
            tax_category=line.tax_category,
            workspace=line.workspace_id,
            resource=line.resource_id,
            component=line.component_id,
            plan=line.plan_id,
            price=line.price_id,
            compensation=line.compensation_id,
            credit=line.credit_id,
            percent=line.tax_percent,
            note=line.tax_note,
        )
        for line in lines
    ]


def exact_quantity(line: InvoiceLine) -> Fraction:
    return Fraction(str(line.basis.get("quantity", line.quantity)))
