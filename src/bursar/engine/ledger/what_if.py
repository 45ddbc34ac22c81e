"""What would happen: steps and steady usage tried on a book of its own, and when which wallet locks.

Usage at a rate accrues in whole ticks. Between two instants at which anything else happens it only takes room away, so the
first instant at which a lock flips is found by halving, to a `grain` of time, and not by posting every tick.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bursar.engine.ledger.book import Book, Ints
from bursar.engine.ledger.due import advance, next_due
from bursar.engine.ledger.errors import LedgerRefusal, Overflow
from bursar.engine.ledger.locks import Binding, binding
from bursar.engine.ledger.operations import allocate, change, revoke, transfer, write_off
from bursar.engine.ledger.posting import post

# Each flip is one stretch of halving; more than these many say nothing that a person could use.
FLIPS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allocate:
    """`wallet` and `source` are rows (ROOT: from the provider); the new allocation is the next row."""

    at: int
    wallet: int
    source: int
    quota: int
    start: int
    end: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ChangeTo:
    """Set quota, start or end of an allocation; None leaves it."""

    at: int
    allocation: int
    quota: int | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Revoke:
    at: int
    allocation: int


@dataclass(frozen=True, slots=True)
class Transfer:
    at: int
    giver: int
    taker: int
    amount: int


@dataclass(frozen=True, slots=True)
class WriteOff:
    at: int
    wallet: int
    amount: int


@dataclass(frozen=True, slots=True)
class Charge:
    """Usage at one instant, signed."""

    at: int
    wallet: int
    amount: int


Step = Allocate | ChangeTo | Revoke | Transfer | WriteOff | Charge


@dataclass(frozen=True, slots=True)
class Rate:
    """Steady usage of a wallet in `[start, end)`: `amount` ticks in each `period` of time, >= 0."""

    wallet: int
    amount: int
    period: int
    start: int
    end: int

    def accrued(self, at: int) -> int:
        """Ticks used up to an instant."""
        return self.amount * max(0, min(at, self.end) - self.start) // self.period


@dataclass(frozen=True, slots=True)
class Flip:
    """A lock turned: when, whose, whether it is locked now, and what binds then."""

    at: int
    wallet: int
    locked: bool
    why: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The book as it would be at the end, and the locks that turned on the way, oldest first."""

    book: Book
    flips: tuple[Flip, ...]


class StepRefused(Exception):
    """The ledger would refuse a step: its place, and the refusal."""

    def __init__(self, index: int, refusal: LedgerRefusal) -> None:
        super().__init__(f"step {index}: {refusal}")
        self.index = index
        self.refusal = refusal


def what_if(book: Book, steps: Sequence[Step], rates: Sequence[Rate], until: int, *, grain: int = 1) -> Outcome:
    """Let time pass on a copy of a book up to an instant, with steps and steady usage.

    steps    each at an instant in [now, until]; those of one instant in the order given
    rates    from when they start; none before the book's present
    grain    how exactly in time a lock is said to turn
    raises   StepRefused, naming the step by its place; LedgerRefusal where steady usage is more than can be counted;
             ValueError when a step or a rate lies outside of the time looked at
    """
    if any(not book.now <= step.at <= until for step in steps):
        raise ValueError("a step lies outside of the time that is looked at")
    if any(rate.amount < 0 or rate.period <= 0 or rate.start < book.now for rate in rates):
        raise ValueError("a rate is not one of steady usage from now on")
    trial = _Trial(book.copy(), rates, grain)
    order = sorted(range(len(steps)), key=lambda index: steps[index].at)
    for index in order:
        trial.pass_to(steps[index].at)
        trial.do(index, steps[index])
    trial.pass_to(until)
    return Outcome(trial.book, tuple(trial.flips))


class _Trial:
    def __init__(self, book: Book, rates: Sequence[Rate], grain: int) -> None:
        self.book = book
        self.flips: list[Flip] = []
        self._rates = rates
        self._grain = grain
        self._charged = [0] * len(rates)
        self._locked = book.locked.copy()

    def do(self, index: int, step: Step) -> None:
        try:
            _do(self.book, step)
        except LedgerRefusal as refusal:
            raise StepRefused(index, refusal) from refusal
        self._note()

    def pass_to(self, until: int) -> None:
        """Let time pass, stopping at each instant at which something is due or a rate begins or ends."""
        while self.book.now < until:
            stops = [edge for rate in self._rates for edge in (rate.start, rate.end) if self.book.now < edge < until]
            due = next_due(self.book)
            stop = min([until, *stops, *([max(due, self.book.now + 1)] if due is not None else [])])
            # What is used lies before the instant at which something else happens: a period is half-open.
            self._use_up_to(stop - 1)
            advance(self.book, stop)
            self._note()

    def _use_up_to(self, end: int) -> None:
        while self.book.now < end:
            after = self._after(end)
            if np.array_equal(after.locked, self._locked) or len(self.flips) >= FLIPS_MAX:
                self._take(after, end)
                return
            low, high = self.book.now, end
            while high - low > self._grain:
                middle = (low + high) // 2
                if np.array_equal(self._after(middle).locked, self._locked):
                    low = middle
                else:
                    high = middle
            self._take(self._after(high), high)

    def _after(self, at: int) -> Book:
        """The book as it would be at an instant before which nothing but steady usage happens."""
        book = self.book.copy()
        advance(book, at)
        amounts = [rate.accrued(at) - charged for rate, charged in zip(self._rates, self._charged, strict=True)]
        used = [(rate.wallet, amount) for rate, amount in zip(self._rates, amounts, strict=True) if amount]
        if used:
            rows, ticks = zip(*used, strict=True)
            post(book, np.array(rows, dtype=np.int64), _ticks(ticks), at)
        return book

    def _take(self, book: Book, at: int) -> None:
        self.book = book
        self._charged = [rate.accrued(at) for rate in self._rates]
        self._note()

    def _note(self) -> None:
        for wallet in np.flatnonzero(self.book.locked != self._locked).tolist():
            locked = bool(self.book.locked[wallet])
            self.flips.append(Flip(self.book.now, wallet, locked, tuple(binding(self.book, wallet))))
        self._locked = self.book.locked.copy()


def _ticks(amounts: Iterable[int]) -> Ints:
    try:
        return np.array(list(amounts), dtype=np.int64)
    except OverflowError:
        raise Overflow from None


def _do(book: Book, step: Step) -> None:
    match step:
        case Allocate():
            allocate(
                book,
                wallet=step.wallet,
                source=step.source,
                quota=step.quota,
                start=step.start,
                end=step.end,
                priority=step.priority,
            )
        case ChangeTo():
            change(book, step.allocation, quota=step.quota, start=step.start, end=step.end)
        case Revoke():
            revoke(book, step.allocation)
        case Transfer():
            transfer(book, step.giver, step.taker, step.amount)
        case WriteOff():
            write_off(book, step.wallet, step.amount)
        case Charge():
            post(book, np.array([step.wallet]), _ticks([step.amount]), step.at)


def freed_at(book: Book, wallet: int, until: int) -> int | None:
    """The first instant by which time alone, and nobody's use, frees a locked wallet; None: none does until then."""
    later = book.copy()
    while (due := next_due(later)) is not None and due <= until:
        advance(later, max(due, later.now + 1))
        if not later.locked[wallet]:
            return later.now
    return None


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing to be done so that a locked wallet is free again.

    allocation   row whose quota has to grow by at least `ticks`; None: `wallet` needs an allocation that is open
    """

    wallet: int
    allocation: int | None
    ticks: int


def remedies(book: Book, wallet: int) -> list[Remedy]:
    """The least that frees a locked wallet along one way up, nearest to it first: all of it together frees one tick.

    Empty for a wallet that is not locked. Raising a full allocation moves what stands uncovered there to the source above,
    which may have to be raised too; a wallet without any open allocation ends the way.
    """
    book = book.copy()
    book.rules = replace(book.rules, allows_overallocation=True)  # what is missing is asked, not what may be given
    found: dict[int, Remedy] = {}
    for _ in range(2 * len(book.wallet) + 1):
        bound = binding(book, wallet)
        if not bound:
            break
        nearest = bound[0]
        if nearest.allocation is None:
            return [*found.values(), Remedy(nearest.wallet, None, nearest.uncovered + 1)]
        row, more = nearest.allocation, nearest.uncovered + 1
        before = found[row].ticks if row in found else 0
        found[row] = Remedy(nearest.wallet, row, before + more)
        change(book, row, quota=int(book.quota[row]) + more)
    return list(found.values())
