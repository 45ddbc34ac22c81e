"""Usage comes in: requests netted per wallet and epoch, drawn, given back and settled."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bursar.engine.ledger import tree
from bursar.engine.ledger.book import MAX, Book, Ints
from bursar.engine.ledger.change import DRAWN, RELEASED, Change, Kind, recorded
from bursar.engine.ledger.errors import NegativeUsage, Overflow
from bursar.engine.ledger.few import Figures
from bursar.engine.ledger.locks import following_locks, passable, relock
from bursar.engine.ledger.plan import Plan, drawing, releasing
from bursar.engine.ledger.walk import Walk

# Ticks as int64 or, where sums could leave it, as whole numbers of any size (dtype object).
Amounts = NDArray[Any]

# Up to so many reports are posted one by one, reading only what they meet; more of them in passes over the whole book.
FEW: Final = 16


def epochs(book: Book) -> Ints:
    """The instants at which one epoch ends and the next begins: starts and ends of this book's allocations."""
    bounds: Ints = np.unique(np.concatenate((book.start, book.end)))
    return bounds


def is_tree(book: Book) -> bool:
    """Whether each wallet draws from one source now: then order and splitting make no difference to what is drawn."""
    return not book.rules.requires_allocation or drawing(book, book.now).tree


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
    if len(wallets) <= FEW:
        _post_few(book, wallets, amounts, used_at, boundaries, changes)
        return changes
    # Nothing writes into these columns: whatever moves figures puts copies in their place.
    before = (book.used, book.uncovered, book.written_off, book.drawn)
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
    with recorded(book, Kind.SETTLE, book.now, changes, columns=DRAWN):
        amounts = np.where(needy, book.uncovered, 0)
        if tree.fits(plan, amounts):
            book.uncovered -= amounts
            tree.fill(book, plan, amounts)
            return
        walk = Walk(book)
        _settle_in_order(plan, walk, np.flatnonzero(needy).tolist())
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
    most = max(int(amounts.max()), -int(amounts.min()))
    exact = most * len(amounts) < tree.SAFE or float(np.abs(amounts.astype(np.float64)).sum()) < tree.SAFE
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
        with recorded(book, Kind.RELEASE, at, changes, columns=RELEASED):
            book.used -= back.astype(np.int64)
            _release(book, at, rows, back)
    more = np.where(net > 0, net, 0)
    if more.any():
        with recorded(book, Kind.DRAW, at, changes, columns=DRAWN):
            _use(book, more)
            _draw(book, at, rows, more)


def _post_few(
    book: Book,
    wallets: Ints,
    amounts: Ints,
    used_at: Ints | int,
    boundaries: Ints | None,
    changes: list[Change],
) -> None:
    figures = Figures(book)
    walk = Walk(book, figures)
    draws = book.rules.requires_allocation
    missing: dict[int, int] = {}
    for at, where in _by_epoch(book, used_at, boundaries):
        net: dict[int, int] = {}
        for row, amount in zip(wallets[where].tolist(), amounts[where].tolist(), strict=True):
            net[row] = net.get(row, 0) + amount
        for row in net:
            net[row] -= missing.pop(row, 0)
        if any(amount < 0 for amount in net.values()):
            with figures.recorded(Kind.RELEASE, at, changes):
                for row, amount in net.items():
                    back = min(-amount, figures.used[row])
                    if amount + back < 0:
                        missing[row] = -amount - back
                    if back > 0:
                        figures.used[row] -= back
                        if draws:
                            walk.release(releasing(book, at), row, back)
        with figures.recorded(Kind.DRAW, at, changes):
            for row, amount in net.items():
                if amount > 0:
                    figures.used[row] += amount
                    if draws:
                        walk.draw(drawing(book, at), row, amount)
    if missing:
        raise NegativeUsage(wallets=tuple(sorted(missing)))
    if draws:
        _settle_few(book, figures, walk, changes)
        turned = _turned(book, figures)
        figures.write_back()
        if turned:
            relock(book, np.array(turned, dtype=np.int64))
    else:
        figures.write_back()


def _settle_few(book: Book, figures: Figures, walk: Walk, changes: list[Change]) -> None:
    # Before this request no wallet stood uncovered with room: only those it touched can now.
    plan = drawing(book, book.now)
    touched = {*figures.uncovered, *(int(book.wallet[row]) for row in figures.drawn)}
    needy = [
        wallet
        for wallet in touched
        if figures.uncovered[wallet] and any(figures.drawn[row] < figures.quota[row] for row in plan.into[wallet])
    ]
    if needy:
        with figures.recorded(Kind.SETTLE, book.now, changes):
            _settle_in_order(plan, walk, needy)


def _settle_in_order(plan: Plan, walk: Walk, needy: Iterable[int]) -> None:
    """From the roots down: what stands higher up is the nearer claim on the room there."""
    for wallet in sorted(needy, key=lambda row: (plan.depth[row], row)):
        amount, walk.uncovered[wallet] = walk.uncovered[wallet], 0
        walk.draw(plan, wallet, amount)


def _turned(book: Book, figures: Figures) -> list[int]:
    """The wallets that hold an allocation which became full or got room."""
    members = drawing(book, book.now).members
    return [
        int(book.wallet[row])
        for row, drawn in figures.drawn.items()
        if members[row] and (drawn < figures.quota[row]) != bool(book.drawn[row] < book.quota[row])
    ]


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
    if tree.fits(plan, more):
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
    if tree.fits(plan, back):
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
