"""What a process keeps of a category's books makes an answer quicker, never different."""

from copy import deepcopy
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bursar.accounting import books
from bursar.accounting.models import Allocation, Wallet
from bursar.accounting.services import change_allocation
from bursar.metering.services import post_reports
from bursar.metering.verification import verify
from tests.factories.catalogue import make_category
from tests.factories.ledger import AT, YEAR_END, make_allocation, make_report
from tests.factories.structure import make_organization, make_project, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def category():
    books._KEPT.clear()
    return make_category()


@pytest.fixture
def places(category):
    university = make_workspace(make_organization("University"))
    root = make_allocation(university, category, 1000)
    projects = [make_workspace(make_project(organization=university.organization)) for _ in range(3)]
    for project in projects:
        make_allocation(project, category, 100, source=root.wallet)
    return projects


def post(category, place, ticks, at=AT):
    with CaptureQueriesContext(connection) as queries:
        answer = post_reports(reports=[make_report(place, category, ticks, until=at)], by=None, at=at)
    loaded = any("WITH RECURSIVE clock" in query["sql"] for query in queries.captured_queries)
    return answer.balances[0], loaded


def used(place) -> int:
    return Wallet.objects.get(workspace=place).used_ticks


def test_post__again_and_again__reads_the_books_once_and_stays_right(category, places) -> None:
    assert [post(category, places[0], 10)[1] for _ in range(3)] == [True, False, False]
    balance, loaded = post(category, places[1], 5)  # not loaded before: from now on all are kept
    assert (balance.used_ticks, balance.available_ticks, loaded) == (5, 95, True)
    balance, loaded = post(category, places[2], 120)
    assert (balance.used_ticks, balance.uncovered_ticks, balance.locked, loaded) == (120, 20, True, False)
    assert [used(place) for place in places] == [30, 5, 120]
    assert verify(category_id=category.pk) == []


def test_post__another_process_wrote_since__what_was_kept_is_not_used(category, places) -> None:
    post(category, places[0], 10)
    kept = deepcopy(books._KEPT[category.pk])
    post(category, places[0], 10)
    books._KEPT[category.pk] = kept  # as a process has them that did not see the second
    balance, loaded = post(category, places[0], 10)
    assert (balance.used_ticks, loaded) == (30, True)
    assert verify(category_id=category.pk) == []


def test_post__quota_was_changed_or_an_end_is_due__what_was_kept_is_not_used(category, places) -> None:
    post(category, places[0], 10)
    allocation = Allocation.objects.get(wallet__workspace=places[0])
    change_allocation(allocation=allocation, quota_ticks=50, by=None, at=AT)
    balance, loaded = post(category, places[0], 10)
    assert (balance.available_ticks, loaded) == (30, True)
    later = YEAR_END + timedelta(hours=2)
    balance, loaded = post(category, places[0], 10, at=later)
    assert (balance.uncovered_ticks, balance.locked, loaded) == (10, True, True)
    assert verify(category_id=category.pk) == []


def test_post__a_request_that_is_refused__leaves_nothing_of_it_kept(category, places) -> None:
    post(category, places[0], 10)
    with pytest.raises(Exception, match="reports cannot be taken"):
        post(category, places[0], -20)
    balance, _ = post(category, places[0], 1)
    assert (balance.used_ticks, used(places[0])) == (11, 11)
    assert verify(category_id=category.pk) == []
