"""Amounts of money with their ISO 4217 currency and its minor unit."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Final

# ISO 4217 currencies whose minor unit is not two decimals.
_MINOR_DIGITS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def minor_digits(currency: str) -> int:
    """Decimals of a currency's minor unit (source: ISO 4217)."""
    return _MINOR_DIGITS.get(currency, 2)


def minor_units(amount: Fraction, digits: int) -> int:
    """The one place where an exact amount becomes money: whole minor units of so many decimals, half away from zero."""
    scale: int = 10**digits
    whole = (2 * abs(amount.numerator) * scale + amount.denominator) // (2 * amount.denominator)
    return whole if amount.numerator >= 0 else -whole


def plain(number: Decimal) -> str:
    """A price, a rate or a quantity without needless zeros and without an exponent."""
    text = f"{number:f}" if number else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole minor units of a currency."""

    amount: Decimal
    currency: str

    @classmethod
    def rounded(cls, amount: Fraction | Decimal | int, currency: str) -> "Money":
        """An exact amount as money, rounded half away from zero."""
        digits = minor_digits(currency)
        value = Decimal(minor_units(Fraction(amount), digits)).scaleb(-digits)
        return cls(value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP), currency)

    @property
    def plain(self) -> str:
        """The amount with exactly the decimals of its currency and nothing between its digits: for programs and refusals."""
        return f"{self.amount:f}"

    def __str__(self) -> str:
        return f"{self.amount:,} {self.currency}"
