"""Thresholds of a budget: exact, each passed once, ended where spending is below again; and what a month comes to."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.engine.budget import (
    TOTAL_STRETCH,
    Crossing,
    Threshold,
    Turn,
    expected,
    is_in,
    is_reached,
    stretch_of,
    turn,
)

NOVEMBER, OCTOBER = date(2026, 11, 1), date(2026, 10, 1)
TELL, HOLD, PAUSE = Threshold(75, "tell"), Threshold(90, "hold"), Threshold(100, "pause")


def standing(*thresholds: Threshold, stretch: date = NOVEMBER) -> list[Crossing]:
    return [Crossing(stretch, threshold) for threshold in thresholds]


@pytest.mark.parametrize(
    "spent, amount, percent, reached",
    [
        ("749.99", "1000", 75, False),
        ("750.00", "1000", 75, True),
        ("0.01", "0", 75, True),
        ("0", "0", 75, False),
        ("-5", "0", 1, False),
        ("33.33", "33.33", 100, True),
        ("33.32", "33.33", 100, False),
        ("0.007", "0.009", 77, True),  # 77.8 %
        ("0.007", "0.009", 78, False),
    ],
)
def test_is_reached__to_the_smallest_unit__exact(spent: str, amount: str, percent: int, reached: bool) -> None:
    assert is_reached(Decimal(spent), Decimal(amount), percent) is reached


@pytest.mark.parametrize(
    "spent, amount, there, begin, end",
    [
        ("700", "1000", [], (), ()),
        ("750", "1000", [], (TELL,), ()),
        ("1000", "1000", [], (TELL, HOLD, PAUSE), ()),  # three at once: the lowest first
        ("950", "1000", [TELL], (HOLD,), ()),
        ("950", "1000", [TELL, HOLD], (), ()),  # asked again: nothing is done twice
        ("950", "1200", [TELL, HOLD], (), (HOLD,)),  # raised
        ("700", "1000", [TELL, HOLD], (), (TELL, HOLD)),  # corrected
        ("0", "0", [TELL], (), (TELL,)),
    ],
)
def test_turn__a_case__is_as_in_the_table(
    spent: str, amount: str, there: list[Threshold], begin: tuple[Threshold, ...], end: tuple[Threshold, ...]
) -> None:
    found = turn(
        stretch=NOVEMBER, spent=Decimal(spent), amount=Decimal(amount), thresholds=[PAUSE, TELL, HOLD],
        standing=standing(*there),
    )  # fmt: skip
    assert found == Turn(begin, tuple(standing(*end)))


def test_turn__a_new_month__ends_what_stood_and_begins_anew() -> None:
    old = standing(TELL, HOLD, stretch=OCTOBER)
    assert turn(
        stretch=NOVEMBER, spent=Decimal(80), amount=Decimal(100), thresholds=[TELL, HOLD], standing=old
    ) == Turn((TELL,), tuple(old))


def test_turn__a_threshold_is_gone__its_crossing_ends() -> None:
    assert turn(
        stretch=NOVEMBER, spent=Decimal(99), amount=Decimal(100), thresholds=[TELL], standing=standing(TELL, HOLD)
    ) == Turn((), tuple(standing(HOLD)))


amounts = st.decimals(min_value=-(10**6), max_value=10**6, places=3)
thresholds = st.sets(st.builds(Threshold, st.integers(1, 1000), st.sampled_from(["tell", "hold", "pause"])), max_size=8)


@given(amounts, amounts.filter(lambda a: a >= 0), thresholds, thresholds)
def test_turn__done__leaves_nothing_to_do(
    spent: Decimal, amount: Decimal, wanted: set[Threshold], there: set[Threshold]
) -> None:
    stood = standing(*there)
    first = turn(stretch=NOVEMBER, spent=spent, amount=amount, thresholds=wanted, standing=stood)
    after = [c for c in stood if c not in first.end] + standing(*first.begin)
    assert turn(stretch=NOVEMBER, spent=spent, amount=amount, thresholds=wanted, standing=after) == Turn((), ())
    assert {c.threshold for c in after} == {t for t in wanted if spent > 0 and spent * 100 >= amount * t.percent}


@pytest.mark.parametrize(
    "span, day, stretch",
    [
        ("month", date(2026, 11, 30), NOVEMBER),
        ("year", date(2026, 11, 30), date(2026, 1, 1)),
        ("total", date(2026, 11, 30), TOTAL_STRETCH),
    ],
)
def test_stretch_of__a_day__is_as_in_the_table(span: str, day: date, stretch: date) -> None:
    assert stretch_of(span, day) == stretch
    assert is_in(span, stretch, day.replace(day=1))
    assert is_in(span, stretch, date(2024, 1, 1)) is (span == "total")
    assert not is_in("month", stretch, day - timedelta(days=60))


@pytest.mark.parametrize(
    "spent, used, elapsed, likely",
    [
        ("100", "0", Fraction(1, 3), Fraction(100)),  # what is fixed is billed for the whole month already
        ("100", "40", Fraction(1, 3), Fraction(180)),  # 60 + 40 x 3
        ("100", "40", Fraction(2, 3), Fraction(120)),  # 60 + 40 x 3/2
        ("100", "40", Fraction(0), Fraction(100)),
        ("100", "40", Fraction(1), Fraction(100)),
        ("10", "10", Fraction(3, 7), Fraction(70, 3)),
    ],
)
def test_expected__use_goes_on_as_it_went__exact(spent: str, used: str, elapsed: Fraction, likely: Fraction) -> None:
    assert expected(Decimal(spent), Decimal(used), elapsed) == likely
