from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.kernel.money import Money, minor_digits, plain


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (Fraction(120, 31), "EUR", "3.87"),
        (Fraction(120, 31), "JPY", "4"),
        (Fraction(120, 31), "KWD", "3.871"),
        (Decimal("0.005"), "EUR", "0.01"),
        (Decimal("-0.005"), "EUR", "-0.01"),
        (Decimal("0.0049"), "EUR", "0.00"),
        (Decimal("2.5"), "ISK", "3"),
        (7, "EUR", "7.00"),
    ],
)
def test_rounded__exact_amount__half_away_from_zero(
    amount: Fraction | Decimal | int, currency: str, expected: str
) -> None:
    money = Money.rounded(amount, currency)
    assert (str(money.amount), money.currency) == (expected, currency)


@given(amount=st.fractions(-(10**12), 10**12), currency=st.sampled_from(["EUR", "JPY", "BHD"]))
def test_rounded__any_amount__is_the_nearest_and_keeps_its_sign(amount: Fraction, currency: str) -> None:
    money = Money.rounded(amount, currency)
    digits = minor_digits(currency)
    assert abs(Fraction(money.amount) - amount) <= Fraction(1, 2 * 10**digits)
    assert money.amount.as_tuple().exponent == -digits
    assert Money.rounded(-amount, currency).amount == -money.amount


def test_str__large_amount__is_grouped() -> None:
    assert str(Money.rounded(Decimal("1234567.5"), "EUR")) == "1,234,567.50 EUR"


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [("9.370", "EUR", "9.37"), ("9.000", "JPY", "9"), ("9.371", "KWD", "9.371"), ("0.000", "EUR", "0.00"),
     ("1234567.500", "EUR", "1234567.50"), ("-1E+3", "JPY", "-1000")],
)  # fmt: skip
def test_plain__as_a_table_keeps_it__has_the_decimals_of_its_currency(
    amount: str, currency: str, expected: str
) -> None:
    assert Money.rounded(Decimal(amount), currency).plain == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [("0", "0"), ("-0.00", "0"), ("0.040000", "0.04"), ("1E+2", "100"), ("100", "100"), ("-5.50", "-5.5"),
     ("12345678901234567890123456.0123456789", "12345678901234567890123456.0123456789")],
)  # fmt: skip
def test_plain__number__has_no_needless_zeros_and_loses_none_of_its_digits(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text
