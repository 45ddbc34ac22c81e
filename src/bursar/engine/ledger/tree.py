"""The ledger where each wallet has one source: passes over arrays, level by level, no search.

Every figure is a sum, so neither the order nor the splitting of what is posted within one epoch makes a difference.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bursar.engine.ledger.book import Book, Ints
from bursar.engine.ledger.errors import Overflow
from bursar.engine.ledger.plan import Level, Plan

# Below this every intermediate sum of a pass fits an int64, also when wallets have several allocations.
SAFE = 2.0**61


def fits(plan: Plan, amounts: NDArray[Any]) -> bool:
    """Whether a pass over arrays can be exact for these amounts; else the walk with whole numbers of any size is.

    amounts   shape (wallets,), ticks >= 0
    """
    if amounts.dtype == np.object_ or not plan.tree:
        return False
    return float(amounts.sum(dtype=np.float64)) * max(1, plan.widest) < SAFE


def fill(book: Book, plan: Plan, inflow: Ints) -> None:
    """Draw what enters at each wallet as far up as there is room; the rest stands at the first full wallet.

    inflow   shape (wallets,), ticks >= 0; used up as working space
    raises   Overflow
    """
    for level in plan.levels:
        amount = inflow[level.wallets]
        if not amount.any():
            continue
        rows = level.allocations
        taken = _in_order(level, amount, book.quota[rows] - book.drawn[rows])
        book.drawn[rows] += taken
        _pass_up(level, inflow, amount, taken)
    _add(book.uncovered, inflow)


def empty(book: Book, plan: Plan, outflow: Ints) -> None:
    """Give back at each wallet: what stands uncovered, what was written off, then what is drawn, and so on upwards.

    outflow   shape (wallets,), ticks >= 0, at most what the wallet used; used up as working space
    """
    for level in plan.levels:
        _from_standing(book, outflow, level.wallets)
        amount = outflow[level.wallets]
        if not amount.any():
            continue
        rows = level.allocations
        taken = _in_order(level, amount, book.drawn[rows])
        book.drawn[rows] -= taken
        _pass_up(level, outflow, amount, taken)
    _from_standing(book, outflow, np.flatnonzero(outflow))
    assert not outflow.any(), "a wallet gave back more than it had"


def _from_standing(book: Book, outflow: Ints, wallets: Ints) -> None:
    for standing in (book.uncovered, book.written_off):
        taken = np.minimum(outflow[wallets], standing[wallets])
        standing[wallets] -= taken
        outflow[wallets] -= taken


def _in_order(level: Level, amount: Ints, room: Ints) -> Ints:
    """How much of each wallet's amount each of its allocations takes, in order of preference."""
    if level.single:
        return np.minimum(amount, room)
    wanted = amount[level.segment]
    room = np.minimum(room, wanted)
    before = np.cumsum(room) - room
    before -= before[level.starts][level.segment]
    return np.clip(wanted - before, 0, room)


def _pass_up(level: Level, flow: Ints, amount: Ints, taken: Ints) -> None:
    if level.single:
        flow[level.wallets] = amount - taken
    else:
        flow[level.wallets] = amount - np.add.reduceat(taken, level.starts)
    if len(level.sources):
        flow[level.sources] += np.add.reduceat(taken, level.source_starts)


def _add(column: Ints, amounts: Ints) -> None:
    total = column + amounts
    if (total < 0).any():  # both were >= 0: only a wrap makes a negative
        raise Overflow
    column[:] = total
