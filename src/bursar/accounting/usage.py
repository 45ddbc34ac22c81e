"""Booking usage: differences in, what the engine makes of them out, and the journal of it by the hour of use."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bursar.accounting.books import HOUR, Held, Ledger, Loaded, epoch_bounds
from bursar.accounting.errors import MoreTakenBackThanUsed
from bursar.catalogue.models import ProductCategory
from bursar.engine import ledger as engine
from bursar.engine.ledger import Change, Kind, by_hour
from bursar.engine.ledger.book import Ints, Mask
from bursar.engine.ledger.hours import UNCOVERED, WRITTEN_OFF, Moved, nothing_moved
from bursar.engine.ledger.tree import SAFE
from bursar.kernel.quantity import TICKS_MAX
from bursar.structure.models import Person


@dataclass(frozen=True, slots=True)
class Posting:
    """Usage being booked in a category, whose lock the caller's transaction holds.

    operation_id   noted before anything else, so that reports may be written down that belong to it
    bounds         where allocations start and end, as far back as the usage reaches
    """

    ledger: Ledger
    operation_id: int
    bounds: Ints

    def order_counts(self, amounts: Ints, used_at: Ints) -> bool:
        """Whether it could make a difference in which order, and in how many steps, these are booked.

        It makes none for increases in a tree where nothing starts or ends between the use and now.
        """
        book = self.ledger.book
        between = (self.bounds > used_at.min()) & (self.bounds <= book.now)
        return bool((amounts < 0).any() or between.any() or not engine.is_tree(book))

    def post(self, wallet_ids: Ints, amounts: Ints, used_at: Ints) -> Loaded:
        """Book differences of usage; all of them or none. The wallets as they stand then, with all above them.

        wallet_ids, amounts, used_at   shape (n,), n > 0: ids, signed ticks, microseconds since 1970
        raises                         MoreTakenBackThanUsed, naming the wallets; engine.errors.Overflow
        """
        ledger, loaded, book = self.ledger, self.ledger.loaded, self.ledger.book
        rows = np.searchsorted(loaded.wallets, wallet_ids)
        instants = np.minimum(used_at, book.now)
        bounds = self.bounds[(self.bounds > instants.min()) & (self.bounds <= instants.max())]
        try:
            changes = engine.post(book, rows, amounts, instants, bounds)
        except engine.NegativeUsage as refusal:
            raise MoreTakenBackThanUsed(wallet_ids=tuple(loaded.wallet_ids[row] for row in refusal.wallets)) from None
        usage = _usage_by_hour(bounds, rows, instants, amounts)
        ledger.begin_balances()  # the server is at work with them while the journal is laid out
        _journal_usage(ledger, self.operation_id, changes, usage, bounds)
        ledger.finish()
        return loaded


def begin_posting(
    *,
    category: ProductCategory,
    wallet_ids: Iterable[int],
    since: datetime,
    by: Person | None,
    at: datetime,
    held: Held,
) -> Posting:
    """Begin to book usage of these wallets, none of it earlier than `since`."""
    ledger = Ledger(category=category, wallet_ids=wallet_ids, by_id=by.pk if by else None, at=at, held=held)
    return Posting(ledger, ledger.operation("usage"), epoch_bounds(ledger.loaded, since))


def _journal_usage(
    ledger: Ledger,
    operation: int,
    changes: list[Change],
    usage: "_Usage",
    bounds: Ints,
) -> None:
    """Usage by the hour it belongs to; what was drawn, given back or stands, assigned to those hours, oldest first."""
    for change in changes:
        if change.kind not in {Kind.DRAW, Kind.RELEASE}:
            ledger.journal(operation, change)
    for epoch in np.unique(usage.epoch).tolist():
        of_epoch = usage.only(usage.epoch == epoch)
        for kind, sign in ((Kind.RELEASE, -1), (Kind.DRAW, 1)):
            used = of_epoch.only(of_epoch.ticks * sign > 0)
            found = [change for change in changes if change.kind is kind and _epoch(change, bounds) == epoch]
            if not found:
                moved = nothing_moved()
            elif (of_epoch.hour == of_epoch.hour[0]).all():  # nothing to share out: the common case
                moved = _moved_at_once(found[0], int(of_epoch.hour[0]))
            else:
                moved = by_hour(ledger.book, found[0], of_epoch.wallet, of_epoch.hour, of_epoch.ticks)
            _journal_moved(ledger, operation, kind, used, moved)


@dataclass(frozen=True, slots=True)
class _Usage:
    """What reports add up to, one entry for each epoch, wallet and hour; nothing where they cancel out."""

    epoch: Ints
    wallet: Ints
    hour: Ints
    ticks: Ints

    def only(self, which: Mask) -> "_Usage":
        return _Usage(self.epoch[which], self.wallet[which], self.hour[which], self.ticks[which])


def _usage_by_hour(bounds: Ints, rows: Ints, instants: Ints, amounts: Ints) -> _Usage:
    """raises   Overflow"""
    hours = instants - instants % HOUR
    epochs = np.searchsorted(bounds, instants, side="right")
    order = np.lexsort((hours, rows, epochs))
    epochs, rows, hours = epochs[order], rows[order], hours[order]
    begins = np.ones(len(rows), dtype=np.bool_)
    begins[1:] = (rows[1:] != rows[:-1]) | (hours[1:] != hours[:-1]) | (epochs[1:] != epochs[:-1])
    starts = np.flatnonzero(begins)
    sums = _sums(amounts[order], starts)
    return _Usage(epochs[starts], rows[starts], hours[starts], sums).only(sums != 0)


def _sums(amounts: Ints, starts: Ints) -> Ints:
    if np.abs(amounts.astype(np.float64)).sum() < SAFE:
        return np.add.reduceat(amounts, starts)
    exact = np.add.reduceat(amounts.astype(np.object_), starts).tolist()
    if max(map(abs, exact)) > TICKS_MAX:
        raise engine.errors.Overflow
    return np.array(exact, dtype=np.int64)


def _epoch(change: Change, bounds: Ints) -> int:
    return int(np.searchsorted(bounds, change.at, side="right"))


def _moved_at_once(change: Change, hour: int) -> Moved:
    count = len(change.wallets)
    place = np.concatenate((np.repeat((UNCOVERED, WRITTEN_OFF), count), change.allocations))
    ticks = np.concatenate((change.uncovered, change.written_off, change.drawn))
    # An allocation knows its wallet, so it need not be told here.
    wallet = np.concatenate((np.tile(change.wallets, 2), np.zeros(len(change.allocations), dtype=np.int64)))
    return Moved(np.full(len(place), hour, dtype=np.int64), wallet, place, ticks)


def _journal_moved(ledger: Ledger, operation: int, kind: Kind, used: _Usage, moved: Moved) -> None:
    """A wallet's figures of one hour on one row: what it used, what stands there, what was written off of it."""
    through = moved.place >= 0
    standing, forgiven = moved.place == UNCOVERED, moved.place == WRITTEN_OFF
    wallet = np.concatenate((used.wallet, moved.wallet[standing], moved.wallet[forgiven]))
    hour = np.concatenate((used.hour, moved.hour[standing], moved.hour[forgiven]))
    order = np.lexsort((wallet, hour))
    wallet, hour = wallet[order], hour[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (wallet[1:] != wallet[:-1]) | (hour[1:] != hour[:-1])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.cumsum(begins) - 1
    figures = np.zeros((3, int(np.count_nonzero(begins))), dtype=np.int64)
    first, second = len(used.wallet), len(used.wallet) + int(np.count_nonzero(standing))
    figures[0, place[:first]] = used.ticks
    figures[1, place[first:second]] = moved.ticks[standing]
    figures[2, place[second:]] = moved.ticks[forgiven]
    some = figures.any(axis=0)
    ledger.journal_usage(
        operation, kind, hour[begins][some], wallets=wallet[begins][some],
        used=figures[0][some], uncovered=figures[1][some], written_off=figures[2][some],
        allocations=moved.place[through], allocation_hours=moved.hour[through], drawn=moved.ticks[through],
    )  # fmt: skip
