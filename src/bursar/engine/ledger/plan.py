"""Who draws from whom within one epoch, laid out for a pass over arrays or for a walk.

An epoch is a stretch between neighbouring starts and ends of allocations: within it the instant of use makes no
difference, so a plan is made once per epoch and kept until an allocation appears, moves or closes.
"""

from dataclasses import dataclass

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
class Plan:
    """One epoch: `levels` from the leaves to the roots; `tree` says that each wallet has one source in it.

    members   shape (allocations,), those that take part; `holds` says whose window holds the instant
    depth     by wallet, the steps up to the roots; `into` by wallet, rows of allocations in order of preference
    widest    the most allocations that a wallet has in it
    """

    tree: bool
    levels: tuple[Level, ...]
    members: Mask
    holds: list[bool]
    depth: list[int]
    into: list[list[int]]
    widest: int


def epoch_of(book: Book, at: int) -> int:
    """The number of the epoch an instant falls in, counted over this book's own windows."""
    bounds = book.cache.get("bounds")
    if bounds is None:
        bounds = book.cache["bounds"] = np.unique(np.concatenate((book.start, book.end)))
    assert isinstance(bounds, np.ndarray)
    return int(np.searchsorted(bounds, at, side="right"))


def drawing(book: Book, at: int) -> Plan:
    """How usage of an instant is drawn: open allocations whose window holds it, first what is preferred."""
    key = ("drawing", epoch_of(book, at))
    plan = book.cache.get(key)
    if plan is None:
        members = book.holds(at) & ~book.closed
        age = np.arange(len(book.wallet))
        plan = book.cache[key] = _lay_out(book, at, members, (age, book.end, book.priority))
    assert isinstance(plan, Plan)
    return plan


def releasing(book: Book, at: int) -> Plan:
    """How usage of an instant is given back: allocations whose window holds it first, then the least preferred."""
    key = ("releasing", epoch_of(book, at))
    plan = book.cache.get(key)
    if plan is None:
        # What is closed and empty can never be drawn from again: such an edge no longer ties two wallets.
        members = ~book.closed | (book.drawn > 0)
        age = np.arange(len(book.wallet))
        plan = book.cache[key] = _lay_out(book, at, members, (-age, -book.end, -book.priority, ~book.holds(at)))
    assert isinstance(plan, Plan)
    return plan


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


def _lay_out(book: Book, at: int, members: Mask, preference: tuple[Ints | Mask, ...]) -> Plan:
    rows = np.flatnonzero(members)
    wallet, source = book.wallet[rows], book.source[rows]
    depth = depths(len(book.used), wallet, source)
    keys = tuple(key[rows] for key in preference)
    order = np.lexsort((*keys, wallet, source, -depth[wallet])) if len(rows) else rows
    rows, wallet, source = rows[order], wallet[order], source[order]

    by_wallet = np.lexsort((*(key[order] for key in keys), wallet)) if len(rows) else rows
    into: list[list[int]] = [[] for _ in range(len(book.used))]
    for owner, row in zip(wallet[by_wallet].tolist(), rows[by_wallet].tolist(), strict=True):
        into[owner].append(row)

    # One source each: a stretch of equal (wallet, source) for every wallet, and no more.
    pairs = int(np.count_nonzero(_starts(wallet) | _starts(source))) if len(rows) else 0
    tree = pairs == len(np.unique(wallet))
    levels = []
    if len(rows):
        edges = np.append(np.flatnonzero(_starts(depth[wallet])), len(rows))
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            levels.append(_level(rows[first:last], wallet[first:last], source[first:last]))
    widest = max(map(len, into), default=0)
    return Plan(
        tree=tree,
        levels=tuple(levels),
        members=members,
        holds=book.holds(at).tolist(),
        depth=depth.tolist(),
        into=into,
        widest=widest,
    )


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
