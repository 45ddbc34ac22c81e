"""An invoice or a credit note on paper: PDF, set by typst.

The template is `paper/invoice.typ`. What stands on it is handed over as JSON, never as markup; nothing is read but the
template and the fonts that typst brings, and the same document gives the same bytes.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from importlib.resources import as_file, files
from typing import Any, Final

import typst
from django.utils import formats
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from bursar.billing.documents import Document, Line, credit_note_document, document_of, tax_words
from bursar.billing.models import CreditNote, Invoice, InvoiceLine
from bursar.billing.reckoning import last_day
from bursar.kernel.quantity import grouped

QUANTITY_DIGITS: Final = 4
PRICE_DIGITS_MAX: Final = 10
# Marks for screen readers are most of the bytes of a long invoice: 7 MB instead of 0.4 MB at 5,000 lines.
TAGGED_LINES_MAX: Final = 1000


def invoice_pdf(invoice: Invoice) -> bytes:
    """The invoice as it stands now, payments included; of an open one a provisional statement."""
    return document_pdf(document_of(invoice))


def credit_note_pdf(note: CreditNote) -> bytes:
    return document_pdf(credit_note_document(note))


def document_pdf(document: Document) -> bytes:
    with as_file(files("bursar.billing") / "paper") as folder:
        return typst.compile(
            folder / "invoice.typ",
            root=folder,
            format="pdf",
            ignore_system_fonts=True,
            font_paths=[],
            sys_inputs={"data": json.dumps(on_paper(document), ensure_ascii=False)},
            pdf_tags=len(document.lines) <= TAGGED_LINES_MAX,
            timestamp=0,  # no clock: the dates that matter stand on the paper
        )


# ------------------------------------------------------------------------------------------------ what stands on it
def on_paper(document: Document) -> dict[str, Any]:
    """All that the template writes, as text in the reader's language. Figures are (shown, what is kept free after them)."""
    invoice, note = document.invoice, document.credit_note
    seller, buyer = document.seller, document.buyer
    rows = _rows(document)
    heading = _("Credit note") if note else _("Provisional statement") if document.is_provisional else _("Invoice")
    return {
        "language": (get_language() or "en").split("-")[0],
        "title": f"{heading} {document.number}".strip(),
        "heading": heading,
        "provisional": _provisional(document),
        "seller": {
            "name": seller.name,
            "address": _with_country(seller.address, seller.country, buyer.country),
            "vat": _vat(seller.vat_number),
            "email": seller.email,
        },
        "buyer": {
            "name": buyer.name,
            "address": _with_country(buyer.address, buyer.country, seller.country),
            "vat": _vat(buyer.vat_number),
            "reference": _("Your reference: {reference}").format(reference=buyer.reference) if buyer.reference else "",
        },
        "facts": _facts(document),
        "about": "" if note is None else _about(note),
        "rows": rows,
        "widest": {
            name: _widest(row.get(name) for row in rows) for name in ("period", "quantity", "unit", "price", "amount")
        },
        "totals": _totals(document),
        "notes": _notes(document),
        "footer": " · ".join(filter(None, (seller.name, document.number or f"{invoice.month:%Y-%m}"))),
        "words": {
            "to": _("To"),
            "what": _("What"),
            "period": _("Period"),
            "quantity": _("Quantity"),
            "price": _("Unit price"),
            "amount": _("Amount ({currency})").format(currency=document.currency),
            "nothing": _("Nothing was charged in this month."),
            "page": _("Page {page} of {pages}"),
        },
    }


def _provisional(document: Document) -> str | None:
    if not document.is_provisional:
        return None
    computed_at = document.invoice.computed_at
    if computed_at is None:
        return _("Not an invoice: the month is not closed, and nothing has been computed yet.")
    return _("Not an invoice: the month is not closed. Computed {when}; amounts may change until it is issued.").format(
        when=f"{computed_at:%Y-%m-%d %H:%M} UTC"
    )


def _with_country(address: str, country: str, other: str) -> str:
    """The address, with the country where it is not that of the other party."""
    return "\n".join(filter(None, (address.strip(), country if country != other else "")))


def _vat(number: str) -> str:
    return _("VAT number {number}").format(number=number) if number else ""


def day(moment: date | None) -> str:
    return "" if moment is None else formats.date_format(moment)


def month_name(month: date) -> str:
    return formats.date_format(month, "YEAR_MONTH_FORMAT")


def _facts(document: Document) -> list[tuple[str, str]]:
    invoice, note = document.invoice, document.credit_note
    facts = []
    if document.number:
        facts.append((_("Number"), document.number))
    if document.issued_on:
        facts.append((_("Date"), day(document.issued_on)))
    facts.append((_("Month"), month_name(invoice.month)))
    if note is None and invoice.due_on and not document.is_provisional:
        facts.append((_("Due"), day(invoice.due_on)))
    facts.append((_("Currency"), document.currency))
    return facts


def _about(note: CreditNote) -> str:
    return _("Takes back {number}: {reason}").format(number=note.invoice.number_text, reason=note.reason)


# ------------------------------------------------------------------------------------------------ figures
def trimmed(value: Decimal, digits_max: int, digits_min: int = 0) -> str:
    """Without zeros at the end, yet with so many decimals at least; half away from zero beyond the most."""
    rounded = value.quantize(Decimal(1).scaleb(-digits_max), rounding="ROUND_HALF_UP")
    whole, _dot, fraction = f"{rounded:f}".partition(".")
    fraction = fraction.rstrip("0").ljust(digits_min, "0")
    text = f"{whole}.{fraction}" if fraction else whole
    return "0" if text == "-0" else text


def aligned(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Each figure with what has to be kept free after it so that their points stand below one another."""
    found = list(texts)
    width = max((len(text.partition(".")[2]) for text in found), default=0)
    free = []
    for text in found:
        lacking = width - len(text.partition(".")[2])
        point = "." if width and "." not in text else ""
        free.append((grouped(text), point + "0" * lacking))
    return free


def period_of(line: Line) -> str:
    """The days that a line counts, shortened where they are a whole month."""
    if line.first == line.month and line.last == last_day(line.month):
        return f"{line.month:%Y-%m}"
    if line.first == line.last:
        return f"{line.first:%Y-%m-%d}"
    return f"{line.first:%Y-%m-%d} – {line.last:%d}"


def _rows(document: Document) -> list[dict[str, Any]]:
    lines = [line for s in document.sections for g in s.groups for p in g.parts for line in p.lines]
    quantities = dict(
        zip([x.id for x in lines], aligned(trimmed(x.quantity, QUANTITY_DIGITS) for x in lines), strict=True)
    )
    prices = dict(
        zip(
            [x.id for x in lines],
            aligned(trimmed(x.unit_price, PRICE_DIGITS_MAX, document.digits) for x in lines),
            strict=True,
        )
    )
    rows: list[dict[str, Any]] = []
    for section in document.sections:
        if section.title:
            rows.append({"kind": "section", "text": section.title})
        for group in section.groups:
            if group.title:
                rows.append({"kind": "group", "text": group.title, "amount": _money(document, group.amount)})
            for part in group.parts:
                plans = {line.plan for line in part.lines}
                plan = plans.pop() if len(plans) == 1 else ""  # of one plan it is said once, above them
                if part.title:
                    more = " · ".join(filter(None, (part.offering, plan)))
                    rows.append({"kind": "part", "text": part.title, "more": f"  {more}"})
                for line in part.lines:
                    is_counted = line.kind in {InvoiceLine.Kind.CHARGE, InvoiceLine.Kind.ADJUSTMENT}
                    rows.append(
                        {
                            "kind": "line",
                            "inside": bool(part.title),
                            "text": line.what,
                            "more": _more(line, "" if part.title and plan else line.plan),
                            "period": period_of(line) if is_counted else "",
                            "quantity": quantities[line.id] if is_counted else None,
                            "unit": line.counted_unit if is_counted else "",
                            "price": prices[line.id] if is_counted else None,
                            "amount": _money(document, line.amount),
                        }
                    )
    return rows


def _widest(found: Iterable[Any], most: int = 3) -> list[str]:
    """The longest texts of a column: its width follows from them, without setting all of them to measure it."""
    texts = {"".join(one) if isinstance(one, tuple) else one for one in found if one}
    return sorted(texts, key=lambda text: (-len(text), text))[:most]


def _more(line: Line, plan: str) -> str:
    parts = [plan] if plan else []
    if line.kind == InvoiceLine.Kind.ADJUSTMENT:
        parts.insert(0, _("for {month}").format(month=month_name(line.month)))
    if line.tax_note:
        parts.append(tax_words(line))
    return " · ".join(parts)


def _money(document: Document, amount: Decimal) -> tuple[str, str]:
    return grouped(document.plain(amount)), ""


def _totals(document: Document) -> list[dict[str, Any]]:
    def row(text: str, amount: Decimal, more: str = "", weight: str = "") -> dict[str, Any]:
        return {"text": text, "more": more, "amount": _money(document, amount), "weight": weight}

    rows = [row(_("Net"), document.net)]
    for tax in document.taxes:
        on = _("on {net}").format(net=grouped(document.plain(tax.net)))
        rows.append(row(tax_words(tax), tax.tax, on))
    rows.append(row(_("Total"), document.total, document.currency, "total"))
    if document.credit_note is not None or document.is_provisional:
        return rows
    if document.invoice.paid:
        rows.append(row(_("Paid"), -document.invoice.paid))
    if document.invoice.credited:
        rows.append(row(_("Credited"), -document.invoice.credited, _numbers(document.credit_notes)))
    rows.append(row(_("Due"), document.due, document.currency, "total"))
    return rows


def _numbers(notes: Sequence[CreditNote]) -> str:
    return ", ".join(note.number_text for note in notes[:3]) + (" …" if len(notes) > 3 else "")


def _notes(document: Document) -> list[tuple[str, str]]:
    notes = []
    if any(tax.note == "reverse_charge" for tax in document.taxes):
        notes.append(
            (
                _("Reverse charge."),
                _("The recipient owes the value added tax (article 196 of directive 2006/112/EC)."),
            )
        )
    seller = document.seller
    if document.due and seller.bank_account:
        asked = _("Please pay to {account} until {day}, naming {number}.").format(
            account=seller.bank_account, day=day(document.invoice.due_on), number=document.number
        )
        notes.append((_("Payment."), asked))
    if seller.note:
        notes.append(("", seller.note))
    return notes
