"""The mails of invoices: one was issued, one should have been paid by now."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format

from bursar.billing.documents import amount_due
from bursar.billing.models import Invoice
from bursar.billing.pdf import invoice_pdf
from bursar.billing.selectors import is_overdue
from bursar.billing.services import today_of
from bursar.delivery.mails import Attachment, Facts, address, mail
from bursar.kernel.money import Money
from bursar.structure.models import Person


def _invoice(facts: Facts) -> Invoice | None:
    rows = Invoice.objects.select_related("provider__organization", "customer").exclude(state=Invoice.State.OPEN)
    return rows.filter(pk=facts["invoice"]).first()


def _context(invoice: Invoice) -> dict[str, Any]:
    # Made here, in the job that sends it: nobody who issues invoices waits for their paper.
    paper = Attachment(f"{invoice.number_text}.pdf", invoice_pdf(invoice), "application/pdf")
    due = amount_due(invoice)
    return {
        "invoice": invoice,
        "seller": invoice.parties["seller"]["name"],
        "customer": invoice.parties["buyer"]["name"],
        "total": _money(invoice.total, invoice),
        "due": _money(due, invoice) if due else "",
        "link": address("invoice", invoice.pk),
        "attachments": (paper,),
    }


def _money(amount: Decimal, invoice: Invoice) -> str:
    value = number_format(Money.rounded(amount, invoice.currency).amount, force_grouping=True)
    return f"{value} {invoice.currency}"


@mail("invoice_issued")
def _issued(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    invoice = _invoice(facts)
    return None if invoice is None else _context(invoice)


@mail("invoice_overdue")
def _overdue(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    invoice = _invoice(facts)
    if invoice is None or not is_overdue(invoice, today_of(invoice.provider, at)):
        return None
    return _context(invoice)
