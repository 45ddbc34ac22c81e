"""What a month of a seller comes to: rated from the facts, beside what was invoiced for it already, taxed and summed up.

Reads only. Everything here follows from rows up to a cut and from what was issued before; who writes it down is `services`.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection

from bursar.billing.canonical import Item, Sums, minor
from bursar.billing.gathering import Gathered, Subject, gather
from bursar.billing.models import Compensation, Credit, Cut, InvoiceLine
from bursar.billing.taxes import Rates, taxed
from bursar.engine.apportion import allot
from bursar.engine.rating.calendar import Month
from bursar.engine.rating.rate import charges
from bursar.kernel.money import minor_units

Kind = InvoiceLine.Kind
_JSON: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Terms:
    """By what a seller's months are counted: money, days, and what its organization is called in the tables."""

    provider: int
    currency: str
    digits: int
    zone: ZoneInfo

    def month_of(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date().replace(day=1)

    def start(self, month: date) -> datetime:
        return month_of(month).start(self.zone)


def month_of(day: date) -> Month:
    return Month(day.year, day.month)


def next_month(month: date) -> date:
    return month_of(month).plus(1).first


def last_day(month: date) -> date:
    return next_month(month) - timedelta(days=1)


def months_between(start: date, end: date) -> list[date]:
    """The months from one on, up to another that is not among them."""
    found = []
    while start < end:
        found.append(start)
        start = next_month(start)
    return found


class Key(NamedTuple):
    """What a line is of, whichever invoices it is on."""

    month: date
    resource: int
    component: int
    plan: int
    price: int


@dataclass(slots=True)
class Rated:
    """Lines by who pays for them, in the order in which they stand on an invoice."""

    by_customer: dict[int, list[Item]] = field(default_factory=lambda: defaultdict(list))
    subjects: dict[int, Subject] = field(default_factory=dict)


def rate(
    terms: Terms,
    month: date,
    cut: Cut | None,
    *,
    resources: Collection[int] | None = None,
    customers: Collection[int] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Rated:
    """The charges of a month from what was known at a cut.

    told   how many resources are rated, of how many
    """
    found = gather(
        provider_id=terms.provider,
        month=month_of(month),
        zone=terms.zone,
        cut=cut,
        resources=resources,
        customers=customers,
    )
    return rate_gathered(terms, month, found, told=told)


def rate_gathered(
    terms: Terms, month: date, found: Gathered, *, told: Callable[[int, int], None] | None = None
) -> Rated:
    rated, of_engine = Rated(), month_of(month)
    count = len(found.subjects)
    for done, subject in enumerate(found.subjects):
        if told is not None and done % 500 == 0:
            told(done, count)
        rated.subjects[subject.resource] = subject
        history = found.histories.pop(subject.resource, None)
        if history is None:
            continue
        offer = found.offers[subject.offering]
        rated.by_customer[subject.customer] += [
            Item(
                kind=Kind.CHARGE.value,
                month=month,
                quantity=charge.quantity,
                unit_price=charge.unit_price,
                minor=charge.rounded,
                tax_category=offer.tax_categories[charge.component],
                workspace=subject.workspace,
                resource=subject.resource,
                component=charge.component,
                plan=charge.plan,
                price=charge.price_version,
                basis=_JSON({**charge.basis, **_days(charge.basis)}),
            )
            for charge in charges(history, offer.tariff, of_engine, terms.zone, terms.digits)
        ]
    if told is not None:
        told(count, count)
    for items in rated.by_customer.values():
        items.sort(key=_place)
    return rated


def _place(item: Item) -> tuple[int, int]:
    return item.workspace or 0, item.resource or 0  # what comes of one resource stays in its order


def _days(basis: Mapping[str, Any]) -> dict[str, str]:
    """The first and the last day that a line counts, where it counts days."""
    stretches = basis.get("stretches")
    if not stretches or "from" not in stretches[0]:
        return {}
    return {"first": str(stretches[0]["from"])[:10], "last": str(stretches[-1]["to"])[:10]}


# ------------------------------------------------------------------------------------------------ what came late
_TOUCHED_BY_FACTS: Final = """
SELECT resource_id, min(effective_at) FROM resource_fact
WHERE id > %(fact)s AND id <= %(last_fact)s AND effective_at < %(before)s AND resource_id = ANY(%(resources)s::bigint[])
GROUP BY resource_id
UNION ALL
SELECT f.resource_id, min(c.valid_from) FROM plan_component c JOIN resource_fact f ON f.plan_id = c.plan_id
WHERE c.id > %(price)s AND c.id <= %(last_price)s AND c.valid_from < %(before)s AND f.resource_id = ANY(%(resources)s::bigint[])
GROUP BY f.resource_id
"""
_TOUCHED_BY_USAGE: Final = """
WITH span AS MATERIALIZED (
    SELECT * FROM unnest(%(categories)s::bigint[], %(from)s::bigint[], %(until)s::bigint[]) AS s (category_id, lower, upper)
)
SELECT DISTINCT u.resource_id, date_trunc('month', u.used_at, %(zone)s) FROM usage_report u JOIN span s
    ON s.category_id = u.category_id AND u.operation_id > s.lower AND u.operation_id <= s.upper
WHERE u.recorded_at >= %(recorded)s AND u.used_at >= %(start)s AND u.used_at < %(before)s
    AND u.resource_id = ANY(%(resources)s::bigint[])
"""


def touched(
    terms: Terms, *, since: Cut | None, cut: Cut, months: Sequence[date], resources: Collection[int]
) -> dict[date, set[int]]:
    """Of closed months, those of which something became known between two cuts, with the resources it is of.

    A superset does no harm: what comes to the same again is no adjustment.
    since    None = from the beginning
    months   in order, without gaps
    """
    found: dict[date, set[int]] = defaultdict(set)
    if not months or not resources:
        return found
    start, before = terms.start(months[0]), terms.start(next_month(months[-1]))
    operations = since.operations if since is not None else {}
    parameters: dict[str, Any] = {
        "fact": since.fact if since is not None else 0,
        "last_fact": cut.fact,
        "price": since.price if since is not None else 0,
        "last_price": cut.price,
        "resources": sorted(resources),
        "start": start,
        "before": before,
        "zone": terms.zone.key,
        "categories": [int(category) for category in cut.operations],
        "from": [operations.get(category, 0) for category in cut.operations],
        "until": list(cut.operations.values()),
        # Recorded at the earliest when the month it is of began, and after the cut; a day for clocks that are wrong.
        "recorded": max(start, since.taken_at if since is not None else start) - timedelta(days=1),
    }
    with connection.cursor() as cursor:
        cursor.execute(_TOUCHED_BY_FACTS, parameters)
        for resource, at in cursor.fetchall():
            # What a resource is goes on until the next fact, and a quarter's last month settles those before it.
            first = max(months[0], terms.month_of(at))
            for month in months_between(first, next_month(months[-1])):
                found[month].add(resource)
        cursor.execute(_TOUCHED_BY_USAGE, parameters)
        for resource, at in cursor.fetchall():
            found[terms.month_of(at)].add(resource)
    return found


@dataclass(slots=True)
class Invoiced:
    """What issued invoices hold of one key, credit notes that carry out a recomputation taken off."""

    minor: int
    quantity: Fraction
    unit_price: Fraction
    tax_category: str
    workspace: int | None


_INVOICED: Final = """
SELECT l.month, l.resource_id, l.component_id, l.plan_id, l.price_id, l.amount,
    coalesce(l.basis ->> 'quantity', l.quantity::text), l.unit_price, l.tax_category, l.workspace_id,
    (SELECT sum(n.amount) FROM credit_note_line n JOIN credit_note c ON c.id = n.credit_note_id
     WHERE n.line_id = l.id AND c.carries_out AND (%(before)s::bigint IS NULL OR c.after_invoice < %(before)s))
FROM unnest(%(resources)s::bigint[], %(months)s::date[]) AS t (resource_id, month)
    JOIN invoice_line l ON l.resource_id = t.resource_id AND l.month = t.month AND l.kind IN ('charge', 'adjustment')
    JOIN invoice i ON i.id = l.invoice_id
WHERE i.provider_id = %(provider)s AND i.state <> 'open' AND (%(before)s::bigint IS NULL OR i.number < %(before)s)
ORDER BY i.number, l.position
"""


def invoiced(terms: Terms, pairs: Collection[tuple[int, date]], *, before: int | None = None) -> dict[Key, Invoiced]:
    """What was invoiced so far for (resource, month). before   an invoice's number: by those before it only"""
    found: dict[Key, Invoiced] = {}
    if not pairs:
        return found
    ordered = sorted(pairs)
    parameters: dict[str, Any] = {
        "resources": [resource for resource, _ in ordered],
        "months": [month for _, month in ordered],
        "provider": terms.provider,
        "before": before,
    }
    with connection.cursor() as cursor:
        cursor.execute(_INVOICED, parameters)
        rows = cursor.fetchall()
    for month, resource, component, plan, price, amount, quantity, unit_price, category, workspace, credited in rows:
        key = Key(month, resource, component, plan, price)
        one = found.setdefault(key, Invoiced(0, Fraction(0), Fraction(unit_price), category, workspace))
        share = Fraction(credited) / Fraction(amount) if credited and amount else Fraction(0)
        one.minor += minor(amount - (credited or 0), terms.digits)
        one.quantity += Fraction(quantity) * (1 - share)
    return found


def adjustments(now: Iterable[Item], before: Mapping[Key, Invoiced]) -> list[Item]:
    """What months come to now, less what was invoiced for them: one line for each key whose amount differs."""
    left, found = dict(before), []
    for item in now:
        assert item.resource is not None
        assert item.component is not None
        assert item.plan is not None
        assert item.price is not None
        key = Key(item.month, item.resource, item.component, item.plan, item.price)
        was = left.pop(key, None)
        found.append(_difference(key, item, was))
    for key, was in left.items():
        found.append(_difference(key, None, was))
    return sorted(
        (one for one in found if one.minor),
        key=lambda i: (i.month, i.workspace, i.resource, i.component, i.plan, i.price),
    )


def _difference(key: Key, now: Item | None, was: Invoiced | None) -> Item:
    like = now or was
    assert like is not None
    quantity = (now.quantity if now else Fraction(0)) - (was.quantity if was else Fraction(0))
    basis: dict[str, Any] = json.loads(now.basis) if now else {}
    basis |= {
        "quantity": str(quantity),
        "was": {"minor": was.minor if was else 0, "quantity": str(was.quantity if was else 0)},
        "is": {"minor": now.minor if now else 0, "quantity": str(now.quantity if now else 0)},
    }
    return Item(
        kind=Kind.ADJUSTMENT.value,
        month=key.month,
        quantity=quantity,
        unit_price=like.unit_price,
        minor=(now.minor if now else 0) - (was.minor if was else 0),
        tax_category=like.tax_category,
        workspace=like.workspace,
        resource=key.resource,
        component=key.component,
        plan=key.plan,
        price=key.price,
        basis=_JSON(basis),
    )


# ------------------------------------------------------------------------------------------------ taxes, credits, sums
def compensation_items(month: date, compensations: Iterable[Compensation], digits: int) -> list[Item]:
    return [
        Item(
            kind=Kind.COMPENSATION.value,
            month=month,
            quantity=Fraction(1),
            unit_price=-Fraction(one.amount),
            minor=-minor(one.amount, digits),
            tax_category=one.tax_category,
            workspace=one.workspace_id,
            resource=one.resource_id,
            compensation=one.pk,
        )
        for one in compensations
    ]


def tax_items(items: Iterable[Item], parties: Mapping[str, Any], rates: Rates) -> None:
    """Put on each line how it is taxed: by the rate of the month that it belongs to."""
    known: dict[tuple[str, date], tuple[Decimal, str]] = {}
    for item in items:
        key = (item.tax_category, item.month)
        if key not in known:
            known[key] = taxed(parties, rates, item.tax_category, last_day(item.month))
        item.percent, item.note = known[key]


class Scope(NamedTuple):
    """For which lines a credit may be used: all, those of a project, those of offerings, or both.

    projects, offerings   workspace -> its project, resource -> its offering, of all lines there are
    """

    project: int | None
    offerings: frozenset[int]

    def holds(self, item: Item, projects: Mapping[int, int | None], offerings: Mapping[int, int]) -> bool:
        if self.project is not None and (item.workspace is None or projects.get(item.workspace) != self.project):
            return False
        return not self.offerings or (item.resource is not None and offerings.get(item.resource) in self.offerings)


@dataclass(slots=True)
class Purse:
    """A credit as far as it can still be used, in whole minor units."""

    credit: int
    left: int
    scope: Scope


def purses_of(rows: Iterable[Credit], digits: int) -> list[Purse]:
    """Credits in the order in which they are used. They come with their offerings read."""
    return [
        Purse(
            one.pk,
            minor(one.amount - one.used, digits),
            Scope(one.project_id, frozenset(o.pk for o in one.offerings.all())),
        )
        for one in rows
    ]


def use_credits(
    items: list[Item],
    purses: Iterable[Purse],
    month: date,
    digits: int,
    eligible: Callable[[Item, Scope], bool],
    amounts: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Add the lines by which granted credits lower the net, and say how much of each is used.

    Each is spread over what it may be used for, in proportion to what is left of the net of each (category, rate).
    amounts   credit -> how much was used of it, where that is known already
    """
    used: dict[int, int] = {}
    taken: list[tuple[Item, Scope]] = []
    for purse in purses:
        nets: dict[tuple[str, Decimal, str], int] = {}
        for item in items:
            if eligible(item, purse.scope):
                nets[item.group] = nets.get(item.group, 0) + item.minor
        # A credit that was used before lowers what is left where the two may be used for the same.
        for item, scope in taken:
            if item.group in nets and _overlap(scope, purse.scope):
                nets[item.group] += item.minor
        groups = sorted(group for group, net in nets.items() if net > 0)
        most = sum(nets[group] for group in groups)
        spent = min(purse.left, most) if amounts is None else amounts.get(purse.credit, 0)
        if spent <= 0 or not groups:
            continue
        used[purse.credit] = spent
        for group, part in zip(groups, allot(spent, [nets[group] for group in groups]), strict=True):
            if part:
                line = _credit_line(purse, group, part, month, digits)
                taken.append((line, purse.scope))
    items += [line for line, _ in taken]
    return used


def _overlap(one: Scope, other: Scope) -> bool:
    """Whether there may be lines for which both can be used."""
    if one.project is not None and other.project is not None and one.project != other.project:
        return False
    return not (one.offerings and other.offerings) or not one.offerings.isdisjoint(other.offerings)


def _credit_line(purse: Purse, group: tuple[str, Decimal, str], part: int, month: date, digits: int) -> Item:
    category, percent, note = group
    return Item(
        kind=Kind.CREDIT.value,
        month=month,
        quantity=Fraction(1),
        unit_price=-Fraction(part, 10**digits),
        minor=-part,
        tax_category=category,
        credit=purse.credit,
        percent=percent,
        note=note,
    )


def sum_up(items: Iterable[Item]) -> Sums:
    """Net and tax: the tax of each (category, rate) on the sum of its lines, rounded once."""
    nets: dict[tuple[str, Decimal, str], int] = {}
    for item in items:
        nets[item.group] = nets.get(item.group, 0) + item.minor
    sums = Sums(net=sum(nets.values()))
    for group, net in nets.items():
        tax = minor_units(net * Fraction(group[1]) / 100, 0)
        sums.taxes[group] = (net, tax)
        sums.tax += tax
    return sums
