"""Operations on a small ledger, for the laws to be tried on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bursar.engine.ledger import (
    Book,
    Charged,
    LedgerRefusal,
    Rules,
    advance,
    allocate,
    change,
    post,
    relock,
    revoke,
    transfer,
    write_off,
)
from bursar.engine.ledger import posting as engine_posting
from bursar.engine.ledger.book import ROOT
from tests.properties.ledger_reference import Reference, Refused

WALLETS = 5
LAST = 60

wallets = st.integers(0, WALLETS - 1)
amounts = st.one_of(st.integers(-30, 60), st.integers(0, 12))
rows = st.integers(0, 11)
times = st.integers(0, LAST)
waits = st.integers(0, 12)


def _reports(signed: bool) -> st.SearchStrategy[list[tuple[int, int, int]]]:
    amount = amounts if signed else st.integers(0, 60)
    ago = st.one_of(st.just(0), st.integers(0, 25))
    return st.lists(st.tuples(wallets, amount, ago), min_size=1, max_size=8)


def steps(*, tree: bool, size: int = 14) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Each step is (wait, operation, arguments). In trees wallet w draws only from (w - 1) // 2.

    A posting says also whether the engine takes it report by report or in passes over the whole book.

    A story begins with quota for every wallet, in overlapping windows, so that there is something to go wrong with.
    """
    source = st.just(None) if tree else st.one_of(st.none(), wallets)
    window = st.tuples(times, st.integers(1, 40))
    early = st.tuples(st.integers(-1, 8), st.integers(3, 30))
    quotas = st.one_of(st.integers(0, 50), st.integers(0, 12))
    first = [
        st.lists(
            st.tuples(st.just(0), st.just("allocate"), st.just(wallet), source, quotas, early, st.integers(0, 1)),
            min_size=1,
            max_size=2,
        )
        for wallet in range(WALLETS)
    ]
    posting = st.tuples(waits, st.just("post"), _reports(signed=True), st.booleans())
    step = st.one_of(
        posting,
        posting,
        st.tuples(st.just(0), st.just("post"), _reports(signed=True), st.booleans()),
        st.tuples(waits, st.just("allocate"), wallets, source, quotas, window, st.integers(0, 1)),
        st.tuples(st.just(0), st.just("allocate_now"), wallets, source, quotas, st.integers(1, 40)),
        st.tuples(waits, st.just("change"), rows, st.integers(0, 60), st.integers(1, 60)),
        st.tuples(waits, st.just("revoke"), rows),
        st.tuples(waits, st.just("transfer"), rows, rows, st.integers(1, 20)),
        st.tuples(waits, st.just("write_off"), wallets, st.integers(1, 20)),
    )
    begin = st.tuples(*first).map(lambda groups: [step for group in groups for step in group])
    return st.tuples(begin, st.lists(step, max_size=size)).map(lambda parts: [*parts[0], *parts[1]])


@st.composite
def dense_graphs(draw: st.DrawFn, wallets: int = 6) -> Book:
    """A book in which each wallet but the first two draws from several of those before it, with little room in all.

    A first choice then often blocks a later one, which in stories hardly happens.
    """
    edges = [(0, ROOT), (1, ROOT)]
    for wallet in range(2, wallets):
        above = draw(st.lists(st.integers(ROOT, wallet - 1), min_size=1, max_size=4, unique=True))
        edges += [(wallet, source) for source in above]
    count = len(edges)
    book = Book(Rules(Charged.OVER_TIME), now=0)
    book.add_wallets(wallets)
    book.add_allocations(
        wallet=[wallet for wallet, _ in edges],
        source=[source for _, source in edges],
        quota=draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)),
        start=[0] * count,
        end=[9] * count,
        priority=draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)),
    )
    relock(book, np.arange(wallets))
    return book


@dataclass
class Pair:
    """The engine and the reference, told the same."""

    charged: Charged
    grace: int
    tree: bool

    def __post_init__(self) -> None:
        self.book = Book(Rules(self.charged, 0 if self.charged is Charged.ONCE else self.grace), now=-1)
        self.book.add_wallets(WALLETS)
        self.reference = Reference(self.charged is Charged.ONCE, self.grace, WALLETS)

    def do(self, step: tuple[Any, ...]) -> bool:
        """Do a step on both; both agree on whether it is refused. Whether it was done."""
        wait, name, *rest = step
        now = max(self.book.now, 0) + wait
        advance(self.book, now)
        self.reference.advance(now)
        before = self.book.copy()
        refused = []
        for side in (self._engine, self._plain):
            try:
                side(name, *rest)
            except (LedgerRefusal, Refused):
                refused.append(side)
        assert len(refused) in (0, 2), (step, refused)
        if refused:
            assert same_figures(before, self.book)
        return not refused

    def _source(self, wallet: int, source: int | None) -> int | None:
        if not self.tree:
            return source
        return None if wallet == 0 else (wallet - 1) // 2

    def _engine(self, name: str, *args: Any) -> None:
        book, count = self.book, len(self.book.wallet)
        match name:
            case "allocate" | "allocate_now":
                wallet, source, quota, start, end, priority = self._allocation(name, *args)
                allocate(
                    book,
                    wallet=wallet,
                    source=ROOT if source is None else source,
                    quota=quota,
                    start=start,
                    end=end,
                    priority=priority,
                )
            case "post":
                columns = [np.array(column, dtype=np.int64) for column in zip(*self._dated(args[0]), strict=True)]
                with one_by_one(args[1]):
                    post(book, *columns)
            case "change" if count:
                row = args[0] % count
                change(book, row, quota=args[1], end=int(book.start[row]) + args[2])
            case "revoke" if count:
                revoke(book, args[0] % count)
            case "transfer" if count:
                transfer(book, args[0] % count, args[1] % count, args[2])
            case "write_off":
                write_off(book, *args)

    def _plain(self, name: str, *args: Any) -> None:
        reference, count = self.reference, len(self.reference.allocations)
        match name:
            case "allocate" | "allocate_now":
                reference.allocate(*self._allocation(name, *args))
            case "post":
                reference.post(self._dated(args[0]))
            case "change" if count:
                row = args[0] % count
                reference.change(row, args[1], reference.allocations[row].start + args[2])
            case "revoke" if count:
                reference.revoke(args[0] % count)
            case "transfer" if count:
                reference.transfer(args[0] % count, args[1] % count, args[2])
            case "write_off":
                reference.write_off(*args)

    def _dated(self, reports: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        return [(wallet, amount, self.book.now - ago) for wallet, amount, ago in reports]

    def _allocation(self, name: str, wallet: int, source: int | None, quota: int, *rest: Any) -> tuple[Any, ...]:
        if name == "allocate_now":
            start, end, priority = self.reference.now, self.reference.now + rest[0], 0
        else:
            (start, length), priority = rest
            end = start + length
        return (wallet, self._source(wallet, source), quota, start, end, priority)


@contextmanager
def one_by_one(few: bool) -> Iterator[None]:
    """Have the engine post report by report, or in passes over the whole book, whatever the size of the request."""
    kept = engine_posting.FEW
    engine_posting.FEW = 1_000 if few else 0
    try:
        yield
    finally:
        engine_posting.FEW = kept


def same_figures(one: Book, other: Book) -> bool:
    names = ("used", "uncovered", "written_off", "locked", "quota", "drawn", "start", "end", "closed")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
