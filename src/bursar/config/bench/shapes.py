"""Ledgers of known shape to measure on, as books in memory. Everything is drawn from a seed: the same shape each time."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bursar.engine.ledger import Book, Charged, Rules
from bursar.engine.ledger.book import ROOT, Ints
from bursar.engine.ledger.plan import drawing

PLENTY: Final = 2**50  # ticks that no run of a benchmark uses up
YEAR: Final = 365 * 24 * 3600
SEED: Final = 20_260_101


@dataclass(frozen=True, slots=True)
class Shape:
    """A book with quota for everybody, and the wallets that usage is reported for."""

    book: Book
    reporting: Ints

    def batches(self, count: int, size: int) -> list[tuple[Ints, Ints]]:
        """Requests of reports: wallets at random and between 1 and 1,000 ticks each."""
        random = np.random.default_rng(SEED)
        return [
            (self.reporting[random.integers(0, len(self.reporting), size)], random.integers(1, 1_001, size))
            for _ in range(count)
        ]


def national(*, with_second_source: float = 0.0) -> Shape:
    """1 root wallet, 20 universities, 200 departments, 5,000 projects; the projects report.

    with_second_source   the share of projects that hold an allocation from a second department as well
    """
    random = np.random.default_rng(SEED)
    universities, departments = np.arange(1, 21), np.arange(21, 221)
    projects = np.arange(221, 5_221)
    home = departments[np.arange(len(projects)) % len(departments)]
    wallet = [np.array([0]), universities, departments, projects]
    source = [np.array([ROOT]), np.zeros(20, dtype=np.int64), universities[np.arange(200) % 20], home]
    if with_second_source:
        chosen = random.permutation(len(projects))[: round(with_second_source * len(projects))]
        elsewhere = departments[(home[chosen] - departments[0] + random.integers(1, 200, len(chosen))) % 200]
        wallet.append(projects[chosen])
        source.append(elsewhere)
    return Shape(_book(5_221, np.concatenate(wallet), np.concatenate(source)), projects)


def chain(depth: int) -> Shape:
    """Each wallet draws from the one above it; the lowest reports."""
    wallets = np.arange(depth)
    return Shape(_book(depth, wallets, wallets - 1), wallets[-1:])  # the first one's source is ROOT


def fanout(children: int, *, parent_reports: bool) -> Shape:
    """One wallet with many children; the parent reports, or the children do."""
    wallets = np.arange(children + 1)
    book = _book(len(wallets), wallets, np.where(wallets == 0, ROOT, 0))
    return Shape(book, wallets[:1] if parent_reports else wallets[1:])


def layers(count: int, width: int) -> Shape:
    """Layers of wallets, each drawing from all the wallets of the layer above; the lowest layer reports."""
    top = np.arange(width)
    wallet, source = [top], [np.full(width, ROOT)]
    for layer in range(1, count):
        here, above = top + layer * width, top + (layer - 1) * width
        wallet.append(np.repeat(here, width))
        source.append(np.tile(above, width))
    book = _book(count * width, np.concatenate(wallet), np.concatenate(source))
    return Shape(book, top + (count - 1) * width)


def many_sources(wallets: int, each: int, *, sources: int = 20) -> Shape:
    """Wallets that each draw from a few of the sources, chosen at random; the wallets report."""
    random = np.random.default_rng(SEED)
    tops, below = np.arange(sources), np.arange(sources, sources + wallets)
    chosen = random.permuted(np.tile(tops, (wallets, 1)), axis=1)[:, :each]
    wallet = np.concatenate((tops, np.repeat(below, each)))
    source = np.concatenate((np.full(sources, ROOT), chosen.ravel()))
    return Shape(_book(sources + wallets, wallet, source), below)


def running_out(shape: Shape, batches: list[tuple[Ints, Ints]]) -> Shape:
    """The same shape with quotas that are used up on the way: each is 25% to 75% of an even share of these batches."""
    book, plan = shape.book.copy(), drawing(shape.book, shape.book.now)
    demand = np.zeros(len(book.used), dtype=np.int64)
    for wallets, amounts in batches:
        np.add.at(demand, wallets, amounts)
    for wallet in sorted(range(len(demand)), key=lambda row: -plan.depth[row]):
        for row in plan.into[wallet]:
            book.quota[row] = demand[wallet] // len(plan.into[wallet])
            if book.source[row] != ROOT:
                demand[book.source[row]] += book.quota[row]
    random = np.random.default_rng(SEED)
    # Never nothing: a wallet without any quota would be locked before it began.
    book.quota = np.maximum(1, book.quota * random.integers(250, 751, len(book.quota)) // 1_000)
    return Shape(book, shape.reporting)


def _book(wallets: int, wallet: Ints, source: Ints) -> Book:
    book = Book(Rules(Charged.OVER_TIME), now=0)
    book.add_wallets(wallets)
    count = len(wallet)
    book.add_allocations(
        wallet=wallet,
        source=source,
        quota=np.full(count, PLENTY),
        start=np.zeros(count, dtype=np.int64),
        end=np.full(count, YEAR),
    )
    book.locked[:] = False
    return book
