"""What holds of any bill, tried on random lives."""

from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.engine.rating import (
    Charge,
    History,
    Month,
    Part,
    PlanFact,
    PriceVersion,
    StateFact,
    Tariff,
    Used,
    boundaries,
    charges,
)
from bursar.engine.rating.calendar import day_starts
from bursar.kernel.money import minor_units
from tests.unit.engine.rating.lives import ZONES, Case, lives
from tests.unit.engine.rating.naive import Naive

LAWS = settings(deadline=None, max_examples=150)


def bill(case: Case, history: History | None = None) -> list[Charge]:
    return charges(history or case.history, case.tariff, case.month, case.zone, case.digits)


def says(found: list[Charge]) -> dict[tuple[int, int, int], tuple[Fraction, int]]:
    return {(c.component, c.plan, c.price_version): (c.quantity, c.rounded) for c in found}


@given(case=lives, seed=st.integers(0, 1000))
@LAWS
def test_charges__facts_in_another_order__the_same_to_the_letter(case: Case, seed: int) -> None:
    chance, known = Random(seed), case.history
    shuffled = [tuple(chance.sample(rows, len(rows))) for rows in (known.states, known.plans, known.limits, known.used)]
    assert bill(case, History(1, *shuffled)) == bill(case)


@given(case=lives)
@LAWS
def test_charges__a_month_without_the_resource__no_lines(case: Case) -> None:
    naive = Naive(case.history, case.tariff, case.zone, case.digits)
    there = any(naive.exists(at) for at in naive.instants(case.month.start(case.zone), case.month.end(case.zone)))
    assert there or bill(case) == []


@given(case=lives)
@LAWS
def test_charges__use_summed_between_boundaries__the_same_money(case: Case) -> None:
    start, end = case.month.start(case.zone), case.month.end(case.zone)
    edges = [start, *boundaries(case.history, case.tariff, case.month, case.zone)]
    sums: dict[tuple[int, datetime], Fraction] = {}
    for row in case.history.used:
        if start <= row.at < end:
            key = row.component, edges[bisect_right(edges, row.at) - 1]
            sums[key] = sums.get(key, Fraction(0)) + row.quantity
    summed = replace(case.history, used=tuple(Used(at, c, q) for (c, at), q in sums.items()))
    assert says(bill(case, summed)) == says(bill(case))


@given(case=lives, days=st.lists(st.integers(0, 30), max_size=4))
@LAWS
def test_charges__facts_that_change_nothing__change_nothing(case: Case, days: list[int]) -> None:
    """Facts cut the month into more runs of days: so the short way and the long one say the same."""
    naive = Naive(case.history, case.tariff, case.zone, case.digits)
    plans, states = list(case.history.plans), list(case.history.states)
    for day in days:
        at = case.month.start(case.zone) + timedelta(days=day, hours=7, seconds=1)
        plan, state = (
            naive.plan(at),
            max((s for s in states if s.at <= at), key=lambda s: (s.at, s.number), default=None),
        )
        if plan is not None:
            plans.append(PlanFact(5000 + len(plans), at, plan))
        if state is not None:
            states.append(StateFact(5000 + len(states), at, state.state))
    more = replace(case.history, plans=tuple(plans), states=tuple(states))
    assert says(bill(case, more)) == says(bill(case))


@given(case=lives)
@LAWS
def test_charges__per_day_at_any_plan__each_day_it_existed_once(case: Case) -> None:
    naive = Naive(case.history, case.tariff, case.zone, case.digits)
    planned = dict.fromkeys(case.tariff.units, "day")
    prices = {(plan, 1): (PriceVersion(plan, datetime(2000, 1, 1, tzinfo=UTC), Fraction(1), 1),) for plan in planned}
    history = replace(case.history, plans=(*case.history.plans, PlanFact(0, datetime(2001, 1, 1, tzinfo=UTC), 11)))
    found = charges(history, Tariff({1: Part(1, "fixed")}, planned, prices), case.month, case.zone, 2)
    assert sum(charge.quantity for charge in found) == len(list(naive.each_day(case.month.year, case.month.month)))


@given(
    day=st.integers(1, 31),
    hour=st.integers(0, 23),
    zone=st.sampled_from(ZONES),
    unit=st.sampled_from(["month", "half_month"]),
)
@LAWS
def test_charges__a_month_split_by_a_switch__shares_of_one(day: int, hour: int, zone: object, unit: str) -> None:
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    prices = {(plan, 1): (PriceVersion(plan, begin, Fraction(1), 1),) for plan in (1, 2)}
    tariff = Tariff({1: Part(1, "fixed")}, {1: unit, 2: unit}, prices)
    plans = PlanFact(1, begin, 1), PlanFact(2, datetime(2026, 7, day, hour, 30, tzinfo=zone), 2)  # type: ignore[arg-type]
    found = charges(History(1, (StateFact(3, begin, "ok"),), plans), tariff, Month(2026, 7), zone, 2)  # type: ignore[arg-type]
    assert sum(charge.quantity for charge in found) == (1 if unit == "month" else 2)


@pytest.mark.parametrize("period, months", [("quarter", range(4, 7)), ("year", range(1, 13))])
@given(case=lives, digits=st.sampled_from([0, 2]))
@settings(deadline=None, max_examples=60)
def test_charges__a_quarter_or_a_year__its_months_add_up_to_its_rounded_whole(
    period: str, months: range, case: Case, digits: int
) -> None:
    parts = {c: Part(c, "limit", period, part.free_while_paused) for c, part in case.tariff.parts.items()}
    tariff = Tariff(parts, case.tariff.units, case.tariff.prices)
    bills = [charges(case.history, tariff, Month(2026, month), case.zone, digits) for month in months]
    for last in bills[-1]:
        key = last.component, last.plan, last.price_version
        own = [c for found in bills for c in found if (c.component, c.plan, c.price_version) == key]
        exact = sum((c.quantity * c.unit_price for c in own), Fraction(0))
        assert sum(c.rounded for c in own) == minor_units(exact, digits)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_day_starts__any_zone__each_instant_lies_in_the_day_of_its_local_date(zone: object) -> None:
    for month in (Month(2026, m) for m in range(1, 13)):
        starts = day_starts(month, zone)  # type: ignore[arg-type]
        for i in range(month.days):
            for at in (starts[i], starts[i + 1] - timedelta(microseconds=1)):
                assert at.astimezone(zone).date() == date(month.year, month.month, i + 1)  # type: ignore[arg-type]
