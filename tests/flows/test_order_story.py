"""The main job end to end on the simulator's real backend process, jobs drained in this process."""

from datetime import timedelta

import pytest

from bursar.accounting.selectors import wallet_state
from bursar.kernel.clock import now
from bursar.provisioning import services
from bursar.provisioning.models import LocalAccount, Order, Resource, Side
from bursar.provisioning.services import usage
from tests.factories.provisioning import make_world, place_order, run_jobs
from tests.factories.structure import make_workspace
from tests.unit.plugins.simulator.running import TOKEN, Backend, wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def test_order__approved_by_both_sides__provisions_counts_usage_and_locks(simulator: Backend) -> None:
    at = now()
    world = make_world(
        plugin="simulator", values={"url": f"http://127.0.0.1:{simulator.port}", "token": TOKEN}, quota_hours=1, at=at
    )
    order = place_order(world, limits={"storage": 20})
    assert order.state == "pending_consumer"
    services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=now())
    order = services.approve_order(order_id=order.pk, side=Side.PROVIDER, by=world.manager, at=now())
    assert order.state == "executing"

    run_jobs()
    order.refresh_from_db()
    assert (order.state, order.error) == ("done", "")
    resource = Resource.objects.get()
    assert (resource.state, resource.backend_id, resource.matches) == ("ok", f"r{resource.pk}", True)
    assert simulator.call("GET", f"/v1/accounts/r{resource.pk}")["storage_gb"] == 20
    disk = wallet_state(workspace_id=world.workspace.pk, category_id=world.disk.pk, at=now())
    assert disk is not None
    assert disk.used_ticks == 20

    # A member runs work on it for real; it is more than what is left.
    username = LocalAccount.objects.get(person=world.member).username
    job = simulator.submit(resource.backend_id, username, 512, 3)
    wait_until(lambda: simulator.job(job)["state"] == "completed")
    assert usage.pull(world.offering.pk)
    cpu = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=now())
    assert cpu is not None
    assert cpu.used_ticks == 512 * 3
    university = wallet_state(workspace_id=make_workspace(world.university).pk, category_id=world.cpu.pk, at=now())
    assert university is not None
    assert university.available_ticks == 3600 - 512 * 3

    run_jobs()
    assert Resource.objects.get().quota == [["cpu", 2064, False]]
    for cores, seconds in ((512, 4), (16, 1)):  # to the last core-second
        job = simulator.submit(resource.backend_id, username, cores, seconds)
        wait_until(lambda job=job: simulator.job(job)["state"] == "completed")
    assert usage.pull(world.offering.pk)
    run_jobs()
    cpu = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=now())
    assert cpu is not None
    assert (cpu.locked, cpu.used_ticks, cpu.uncovered_ticks) == (True, 3600, 0)
    waiting = simulator.submit(resource.backend_id, username, 1, 1)
    wait_until(lambda: simulator.job(waiting)["state"] == "pending")

    # Its end brings the last usage in and frees the storage.
    order = services.submit_termination(resource_id=resource.pk, by=world.pi, at=now() + timedelta(seconds=1))
    run_jobs()
    resource.refresh_from_db()
    assert (resource.state, Order.objects.get(pk=order.pk).state) == ("terminated", "done")
    disk = wallet_state(workspace_id=world.workspace.pk, category_id=world.disk.pk, at=now() + timedelta(seconds=2))
    assert disk is not None
    assert disk.used_ticks == 0
