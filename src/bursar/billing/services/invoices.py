"""Invoices: kept fresh while their month is open, issued when it is over.

A month is closed customer by customer, in transactions of some hundred lines each: killed anywhere, what was issued stays
issued, and the next run goes on with the rest.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils.formats import date_format

from bursar.billing.canonical import Item, amount, document, fingerprint
from bursar.billing.cuts import take_cut
from bursar.billing.errors import (
    InvoiceEmpty,
    InvoiceIssuedAlready,
    MonthNotBilled,
    MonthNotOver,
    OlderMonthOpen,
)
from bursar.billing.gathering import subjects_of
from bursar.billing.models import Buyer, Compensation, Credit, Cut, Invoice, InvoiceTax, Payment, Seller
from bursar.billing.notices import ask_to_send
from bursar.billing.reckoning import (
    Terms,
    adjustments,
    balances_of,
    compensation_items,
    invoiced,
    months_between,
    next_month,
    rate,
    sum_up,
    tax_items,
    touched,
    used_of,
)
from bursar.billing.services._common import (
    happening,
    lock_invoice,
    lock_seller,
    seller_of,
    state_of,
    tell,
    terms_of,
)
from bursar.billing.taxes import Rates, parties_of
from bursar.catalogue.models import Component, Plan, ServiceProvider
from bursar.engine.rating.totals import Totals
from bursar.events.services import record_all
from bursar.kernel.money import minor_units
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization, Person, Workspace
from bursar.structure.roles import Permission, require

LINES_AT_ONCE: Final = 5_000
CUSTOMERS_AT_ONCE: Final = 200
QUANTITY_DIGITS: Final = 10
Told = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing a month came to."""

    issued: int
    lines: int
    numbers: tuple[str, ...]


@dataclass(slots=True)
class Work:
    """A month of a seller as it follows from the facts of a cut.

    charges   customer -> lines of the month itself
    late      customer -> lines of closed months of which something became known, as those come to now
    pairs     customer -> the (resource, month) that `late` speaks of, those that came to nothing included
    """

    terms: Terms
    month: date
    cut: Cut
    charges: Mapping[int, list[Item]]
    late: dict[int, list[Item]] = field(default_factory=dict)
    pairs: dict[int, list[tuple[int, date]]] = field(default_factory=dict)

    @property
    def customers(self) -> list[int]:
        return sorted({*self.charges, *self.pairs})


# ------------------------------------------------------------------------------------------------ the verbs
def refresh(*, provider: ServiceProvider, by: Person | None, at: datetime) -> int:
    """Compute the open invoices of a seller again: all months that are not closed, up to the present one.

    returns   how many invoices are open
    raises    NotAllowed; BillingBusy
    """
    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    seller, terms = seller_of(provider, at), terms_of(provider)
    cut = take_cut(seller=seller, at=at)
    # What a credit pays of one open month is not there for the next.
    spent: dict[int, int] = {}
    for month in months_between(seller.closed_until, next_month(terms.month_of(at))):
        work = _reckon(seller, terms, month, cut)
        for customers in _batches(work, _open_customers(provider, month)):
            _write(seller, work, customers, issue=False, by=by, at=at, spent=spent)
    Cut.objects.filter(pk__lte=cut.pk).exclude(
        Q(pk__in=Invoice.objects.filter(cut__isnull=False).values("cut"))
        | Q(pk__in=Seller.objects.filter(closed_cut__isnull=False).values("closed_cut"))
    ).filter(taken_at__lt=at - timedelta(days=1)).delete()
    return Invoice.objects.filter(provider=provider, state=Invoice.State.OPEN).count()


def close_month(
    *, provider: ServiceProvider, month: date, by: Person | None, at: datetime, told: Told | None = None
) -> Closed:
    """Issue all invoices of a month that is over. A month that is closed already is left as it is.

    raises   NotAllowed; MonthNotBilled, MonthNotOver, OlderMonthOpen; BillingBusy
    """
    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    seller, terms = seller_of(provider, at), terms_of(provider)
    month = month.replace(day=1)
    if is_closed(seller, terms, month, at):
        return Closed(0, 0, ())
    cut = take_cut(seller=seller, at=at)
    rating = None if told is None else (lambda done, count: told("rated", done, count))
    work = _reckon(seller, terms, month, cut, told=rating)
    lines, numbers = 0, []
    customers = work.customers
    for batch in _batches(work, ()):
        for invoice, count in _write(seller, work, batch, issue=True, by=by, at=at):
            lines += count
            numbers.append(invoice.number_text)
        if told is not None:
            told("issued", customers.index(batch[-1]) + 1, len(customers))
    _close(seller, month, cut, by=by, at=at)
    return Closed(len(numbers), lines, tuple(numbers))


def is_closed(seller: Seller, terms: Terms, month: date, at: datetime) -> bool:
    """Whether a month is closed; one that is open can be closed now, or is refused.

    raises   MonthNotBilled, MonthNotOver, OlderMonthOpen
    """
    if month < seller.bills_from:
        raise MonthNotBilled(seller=str(seller), first=month_in_words(seller.bills_from))
    if month < seller.closed_until:
        return True
    _check_over(seller, terms, month, at)
    if month > seller.closed_until:
        raise OlderMonthOpen(older=month_in_words(seller.closed_until), month=month_in_words(month))
    return False


def close_due_months(*, provider: ServiceProvider, at: datetime) -> list[date]:
    """Close the months of a seller whose days of grace are over, if it wants that; which those were."""
    seller, terms = seller_of(provider, at), terms_of(provider)
    closed: list[date] = []
    while seller.issues_by_itself:
        month = seller.closed_until
        if terms.start(next_month(month)) + timedelta(days=seller.grace_days) > at:
            break
        close_month(provider=provider, month=month, by=None, at=at)
        closed.append(month)
        seller = seller_of(provider, at)
    return closed


def issue_invoice(*, invoice_id: int, by: Person | None, at: datetime) -> Invoice:
    """Issue one invoice before the others of its month.

    raises   InvoiceNotFound; NotAllowed; InvoiceIssuedAlready, MonthNotOver, OlderMonthOpen, InvoiceEmpty; BillingBusy
    """
    with transaction.atomic():
        invoice = lock_invoice(invoice_id, by, at, issued=False)
    if invoice.state != Invoice.State.OPEN:
        raise InvoiceIssuedAlready(number=invoice.number_text)
    seller, terms = seller_of(invoice.provider, at), terms_of(invoice.provider)
    _check_over(seller, terms, invoice.month, at)
    first = _first_open(seller, [invoice.customer_id])[invoice.customer_id][0]
    if invoice.month > first:
        raise OlderMonthOpen(older=month_in_words(first), month=month_in_words(invoice.month))
    work = _reckon(seller, terms, invoice.month, take_cut(seller=seller, at=at), customers=[invoice.customer_id])
    issued = _write(seller, work, [invoice.customer_id], issue=True, by=by, at=at)
    if issued:
        return issued[0][0]
    now = Invoice.objects.filter(pk=invoice.pk).first()
    if now is None:
        raise InvoiceEmpty
    raise InvoiceIssuedAlready(number=now.number_text)


def _check_over(seller: Seller, terms: Terms, month: date, at: datetime) -> None:
    if terms.start(next_month(month)) > at:
        raise MonthNotOver(month=month_in_words(month), seller=str(seller))


def month_in_words(month: date) -> str:
    return str(date_format(month, "F Y"))


@transaction.atomic
def _close(seller: Seller, month: date, cut: Cut, *, by: Person | None, at: datetime) -> None:
    seller = lock_seller(seller)
    if seller.closed_until != month:
        return
    # Opened after the cut by facts after it, which will be adjustments of the next month.
    left = Invoice.objects.filter(provider=seller.provider_id, month=month, state=Invoice.State.OPEN)
    left.delete()
    seller.closed_until, seller.closed_cut = next_month(month), cut
    seller.save(update_fields=["closed_until", "closed_cut"])
    tell(
        "seller.month_closed", seller, customer=seller.provider.organization_id, provider=seller.provider,
        facts={"month": month.isoformat()}, by=by, at=at,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ reckoning
def _open_customers(provider: ServiceProvider, month: date) -> list[int]:
    """Those who have an open invoice, which may have to go."""
    rows = Invoice.objects.filter(provider=provider, month=month, state=Invoice.State.OPEN)
    return sorted(rows.values_list("customer_id", flat=True))


def _first_open(seller: Seller, customers: Collection[int]) -> dict[int, tuple[date, int | None]]:
    """The first month of each customer that is open, and the cut up to which the months before are settled (None = none)."""
    closed_cut = seller.closed_cut_id
    found: dict[int, tuple[date, int | None]] = dict.fromkeys(customers, (seller.closed_until, closed_cut))
    rows = (
        Invoice.objects.filter(provider=seller.provider_id, customer__in=customers)
        .exclude(state=Invoice.State.OPEN)
        .order_by("customer_id", "-month")
        .distinct("customer_id")
        .values_list("customer_id", "month", "cut_id")
    )
    for customer, month, cut in rows:
        following = next_month(month)
        if following >= seller.closed_until:
            found[customer] = (following, cut)
    return found


def _reckon(
    seller: Seller,
    terms: Terms,
    month: date,
    cut: Cut,
    *,
    customers: Collection[int] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Work:
    """What the month comes to, and what closed months come to now where something became known of them."""
    work = Work(terms, month, cut, rate(terms, month, cut, customers=customers, told=told).by_customer)
    if month <= seller.bills_from:
        return work
    known = subjects_of(
        provider_id=terms.provider, start=terms.start(seller.bills_from), end=terms.start(month), customers=customers
    )
    first_open = _first_open(seller, {one.customer for one in known})
    by_cut: dict[int | None, list[int]] = {}
    for subject in known:
        first, base = first_open[subject.customer]
        if first == month:
            by_cut.setdefault(base, []).append(subject.resource)
    cuts = Cut.objects.in_bulk([pk for pk in by_cut if pk is not None])
    closed = months_between(seller.bills_from, month)
    for base, resources in by_cut.items():
        since = None if base is None else cuts[base]
        late = touched(terms, since=since, cut=cut, months=closed, resources=resources)
        add_late(work, late)
    return work


def add_late(work: Work, late: Mapping[date, set[int]]) -> None:
    """Rate closed months again, as far as something became known of them."""
    for month in sorted(late):
        resources = late[month]
        rated = rate(work.terms, month, work.cut, resources=resources)
        for customer, items in rated.by_customer.items():
            work.late.setdefault(customer, []).extend(items)
        for resource in sorted(resources):
            subject = rated.subjects.get(resource)
            if subject is not None:
                work.pairs.setdefault(subject.customer, []).append((resource, month))


def _batches(work: Work, more: Iterable[int]) -> Iterator[list[int]]:
    """The customers of a month, so many at once that a transaction stays short."""
    batch: list[int] = []
    lines = 0
    for customer in sorted({*work.customers, *more}):
        count = len(work.charges.get(customer, ())) + len(work.late.get(customer, ()))
        if batch and (lines + count > LINES_AT_ONCE or len(batch) >= CUSTOMERS_AT_ONCE):
            yield batch
            batch, lines = [], 0
        batch.append(customer)
        lines += count
    if batch:
        yield batch


# ------------------------------------------------------------------------------------------------ writing
@dataclass(slots=True)
class Draft:
    """An invoice on its way into the tables."""

    invoice: Invoice
    parties: dict[str, Any]
    items: list[Item]
    sums: Totals
    compensations: list[Compensation]
    content: bytes


@transaction.atomic
def _write(
    seller: Seller,
    work: Work,
    customers: Sequence[int],
    *,
    issue: bool,
    by: Person | None,
    at: datetime,
    spent: dict[int, int] | None = None,
) -> list[tuple[Invoice, int]]:
    """Write the invoices of some customers anew, and issue them; those that were issued meanwhile are left alone.

    spent     what earlier open months used of credits, added to
    returns   the issued ones with the number of their lines
    """
    seller = lock_seller(seller)
    if work.month < seller.closed_until:
        return []
    drafts = _drafts(seller, work, customers, at, spent if spent is not None else {}, issue=issue)
    _replace(seller, work, drafts, issue=issue, at=at)
    if not issue:
        return []
    _issue(seller, work, drafts, by=by, at=at)
    return [(draft.invoice, len(draft.items)) for draft in drafts]


def _drafts(
    seller: Seller, work: Work, customers: Sequence[int], at: datetime, spent: dict[int, int], *, issue: bool
) -> list[Draft]:
    terms, month = work.terms, work.month
    provider = seller.provider
    # The seller's currency and zone may not change from now on: the invoices bear them.
    organization = Organization.objects.select_for_update(no_key=True).get(pk=provider.organization_id)
    rows = Invoice.objects.select_for_update(of=("self",)).filter(
        provider=provider, month=month, customer__in=customers, currency=terms.currency
    )
    there = {one.customer_id: one for one in rows}
    todo = [customer for customer in customers if customer not in there or there[customer].state == Invoice.State.OPEN]
    before = invoiced(terms, [pair for customer in todo for pair in work.pairs.get(customer, ())])
    first_open = _first_open(seller, todo)
    pending: dict[int, list[Compensation]] = {}
    for one in (
        Compensation.objects.select_for_update(of=("self",), no_key=True)
        .select_related("resource")
        .filter(provider=provider, customer__in=todo, currency=terms.currency, invoice=None, withdrawn_at=None)
        .order_by("pk")
    ):
        pending.setdefault(one.customer_id, []).append(one)
    buyers = {one.organization_id: one for one in Buyer.objects.filter(organization__in=todo)}
    organizations = Organization.objects.in_bulk(todo)
    rates = Rates(organization.country, work.cut.tax_rate)
    granted = _credits(provider, todo, terms, at, Credit.Kind.GRANTED, lock=issue)
    # Of an open invoice nothing is paid yet.
    prepaid = _credits(provider, todo, terms, at, Credit.Kind.PREPAYMENT, lock=True) if issue else {}
    workspaces = workspaces_of(granted, prepaid)
    drafts, gone = [], []
    for customer in todo:
        charged = work.charges.get(customer, [])
        pairs = set(work.pairs.get(customer, ()))
        late = adjustments(
            work.late.get(customer, ()), {key: one for key, one in before.items() if (key.resource, key.month) in pairs}
        )
        if not charged and not late:
            if customer in there:
                gone.append(there[customer].pk)
            continue
        invoice = there.get(customer) or Invoice(
            customer_id=customer, provider=provider, currency=terms.currency, month=month, time_zone=terms.zone.key
        )
        compensations = pending.get(customer, []) if first_open[customer][0] == month else []
        items = [*charged, *late, *compensation_items(month, compensations, terms.digits)]
        parties = parties_of(seller, organization, organizations[customer], buyers.get(customer))
        tax_items(items, parties, rates)
        found = sum_up(
            items,
            month,
            terms.digits,
            balances_of(granted.get(customer, ()), workspaces, terms.digits, spent),
            balances_of(prepaid.get(customer, ()), workspaces, terms.digits),
        )
        for credit, value in used_of(found).items():
            spent[credit] = spent.get(credit, 0) + value
        content = document(invoice, parties, items, found, terms.digits)
        drafts.append(Draft(invoice, parties, items, found, compensations, content))
    Invoice.objects.filter(pk__in=gone).delete()
    return drafts


def _credits(
    provider: ServiceProvider, customers: Collection[int], terms: Terms, at: datetime, kind: str, *, lock: bool
) -> dict[int, list[Credit]]:
    """What customers have, in the order in which it is used: soonest expiry first, by the day of issue."""
    rows = Credit.objects.filter(
        Q(expires_on=None) | Q(expires_on__gte=at.astimezone(terms.zone).date()),
        provider=provider,
        customer__in=customers,
        kind=kind,
        currency=terms.currency,
        withdrawn_at=None,
        used__lt=F("amount"),
    )
    if lock:
        rows = rows.select_for_update(of=("self",))
    found: dict[int, list[Credit]] = {}
    for one in rows.prefetch_related("offerings").order_by(F("expires_on").asc(nulls_last=True), "pk"):
        found.setdefault(one.customer_id, []).append(one)
    return found


def workspaces_of(*credits_of: Mapping[int, Iterable[Credit]]) -> dict[int, int]:
    """Project -> its workspace, for those projects that credits are for; asks only where there are any."""
    projects = {
        one.project_id
        for by_customer in credits_of
        for rows in by_customer.values()
        for one in rows
        if one.project_id is not None
    }
    if not projects:
        return {}
    rows = Workspace.objects.filter(project__in=projects).values_list("project_id", "pk")
    return {project: pk for project, pk in rows if project is not None}


def _replace(seller: Seller, work: Work, drafts: Sequence[Draft], *, issue: bool, at: datetime) -> None:
    """Write invoices with their lines anew; those that came to the same keep their lines."""
    terms = work.terms
    Invoice.objects.bulk_create([draft.invoice for draft in drafts if draft.invoice.pk is None])
    changed = []
    for draft in drafts:
        invoice, sums = draft.invoice, draft.sums
        digest = fingerprint(draft.content)
        if invoice.fingerprint != digest or issue:
            changed.append(draft)
        invoice.fingerprint, invoice.cut, invoice.computed_at = digest, work.cut, at
        invoice.net, invoice.tax = amount(sums.net, terms.digits), amount(sums.tax, terms.digits)
        invoice.total = invoice.net + invoice.tax
    _update(
        _KEEP,
        (
            {
                "id": draft.invoice.pk,
                "fingerprint": draft.invoice.fingerprint,
                "net": str(draft.invoice.net),
                "tax": str(draft.invoice.tax),
            }
            for draft in drafts
        ),
        cut=work.cut.pk,
        at=at,
    )
    keys = [draft.invoice.pk for draft in changed]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM invoice_line WHERE invoice_id = ANY(%s)", [keys])
        cursor.execute("DELETE FROM invoice_tax WHERE invoice_id = ANY(%s)", [keys])
    _copy_lines(changed, terms)
    InvoiceTax.objects.bulk_create(
        (
            InvoiceTax(
                invoice=draft.invoice,
                category=category,
                percent=_decimal(percent),
                note=note,
                net=amount(net, terms.digits),
                tax=amount(tax, terms.digits),
            )
            for draft in changed
            for (category, percent, note), net, tax in draft.sums.taxes
        ),
        batch_size=1000,
    )


_KEEP: Final = """
UPDATE invoice i SET fingerprint = v.fingerprint, cut_id = %(cut)s, computed_at = %(at)s, net = v.net, tax = v.tax,
    total = v.net + v.tax
FROM json_to_recordset(%(rows)s) AS v (id bigint, fingerprint text, net numeric, tax numeric) WHERE i.id = v.id
"""
_ISSUE: Final = """
UPDATE invoice i SET state = v.state, number = v.number, number_text = v.number_text, issued_at = %(at)s, due_on = %(due)s,
    parties = v.parties, paid = v.paid
FROM json_to_recordset(%(rows)s)
    AS v (id bigint, state text, number bigint, number_text text, parties jsonb, paid numeric) WHERE i.id = v.id
"""


def _update(statement: str, rows: Iterable[Mapping[str, Any]], **parameters: Any) -> None:
    """Change many invoices by one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, {**parameters, "rows": json.dumps(list(rows))})


_COPY: Final = """
COPY invoice_line (invoice_id, position, kind, month, workspace_id, resource_id, component_id, plan_id, price_id,
    compensation_id, credit_id, quantity, unit_price, amount, tax_category, tax_percent, tax_note, names, basis) FROM STDIN
"""


def _copy_lines(drafts: Sequence[Draft], terms: Terms) -> None:
    names = _Names([item for draft in drafts for item in draft.items])
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for draft in drafts:
            for position, item in enumerate(draft.items, start=1):
                copy.write_row(
                    (
                        draft.invoice.pk,
                        position,
                        item.kind,
                        item.month,
                        item.workspace,
                        item.resource,
                        item.component,
                        item.plan,
                        item.price,
                        item.compensation,
                        item.credit,
                        _decimal(item.quantity),
                        _decimal(item.unit_price),
                        amount(item.minor, terms.digits),
                        item.tax_category,
                        item.percent,
                        item.note,
                        names.of(item),
                        item.basis,
                    )
                )


def _decimal(exact: Fraction) -> Decimal:
    return Decimal(minor_units(exact, QUANTITY_DIGITS)).scaleb(-QUANTITY_DIGITS)


class _Names:
    """What things are called now: an invoice keeps it beside its lines."""

    def __init__(self, items: Sequence[Item]) -> None:
        def ids(name: str) -> set[int]:
            return {getattr(item, name) for item in items if getattr(item, name) is not None}

        self._workspaces = {
            pk: project or organization or ""
            for pk, project, organization in Workspace.objects.filter(pk__in=ids("workspace")).values_list(
                "pk", "project__name", "organization__name"
            )
        }
        self._resources = {
            pk: (name, offering)
            for pk, name, offering in Resource.objects.filter(pk__in=ids("resource")).values_list(
                "pk", "name", "offering__name"
            )
        }
        self._components = {
            pk: (title, unit)
            for pk, title, unit in Component.objects.filter(pk__in=ids("component")).values_list(
                "pk", "title", "unit_name"
            )
        }
        self._plans = dict(Plan.objects.filter(pk__in=ids("plan")).values_list("pk", "name"))
        self._reasons = dict(Compensation.objects.filter(pk__in=ids("compensation")).values_list("pk", "reason"))
        self._credits = dict(Credit.objects.filter(pk__in=ids("credit")).values_list("pk", "reason"))
        self._written: dict[tuple[int | None, ...], str] = {}

    def of(self, item: Item) -> str:
        key = (item.workspace, item.resource, item.component, item.plan, item.compensation, item.credit)
        written = self._written.get(key)
        if written is None:
            resource, offering = self._resources.get(item.resource or 0, ("", ""))
            component, unit = self._components.get(item.component or 0, ("", ""))
            told = {
                "workspace": self._workspaces.get(item.workspace or 0, ""),
                "resource": resource,
                "offering": offering,
                "component": component,
                "unit": unit,
                "plan": self._plans.get(item.plan or 0, ""),
                "text": self._reasons.get(item.compensation or 0, "") or self._credits.get(item.credit or 0, ""),
            }
            written = json.dumps({name: value for name, value in told.items() if value}, ensure_ascii=False)
            self._written[key] = written
        return written


# ------------------------------------------------------------------------------------------------ issuing
def _issue(seller: Seller, work: Work, drafts: Sequence[Draft], *, by: Person | None, at: datetime) -> None:
    """Give numbers without a gap, freeze the parties, use up credits, tell both sides; the seller is locked."""
    if not drafts:
        return
    terms, provider = work.terms, seller.provider
    day = at.astimezone(terms.zone).date()
    payments: list[Payment] = []
    used: dict[int, int] = {}
    beyond: list[Credit] = []
    for draft in drafts:
        invoice = draft.invoice
        seller.last_invoice += 1
        invoice.number = seller.last_invoice
        invoice.number_text = f"{seller.number_prefix}{seller.last_invoice:05}"
        invoice.issued_at, invoice.due_on = at, day + timedelta(days=seller.due_days)
        invoice.parties = draft.parties
        used |= used_of(draft.sums)  # a credit is of one customer
        for credit, value in draft.sums.prepaid:
            paid = amount(value, terms.digits)
            payments.append(
                Payment(invoice=invoice, amount=paid, paid_on=day, prepayment_id=credit, by=by, recorded_at=at)
            )
            invoice.paid += paid
        if invoice.total < 0:
            # Adjustments took more than the month came to: the rest stays the customer's, for what comes next.
            invoice.paid = invoice.total
            beyond.append(
                Credit(
                    provider=provider,
                    customer_id=invoice.customer_id,
                    kind=Credit.Kind.PREPAYMENT,
                    currency=terms.currency,
                    amount=-invoice.total,
                    reason=invoice.number_text,
                    of_invoice=invoice,
                    by=by,
                    granted_at=at,
                )
            )
        invoice.state = state_of(invoice)
    _update(
        _ISSUE,
        (
            {
                "id": draft.invoice.pk,
                "state": draft.invoice.state,
                "number": draft.invoice.number,
                "number_text": draft.invoice.number_text,
                "parties": draft.parties,
                "paid": str(draft.invoice.paid),
            }
            for draft in drafts
        ),
        at=at,
        due=day + timedelta(days=seller.due_days),
    )
    for draft in drafts:
        for one in draft.compensations:
            one.invoice = draft.invoice
    Compensation.objects.bulk_update([one for draft in drafts for one in draft.compensations], ["invoice"])
    Payment.objects.bulk_create(payments)
    Credit.objects.bulk_create(beyond)
    rows = list(Credit.objects.filter(pk__in=used))  # locked when they were looked for
    for row in rows:
        row.used += amount(used[row.pk], terms.digits)
    Credit.objects.bulk_update(rows, ["used"])
    seller.save(update_fields=["last_invoice"])
    record_all(
        [
            happening(
                "invoice.issued",
                draft.invoice,
                customer=draft.invoice.customer_id,
                provider=provider,
                facts={
                    "number": draft.invoice.number_text,
                    "month": draft.invoice.month.isoformat(),
                    "total": str(draft.invoice.total),
                    "currency": draft.invoice.currency,
                },
            )
            for draft in drafts
        ],
        by_id=None if by is None else by.pk,
        at=at,
    )
    ask_to_send([draft.invoice for draft in drafts], at=at)
