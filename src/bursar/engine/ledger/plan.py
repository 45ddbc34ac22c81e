"""Who draws from whom within one epoch, laid out for a pass over arrays or for a walk.

An epoch is a stretch between neighbouring starts and ends of allocations: within it the instant of use makes no
difference, so a plan is made once per epoch and kept until an allocation appears, moves or closes. What a plan says is
worked out when it is asked for: one report needs a few rows, a pass over arrays needs no lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bursar.engine.ledger.book import ROOT, Book, Ints, Mask


@dataclass(frozen=True, slots=True)
class Level:
    """Wallets at one distance from the roots, with their allocations in the order of preference.

    allocations   rows, sorted by source, then wallet, then preference
    wallets       rows, one for each stretch of `allocations` that begins at `starts`
    segment       for each allocation the place of its wallet in `wallets`
    sources       rows, one for each stretch of `allocations` that begins at `source_starts`; empty at the roots
    single        each wallet has one allocation
    """

    allocations: Ints
    wallets: Ints
    starts: Ints
    segment: Ints
    sources: Ints
    source_starts: Ints
    single: bool


@dataclass(frozen=True, slots=True)
class Index:
    """Rows of allocations by wallet, those of one wallet together."""

    rows: Ints
    bounds: Ints  # shape (wallets + 1,): those of wallet w are rows[bounds[w]:bounds[w + 1]]

    def of(self, wallets: Ints) -> Ints:
        """The rows of these wallets, one wallet after the other."""
        first = self.bounds[wallets]
        counts = self.bounds[wallets + 1] - first
        total = np.cumsum(counts)
        places = np.repeat(first - total + counts, counts) + np.arange(total[-1] if len(total) else 0)
        result: Ints = self.rows[places]
        return result


class Into(dict[int, list[int]]):
    """By wallet the rows of the allocations that it holds, in order of preference."""

    def __init__(self, index: Index) -> None:
        super().__init__()
        self._index = index

    def __missing__(self, wallet: int) -> list[int]:
        bounds = self._index.bounds
        result: list[int] = self._index.rows[bounds[wallet] : bounds[wallet + 1]].tolist()
        self[wallet] = result
        return result


class Plan:
    """One epoch.

    members      shape (allocations,), those that take part; `holds` says whose window holds the instant
    wallet       shape (allocations,), as in the book; `source` too; `count` is the number of wallets
    preference   columns of shape (allocations,), the last one first, as for `numpy.lexsort`; ties go by age
    """

    def __init__(self, book: Book, members: Mask, holds: Mask, *, giving_back: bool) -> None:
        self.members = members
        self.holds = holds
        self._count = len(book.used)
        self._wallet, self._source = book.wallet, book.source
        rows = np.flatnonzero(members)
        self._preference: tuple[Ints | Mask, ...]
        if giving_back:  # the allocations whose window holds the instant first, then the least preferred, the youngest
            self._rows = rows[::-1]
            self._preference = (-book.end, -book.priority, ~holds)
        else:
            self._rows = rows
            self._preference = (book.end, book.priority)

    @cached_property
    def tree(self) -> bool:
        """Whether each wallet has one source in it."""
        wallet, source = self._wallet[self._rows], self._source[self._rows]
        some_source = np.full(self._count, ROOT, dtype=np.int64)
        some_source[wallet] = source
        return bool((some_source[wallet] == source).all())

    @cached_property
    def widest(self) -> int:
        """The most allocations that a wallet has in it."""
        return int(np.bincount(self._wallet[self._rows]).max()) if len(self._rows) else 0

    @cached_property
    def into(self) -> Into:
        """By wallet, rows of allocations in order of preference."""
        rows = self._rows[self._sorted(self._wallet[self._rows])]
        return Into(Index(rows, np.searchsorted(self._wallet[rows], np.arange(self._count + 1))))

    @cached_property
    def depth(self) -> Sequence[int]:
        """By wallet, the most steps up to the roots."""
        result: list[int] = self._depth.tolist()
        return result

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """From the leaves to the roots."""
        if not len(self._rows):
            return ()
        wallet, source, depth = self._wallet[self._rows], self._source[self._rows], self._depth
        key = (depth.max() - depth[wallet]) * (self._count + 1) + source + 1
        order = self._sorted(key * self._count + wallet)
        rows, wallet, source = self._rows[order], wallet[order], source[order]
        edges = np.append(np.flatnonzero(_starts(depth[wallet])), len(rows)).tolist()
        return tuple(
            _level(rows[first:last], wallet[first:last], source[first:last]) for first, last in pairwise(edges)
        )

    @cached_property
    def _depth(self) -> Ints:
        return depths(self._count, self._wallet[self._rows], self._source[self._rows])

    def _sorted(self, key: Ints) -> Ints:
        """The order of the member rows by a key, and by preference where it is equal."""
        if self.widest <= 1:
            return np.argsort(key, kind="stable")
        return np.lexsort((*(column[self._rows] for column in self._preference), key))


def epoch_of(book: Book, at: int) -> int:
    """The number of the epoch an instant falls in, counted over this book's own windows."""
    bounds = book.cache.get("bounds")
    if bounds is None:
        bounds = book.cache["bounds"] = np.unique(np.concatenate((book.start, book.end)))
    assert isinstance(bounds, np.ndarray)
    return int(bounds.searchsorted(at, side="right"))


def drawing(book: Book, at: int) -> Plan:
    """How usage of an instant is drawn: open allocations whose window holds it, first what is preferred."""
    key = ("drawing", epoch_of(book, at))
    plan = book.cache.get(key)
    if plan is None:
        holds = book.holds(at)
        plan = book.cache[key] = Plan(book, holds & ~book.closed, holds, giving_back=False)
    assert isinstance(plan, Plan)
    return plan


def releasing(book: Book, at: int) -> Plan:
    """How usage of an instant is given back: allocations whose window holds it first, then the least preferred."""
    key = ("releasing", epoch_of(book, at))
    plan = book.cache.get(key)
    if plan is None:
        # What is closed and empty can never be drawn from again: such an edge no longer ties two wallets.
        members = ~book.closed | (book.drawn > 0)
        plan = book.cache[key] = Plan(book, members, book.holds(at), giving_back=True)
    assert isinstance(plan, Plan)
    return plan


def held(book: Book) -> Index:
    """All allocations by the wallet that holds them."""
    return _index(book, "held", book.wallet)


def given(book: Book) -> Index:
    """All allocations by the wallet that is their source."""
    return _index(book, "given", book.source)


def depths(count: int, wallet: Ints, source: Ints) -> Ints:
    """The greatest number of steps from each wallet up to a wallet that has no source among these.

    wallet, source   shape (n,), rows of wallets; source may be ROOT
    raises           ValueError when the steps run in a circle
    """
    inner = source != ROOT
    below, above = wallet[inner], source[inner]
    depth = np.zeros(count, dtype=np.int64)
    for _ in range(count + 1):
        deeper = depth.copy()
        np.maximum.at(deeper, below, depth[above] + 1)
        if np.array_equal(deeper, depth):
            return depth
        depth = deeper
    raise ValueError("wallets draw from each other in a circle")


def _index(book: Book, name: str, column: Ints) -> Index:
    found = book.cache.get(name)
    if found is None:
        rows = np.argsort(column, kind="stable")
        bounds = np.searchsorted(column[rows], np.arange(len(book.used) + 1))
        found = book.cache[name] = Index(rows, bounds)
    assert isinstance(found, Index)
    return found


def _starts(column: Ints) -> Mask:
    """Where a new value begins in a column."""
    result = np.ones(len(column), dtype=np.bool_)
    np.not_equal(column[1:], column[:-1], out=result[1:])
    return result


def _level(rows: Ints, wallet: Ints, source: Ints) -> Level:
    begins = _starts(wallet) | _starts(source)
    starts = np.flatnonzero(begins)
    source_starts = np.flatnonzero(_starts(source))
    sources = source[source_starts]
    if len(sources) and sources[0] == ROOT:  # ROOT sorts first; in a tree a level has only roots or none
        sources, source_starts = sources[1:], source_starts[1:]
    return Level(
        allocations=rows,
        wallets=wallet[starts],
        starts=starts,
        segment=np.cumsum(begins) - 1,
        sources=sources,
        source_starts=source_starts,
        single=len(starts) == len(rows),
    )
