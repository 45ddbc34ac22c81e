"""Credit notes: what was issued is never changed, it is taken back, whole or in part."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.db import transaction
from django.db.models import Sum

from bursar.billing.canonical import amount as money
from bursar.billing.canonical import items_of, minor
from bursar.billing.cuts import take_cut
from bursar.billing.errors import CreditNoteBeyondInvoice, CreditNoteTooLarge, LineNotOfInvoice, NothingToCredit
from bursar.billing.models import Credit, CreditNote, CreditNoteLine, Cut, Invoice, InvoiceLine, Seller
from bursar.billing.reckoning import Terms, adjustments, invoiced, key_of, rate
from bursar.billing.services._common import lock_invoice, lock_seller, seller_of, state_of, tell, terms_of_invoice
from bursar.billing.services.credits import give_back
from bursar.kernel.money import Money, minor_units
from bursar.structure.models import Person
from bursar.structure.text import clean_line

Group = tuple[str, Decimal, str]
"""What is taxed together: category, per cent, note."""


def credit_invoice(
    *,
    invoice_id: int,
    reason: str,
    by: Person | None,
    at: datetime,
    amounts: Mapping[int, Decimal] | None = None,
    carries_out: bool = False,
) -> CreditNote:
    """Take back an issued invoice, or so much of some of its lines, by a credit note with a number of its own.

    What was paid beyond what is left to be paid becomes a prepayment of the customer; what the lines taken back had used of
    granted credits is there again.
    amounts       line -> how much of it, with the line's own sign; None = all that is left of all lines
    carries_out   take back by how much the charges of this invoice's month are less when they are computed again with all
                  that is known now; such a note counts as invoiced, so that no adjustment takes it back once more
    raises        InvoiceNotFound; NotAllowed; InvoiceStillOpen; LineNotOfInvoice, CreditNoteTooLarge, CreditNoteBeyondInvoice,
                  NothingToCredit;
                  TextMissing, TextTooLong, TextNotAllowed; BillingBusy
    """
    reason = clean_line(reason, field="reason", limit=500)
    with transaction.atomic():
        invoice = lock_invoice(invoice_id, by, at)
    seller = seller_of(invoice.provider, at)
    cut = take_cut(seller=seller, at=at) if carries_out else None
    return _write(seller, invoice_id, reason, amounts, cut, by=by, at=at)


@transaction.atomic
def _write(
    seller: Seller,
    invoice_id: int,
    reason: str,
    amounts: Mapping[int, Decimal] | None,
    cut: Cut | None,
    *,
    by: Person | None,
    at: datetime,
) -> CreditNote:
    seller = lock_seller(seller)
    invoice = lock_invoice(invoice_id, by, at)
    terms = terms_of_invoice(invoice)
    lines = list(InvoiceLine.objects.filter(invoice=invoice).order_by("position"))
    credited: dict[int, Decimal] = dict(
        CreditNoteLine.objects.filter(credit_note__invoice=invoice)
        .order_by()
        .values_list("line")
        .annotate(Sum("amount"))
    )
    left = {line.pk: line.amount - credited.get(line.pk, Decimal(0)) for line in lines}
    if cut is not None:
        amounts = _what_is_less(invoice, terms, cut, lines, left)
    wanted = dict(left) if amounts is None else _checked(amounts, left, invoice)
    wanted = {pk: value for pk, value in wanted.items() if value}
    net = sum(wanted.values(), Decimal(0))
    tax = _tax(invoice, terms, lines, left, wanted)
    if not wanted or net + tax <= 0:
        raise NothingToCredit
    most = invoice.total - invoice.credited
    if net + tax > most:
        raise CreditNoteBeyondInvoice(left=Money.rounded(most, invoice.currency).plain, currency=invoice.currency)
    seller.last_credit_note += 1
    seller.save(update_fields=["last_credit_note"])
    note = CreditNote.objects.create(
        invoice=invoice,
        provider=invoice.provider,
        number=seller.last_credit_note,
        number_text=f"{seller.number_prefix}C{seller.last_credit_note:05}",
        after_invoice=seller.last_invoice,
        reason=reason,
        carries_out=cut is not None,
        net=net,
        tax=tax,
        total=net + tax,
        by=by,
        issued_at=at,
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(credit_note=note, line_id=pk, amount=value) for pk, value in wanted.items()
    )
    by_pk = {line.pk: line for line in lines}
    used: dict[int, Decimal] = {}
    for pk, value in wanted.items():
        credit = by_pk[pk].credit_id
        if credit is not None:
            used[credit] = used.get(credit, Decimal(0)) - value
    give_back(used)
    _settle(invoice, note, by=by, at=at)
    total = Money.rounded(note.total, invoice.currency).plain
    tell(
        "invoice.credited", invoice, customer=invoice.customer_id, provider=invoice.provider,
        facts={"credit_note": note.number_text, "total": total, "currency": invoice.currency, "reason": reason},
        by=by, at=at,
    )  # fmt: skip
    return note


def _checked(amounts: Mapping[int, Decimal], left: Mapping[int, Decimal], invoice: Invoice) -> dict[int, Decimal]:
    """What somebody wants taken back, as far as that can be."""
    for pk, value in amounts.items():
        if pk not in left:
            raise LineNotOfInvoice(line=pk)
        exponent = value.normalize().as_tuple().exponent if value.is_finite() else -99
        whole = isinstance(exponent, int) and -exponent <= terms_of_invoice(invoice).digits
        most = left[pk]
        if not whole or (value > most if most >= 0 else value < most) or value * most < 0:
            raise CreditNoteTooLarge(
                line=pk, left=Money.rounded(most, invoice.currency).plain, currency=invoice.currency
            )
    return dict(amounts)


def _tax(
    invoice: Invoice,
    terms: Terms,
    lines: list[InvoiceLine],
    left: Mapping[int, Decimal],
    wanted: Mapping[int, Decimal],
) -> Decimal:
    """The tax of what is taken back: by how much the tax of what is left of each (category, rate) becomes less.

    So the notes of an invoice never take back more tax than it had, however they are cut.
    """
    before: dict[Group, Decimal] = {}
    after: dict[Group, Decimal] = {}
    for line in lines:
        group = (line.tax_category, line.tax_percent, line.tax_note)
        before[group] = before.get(group, Decimal(0)) + left[line.pk]
        after[group] = after.get(group, Decimal(0)) + left[line.pk] - wanted.get(line.pk, Decimal(0))

    def tax(nets: Mapping[Group, Decimal]) -> int:
        return sum(minor_units(minor(net, terms.digits) * Fraction(group[1]) / 100, 0) for group, net in nets.items())

    return money(tax(before) - tax(after), terms.digits)


def _what_is_less(
    invoice: Invoice, terms: Terms, cut: Cut, lines: list[InvoiceLine], left: Mapping[int, Decimal]
) -> dict[int, Decimal]:
    """By how much the charges of the invoice's month are less when they are computed again, by line."""
    charged = [line for line in lines if line.kind == InvoiceLine.Kind.CHARGE]
    resources = {line.resource_id for line in charged if line.resource_id is not None}
    now = rate(terms, invoice.month, cut, resources=resources)
    before = invoiced(terms, [(resource, invoice.month) for resource in resources])
    less = {
        key_of(one): -one.minor
        for one in adjustments(now.by_customer.get(invoice.customer_id, ()), before)
        if one.minor < 0
    }
    found: dict[int, Decimal] = {}
    for line, item in zip(charged, items_of(charged, terms.digits), strict=True):
        value = less.get(key_of(item))
        if value is not None:
            found[line.pk] = min(money(value, terms.digits), left[line.pk])
    return found


def _settle(invoice: Invoice, note: CreditNote, *, by: Person | None, at: datetime) -> None:
    """Set what is credited; what was paid beyond what is left becomes a prepayment."""
    invoice.credited += note.total
    beyond = invoice.paid + invoice.credited - invoice.total
    if beyond > 0:
        Credit.objects.create(
            provider=invoice.provider,
            customer=invoice.customer,
            kind=Credit.Kind.PREPAYMENT,
            currency=invoice.currency,
            amount=beyond,
            reason=note.number_text,
            of_credit_note=note,
            by=by,
            granted_at=at,
        )
        invoice.paid -= beyond
    invoice.state = state_of(invoice)
    invoice.save(update_fields=["credited", "paid", "state"])
