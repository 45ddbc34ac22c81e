"""Several clients at the same time, each in a connection of its own."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from bursar.accounting import selectors as accounting
from bursar.accounting import services
from bursar.accounting.books import lock
from bursar.accounting.models import Wallet
from bursar.metering import selectors
from bursar.metering.errors import ReportConflict
from bursar.metering.services import post_reports
from bursar.metering.tasks import add_parts_ahead, apply_due_everywhere
from tests.factories.catalogue import make_category
from tests.factories.ledger import AT, YEAR_START, make_allocation, make_report
from tests.factories.structure import make_organization, make_project, make_workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def at_once(actions: list[Callable[[], Any]]) -> list[Any]:
    gate = threading.Barrier(len(actions))
    outcomes: list[Any] = [None] * len(actions)

    def one(number: int, action: Callable[[], Any]) -> None:
        try:
            gate.wait(timeout=20)
            outcomes[number] = action()
        except Exception as refused:
            outcomes[number] = refused
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def clean(category) -> None:
    assert accounting.verify(category_id=category.pk) == []
    assert selectors.verify(category_id=category.pk) == []


def post(*reports):
    return post_reports(reports=reports, by=None, at=AT)


def test_post__one_report_by_eight_clients_at_once__counts_once() -> None:
    category, place = make_category(), make_workspace(make_organization())
    make_allocation(place, category, 1_000)
    report = make_report(place, category, 7)
    answers = at_once([lambda: post(report)] * 8)
    assert sorted(answer.posted for answer in answers) == [0] * 7 + [1]
    assert Wallet.objects.get(category=category).used_ticks == 7
    clean(category)


def test_post__one_id_with_two_contents_at_once__one_is_booked_and_one_refused() -> None:
    category, place = make_category(), make_workspace(make_organization())
    first = make_report(place, category, 7)
    second = make_report(place, category, 8, report_id=first.report_id)
    answers = at_once([lambda: post(first), lambda: post(second)])
    assert sorted(type(answer) is ReportConflict for answer in answers) == [False, True]
    clean(category)


@pytest.mark.parametrize(("count", "each"), [(1, 1), (2, 2), (8, 1)])
def test_post__eight_clients_on_one_or_more_categories__none_fails_and_nothing_is_lost(count: int, each: int) -> None:
    """All on one; all on the same two, in either order; each on one of its own."""
    categories = [make_category() for _ in range(count)]
    university = make_organization()
    places = [make_workspace(make_project(organization=university)) for _ in range(4)]
    for category in categories:
        root = make_allocation(make_workspace(university), category, 100)
        for place in places:
            make_allocation(place, category, 200, source=root.wallet)
    turns, begun = 4, time.monotonic()

    def client(number: int) -> None:
        for turn in range(turns):
            chosen = categories if number % 2 else [*reversed(categories)]
            chosen = chosen if each > 1 else [categories[number % count]]
            post(*(make_report(places[(number + turn) % 4], category, 20) for category in chosen))

    outcomes = at_once([lambda number=number: client(number) for number in range(8)])
    assert outcomes == [None] * 8
    requests = 8 * turns
    print(f"8 clients on {count} categories: {requests / (time.monotonic() - begun):.0f} requests a second")
    for category in categories:
        wallets = Wallet.objects.filter(category=category)
        used = requests * each * 20 // count
        assert sum(wallets.values_list("used_ticks", flat=True)) == used
        assert sum(wallets.values_list("uncovered_ticks", flat=True)) == max(0, used - 100)
        clean(category)


def test_allocate__both_ways_round_at_once__never_makes_a_circle() -> None:
    category, first, second = make_category(), *(make_workspace(make_organization()) for _ in range(2))
    roots = [make_allocation(place, category, 10) for place in (first, second)]
    outcomes = at_once(
        [
            lambda: make_allocation(second, category, 5, source=roots[0].wallet) and None,
            lambda: make_allocation(first, category, 5, source=roots[1].wallet) and None,
        ]
    )
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    clean(category)


def test_tasks__each_minute__apply_what_is_due_once(monkeypatch) -> None:
    from bursar.kernel import clock

    category, place = make_category(), make_workspace(make_organization())
    make_allocation(place, category, 10, at=YEAR_START, end=AT)
    assert services.categories_with_ledger() == [category.pk]
    with clock.stated_time(AT + timedelta(seconds=40)):
        assert apply_due_everywhere(0) == 1
        assert apply_due_everywhere(0) == 0
        assert add_parts_ahead(0) >= 0
    assert Wallet.objects.get(category=category).locked
    clean(category)


def test_allocate__while_the_first_usage_of_the_same_workspace_is_booked__waits_and_nobody_fails() -> None:
    category, place = make_category(), make_workspace(make_organization())
    booked = threading.Event()

    def allocate() -> None:
        booked.wait(timeout=20)
        make_allocation(place, category, 100)

    def report() -> None:
        with transaction.atomic():
            lock(category.pk)
            booked.set()
            deadline = time.monotonic() + 20
            while not waiting_for_a_ledger() and time.monotonic() < deadline:
                time.sleep(0.02)
            post(make_report(place, category, 7))

    assert at_once([allocate, report]) == [None, None]
    wallet = Wallet.objects.get(category=category)
    assert (wallet.used_ticks, wallet.uncovered_ticks) == (7, 0)
    clean(category)


def waiting_for_a_ledger() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return cursor.fetchone()[0] > 0
