"""The estimate of an order from the plan's prices in force and announced; the sums are the engine's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from bursar.catalogue.models import Component, Plan, PlanComponent
from bursar.catalogue.selectors import price_versions, prices_in_force, prices_to_come
from bursar.engine.estimate import Estimate, PricedComponent, estimate, until_end, version_at
from bursar.engine.rating import Month, PriceVersion
from bursar.kernel.money import Money, minor_digits
from bursar.structure.models import Organization

LONGEST: Final = timedelta(days=366 * 20)  # beyond it nobody can say what things will cost


@dataclass(frozen=True, slots=True)
class Until:
    """What an order costs until its end, if nothing is changed: as the bills will say it, before tax.

    end      half-open
    months   each month with what its bill will say
    """

    end: datetime
    total: Money
    months: tuple[tuple[Month, Money], ...]


def prices_at(plan: Plan, at: datetime) -> dict[int, PlanComponent]:
    """Component id -> the price line in force at the instant."""
    return {component_id: line for (_, component_id), line in prices_in_force([plan.pk], at).items()}


def version_of(row: PlanComponent) -> PriceVersion:
    """A price line as the rating reads it."""
    return PriceVersion(
        number=row.pk,
        at=row.valid_from,
        price=Fraction(row.price),
        amount=row.amount,
        tier_kind=row.tier_kind,
        tiers=tuple((Fraction(start), Fraction(price)) for start, price in row.tiers),
    )


def priced(
    plan: Plan,
    components: Iterable[Component],
    limits: Mapping[str, int],
    *,
    before: Mapping[str, int] | None = None,
    uses: Mapping[str, Fraction] | None = None,
    at: datetime,
) -> list[PricedComponent]:
    """The components of a plan with the prices in force at an instant and all others.

    before   the limits so far, of a resource that is changed
    uses     component key -> units that are expected to be used in a month
    """
    versions: dict[int, list[PriceVersion]] = {}
    for row in price_versions([plan.pk]):
        versions.setdefault(row.component_id, []).append(version_of(row))
    found = []
    for component in components:
        its = tuple(versions.get(component.pk, ()))
        in_force = version_at(its, at)
        found.append(
            PricedComponent(
                key=component.key,
                billing=component.billing,
                price=in_force.price if in_force is not None else Fraction(0),
                amount=in_force.amount if in_force is not None else 0,
                limit=limits.get(component.key, 0),
                limit_period=component.limit_period,
                category=component.category_id,
                ticks_per_unit=component.ticks_per_unit,
                versions=its,
                used=(uses or {}).get(component.key),
                limit_before=(before or {}).get(component.key, 0),
            )
        )
    return found


def estimate_for(
    plan: Plan,
    components: Iterable[Component],
    limits: Mapping[str, int],
    *,
    uses: Mapping[str, Fraction] | None = None,
    at: datetime,
    first: bool = True,
    switched: bool = False,
) -> Estimate:
    """What a plan with these limits is likely to cost per month, and how many ticks of which category it may draw."""
    parts = priced(plan, components, limits, uses=uses, at=at)
    return estimate(parts, plan.unit, first=first, switched=switched, at=at)


def cost_until(
    plan: Plan,
    components: Iterable[Component],
    limits: Mapping[str, int],
    *,
    seller: Organization,
    start: datetime,
    end: datetime | None,
    before: Mapping[str, int] | None = None,
    uses: Mapping[str, Fraction] | None = None,
    at: datetime,
    first: bool = True,
    switched: bool = False,
) -> Until | None:
    """What a plan with these limits costs from `start` until `end`; None without an end, or with one too far off to say."""
    if end is None or not start < end <= start + LONGEST:
        return None
    digits = minor_digits(seller.currency)
    found = until_end(
        priced(plan, components, limits, before=before, uses=uses, at=at),
        plan.unit,
        start=start,
        end=end,
        zone=ZoneInfo(seller.time_zone),
        digits=digits,
        first=first,
        switched=switched,
    )

    def money(amount: int) -> Money:
        return Money.rounded(Fraction(amount, 10**digits), seller.currency)

    return Until(
        end, money(sum(amount for _, amount in found)), tuple((month, money(amount)) for month, amount in found)
    )


def costs_something(plan: Plan, components: Iterable[Component], *, at: datetime) -> bool:
    """Whether anything is ever paid under a plan, from now on or from a day that is known already. Two queries."""
    fixed = {component.pk for component in components if component.billing == Component.Billing.FIXED}
    lines = [*prices_in_force([plan.pk], at).values(), *prices_to_come([plan.pk], at)]
    return any(_is_paid(line) for line in lines if line.component_id not in fixed or line.amount > 0)


def _is_paid(line: PlanComponent) -> bool:
    return line.price > 0 or any(Decimal(price) > 0 for _from, price in line.tiers)
