"""The feed: numbers without gaps, whole states, nothing of anybody else's, snapshot and compaction."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.accounting import services as accounting
from bursar.accounting.models import Allocation, Wallet
from bursar.delivery import feed
from bursar.delivery.errors import CursorUnknown
from bursar.delivery.models import FeedEntry, FeedHead
from bursar.events.models import Untold
from bursar.events.services import look_again
from bursar.kernel.clock import stated_time
from bursar.provisioning.models import Order, Resource
from bursar.structure.models import SshKey
from bursar.structure.roles import Role
from tests.factories.provisioning import World, give_quota, make_resource, make_world, place_order, run_jobs
from tests.factories.site import make_token
from tests.factories.structure import make_membership, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_world(at=at), at=at)


@pytest.fixture
def world(made: World, at: datetime) -> Iterator[World]:
    with stated_time(at):
        yield deepcopy(made)


def read(world: World, after: int = 0) -> feed.FeedPage:
    return feed.events_after(world.provider, after, at=world.at)


def read_on(world: World) -> int:
    """All that there is, read; the last number."""
    return read(world).last_number


def told(page: feed.FeedPage) -> set[tuple[str, int]]:
    return {(event.subject, event.id) for event in page.events}


def test_number__of_what_happened__has_no_gaps_and_starts_at_one(world: World) -> None:
    place_order(world)
    page = read(world)
    assert [event.number for event in page.events] == list(range(1, len(page.events) + 1))
    assert page.last_number == len(page.events)
    assert Untold.objects.count() == 0


def test_number__nothing_new__writes_and_tells_nothing(world: World) -> None:
    last = read_on(world)
    assert feed.number(at=world.at) == set()
    assert read(world, last).events == []


def test_order__placed__is_told_with_its_whole_state(world: World) -> None:
    last = read_on(world)
    order = place_order(world)
    page = read(world, last)
    (event,) = [event for event in page.events if event.subject == "order"]
    assert (event.id, event.kinds) == (order.pk, ["order.awaits", "order.placed"])
    assert event.state is not None
    assert (event.state["state"], event.state["awaits_provider"], event.state["limits"]) == (
        "pending_consumer",
        False,
        {"storage": 10},
    )


def test_state__is_that_of_the_reading_and_not_of_the_event(world: World) -> None:
    last = read_on(world)
    order = place_order(world)
    feed.number(at=world.at)
    Order.objects.filter(pk=order.pk).update(name="Run 2")
    states = [event.state for event in read(world, last).events if event.subject == "order"]
    assert [state and state["name"] for state in states] == ["Run 2"]


def test_quota__given__tells_the_wallet_and_the_resources_that_draw_on_it(world: World) -> None:
    resource = make_resource(world)
    run_jobs()
    last = read_on(world)
    give_quota(world, world.cpu, 7)
    wallet = Wallet.objects.get(workspace=world.workspace, category=world.cpu)
    page = read(world, last)
    assert {("wallet", wallet.pk), ("resource", resource.pk)} <= told(page)
    (event,) = [event for event in page.events if (event.subject, event.id) == ("wallet", wallet.pk)]
    assert event.state is not None
    assert (event.state["quota_ticks"], event.state["locked"]) == (107 * 3600, False)
    (event,) = [event for event in page.events if event.subject == "resource"]
    assert event.kinds == ["resource.look"]


def test_lock__flipped__is_told(world: World) -> None:
    last = read_on(world)
    allocation = Allocation.objects.get(wallet__workspace=world.workspace, wallet__category=world.cpu)
    accounting.change_allocation(allocation=allocation, quota_ticks=0, by=None, at=world.at)
    (event,) = [
        event for event in read(world, last).events if (event.subject, event.id) == ("wallet", allocation.wallet_id)
    ]
    assert event.state is not None
    assert event.state["locked"] is True
    assert "wallet.locked" in event.kinds


def test_member__joins__tells_the_project_and_its_resources(world: World) -> None:
    resource = make_resource(world)
    run_jobs()
    last = read_on(world)
    person = make_person(at=world.at)
    make_membership(person=person, role=Role.PROJECT_MEMBER, scope=world.project, at=world.at)
    page = read(world, last)
    assert told(page) == {("project", world.project.pk), ("resource", resource.pk)}
    (project,) = [event.state for event in page.events if event.subject == "project"]
    assert project is not None
    assert [m["person_id"] for m in project["members"]] == sorted([world.pi.pk, world.member.pk, person.pk])


def test_looked_at_again__without_an_event__is_told_once_for_many_asks(world: World) -> None:
    resource = make_resource(world)
    last = read_on(world)
    for _ in range(3):
        look_again("resource", [resource.pk])
    page = read(world, last)
    assert [(event.subject, event.id, event.kinds) for event in page.events] == [
        ("resource", resource.pk, ["resource.look"])
    ]


def test_feed__of_another_provider__tells_nothing_of_this_one(world: World, at: datetime) -> None:
    other = make_world(at=at)
    read_on(other)
    before = read_on(other)
    make_resource(world)
    assert read(other, before).events == []
    assert told(feed.events_after(other.provider, 0, at=at)).isdisjoint(told(read(world)))


def test_read__many_events__needs_no_more_queries_than_few(world: World, at: datetime) -> None:
    def queries(after: int, limit: int) -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            page = feed.events_after(world.provider, after, limit=limit, at=at)
        assert len(page.events) == limit
        return len(seen)

    last = read_on(world)
    for place in range(12):
        place_order(world, name=f"Run {place}")
        feed.number(at=at)
    assert queries(last, 2) == queries(last, 12)


def test_snapshot__in_parts__has_all_and_the_feed_goes_on_from_it(world: World) -> None:
    resource = make_resource(world)
    subjects, cursor, numbers = [], "", []
    while True:
        part = feed.snapshot(world.provider, cursor, limit=1, at=world.at)
        numbers.append(part.number)
        subjects += [(one.subject, one.id) for one in part.subjects]
        if part.next is None:
            break
        cursor = part.next
    wallets = Wallet.objects.filter(category__provider=world.provider).values_list("pk", flat=True)
    open_orders = Order.objects.filter(closed_at=None).values_list("pk", flat=True)
    expected = [("resource", resource.pk), *(("order", pk) for pk in open_orders)]
    expected += [*(("wallet", pk) for pk in wallets.order_by("pk")), ("project", world.project.pk)]
    assert subjects == expected
    assert set(numbers) == {read_on(world)}


@pytest.mark.parametrize("cursor", ["order", "mystery:0", "order:-1", "order:x", "order:" + "9" * 30])
def test_snapshot__from_a_place_that_is_none__is_refused(world: World, cursor: str) -> None:
    with pytest.raises(CursorUnknown):
        feed.snapshot(world.provider, cursor, at=world.at)


def test_compact__after_two_weeks__keeps_the_latest_of_each_subject(world: World) -> None:
    resource = make_resource(world)
    for _ in range(3):
        look_again("resource", [resource.pk])
        feed.number(at=world.at)
    numbers = FeedEntry.objects.filter(subject_type="resource", subject_id=resource.pk).values_list("number", flat=True)
    assert len(numbers) == 3
    latest = max(numbers)
    later = world.at + feed.KEPT + timedelta(seconds=1)
    look_again("order", [Order.objects.get().pk])
    assert feed.compact(at=world.at + timedelta(days=1)) == 0
    removed = feed.compact(at=later)
    assert removed >= 2
    assert list(numbers.all()) == [latest]
    head = FeedHead.objects.get(provider=world.provider)
    assert (head.compacted_to, read(world).events[-1].number) == (head.last_number, head.last_number)
    assert feed.compact(at=later) == 0


def test_read__by_http__asks_for_the_right_and_says_what_is_wrong(world: World) -> None:
    make_resource(world)

    def ask(token: str, query: str = "") -> tuple[int, Any]:
        answer = Client(headers={"Authorization": f"Bearer {token}"}).get(f"/api/v1/provider/events{query}")
        return answer.status_code, json.loads(answer.content)

    status, page = ask(make_token(world, scopes=["read"]), "?after=0&limit=3")
    assert (status, [event["number"] for event in page["events"]]) == (200, [1, 2, 3])
    assert ask(make_token(world, world.member, ["read"]))[0] == 404
    assert ask("bur_unknown")[0] == 401
    for query, place in (("?after=-1", "after"), ("?after=x", "after"), ("?limit=0", "limit"), ("?wait=61", "wait")):
        status, problem = ask(make_token(world, scopes=["read"]), query)
        assert (status, problem["errors"][0]["location"]) == (422, f"query.{place}")


def test_keys__of_a_person_changed__tell_their_account(world: World) -> None:
    from bursar.provisioning.models import LocalAccount
    from bursar.structure.services.people import add_ssh_key

    resource: Resource = make_resource(world)
    account = LocalAccount.objects.create(backend=world.backend, person=world.pi, username="pi", set_at=world.at)
    last = read_on(world)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl pi"
    add_ssh_key(person=world.pi, name="laptop", public_key=key, by=world.pi, at=world.at)
    page = read(world, last)
    assert told(page) == {("account", account.pk), ("resource", resource.pk)}
    (state,) = [event.state for event in page.events if event.subject == "account"]
    assert state is not None
    assert state["person"]["ssh_keys"] == [SshKey.objects.get().public_key]
