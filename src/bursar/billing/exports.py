"""Lines of invoices for programs: CSV and JSON. Names of columns and fields are stable and not translated."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.db.models import QuerySet

from bursar.billing import focus
from bursar.billing.documents import Document, Line, documents_of
from bursar.billing.models import Invoice
from bursar.kernel import sheet
from bursar.kernel.money import plain

FORMS: Final = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "json": ("application/json", "json"),
    "focus": ("text/csv; charset=utf-8", "focus.csv"),
}
"""Of many invoices: what kind of file, and how its name ends."""

COLUMNS: Final = (
    "invoice",
    "credit_note",
    "state",
    "currency",
    "position",
    "kind",
    "month",
    "first_day",
    "last_day",
    "project_id",
    "project",
    "resource_id",
    "resource",
    "offering",
    "component",
    "plan",
    "price_id",
    "description",
    "quantity",
    "exact_quantity",
    "unit",
    "unit_price",
    "amount",
    "tax_category",
    "tax_percent",
    "tax_note",
)


def lines_csv(documents: Iterable[Document]) -> str:
    """A row for each line. Quantities with up to ten decimals, and as the exact fraction that they are."""
    return sheet.table(COLUMNS, (row for document in documents for row in _rows(document)))


def stream(form: str, invoices: QuerySet[Invoice]) -> Iterator[str]:
    """Many issued invoices with their credit notes in a form of FORMS, part by part: a CSV line or a JSON document each.

    JSON is one array. Needs no more memory for a year than for a month.
    """
    documents = documents_of(invoices)
    if form == "csv":
        yield from sheet.rows_of(COLUMNS, (row for document in documents for row in _rows(document)))
    elif form == "focus":
        yield from focus.focus_lines(documents)
    else:
        before = "["
        for document in documents:
            yield before + json.dumps(document_json(document), ensure_ascii=False)
            before = ",\n"
        yield "[]\n" if before == "[" else "]\n"


def _rows(document: Document) -> Iterator[tuple[object, ...]]:
    note = document.credit_note.number_text if document.credit_note is not None else ""
    for line in document.lines:
        yield (
            document.invoice.number_text,
            note,
            document.invoice.state,
            document.currency,
            line.position,
            line.kind,
            f"{line.month:%Y-%m}",
            line.first.isoformat(),
            line.last.isoformat(),
            line.project_id,
            line.workspace,
            line.resource_id,
            line.resource,
            line.offering,
            line.component,
            line.plan,
            line.price_id,
            line.what,
            plain(line.quantity),
            line.exact_quantity,
            line.unit,
            plain(line.unit_price),
            document.plain(line.amount),
            line.tax_category,
            plain(line.tax_percent),
            line.tax_note,
        )


def line_json(document: Document, line: Line) -> dict[str, Any]:
    return {
        "id": line.id,
        "position": line.position,
        "kind": line.kind,
        "month": f"{line.month:%Y-%m}",
        "first_day": line.first.isoformat(),
        "last_day": line.last.isoformat(),
        "workspace_id": line.workspace_id,
        "project_id": line.project_id,
        "project": line.workspace,
        "resource_id": line.resource_id,
        "resource": line.resource,
        "offering_id": line.offering_id,
        "offering": line.offering,
        "component_id": line.component_id,
        "component": line.component,
        "plan_id": line.plan_id,
        "plan": line.plan,
        "price_id": line.price_id,
        "compensation_id": line.compensation_id,
        "credit_id": line.credit_id,
        "description": line.what,
        "quantity": plain(line.quantity),
        "exact_quantity": line.exact_quantity,
        "unit": line.unit,
        "unit_price": plain(line.unit_price),
        "amount": document.plain(line.amount),
        "tax_category": line.tax_category,
        "tax_percent": plain(line.tax_percent),
        "tax_note": line.tax_note,
        "basis": dict(line.basis),
    }


def document_json(document: Document) -> dict[str, Any]:
    """All that stands on the paper; amounts as text with exactly the decimals of the currency."""
    invoice, note = document.invoice, document.credit_note
    seller, buyer = document.seller, document.buyer

    def party(one: Any) -> dict[str, str]:
        return {name: getattr(one, name) for name in one.__slots__}

    return {
        "id": note.pk if note is not None else invoice.pk,
        "kind": "credit_note" if note is not None else "invoice",
        "number": document.number,
        "of_invoice": invoice.number_text if note is not None else "",
        "reason": note.reason if note is not None else "",
        "state": invoice.state,
        "currency": document.currency,
        "month": f"{invoice.month:%Y-%m}",
        "time_zone": invoice.time_zone,
        "issued_on": document.issued_on.isoformat() if document.issued_on else None,
        "due_on": invoice.due_on.isoformat() if invoice.due_on and note is None else None,
        "computed_at": invoice.computed_at.isoformat() if invoice.computed_at else None,
        "seller": party(seller),
        "buyer": party(buyer),
        "lines": [line_json(document, line) for line in document.lines],
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
        "net": document.plain(document.net),
        "tax": document.plain(document.tax),
        "total": document.plain(document.total),
        "paid": document.plain(invoice.paid) if note is None else None,
        "credited": document.plain(invoice.credited) if note is None else None,
        "due": document.plain(document.due) if note is None else None,
        "payments": [
            {
                "id": payment.pk,
                "amount": document.plain(payment.amount),
                "paid_on": payment.paid_on.isoformat(),
                "reference": payment.reference,
                "takes_back_id": payment.takes_back_id,
                "prepayment_id": payment.prepayment_id,
            }
            for payment in document.payments
        ],
        "credit_notes": [
            {"id": one.pk, "number": one.number_text, "total": document.plain(one.total), "reason": one.reason}
            for one in document.credit_notes
        ],
        "fingerprint": invoice.fingerprint if note is None else "",
    }
