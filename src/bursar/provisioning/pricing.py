"""The estimate of an order from the plan's prices in force; the sums are the engine's."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction

from bursar.catalogue.models import Component, Plan, PlanComponent
from bursar.catalogue.selectors import prices_in_force
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
