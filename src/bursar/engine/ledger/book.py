"""The state: wallets and allocations of one product category, or the part of them that an operation can reach."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bursar.engine.ledger.errors import Overflow

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROOT: Final = -1
MAX: Final = 2**63 - 1


class Charged(StrEnum):
    OVER_TIME = "over_time"  # usage accumulates
    ONCE = "once"  # usage is a level that goes up and down


@dataclass(frozen=True, slots=True)
class Rules:
    """What the product category says; `grace` is in the book's unit of time and nothing for a level."""

    charged: Charged
    grace: int = 0
    requires_allocation: bool = True
    allows_suballocation: bool = True
    allows_overallocation: bool = True


def _ints(values: Sequence[int] | Ints) -> Ints:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise Overflow from None


@dataclass(slots=True)
class Book:
    """Wallets and allocations as columns; row numbers are the names.

    Times are whole numbers on any one scale; amounts are ticks. Allocations stand in the order they were made.
    `now` is the instant up to which everything due was applied.

    used, uncovered, written_off   shape (wallets,), ticks
    locked                         shape (wallets,)
    wallet                         shape (allocations,), who holds it
    source                         shape (allocations,), a wallet or ROOT
    quota, drawn                   shape (allocations,), ticks, 0 <= drawn <= quota
    start, end, priority           shape (allocations,)
    closed                         shape (allocations,); a closed one has capacity `drawn` and is never drawn from
    """

    rules: Rules
    now: int = 0
    used: Ints = field(default_factory=lambda: _ints([]))
    uncovered: Ints = field(default_factory=lambda: _ints([]))
    written_off: Ints = field(default_factory=lambda: _ints([]))
    locked: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    wallet: Ints = field(default_factory=lambda: _ints([]))
    source: Ints = field(default_factory=lambda: _ints([]))
    quota: Ints = field(default_factory=lambda: _ints([]))
    drawn: Ints = field(default_factory=lambda: _ints([]))
    start: Ints = field(default_factory=lambda: _ints([]))
    end: Ints = field(default_factory=lambda: _ints([]))
    priority: Ints = field(default_factory=lambda: _ints([]))
    closed: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    # Computed from windows, sources and closings; thrown away when one of them changes.
    cache: dict[object, object] = field(default_factory=dict, repr=False)

    def add_wallets(self, count: int = 1) -> int:
        """Make wallets without usage or allocations, locked; the row of the first."""
        first = len(self.used)
        zeros = np.zeros(count, dtype=np.int64)
        self.used = np.concatenate((self.used, zeros))
        self.uncovered = np.concatenate((self.uncovered, zeros))
        self.written_off = np.concatenate((self.written_off, zeros))
        locked = np.full(count, self.rules.requires_allocation, dtype=np.bool_)
        self.locked = np.concatenate((self.locked, locked))
        self.cache.clear()
        return first

    def add_allocations(
        self,
        *,
        wallet: Sequence[int] | Ints,
        source: Sequence[int] | Ints,
        quota: Sequence[int] | Ints,
        start: Sequence[int] | Ints,
        end: Sequence[int] | Ints,
        priority: Sequence[int] | Ints | None = None,
    ) -> int:
        """Append open allocations that nothing is drawn through, unchecked; the row of the first."""
        first, count = len(self.wallet), len(wallet)
        self.wallet = np.concatenate((self.wallet, _ints(wallet)))
        self.source = np.concatenate((self.source, _ints(source)))
        self.quota = np.concatenate((self.quota, _ints(quota)))
        self.start = np.concatenate((self.start, _ints(start)))
        self.end = np.concatenate((self.end, _ints(end)))
        order = np.zeros(count, dtype=np.int64) if priority is None else _ints(priority)
        self.priority = np.concatenate((self.priority, order))
        self.drawn = np.concatenate((self.drawn, np.zeros(count, dtype=np.int64)))
        self.closed = np.concatenate((self.closed, np.zeros(count, dtype=np.bool_)))
        self.cache.clear()
        return first

    def copy(self) -> "Book":
        """A book of its own with the same figures."""
        columns = {name: getattr(self, name).copy() for name in _COLUMNS}
        return Book(rules=self.rules, now=self.now, **columns)

    def restore(self, other: "Book") -> None:
        """Take over the figures of another book, which must not be used afterwards."""
        for name in _COLUMNS:
            setattr(self, name, getattr(other, name))
        self.now = other.now
        self.cache.clear()

    def holds(self, at: int) -> Mask:
        """Which allocations have a window that holds an instant; a window is `[start, end)`."""
        result: Mask = (self.start <= at) & (at < self.end)
        return result

    def closes(self) -> Ints:
        """When each allocation closes if nothing changes."""
        if self.rules.charged is Charged.ONCE:
            return self.end
        return self.end + self.rules.grace


_COLUMNS: Final = (
    "used",
    "uncovered",
    "written_off",
    "locked",
    "wallet",
    "source",
    "quota",
    "drawn",
    "start",
    "end",
    "priority",
    "closed",
)
