"""Quantities are whole ticks; a `Unit` says how people read and write them, exactly."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_

TICKS_MAX: Final = 2**63 - 1
THIN: Final = "\u202f"
MINUS: Final = "\u2212"


def grouped(text: str) -> str:
    """A plain decimal with thin spaces between thousands and a true minus: -12345.5 -> −12 345.5."""
    sign, digits = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    whole, dot, fraction = digits.partition(".")
    groups = []
    while len(whole) > 3:
        whole, group = whole[:-3], whole[-3:]
        groups.append(group)
    return sign + THIN.join([whole, *reversed(groups)]) + dot + fraction


class Count(int):
    """A whole number of units, as a fact of a refusal: plain to programs, with thin spaces in its words."""

    def __format__(self, spec: str) -> str:
        return int.__format__(self, spec) if spec else grouped(int.__repr__(self))


@dataclass(eq=False)
class NotANumber(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "not_a_number"
    message: ClassVar[str] = N_("“{text}” is not a number. Write an amount such as 12 or 12.5.")
    text: str


@dataclass(eq=False)
class NotWholeTicks(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "not_whole_ticks"
    message: ClassVar[str] = N_("{text} {unit} cannot be counted exactly. The nearest amounts are {below} and {above}.")
    text: str
    unit: str
    below: str
    above: str


@dataclass(eq=False)
class QuantityTooLarge(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "quantity_too_large"
    message: ClassVar[str] = N_("{text} {unit} is more than can be counted (at most {limit}).")
    text: str
    unit: str
    limit: str


@dataclass(frozen=True, slots=True)
class Unit:
    """How a quantity is read: `name` as people say it ("core-hours"), `ticks_per_unit` >= 1."""

    name: str
    ticks_per_unit: int

    def __post_init__(self) -> None:
        if self.ticks_per_unit < 1:
            raise ValueError("ticks_per_unit is at least 1")

    def ticks(self, text: str | int | Decimal) -> int:
        """The whole ticks of an amount a person wrote in this unit.

        raises   NotANumber; NotWholeTicks with the nearest valid amounts; QuantityTooLarge
        """
        try:
            amount = Decimal(str(text).strip().replace("\u202f", "").replace("\u00a0", ""))
        except InvalidOperation:
            raise NotANumber(text=str(text)[:40]) from None
        if not amount.is_finite():
            raise NotANumber(text=str(text)[:40])
        if amount and amount.adjusted() > 40:
            raise QuantityTooLarge(text=str(text)[:40], unit=self.name, limit=self.text(TICKS_MAX))
        if amount and amount.adjusted() < -40:  # less than any tick; its exact fraction may be huge
            amount = Decimal("1e-40").copy_sign(amount)
        numerator, denominator = amount.as_integer_ratio() if amount else (0, 1)
        ticks, rest = divmod(numerator * self.ticks_per_unit, denominator)
        if abs(ticks) > TICKS_MAX:
            raise QuantityTooLarge(text=str(text)[:40], unit=self.name, limit=self.text(TICKS_MAX))
        if rest:
            below = ticks - ticks % self._writable_step
            above = below + self._writable_step
            raise NotWholeTicks(
                text=str(text)[:40], unit=self.name, below=self.text(below, 63), above=self.text(above, 63)
            )
        return ticks

    def writable(self, ticks: int) -> int:
        """The least amount of at least so many ticks that a decimal can write, for what a person is told to enter."""
        return ticks + -ticks % self._writable_step

    @property
    def _writable_step(self) -> int:
        """How far apart the amounts are that a decimal can write: one second is 0.000277… hours, nine are 0.0025."""
        step = self.ticks_per_unit
        for factor in (2, 5):
            while step % factor == 0:
                step //= factor
        return step

    def text(self, ticks: int, digits: int | None = None) -> str:
        """The amount as a plain decimal, without the unit's name.

        digits   None: exact where it ends within 12 decimals (else rounded to 12); a number: at most so many
        """
        places = 12 if digits is None else digits
        sign, whole = ("-", -ticks) if ticks < 0 else ("", ticks)
        scaled, rest = divmod(whole * 10**places, self.ticks_per_unit)
        if 2 * rest >= self.ticks_per_unit:  # half away from zero
            scaled += 1
        units, fraction = divmod(scaled, 10**places)
        decimals = f"{fraction:0{places}d}".rstrip("0") if places else ""
        text = f"{units}.{decimals}" if decimals else str(units)
        return text if text == "0" else sign + text
