"""From facts to lines: what a resource costs in a month, and what lines add up to."""

from bursar.engine.rating.calendar import Month
from bursar.engine.rating.facts import (
    Charge,
    History,
    LimitFact,
    Part,
    PlanFact,
    PriceVersion,
    StateFact,
    Tariff,
    Used,
)
from bursar.engine.rating.rate import boundaries, charges

__all__ = [
    "Charge",
    "History",
    "LimitFact",
    "Month",
    "Part",
    "PlanFact",
    "PriceVersion",
    "StateFact",
    "Tariff",
    "Used",
    "boundaries",
    "charges",
]
