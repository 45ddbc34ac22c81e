"""Exact numbers as people read them."""

from fractions import Fraction


def text(exact: Fraction | int) -> str:
    """An exact number: as a decimal where it ends, else as a fraction."""
    numerator, denominator = exact.numerator, exact.denominator
    if denominator == 1:
        return str(numerator)
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    if denominator != 1:
        return str(exact)
    places = max(twos, fives)
    units, decimals = divmod(abs(numerator) * 10**places // exact.denominator, 10**places)
    return f"{'-' if numerator < 0 else ''}{units}.{decimals:0{places}d}"
