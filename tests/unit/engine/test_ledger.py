"""The ledger's rules told one at a time, on ledgers small enough to do by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.engine.ledger import (
    Book,
    Charged,
    Kind,
    NegativeUsage,
    Rules,
    advance,
    allocate,
    available,
    available_everywhere,
    binding,
    broken_laws,
    change,
    errors,
    over,
    post,
    revoke,
    transfer,
    write_off,
)
from bursar.engine.ledger.book import MAX, ROOT
from bursar.engine.ledger.operations import given_beyond_held

ROOT_WALLET, LEFT, RIGHT, LEAF = range(4)


def over_time(wallets: int = 4, grace: int = 0, **rules: bool) -> Book:
    book = Book(Rules(Charged.OVER_TIME, grace, **rules))
    book.add_wallets(wallets)
    return book


def level(wallets: int = 4) -> Book:
    book = Book(Rules(Charged.ONCE))
    book.add_wallets(wallets)
    return book


def give(book: Book, wallet: int, source: int, quota: int, start: int = 0, end: int = 100, priority: int = 0) -> int:
    row, _ = allocate(book, wallet=wallet, source=source, quota=quota, start=start, end=end, priority=priority)
    return row


def use(book: Book, wallet: int, amount: int, at: int | None = None) -> None:
    post(book, np.array([wallet]), np.array([amount]), book.now if at is None else at)


def test_charge__beyond_the_parents_quota__stands_at_the_parent_not_at_the_child() -> None:
    book = over_time()
    give(book, ROOT_WALLET, ROOT, 10)
    give(book, LEFT, ROOT_WALLET, 20)
    use(book, LEFT, 15)
    assert book.uncovered.tolist() == [5, 0, 0, 0]
    assert over(book).tolist() == [True, True, False, False]
    assert book.locked.tolist() == [True, True, True, True]


def test_charge__exactly_the_quota__is_locked_and_not_over() -> None:
    book = level()
    give(book, ROOT_WALLET, ROOT, 10)
    use(book, ROOT_WALLET, 10)
    assert (book.locked[ROOT_WALLET], over(book)[ROOT_WALLET]) == (True, False)


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (({"priority": 1}, {"priority": 0}), 1),
        (({"end": 100}, {"end": 99}), 1),
        (({"priority": 0, "end": 100}, {"priority": 1, "end": 50}), 0),
        (({}, {}), 0),
    ],
)
def test_charge__among_several_allocations__takes_priority_then_earliest_end_then_the_one_made_first(
    facts, first
) -> None:
    book = over_time()
    for one in facts:
        give(book, ROOT_WALLET, ROOT, 10, **one)
    use(book, ROOT_WALLET, 7)
    assert int(book.drawn[first]) == 7


def test_charge__a_first_choice_that_blocks_a_later_one__is_taken_back() -> None:
    # The leaf prefers left; left prefers the root's wallet A, which is all that right can draw from.
    book = over_time(6)
    a, b, left, right, leaf = 0, 1, 2, 3, 4
    give(book, a, ROOT, 10)
    give(book, b, ROOT, 10)
    left_from_a = give(book, left, a, 10)
    left_from_b = give(book, left, b, 10)
    right_from_a = give(book, right, a, 10)
    give(book, leaf, left, 10)
    give(book, leaf, right, 10)
    assert available(book, leaf) == 20
    use(book, leaf, 20)
    assert book.uncovered.tolist() == [0] * 6
    assert [int(book.drawn[row]) for row in (left_from_a, left_from_b, right_from_a)] == [0, 10, 10]


def test_charge__drawn_usage_of_others__is_never_moved() -> None:
    book = over_time(6)
    a, b, left, right = 0, 1, 2, 3
    give(book, a, ROOT, 10)
    give(book, b, ROOT, 10)
    left_from_a = give(book, left, a, 10)
    give(book, left, b, 10)
    give(book, right, a, 10)
    use(book, left, 10)
    assert available(book, right) == 0
    use(book, right, 4)
    assert (int(book.drawn[left_from_a]), book.uncovered.tolist()) == (10, [4, 0, 0, 0, 0, 0])


def test_charge__several_after_a_rerouting__still_find_every_way() -> None:
    book = over_time(6)
    a, b, left, right, leaf = 0, 1, 2, 3, 4
    give(book, a, ROOT, 10)
    give(book, b, ROOT, 30)
    give(book, left, a, 10)
    give(book, left, b, 30)
    give(book, right, a, 10)
    give(book, leaf, left, 10)
    give(book, leaf, right, 10)
    post(book, np.array([leaf, left, right]), np.array([20, 20, 1]), 0)
    assert book.uncovered.tolist() == [0, 0, 0, 1, 0, 0]
    assert broken_laws(book) == []


def test_release__takes_first_what_holds_the_instant_of_use() -> None:
    book = over_time(grace=50)
    first = give(book, ROOT_WALLET, ROOT, 10, 0, 10)
    second = give(book, ROOT_WALLET, ROOT, 10, 10, 100)
    use(book, ROOT_WALLET, 6, 5)
    advance(book, 20)
    use(book, ROOT_WALLET, 6)
    use(book, ROOT_WALLET, -5, 5)
    assert (int(book.drawn[first]), int(book.drawn[second])) == (1, 6)
    use(book, ROOT_WALLET, -2, 5)
    assert (int(book.drawn[first]), int(book.drawn[second])) == (0, 5)


def test_release__takes_first_from_a_source_that_stands_uncovered() -> None:
    book = over_time()
    give(book, ROOT_WALLET, ROOT, 5)
    give(book, RIGHT, ROOT, 50)
    from_full = give(book, LEAF, ROOT_WALLET, 10)
    from_roomy = give(book, LEAF, RIGHT, 10)
    use(book, LEAF, 20)
    assert book.uncovered.tolist() == [5, 0, 0, 0]
    use(book, LEAF, -4)
    assert [int(book.drawn[row]) for row in (from_full, from_roomy)] == [6, 10]
    assert book.uncovered.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("few", [0, 16])
def test_release__takes_uncovered_then_written_off_then_drawn(few: int, monkeypatch) -> None:
    monkeypatch.setattr("bursar.engine.ledger.posting.FEW", few)
    book = over_time()
    give(book, ROOT_WALLET, ROOT, 5)
    use(book, ROOT_WALLET, 11)
    write_off(book, ROOT_WALLET, 4)
    figures = []
    for amount in (1, 2, 4):
        use(book, ROOT_WALLET, -amount)
        figures.append((int(book.uncovered[0]), int(book.written_off[0]), int(book.drawn[0])))
    assert figures == [(1, 4, 5), (0, 3, 5), (0, 0, 4)]


def test_close__over_time__takes_late_usage_during_grace_and_none_after() -> None:
    book = over_time(grace=7)
    old = give(book, ROOT_WALLET, ROOT, 10, 0, 20)
    give(book, ROOT_WALLET, ROOT, 10, 20, 100)
    advance(book, 26)
    use(book, ROOT_WALLET, 3, 19)
    assert int(book.drawn[old]) == 3
    advance(book, 27)
    assert bool(book.closed[old])
    use(book, ROOT_WALLET, 3, 19)
    assert int(book.drawn[old]) == 3


def test_close__of_a_level__is_drawn_again_elsewhere_or_stands() -> None:
    book = level()
    give(book, ROOT_WALLET, ROOT, 50)
    ending = give(book, LEFT, ROOT_WALLET, 10, 0, 20)
    lasting = give(book, LEFT, ROOT_WALLET, 4, 0, 100)
    use(book, LEFT, 9)
    assert int(book.drawn[ending]) == 9
    (closed,) = [one for one in advance(book, 30) if one.kind is Kind.CLOSE]
    assert (closed.at, closed.closed.tolist()) == (20, [ending])
    assert [int(book.drawn[row]) for row in (0, ending, lasting)] == [4, 0, 4]
    assert book.uncovered.tolist() == [0, 5, 0, 0]


def test_advance__several_instants__each_settles_before_the_next() -> None:
    book = level()
    use(book, ROOT_WALLET, 8)
    brief = give(book, ROOT_WALLET, ROOT, 10, 10, 20)
    long = give(book, ROOT_WALLET, ROOT, 5, 15, 100)
    kinds = [(one.kind, one.at) for one in advance(book, 50)]
    assert kinds == [(Kind.OPEN, 10), (Kind.SETTLE, 10), (Kind.OPEN, 15), (Kind.CLOSE, 20)]
    assert (int(book.drawn[brief]), int(book.drawn[long]), int(book.uncovered[0])) == (0, 5, 3)


def test_post__what_a_decrease_does_not_find__is_carried_into_the_wallets_next_epoch() -> None:
    book = over_time(grace=100)
    give(book, ROOT_WALLET, ROOT, 10, 0, 10)
    give(book, ROOT_WALLET, ROOT, 10, 10, 100)
    advance(book, 20)
    post(book, np.array([0, 0]), np.array([-3, 5]), np.array([5, 15]))
    assert (int(book.used[0]), book.drawn.tolist()) == (2, [0, 2])
    with pytest.raises(NegativeUsage) as refusal:
        post(book, np.array([0, 1, 0]), np.array([-3, 1, 0]), np.array([5, 15, 15]))
    assert refusal.value.wallets == (0,)
    assert (book.used.tolist(), book.drawn.tolist()) == ([2, 0, 0, 0], [0, 2])


def test_post__after_the_present__counts_as_the_present() -> None:
    book = over_time()
    now = give(book, ROOT_WALLET, ROOT, 10, 0, 10)
    give(book, ROOT_WALLET, ROOT, 10, 10, 100)
    use(book, ROOT_WALLET, 4, 50)
    assert int(book.drawn[now]) == 4


def test_post__in_a_free_category__is_only_counted() -> None:
    book = over_time(requires_allocation=False)
    use(book, LEFT, 5)
    assert (book.used.tolist(), book.uncovered.tolist(), book.locked.tolist()) == ([0, 5, 0, 0], [0] * 4, [False] * 4)
    with pytest.raises(errors.AllocationsNotUsed):
        give(book, LEFT, ROOT, 5)


def test_post__beyond_the_numbers__is_refused_and_nothing_changed() -> None:
    book = over_time()
    give(book, ROOT_WALLET, ROOT, MAX)
    use(book, ROOT_WALLET, MAX)
    assert (int(book.used[0]), int(book.drawn[0])) == (MAX, MAX)
    with pytest.raises(errors.Overflow):
        use(book, ROOT_WALLET, 1)
    assert (int(book.used[0]), int(book.drawn[0])) == (MAX, MAX)


def test_post__amounts_that_only_together_can_be_counted__are_booked() -> None:
    book = over_time()
    allocate(book, wallet=ROOT_WALLET, source=ROOT, quota=100, start=0, end=9)
    huge = 2**62
    amounts = [huge, -huge, 5] * 10  # more reports than are taken one by one
    post(book, np.full(30, ROOT_WALLET), np.array(amounts), 0)
    assert (book.used[ROOT_WALLET], book.drawn.tolist()) == (50, [50])


def test_post__children_beyond_what_a_parent_can_count__is_refused() -> None:
    book = over_time()
    for wallet in (LEFT, RIGHT):
        give(book, wallet, ROOT_WALLET, MAX)
    use(book, LEFT, MAX)
    with pytest.raises(errors.Overflow):
        use(book, RIGHT, 1)
    assert book.used.tolist() == [0, MAX, 0, 0]


def test_revoke__before_it_began__never_opens() -> None:
    book = over_time()
    row = give(book, ROOT_WALLET, ROOT, 10, 50, 100)
    revoke(book, row)
    advance(book, 60)
    assert (int(book.end[row]), available(book, ROOT_WALLET)) == (50, 0)


def test_change__of_one_in_grace__extends_it_and_unlocks() -> None:
    book = over_time(grace=7)
    row = give(book, ROOT_WALLET, ROOT, 10, 0, 20)
    advance(book, 22)
    assert book.locked[ROOT_WALLET]
    change(book, row, end=40)
    assert not book.locked[ROOT_WALLET]
    advance(book, 50)
    with pytest.raises(errors.AllocationClosed):
        change(book, row, end=90)


def test_transfer__of_what_is_unused__moves_it() -> None:
    book = over_time()
    give(book, ROOT_WALLET, ROOT, 100)
    giver, taker = give(book, LEFT, ROOT_WALLET, 10), give(book, RIGHT, ROOT_WALLET, 10)
    use(book, LEFT, 4)
    with pytest.raises(errors.TransferTooLarge):
        transfer(book, giver, taker, 7)
    transfer(book, giver, taker, 6)
    assert [int(book.quota[row]) for row in (giver, taker)] == [4, 16]
    assert book.locked.tolist() == [False, True, False, True]


def test_write_off__of_a_level__is_refused() -> None:
    book = level()
    use(book, ROOT_WALLET, 5)
    with pytest.raises(errors.WriteOffNotPossible):
        write_off(book, ROOT_WALLET, 5)
    assert int(book.uncovered[0]) == 5


def test_quota__of_one_wallet_in_all__stays_countable() -> None:
    book = over_time()
    first = give(book, ROOT_WALLET, ROOT, MAX - 10)
    with pytest.raises(errors.Overflow):
        give(book, ROOT_WALLET, ROOT, 11)
    second = give(book, ROOT_WALLET, ROOT, 10)
    with pytest.raises(errors.Overflow):
        change(book, second, quota=11)
    other = give(book, LEFT, ROOT, 11)
    with pytest.raises(errors.Overflow):
        transfer(book, other, second, 1)
    transfer(book, first, second, 5)
    assert available(book, ROOT_WALLET) == MAX
    revoke(book, first)
    give(book, ROOT_WALLET, ROOT, MAX - 15)


def test_write_off__of_more_than_can_be_counted__is_refused_and_changes_nothing() -> None:
    book = over_time()
    use(book, ROOT_WALLET, MAX)
    write_off(book, ROOT_WALLET, MAX)
    book.uncovered[ROOT_WALLET] = 1
    with pytest.raises(errors.Overflow):
        write_off(book, ROOT_WALLET, 1)
    assert (int(book.written_off[ROOT_WALLET]), int(book.uncovered[ROOT_WALLET])) == (MAX, 1)


allocations = st.lists(st.tuples(st.sampled_from([0, 1, 5, MAX]), st.integers(0, 12), st.integers(0, 12)), max_size=6)


@given(given_out=allocations, held=allocations, since=st.integers(0, 12))
def test_given_beyond_held__any_windows__as_counted_at_each_instant(given_out, held, since) -> None:
    def at(rows, instant: int) -> int:
        return sum(quota for quota, start, end in rows if start <= instant < end)

    beyond = ((at(given_out, instant), at(held, instant)) for instant in range(since, 14))
    first = next(((out, into) for out, into in beyond if out > into), (0, 0))
    columns = [
        tuple(np.array([row[i] for row in rows], dtype=np.int64) for i in range(3)) for rows in (given_out, held)
    ]
    assert given_beyond_held(*columns, since) == first


def test_overallocation__where_it_is_not_allowed__counts_at_every_instant() -> None:
    book = over_time(allows_overallocation=False)
    give(book, ROOT_WALLET, ROOT, 10, 0, 50)
    give(book, ROOT_WALLET, ROOT, 10, 50, 100)
    give(book, LEFT, ROOT_WALLET, 6, 0, 60)
    with pytest.raises(errors.Overallocated) as refusal:
        give(book, RIGHT, ROOT_WALLET, 5, 55, 90)
    assert (refusal.value.given, refusal.value.held) == (11, 10)
    assert len(book.wallet) == 3
    give(book, RIGHT, ROOT_WALLET, 5, 60, 90)


def test_binding__names_what_is_full_on_the_way_up_nearest_first() -> None:
    book = over_time()
    root = give(book, ROOT_WALLET, ROOT, 10)
    give(book, LEFT, ROOT_WALLET, 50)
    give(book, LEAF, LEFT, 50)
    use(book, LEAF, 12)
    (found,) = binding(book, LEAF)
    assert (found.wallet, found.allocation, found.uncovered, found.distance) == (ROOT_WALLET, root, 2, 2)
    (nothing,) = binding(book, RIGHT)
    assert (nothing.wallet, nothing.allocation) == (RIGHT, None)


def test_available__of_many__equals_each() -> None:
    book = over_time()
    give(book, ROOT_WALLET, ROOT, 10)
    give(book, ROOT_WALLET, ROOT, 5)
    give(book, LEFT, ROOT_WALLET, 12)
    assert available_everywhere(book) == [15, 12, 0, 0]
    give(book, LEFT, ROOT, 4)
    assert available_everywhere(book, [LEFT]) == [16]
