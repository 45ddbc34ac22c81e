"""Prices in steps: how they are checked, kept and read."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from django.utils.translation import gettext as _

from bursar.catalogue.models import Component, PlanComponent
from bursar.kernel.money import plain

STEPS_MAX: Final = 20
DIGITS_MAX: Final = 10  # before and after the point, as a price has them


class Step(NamedTuple):
    """From a quantity of the month's use on, a unit costs so much."""

    start: Decimal
    price: Decimal


def steps_of(row: PlanComponent) -> list[Step]:
    """The steps beyond the first, whose price is the row's own."""
    return [Step(Decimal(start), Decimal(price)) for start, price in row.tiers]


def kept(steps: Sequence[Step]) -> list[list[str]]:
    """Steps as the column holds them: plain text, the same for the same numbers."""
    return [[plain(start), plain(price)] for start, price in steps]


def problems(component: Component, kind: str, steps: Sequence[Step]) -> dict[str, str]:
    """field -> what is wrong with it; empty = nothing."""
    if kind not in {"", *PlanComponent.Tiers.values}:
        return {"tier_kind": _("Choose graduated, by volume, or neither.")}
    if not kind:
        return {"tier_kind": _("Say whether the steps are graduated or by volume.")} if steps else {}
    if component.billing != Component.Billing.USAGE:
        return {"tiers": _("Only what is billed by use can be sold in steps.")}
    if not steps:
        return {"tiers": _("Say at least one step: from which quantity, at which price.")}
    if len(steps) > STEPS_MAX:
        return {"tiers": _("At most {count} steps are possible.").format(count=STEPS_MAX)}
    last = Decimal(0)
    for start, price in steps:
        if not all(_fits(number) for number in (start, price)):
            return {"tiers": _("A quantity and a price have at most ten digits before and ten after the point.")}
        if price < 0:
            return {"tiers": _("A price may not be negative.")}
        if start <= last:
            return {"tiers": _("The quantities must rise from step to step, and the first be above zero.")}
        last = start
    return {}


def is_priced(price: Decimal, steps: Sequence[Step]) -> bool:
    return price > 0 or any(step.price > 0 for step in steps)


def _fits(number: Decimal) -> bool:
    if not number.is_finite():
        return False
    digits, exponent = number.normalize().as_tuple()[1:]
    return isinstance(exponent, int) and exponent >= -DIGITS_MAX and len(digits) + exponent <= DIGITS_MAX
