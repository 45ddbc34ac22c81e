"""Random lives of resources: few components, plans and instants, so that they meet often.

Each is made from one number. To let Hypothesis draw each part took ten times as long as to rate it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

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
)

# Half hours, quarters of one, clocks put forward and back at midnight, and none at all.
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin", "UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York",
        "Africa/Cairo", "America/Havana", "Pacific/Chatham",
    )
]  # fmt: skip
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("creating", *["ok"] * 4, *["changing"] * 2, *["paused"] * 4, "terminating", "terminated", "failed")
PLANS = (11, 12, 13)
UNITS = ("month", "half_month", "day", "hour", "hour", "quantity")
BILLINGS = ("fixed", "fixed", "fixed", "limit", "limit", "usage", "usage", "one_time", "on_switch")
PERIODS = ("day", "month", "quarter", "year", "total")
PRICES = [Fraction(price) for price in ("0", "1", "10", "0.37", "2.5", "0.003")]


class Case(NamedTuple):
    history: History
    tariff: Tariff
    zone: ZoneInfo
    digits: int
    month: Month


def case(seed: int) -> Case:
    chance = Random(seed)
    zone = chance.choice(ZONES)
    month = Month(2026, chance.choice([1, 2, 3, 3, 3, 4, 5, 6, 6, 12]))
    instant = _crowded(chance, zone, month) if chance.random() < 0.4 else lambda: _instant(chance, zone)
    tariff = _tariff(chance, instant)
    return Case(_history(chance, instant, tariff), tariff, zone, chance.choice([2, 2, 0, 3]), month)


lives = st.integers(0, 2**48).map(case)


def _crowded(chance: Random, zone: ZoneInfo, month: Month) -> Callable[[], datetime]:
    """Instants that all lie in two days, a third of an hour from each other."""
    begin = datetime(month.year, month.month, chance.choice([1, 15, 27]), tzinfo=zone).astimezone(UTC)
    return lambda: begin + timedelta(minutes=20 * chance.randrange(-9, 2 * 24 * 3))


def _instant(chance: Random, zone: ZoneInfo) -> datetime:
    """Mostly about the turn of a month, a day or an hour, where mistakes live."""
    month = chance.randint(1, 6)
    day = chance.choice([1, 2, 15, 16, 27, 28, chance.randint(1, 28)])
    kind = chance.randrange(4)
    if kind == 0:  # midnight, or as good as
        at = datetime(2026, month, day, tzinfo=zone).astimezone(UTC)
        return at + chance.choice([timedelta(0), timedelta(microseconds=-1), timedelta(microseconds=1)])
    if kind == 1:  # the same minutes of many hours
        return datetime(2026, month, day, chance.randrange(24), 20, tzinfo=UTC)
    return datetime(2026, month, day, tzinfo=UTC) + timedelta(minutes=chance.randrange(24 * 60))


def _tariff(chance: Random, instant: Callable[[], datetime]) -> Tariff:
    parts, prices = {}, {}
    number = 100
    for component in range(1, chance.randint(2, 5) + 1):
        parts[component] = Part(component, chance.choice(BILLINGS), chance.choice(PERIODS), chance.random() < 0.5)
        for plan in PLANS:
            versions = []
            for since in [
                BEGIN - timedelta(days=500),
                *(instant() for _ in range(chance.choice([0, 0, 1, 2]))),
            ]:
                number += 1
                kind, tiers = "", ()
                if parts[component].billing == "usage":
                    kind = chance.choice(["", "graduated", "volume"])
                    if kind:
                        starts = sorted(chance.sample(range(1, 41), chance.randint(1, 3)))
                        tiers = tuple((Fraction(start), chance.choice(PRICES)) for start in starts)
                versions.append(PriceVersion(number, since, chance.choice(PRICES), chance.randint(0, 3), kind, tiers))
            if chance.random() < 0.9:
                chance.shuffle(versions)
                prices[plan, component] = tuple(versions)
    return Tariff(parts, {plan: chance.choice(UNITS) for plan in PLANS}, prices)


def _history(chance: Random, instant: Callable[[], datetime], tariff: Tariff) -> History:
    number = iter(range(1, 1000))
    components = sorted(tariff.parts)
    known = [BEGIN, instant(), instant()]

    def at() -> datetime:
        return chance.choice(known) if chance.random() < 0.2 else instant()

    states = [StateFact(next(number), at(), chance.choice(STATES)) for _ in range(chance.randint(0, 5))]
    if chance.random() < 0.95:
        states.append(StateFact(next(number), chance.choice([BEGIN - timedelta(days=9), BEGIN, at()]), "ok"))
    plans = [PlanFact(next(number), at(), chance.choice(PLANS)) for _ in range(chance.choice([0, 0, 1, 2, 4]))]
    if chance.random() < 0.9:
        plans.append(PlanFact(next(number), BEGIN - timedelta(days=10), chance.choice(PLANS)))
    limits = [
        LimitFact(next(number), at(), chance.choice(components), chance.randint(0, 200))
        for _ in range(chance.randint(0, 5))
    ]
    limits += [LimitFact(next(number), BEGIN - timedelta(days=8), c, 100) for c in components if chance.random() < 0.7]
    used = [
        Used(at(), chance.choice(components), Fraction(chance.randint(-10, 40), chance.choice([1, 1, 3])))
        for _ in range(chance.randint(0, 8))
    ]
    for rows in (states, plans, limits, used):
        chance.shuffle(rows)
    return History(1, tuple(states), tuple(plans), tuple(limits), tuple(used))
