"""What would happen to a category's wallets: steps and steady usage tried on a copy, nothing written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from django.db import connection
from django.utils.translation import gettext

from bursar.accounting.books import DAY, Loaded, instant, load, micros
from bursar.accounting.errors import StepIncomplete, StepOutsideTime, StepRefused, WalletOfAnotherCategory, in_units
from bursar.accounting.models import Allocation, Wallet
from bursar.accounting.selectors import WalletState, Why, _below, _names, _wallets, states_in
from bursar.engine import ledger as engine
from bursar.engine.ledger import what_if as trial
from bursar.engine.ledger.book import ROOT
from bursar.engine.ledger.locks import Binding
from bursar.kernel.refusals import words

T = TypeVar("T")

SECOND: Final = timedelta(seconds=1) // timedelta(microseconds=1)
YEARS_MAX: Final = timedelta(days=3660)
STEPS_MAX: Final = 200


class Do(StrEnum):
    ALLOCATE = (
        "allocate"  # wallet_id, source_id (None: from the provider), quota_ticks, end; start (None: then), priority
    )
    CHANGE = "change"  # allocation_id, and any of quota_ticks, start, end
    REVOKE = "revoke"  # allocation_id
    TRANSFER = "transfer"  # allocation_id, to_allocation_id, amount_ticks
    WRITE_OFF = "write_off"  # wallet_id, amount_ticks
    CHARGE = "charge"  # wallet_id, amount_ticks (signed)
    RATE = "rate"  # wallet_id, amount_ticks per day, from `at` to `end` (None: to the end of all)


@dataclass(frozen=True, slots=True)
class Step:
    """Something tried at an instant (None: now). Which of the fields it needs, `Do` says."""

    do: Do
    at: datetime | None = None
    wallet_id: int | None = None
    source_id: int | None = None
    allocation_id: int | None = None
    to_allocation_id: int | None = None
    quota_ticks: int | None = None
    amount_ticks: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A lock that would turn; allocations of the steps are called -1, -2, … in their order."""

    at: datetime
    wallet: Wallet
    locked: bool
    why: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The wallets as they would be at `until`, the one asked for first, and the locks that turn on the way."""

    until: datetime
    states: tuple[WalletState, ...]
    turns: tuple[Turn, ...]

    @property
    def locked_at(self) -> datetime | None:
        """When the wallet asked for would lock first; None where it does not."""
        asked = self.states[0].wallet.pk
        return next((turn.at for turn in self.turns if turn.wallet.pk == asked and turn.locked), None)


def what_if(*, wallet: Wallet, steps: Sequence[Step], until: datetime, with_tree: bool = False, at: datetime) -> WhatIf:
    """Try steps and steady usage on a wallet, those above it and, if asked, those below it.

    with_tree   tell of the whole tree below as well
    raises      StepOutsideTime, StepIncomplete, StepRefused (naming the step), WalletOfAnotherCategory
    """
    category = wallet.category
    if not at < until <= at + YEARS_MAX:
        raise StepOutsideTime(field="until")
    named = _named(wallet, steps)
    told = [wallet.pk, *sorted(named - {wallet.pk})]
    if with_tree:
        told += [pk for pk in _below(wallet) if pk not in told]
    loaded = load(category, {*told, *_needed(wallet, steps)}, until)
    book = loaded.book
    engine.advance(book, max(micros(at), book.now))
    tries = [_step(loaded, index, step) for index, step in enumerate(steps) if step.do is not Do.RATE]
    rates = [_rate(loaded, index, step, micros(until)) for index, step in enumerate(steps) if step.do is Do.RATE]
    try:
        outcome = trial.what_if(book, tries, rates, micros(until), grain=SECOND)
    except trial.StepRefused as refused:
        number = [index for index, step in enumerate(steps) if step.do is not Do.RATE][refused.index] + 1
        try:
            with in_units(category.unit):
                raise refused.refusal
        except engine.LedgerRefusal as refusal:
            raise StepRefused(number=number, reason=words(refusal, gettext), refused=refusal.code) from None
    except ValueError:
        raise StepOutsideTime from None
    new = len(outcome.book.wallet) - len(loaded.allocation_ids)
    after = Loaded(
        category,
        outcome.book,
        loaded.wallet_ids,
        loaded.workspace_ids,
        [*loaded.allocation_ids, *(-number for number in range(1, new + 1))],
    )
    wallets = {one.pk: one for one in _wallets().filter(category=category, pk__in=told)}
    states = states_in(after, [wallets[pk] for pk in told])
    names = _names({loaded.wallet_ids[one.wallet] for flip in outcome.flips for one in flip.why}, category)
    return WhatIf(
        until=until,
        states=tuple(states[pk] for pk in told),
        turns=tuple(
            Turn(
                at=instant(flip.at),
                wallet=wallets[loaded.wallet_ids[flip.wallet]],
                locked=flip.locked,
                why=tuple(_why(after, names, one) for one in flip.why),
            )
            for flip in outcome.flips
            if loaded.wallet_ids[flip.wallet] in wallets
        ),
    )


def _named(wallet: Wallet, steps: Iterable[Step]) -> set[int]:
    """The wallets that steps name, themselves or by an allocation they hold: those that are told of.

    raises   WalletOfAnotherCategory
    """
    wallet_ids = {step.wallet_id for step in steps if step.wallet_id is not None}
    allocation_ids = {one for step in steps for one in (step.allocation_id, step.to_allocation_id) if one is not None}
    of_category = Wallet.objects.filter(category_id=wallet.category_id, pk__in=wallet_ids)
    if of_category.count() != len(wallet_ids):
        raise WalletOfAnotherCategory(field="steps")
    rows = Allocation.objects.filter(category_id=wallet.category_id, pk__in=allocation_ids)
    holders = dict(rows.values_list("pk", "wallet_id"))
    if len(holders) != len(allocation_ids):
        raise WalletOfAnotherCategory(field="steps")
    return wallet_ids | set(holders.values())


def _needed(wallet: Wallet, steps: Iterable[Step]) -> set[int]:
    """The wallets that have to be there besides: sources, and those to whom quota was given where that is bounded."""
    category = wallet.category
    sources = {step.source_id for step in steps if step.source_id is not None}
    if Wallet.objects.filter(category=category, pk__in=sources).count() != len(sources):
        raise WalletOfAnotherCategory(field="steps")
    if category.allows_overallocation:
        return sources
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT g.wallet_id FROM allocation g WHERE g.category_id = %(category)s AND g.closed_at IS NULL AND (
                g.source_id = ANY(%(sources)s) OR g.source_id IN (
                    SELECT unnest(ARRAY[a.source_id, a.wallet_id]) FROM allocation a
                    WHERE a.category_id = %(category)s AND a.id = ANY(%(allocations)s)))
            """,
            {
                "category": category.pk,
                "sources": [*sources, *(step.wallet_id for step in steps if step.wallet_id is not None)],
                "allocations": [
                    one for step in steps for one in (step.allocation_id, step.to_allocation_id) if one is not None
                ],
            },
        )
        return sources | {row[0] for row in cursor.fetchall()}


def _step(loaded: Loaded, index: int, step: Step) -> trial.Step:
    at = loaded.book.now if step.at is None else micros(step.at)

    def wallet() -> int:
        return loaded.row_of_wallet[_given(step.wallet_id, index, "wallet_id")]

    def allocation(key: int | None, name: str) -> int:
        row = loaded.row_of_allocation.get(_given(key, index, name))
        if row is None:  # closed, and nothing was drawn through it
            closed = engine.errors.AllocationClosed()
            raise StepRefused(number=index + 1, reason=words(closed, gettext), refused=closed.code)
        return row

    match step.do:
        case Do.ALLOCATE:
            return trial.Allocate(
                at=at,
                wallet=wallet(),
                source=ROOT if step.source_id is None else loaded.row_of_wallet[step.source_id],
                quota=_given(step.quota_ticks, index, "quota_ticks"),
                start=at if step.start is None else micros(step.start),
                end=micros(_given(step.end, index, "end")),
                priority=step.priority,
            )
        case Do.CHANGE:
            return trial.ChangeTo(
                at=at,
                allocation=allocation(step.allocation_id, "allocation_id"),
                quota=step.quota_ticks,
                start=None if step.start is None else micros(step.start),
                end=None if step.end is None else micros(step.end),
            )
        case Do.REVOKE:
            return trial.Revoke(at=at, allocation=allocation(step.allocation_id, "allocation_id"))
        case Do.TRANSFER:
            return trial.Transfer(
                at=at,
                giver=allocation(step.allocation_id, "allocation_id"),
                taker=allocation(step.to_allocation_id, "to_allocation_id"),
                amount=_given(step.amount_ticks, index, "amount_ticks"),
            )
        case Do.WRITE_OFF:
            return trial.WriteOff(at=at, wallet=wallet(), amount=_given(step.amount_ticks, index, "amount_ticks"))
        case _:
            return trial.Charge(at=at, wallet=wallet(), amount=_given(step.amount_ticks, index, "amount_ticks"))


def _rate(loaded: Loaded, index: int, step: Step, until: int) -> trial.Rate:
    start = loaded.book.now if step.at is None else micros(step.at)
    return trial.Rate(
        wallet=loaded.row_of_wallet[_given(step.wallet_id, index, "wallet_id")],
        amount=_given(step.amount_ticks, index, "amount_ticks"),
        period=DAY,
        start=start,
        end=until if step.end is None else micros(step.end),
    )


def _given(value: T | None, index: int, name: str) -> T:
    if value is None:
        raise StepIncomplete(number=index + 1, missing=name)
    return value


def _why(loaded: Loaded, names: dict[int, str], one: Binding) -> Why:
    wallet_id = loaded.wallet_ids[one.wallet]
    return Why(
        wallet_id=wallet_id,
        workspace=names[wallet_id],
        allocation_id=None if one.allocation is None else loaded.allocation_ids[one.allocation],
        quota_ticks=0 if one.allocation is None else int(loaded.book.quota[one.allocation]),
        uncovered_ticks=one.uncovered,
        distance=one.distance,
    )
