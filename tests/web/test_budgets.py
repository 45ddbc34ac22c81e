"""Budgets, and an order that one holds, in a real browser."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bursar.billing.models import Budget, BudgetCrossing
from bursar.billing.services import budgets as services
from bursar.engine.budget import Threshold
from bursar.kernel.clock import now
from bursar.provisioning import services as provisioning
from bursar.provisioning.models import Order, Side
from tests.factories.budgets import bill, budget_of, make_priced_world
from tests.factories.provisioning import World, place_order


@pytest.fixture
def world(transactional_db: None) -> World:
    at: datetime = now().replace(microsecond=0)
    world = make_priced_world(at=at - timedelta(hours=1))
    world.project.name = "Ice cores"
    world.project.save(update_fields=["name"])
    month = at.date().replace(day=1)
    bill(world, "923.40", month=month)
    budget_of(world, thresholds=[Threshold(75, "tell"), Threshold(90, "hold"), Threshold(100, "pause")])
    budget_of(world, "5000", scope=world.university, span="year")
    budget_of(world, "900", span="total", thresholds=[Threshold(100, "tell")])
    return world


def held(world: World) -> Order:
    order = place_order(world)
    return provisioning.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)


def test_pages__each_of_them__stand_in_three_looks(visit: Callable[..., Any], world: World) -> None:
    order = held(world)
    owner = visit(world.owner)
    month = Budget.objects.get(span="month")
    for name, path in {
        "budgets-organization": f"/organizations/{world.university.pk}/budgets/",
        "budgets-project": f"/projects/{world.project.pk}/budgets/",
        "budget": f"/budgets/{month.pk}/",
        "order-held": f"/orders/{order.pk}/",
        "home-held": "/",
        "project-with-budgets": f"/projects/{world.project.pk}/",
    }.items():
        owner.look_at(path, name)


def test_raise__a_budget_that_holds__lets_it_go(visit: Callable[..., Any], world: World) -> None:
    month = Budget.objects.get(span="month")
    owner = visit(world.owner)
    owner.go(f"/budgets/{month.pk}/")
    page = owner.page
    owner.allow(422)
    page.get_by_label("New amount").fill("-5")
    page.get_by_label("Why", exact=True).fill("More work.")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_text("A budget is nothing or more.").wait_for()
    page.get_by_label("New amount").fill("2000")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_text("The budget is changed.").wait_for()
    month.refresh_from_db()
    assert month.amount == Decimal(2000)
    assert not BudgetCrossing.objects.filter(budget=month, ended_at=None).exists()
    services.evaluate_budget(budget_id=month.pk, at=now())


def test_agree__on_the_page__lets_the_order_go_on(visit: Callable[..., Any], world: World) -> None:
    order = held(world)
    owner = visit(world.owner)
    owner.go("/")
    owner.page.get_by_role("link", name="Run 1").first.click()
    owner.page.wait_for_url(f"**/orders/{order.pk}/")
    owner.page.get_by_label("A word about it (needed when you reject)").fill("It is needed.")
    owner.page.get_by_role("button", name="Agree to spend it").click()
    owner.page.get_by_text("Agreed. The order goes on.").wait_for()
    assert Order.objects.get(pk=order.pk).state == "pending_provider"
