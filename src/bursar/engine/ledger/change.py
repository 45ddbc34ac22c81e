"""What a step changed: the differences that the journal writes down."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bursar.engine.ledger.book import Book, Ints


class Kind(StrEnum):
    """Why the figures moved."""

    DRAW = "draw"
    RELEASE = "release"
    SETTLE = "settle"
    OPEN = "open"
    CLOSE = "close"
    ALLOCATE = "allocate"
    CHANGE = "change"
    REVOKE = "revoke"
    TRANSFER = "transfer"
    WRITE_OFF = "write_off"


@dataclass(frozen=True, slots=True)
class Change:
    """The differences one step made, at the instant it took effect.

    wallets              rows, and beside them used, uncovered, written_off: differences in ticks
    allocations          rows, and beside them drawn, quota: differences in ticks
    opened, closed       rows of allocations that began or closed in this step
    """

    kind: Kind
    at: int
    wallets: Ints
    used: Ints
    uncovered: Ints
    written_off: Ints
    allocations: Ints
    drawn: Ints
    quota: Ints
    opened: Ints
    closed: Ints

    @property
    def empty(self) -> bool:
        return not (len(self.wallets) or len(self.allocations) or len(self.opened) or len(self.closed))


_NONE: Ints = np.zeros(0, dtype=np.int64)


def nothing(kind: Kind, at: int) -> Change:
    """A step in which no figure moved."""
    return Change(kind, at, *(_NONE,) * 9)


@contextmanager
def recorded(book: Book, kind: Kind, at: int, into: list[Change], opened: Ints = _NONE) -> Iterator[None]:
    """Append to `into` what the body changes, if anything; allocations must not be added inside."""
    used, uncovered, written_off = book.used.copy(), book.uncovered.copy(), book.written_off.copy()
    drawn, quota, closed = book.drawn.copy(), book.quota.copy(), book.closed.copy()
    yield
    # In place: the copies become the differences, so that nothing more is allocated.
    np.subtract(book.used, used, out=used)
    np.subtract(book.uncovered, uncovered, out=uncovered)
    np.subtract(book.written_off, written_off, out=written_off)
    np.subtract(book.drawn, drawn, out=drawn)
    np.subtract(book.quota, quota, out=quota)
    wallets = np.flatnonzero(used | uncovered | written_off)
    allocations = np.flatnonzero(drawn | quota)
    change = Change(
        kind=kind,
        at=at,
        wallets=wallets,
        used=used[wallets],
        uncovered=uncovered[wallets],
        written_off=written_off[wallets],
        allocations=allocations,
        drawn=drawn[allocations],
        quota=quota[allocations],
        opened=opened,
        closed=np.flatnonzero(book.closed & ~closed),
    )
    if not change.empty:
        into.append(change)
