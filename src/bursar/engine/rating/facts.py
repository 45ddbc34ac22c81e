"""What a bill is made of: when a resource existed, under which plan and limits, what was used, and what it cost then.

Instants are aware datetimes. Facts come in any order; of two for one instant the one with the greater `number` counts,
numbers being given in the order in which facts were recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cached_property

from bursar.engine.rating.steps import Steps


@dataclass(frozen=True, slots=True)
class StateFact:
    """state   as of the resource: creating | ok | changing | paused | terminating | terminated | failed"""

    number: int
    at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class PlanFact:
    number: int
    at: datetime
    plan: int


@dataclass(frozen=True, slots=True)
class LimitFact:
    number: int
    at: datetime
    component: int
    limit: int


@dataclass(frozen=True, slots=True)
class Used:
    """So many units of a component were used at an instant.

    A sum over a stretch in which neither plan nor price changed may stand for its reports, at any instant of it.
    """

    at: datetime
    component: int
    quantity: Fraction


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of one resource. `used` needs to hold the rated month only."""

    resource: int
    states: tuple[StateFact, ...]
    plans: tuple[PlanFact, ...]
    limits: tuple[LimitFact, ...] = ()
    used: tuple[Used, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A component of an offering, as far as it is billed.

    billing        fixed | usage | limit | one_time | on_switch
    limit_period   day | month | quarter | year | total
    """

    component: int
    billing: str
    limit_period: str = "month"
    free_while_paused: bool = False


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """What a component costs in a plan from an instant on.

    number      in the order of recording; of two from one instant the greater counts
    price       per unit of the component, exact, in the seller's currency
    amount      units that the plan fixes; for fixed components
    tier_kind   "" | graduated | volume; for usage components
    tiers       (from quantity, price), rising, beyond the first step, whose price is `price`
    """

    number: int
    at: datetime
    price: Fraction
    amount: int = 0
    tier_kind: str = ""
    tiers: tuple[tuple[Fraction, Fraction], ...] = ()


@dataclass(frozen=True)
class Tariff:
    """What an offering's resources are billed by. One serves all of them; it is put in order once and not changed after.

    parts    component -> what it is
    units    plan -> month | half_month | day | hour | quantity
    prices   (plan, component) -> its versions, in any order
    """

    parts: Mapping[int, Part]
    units: Mapping[int, str]
    prices: Mapping[tuple[int, int], tuple[PriceVersion, ...]]

    @cached_property
    def versions(self) -> Mapping[tuple[int, int], Steps[PriceVersion]]:
        """(plan, component) -> which version was in force when."""
        return {key: Steps((v.at, v.number, v) for v in versions) for key, versions in self.prices.items()}

    @cached_property
    def turns(self) -> tuple[datetime, ...]:
        """The instants from which any price is in force, in order."""
        return tuple(sorted({at for steps in self.versions.values() for at in steps.ats}))


@dataclass(frozen=True, slots=True)
class Charge:
    """One line: a resource's component under one plan and price version in one month.

    quantity   units x share of their period, exact; of `usage` the units used
    amount     money, exact except where rounded months are taken off (limits per quarter or year)
    rounded    money in whole minor units of the currency, as a count of them
    unit_price that of the version; of one sold by volume that of the step reached, of a graduated one that of its first
    basis      how the quantity came about, ready for JSON: days, hours, limits, tiers
    """

    component: int
    plan: int
    price_version: int
    quantity: Fraction
    unit_price: Fraction
    amount: Fraction
    rounded: int
    basis: Mapping[str, object]
