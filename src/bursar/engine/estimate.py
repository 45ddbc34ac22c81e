"""What an order is likely to cost per month and how much quota it may draw, from its plan and limits alone.

An estimate, not a bill: a month counts as a twelfth of a year of 365 days, and what is billed by use is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

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
    """

    key: str
    billing: str
    price: Fraction
    amount: int = 0
    limit: int = 0
    limit_period: str = "month"
    category: int | None = None
    ticks_per_unit: int = 1


@dataclass(frozen=True, slots=True)
class Line:
    """What one component adds; a component billed by use has the price of a unit and no sum."""

    key: str
    quantity: int | None
    unit_price: Fraction
    month: Fraction
    once: Fraction


@dataclass(frozen=True, slots=True)
class Estimate:
    """month, once: money, exact; ticks: category -> ticks that may be drawn; by_use: something is billed as it is used."""

    month: Fraction
    once: Fraction
    ticks: Mapping[int, int] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    by_use: bool = False

    @property
    def is_free(self) -> bool:
        return self.month == 0 and self.once == 0 and not self.by_use


def estimate(components: Iterable[PricedComponent], plan_unit: str, *, first: bool, switched: bool = False) -> Estimate:
    """The estimate of an order.

    plan_unit   month | half_month | day | hour | quantity
    first       the resource is new, so what is paid once is due
    switched    the plan changes, so what is paid on a switch is due
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
            by_use = by_use or part.price > 0
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
