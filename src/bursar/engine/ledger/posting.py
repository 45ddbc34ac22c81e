"""Usage comes in: requests netted per wallet and epoch, drawn, given back and settled."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bursar.engine.ledger import tree
from bursar.engine.ledger.book import MAX, Book, Ints
from bursar.engine.ledger.change import Change, Kind, recorded
from bursar.engine.ledger.errors import NegativeUsage, Overflow
from bursar.engine.ledger.locks import following_locks, passable
from bursar.engine.ledger.plan import drawing, releasing
from bursar.engine.ledger.walk import Walk

# Ticks as int64 or, where sums could leave it, as whole numbers of any size (dtype object).
Amounts = NDArray[Any]


def epochs(book: Book) -> Ints:
    """The instants at which one epoch ends and the next begins: starts and ends of this book's allocations."""
    bounds: Ints = np.unique(np.concatenate((book.start, book.end)))
    return bounds


def post(book: Book, wallets: Ints, amounts: Ints, used_at: Ints | int, boundaries: Ints | None = None) -> list[Change]:
    """Book a request: differences of usage, each at its own instant; all of it or, on a refusal, nothing.

    wallets      shape (n,), rows
    amounts      shape (n,), ticks, signed
    used_at      shape (n,) or one instant for all; what lies after the book's present counts as the present
    boundaries   sorted instants between epochs, where the category has more allocations than this book
    returns      what changed: per epoch the releases, then the draws; at the end what settled
    raises       NegativeUsage, Overflow
    """
    if not len(wallets):
        return []
    changes: list[Change] = []
    before = (book.used.copy(), book.uncovered.copy(), book.written_off.copy(), book.drawn.copy())
    locked = book.locked.copy()
    try:
        with following_locks(book):
            _post(book, wallets, amounts, used_at, boundaries, changes)
    except BaseException:
        book.used, book.uncovered, book.written_off, book.drawn = before
        book.locked = locked
        raise
    return changes


def settle(book: Book, changes: list[Change]) -> None:
    """Draw now what stands uncovered anywhere and finds room now; doing it again changes nothing."""
    standing = book.uncovered > 0
    if not standing.any():
        return
    roomy = passable(book)
    needy = np.zeros(len(standing), dtype=np.bool_)
    needy[book.wallet[roomy]] = True
    needy &= standing
    if not needy.any():
        return
    plan = drawing(book, book.now)
    with recorded(book, Kind.SETTLE, book.now, changes):
        amounts = np.where(needy, book.uncovered, 0)
        if tree.fits(book, plan, amounts):
            book.uncovered -= amounts
            tree.fill(book, plan, amounts)
            return
        walk = Walk(book)
        rows = np.flatnonzero(needy).tolist()
        # From the roots down: what stands higher up is the nearer claim on the room there.
        for wallet in sorted(rows, key=lambda row: (plan.depth[row], row)):
            amount, walk.uncovered[wallet] = walk.uncovered[wallet], 0
            walk.draw(plan, wallet, amount)
        walk.commit()


def _post(
    book: Book,
    wallets: Ints,
    amounts: Ints,
    used_at: Ints | int,
    boundaries: Ints | None,
    changes: list[Change],
) -> None:
    # Where sums could leave an int64, the same arrays hold whole numbers of any size instead.
    exact = float(np.abs(amounts.astype(np.float64)).sum()) < tree.SAFE
    column: type[Any] = np.int64 if exact else np.object_
    missing: Amounts = np.zeros(len(book.used), dtype=column)
    for at, where in _by_epoch(book, used_at, boundaries):
        rows, values = wallets[where], amounts[where].astype(column, copy=False)
        net: Amounts = np.zeros(len(book.used), dtype=column)
        np.add.at(net, rows, values)
        if missing.any():
            touched = np.unique(rows)
            net[touched] -= missing[touched]
            missing[touched] = 0
        _post_epoch(book, at, rows, net, missing, changes)
    if missing.any():
        raise NegativeUsage(wallets=tuple(np.flatnonzero(missing).tolist()))
    settle(book, changes)


def _by_epoch(book: Book, used_at: Ints | int, boundaries: Ints | None) -> Iterator[tuple[int, Ints | slice]]:
    """The epochs of a request, oldest first: an instant in it, and which of the reports."""
    if isinstance(used_at, int):
        yield min(used_at, book.now), slice(None)
        return
    instants = np.minimum(used_at, book.now)
    numbers = np.searchsorted(epochs(book) if boundaries is None else boundaries, instants, side="right")
    if numbers.min() == numbers.max():
        yield int(instants[0]), slice(None)
        return
    order = np.argsort(numbers, kind="stable")
    edges = np.flatnonzero(np.diff(numbers[order])) + 1
    for where in np.split(order, edges):
        yield int(instants[where[0]]), where


def _post_epoch(book: Book, at: int, rows: Ints, net: Amounts, missing: Amounts, changes: list[Change]) -> None:
    back = np.minimum(np.where(net < 0, -net, 0), book.used)
    missing += np.where(net < 0, -net, 0) - back
    if back.any():
        with recorded(book, Kind.RELEASE, at, changes):
            book.used -= back.astype(np.int64)
            _release(book, at, rows, back)
    more = np.where(net > 0, net, 0)
    if more.any():
        with recorded(book, Kind.DRAW, at, changes):
            _use(book, more)
            _draw(book, at, rows, more)


def _use(book: Book, more: Amounts) -> None:
    if more.dtype == np.object_:
        totals = [int(used) + int(amount) for used, amount in zip(book.used, more, strict=True)]
        if max(totals) > MAX:
            raise Overflow
        book.used = np.array(totals, dtype=np.int64)
        return
    used = book.used + more
    if (used < 0).any():  # both were >= 0: only a wrap makes a negative
        raise Overflow
    book.used = used


def _draw(book: Book, at: int, rows: Ints, more: Amounts) -> None:
    if not book.rules.requires_allocation:
        return
    plan = drawing(book, at)
    if tree.fits(book, plan, more):
        tree.fill(book, plan, more)
        return
    walk = Walk(book)
    for wallet in _in_order_of_appearance(rows, more):
        walk.draw(plan, wallet, int(more[wallet]))
    walk.commit()


def _release(book: Book, at: int, rows: Ints, back: Amounts) -> None:
    if not book.rules.requires_allocation:
        return
    plan = releasing(book, at)
    if tree.fits(book, plan, back):
        tree.empty(book, plan, back)
        return
    walk = Walk(book)
    for wallet in _in_order_of_appearance(rows, back):
        walk.release(plan, wallet, int(back[wallet]))
    walk.commit()


def _in_order_of_appearance(rows: Ints, amounts: Amounts) -> list[int]:
    first = np.full(len(amounts), len(rows), dtype=np.int64)
    first[rows[::-1]] = np.arange(len(rows) - 1, -1, -1)  # the last one written is the first that appeared
    chosen = np.flatnonzero(amounts)
    result: list[int] = chosen[np.argsort(first[chosen], kind="stable")].tolist()
    return result
