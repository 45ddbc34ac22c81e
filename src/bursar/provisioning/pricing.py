"""The estimate of an order from the plan's prices in force; the sums are the engine's."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from bursar.catalogue.models import Component, Plan, PlanComponent
from bursar.catalogue.selectors import prices_in_force, prices_to_come
from bursar.engine.estimate import Estimate, PricedComponent, estimate


def prices_at(plan: Plan, at: datetime) -> dict[int, PlanComponent]:
    """Component id -> the price line in force at the instant."""
    return {component_id: line for (_, component_id), line in prices_in_force([plan.pk], at).items()}


def estimate_for(
    plan: Plan,
    components: Iterable[Component],
    limits: Mapping[str, int],
    *,
    at: datetime,
    first: bool = True,
    switched: bool = False,
) -> Estimate:
    """What a plan with these limits is likely to cost per month, and how many ticks of which category it may draw."""
    prices = prices_at(plan, at)
    return estimate(
        [
            PricedComponent(
                key=component.key,
                billing=component.billing,
                price=Fraction(prices[component.pk].price) if component.pk in prices else Fraction(0),
                amount=prices[component.pk].amount if component.pk in prices else 0,
                limit=limits.get(component.key, 0),
                limit_period=component.limit_period,
                category=component.category_id,
                ticks_per_unit=component.ticks_per_unit,
            )
            for component in components
        ],
        plan.unit,
        first=first,
        switched=switched,
    )


def costs_something(plan: Plan, components: Iterable[Component], *, at: datetime) -> bool:
    """Whether anything is ever paid under a plan, from now on or from a day that is known already. Two queries."""
    fixed = {component.pk for component in components if component.billing == Component.Billing.FIXED}
    lines = [*prices_in_force([plan.pk], at).values(), *prices_to_come([plan.pk], at)]
    return any(_is_paid(line) for line in lines if line.component_id not in fixed or line.amount > 0)


def _is_paid(line: PlanComponent) -> bool:
    return line.price > 0 or any(Decimal(price) > 0 for _from, price in line.tiers)
