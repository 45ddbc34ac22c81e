"""Short words for the life of a resource, so that a test reads like the case that it is."""

from datetime import UTC, datetime, tzinfo
from fractions import Fraction
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from bursar.engine.rating import (
    Charge,
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

BERLIN = ZoneInfo("Europe/Berlin")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
BASE, CPU, RAM = 1, 2, 3
PLAN, OTHER = 11, 12


class Story:
    """One resource, told in the order in which things became known; times are the seller's."""

    def __init__(self, zone: tzinfo = BERLIN, digits: int = 2) -> None:
        self.zone, self.digits = zone, digits
        self._numbers = count(1)
        self._states: list[StateFact] = []
        self._plans: list[PlanFact] = []
        self._limits: list[LimitFact] = []
        self._used: list[Used] = []
        self._parts: dict[int, Part] = {}
        self._units: dict[int, str] = {}
        self._prices: dict[tuple[int, int], tuple[PriceVersion, ...]] = {}

    def at(self, *when: int) -> datetime:
        return datetime(*when, tzinfo=self.zone)  # type: ignore[arg-type,misc]

    def sells(
        self,
        component: int,
        billing: str,
        price: str | int,
        *,
        plan: int = PLAN,
        unit: str = "month",
        since: datetime = LONG_AGO,
        amount: int = 1,
        steps: tuple[str, list[tuple[int, str]]] = ("", []),
        **part: Any,
    ) -> "Story":
        number = 1000 + sum(len(versions) for versions in self._prices.values())
        tiers = tuple((Fraction(start), Fraction(step_price)) for start, step_price in steps[1])
        version = PriceVersion(number, since, Fraction(price), amount, steps[0], tiers)
        self._parts[component] = Part(component, billing, **part)
        self._units[plan] = unit
        self._prices[plan, component] = (*self._prices.get((plan, component), ()), version)
        return self

    def state(self, state: str, *when: int) -> "Story":
        self._states.append(StateFact(next(self._numbers), self.at(*when), state))
        return self

    def plan(self, plan: int, *when: int) -> "Story":
        self._plans.append(PlanFact(next(self._numbers), self.at(*when), plan))
        return self

    def begins(self, *when: int, plan: int = PLAN) -> "Story":
        return self.plan(plan, *when).state("creating", *when).state("ok", *when)

    def ends(self, *when: int) -> "Story":
        return self.state("terminating", *when)

    def limit(self, component: int, limit: int, *when: int) -> "Story":
        self._limits.append(LimitFact(next(self._numbers), self.at(*when), component, limit))
        return self

    def uses(self, component: int, quantity: str | int, *when: int) -> "Story":
        self._used.append(Used(self.at(*when), component, Fraction(quantity)))
        return self

    @property
    def history(self) -> History:
        return History(7, tuple(self._states), tuple(self._plans), tuple(self._limits), tuple(self._used))

    @property
    def tariff(self) -> Tariff:
        return Tariff(self._parts, self._units, self._prices)

    def bill(self, year: int, month: int) -> list[Charge]:
        return charges(self.history, self.tariff, Month(year, month), self.zone, self.digits)

    def amounts(self, year: int, month: int) -> list[int]:
        """In whole minor units, line by line."""
        return [charge.rounded for charge in self.bill(year, month)]
