from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction as F
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bursar.engine.estimate import Estimate, PricedComponent, estimate, until_end
from bursar.engine.rating import Month, PriceVersion


def fixed(price: int, amount: int = 1, **more: object) -> PricedComponent:
    return PricedComponent("base", "fixed", F(price), amount=amount, **more)  # type: ignore[arg-type]


def limit(price: int, limit: int, period: str = "month", **more: object) -> PricedComponent:
    return PricedComponent("disk", "limit", F(price), limit=limit, limit_period=period, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "component, unit, month, once",
    [
        (fixed(10), "month", F(10), 0),
        (fixed(10), "half_month", F(20), 0),
        (fixed(12), "day", F(365), 0),
        (fixed(1), "hour", F(730), 0),
        (fixed(10, 3), "quantity", 0, F(30)),
        (limit(4, 16), "month", F(64), 0),
        (limit(3, 100, "quarter"), "month", F(100), 0),
        (limit(12, 5, "year"), "month", F(5), 0),
        (limit(12, 1, "day"), "month", F(365), 0),
        (limit(2, 5, "total"), "month", 0, F(10)),
        (PricedComponent("setup", "one_time", F(25)), "month", 0, F(25)),
        (PricedComponent("switch", "on_switch", F(9)), "month", 0, 0),
    ],
)
def test_estimate__one_component_of_a_new_resource__costs(
    component: PricedComponent, unit: str, month: F, once: F
) -> None:
    found = estimate([component], unit, first=True)
    assert (found.month, found.once) == (month, once)


def test_estimate__a_change_of_plan__pays_for_the_switch_and_not_for_the_beginning() -> None:
    parts = [PricedComponent("setup", "one_time", F(25)), PricedComponent("switch", "on_switch", F(9)), fixed(10)]
    found = estimate(parts, "month", first=False, switched=True)
    assert (found.month, found.once) == (F(10), F(9))


def test_estimate__what_draws_on_a_category__is_summed_in_ticks() -> None:
    parts = [
        limit(0, 100, category=7, ticks_per_unit=10),
        fixed(0, 2, category=7, ticks_per_unit=3),
        limit(0, 5, category=8, ticks_per_unit=3600),
        PricedComponent("cpu", "usage", F(0), category=9, ticks_per_unit=3600),
    ]
    assert estimate(parts, "month", first=True).ticks == {7: 1006, 8: 18000}


def test_estimate__billed_by_use__is_not_free_and_has_no_sum() -> None:
    found = estimate([PricedComponent("cpu", "usage", F(1, 10))], "month", first=True)
    assert (found.month, found.by_use, found.is_free) == (0, True, False)
    assert estimate([PricedComponent("cpu", "usage", F(0))], "month", first=True).is_free


def test_estimate__nothing__is_free() -> None:
    assert estimate([], "month", first=True) == Estimate(F(0), F(0))


BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = ((F(100), F(1, 2)),)


def versioned(component: PricedComponent, *more: PriceVersion, steps: str = "") -> PricedComponent:
    tiers = STEPS if steps else ()
    return replace(component, versions=(PriceVersion(1, BEGIN, component.price, component.amount, steps, tiers), *more))


def used(price: int, units: int | None) -> PricedComponent:
    return PricedComponent("cpu", "usage", F(price), used=None if units is None else F(units))


@pytest.mark.parametrize("steps, month", [("", 150), ("graduated", 125), ("volume", 75)])
def test_estimate__an_expected_use__costs_by_its_steps(steps: str, month: int) -> None:
    found = estimate([versioned(used(1, 150), steps=steps)], "month", first=True, at=BEGIN)
    assert (found.month, found.by_use) == (month, False)


def test_estimate__free_up_to_a_step__is_not_free() -> None:
    assert not estimate([versioned(used(0, None), steps="graduated")], "month", first=True, at=BEGIN).is_free


def until(*components: PricedComponent, unit: str = "month", first: bool = True, switched: bool = False) -> Any:
    """From 20 July to the end of 9 September, in Berlin."""
    zone = ZoneInfo("Europe/Berlin")
    start, end = datetime(2026, 7, 20, 9, tzinfo=zone), datetime(2026, 9, 10, tzinfo=zone)
    found = until_end(components, unit, start=start, end=end, zone=zone, digits=2, first=first, switched=switched)
    assert [month for month, _ in found] == [Month(2026, 7), Month(2026, 8), Month(2026, 9)]
    return [amount for _, amount in found]


def test_until_end__fixed_per_month__as_the_bills_will_say() -> None:
    assert until(versioned(fixed(10))) == [387, 1000, 300]


def test_until_end__a_price_announced__counts_from_its_day() -> None:
    more = PriceVersion(2, datetime(2026, 9, 6, 12, tzinfo=UTC), F(30), 1)
    assert until(versioned(fixed(10), more)) == [387, 1000, 167 + 400]


def test_until_end__limits_and_what_is_paid_once__each_in_its_month() -> None:
    parts = [limit(4, 16), limit(2, 5, "total"), PricedComponent("setup", "one_time", F(25))]
    assert until(*map(versioned, parts)) == [2477 + 1000 + 2500, 6400, 1920]


def test_until_end__a_change__not_again_what_was_paid_and_only_what_a_total_rises_by() -> None:
    parts = [
        replace(limit(2, 5, "total"), limit_before=2),
        PricedComponent("setup", "one_time", F(25)),
        PricedComponent("switch", "on_switch", F(9)),
    ]
    assert until(*map(versioned, parts), first=False) == [600, 0, 0]
    assert until(*map(versioned, parts), first=False, switched=True) == [600 + 900, 0, 0]


@pytest.mark.parametrize("first, switched, cents", [(True, False, 5000), (False, False, 0), (False, True, 5000)])
def test_until_end__a_plan_sold_once__where_it_is_new(first: bool, switched: bool, cents: int) -> None:
    assert until(versioned(fixed(50)), unit="quantity", first=first, switched=switched) == [cents, 0, 0]


def test_until_end__an_expected_use__by_months_and_their_parts() -> None:
    # 279 a month: 279 x 11.625/31 = 104.625 in July; 279 in August; 279 x 9/30 = 83.7 in September
    assert until(versioned(used(1, 279), steps="graduated")) == [10231, 18950, 8370]


def test_until_end__a_use_that_nobody_said__is_left_out() -> None:
    assert until(versioned(used(1, None))) == [0, 0, 0]


def test_until_end__the_first_moment_of_a_month__is_not_in_it() -> None:
    start, end = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
    found = until_end([versioned(fixed(10))], "month", start=start, end=end, zone=UTC, digits=2, first=True)
    assert found == [(Month(2026, 7), 1000)]
