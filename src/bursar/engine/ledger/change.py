"""What a step changed: the differences that the journal writes down."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

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


NONE: Final[Ints] = np.zeros(0, dtype=np.int64)


def nothing(kind: Kind, at: int) -> Change:
    """A step in which no figure moved."""
    return Change(kind, at, *(NONE,) * 9)


_WALLETS: Final = ("used", "uncovered", "written_off")
_ALLOCATIONS: Final = ("drawn", "quota")
DRAWN: Final = ("used", "uncovered", "drawn")
RELEASED: Final = ("used", "uncovered", "written_off", "drawn")
ALL: Final = (*_WALLETS, *_ALLOCATIONS, "closed")


@contextmanager
def recorded(
    book: Book,
    kind: Kind,
    at: int,
    into: list[Change],
    *,
    opened: Ints = NONE,
    columns: tuple[str, ...] = ALL,
) -> Iterator[None]:
    """Append to `into` what the body changes, if anything; allocations must not be added inside.

    The columns that the body may write into are replaced by copies: whoever kept the old ones has what was before.
    """
    before = {name: getattr(book, name) for name in columns}
    for name, column in before.items():
        setattr(book, name, column.copy())
    yield
    moved = {name: getattr(book, name) - column for name, column in before.items() if name != "closed"}
    wallets = _where_any(moved, _WALLETS)
    allocations = _where_any(moved, _ALLOCATIONS)
    change = Change(
        kind=kind,
        at=at,
        wallets=wallets,
        **{name: _of(moved, name, wallets) for name in _WALLETS},
        allocations=allocations,
        **{name: _of(moved, name, allocations) for name in _ALLOCATIONS},
        opened=opened,
        closed=np.flatnonzero(book.closed & ~before["closed"]) if "closed" in before else NONE,
    )
    if not change.empty:
        into.append(change)


def _where_any(moved: dict[str, Ints], names: tuple[str, ...]) -> Ints:
    present = [moved[name] for name in names if name in moved]
    any_of = present[0]
    for column in present[1:]:
        any_of = any_of | column
    return np.flatnonzero(any_of)


def _of(moved: dict[str, Ints], name: str, rows: Ints) -> Ints:
    return moved[name][rows] if name in moved else np.zeros(len(rows), dtype=np.int64)
