"""What the worked examples leave open, each case with its exact figure; the reasons stand in docs/adr/0029."""

from datetime import UTC, datetime
from fractions import Fraction as F
from zoneinfo import ZoneInfo

import pytest

from bursar.engine.rating import Month, PlanFact, boundaries, charges
from tests.unit.engine.rating.stories import BASE, CPU, OTHER, PLAN, Story


@pytest.mark.parametrize(
    "zone, month, hours",
    [
        ("Europe/Berlin", 3, 743),
        ("Europe/Berlin", 10, 745),
        ("Europe/Berlin", 7, 744),
        ("Asia/Kolkata", 3, 744),
        ("Australia/Adelaide", 4, 721),  # half an hour off, and its clock goes back in April
        ("Australia/Lord_Howe", 10, 743),  # its clock goes half an hour ahead: 743.5 hours, begun at half past
    ],
)
def test_charges__per_hour_in_a_month_with_a_clock_change__elapsed_hours(zone: str, month: int, hours: int) -> None:
    story = Story(ZoneInfo(zone)).sells(BASE, "fixed", 1, unit="hour").begins(2026, 1, 5, 0)
    (charge,) = story.bill(2026, month)
    assert charge.quantity == hours


def test_charges__hours_begun_at_ten_past__are_counted_from_there_over_the_turn_of_a_month() -> None:
    story = Story().sells(BASE, "fixed", 1, unit="hour").begins(2026, 7, 31, 22, 10).ends(2026, 8, 1, 0, 5)
    assert [story.amounts(2026, month) for month in (7, 8)] == [[200], []]


def test_charges__hours_and_a_switch__each_at_the_plan_it_starts_in() -> None:
    story = Story().sells(BASE, "fixed", 1, unit="hour").sells(BASE, "fixed", 5, plan=OTHER, unit="hour")
    story.begins(2026, 7, 1, 10, 30).plan(OTHER, 2026, 7, 1, 12, 30).ends(2026, 7, 1, 14)
    assert [(c.plan, c.quantity) for c in story.bill(2026, 7)] == [(PLAN, 2), (OTHER, 2)]


def test_charges__back_within_an_hour_begun__the_hour_counts_once() -> None:
    story = Story().sells(BASE, "fixed", 1, unit="hour").begins(2026, 7, 1, 10).ends(2026, 7, 1, 10, 20)
    story.state("changing", 2026, 7, 1, 10, 40).ends(2026, 7, 1, 11, 1)
    assert story.amounts(2026, 7) == [200]


def test_charges__back_within_another_hour__that_hour_begins_then() -> None:
    story = Story().sells(BASE, "fixed", 1, unit="hour").begins(2026, 7, 31, 10).ends(2026, 7, 31, 10, 20)
    story.state("ok", 2026, 8, 1, 0, 30).ends(2026, 8, 1, 0, 40)
    assert [story.amounts(2026, month) for month in (7, 8)] == [[100], [100]]


def test_charges__a_day_with_two_plans_and_the_end__the_plan_of_its_end() -> None:
    story = Story().sells(BASE, "fixed", 31).sells(BASE, "fixed", 62, plan=OTHER).begins(2026, 7, 1)
    story.plan(OTHER, 2026, 7, 3, 9).ends(2026, 7, 3, 10).plan(PLAN, 2026, 7, 3, 11)
    assert [(c.plan, c.rounded) for c in story.bill(2026, 7)] == [(PLAN, 200), (OTHER, 200)]


def test_charges__a_switch_at_midnight__the_day_before_keeps_its_plan() -> None:
    story = Story().sells(BASE, "fixed", 31).sells(BASE, "fixed", 62, plan=OTHER).begins(2026, 7, 1)
    story.plan(OTHER, 2026, 7, 3).ends(2026, 7, 4)
    assert [(c.plan, c.rounded) for c in story.bill(2026, 7)] == [(PLAN, 200), (OTHER, 200)]


def test_charges__another_price_within_a_day__counts_for_that_day() -> None:
    story = Story().sells(BASE, "fixed", 31)
    story.sells(BASE, "fixed", 62, since=datetime(2026, 7, 10, 12, tzinfo=UTC)).begins(2026, 7, 1)
    assert [(c.quantity, c.rounded) for c in story.bill(2026, 7)] == [(F(9, 31), 900), (F(22, 31), 4400)]


def test_charges__of_two_facts_for_one_instant__the_one_recorded_last() -> None:
    story = Story().sells(BASE, "fixed", 31).sells(BASE, "fixed", 62, plan=OTHER).begins(2026, 7, 1)
    story.plan(OTHER, 2026, 7, 1).ends(2026, 7, 10)
    assert [c.plan for c in story.bill(2026, 7)] == [OTHER]
    history = story.history
    reversed_facts = type(history)(1, history.states[::-1], history.plans[::-1])
    assert [c.plan for c in charges(reversed_facts, story.tariff, Month(2026, 7), story.zone, 2)] == [OTHER]


def test_charges__never_ok__no_lines() -> None:
    story = Story().sells(BASE, "fixed", 31).sells(CPU, "usage", 1).plan(PLAN, 2026, 7, 1).state("creating", 2026, 7, 1)
    assert story.state("failed", 2026, 7, 2).uses(CPU, 5, 2026, 7, 2).bill(2026, 7) == []


def test_charges__usage_after_the_month_of_the_end__no_lines() -> None:
    story = Story().sells(CPU, "usage", 1).begins(2026, 6, 1).ends(2026, 7, 31, 12)
    story.uses(CPU, 3, 2026, 7, 31, 13).uses(CPU, 5, 2026, 8, 1, 1)
    assert [story.amounts(2026, month) for month in (7, 8)] == [[300], []]


def test_charges__failed_after_ok__still_exists() -> None:
    story = Story().sells(BASE, "fixed", 31).begins(2026, 7, 1).state("failed", 2026, 7, 2)
    assert story.amounts(2026, 7) == [3100]


@pytest.mark.parametrize("free, cents", [(True, 2800), (False, 3100)])
def test_charges__paused_over_three_whole_days__free_only_where_it_says_so(free: bool, cents: int) -> None:
    story = Story().sells(BASE, "fixed", 31, free_while_paused=free).begins(2026, 7, 1)
    story.state("paused", 2026, 7, 4, 12).state("changing", 2026, 7, 6).state("ok", 2026, 7, 8, 1)
    assert story.amounts(2026, 7) == [cents]


def test_charges__a_limit_paused_all_month__no_line() -> None:
    story = Story().sells(CPU, "limit", 1, free_while_paused=True).begins(2026, 6, 1).limit(CPU, 100, 2026, 6, 1)
    assert story.state("paused", 2026, 6, 30, 9).amounts(2026, 7) == []


def test_charges__ended_while_paused__the_last_day_was_not_paused_whole() -> None:
    story = Story().sells(BASE, "fixed", 31, free_while_paused=True).begins(2026, 7, 1)
    assert story.state("paused", 2026, 7, 2).ends(2026, 7, 5, 12).amounts(2026, 7) == [200]


def test_charges__hours_paused__only_whole_ones_are_free() -> None:
    story = Story().sells(BASE, "fixed", 1, unit="hour", free_while_paused=True).begins(2026, 7, 1, 10, 15)
    story.state("paused", 2026, 7, 1, 11, 15).state("ok", 2026, 7, 1, 13, 14).ends(2026, 7, 1, 14, 15)
    (charge,) = story.bill(2026, 7)
    assert charge.quantity == 3
    assert charge.basis["stretches"] == [
        {"from": "2026-07-01T08:15:00+00:00", "to": "2026-07-01T12:15:00+00:00", "hours": 3, "paused": 1}
    ]


def test_charges__a_plan_sold_once__when_it_first_comes_into_force_and_never_again() -> None:
    story = Story().sells(BASE, "fixed", 50, amount=2, unit="quantity").sells(BASE, "fixed", 31, plan=OTHER)
    story.begins(2026, 6, 1, plan=OTHER).plan(PLAN, 2026, 7, 11, 9).plan(OTHER, 2026, 7, 21).plan(PLAN, 2026, 8, 1)
    assert [(c.plan, c.rounded) for c in story.bill(2026, 7)] == [(OTHER, 2100), (PLAN, 10000)]
    assert story.amounts(2026, 8) == []


def test_charges__switches__each_to_its_plan_and_none_for_the_first() -> None:
    story = Story().sells(BASE, "on_switch", 5).sells(BASE, "on_switch", 7, plan=OTHER).begins(2026, 7, 1)
    story.plan(OTHER, 2026, 7, 2).plan(OTHER, 2026, 7, 3).plan(PLAN, 2026, 7, 4).plan(OTHER, 2026, 7, 5)
    assert [(c.plan, c.quantity, c.rounded) for c in story.bill(2026, 7)] == [(OTHER, 2, 1400), (PLAN, 1, 500)]


def test_charges__a_switch_between_the_first_ok_and_after_the_end__only_while_it_exists() -> None:
    story = Story().sells(BASE, "on_switch", 7, plan=OTHER).plan(PLAN, 2026, 7, 1).plan(OTHER, 2026, 7, 2)
    story.state("ok", 2026, 7, 3).ends(2026, 7, 4).plan(PLAN, 2026, 7, 5).plan(OTHER, 2026, 7, 6)
    assert story.bill(2026, 7) == []


def test_charges__a_total_limit_changed_under_another_price__a_line_each() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="total")
    story.sells(CPU, "limit", 2, limit_period="total", since=datetime(2026, 7, 10, tzinfo=UTC))
    story.begins(2026, 7, 1).limit(CPU, 10, 2026, 7, 1).limit(CPU, 4, 2026, 7, 12)
    assert [(c.quantity, c.rounded) for c in story.bill(2026, 7)] == [(10, 1000), (-6, -1200)]


def test_charges__a_year__the_last_month_brings_the_whole() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="year").begins(2025, 1, 1).limit(CPU, 100, 2025, 1, 1)
    by_month = [story.amounts(2026, month)[0] for month in range(1, 13)]
    assert by_month == [849, 767, 849, 822, 849, 822, 849, 849, 822, 849, 822, 851]
    assert sum(by_month) == 10000


def test_charges__a_quarter_ended_before_its_last_month__no_remainder() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="quarter").begins(2026, 1, 1).limit(CPU, 100, 2026, 1, 1)
    story.ends(2026, 5, 31, 12)
    assert [story.amounts(2026, month) for month in (4, 5, 6)] == [[3297], [3407], []]


def test_charges__a_quarter_with_another_plan_in_its_last_month__each_by_itself() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="quarter")
    story.sells(CPU, "limit", 1, limit_period="quarter", plan=OTHER).begins(2026, 1, 1).limit(CPU, 100, 2026, 1, 1)
    story.plan(OTHER, 2026, 6, 1)
    (charge,) = story.bill(2026, 6)
    assert (charge.plan, charge.rounded, charge.amount) == (OTHER, 3297, F(3000, 91))


def test_charges__the_last_month_of_a_quarter__says_what_was_taken_off() -> None:
    story = Story().sells(CPU, "limit", 1, limit_period="quarter").begins(2026, 1, 1).limit(CPU, 100, 2026, 1, 1)
    (charge,) = story.bill(2026, 6)
    assert (charge.quantity, charge.amount) == (F(3000, 91), F(3296, 100))
    assert charge.basis == {
        "kind": "limits",
        "period": "quarter",
        "quantity": "3000/91",
        "whole": "100",
        "taken_off": [{"month": "2026-04", "amount": "32.97"}, {"month": "2026-05", "amount": "34.07"}],
        "stretches": [{"from": "2026-06-01", "to": "2026-06-30", "days": 30, "limit": 100, "of": 91}],
    }


def test_charges__days_with_a_change_among_them__say_from_when_to_when() -> None:
    story = (
        Story().sells(CPU, "limit", 1).begins(2026, 4, 1).limit(CPU, 100, 2026, 4, 1).limit(CPU, 150, 2026, 5, 10, 12)
    )
    (charge,) = story.bill(2026, 5)
    assert charge.basis["stretches"] == [
        {"from": "2026-05-01", "to": "2026-05-09", "days": 9, "limit": 100, "of": 31},
        {"from": "2026-05-10", "to": "2026-05-31", "days": 22, "limit": 150, "of": 31},
    ]


GRADUATED = ("graduated", [(100, "0.5"), (1000, "0.2")])
VOLUME = ("volume", [(100, "0.5"), (1000, "0.2")])


@pytest.mark.parametrize(
    "steps, used, cents",
    [
        (GRADUATED, 99, 9900),
        (GRADUATED, 100, 10000),
        (GRADUATED, 150, 12500),
        (GRADUATED, 1010, 55200),
        (VOLUME, 99, 9900),
        (VOLUME, 100, 5000),
        (VOLUME, 1000, 20000),
    ],
)
def test_charges__steps__cost(steps: tuple[str, list[tuple[int, str]]], used: int, cents: int) -> None:
    story = Story().sells(CPU, "usage", 1, steps=steps).begins(2026, 7, 1).uses(CPU, used, 2026, 7, 3)
    assert story.amounts(2026, 7) == [cents]


def test_charges__graduated_over_a_switch__the_count_goes_on() -> None:
    story = Story().sells(CPU, "usage", 1, steps=GRADUATED).sells(CPU, "usage", 2, plan=OTHER, steps=GRADUATED)
    story.begins(2026, 7, 1).plan(OTHER, 2026, 7, 10).uses(CPU, 80, 2026, 7, 20).uses(CPU, 60, 2026, 7, 5)
    assert [(c.plan, c.quantity, c.rounded) for c in story.bill(2026, 7)] == [(PLAN, 60, 6000), (OTHER, 80, 10000)]
    assert story.bill(2026, 7)[1].basis == {
        "kind": "used",
        "tiers": "graduated",
        "whole": "140",
        "steps": [{"from": "0", "quantity": "40", "price": "2"}, {"from": "100", "quantity": "40", "price": "0.5"}],
        "quantity": "80",
    }


def test_charges__volume_over_a_switch__each_at_its_own_price_of_the_whole() -> None:
    story = Story().sells(CPU, "usage", 1, steps=VOLUME).sells(CPU, "usage", 2, plan=OTHER)
    story.begins(2026, 7, 1).plan(OTHER, 2026, 7, 10).uses(CPU, 80, 2026, 7, 20).uses(CPU, 60, 2026, 7, 5)
    bill = story.bill(2026, 7)
    assert [(c.plan, c.unit_price, c.rounded) for c in bill] == [(PLAN, F(1, 2), 3000), (OTHER, 2, 16000)]


def test_charges__a_first_step_that_is_free__has_a_line_of_nothing() -> None:
    story = Story().sells(CPU, "usage", 0, steps=GRADUATED).begins(2026, 7, 1).uses(CPU, 80, 2026, 7, 20)
    assert [(c.quantity, c.rounded) for c in story.bill(2026, 7)] == [(80, 0)]


def test_charges__use_by_a_correction_below_nothing__is_given_back() -> None:
    story = Story().sells(CPU, "usage", 1, steps=GRADUATED).begins(2026, 7, 1).uses(CPU, -80, 2026, 7, 20)
    assert story.amounts(2026, 7) == [-8000]


def test_charges__free__has_no_lines() -> None:
    story = Story().sells(CPU, "usage", 0).sells(BASE, "fixed", 0).begins(2026, 7, 1).uses(CPU, 80, 2026, 7, 20)
    assert story.bill(2026, 7) == []


def test_boundaries__plan_and_price_of_what_is_used__inside_the_month_only() -> None:
    story = Story().sells(CPU, "usage", 1).sells(CPU, "usage", 2, plan=OTHER).sells(BASE, "fixed", 1)
    for month, day in [(7, 1), (7, 20), (8, 1)]:
        story.sells(CPU, "usage", 3, plan=OTHER, since=story.at(2026, month, day))
    story.sells(BASE, "fixed", 2, since=story.at(2026, 7, 5)).sells(CPU, "usage", 5, since=story.at(2026, 7, 22))
    story.begins(2026, 6, 1).plan(PLAN, 2026, 7, 6).plan(OTHER, 2026, 7, 7, 9)
    found = boundaries(story.history, story.tariff, Month(2026, 7), story.zone)
    assert found == [story.at(2026, 7, 7, 9).astimezone(UTC), story.at(2026, 7, 20).astimezone(UTC)]


def test_boundaries__nothing_used_is_sold__none() -> None:
    story = (
        Story().sells(BASE, "fixed", 1).sells(BASE, "fixed", 2, plan=OTHER).begins(2026, 6, 1).plan(OTHER, 2026, 7, 7)
    )
    assert boundaries(story.history, story.tariff, Month(2026, 7), story.zone) == []


def test_charges__facts_in_other_zones__are_instants() -> None:
    story = Story().sells(BASE, "fixed", 31).begins(2026, 7, 1)
    abroad = ZoneInfo("Pacific/Auckland")
    moved = tuple(PlanFact(f.number, f.at.astimezone(abroad), f.plan) for f in story.history.plans)
    history = type(story.history)(1, story.history.states, moved)
    assert [c.rounded for c in charges(history, story.tariff, Month(2026, 7), story.zone, 2)] == [3100]
