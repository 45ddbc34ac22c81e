"""The mails that orders and work by hand ask for, as they leave."""

from datetime import datetime

import pytest
from django.core import mail
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.delivery import services as delivery
from bursar.delivery import tasks  # noqa: F401  its table is filled
from bursar.kernel.clock import stated_time
from bursar.provisioning import services
from bursar.provisioning.models import Side
from tests.factories.provisioning import World, make_resource, make_world, place_order, run_jobs

pytestmark = pytest.mark.django_db


def send_all(at: datetime) -> list[tuple[str, list[str]]]:
    mail.outbox.clear()
    for job in ProcrastinateJob.objects.filter(queue_name="mail").order_by("id"):
        delivery.send_mail(**job.args, at=at)
    return [(message.subject, message.to) for message in mail.outbox]


def test_mails__of_an_order_that_is_rejected__go_to_those_meant(at: datetime) -> None:
    world = make_world(at=at)
    order = place_order(world, comment="For the spring run.")
    assert send_all(at) == [(f"Order #{order.pk} awaits you: Run 1", [world.owner.email])]
    assert "because it was placed by" in mail.outbox[0].body
    assert f"/orders/{order.pk}/" in mail.outbox[0].body
    assert "For the spring run." in mail.outbox[0].body
    services.comment_order(order_id=order.pk, text="Why so much?", by=world.owner, at=at)
    services.reject_order(order_id=order.pk, side=Side.CONSUMER, reason="Too much.", by=world.owner, at=at)
    assert send_all(at) == [
        (f"A remark on order #{order.pk}: Run 1", [world.pi.email]),
        (f"Order #{order.pk} was rejected: Run 1", [world.pi.email]),
    ]
    assert "Too much." in mail.outbox[1].body


def test_mails__decided_before_they_leave__are_dropped(at: datetime) -> None:
    world = make_world(at=at)
    order = place_order(world)
    services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=at)
    assert send_all(at) == [(f"Order #{order.pk} awaits you: Run 1", [world.manager.email])]


def test_mails__work_by_hand_and_its_end__reach_the_provider_and_the_orderer(at: datetime) -> None:
    with stated_time(at):
        world = make_world(at=at)
        resource = make_resource(world)
        run_jobs()
        assert ("Something is to be done for Run 1", [world.manager.email]) in send_all(at)
        services.confirm_work(resource_id=resource.pk, by=world.manager, at=at)
        order = resource.orders.get()
        assert (f"Order #{order.pk} is done: Run 1", [world.pi.email]) in send_all(at)


def with_resource(at: datetime) -> World:
    """A world in which the project's members use something; what was written about that is sent."""
    with stated_time(at):
        world = make_world(at=at)
        make_resource(world)
    send_all(at)
    ProcrastinateJob.objects.all().delete()
    return world


def test_mails__of_an_account_that_the_provider_blocks_lets_in_and_ends__reach_its_person(at: datetime) -> None:
    world = with_resource(at)
    ours = {"backend": world.backend, "person": world.member, "by": world.manager, "at": at}
    services.set_local_account(**ours, username="mia")
    services.block_account(**ours, reason="Mining coins.")
    services.block_account(**ours, reason="Mining coins.")
    assert send_all(at) == [(f"Your account at {world.backend.name} was blocked", [world.member.email])]
    assert "The reason given: Mining coins." in mail.outbox[0].body
    assert "/profile/accounts/" in mail.outbox[0].body
    services.unblock_account(**ours)
    # That it was blocked is no longer true, and is not told.
    assert send_all(at) == [(f"You can use your account at {world.backend.name} again", [world.member.email])]
    services.remove_local_account(**ours)
    assert send_all(at) == [(f"Your account at {world.backend.name} was ended", [world.member.email])]
    assert "reason" not in mail.outbox[0].body


def test_mails__of_an_account_that_its_person_gives_up__are_none(at: datetime) -> None:
    world = with_resource(at)
    services.set_local_account(backend=world.backend, person=world.member, username="mia", by=world.manager, at=at)
    services.disconnect_account(backend=world.backend, person=world.member, by=world.member, at=at)
    assert send_all(at) == []
