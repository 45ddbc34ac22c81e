import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.kernel.quantity import TICKS_MAX, Count, NotANumber, NotWholeTicks, QuantityTooLarge, Unit

HOURS = Unit("core-hours", 3600)
GB = Unit("GB", 1)
CROWNS = Unit("crowns", 1_000_000)

units = st.builds(Unit, st.just("units"), st.integers(1, 10**7))
ticks = st.integers(-TICKS_MAX, TICKS_MAX)


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        (HOURS, "1", 3600),
        (HOURS, "0.5", 1800),
        (HOURS, "0.0025", 9),
        (HOURS, 10, 36_000),
        (HOURS, Decimal("1.25"), 4500),
        (HOURS, "  2 ", 7200),
        (HOURS, "1e3", 3_600_000),
        (HOURS, "-1", -3600),
        (HOURS, "0", 0),
        (HOURS, "0e-999999", 0),
        (HOURS, "0e999999", 0),
        (HOURS, "12\u202f000", 43_200_000),
        (HOURS, "12\u00a0000", 43_200_000),
        (GB, str(TICKS_MAX), TICKS_MAX),
        (CROWNS, "0.000001", 1),
    ],
)
def test_ticks__amount_in_words_of_people__is_exact(unit: Unit, text: str | int | Decimal, expected: int) -> None:
    assert unit.ticks(text) == expected


@pytest.mark.parametrize("text", ["", " ", "abc", "1,5", "NaN", "Infinity", "-inf", "1.2.3", "0x10", "١٢ x", "--1"])
def test_ticks__no_number__is_refused(text: str) -> None:
    with pytest.raises(NotANumber) as refused:
        HOURS.ticks(text)
    assert str(refused.value) == f"“{text}” is not a number. Write an amount such as 12 or 12.5."


@pytest.mark.parametrize(
    ("unit", "text", "below", "above"),
    [
        (HOURS, "0.001", "0", "0.0025"),
        (HOURS, "1.001", "1", "1.0025"),
        (HOURS, "-0.001", "-0.0025", "0"),
        (GB, "1.5", "1", "2"),
        (CROWNS, "0.0000015", "0.000001", "0.000002"),
        (HOURS, "1e-999999", "0", "0.0025"),
        (HOURS, "-1e-999999", "-0.0025", "0"),
        (Unit("GiB", 2**30), "1e-30", "0", f"{Decimal(1) / 2**30:f}"),
    ],
)
def test_ticks__between_two_ticks__is_refused_with_the_nearest(unit: Unit, text: str, below: str, above: str) -> None:
    with pytest.raises(NotWholeTicks) as refused:
        unit.ticks(text)
    assert (refused.value.below, refused.value.above) == (below, above)


@pytest.mark.parametrize("text", [str(TICKS_MAX + 1), "1e30", "1e999999", "-1e999999", f"-{TICKS_MAX + 1}"])
def test_ticks__more_than_can_be_counted__is_refused(text: str) -> None:
    with pytest.raises(QuantityTooLarge) as refused:
        GB.ticks(text)
    assert refused.value.limit == str(TICKS_MAX)


@given(unit=units, amount=st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=6))
def test_ticks__any_amount__is_exact_or_names_two_writable_neighbours(unit: Unit, amount: Decimal) -> None:
    exact = Fraction(amount) * unit.ticks_per_unit
    if exact.denominator == 1:
        assert unit.ticks(amount) == exact
        return
    with pytest.raises(NotWholeTicks) as refused:
        unit.ticks(amount)
    below, above = unit.ticks(refused.value.below), unit.ticks(refused.value.above)
    assert below < exact < above


@given(unit=units, count=ticks)
def test_text__whatever_ends_within_12_decimals__is_read_back_exactly(unit: Unit, count: int) -> None:
    text = unit.text(count)
    if Fraction(text) * unit.ticks_per_unit == count:
        assert unit.ticks(text) == count
    else:
        assert abs(Fraction(text) - Fraction(count, unit.ticks_per_unit)) <= Fraction(1, 2 * 10**12)


@pytest.mark.parametrize(
    ("count", "digits", "expected"),
    [
        (3600, None, "1"),
        (5400, None, "1.5"),
        (1, None, "0.000277777778"),
        (1, 2, "0"),
        (-1, 2, "0"),
        (-5400, None, "-1.5"),
        (18, 2, "0.01"),
        (54, 2, "0.02"),
        (5400, 0, "2"),
        (0, None, "0"),
        (36_000, 2, "10"),
    ],
)
def test_text__core_hours__rounds_half_away_from_zero(count: int, digits: int | None, expected: str) -> None:
    assert HOURS.text(count, digits) == expected


def test_unit__no_ticks__is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Unit("nothing", 0)


def test_count__in_words__has_thin_spaces_and_is_plain_to_programs() -> None:
    assert f"{Count(99_999_999)}, {Count(-1000)}" == "99\u202f999\u202f999, \u22121\u202f000"
    assert json.dumps({"limit": Count(99_999_999)}) == '{"limit": 99999999}'


@pytest.mark.parametrize(("ticks", "expected"), [(0, 0), (1, 9), (9, 9), (11, 18), (3600, 3600), (3601, 3609)])
def test_writable__core_hours__is_the_next_amount_that_a_decimal_writes(ticks: int, expected: int) -> None:
    assert HOURS.writable(ticks) == expected
    assert HOURS.ticks(HOURS.text(expected, 63)) == expected
