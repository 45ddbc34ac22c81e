from fractions import Fraction as F

import pytest

from bursar.engine.estimate import Estimate, PricedComponent, estimate


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
