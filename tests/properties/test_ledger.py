"""The laws of the ledger, on whatever sequence of operations one can think of."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.engine.ledger import (
    Book,
    Change,
    Charged,
    LedgerRefusal,
    Rules,
    advance,
    allocate,
    available,
    available_everywhere,
    broken_laws,
    over,
    post,
    settle,
)
from bursar.engine.ledger.book import ROOT
from tests.properties.conftest import CASES, SOAK
from tests.properties.ledger_reference import violations
from tests.properties.ledger_strategies import WALLETS, Pair, dense_graphs, one_by_one, same_figures, steps

pytestmark = [pytest.mark.soak] if SOAK else []

kinds = st.sampled_from(list(Charged))
graces = st.integers(0, 10)


@settings(max_examples=CASES * 2)
@given(charged=kinds, grace=graces, story=steps(tree=True))
def test_engine__one_source_each__equals_the_reference_in_every_figure(charged, grace, story) -> None:
    pair = Pair(charged, grace, tree=True)
    for step in story:
        pair.do(step)
        book, plain = pair.book, pair.reference
        assert book.used.tolist() == plain.used
        assert book.uncovered.tolist() == plain.uncovered
        assert book.written_off.tolist() == plain.written_off
        assert book.drawn.tolist() == [a.drawn for a in plain.allocations]
        assert book.closed.tolist() == [a.closed for a in plain.allocations]
        assert violations(book) == broken_laws(book) == []


@settings(max_examples=CASES * 2)
@given(charged=kinds, grace=graces, story=steps(tree=False))
def test_engine__several_sources__laws_hold_after_every_step(charged, grace, story) -> None:
    book = _play(charged, grace, story, check=True)
    assert broken_laws(book) == []


def _play(charged: Charged, grace: int, story, *, check: bool = False, tree: bool = False) -> Book:
    """Play a story on the engine alone: with several sources the reference may route, and so refuse, differently."""
    pair = Pair(charged, grace, tree=tree)
    pair.reference = None  # type: ignore[assignment]
    engine = _EngineOnly(pair)
    for step in story:
        engine.do(step)
        if check:
            assert violations(pair.book) == broken_laws(pair.book) == [], step
            everywhere = available_everywhere(pair.book)
            assert available_everywhere(pair.book, range(WALLETS)) == everywhere, step
            assert pair.book.locked.tolist() == [amount == 0 for amount in everywhere], step
    return pair.book


class _EngineOnly:
    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.now = 0
        pair.reference = self  # type: ignore[assignment]  # only its `now` is read

    def do(self, step) -> None:
        wait, name, *rest = step
        self.now = max(self.pair.book.now, 0) + wait
        advance(self.pair.book, self.now)
        before = self.pair.book.copy()
        try:
            self.pair._engine(name, *rest)
        except LedgerRefusal:
            assert same_figures(before, self.pair.book)


@given(charged=kinds, grace=graces, story=steps(tree=False), ago=st.integers(0, 25))
def test_available__several_sources__is_the_maximum_flow(charged, grace, story, ago) -> None:
    book = _play(charged, grace, story)
    everywhere = available_everywhere(book)
    assert available_everywhere(book, range(WALLETS)) == everywhere
    for wallet in range(WALLETS):
        assert available(book, wallet) == everywhere[wallet] == _oracle(book, wallet, book.now)
        assert available(book, wallet, book.now - ago) == _oracle(book, wallet, book.now - ago)


def _oracle(book: Book, wallet: int, at: int) -> int:
    graph = nx.DiGraph()
    graph.add_nodes_from((wallet, "root"))
    for row in np.flatnonzero(book.holds(at) & ~book.closed):
        holder = int(book.wallet[row])
        source = "root" if book.source[row] == ROOT else int(book.source[row])
        room = int(book.quota[row] - book.drawn[row])
        known = graph.get_edge_data(holder, source, {"capacity": 0})["capacity"]
        graph.add_edge(holder, source, capacity=known + room)
    return nx.maximum_flow_value(graph, wallet, "root")


@given(
    charged=kinds, grace=graces, story=steps(tree=False), wallet=st.integers(0, WALLETS - 1), amount=st.integers(0, 80)
)
def test_charge__several_sources__carries_what_is_available(charged, grace, story, wallet, amount) -> None:
    book = _play(charged, grace, story)
    room = available(book, wallet)
    roots = book.source == ROOT
    before = int(book.drawn[roots].sum())
    post(book, np.array([wallet]), np.array([amount]), book.now)
    assert int(book.drawn[roots].sum()) - before == min(room, amount)


@settings(max_examples=CASES * 3)
@given(book=dense_graphs(), charges=st.lists(st.tuples(st.integers(2, 5), st.integers(1, 9)), min_size=1, max_size=8))
def test_charge__where_first_choices_block_later_ones__carries_the_maximum_flow(book, charges) -> None:
    roots = book.source == ROOT
    with one_by_one(True):
        for wallet, amount in charges:
            room, before = _oracle(book, wallet, 0), int(book.drawn[roots].sum())
            assert available(book, wallet) == room
            _post(book, [(wallet, amount)])
            assert int(book.drawn[roots].sum()) - before == min(room, amount)
            assert violations(book) == []
    assert available_everywhere(book) == [_oracle(book, wallet, 0) for wallet in range(len(book.used))]
    assert over(book).tolist() == _over(book)


@settings(max_examples=CASES * 2)
@given(book=dense_graphs(), charges=st.lists(st.tuples(st.integers(2, 5), st.integers(1, 9)), min_size=1, max_size=8))
def test_post__of_many_flows_at_once__carries_each_in_its_turn(book, charges) -> None:
    other = book.copy()
    wallets = [*dict.fromkeys(wallet for wallet, _ in charges)]  # netted, in order of first appearance
    net = [(wallet, sum(amount for one, amount in charges if one == wallet)) for wallet in wallets]
    with one_by_one(False):
        _post(book, charges)
    for one in net:
        _post(other, [one])
    assert same_figures(book, other)


@given(charged=kinds, grace=graces, story=steps(tree=False))
def test_settle__again__changes_nothing_and_over_is_what_it_is_said_to_be(charged, grace, story) -> None:
    book = _play(charged, grace, story)
    before = book.copy()
    changes: list[Change] = []
    settle(book, changes)
    assert changes == []
    assert same_figures(before, book)
    assert over(book).tolist() == _over(book)


@given(
    charged=kinds,
    grace=graces,
    story=steps(tree=True),
    amounts=st.lists(st.tuples(st.integers(0, WALLETS - 1), st.integers(0, 60)), min_size=1, max_size=12),
    ago=st.integers(0, 12),
    data=st.data(),
)
def test_post__increases_in_any_order_and_any_pieces__give_the_same_books(
    charged, grace, story, amounts, ago, data
) -> None:
    book = _play(charged, grace, story, tree=True)
    used_at = _since_nothing_turned(book, ago)
    other = book.copy()
    _post(book, amounts, used_at)
    shuffled = data.draw(st.permutations(amounts))
    while shuffled:
        size = data.draw(st.integers(1, len(shuffled)))
        with one_by_one(data.draw(st.booleans())):
            _post(other, shuffled[:size], used_at)
        shuffled = shuffled[size:]
    assert same_figures(book, other)


@given(
    charged=kinds,
    grace=graces,
    story=steps(tree=True),
    wallet=st.integers(0, WALLETS - 1),
    amount=st.integers(1, 80),
    ago=st.integers(0, 12),
)
def test_release__after_a_charge__undoes_it(charged, grace, story, wallet, amount, ago) -> None:
    book = _play(charged, grace, story, tree=True)
    used_at = _since_nothing_turned(book, ago)
    used, uncovered = book.used.tolist(), book.uncovered.tolist()
    _post(book, [(wallet, amount)], used_at)
    assert book.used[wallet] == used[wallet] + amount
    _post(book, [(wallet, -amount)], used_at)
    assert (book.used.tolist(), book.uncovered.tolist()) == (used, uncovered)


def _over(book: Book) -> list[bool]:
    def is_over(wallet: int) -> bool:
        rows = np.flatnonzero((book.wallet == wallet) & book.holds(book.now) & ~book.closed & (book.drawn > 0))
        return bool(book.uncovered[wallet]) or any(
            is_over(int(source)) for source in book.source[rows] if source != ROOT
        )

    return [is_over(wallet) for wallet in range(len(book.used))]


def _since_nothing_turned(book: Book, ago: int) -> int:
    """An instant a while ago, but not before anything started, ended or closed: the condition under which order is free."""
    turns = np.concatenate((book.start, book.end, book.closes()))
    return max(book.now - ago, *turns[turns <= book.now].tolist(), 0)


@given(charged=kinds, grace=graces, story=steps(tree=False), stops=st.lists(st.integers(0, 80), max_size=6))
def test_advance__by_whatever_stops__comes_to_the_same_books(charged, grace, story, stops) -> None:
    book = _play(charged, grace, story)
    other, begun = book.copy(), book.now
    at_once = advance(book, begun + 80)
    in_steps = [change for stop in [*sorted(stops), 80] for change in advance(other, begun + stop)]
    assert _told(at_once) == _told(in_steps)
    assert same_figures(book, other)


@given(charged=kinds, grace=graces, story=steps(tree=True))
def test_passes_over_arrays__equal_the_walk(charged, grace, story) -> None:
    from bursar.engine.ledger import tree

    swift = _play(charged, grace, story, tree=True)
    fits = tree.fits
    tree.fits = lambda *_: False
    try:
        slow = _play(charged, grace, story, tree=True)
    finally:
        tree.fits = fits
    assert same_figures(swift, slow)


@given(
    charged=kinds,
    grace=graces,
    story=steps(tree=False),
    reports=st.lists(
        st.tuples(st.integers(0, WALLETS - 1), st.integers(-30, 60), st.integers(0, 30)), min_size=1, max_size=12
    ),
)
def test_post__report_by_report_or_in_passes__is_the_same_to_the_last_change(charged, grace, story, reports) -> None:
    book = _play(charged, grace, story)
    wallets, amounts, ago = (np.array(column, dtype=np.int64) for column in zip(*reports, strict=True))
    outcomes = []
    for few in (True, False):
        played = book.copy()
        with one_by_one(few):
            try:
                changes = post(played, wallets, amounts, played.now - ago)
            except LedgerRefusal as refusal:
                changes = refusal
                assert same_figures(played, book)
        outcomes.append((played, changes))
    (one, its), (other, others) = outcomes
    assert same_figures(one, other)
    assert _told(its) == _told(others)


def _told(changes: list[Change] | LedgerRefusal) -> object:
    if isinstance(changes, LedgerRefusal):
        return (type(changes), getattr(changes, "wallets", ()))
    columns = ("wallets", "used", "uncovered", "written_off", "allocations", "drawn", "quota", "opened", "closed")
    return [(one.kind, one.at, *(getattr(one, name).tolist() for name in columns)) for one in changes]


@settings(max_examples=CASES // 2)
@given(
    charged=kinds,
    story=steps(tree=False),
    amount=st.one_of(st.integers(2**62, 2**63 - 1), st.integers(2**63 - 40, 2**63 - 1)),
)
def test_post__near_the_end_of_the_numbers__is_exact_or_refused(charged, story, amount) -> None:
    book = _play(charged, 0, story)
    before, used = book.copy(), int(book.used[0])
    try:
        _post(book, [(0, amount)])
    except LedgerRefusal:
        assert same_figures(before, book)
        return
    assert int(book.used[0]) == used + amount
    assert broken_laws(book) == []


@given(
    charged=kinds,
    story=steps(tree=False),
    reports=st.lists(
        st.tuples(st.integers(0, WALLETS - 1), st.integers(-20, 40), st.integers(0, 40)), min_size=1, max_size=12
    ),
)
def test_by_hour__whatever_was_posted__is_assigned_as_the_plain_reference_does(charged, story, reports) -> None:
    from bursar.engine.ledger import Kind, by_hour, epochs
    from bursar.engine.ledger.hours import UNCOVERED, WRITTEN_OFF
    from tests.properties.hours_reference import by_hour as plainly

    book = _play(charged, 5, story)
    columns = [np.array(column) for column in zip(*reports, strict=True)]
    instants = np.minimum(columns[2], book.now)
    bounds = epochs(book)
    try:
        changes = post(book, columns[0], columns[1], instants)
    except LedgerRefusal:
        return
    for change in changes:
        if change.kind not in {Kind.DRAW, Kind.RELEASE}:
            continue
        epoch = np.searchsorted(bounds, change.at, side="right")
        net: dict[tuple[int, int], int] = {}
        for wallet, amount, at in zip(columns[0].tolist(), columns[1].tolist(), instants.tolist(), strict=True):
            if np.searchsorted(bounds, at, side="right") == epoch:
                net[wallet, at] = net.get((wallet, at), 0) + amount
        usage: dict[int, list[tuple[int, int]]] = {}
        for (wallet, at), ticks in net.items():
            usage.setdefault(wallet, []).append((at, ticks))
        expected: dict[tuple[int, int, int], int] = {}
        for one in plainly(book, change, usage):
            places = (
                {one.allocation: one.drawn}
                if one.allocation is not None
                else {UNCOVERED: one.uncovered, WRITTEN_OFF: one.written_off}
            )
            for place, ticks in places.items():
                if ticks:
                    key = (one.hour, one.wallet, place)
                    expected[key] = expected.get(key, 0) + ticks
        pairs = np.array([(*key, ticks) for key, ticks in net.items()], dtype=np.int64).reshape(-1, 3).T
        moved = by_hour(book, change, *pairs)
        rows = zip(*(column.tolist() for column in (moved.hour, moved.wallet, moved.place, moved.ticks)), strict=True)
        assert {(hour, wallet, place): ticks for hour, wallet, place, ticks in rows} == expected
        drawn = {place: 0 for _, _, place in expected if place >= 0}
        for (_, _, place), ticks in expected.items():
            if place >= 0:
                drawn[place] += ticks
        assert drawn == dict(zip(change.allocations.tolist(), change.drawn.tolist(), strict=True))


def _post(book: Book, amounts: list[tuple[int, int]], used_at: int | None = None) -> None:
    rows, values = (np.array(column, dtype=np.int64) for column in zip(*amounts, strict=True))
    post(book, rows, values, book.now if used_at is None else used_at)


def test_allocate__a_source_below_the_recipient__is_refused() -> None:
    from bursar.engine.ledger.errors import SourceBelowRecipient

    book = Book(Rules(Charged.ONCE))
    book.add_wallets(3)
    allocate(book, wallet=1, source=0, quota=5, start=0, end=9)
    allocate(book, wallet=2, source=1, quota=5, start=0, end=9)
    try:
        allocate(book, wallet=0, source=2, quota=5, start=0, end=9)
    except SourceBelowRecipient:
        assert len(book.wallet) == 2
    else:
        raise AssertionError("a circle was allowed")
