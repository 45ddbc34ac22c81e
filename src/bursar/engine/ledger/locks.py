"""Locks: a wallet is locked when nothing can pass from it to a root through open windows with room.

A lock can only flip below an allocation that has just become full or has just got room, so the search goes down from
those and stops where nothing changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bursar.engine.ledger.book import ROOT, Book, Ints, Mask
from bursar.engine.ledger.plan import drawing, given, held


def passable(book: Book) -> Mask:
    """Which allocations have an open window at the book's present and room left."""
    result: Mask = drawing(book, book.now).members & (book.drawn < book.quota)
    return result


def lock_states(count: int, wallet: Ints, source_open: Mask) -> Mask:
    """Which of `count` wallets are locked.

    wallet        shape (n,), holders 0..count-1 of the allocations that have an open window and room
    source_open   shape (n,), whether such an allocation's source is a root or a wallet that is not locked
    returns       shape (count,)
    """
    locked = np.ones(count, dtype=np.bool_)
    locked[wallet[source_open]] = False
    return locked


@contextmanager
def following_locks(book: Book) -> Iterator[None]:
    """Keep `book.locked` true over whatever the body does to the book."""
    before = passable(book)
    yield
    if not book.rules.requires_allocation:
        return
    after = passable(book)
    turned = after.copy()
    turned[: len(before)] ^= before
    if turned.any():
        relock(book, book.wallet[turned], after)


def relock(book: Book, wallets: Ints, open_now: Mask | None = None) -> None:
    """Decide the locks of these wallets anew, and of those below wherever one flipped.

    open_now   what can pass now, where it is known for all allocations
    """
    members = drawing(book, book.now).members

    def passing(rows: Ints) -> Ints:
        if open_now is not None:
            return rows[open_now[rows]]
        return rows[members[rows] & (book.drawn[rows] < book.quota[rows])]

    frontier = np.unique(wallets)
    while len(frontier):
        rows = passing(held(book).of(frontier))
        source = book.source[rows]
        source_open = (source == ROOT) | ~book.locked[source]
        states = lock_states(len(frontier), np.searchsorted(frontier, book.wallet[rows]), source_open)
        turned = states != book.locked[frontier]
        flipped = frontier[turned]
        book.locked[flipped] = states[turned]
        frontier = np.unique(book.wallet[passing(given(book).of(flipped))])


def over(book: Book) -> Mask:
    """Where usage stands uncovered, at the wallet or above it through an open allocation that something is drawn by.

    returns   shape (wallets,)
    """
    result: Mask = book.uncovered > 0
    if not result.any():
        return result
    rows = np.flatnonzero(drawing(book, book.now).members & (book.drawn > 0) & (book.source != ROOT))
    holder, source = book.wallet[rows], book.source[rows]
    while True:
        reached = holder[result[source] & ~result[holder]]
        if not len(reached):
            return result
        result[reached] = True


@dataclass(frozen=True, slots=True)
class Binding:
    """What keeps a wallet locked: a full allocation, or a wallet on the way up that holds none that is open.

    allocation   row, or None where `wallet` has no open allocation
    uncovered    ticks that stand at `wallet` already, so that much more room is needed before anything is free
    distance     steps up from the locked wallet to `wallet`
    """

    wallet: int
    allocation: int | None
    uncovered: int
    distance: int


def binding(book: Book, wallet: int) -> list[Binding]:
    """The witness of a lock: every full allocation that is met on the ways up from a wallet, nearest to it first.

    A wallet that is not locked has none: the ways up then end at a root.
    """
    if not book.rules.requires_allocation or not book.locked[wallet]:
        return []
    plan = drawing(book, book.now)
    found: list[Binding] = []
    distance, queue = {wallet: 0}, [wallet]
    for at in queue:
        uncovered = int(book.uncovered[at])
        if not plan.into[at]:
            found.append(Binding(at, None, uncovered, distance[at]))
        for row in plan.into[at]:
            if book.drawn[row] >= book.quota[row]:
                found.append(Binding(at, row, uncovered, distance[at]))
            elif (above := int(book.source[row])) not in distance:
                distance[above] = distance[at] + 1
                queue.append(above)
    return found
