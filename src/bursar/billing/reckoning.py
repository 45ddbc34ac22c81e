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

from bursar.billing.canonical import Item, minor
from bursar.billing.gathering import Gathered, Subject, gather
from bursar.billing.models import Compensation, Credit, Cut, InvoiceLine
from bursar.billing.taxes import Rates, taxed
from bursar.engine.rating.calendar import Month
from bursar.engine.rating.exact import text
from bursar.engine.rating.facts import Charge
from bursar.engine.rating.rate import charges
from bursar.engine.rating.totals import Adjustment, Balance, Rate, Totals, totals
from bursar.engine.rating.totals import Invoiced as Sum
from bursar.engine.rating.totals import Item as Summand
from bursar.engine.rating.totals import adjustments as differences

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
                offering=subject.offering,
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
    offering: int


_INVOICED: Final = """
SELECT l.month, l.resource_id, l.component_id, l.plan_id, l.price_id, l.amount,
    coalesce(l.basis ->> 'quantity', l.quantity::text), l.unit_price, l.tax_category, l.workspace_id,
    r.offering_id,
    (SELECT sum(n.amount) FROM credit_note_line n JOIN credit_note c ON c.id = n.credit_note_id
     WHERE n.line_id = l.id AND c.carries_out AND (%(before)s::bigint IS NULL OR c.after_invoice < %(before)s))
FROM unnest(%(resources)s::bigint[], %(months)s::date[]) AS t (resource_id, month)
    JOIN invoice_line l ON l.resource_id = t.resource_id AND l.month = t.month AND l.kind IN ('charge', 'adjustment')
    JOIN invoice i ON i.id = l.invoice_id JOIN resource r ON r.id = l.resource_id
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
    for row in rows:
        (
            month,
            resource,
            component,
            plan,
            price,
            amount,
            quantity,
            unit_price,
            category,
            workspace,
            offering,
            credited,
        ) = row
        key = Key(month, resource, component, plan, price)
        one = found.setdefault(key, Invoiced(0, Fraction(0), Fraction(unit_price), category, workspace, offering))
        share = Fraction(credited) / Fraction(amount) if credited and amount else Fraction(0)
        one.minor += minor(amount - (credited or 0), terms.digits)
        one.quantity += Fraction(quantity) * (1 - share)
    return found


def key_of(item: Item) -> Key:
    return Key(item.month, item.resource or 0, item.component or 0, item.plan or 0, item.price or 0)


def adjustments(now: Iterable[Item], before: Mapping[Key, Invoiced]) -> list[Item]:
    """What months come to now, less what was invoiced for them: one line for each key whose amount differs."""
    items = {key_of(item): item for item in now}
    found = differences(
        {key: _charge(key, item) for key, item in items.items()},
        {key: Sum(was.quantity, was.minor) for key, was in before.items()},
    )
    return sorted((_line(one, items.get(one.key), before.get(one.key)) for one in found), key=key_of)


def _charge(key: Key, item: Item) -> Charge:
    return Charge(
        key.component, key.plan, key.price, item.quantity, item.unit_price, Fraction(item.minor), item.minor, {}
    )


def _line(one: Adjustment[Key], now: Item | None, was: Invoiced | None) -> Item:
    like = now or was
    assert like is not None
    basis: dict[str, Any] = json.loads(now.basis) if now else {}
    basis |= {
        "quantity": text(one.quantity),
        "was": {"minor": one.invoiced.rounded, "quantity": text(one.invoiced.quantity)},
        "is": {"minor": now.minor if now else 0, "quantity": text(now.quantity if now else 0)},
    }
    return Item(
        kind=Kind.ADJUSTMENT.value,
        month=one.key.month,
        quantity=one.quantity,
        unit_price=like.unit_price,
        minor=one.rounded,
        tax_category=like.tax_category,
        workspace=like.workspace,
        offering=like.offering,
        resource=one.key.resource,
        component=one.key.component,
        plan=one.key.plan,
        price=one.key.price,
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
            offering=None if one.resource is None else one.resource.offering_id,
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


def balances_of(
    rows: Iterable[Credit], workspaces: Mapping[int, int], digits: int, spent: Mapping[int, int] | None = None
) -> list[Balance]:
    """What is left of credits, and for what. They come with their offerings read.

    workspaces   project -> its workspace
    spent        credit -> what is spoken for already, in whole minor units
    """
    return [
        Balance(
            credit=one.pk,
            left=minor(one.amount - one.used, digits) - (spent or {}).get(one.pk, 0),
            expires=one.expires_on,
            workspaces=None if one.project_id is None else frozenset({workspaces[one.project_id]}),
            offerings=frozenset(o.pk for o in one.offerings.all()) or None,
        )
        for one in rows
    ]


def sum_up(
    items: list[Item], month: date, digits: int, granted: Iterable[Balance] = (), prepaid: Iterable[Balance] = ()
) -> Totals:
    """Add the lines by which granted credits lower the net, and say what all comes to."""
    rates: dict[tuple[str, Decimal, str], Rate] = {}
    for item in items:
        if item.group not in rates:
            rates[item.group] = Rate(item.tax_category, Fraction(item.percent), item.note)
    found = totals(
        [Summand(item.minor, rates[item.group], item.workspace, item.offering) for item in items], granted, prepaid
    )
    percents = {rate: group for group, rate in rates.items()}
    for drawn in found.granted:
        category, percent, note = percents[drawn.rate]
        items.append(
            Item(
                kind=Kind.CREDIT.value,
                month=month,
                quantity=Fraction(1),
                unit_price=-Fraction(drawn.amount, 10**digits),
                minor=-drawn.amount,
                tax_category=category,
                credit=drawn.credit,
                percent=percent,
                note=note,
            )
        )
    return found


def used_of(found: Totals) -> dict[int, int]:
    """Credit -> how much of it is used, granted or paid ahead, in whole minor units."""
    used: dict[int, int] = {}
    for drawn in found.granted:
        used[drawn.credit] = used.get(drawn.credit, 0) + drawn.amount
    for credit, value in found.prepaid:
        used[credit] = used.get(credit, 0) + value
    return used
