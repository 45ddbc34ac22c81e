"""What lines add up to: tax, credits, payments made ahead; and what a month computed again differs by.

Money is whole minor units of the currency. Tax is computed on the sum of the lines of one category and rate, exactly,
and rounded once, half away from zero.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Final, Generic, NamedTuple, TypeVar

from bursar.engine.apportion import allot
from bursar.engine.rating.facts import Charge
from bursar.kernel.money import minor_units

LAST_DAY: Final = date.max


class Rate(NamedTuple):
    """What lines are taxed by: a category, per cent, and the code of why nothing is taxed."""

    category: str
    percent: Fraction
    note: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A line as far as its sum goes.

    amount      whole minor units; negative of compensations and of what is given back
    workspace   whose it is, offering: what of; None = nobody's, which no restricted credit pays
    """

    amount: int
    rate: Rate
    workspace: int | None = None
    offering: int | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left of a credit.

    expires      its last day; None = never
    workspaces   None = all of the customer's
    offerings    None = all of the seller's
    """

    credit: int
    left: int
    expires: date | None = None
    workspaces: frozenset[int] | None = None
    offerings: frozenset[int] | None = None

    def pays(self, item: Item) -> bool:
        return (self.workspaces is None or item.workspace in self.workspaces) and (
            self.offerings is None or item.offering in self.offerings
        )


class Drawn(NamedTuple):
    """So much of a credit lowers the net of a rate."""

    credit: int
    rate: Rate
    amount: int


class Taxed(NamedTuple):
    rate: Rate
    net: int
    tax: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What an invoice comes to.

    granted   what granted credits took off, in the order of use; positive
    taxes     net after them, and its tax, for each rate that has lines, by category, per cent and note
    prepaid   (credit, amount) of payments made ahead, in the order of use
    """

    granted: tuple[Drawn, ...]
    taxes: tuple[Taxed, ...]
    net: int
    tax: int
    prepaid: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        return self.net + self.tax

    @property
    def due(self) -> int:
        return self.total - sum(amount for _, amount in self.prepaid)


def totals(items: Sequence[Item], granted: Iterable[Balance] = (), prepaid: Iterable[Balance] = ()) -> Totals:
    """Sum an invoice up.

    granted   lower the net, spread over the rates in proportion to what is left of the net of the lines that they may pay
    prepaid   lower what is due, up to the gross of those lines
    order     soonest expiry first, then by number; no credit lets the invoice fall below nothing
    """
    left = [item.amount for item in items]
    drawn: list[Drawn] = []
    for balance in sorted(granted, key=_soonest):
        drawn.extend(_draw(balance, items, left))
    nets: dict[Rate, int] = {}
    for item, amount in zip(items, left, strict=True):
        nets[item.rate] = nets.get(item.rate, 0) + amount
    taxes = tuple(Taxed(rate, net, tax_of(net, rate.percent)) for rate, net in sorted(nets.items()))
    return Totals(
        granted=tuple(drawn),
        taxes=taxes,
        net=sum(taxed.net for taxed in taxes),
        tax=sum(taxed.tax for taxed in taxes),
        prepaid=tuple(_prepay(items, left, taxes, prepaid)),
    )


def tax_of(net: int, percent: Fraction) -> int:
    return minor_units(net * percent / 100, 0)


def _soonest(balance: Balance) -> tuple[date, int]:
    return balance.expires or LAST_DAY, balance.credit


def _draw(balance: Balance, items: Sequence[Item], left: list[int]) -> list[Drawn]:
    """Take a credit off what is left of the lines that it may pay, `left` with it."""
    places: dict[Rate, list[int]] = {}
    for i, item in enumerate(items):
        if balance.pays(item):
            places.setdefault(item.rate, []).append(i)
    rates = sorted(rate for rate, its in places.items() if sum(left[i] for i in its) > 0)
    weights = [sum(left[i] for i in places[rate]) for rate in rates]
    payable = sum(left[i] for its in places.values() for i in its)
    amount = min(balance.left, payable, sum(left))
    if amount <= 0:
        return []
    drawn = []
    for rate, part in zip(rates, allot(amount, weights), strict=True):
        if part:
            drawn.append(Drawn(balance.credit, rate, part))
            _spread(part, places[rate], left)
    return drawn


def _spread(amount: int, places: Sequence[int], left: list[int]) -> None:
    """Take an amount off lines in proportion to what is left of those that are positive."""
    positive = [i for i in places if left[i] > 0]
    for i, part in zip(positive, allot(amount, [left[i] for i in positive]), strict=True):
        left[i] -= part


def _prepay(
    items: Sequence[Item], left: Sequence[int], taxes: Iterable[Taxed], prepaid: Iterable[Balance]
) -> Iterable[tuple[int, int]]:
    gross = list(left)
    for taxed in taxes:
        places = [i for i, item in enumerate(items) if item.rate == taxed.rate and left[i] > 0]
        if places and taxed.tax > 0:
            for i, part in zip(places, allot(taxed.tax, [left[i] for i in places]), strict=True):
                gross[i] += part
        elif taxed.tax:
            i = next(i for i, item in enumerate(items) if item.rate == taxed.rate)
            gross[i] += taxed.tax
    for balance in sorted(prepaid, key=_soonest):
        places = [i for i, item in enumerate(items) if balance.pays(item)]
        amount = min(balance.left, sum(gross[i] for i in places), sum(gross))
        if amount > 0:
            yield balance.credit, amount
            _spread(amount, places, gross)


# ------------------------------------------------------------------------------------- computed again

K = TypeVar("K", bound=Hashable)


class Invoiced(NamedTuple):
    """What was invoiced of a line so far: its charge, adjustments, and credit notes that carried one out."""

    quantity: Fraction
    rounded: int


@dataclass(frozen=True, slots=True)
class Adjustment(Generic[K]):
    """What a line of an issued month has to be changed by.

    charge   as it is now computed; None = it is not a line any more
    """

    key: K
    quantity: Fraction
    rounded: int
    charge: Charge | None
    invoiced: Invoiced


def adjustments(now: Mapping[K, Charge], invoiced: Mapping[K, Invoiced]) -> list[Adjustment[K]]:
    """The differences between a month computed again and what was invoiced for it, where money differs.

    Added to what was invoiced they give the month computed with all facts. In the order of `now`, then of `invoiced`.
    """
    nothing = Invoiced(Fraction(0), 0)
    found: list[Adjustment[K]] = []
    for key in dict.fromkeys((*now, *invoiced)):
        charge, before = now.get(key), invoiced.get(key, nothing)
        quantity, rounded = (charge.quantity, charge.rounded) if charge is not None else nothing
        if rounded != before.rounded:
            found.append(Adjustment(key, quantity - before.quantity, rounded - before.rounded, charge, before))
    return found
