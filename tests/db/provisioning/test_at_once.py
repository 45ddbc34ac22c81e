"""Two at the same time, in two connections: approvals, the same click twice, orders on one resource, the last place."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction

from bursar.accounting.books import lock
from bursar.catalogue.models import Plan
from bursar.events.models import Event
from bursar.kernel.errors import DomainError
from bursar.plugins.contract import UsageRecord
from bursar.provisioning import services
from bursar.provisioning.models import LocalAccount, Order, OrderDecision, Resource, SetAside, Side, SigningKey
from bursar.provisioning.services import set_aside
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.catalogue import make_plan
from tests.factories.provisioning import World, approve_all, make_resource, make_world, place_order
from tests.factories.structure import make_membership, make_person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def world(transactional_db: None, at: datetime) -> Iterator[World]:
    yield make_world(at=at)
    with connection.cursor() as cursor:  # Django leaves the queue's tables as they are
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each work answered or refused, begun at the same moment in threads of their own."""
    answers: list[Any] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(index: int) -> None:
        try:
            gate.wait(timeout=10)
            answers[index] = works[index]()
        except DomainError as refusal:
            answers[index] = refusal.code
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return answers


def test_approve__twice_at_once__counts_once(world: World) -> None:
    order = place_order(world)

    def approve() -> str:
        return services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at).state

    answers = at_once(approve, approve)
    assert sorted(answers) == ["order_step_not_open", "pending_provider"]
    assert OrderDecision.objects.filter(order=order, side="consumer").count() == 1


def test_approve_and_reject__at_once__only_one_counts(world: World) -> None:
    order = place_order(world, by=world.owner)

    def approve() -> str:
        return services.approve_order(order_id=order.pk, side=Side.PROVIDER, by=world.manager, at=world.at).state

    def reject() -> str:
        return services.reject_order(
            order_id=order.pk, side=Side.PROVIDER, reason="no", by=world.manager, at=world.at
        ).state

    answers = at_once(approve, reject)
    assert answers.count("order_step_not_open") == 1
    order.refresh_from_db()
    assert order.state in answers
    assert Resource.objects.count() == (1 if order.state == "executing" else 0)


def test_submit__the_same_click_at_once__places_one_order(world: World) -> None:
    answers = at_once(*[lambda: place_order(world, idempotency_key="click").pk] * 3)
    assert len(set(answers)) == 1
    assert Order.objects.count() == 1


def test_submit_change__two_at_once__the_second_is_told_of_the_first(world: World) -> None:
    order = approve_all(world, place_order(world, limits={"storage": 20}))
    resource = order.resource
    assert resource is not None
    Order.objects.filter(pk=order.pk).update(state="done")
    Resource.objects.filter(pk=resource.pk).update(state="ok", observed_generation=1, first_ok_at=world.at)

    def change(storage: int) -> Callable[[], str]:
        return lambda: (
            services.submit_change(resource_id=resource.pk, limits={"storage": storage}, by=world.pi, at=world.at).state
        )

    assert sorted(at_once(change(30), change(40))) == ["open_order_exists", "pending_consumer"]
    assert Order.objects.filter(kind="change").count() == 1


def test_submit__the_last_place_of_a_plan__goes_to_one(world: World) -> None:
    Plan.objects.filter(pk=world.plan_id).update(resources_max=1)
    answers = at_once(
        lambda: place_order(world, name="A").state, lambda: place_order(world, name="B", by=world.owner).state
    )
    assert answers.count("plan_sold_out") == 1
    assert Order.objects.count() == 1


def test_retry__two_for_the_last_place_of_a_plan__goes_to_one(world: World) -> None:
    small, failed = make_plan(world.offering, name="Small"), []
    for name in ("A", "B"):
        resource = approve_all(world, place_order(world, name=name)).resource
        assert resource is not None
        Order.objects.filter(resource=resource).update(state="done")
        as_before = {"state": "ok", "observed_generation": 1, "first_ok_at": world.at, "desired_plan": world.plan_id}
        Resource.objects.filter(pk=resource.pk).update(**as_before)
        wish = services.submit_change(resource_id=resource.pk, plan_id=small.pk, by=world.pi, at=world.at)
        failed.append(approve_all(world, wish).pk)
        Resource.objects.filter(pk=resource.pk).update(**as_before)
    Order.objects.filter(pk__in=failed).update(state="failed")
    Plan.objects.filter(pk=small.pk).update(resources_max=1)

    def retry(order_id: int) -> str:
        return services.retry_order(order_id=order_id, by=world.manager, at=world.at).state

    assert sorted(at_once(*(partial(retry, order_id) for order_id in failed))) == ["executing", "plan_sold_out"]
    assert Resource.objects.filter(desired_plan=small).count() == 1


def test_connect__people_of_one_name_at_once__get_names_and_numbers_of_their_own(world: World) -> None:
    services.set_account_policy(backend=world.backend, naming="initial_last", by=world.manager, at=world.at)
    people = [make_person(full_name="Ada Lovelace", at=world.at) for _ in range(4)]
    for person in people:
        make_membership(person=person, role=Role.PROJECT_MEMBER, scope=world.project, at=world.at - timedelta(days=1))

    def connect(person: Person) -> tuple[str, int | None]:
        made = services.connect_account(backend=world.backend, person=person, by=person, at=world.at).account
        return made.username, made.uid

    answers = at_once(*(partial(connect, person) for person in people))
    assert sorted(answers) == [
        ("alovelace", 200_000), ("alovelace2", 200_001), ("alovelace3", 200_002), ("alovelace4", 200_003),
    ]  # fmt: skip


def test_connect__the_same_click_twice_at_once__is_one_account(world: World) -> None:
    def connect() -> str:
        return services.connect_account(
            backend=world.backend, person=world.member, by=world.member, at=world.at
        ).account.state

    assert at_once(connect, connect, connect) == ["wanted"] * 3
    assert LocalAccount.objects.count() == 1
    assert Event.objects.filter(kind="account.wanted").count() == 1


def test_answer__one_name_for_two_at_once__is_given_to_one(world: World) -> None:
    for person in (world.member, world.pi):
        services.connect_account(backend=world.backend, person=person, by=person, at=world.at)

    def answer(person: Person) -> str:
        return services.set_local_account(
            backend=world.backend, person=person, username="ada", uid=7, by=world.manager, at=world.at
        ).state

    answers = at_once(partial(answer, world.member), partial(answer, world.pi))
    assert sorted(answers) == ["active", "username_taken"]
    assert LocalAccount.objects.filter(username="ada", uid=7).count() == 1


def test_first_token__two_at_once__make_one_signing_key(world: World) -> None:
    address = "https://accounts.example.org/"
    services.set_account_policy(
        backend=world.backend, arrival="redirect", connect_url=address, by=world.manager, at=world.at
    )

    def connect(person: Person) -> bool:
        made = services.connect_account(backend=world.backend, person=person, by=person, at=world.at)
        return made.address.startswith(f"{address}?token=")

    assert at_once(partial(connect, world.member), partial(connect, world.pi)) == [True, True]
    assert SigningKey.objects.count() == 1


def test_send_again__while_the_backend_tells_the_same__waits_and_nobody_fails(world: World) -> None:
    resource = make_resource(world)
    told = UsageRecord(
        id="1", resource_id=resource.pk, component="cpu", amount=7,
        period_start=world.at - timedelta(hours=1), period_end=world.at,
    )  # fmt: skip
    trouble = [(told, "unknown_component", "There is none.")]
    set_aside.keep(backend=world.backend, trouble=trouble, at=world.at)
    holds = threading.Event()

    def tell() -> str:
        with transaction.atomic():
            lock(world.cpu.pk)  # as whoever posts usage of the backend
            holds.set()
            with connection.cursor() as cursor:
                deadline = time.monotonic() + 10
                waits = 0
                while not waits and time.monotonic() < deadline:
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                    (waits,) = cursor.fetchone()
            set_aside.keep(backend=world.backend, trouble=trouble, at=world.at)
        return "told"

    def send() -> tuple[int, int]:
        holds.wait(timeout=10)
        return set_aside.send_again(backend=world.backend, by=None, at=world.at)

    assert at_once(tell, send) == ["told", (1, 0)]
    assert not SetAside.objects.exists()
