"""The words of invoices: amounts, months, periods, what is due."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import template
from django.utils import formats
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bursar.billing.documents import Line, amount_due, tax_words
from bursar.billing.lookup import Closable, is_due_and_late
from bursar.billing.models import Invoice
from bursar.billing.pdf import PRICE_DIGITS_MAX, trimmed
from bursar.billing.reckoning import last_day
from bursar.kernel.money import minor_digits, plain
from bursar.kernel.quantity import grouped

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


@register.simple_tag
def closing_question(one: Closable) -> str:
    """`{% closing_question one as question %}`: what is asked before a month is closed."""
    name = month(one.month)
    told = [
        ngettext(
            "Close {month} and issue its {n} invoice? It gets a number; this cannot be undone.",
            "Close {month} and issue its {n} invoices? They get their numbers; this cannot be undone.",
            one.count,
        ).format(month=name, n=one.count)
        if one.count
        else _("Close {month}, which has no invoices? This cannot be undone.").format(month=name)
    ]
    if one.in_grace:
        told.append(
            _(
                "The days of grace last to {day}: what is told of it from now on is an adjustment of the next month."
            ).format(day=formats.date_format(one.grace_to))
        )
    return " ".join(told)


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


@register.simple_tag
def unit_price(price: Decimal, currency: str) -> str:
    """`{% unit_price line.unit_price invoice.currency %}`: as on paper, with at least the decimals of its currency."""
    shown = grouped(trimmed(price, PRICE_DIGITS_MAX, minor_digits(currency)))
    return format_html('<span class="num">{}&nbsp;<span class="unit">{}</span></span>', shown, currency)


@register.filter
def tax_of(tax: Any) -> str:
    return tax_words(tax)
