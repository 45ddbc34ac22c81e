"""Computing issued invoices again from the facts that were known when they were issued, and comparing the bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

from bursar.billing.canonical import Kept, document, fingerprint, items_of, minor
from bursar.billing.gathering import subjects_of
from bursar.billing.models import Compensation, Credit, Invoice, InvoiceLine, Seller
from bursar.billing.reckoning import (
    Kind,
    adjustments,
    balances_of,
    compensation_items,
    invoiced,
    months_between,
    rate,
    sum_up,
    tax_items,
    touched,
)
from bursar.billing.services._common import terms_of_invoice
from bursar.billing.services.invoices import Work, add_late, workspaces_of
from bursar.billing.taxes import Rates
from bursar.engine.rating.totals import Rate


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an invoice that was computed again.

    kept        whether the lines that are kept are those of the fingerprint
    recomputed  whether the facts of then give the same bytes
    """

    invoice: Invoice
    kept: bool
    recomputed: bool

    @property
    def is_right(self) -> bool:
        return self.kept and self.recomputed


def verify(invoices: Iterable[Invoice], told: Callable[[int], None] | None = None) -> Iterator[Verdict]:
    """Compute each of these issued invoices again. They come with provider and cut."""
    for done, invoice in enumerate(invoices, start=1):
        yield Verdict(
            invoice,
            kept=fingerprint(kept_document(invoice)) == invoice.fingerprint,
            recomputed=fingerprint(recomputed_document(invoice)) == invoice.fingerprint,
        )
        if told is not None:
            told(done)


def kept_document(invoice: Invoice) -> bytes:
    """The document of the lines and taxes as they are kept."""
    terms = terms_of_invoice(invoice)
    items = items_of(invoice.lines.order_by("position"), terms.digits)
    taxes = tuple(
        (
            Rate(row.category, Fraction(row.percent), row.note),
            minor(row.net, terms.digits),
            minor(row.tax, terms.digits),
        )
        for row in invoice.taxes.all()
    )
    sums = Kept(minor(invoice.net, terms.digits), minor(invoice.tax, terms.digits), taxes)
    return document(invoice, invoice.parties, items, sums, terms.digits)


def recomputed_document(invoice: Invoice) -> bytes:
    """The document as it follows from the facts up to the invoice's cut and from what was issued before it.

    How much of each credit was used is taken as it was noted; how it spreads over the lines is computed again.
    """
    terms, month, cut = terms_of_invoice(invoice), invoice.month, invoice.cut
    assert cut is not None
    seller = Seller.objects.get(provider=invoice.provider_id)
    charged = rate(terms, month, cut, customers=[invoice.customer_id]).by_customer
    work = Work(terms, month, cut, charged)
    add_late(work, _late(invoice, seller, work))
    pairs = set(work.pairs.get(invoice.customer_id, ()))
    before = invoiced(terms, pairs, before=invoice.number)
    compensations = Compensation.objects.filter(invoice=invoice).select_related("resource").order_by("pk")
    items = [
        *charged.get(invoice.customer_id, ()),
        *adjustments(work.late.get(invoice.customer_id, ()), before),
        *compensation_items(month, compensations, terms.digits),
    ]
    tax_items(items, invoice.parties, Rates(invoice.parties["seller"]["country"], cut.tax_rate))
    used = _used(invoice, terms.digits)
    rows = list(Credit.objects.filter(pk__in=used).prefetch_related("offerings"))
    granted = [
        replace(balance, left=used[balance.credit])
        for balance in balances_of(rows, workspaces_of({invoice.customer_id: rows}), terms.digits)
    ]
    sums = sum_up(items, month, terms.digits, granted)
    return document(invoice, invoice.parties, items, sums, terms.digits)


def _late(invoice: Invoice, seller: Seller, work: Work) -> Mapping[date, set[int]]:
    """What became known of closed months since the customer's invoice before this one."""
    closed = months_between(seller.bills_from, invoice.month)
    if not closed:
        return {}
    terms = work.terms
    known = subjects_of(
        provider_id=terms.provider,
        start=terms.start(closed[0]),
        end=terms.start(invoice.month),
        customers=[invoice.customer_id],
    )
    previous = (
        Invoice.objects.filter(customer=invoice.customer_id, provider=invoice.provider_id, number__lt=invoice.number)
        .select_related("cut")
        .order_by("-number")
        .first()
    )
    return touched(
        terms,
        since=previous.cut if previous is not None else None,
        cut=work.cut,
        months=closed,
        resources=[one.resource for one in known],
    )


def _used(invoice: Invoice, digits: int) -> dict[int, int]:
    """credit -> how much of it the invoice used."""
    found: dict[int, int] = {}
    for line in InvoiceLine.objects.filter(invoice=invoice, kind=Kind.CREDIT).order_by("position"):
        assert line.credit_id is not None
        found[line.credit_id] = found.get(line.credit_id, 0) - minor(line.amount, digits)
    return found
