"""Invoices in the common form of cost and usage of the FinOps tools.

source   FOCUS, the FinOps Open Cost and Usage Specification, 1.0, with InvoiceId of 1.2; columns beginning with x_ are ours

The sum of BilledCost over the rows of an invoice is its total: each tax is a row of its own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from bursar.billing.documents import Document, Line, Tax
from bursar.billing.models import Invoice, InvoiceLine
from bursar.billing.reckoning import last_day
from bursar.catalogue.models import Component, ProductType
from bursar.kernel import sheet
from bursar.kernel.money import plain

COLUMNS: Final = (
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuer",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "Provider",
    "Publisher",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_Component",
    "x_CreditNoteId",
    "x_ExactQuantity",
    "x_InvoiceState",
    "x_LineKind",
    "x_Plan",
    "x_TaxCategory",
    "x_TaxNote",
    "x_TaxPercent",
)

_SERVICE: Final[Mapping[str, str]] = {
    ProductType.COMPUTE: "Compute",
    ProductType.STORAGE: "Storage",
    ProductType.PUBLIC_LINK: "Networking",
    ProductType.NETWORK_IP: "Networking",
}
_OTHER: Final = "Other"
_Billing = Component.Billing
_Kind = InvoiceLine.Kind


def focus_csv(documents: Iterable[Document]) -> str:
    """The rows of invoices and credit notes, in the order of their lines, taxes after them."""
    return "".join(focus_lines(documents))


def focus_lines(documents: Iterable[Document]) -> Iterator[str]:
    """The same line by line."""
    rows = (row for document in documents for row in focus_rows(document))
    return sheet.rows_of(COLUMNS, ([row.get(name) for name in COLUMNS] for row in rows))


def focus_rows(document: Document) -> Iterator[dict[str, Any]]:
    for line in document.lines:
        yield {**_common(document), **_of_line(document, line)}
    for tax in document.taxes:
        if tax.tax:
            yield {**_common(document), **_of_tax(document, tax)}


def _common(document: Document) -> dict[str, Any]:
    invoice = document.invoice
    return {
        "BillingAccountId": f"organization-{invoice.customer_id}",
        "BillingAccountName": document.buyer.name,
        "BillingCurrency": document.currency,
        "BillingPeriodStart": _start(invoice, invoice.month),
        "BillingPeriodEnd": _end(invoice, last_day(invoice.month)),
        "ChargeClass": "Correction" if document.credit_note is not None else None,
        "InvoiceId": invoice.number_text or None,
        "InvoiceIssuer": document.seller.name,
        "Provider": document.seller.name,
        "Publisher": document.seller.name,
        "Tags": "{}",
        "x_CreditNoteId": document.credit_note.number_text if document.credit_note is not None else None,
        "x_InvoiceState": invoice.state,
    }


def _of_line(document: Document, line: Line) -> dict[str, Any]:
    invoice = document.invoice
    cost = document.plain(line.amount)
    is_counted = line.kind in {_Kind.CHARGE, _Kind.ADJUSTMENT}
    is_used = is_counted and _category(line) == "Usage"
    row: dict[str, Any] = {
        **_costs(cost),
        "ChargeCategory": _category(line),
        "ChargeDescription": line.what,
        "ChargeFrequency": _frequency(line),
        "ChargePeriodStart": _start(invoice, line.first),
        "ChargePeriodEnd": _end(invoice, line.last),
        "ResourceId": None if line.resource_id is None else f"resource-{line.resource_id}",
        "ResourceName": line.resource or None,
        "ResourceType": line.offering or None,
        "ServiceCategory": _SERVICE.get(line.product_type, _OTHER),
        "ServiceName": line.offering or str(_Kind(line.kind).value).capitalize(),
        "SubAccountId": None if line.workspace_id is None else _account(line),
        "SubAccountName": line.workspace or None,
        "x_Component": line.component_key or None,
        "x_LineKind": line.kind,
        "x_Plan": line.plan or None,
        "x_TaxCategory": line.tax_category,
        "x_TaxNote": line.tax_note or None,
        "x_TaxPercent": plain(line.tax_percent),
    }
    if line.kind == _Kind.ADJUSTMENT:
        row["ChargeClass"] = "Correction"
    if is_counted:
        price, quantity = plain(line.unit_price), plain(line.quantity)
        row |= {
            "ContractedUnitPrice": price,
            "ListUnitPrice": price,
            "PricingCategory": "Standard",
            "PricingQuantity": quantity,
            "PricingUnit": line.unit or None,
            "SkuId": f"component-{line.component_id}",
            "SkuPriceId": f"price-{line.price_id}",
            "Tags": json.dumps({"plan": line.plan}, ensure_ascii=False),
            "x_ExactQuantity": line.exact_quantity,
        }
        if is_used:
            row |= {"ConsumedQuantity": quantity, "ConsumedUnit": line.unit or None}
    return row


def _of_tax(document: Document, tax: Tax) -> dict[str, Any]:
    invoice = document.invoice
    return {
        **_costs(document.plain(tax.tax)),
        "ChargeCategory": "Tax",
        "ChargeDescription": f"{tax.category} {plain(tax.percent)}%",
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": _start(invoice, invoice.month),
        "ChargePeriodEnd": _end(invoice, last_day(invoice.month)),
        "ServiceCategory": _OTHER,
        "ServiceName": "Tax",
        "x_LineKind": "tax",
        "x_TaxCategory": tax.category,
        "x_TaxNote": tax.note or None,
        "x_TaxPercent": plain(tax.percent),
    }


def _costs(cost: str) -> dict[str, str]:
    """Nothing is sold below its list, and nothing is paid ahead for later months: all four are one."""
    return dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost)


def _category(line: Line) -> str:
    """A credit lowers what is owed, a compensation makes something good; what counts use is usage, the rest is bought."""
    if line.kind == _Kind.CREDIT:
        return "Credit"
    if line.kind == _Kind.COMPENSATION:
        return "Adjustment"
    return "Usage" if line.billing in {_Billing.USAGE, _Billing.LIMIT} and not _once(line) else "Purchase"


def _frequency(line: Line) -> str:
    if line.kind in {_Kind.CREDIT, _Kind.COMPENSATION} or _once(line):
        return "One-Time"
    return "Recurring" if line.billing == _Billing.FIXED else "Usage-Based"


def _once(line: Line) -> bool:
    is_total = line.billing == _Billing.LIMIT and line.limit_period == Component.LimitPeriod.TOTAL
    return is_total or line.billing in {_Billing.ONE_TIME, _Billing.ON_SWITCH}


def _account(line: Line) -> str:
    return f"project-{line.project_id}" if line.project_id is not None else f"workspace-{line.workspace_id}"


def _start(invoice: Invoice, day: date) -> str:
    """The first instant of a day of the seller's calendar, in UTC."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(invoice.time_zone))
    return f"{midnight.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _end(invoice: Invoice, day: date) -> str:
    return _start(invoice, day + timedelta(days=1))


def billed(rows: Iterable[Mapping[str, Any]]) -> Decimal:
    """What the rows come to."""
    return sum((Decimal(row["BilledCost"]) for row in rows), Decimal(0))
