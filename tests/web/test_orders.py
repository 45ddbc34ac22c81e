"""Ordering, deciding, work by hand and the resource, in a real browser."""

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import expect

from bursar.plugins.contract import UsageRecord
from bursar.plugins.script.plugin import VERBS
from bursar.provisioning import services
from bursar.provisioning.models import Order, Resource
from bursar.structure.roles import Role
from tests.factories.catalogue import make_plan
from tests.factories.provisioning import World, make_resource, make_world, place_order, run_jobs
from tests.factories.structure import make_membership


@pytest.fixture
def world(transactional_db: None) -> Any:
    world = make_world(
        at=datetime.now(UTC),
        name="Thor batch computing",
        terms_of_use="Be kind to the queue.",
        access_instructions="Log in as `{username}` and use the account **{backend_id}**.",
        order_form={
            "type": "object",
            "properties": {
                "gpu": {"type": "boolean", "title": "With a GPU", "default": False},
                "model": {
                    "type": "string",
                    "title": "Which GPU",
                    "enum": ["a100", "h100"],
                    "x-when": {"property": "gpu", "is": [True]},
                },
            },
            "x-order": ["gpu", "model"],
        },
    )
    storage = world.offering.components.get(key="storage")
    make_plan(world.offering, name="Large", prices={storage: 2}, at=world.at - timedelta(days=50))
    yield world
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def test_order__from_the_marketplace_to_the_resource__by_four_people(visit: Callable[..., Any], world: World) -> None:
    orderer = visit(world.pi)
    orderer.go(f"/offerings/{world.offering.pk}/")
    page = orderer.page
    with page.expect_event("load"):
        page.get_by_role("link", name="Order", exact=True).click()
    page.get_by_label("For", exact=True).select_option(str(world.workspace.pk))
    page.get_by_label("Name of the resource").fill("Spring run")
    page.get_by_text("Large").click()
    page.get_by_role("spinbutton", name="Storage").fill("40")
    page.get_by_role("spinbutton", name="Storage").press("Tab")
    expect(page.locator("[data-estimate-month]")).to_contain_text("80.00")
    assert "Draws 40" in page.locator(f"[data-draw='{world.disk.name}']").inner_text()
    assert page.get_by_label("Which GPU").count() == 0
    page.get_by_label("With a GPU").check()
    page.get_by_label("Which GPU").select_option("h100")
    page.get_by_label("I have read the terms").check()
    orderer.check()
    with page.expect_event("load"):
        page.get_by_role("button", name="Place the order").click()
    order = Order.objects.get()
    assert (order.form, order.limits) == ({"gpu": True, "model": "h100"}, {"storage": 40})
    assert page.locator("[data-step-state='current']").get_attribute("data-step") == "consumer"

    for person, step in ((world.owner, "provider"), (world.manager, "executing")):
        decider = visit(person)
        decider.go("/")
        with decider.page.expect_event("load"):
            decider.page.get_by_role("link", name=re.compile("Spring run")).first.click()
        with decider.page.expect_event("load"):
            decider.page.get_by_role("button", name="Approve").click()
        assert decider.page.locator("[data-step-state='current']").get_attribute("data-step") == step

    run_jobs(only="reconcile")
    worker = visit(world.manager)
    worker.go("/provider/orders/")
    with worker.page.expect_event("load"):
        worker.page.get_by_role("link", name="Say what was done").click()
    worker.page.get_by_label("Its name there").fill("acc-17")
    with worker.page.expect_event("load"):
        worker.page.get_by_role("button", name="It is done").click()
    assert Resource.objects.get().state == "ok"

    member = visit(world.member)
    member.go("/resources/")
    with member.page.expect_event("load"):
        member.page.get_by_role("link", name="Spring run").click()
    assert "use the account acc-17" in member.page.locator("main").inner_text()


def test_pages__of_orders_and_resources__stand_in_three_looks(visit: Callable[..., Any], world: World) -> None:
    waiting = place_order(world, name="Autumn run", terms_accepted=True, comment="For the ocean model.")
    resource = make_resource(world, name="Spring run", terms_accepted=True)
    run_jobs(only="reconcile")
    services.confirm_work(
        resource_id=resource.pk,
        backend_id="acc-17",
        access={"Login": "login.example.org"},
        by=world.manager,
        at=world.at,
    )
    services.set_local_account(backend=world.backend, person=world.member, username="mmember", by=None, at=world.at)
    for day in range(6):
        end = world.at - timedelta(days=day, hours=1)
        record = UsageRecord(
            id=f"d{day}",
            resource_id=resource.pk,
            component="cpu",
            amount=3600 * (day + 2),
            period_start=end - timedelta(hours=1),
            period_end=end,
            username="mmember",
        )
        services.report_usage(resource_id=resource.pk, records=[record], by=None, at=world.at)
    making = make_resource(world, name="Winter run", terms_accepted=True)
    run_jobs(only="reconcile")

    orderer = visit(world.pi)
    for path, name in (
        (f"/orders/new?offering={world.offering.pk}&workspace={world.workspace.pk}", "order-form"),
        ("/orders/", "orders"),
        ("/resources/", "resources"),
        (f"/resources/{resource.pk}/", "resource"),
        (f"/resources/{resource.pk}/change", "resource-change"),
        (f"/resources/{resource.pk}/terminate", "resource-terminate"),
        (f"/projects/{world.project.pk}/approval/", "project-approval"),
        (f"/projects/{world.project.pk}/resources/", "project-resources"),
        ("/", "home-researcher"),
    ):
        orderer.look_at(path, name)
    decider = visit(world.owner)
    decider.look_at(f"/orders/{waiting.pk}/", "order-decide")
    seller = visit(world.manager)
    for path, name in (
        ("/provider/orders/", "provider-orders"),
        (f"/resources/{making.pk}/work", "resource-work"),
        ("/provider/accounts/", "provider-accounts"),
        (f"/provider/offerings/{world.offering.pk}/approval/", "offering-approval"),
    ):
        seller.look_at(path, name)


# ------------------------------------------------------------------------------------------------ taking over
WORKBENCH = Path(__file__).resolve().parents[2] / "docs" / "examples" / "script-backend" / "workbench.py"


def test_take_over__chosen_from_the_list__become_resources_in_three_looks(
    visit: Callable[..., Any], transactional_db: None, tmp_path: Path
) -> None:
    commands: dict[str, Any] = {verb: [str(WORKBENCH)] for verb in VERBS}
    values = {**commands, "environment": {"WORKBENCH_FOLDER": str(tmp_path)}}
    world = make_world(plugin="script", values=values, at=datetime.now(UTC), name="Workbenches")
    for name, title, hours in (
        ("ice", "Ice cores", "40"),
        ("mud", "Mud <b>samples</b>", "7"),
        ("x" * 60, "Y" * 90, "1"),
    ):
        subprocess.run(
            [str(WORKBENCH), "make", name, title, hours],
            check=True,
            env={"WORKBENCH_FOLDER": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
    manager = visit(world.manager)
    page = manager.page
    manager.go(f"/provider/offerings/{world.offering.pk}/backend/")
    page.get_by_role("link", name="Take over what is there").click()
    page.get_by_role("checkbox", name="Ice cores").check()
    page.get_by_label("They become resources of").select_option(str(world.workspace.pk))
    page.get_by_label("On the plan").select_option(str(world.plan_id))
    page.get_by_role("button", name="Take over").click()
    page.get_by_text("1 resource was taken over.").wait_for()
    assert page.get_by_role("link", name="Ice cores").count() == 1
    manager.check()
    manager.look_at(f"/provider/offerings/{world.offering.pk}/take-over/", "take-over")
    resource = Resource.objects.get()
    manager.look_at(f"/orders/{resource.orders.get().pk}/", "take-over-order")
    manager.look_at(f"/provider/backends/{world.backend.pk}/", "take-over-backend")
    make_membership(person=world.manager, role=Role.PLATFORM_OPERATOR, scope=None)
    manager.look_at(f"/provider/backends/{world.backend.pk}/edit/", "script-settings")
