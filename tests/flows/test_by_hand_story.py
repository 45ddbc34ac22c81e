"""A resource that a person at the provider makes, pauses and removes: nothing counts as done before they say so."""

from datetime import timedelta

import pytest

from bursar.kernel.clock import now
from bursar.provisioning import services
from bursar.provisioning.models import Order, Resource
from tests.factories.provisioning import World, make_resource, make_world, run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def work(resource: Resource) -> str:
    """The first line of what is awaited of a person, after the loop has asked."""
    run_jobs()
    resource.refresh_from_db()
    return resource.awaited_work.partition("\n")[0]


def say_done(world: World, resource: Resource, backend_id: str = "") -> None:
    services.confirm_work(resource_id=resource.pk, backend_id=backend_id, by=world.manager, at=now())
    run_jobs()
    resource.refresh_from_db()


def test_resource__by_hand__each_step_waits_for_the_person() -> None:
    world = make_world(plugin="manual", at=now() - timedelta(minutes=1))
    resource = make_resource(world, limits={"storage": 20})
    assert work(resource) == "Set up “Run 1”."
    say_done(world, resource, "L-17")
    assert (resource.state, resource.backend_id, resource.awaited_work) == ("ok", "L-17", "")

    services.pause_resource(resource_id=resource.pk, by=world.pi, at=now())
    assert work(resource) == "Pause “Run 1” (L-17)."
    say_done(world, resource)
    assert (resource.state, resource.awaited_work) == ("paused", "")

    services.resume_resource(resource_id=resource.pk, by=world.pi, at=now())
    assert work(resource) == "Resume “Run 1” (L-17)."
    say_done(world, resource)
    assert (resource.state, resource.backend_id) == ("ok", "L-17")

    order = services.submit_termination(resource_id=resource.pk, by=world.pi, at=now())
    assert work(resource) == "Remove “Run 1” (L-17)."
    assert (resource.state, Order.objects.get(pk=order.pk).state) == ("terminating", "executing")
    say_done(world, resource)
    assert (resource.state, Order.objects.get(pk=order.pk).state) == ("terminated", "done")
