"""Two at the same time, in two connections: approvals, the same click twice, orders on one resource, the last place."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, connections

from bursar.catalogue.models import Plan
from bursar.kernel.errors import DomainError
from bursar.provisioning import services
from bursar.provisioning.models import Order, OrderDecision, Resource, Side
from tests.factories.provisioning import World, approve_all, make_world, place_order

pytestmark = pytest.mark.django_db(transaction=True)


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
