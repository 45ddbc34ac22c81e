"""Use that is sold in steps: graduated, where each unit costs what its step does, or by volume, where all cost the last one's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from bursar.engine.rating.exact import text
from bursar.engine.rating.facts import PriceVersion

ZERO: Final = Fraction(0)


class Sold(NamedTuple):
    """What was used at an instant, under which plan and price; None where there was none yet."""

    plan: int | None
    version: PriceVersion | None
    quantity: Fraction


@dataclass(slots=True)
class Found:
    """What was used under one plan and price version.

    money   exact; None = quantity x unit price
    steps   first unit of the step -> (units of it, their price), for what is sold in steps
    """

    quantity: Fraction = ZERO
    unit_price: Fraction = ZERO
    money: Fraction | None = None
    kind: str = ""
    reached: Fraction = ZERO
    steps: dict[Fraction, tuple[Fraction, Fraction]] = field(default_factory=dict)

    def basis(self) -> dict[str, object]:
        if not self.kind:
            return {}
        steps = [
            {"from": text(start), "quantity": text(units), "price": text(price)}
            for start, (units, price) in sorted(self.steps.items())
            if units
        ]
        return {"tiers": self.kind, "whole": text(self.reached), "steps": steps}


def sell(used: Sequence[Sold]) -> Iterator[tuple[int, PriceVersion, Found]]:
    """What the use of one component in one month comes to, for each plan and price version.

    used      in order of the instants of use; together the month's whole, which is what steps are counted on
    yields    (plan, version, what was found) in the order in which they first came
    """
    whole = sum((row.quantity for row in used), ZERO)
    lines: dict[tuple[int, int], tuple[int, PriceVersion, Found]] = {}
    reached = ZERO
    for plan, version, quantity in used:
        before, reached = reached, reached + quantity
        if plan is None or version is None:
            continue
        found = lines.setdefault((plan, version.number), (plan, version, Found()))[2]
        found.quantity += quantity
        if version.tier_kind == "graduated":
            _graduate(found, version, before, reached)
    for plan, version, found in lines.values():
        found.unit_price = version.price
        found.kind, found.reached = version.tier_kind, whole
        if version.tier_kind == "volume":
            start, found.unit_price = step_of(version, whole)
            found.steps[start] = (found.quantity, found.unit_price)
        yield plan, version, found


def step_of(version: PriceVersion, quantity: Fraction) -> tuple[Fraction, Fraction]:
    """(first unit, price) of the step that a quantity reaches; one that begins at the very quantity is reached."""
    reached = (ZERO, version.price)
    for start, price in version.tiers:
        if quantity >= start:
            reached = (start, price)
    return reached


def graduated(version: PriceVersion, before: Fraction, after: Fraction) -> list[tuple[Fraction, Fraction, Fraction]]:
    """The units from one count of the month's use to another by steps: (first unit of the step, units, price).

    Where the count falls, which corrections make it do, the units are negative. Below nothing is the first step too.
    """
    low, high, sign = (before, after, 1) if before <= after else (after, before, -1)
    starts = [ZERO, *(start for start, _ in version.tiers)]
    prices = [version.price, *(price for _, price in version.tiers)]
    parts: list[tuple[Fraction, Fraction, Fraction]] = []
    for i, start in enumerate(starts):
        from_ = low if i == 0 else max(low, start)
        to = high if i + 1 == len(starts) else min(high, starts[i + 1])
        if from_ < to:
            parts.append((start, sign * (to - from_), prices[i]))
    return parts


def _graduate(found: Found, version: PriceVersion, before: Fraction, after: Fraction) -> None:
    for start, units, price in graduated(version, before, after):
        found.steps[start] = (found.steps.get(start, (ZERO, price))[0] + units, price)
        found.money = (found.money or ZERO) + units * price
