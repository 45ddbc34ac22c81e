"""What an order is likely to cost per month and until its end, and how much quota it may draw, from its plan and limits.

Per month it is an estimate, not a bill: a month counts as a twelfth of a year of 365 days. Until its end it is what the
bills will say, month by month, if nothing is changed: those of the rating itself. What is billed by use counts where it
is said how much will be used, and else is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Final

from bursar.engine.rating import (
    History,
    LimitFact,
    Month,
    Part,
    PlanFact,
    PriceVersion,
    StateFact,
    Tariff,
    Used,
    charges,
)
from bursar.engine.rating.tiers import graduated, step_of

MOMENT: Final = timedelta(microseconds=1)
DAYS_IN_MONTH: Final = Fraction(365, 12)
# How often a plan's unit falls into a month.
UNITS_IN_MONTH: Final[Mapping[str, Fraction]] = {
    "month": Fraction(1),
    "half_month": Fraction(2),
    "day": DAYS_IN_MONTH,
    "hour": 24 * DAYS_IN_MONTH,
}
LIMIT_PERIODS_IN_MONTH: Final[Mapping[str, Fraction]] = {
    "day": DAYS_IN_MONTH,
    "month": Fraction(1),
    "quarter": Fraction(1, 3),
    "year": Fraction(1, 12),
}


@dataclass(frozen=True, slots=True)
class PricedComponent:
    """A component as the plan prices it.

    billing         fixed | usage | limit | one_time | on_switch
    price           per unit of the component, in the offering's currency
    amount          units the plan fixes; for fixed components
    limit           units wished for; for limit components
    limit_period    day | month | quarter | year | total
    category        key of the product category it draws from, None = none
    ticks_per_unit  ticks of the category in one unit
    versions        all prices of it in the plan, with those announced; for the cost until the end
    used            units expected to be used in a month, where that is said; for components billed by use
    limit_before    units of the limit so far, where a resource is changed
    """

    key: str
    billing: str
    price: Fraction
    amount: int = 0
    limit: int = 0
    limit_period: str = "month"
    category: int | None = None
    ticks_per_unit: int = 1
    versions: tuple[PriceVersion, ...] = ()
    used: Fraction | None = None
    limit_before: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """What one component adds; one billed by use has the price of a unit, and a sum only where its use is expected."""

    key: str
    quantity: int | None
    unit_price: Fraction
    month: Fraction
    once: Fraction


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an order comes to.

    month, once   money, exact
    ticks         category -> ticks that may be drawn
    by_use        something comes on top as it is used: of a price, and of no use that was said
    """

    month: Fraction
    once: Fraction
    ticks: Mapping[int, int] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    by_use: bool = False

    @property
    def is_free(self) -> bool:
        return self.month == 0 and self.once == 0 and not self.by_use


def version_at(versions: Iterable[PriceVersion], at: datetime) -> PriceVersion | None:
    """The price in force at an instant."""
    known = [version for version in versions if version.at <= at]
    return max(known, key=lambda version: (version.at, version.number), default=None)


def estimate(
    components: Iterable[PricedComponent],
    plan_unit: str,
    *,
    first: bool,
    switched: bool = False,
    at: datetime | None = None,
) -> Estimate:
    """The estimate of an order.

    plan_unit   month | half_month | day | hour | quantity
    first       the resource is new, so what is paid once is due
    switched    the plan changes, so what is paid on a switch is due
    at          when the steps of a price that is sold in steps are in force; None = there are none
    """
    lines: list[Line] = []
    ticks: dict[int, int] = {}
    by_use = False
    for part in components:
        month = once = Fraction(0)
        quantity: int | None = None
        if part.billing == "fixed":
            quantity = part.amount
            if plan_unit == "quantity":
                once = part.price * part.amount if first or switched else Fraction(0)
            else:
                month = part.price * part.amount * UNITS_IN_MONTH[plan_unit]
        elif part.billing == "limit":
            quantity = part.limit
            if part.limit_period == "total":
                once = part.price * part.limit if first else Fraction(0)
            else:
                month = part.price * part.limit * LIMIT_PERIODS_IN_MONTH[part.limit_period]
        elif part.billing == "one_time":
            quantity, once = 1, part.price if first else Fraction(0)
        elif part.billing == "on_switch":
            quantity, once = 1, part.price if switched else Fraction(0)
        else:
            version = version_at(part.versions, at) if at is not None else None
            priced = part.price > 0 or (version is not None and any(price for _, price in version.tiers))
            if part.used is None:
                by_use = by_use or priced
            else:
                month = _use(part.used, part.price, version)
        if part.category is not None and quantity and part.billing in {"fixed", "limit"}:
            ticks[part.category] = ticks.get(part.category, 0) + quantity * part.ticks_per_unit
        lines.append(Line(part.key, quantity, part.price, month, once))
    return Estimate(
        month=sum((line.month for line in lines), Fraction(0)),
        once=sum((line.once for line in lines), Fraction(0)),
        ticks=ticks,
        lines=tuple(lines),
        by_use=by_use,
    )


def _use(used: Fraction, price: Fraction, version: PriceVersion | None) -> Fraction:
    """What a month's use costs."""
    if version is None or not version.tier_kind:
        return used * price
    if version.tier_kind == "volume":
        return used * step_of(version, used)[1]
    return sum((units * its for _, units, its in graduated(version, Fraction(0), used)), Fraction(0))


def until_end(
    components: Iterable[PricedComponent],
    plan_unit: str,
    *,
    start: datetime,
    end: datetime,
    zone: tzinfo,
    digits: int,
    first: bool,
    switched: bool = False,
) -> list[tuple[Month, int]]:
    """What the bills of an order will say until its end, in whole minor units of the currency: those of a resource that
    begins at `start` with this plan and these limits, and ends at `end`. Months that cost nothing are there too.

    zone       the seller's, in which months and days are counted
    first      False: the resource is there already, so what was paid once is not paid again, and of a limit in total what
               it rises or falls by
    switched   its plan changes
    """
    parts: dict[int, Part] = {}
    prices: dict[tuple[int, int], tuple[PriceVersion, ...]] = {}
    limits: list[LimitFact] = []
    used: list[Used] = []
    months = _months(start, end, zone)
    for i, component in enumerate(components):
        billing = component.billing
        once = component.billing == "fixed" and plan_unit == "quantity"
        if (billing == "one_time" and not first) or (billing == "on_switch" and not switched):
            continue
        if once and not (first or switched):
            continue
        # A switch happens at the beginning, once.
        parts[i] = Part(i, "one_time" if billing == "on_switch" else billing, component.limit_period)
        prices[0, i] = component.versions
        total = billing == "limit" and component.limit_period == "total"
        limits.append(LimitFact(i, start, i, component.limit - component.limit_before if total else component.limit))
        if component.used is not None and billing == "usage":
            used.extend(_uses(i, component.used, months, start, end, zone))
    history = History(
        0,
        states=(StateFact(1, start, "ok"), StateFact(2, end, "terminating")),
        plans=(PlanFact(3, start, 0),),
        limits=tuple(limits),
    )
    tariff = Tariff(parts, {0: plan_unit}, prices)
    by_month: dict[Month, list[Used]] = {}
    for row in used:
        by_month.setdefault(Month.of(row.at, zone), []).append(row)
    return [
        (
            month,
            sum(
                charge.rounded
                for charge in charges(
                    replace(history, used=tuple(by_month.get(month, ()))), tariff, month, zone, digits
                )
            ),
        )
        for month in months
    ]


def _months(start: datetime, end: datetime, zone: tzinfo) -> list[Month]:
    first, last = Month.of(start, zone), Month.of(end - timedelta(microseconds=1), zone)
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [first.plus(i) for i in range(count)]


def _uses(
    component: int, used: Fraction, months: Iterable[Month], start: datetime, end: datetime, zone: tzinfo
) -> Iterable[Used]:
    """An expected use, spread evenly over time: of a month of which a part is left, that part of it."""
    for month in months:
        begin, after = month.start(zone), month.end(zone)
        first, last = max(start, begin), min(end, after)
        yield Used(first, component, used * Fraction((last - first) // MOMENT, (after - begin) // MOMENT))
