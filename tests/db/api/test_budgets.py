"""Budgets and held orders over REST, and the mails that they ask for."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.billing.models import Budget
from bursar.delivery import services as delivery
from bursar.delivery import tasks  # noqa: F401  its table is filled
from bursar.engine.budget import Threshold
from bursar.kernel.clock import stated_time
from bursar.provisioning import services as provisioning
from bursar.provisioning.models import Order, Side
from bursar.structure.models import Person
from tests.factories.budgets import bill, budget_of, make_priced_world
from tests.factories.provisioning import World, make_resource, place_order, run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_priced_world(at=at), at=at)  # type: ignore[no-any-return]


@pytest.fixture
def world(made: World, at: datetime) -> Iterator[World]:
    with stated_time(at):
        yield deepcopy(made)


def call(person: Person, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    client = Client()
    client.force_login(person)
    response = client.generic(
        method, f"/api/v1{path}", "" if body is None else json.dumps(body), content_type="application/json"
    )
    return response.status_code, json.loads(response.content) if response.content else None


def send_all(at: datetime) -> list[tuple[str, list[str]]]:
    mail.outbox.clear()
    for job in ProcrastinateJob.objects.filter(queue_name="mail").order_by("id"):
        delivery.send_mail(**job.args, at=at)
    return sorted((message.subject, message.to) for message in mail.outbox)


def test_budget__set_read_lowered_and_closed__as_it_stands(world: World) -> None:
    bill(world, "600.00")
    at = f"/projects/{world.project.pk}/budgets"
    sent = {"amount": "1000.00", "span": "month", "thresholds": [{"percent": 90, "action": "hold"}]}
    status, found = call(world.owner, "POST", at, sent)
    assert status == 201
    assert {key: found[key] for key in ("currency", "amount", "spent", "expected", "stretch", "standing")} == {
        "currency": "EUR", "amount": "1000.000", "spent": "600.000", "expected": "600.00", "stretch": "2026-11-01",
        "standing": [],
    }  # fmt: skip
    one = f"/budgets/{found['id']}"
    status, found = call(world.owner, "POST", f"{one}/change", {"amount": "650", "reason": "Less."})
    assert (status, [(c["percent"], c["action"]) for c in found["standing"]]) == (200, [(90, "hold")])
    status, found = call(world.owner, "PUT", f"{one}/thresholds", {"thresholds": [{"percent": 95, "action": "tell"}]})
    assert (status, found["standing"]) == (200, [])
    status, found = call(world.pi, "GET", at)
    assert (status, found["total"], found["items"][0]["amount"]) == (200, 1, "650.000")
    status, found = call(world.owner, "POST", f"{one}/close", {"reason": "Over."})
    assert [c["what"] for c in found["changes"]] == ["closed", "lowered", "set"]
    assert call(world.owner, "GET", at)[1]["total"] == 0
    assert call(world.owner, "GET", f"{at}?closed=true")[1]["total"] == 1


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"amount": "-1"}, "budget_negative"),
        ({"amount": "1.001"}, "amount_not_in_currency"),
        ({"currency": "euro"}, None),
        ({"currency": "E€R"}, "invalid_value"),
        ({"span": "week"}, None),
        ({"amount": "1e400"}, None),
        ({"amount": "NaN"}, None),
        ({"thresholds": [{"percent": 0, "action": "tell"}]}, None),
        ({"thresholds": [{"percent": 5, "action": "tell"}] * 2}, "threshold_invalid"),
        ({"reason": "a\0b"}, "text_not_allowed"),
        ({"more": 1}, None),
    ],
)
def test_budget__what_makes_no_sense__is_refused_and_nothing_is_written(
    world: World, changes: dict[str, Any], code: str | None
) -> None:
    sent = {"amount": "10", "span": "year", **changes}
    status, problem = call(world.owner, "POST", f"/organizations/{world.university.pk}/budgets", sent)
    assert status == 422
    assert code is None or problem["code"] == code
    assert Budget.objects.count() == 0


def test_held_order__agreed_and_refused_by_rest__goes_on_and_ends(world: World) -> None:
    bill(world, "950.00")
    budget_of(world, thresholds=[Threshold(90, "hold")])
    for name, status, state in (("agree", 200, "pending_provider"), ("refuse", 422, "held")):
        order = place_order(world, name=name)
        provisioning.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
        found = call(world.owner, "GET", f"/orders/{order.pk}")[1]
        assert (found["state"], found["may_agree"], found["held_by"]) == (
            "held", True,
            [f"Of the budget of “{world.project}” (November 2026) 90 % are spent: 950.00 EUR of 1,000.00 EUR."],
        )  # fmt: skip
        assert call(world.pi, "POST", f"/orders/{order.pk}/{name}", {"reason": ""})[0] == 403
        assert call(world.owner, "POST", f"/orders/{order.pk}/{name}", {"reason": ""})[0] == status
        assert Order.objects.get(pk=order.pk).state == state
    assert call(world.owner, "POST", f"/orders/{order.pk}/refuse", {"reason": "No."})[1]["state"] == "rejected"


def test_mails__a_threshold_and_a_held_order__say_what_follows(world: World) -> None:
    make_resource(world)
    run_jobs()
    ProcrastinateJob.objects.all().delete()
    bill(world, "1000.00")
    budget_of(world, thresholds=[Threshold(90, "hold"), Threshold(100, "pause")])
    order = place_order(world)
    provisioning.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    ProcrastinateJob.objects.exclude(args__kind__in=["budget_crossed", "order_held"]).delete()
    said = send_all(world.at)
    crossed = f"100 % of the budget of {world.project} are spent"
    assert said == sorted(
        [
            (crossed, [world.owner.email]),
            (crossed, [world.pi.email]),
            (f"Order #{order.pk} is held by a budget: Run 1", [world.owner.email]),
        ]
    )
    bodies = {message.subject: str(message.body) for message in mail.outbox}
    assert "1,000.00 EUR of 1,000.00 EUR" in bodies[crossed]
    assert "New orders that cost something wait" in bodies[crossed]
    assert "Of the budget of “" in bodies[f"Order #{order.pk} is held by a budget: Run 1"]
