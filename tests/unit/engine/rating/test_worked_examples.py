"""The worked examples of how prices are counted, each with its exact figure in cents (or whole yen)."""

from fractions import Fraction as F

import pytest

from tests.unit.engine.rating.stories import BASE, CPU, OTHER, PLAN, RAM, Story


def test_charges__fixed_per_month_from_20_july__twelve_of_31_days() -> None:
    assert Story().sells(BASE, "fixed", 10).begins(2026, 7, 20, 9).amounts(2026, 7) == [387]


def test_charges__fixed_per_month_in_yen__whole_yen() -> None:
    assert Story(digits=0).sells(BASE, "fixed", 10).begins(2026, 7, 20, 9).amounts(2026, 7) == [4]


def test_charges__fixed_per_day_from_14_july__eighteen_days() -> None:
    assert Story().sells(BASE, "fixed", 10, unit="day").begins(2026, 7, 14, 23, 59).amounts(2026, 7) == [18000]


@pytest.mark.parametrize("day, cents", [(14, 1133), (16, 1000)])
def test_charges__fixed_per_half_month__each_half_by_its_own_days(day: int, cents: int) -> None:
    assert Story().sells(BASE, "fixed", 10, unit="half_month").begins(2026, 7, day, 8).amounts(2026, 7) == [cents]


def test_charges__fixed_from_10_to_14_july__five_days() -> None:
    story = Story().sells(BASE, "fixed", 10).begins(2026, 7, 10, 18).ends(2026, 7, 14, 6)
    assert story.amounts(2026, 7) == [161]
    assert story.amounts(2026, 8) == []


@pytest.mark.parametrize("end, cents", [((14, 0), 400), ((14, 10), 500)])
def test_charges__per_hour__hours_begun(end: tuple[int, int], cents: int) -> None:
    story = Story().sells(BASE, "fixed", 1, unit="hour").begins(2026, 7, 20, 10).ends(2026, 7, 20, *end)
    assert story.amounts(2026, 7) == [cents]


def test_charges__a_plan_of_cpu_and_ram__ten() -> None:
    story = Story().sells(CPU, "fixed", 1, amount=4).sells(RAM, "fixed", 2, amount=3).begins(2026, 6, 1)
    assert story.amounts(2026, 7) == [400, 600]


def test_charges__once_and_fixed__once_in_the_first_month_only() -> None:
    story = Story().sells(CPU, "one_time", 4).sells(RAM, "fixed", 6).begins(2026, 6, 1)
    assert story.amounts(2026, 6) == [400, 600]
    assert story.amounts(2026, 7) == [600]


def test_charges__fixed_and_usage_corrected__one_usage_line() -> None:
    story = Story().sells(BASE, "fixed", 6).sells(CPU, "usage", 4).begins(2026, 6, 1).uses(CPU, 10, 2026, 6, 12, 5)
    assert story.amounts(2026, 6) == [600, 4000]
    assert story.uses(CPU, 5, 2026, 6, 12, 5).amounts(2026, 6) == [600, 6000]


def test_charges__a_switch_on_15_january__fourteen_and_seventeen_days() -> None:
    story = Story().sells(BASE, "fixed", 6).sells(BASE, "fixed", 2, plan=OTHER).begins(2026, 1, 1)
    bill = story.plan(OTHER, 2026, 1, 15, 11).bill(2026, 1)
    assert [(c.plan, c.quantity, c.rounded) for c in bill] == [(PLAN, F(14, 31), 271), (OTHER, F(17, 31), 110)]


def test_charges__usage_on_both_sides_of_a_switch__each_at_its_plan() -> None:
    story = Story().sells(CPU, "usage", 4).sells(CPU, "usage", 3, plan=OTHER).begins(2026, 1, 1)
    story.plan(OTHER, 2026, 1, 15, 11).uses(CPU, 10, 2026, 1, 10).uses(CPU, 10, 2026, 1, 20)
    assert [(c.plan, c.rounded) for c in story.bill(2026, 1)] == [(PLAN, 4000), (OTHER, 3000)]


def test_charges__a_limit_and_something_fixed__seventy() -> None:
    story = Story().sells(BASE, "fixed", 6).sells(CPU, "limit", 4).begins(2026, 1, 1).limit(CPU, 16, 2026, 1, 1)
    assert sum(story.amounts(2026, 2)) == 7000


def test_charges__a_limit_raised_on_10_may__nine_and_twenty_two_days() -> None:
    story = (
        Story().sells(CPU, "limit", 1).begins(2026, 4, 1).limit(CPU, 100, 2026, 4, 1).limit(CPU, 150, 2026, 5, 10, 12)
    )
    (charge,) = story.bill(2026, 5)
    assert (charge.quantity, charge.rounded) == (F(4200, 31), 13548)


def test_charges__a_limit_ended_on_10_october__ten_days() -> None:
    story = Story().sells(CPU, "limit", 1).begins(2026, 4, 1).limit(CPU, 16, 2026, 4, 1).ends(2026, 10, 10, 0, 1)
    assert story.amounts(2026, 10) == [516]


def test_charges__a_limit_per_day__three_months() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="day").begins(2026, 4, 1).limit(CPU, 100, 2026, 4, 1)
    story.limit(CPU, 150, 2026, 5, 10, 12)
    assert [story.amounts(2026, month) for month in (4, 5, 6)] == [[300000], [420000], [450000]]


def test_charges__a_limit_per_quarter__the_last_month_brings_the_whole() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="quarter").begins(2026, 1, 1).limit(CPU, 100, 2026, 1, 1)
    assert [story.amounts(2026, month) for month in (4, 5, 6)] == [[3297], [3407], [3296]]


def test_charges__a_limit_raised_and_lowered_on_one_day__the_highest_of_the_day() -> None:
    story = Story().sells(CPU, "limit", 1).begins(2026, 4, 1).limit(CPU, 100, 2026, 4, 1)
    story.limit(CPU, 150, 2026, 5, 10, 12).limit(CPU, 100, 2026, 5, 10, 13)
    assert story.amounts(2026, 5) == [10161]


def test_charges__a_total_limit_over_three_months__its_changes() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="total").begins(2026, 4, 2).limit(CPU, 10, 2026, 4, 1)
    story.limit(CPU, 20, 2026, 5, 10, 12).limit(CPU, 5, 2026, 6, 10, 13).ends(2026, 7, 3)
    assert [story.amounts(2026, month) for month in (4, 5, 6, 7)] == [[1000], [1000], [-1500], []]


def test_charges__a_total_limit_changed_twice_in_a_month__one_line() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="total").begins(2026, 4, 2).limit(CPU, 10, 2026, 4, 1)
    story.limit(CPU, 20, 2026, 4, 10, 12).limit(CPU, 5, 2026, 4, 12, 13)
    assert story.amounts(2026, 4) == [500]
