"""Payments: noted when they come, taken back when they were noted by mistake or went back."""

from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F

from bursar.billing.errors import PaidInTheFuture, PaymentNotFound, PaymentSettled, PaymentTakenBack, PaymentTooLarge
from bursar.billing.models import Credit, Invoice, Payment
from bursar.billing.services._common import check_amount, due_of, lock_invoice, state_of, tell, today_of
from bursar.kernel.money import Money
from bursar.structure.models import Person
from bursar.structure.text import clean_line


@transaction.atomic
def note_payment(
    *,
    invoice_id: int,
    amount: Decimal,
    by: Person | None,
    at: datetime,
    paid_on: date | None = None,
    reference: str = "",
) -> Payment:
    """Note that money came for an invoice.

    paid_on   None = today, by the seller's calendar
    raises    InvoiceNotFound; NotAllowed; InvoiceStillOpen; AmountNotPositive, AmountNotInCurrency, PaidInTheFuture,
              PaymentTooLarge; TextTooLong, TextNotAllowed
    """
    invoice = lock_invoice(invoice_id, by, at)
    amount = check_amount(amount, invoice.currency)
    today = today_of(invoice.provider, at)
    paid_on = paid_on or today
    if paid_on > today:
        raise PaidInTheFuture
    due = due_of(invoice)
    if amount > due:
        raise PaymentTooLarge(
            due=Money.rounded(max(due, Decimal(0)), invoice.currency).plain, currency=invoice.currency
        )
    payment = Payment.objects.create(
        invoice=invoice,
        amount=amount,
        paid_on=paid_on,
        reference=clean_line(reference, field="reference", limit=100, required=False),
        by=by,
        recorded_at=at,
    )
    _set_paid(invoice, invoice.paid + amount)
    _tell("invoice.payment_noted", payment, by=by, at=at)
    return payment


@transaction.atomic
def take_back_payment(
    *, payment_id: int, by: Person | None, at: datetime, paid_on: date | None = None, reference: str = ""
) -> Payment:
    """Note that a payment was none, or went back. What a prepayment paid is there again.

    raises   PaymentNotFound; NotAllowed; PaidInTheFuture, PaymentTakenBack, PaymentSettled; TextTooLong, TextNotAllowed
    """
    found = Payment.objects.filter(pk=payment_id).values_list("invoice_id", flat=True).first()
    if found is None:
        raise PaymentNotFound
    invoice = lock_invoice(found, by, at)
    payment = Payment.objects.select_related("prepayment").get(pk=payment_id)
    if payment.amount < 0 or Payment.objects.filter(takes_back=payment).exists():
        raise PaymentTakenBack
    if invoice.paid - payment.amount < 0:
        # A credit note turned it into a prepayment: it is not here any more.
        raise PaymentSettled
    today = today_of(invoice.provider, at)
    if paid_on is not None and paid_on > today:
        raise PaidInTheFuture
    back = Payment.objects.create(
        invoice=invoice,
        amount=-payment.amount,
        paid_on=paid_on or today,
        reference=clean_line(reference, field="reference", limit=100, required=False),
        prepayment=payment.prepayment,
        takes_back=payment,
        by=by,
        recorded_at=at,
    )
    if payment.prepayment_id is not None:
        Credit.objects.filter(pk=payment.prepayment_id).update(used=F("used") - payment.amount)
    _set_paid(invoice, invoice.paid - payment.amount)
    _tell("invoice.payment_taken_back", back, by=by, at=at)
    return back


def _set_paid(invoice: Invoice, paid: Decimal) -> None:
    invoice.paid = paid
    invoice.state = state_of(invoice)
    invoice.save(update_fields=["paid", "state"])


def _tell(kind: str, payment: Payment, *, by: Person | None, at: datetime) -> None:
    invoice = payment.invoice
    amount = Money.rounded(payment.amount, invoice.currency).plain
    tell(
        kind, invoice, customer=invoice.customer_id, provider=invoice.provider,
        facts={"payment": payment.pk, "amount": amount, "currency": invoice.currency, "state": invoice.state},
        by=by, at=at,
    )  # fmt: skip
