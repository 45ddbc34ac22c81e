"""Which hour a netted posting belongs to: what it moved is assigned to the hours of its usage, oldest first."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bursar.engine.ledger.book import ROOT, Book, Ints
from bursar.engine.ledger.change import Change, Kind
from bursar.engine.ledger.plan import releasing
from bursar.engine.ledger.posting import Amounts
from bursar.engine.ledger.tree import SAFE

# What stands at a wallet, in the place of an allocation's row.
UNCOVERED = -1
WRITTEN_OFF = -2


@dataclass(frozen=True, slots=True)
class Moved:
    """What a posting moved within hours, one entry for each hour and each place that it moved at.

    hour, wallet   shape (n,)
    place          shape (n,), the row of an allocation of the wallet, or UNCOVERED or WRITTEN_OFF
    ticks          shape (n,), signed
    """

    hour: Ints
    wallet: Ints
    place: Ints
    ticks: Ints


def nothing_moved() -> Moved:
    nothing = np.zeros(0, dtype=np.int64)
    return Moved(nothing, nothing, nothing, nothing)


def by_hour(book: Book, change: Change, wallets: Ints, hours: Ints, ticks: Ints) -> Moved:
    """Split a draw or a release into hours, at the wallets that used and then at every source above.

    change                 a draw or a release; the book as it is after it
    wallets, hours, ticks  shape (n,), what reports add up to in the change's epoch, each pair of wallet and hour once
    """
    if not book.rules.requires_allocation:
        return nothing_moved()  # what is free to use is drawn nowhere and stands nowhere
    sign = -1 if change.kind is Kind.RELEASE else 1
    depth = np.asarray(releasing(book, change.at).depth)
    # Sums over a whole level: where they could leave an int64, whole numbers of any size take its place.
    total = np.abs(change.drawn.astype(np.float64)).sum() + np.abs(change.used.astype(np.float64)).sum()
    column: type[Any] = np.int64 if total < SAFE else np.object_
    sinks = _sinks(book, change, sign, column)
    waiting: dict[int, list[_Flow]] = {}
    _sort_in(waiting, depth, _own_hours(change, sign, wallets, hours, ticks.astype(column)))
    moved: list[tuple[Ints, Ints, Ints, Amounts]] = []
    while waiting:
        level = max(waiting)
        wallet, hour, amount = _summed(waiting.pop(level))
        here = np.isin(sinks.wallet, wallet)
        place, flow, taken = _overlay(amount, sinks.amount[here])
        owner, target = wallet[flow], sinks.place[here][place]
        moved.append((hour[flow], owner, target, taken))
        source, through = np.full(len(target), ROOT), target >= 0
        source[through] = book.source[target[through]]
        up = source != ROOT
        if up.any():
            _sort_in(waiting, depth, (source[up], hour[flow][up], taken[up]))
    if not moved:
        return nothing_moved()
    hour, wallet, place, amount = (np.concatenate(parts) for parts in zip(*moved, strict=True))
    return Moved(hour, wallet, place, (sign * amount).astype(np.int64))


_Flow = tuple[Ints, Ints, Amounts]


@dataclass(frozen=True, slots=True)
class _Sinks:
    """Where what passes a wallet went (or came from), in the order in which hours are assigned to it."""

    wallet: Ints
    place: Ints
    amount: Amounts


def _sinks(book: Book, change: Change, sign: int, column: type[Any]) -> _Sinks:
    through = (book.wallet[change.allocations], change.allocations, sign * change.drawn.astype(column))
    standing = (change.wallets, np.full(len(change.wallets), UNCOVERED), sign * change.uncovered.astype(column))
    forgiven = (change.wallets, np.full(len(change.wallets), WRITTEN_OFF), sign * change.written_off.astype(column))
    # Given back first from what stands, then what was written off; drawn first through allocations.
    order = (through, standing) if sign > 0 else (standing, forgiven, through)
    wallet, place, amount = (np.concatenate(parts) for parts in zip(*order, strict=True))
    by_wallet = np.argsort(wallet, kind="stable")
    by_wallet = by_wallet[amount[by_wallet] > 0]
    return _Sinks(wallet[by_wallet], place[by_wallet], amount[by_wallet])


def _own_hours(change: Change, sign: int, wallets: Ints, hours: Ints, ticks: Amounts) -> _Flow:
    """The hours that have the sign of the net, oldest first, as far as the amount goes; the last bears what is over."""
    using = change.used != 0
    users, wanted = change.wallets[using], sign * change.used[using].astype(ticks.dtype)
    fitting = (ticks * sign > 0) & np.isin(wallets, users)
    order = np.lexsort((hours[fitting], wallets[fitting]))
    wallet, hour, ticks = wallets[fitting][order], hours[fitting][order], sign * ticks[fitting][order]
    user = np.searchsorted(users, wallet)
    total = np.cumsum(ticks) - ticks
    first = np.searchsorted(wallet, wallet, side="left")
    taken = np.clip(wanted[user] - (total - total[first]), 0, ticks) if len(ticks) else ticks
    over = wanted.copy()
    np.subtract.at(over, user, taken)
    # Carried here from an earlier epoch, or found only together with it.
    last = np.searchsorted(wallet, users, side="right") - 1
    lacking = np.flatnonzero(over > 0)
    hourless = lacking[(last[lacking] < 0) | (np.append(wallet, ROOT)[last[lacking]] != users[lacking])]
    rest = np.setdiff1d(lacking, hourless)
    taken[last[rest]] += over[rest]
    return (
        np.concatenate((wallet, users[hourless])),
        np.concatenate((hour, np.full(len(hourless), change.at, dtype=np.int64))),
        np.concatenate((taken, over[hourless])),
    )


def _sort_in(waiting: dict[int, list[_Flow]], depth: Ints, flow: _Flow) -> None:
    wallet, hour, amount = flow
    deep = depth[wallet]
    for level in np.unique(deep).tolist():
        here = deep == level
        waiting.setdefault(level, []).append((wallet[here], hour[here], amount[here]))


def _summed(flows: list[_Flow]) -> _Flow:
    """One entry for each wallet and hour, in their order."""
    wallet, hour, amount = (np.concatenate(parts) for parts in zip(*flows, strict=True))
    order = np.lexsort((hour, wallet))
    wallet, hour, amount = wallet[order], hour[order], amount[order]
    begins = np.ones(len(wallet), dtype=np.bool_)
    begins[1:] = (wallet[1:] != wallet[:-1]) | (hour[1:] != hour[:-1])
    starts = np.flatnonzero(begins)
    sums = np.add.reduceat(amount, starts)
    some = sums > 0
    return wallet[starts][some], hour[starts][some], sums[some]


def _overlay(flows: Amounts, sinks: Amounts) -> tuple[Ints, Ints, Amounts]:
    """Lay two splittings of the same total over each other.

    returns   for each stretch: its place among the sinks, its place among the flows, its length
    """
    flow_ends, sink_ends = np.cumsum(flows), np.cumsum(sinks)
    assert flow_ends[-1] == sink_ends[-1], "what came in at a level is what went on from it"
    ends = np.unique(np.concatenate((flow_ends, sink_ends)))
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    return np.searchsorted(sink_ends, ends), np.searchsorted(flow_ends, ends), lengths
