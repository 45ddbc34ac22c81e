"""The facts of many resources at once, as far as they were known at a cut: a few statements, however many there are."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.db import connection

from bursar.billing.models import Cut
from bursar.catalogue.models import Component, Plan, PlanComponent
from bursar.engine.rating.calendar import Month
from bursar.engine.rating.facts import History, LimitFact, Part, PlanFact, PriceVersion, StateFact, Tariff, Used
from bursar.engine.rating.rate import Stretch, boundaries, stretches
from bursar.provisioning.pricing import version_of
from bursar.provisioning.quota import shared_categories

# Nothing is charged at an instant after its recording; clocks of servers may differ a little.
LEAD: Final = timedelta(minutes=5)
NUMBER_MAX: Final = 2**63 - 1


class Subject(NamedTuple):
    """A resource that may be billed, with who pays for it."""

    resource: int
    workspace: int
    offering: int
    customer: int


@dataclass(slots=True)
class Offer:
    """How an offering is billed.

    used   product category -> the components billed by use that are counted on it, by the name that tells reports of one
           from reports of another; "" where only one thing is measured on the category
    """

    tariff: Tariff
    tax_categories: Mapping[int, str]
    per_unit: Mapping[int, int]
    used: Mapping[int, Mapping[str, int]]
    shared: frozenset[int]


@dataclass(slots=True)
class Gathered:
    subjects: list[Subject]
    histories: dict[int, History] = field(default_factory=dict)
    offers: dict[int, Offer] = field(default_factory=dict)


_SUBJECTS: Final = """
SELECT r.id, r.workspace_id, r.offering_id, coalesce(p.organization_id, w.organization_id)
FROM resource r JOIN offering o ON o.id = r.offering_id JOIN workspace w ON w.id = r.workspace_id
    LEFT JOIN project p ON p.id = w.project_id
WHERE o.provider_id = %(provider)s AND r.created_at < %(end)s AND (r.terminated_at IS NULL OR r.terminated_at >= %(start)s)
    AND coalesce(p.organization_id, w.organization_id) IS NOT NULL
    AND (%(resources)s::bigint[] IS NULL OR r.id = ANY(%(resources)s::bigint[]))
    AND (%(customers)s::bigint[] IS NULL OR coalesce(p.organization_id, w.organization_id) = ANY(%(customers)s::bigint[]))
ORDER BY r.id
"""

_FACTS: Final = """
SELECT resource_id, id, what, effective_at, state, plan_id, component_id, "limit"
FROM resource_fact WHERE resource_id = ANY(%(resources)s::bigint[]) AND id <= %(last)s AND effective_at < %(end)s
ORDER BY resource_id
"""

# A resource in which two things are measured on one category has reports that say which of them they are of: by a label, or
# by the scope that the server's own collector gives them.
# Most resources have one price throughout the month: their sums are few, so that the server may read with several
# processes, each adding up for itself. No common table expression and no join may be in the way of that.
_USED_EVENLY: Final = """
SELECT resource_id, category_id,
    CASE WHEN category_id = ANY(%(shared)s::bigint[])
        THEN coalesce(labels ->> 'component', split_part(scope, ' ', 3), '') ELSE '' END AS component,
    0 AS stretch, sum(posted_ticks)::text
FROM usage_report
WHERE recorded_at >= %(recorded)s AND used_at >= %(start)s AND used_at < %(end)s AND resource_id IS NOT NULL
    AND category_id = ANY(%(categories)s::bigint[])
    AND operation_id <= (%(operations)s::bigint[])[array_position(%(categories)s::bigint[], category_id)]
    AND resource_id <> ALL(%(turning)s::bigint[])
    AND (%(resources)s::bigint[] IS NULL OR resource_id = ANY(%(resources)s::bigint[]))
GROUP BY 1, 2, 3
"""
_USED_IN_STRETCHES: Final = """
SELECT u.resource_id, u.category_id,
    CASE WHEN u.category_id = ANY(%(shared)s::bigint[])
        THEN coalesce(u.labels ->> 'component', split_part(u.scope, ' ', 3), '') ELSE '' END AS component,
    width_bucket(u.used_at, t.ats) AS stretch, sum(u.posted_ticks)::text
FROM usage_report u JOIN (
        SELECT resource_id, array_agg(at ORDER BY at) AS ats
        FROM unnest(%(turning)s::bigint[], %(turns)s::timestamptz[]) AS t (resource_id, at) GROUP BY resource_id
    ) t ON t.resource_id = u.resource_id
WHERE u.recorded_at >= %(recorded)s AND u.used_at >= %(start)s AND u.used_at < %(end)s
    AND u.category_id = ANY(%(categories)s::bigint[])
    AND u.operation_id <= (%(operations)s::bigint[])[array_position(%(categories)s::bigint[], u.category_id)]
GROUP BY 1, 2, 3, 4
"""


def subjects_of(
    *,
    provider_id: int,
    start: datetime,
    end: datetime,
    resources: Collection[int] | None = None,
    customers: Collection[int] | None = None,
) -> list[Subject]:
    """The provider's resources that may have existed between two instants and that an organization pays for, by number."""
    with connection.cursor() as cursor:
        cursor.execute(
            _SUBJECTS,
            {
                "provider": provider_id,
                "start": start,
                "end": end,
                "resources": _list(resources),
                "customers": _list(customers),
            },
        )
        return [Subject(*row) for row in cursor.fetchall()]


def gather(
    *,
    provider_id: int,
    month: Month,
    zone: tzinfo,
    cut: Cut | None,
    resources: Collection[int] | None = None,
    customers: Collection[int] | None = None,
) -> Gathered:
    """All that rates a month of a provider's resources and was known at a cut.

    cut                    None = all that is known now
    resources, customers   only of these; None = all. Those named have their usage found by resource, all by one reading
    """
    start, end = month.start(zone), month.end(zone)
    subjects = subjects_of(provider_id=provider_id, start=start, end=end, resources=resources, customers=customers)
    found = Gathered(subjects)
    if not subjects:
        return found
    found.offers = offers_of({one.offering for one in subjects}, cut)
    ids = [one.resource for one in subjects]
    found.histories = _histories(ids, end=end, last=NUMBER_MAX if cut is None else cut.fact)
    narrow = resources is not None or customers is not None
    _add_usage(found, month, zone, cut, only=ids if narrow else None)
    return found


def stretches_of(
    *, resource: int, offering: int, component: int, month: Month, zone: tzinfo, cut: Cut | None
) -> list[Stretch]:
    """By what a resource's use of a component is billed in each part of a month, as far as was known at the cut."""
    last = NUMBER_MAX if cut is None else cut.fact
    history = _histories([resource], end=month.end(zone), last=last).get(resource, History(resource, (), (), ()))
    return stretches(history, offers_of({offering}, cut)[offering].tariff, month, zone, component)


def offers_of(offerings: Collection[int], cut: Cut | None) -> dict[int, Offer]:
    """Components, plans and prices of offerings; prices as far as they were known at the cut, None = all. Three queries."""
    components: dict[int, list[Component]] = {}
    for component in Component.objects.filter(offering__in=offerings).select_related("category"):
        components.setdefault(component.offering_id, []).append(component)
    units: dict[int, dict[int, str]] = {}
    for pk, offering, unit in Plan.objects.filter(offering__in=offerings).values_list("pk", "offering_id", "unit"):
        units.setdefault(offering, {})[pk] = unit
    prices: dict[int, dict[tuple[int, int], list[PriceVersion]]] = {}
    rows = PlanComponent.objects.filter(plan__offering__in=offerings)
    if cut is not None:
        rows = rows.filter(pk__lte=cut.price)
    for row in rows.select_related("plan"):
        of_offering = prices.setdefault(row.plan.offering_id, {})
        of_offering.setdefault((row.plan_id, row.component_id), []).append(version_of(row))
    return {
        offering: _offer(components.get(offering, []), units.get(offering, {}), prices.get(offering, {}))
        for offering in offerings
    }


def _offer(
    components: Iterable[Component], units: Mapping[int, str], prices: Mapping[tuple[int, int], list[PriceVersion]]
) -> Offer:
    components = list(components)
    shared = shared_categories(components)
    used: dict[int, dict[str, int]] = {}
    for one in components:
        if one.billing == Component.Billing.USAGE and one.category_id is not None:
            used.setdefault(one.category_id, {})[one.key if one.category_id in shared else ""] = one.pk
    return Offer(
        tariff=Tariff(
            parts={one.pk: Part(one.pk, one.billing, one.limit_period, one.free_while_paused) for one in components},
            units=units,
            prices={key: tuple(versions) for key, versions in prices.items()},
        ),
        tax_categories={one.pk: one.tax_category for one in components},
        per_unit={one.pk: one.ticks_per_unit for one in components},
        used=used,
        shared=shared,
    )


def _histories(resources: list[int], *, end: datetime, last: int) -> dict[int, History]:
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, {"resources": resources, "last": last, "end": end})
        rows = cursor.fetchall()
    found = {}
    for resource, facts in groupby(rows, key=itemgetter(0)):
        states, plans, limits = [], [], []
        for _, number, what, at, state, plan, component, limit in facts:
            if what == "state":
                states.append(StateFact(number, at, state))
            elif what == "plan":
                plans.append(PlanFact(number, at, plan))
            else:
                limits.append(LimitFact(number, at, component, limit))
        found[resource] = History(resource, tuple(states), tuple(plans), tuple(limits))
    return found


def _add_usage(found: Gathered, month: Month, zone: tzinfo, cut: Cut | None, *, only: list[int] | None) -> None:
    """What was used between the instants at which its price turns."""
    shared: dict[int, bool] = {}
    for offer in found.offers.values():
        for category in offer.used:
            shared[category] = shared.get(category, False) or category in offer.shared
    until = {
        category: NUMBER_MAX if cut is None else cut.operations.get(str(category), 0) for category in sorted(shared)
    }
    if not until:
        return
    turns: dict[int, list[datetime]] = {}
    offer_of = {one.resource: found.offers[one.offering] for one in found.subjects}
    for resource, history in found.histories.items():
        offer = offer_of[resource]
        if offer.used:
            turns[resource] = boundaries(history, offer.tariff, month, zone)
    start, end = month.start(zone), month.end(zone)
    parameters: dict[str, Any] = {
        "turning": [resource for resource, ats in turns.items() for _ in ats],
        "turns": [at for ats in turns.values() for at in ats],
        "categories": list(until),
        "operations": list(until.values()),
        "shared": [category for category in until if shared[category]],
        "recorded": start - LEAD,
        "start": start,
        "end": end,
        "resources": only,
    }
    with connection.cursor() as cursor:
        cursor.execute(_USED_EVENLY, parameters)
        rows = cursor.fetchall()
        if parameters["turning"]:
            cursor.execute(_USED_IN_STRETCHES, parameters)
            rows += cursor.fetchall()
    used: dict[int, dict[tuple[int, int], int]] = {}
    for resource, category, label, stretch, ticks in rows:
        offer_found = offer_of.get(resource)
        names = offer_found.used.get(category) if offer_found is not None else None
        if offer_found is None or names is None:
            continue
        component = names.get(label if category in offer_found.shared else "")
        if component is not None:
            sums = used.setdefault(resource, {})
            sums[component, stretch] = sums.get((component, stretch), 0) + int(ticks)
    for resource, sums in used.items():
        found_history = found.histories.get(resource)
        if found_history is None:
            continue
        ats = [start, *turns[resource]]
        per_unit = offer_of[resource].per_unit
        parts = tuple(
            Used(ats[stretch], component, Fraction(ticks, per_unit[component]))
            for (component, stretch), ticks in sorted(sums.items(), key=lambda one: (one[0][1], one[0][0]))
            if ticks
        )
        found.histories[resource] = History(
            found_history.resource, found_history.states, found_history.plans, found_history.limits, parts
        )


def _list(values: Collection[int] | None) -> list[int] | None:
    return None if values is None else sorted(values)
