"""The words of invoices: amounts, months, periods, what is due."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import template
from django.utils import formats

from bursar.billing.documents import Line, amount_due, last_day, plain, tax_words
from bursar.billing.lookup import is_due_and_late
from bursar.billing.models import Invoice
from bursar.web.templatetags.bursar import grouped

register = template.Library()


@register.filter
def due(invoice: Invoice) -> Decimal:
    """`{{ invoice|due }}`: what is still to be paid."""
    return amount_due(invoice)


@register.simple_tag(takes_context=True)
def invoice_state(context: dict[str, Any], invoice: Invoice) -> str:
    """`{% invoice_state invoice as name %}`: provisional and overdue are told as states of their own."""
    if invoice.state == Invoice.State.OPEN:
        return "provisional"
    return "overdue" if is_due_and_late(invoice, context["request"].at) else str(invoice.state)


@register.filter
def month(day: date) -> str:
    return formats.date_format(day, "YEAR_MONTH_FORMAT")


@register.filter
def period(line: Line) -> str:
    """`{{ line|period }}`: the days it counts; a whole month by its name."""
    if line.first == line.month and line.last == last_day(line.month):
        return month(line.month)
    first, last = formats.date_format(line.first), formats.date_format(line.last)
    return first if first == last else f"{first} – {last}"


@register.filter
def figure(value: Decimal, digits: int = 6) -> str:
    """`{{ line.quantity|figure }}`: without needless zeros, rounded to so many decimals, with thin spaces."""
    rounded = value.quantize(Decimal(1).scaleb(-digits), rounding="ROUND_HALF_UP")
    return grouped(plain(rounded))


@register.filter
def tax_of(tax: Any) -> str:
    return tax_words(tax)
