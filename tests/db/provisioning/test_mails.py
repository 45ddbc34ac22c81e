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
from tests.factories.provisioning import make_resource, make_world, place_order, run_jobs

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
