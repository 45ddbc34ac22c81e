"""What would happen: told as figures, on a small tree."""

import numpy as np
import pytest

from bursar.engine.ledger import Book, Charged, Rules, allocate, available, broken_laws, errors, post
from bursar.engine.ledger.book import ROOT
from bursar.engine.ledger.what_if import (
    Allocate,
    ChangeTo,
    Charge,
    Rate,
    Remedy,
    Revoke,
    StepRefused,
    Transfer,
    freed_at,
    remedies,
    what_if,
)

UNIVERSITY, PROJECT, OTHER = 0, 1, 2


def make_book(quota: int = 100) -> Book:
    """A university with 100 that gave 80 to one project and 60 to another, for ever."""
    book = Book(Rules(Charged.OVER_TIME, grace=5))
    book.add_wallets(3)
    for wallet, source, ticks in ((UNIVERSITY, ROOT, quota), (PROJECT, UNIVERSITY, 80), (OTHER, UNIVERSITY, 60)):
        allocate(book, wallet=wallet, source=source, quota=ticks, start=0, end=1_000)
    return book


def flips(outcome) -> list[tuple[int, int, bool]]:
    return [(flip.at, flip.wallet, flip.locked) for flip in outcome.flips]


def test_what_if__steady_usage__locks_the_leaf_when_its_quota_is_used_and_leaves_the_book() -> None:
    book = make_book()
    outcome = what_if(book, [], [Rate(PROJECT, 10, 10, 0, 1_000)], 90)
    assert flips(outcome) == [(80, PROJECT, True)]
    assert [(one.wallet, one.allocation) for one in outcome.flips[0].why] == [(PROJECT, 1)]
    assert outcome.book.used.tolist() == [0, 89, 0]  # what is used in [0, 90) was charged by its last instant
    assert outcome.book.uncovered.tolist() == [0, 9, 0]
    assert book.used.tolist() == [0, 0, 0]
    assert broken_laws(outcome.book) == []


def test_what_if__two_rates__all_lock_when_the_source_is_used_up() -> None:
    outcome = what_if(make_book(), [], [Rate(PROJECT, 1, 1, 0, 500), Rate(OTHER, 1, 1, 0, 500)], 400)
    assert flips(outcome) == [(50, UNIVERSITY, True), (50, PROJECT, True), (50, OTHER, True)]
    assert [(one.wallet, one.allocation, one.distance) for one in outcome.flips[2].why] == [(UNIVERSITY, 0, 1)]


def test_what_if__more_is_given_in_time__it_never_locks() -> None:
    steps = [ChangeTo(at=70, allocation=1, quota=95), Transfer(at=70, giver=2, taker=1, amount=5)]
    outcome = what_if(make_book(), steps, [Rate(PROJECT, 1, 1, 0, 99)], 200)
    assert flips(outcome) == []
    assert available(outcome.book, PROJECT) == 1


def test_what_if__ended_early_and_a_new_one_later__locks_in_between() -> None:
    steps = [Revoke(at=10, allocation=1), Allocate(at=20, wallet=PROJECT, source=UNIVERSITY, quota=7, start=30, end=40)]
    outcome = what_if(make_book(), steps, [], 50)
    assert flips(outcome) == [(10, PROJECT, True), (30, PROJECT, False), (40, PROJECT, True)]
    assert [(one.wallet, one.allocation) for one in outcome.flips[0].why] == [(PROJECT, None)]


def test_what_if__refused_step__is_named_by_its_place() -> None:
    steps = [Charge(at=5, wallet=PROJECT, amount=30), ChangeTo(at=3, allocation=1, quota=1), Charge(4, OTHER, -1)]
    with pytest.raises(StepRefused) as refused:
        what_if(make_book(), steps, [], 9)
    assert refused.value.index == 2
    assert isinstance(refused.value.refusal, errors.NegativeUsage)


@pytest.mark.parametrize(
    ("steps", "rates"),
    [([Charge(at=11, wallet=0, amount=1)], []), ([], [Rate(0, -1, 1, 0, 5)]), ([], [Rate(0, 1, 1, -1, 5)])],
)
def test_what_if__outside_of_the_time__is_refused(steps, rates) -> None:
    with pytest.raises(ValueError, match=r"lies outside|not one of"):
        what_if(make_book(), steps, rates, 10)


def test_freed_at__an_allocation_above_begins_later__is_that_instant_and_leaves_the_book() -> None:
    book = make_book(quota=0)
    allocate(book, wallet=UNIVERSITY, source=ROOT, quota=0, start=40, end=1_000)
    allocate(book, wallet=UNIVERSITY, source=ROOT, quota=10, start=70, end=1_000)
    assert book.locked.tolist() == [True, True, True]
    assert (freed_at(book, PROJECT, 70), freed_at(book, PROJECT, 69)) == (70, None)
    assert (book.now, book.locked.tolist()) == (0, [True, True, True])


def test_freed_at__of_a_level_when_what_another_holds_ends__is_that_instant() -> None:
    book = Book(Rules(Charged.ONCE))
    book.add_wallets(3)
    allocate(book, wallet=UNIVERSITY, source=ROOT, quota=10, start=0, end=1_000)
    allocate(book, wallet=OTHER, source=UNIVERSITY, quota=10, start=0, end=50)
    allocate(book, wallet=PROJECT, source=UNIVERSITY, quota=5, start=0, end=1_000)
    post(book, np.array([OTHER]), np.array([10]), 0)
    assert book.locked[PROJECT]
    assert freed_at(book, PROJECT, 1_000) == 50


def test_remedies__stands_uncovered_below_a_full_source__both_have_to_grow() -> None:
    book = make_book()
    post(book, np.array([OTHER, PROJECT]), np.array([30, 90]), 0)
    # 30 + 80 flow into the university, which has 100: 10 stand there and 10 at the project.
    assert book.uncovered.tolist() == [10, 10, 0]
    assert remedies(book, PROJECT) == [Remedy(PROJECT, 1, 11), Remedy(UNIVERSITY, 0, 21)]
    assert remedies(book, OTHER) == [Remedy(UNIVERSITY, 0, 11)]
    for row, ticks in ((1, 11), (0, 21)):
        book.quota[row] += ticks
    freed = what_if(book, [ChangeTo(at=0, allocation=1, quota=int(book.quota[1]))], [], 1).book
    assert available(freed, PROJECT) == 1


def test_remedies__nothing_is_open__an_allocation_is_needed() -> None:
    book = Book(Rules(Charged.OVER_TIME))
    book.add_wallets(1)
    assert remedies(book, 0) == [Remedy(0, None, 1)]
    allocate(book, wallet=0, source=ROOT, quota=5, start=0, end=9)
    assert remedies(book, 0) == []
