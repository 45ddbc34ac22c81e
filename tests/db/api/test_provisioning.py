"""Orders and resources over REST."""

import json
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.accounting.selectors import wallet_state
from bursar.catalogue import services as catalogue
from bursar.kernel.clock import stated_time
from bursar.kernel.money import Money
from bursar.provisioning import services
from bursar.provisioning.models import Order, OrderDecision, Resource
from bursar.structure.models import Person
from tests.factories.catalogue import make_offering
from tests.factories.provisioning import World, make_resource, make_world, place_order, run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def clock(at: datetime) -> Any:
    with stated_time(at):
        yield


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    form = {"type": "object", "properties": {"nodes": {"type": "integer", "minimum": 1, "default": 1}}}
    return standing(lambda: make_world(at=at, order_form=form), at=at)


@pytest.fixture
def world(made: World) -> World:
    return deepcopy(made)


def call(person: Person, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    client = Client()
    client.force_login(person)
    response = client.generic(
        method, f"/api/v1{path}", "" if body is None else json.dumps(body), content_type="application/json"
    )
    return response.status_code, json.loads(response.content) if response.content else None


def wish(world: World, **changes: Any) -> dict[str, Any]:
    return {
        "workspace_id": world.workspace.pk,
        "offering_id": world.offering.pk,
        "plan_id": world.plan_id,
        "name": "Run 1",
        "limits": {"storage": 20},
        **changes,
    }


# The table of bad input: what is sent, and the status and code of the answer.
def hidden(world: World) -> dict[str, Any]:
    other = make_offering(world.provider, visibility="organizations", organizations=[world.provider.organization])
    return wish(world, offering_id=other.pk, plan_id=other.plans.get().pk)


BAD: list[tuple[str, Any, int, str]] = [
    ("a negative limit", lambda w: wish(w, limits={"storage": -1}), 422, "limit_negative"),
    ("a limit below the minimum", lambda w: wish(w, limits={"storage": 0}), 422, "limit_too_small"),
    ("a limit over the maximum", lambda w: wish(w, limits={"storage": 501}), 422, "limit_too_large"),
    ("an unknown component", lambda w: wish(w, limits={"gpu": 1}), 422, "unknown_component"),
    ("a component that has no limit", lambda w: wish(w, limits={"cpu": 1}), 422, "unknown_component"),
    ("a form value of the wrong type", lambda w: wish(w, form={"nodes": "many"}), 422, "invalid_form"),
    ("a plan of another offering", lambda w: wish(w, plan_id=10**9), 422, "plan_not_available"),
    ("no name", lambda w: wish(w, name="  "), 422, "name_needed"),
    ("a name with a line break", lambda w: wish(w, name="a\nb"), 422, "name_needed"),
    ("an end in the past", lambda w: wish(w, end="2026-11-01T00:00:00Z"), 422, "end_in_the_past"),
    ("a start in the past", lambda w: wish(w, start="2026-11-01T00:00:00Z"), 422, "start_in_the_past"),
    ("an offering not offered to it", hidden, 404, "offering_not_visible"),
    ("an unknown offering", lambda w: wish(w, offering_id=10**9), 404, "offering_not_visible"),
    ("an unknown workspace", lambda w: wish(w, workspace_id=10**9), 404, "workspace_not_found"),
    ("an unknown field", lambda w: wish(w, colour="red"), 422, "invalid_request"),
]


@pytest.mark.parametrize("make, status, code", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_create_order__bad_input__has_its_own_code_and_writes_nothing(
    world: World, make: Any, status: int, code: str
) -> None:
    answer, problem = call(world.pi, "POST", "/orders", make(world))
    assert (answer, problem["code"]) == (status, code)
    assert problem["detail"]
    assert not Order.objects.exists()
    assert not OrderDecision.objects.exists()


def test_create_order__a_person_without_the_role__is_not_told_of_the_workspace(world: World) -> None:
    answer, problem = call(world.manager, "POST", "/orders", wish(world))
    assert (answer, problem["code"]) == (404, "workspace_not_found")
    assert not Order.objects.exists()


def test_create_order__without_any_allocation__is_refused_with_the_reason(at: datetime) -> None:
    world = make_world(at=at, quota_hours=None)
    answer, problem = call(world.pi, "POST", "/orders", wish(world))
    assert (answer, problem["code"]) == (409, "no_valid_allocation")
    assert world.university.name in problem["detail"]
    assert not Order.objects.exists()


def test_create_order__a_paused_offering__says_so(world: World) -> None:
    from bursar.catalogue.services import pause_offering

    pause_offering(offering=world.offering, reason="Broken.", by=None, at=world.at)
    answer, problem = call(world.pi, "POST", "/orders", wish(world))
    assert (answer, problem["code"]) == (409, "offering_not_active")
    assert "Broken." in problem["detail"]


def test_create_order__good__says_who_is_awaited_and_why(world: World) -> None:
    answer, order = call(world.pi, "POST", "/orders", wish(world))
    assert answer == 201
    assert (order["state"], order["form"], order["limits"]) == ("pending_consumer", {"nodes": 1}, {"storage": 20})
    assert order["awaited_people"] == [world.owner.pk]
    assert order["awaits"][0] == {
        "side": "consumer",
        "asked": True,
        "text": "To be approved by Organization owner or Organization manager, because it was placed by: Principal investigator.",
    }
    assert call(world.owner, "GET", "/orders/awaiting")[1]["total"] == 1
    assert call(world.pi, "GET", "/orders/awaiting")[1]["total"] == 0


def test_create_order__the_same_key_again__is_the_same_order_and_another_wish_is_refused(world: World) -> None:
    first = call(world.pi, "POST", "/orders", wish(world, idempotency_key="k"))[1]
    again = call(world.pi, "POST", "/orders", wish(world, idempotency_key="k"))[1]
    assert first["id"] == again["id"]
    answer, problem = call(world.pi, "POST", "/orders", wish(world, idempotency_key="k", name="Another"))
    assert (answer, problem["code"]) == (409, "idempotency_key_reused")
    assert Order.objects.count() == 1


def test_estimate__before_ordering__says_what_it_costs_draws_and_who_agrees(world: World) -> None:
    sent = {key: wish(world)[key] for key in ("workspace_id", "offering_id", "plan_id", "limits")}
    answer, found = call(world.pi, "POST", "/orders/estimate", sent)
    assert answer == 200
    draws = {draw["category_id"]: (draw["wanted_ticks"], draw["left_ticks"]) for draw in found["draws"]}
    assert draws == {world.cpu.pk: (None, 360_000), world.disk.pk: (20, 1000)}
    assert (found["month"], found["refusal"], len(found["awaits"])) == ("0.00", "", 2)
    assert not Order.objects.exists()


def test_estimate__with_an_end_and_an_expected_use__says_what_the_bills_will_say(world: World) -> None:
    plan, by_key = world.offering.plans.get(pk=world.plan_id), {c.key: c for c in world.offering.components.all()}
    prices = [(by_key["storage"], Decimal(3), 0), (by_key["cpu"], Decimal("0.5"), 0)]
    catalogue.set_prices(plan=plan, prices=prices, by=None, at=world.at)
    sent = {key: wish(world)[key] for key in ("workspace_id", "offering_id", "plan_id", "limits")}
    start = (world.at.replace(day=1) + timedelta(days=62)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start + timedelta(days=14)
    days = ((start + timedelta(days=31)).replace(day=1) - start).days
    sent |= {"start": start.isoformat(), "end": end.isoformat(), "uses": {"cpu": 10}}
    answer, found = call(world.pi, "POST", "/orders/estimate", sent)
    assert (answer, found["month"], found["by_use"]) == (200, "65.00", False)
    amount = str(
        Money.rounded(Fraction(20 * 3 * 14, days), "EUR").amount + Money.rounded(Fraction(5 * 14, days), "EUR").amount
    )
    assert found["until"] == {
        "end": end.isoformat().replace("+00:00", "Z"),
        "total": amount,
        "months": [{"month": f"{start:%Y-%m}", "amount": amount}],
    }


@pytest.mark.parametrize("uses, code", [({"storage": 1}, "not_billed_by_use"), ({"cpu": -1}, "use_negative")])
def test_estimate__an_expected_use_that_cannot_be__is_refused(world: World, uses: dict[str, int], code: str) -> None:
    sent = {key: wish(world)[key] for key in ("workspace_id", "offering_id", "plan_id", "limits")}
    answer, problem = call(world.pi, "POST", "/orders/estimate", sent | {"uses": uses})
    assert (answer, problem["code"]) == (422, code)


def test_second_order__on_a_resource_with_an_open_one__is_refused(world: World) -> None:
    resource = ready(world)
    assert call(world.pi, "POST", f"/resources/{resource.pk}/change", {"limits": {"storage": 30}})[0] == 201
    answer, problem = call(world.pi, "POST", f"/resources/{resource.pk}/terminate", {})
    assert (answer, problem["code"]) == (409, "open_order_exists")
    assert Order.objects.filter(resource=resource).count() == 2


def ready(world: World) -> Resource:
    resource = make_resource(world, limits={"storage": 20})
    run_jobs(only="reconcile")
    services.confirm_work(resource_id=resource.pk, by=world.manager, at=world.at + timedelta(seconds=1))
    resource.refresh_from_db()
    return resource


def test_approve__by_whom_it_does_not_await__is_refused_and_changes_nothing(world: World) -> None:
    order = place_order(world)
    for person, code in ((world.pi, "not_awaited"), (world.member, "not_allowed")):
        answer, problem = call(person, "POST", f"/orders/{order.pk}/approve", {"side": "consumer"})
        assert (answer, problem["code"]) == (403, code)
    answer, problem = call(world.owner, "POST", f"/orders/{order.pk}/approve", {"side": "provider"})
    assert (answer, problem["code"]) == (403, "not_allowed")
    answer, problem = call(world.manager, "POST", f"/orders/{order.pk}/approve", {"side": "provider"})
    assert (answer, problem["code"]) == (409, "order_step_not_open")
    order.refresh_from_db()
    assert (order.state, order.decisions.count()) == ("pending_consumer", 0)


def test_reject__without_a_reason__is_refused(world: World) -> None:
    order = place_order(world)
    answer, problem = call(world.owner, "POST", f"/orders/{order.pk}/reject", {"side": "consumer"})
    assert (answer, problem["code"]) == (422, "reason_needed")
    answer, found = call(world.owner, "POST", f"/orders/{order.pk}/reject", {"side": "consumer", "reason": "Too much."})
    assert (answer, found["state"]) == (200, "rejected")
    assert found["decisions"][0]["reason"] == "Too much."


def test_work__confirmed_over_the_api__is_done_and_counted(world: World) -> None:
    resource = ready(world)
    assert resource.state == "ok"
    answer, found = call(world.pi, "GET", f"/resources/{resource.pk}")
    assert (answer, found["state"], found["open_order_id"]) == (200, "ok", None)
    assert {c["key"]: c["used_ticks"] for c in found["components"]} == {"cpu": 0, "storage": 20}
    history = call(world.pi, "GET", f"/resources/{resource.pk}/history")[1]
    assert [(f["what"], f["state"], f["limit"]) for f in history["items"]] == [
        ("state", "ok", None),
        ("limit", "", 20),
        ("plan", "", None),
        ("state", "creating", None),
    ]


def test_report_usage__of_a_resource__stands_on_its_wallet_once(world: World) -> None:
    resource = ready(world)
    record = {
        "id": "job-1",
        "component": "cpu",
        "amount": 7200,
        "period_start": "2026-11-21T10:00:00Z",
        "period_end": "2026-11-21T11:00:00Z",
        "username": "someone",
    }
    path = f"/resources/{resource.pk}/usage"
    assert call(world.manager, "POST", path, {"records": [record]}) == (200, {"posted": 1, "duplicates": []})
    assert call(world.manager, "POST", path, {"records": [record]})[1]["posted"] == 0
    answer, problem = call(world.manager, "POST", path, {"records": [{**record, "id": "x", "component": "gpu"}]})
    assert (answer, problem["code"]) == (422, "report_of_other")
    assert call(world.pi, "POST", path, {"records": [record]})[0] == 404
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    assert state.used_ticks == 7200
    found = call(world.pi, "GET", f"/resources/{resource.pk}")[1]
    assert found["by_person"] == [
        {"person_id": None, "username": "someone", "category_id": world.cpu.pk, "ticks": 7200}
    ]
    assert found["components"][0]["days"][-1] == {"day": "2026-11-21", "ticks": 7200}


def test_report_usage__by_resource_and_component__finds_the_wallet(world: World) -> None:
    resource = ready(world)
    one = {
        "report_id": "job-1",
        "resource_id": resource.pk,
        "component": "cpu",
        "amount_ticks": 7200,
        "period_start": "2026-11-21T10:00:00Z",
        "period_end": "2026-11-21T11:00:00Z",
    }
    wrong = [
        {**one, "report_id": "a", "component": "gpu"},
        {**one, "report_id": "b", "resource_id": resource.pk + 1},
        {**one, "report_id": "c", "component": "storage"},
        {**one, "report_id": "d", "workspace_id": world.workspace.pk + 1},
        {**one, "report_id": "e", "category_id": world.cpu.pk + 1000},
        {**one, "report_id": "f", "resource_id": None},
        one,
    ]

    answer, problem = call(world.manager, "POST", "/usage/reports", {"reports": wrong})
    assert (answer, [(e["location"], e["code"]) for e in problem["errors"]]) == (
        422,
        [
            ("body.reports.0", "unknown_component"),
            ("body.reports.1", "unknown_resource"),
            ("body.reports.2", "component_not_metered"),
            ("body.reports.3", "resource_of_another_workspace"),
            ("body.reports.4", "component_of_another_category"),
            ("body.reports.5", "wallet_missing"),
        ],
    )
    assert call(world.pi, "POST", "/usage/reports", {"reports": [one]})[1]["errors"][0]["code"] == "unknown_resource"
    assert call(world.manager, "POST", "/usage/reports", {"reports": [one]})[1]["posted"] == 1
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    assert state.used_ticks == 7200


def test_accounts__set_listed_and_removed(world: World) -> None:
    ready(world)
    rows = call(world.manager, "GET", "/provider/accounts")[1]["items"]
    assert {row["person_id"] for row in rows} == {world.pi.pk, world.member.pk}
    path = f"/provider/accounts/{world.backend.pk}"
    assert call(world.manager, "PUT", f"{path}/{world.pi.pk}", {"username": "ppi"})[0] == 200
    answer, problem = call(world.manager, "PUT", f"{path}/{world.member.pk}", {"username": "ppi"})
    assert (answer, problem["code"]) == (409, "username_taken")
    answer, problem = call(world.manager, "PUT", f"{path}/{world.member.pk}", {"username": "; rm -rf ~"})
    assert (answer, problem["code"]) == (422, "username_invalid")
    answer, problem = call(world.manager, "PUT", f"{path}/{world.owner.pk}", {"username": "o"})
    assert (answer, problem["code"]) == (404, "person_not_there")
    assert call(world.pi, "PUT", f"{path}/{world.pi.pk}", {"username": "root"})[0] == 404
    assert call(world.manager, "DELETE", f"{path}/{world.pi.pk}")[0] == 204


@pytest.mark.slow
def test_lists__as_orders_grow__ask_the_same_number_of_queries(world: World) -> None:
    counts: dict[str, list[int]] = {}
    for round_ in range(2):
        for number in range(3):
            make_resource(world, name=f"Run {round_} {number}")
            place_order(world, name=f"Wish {round_} {number}")
        for person, path in (
            (world.pi, "/orders"),
            (world.pi, "/resources"),
            (world.owner, "/orders/awaiting"),
            (world.manager, "/provider/orders"),
            (world.manager, "/provider/resources"),
            (world.manager, "/provider/accounts"),
        ):
            with CaptureQueriesContext(connection) as queries:
                assert call(person, "GET", path)[0] == 200
            counts.setdefault(path, []).append(len(queries))
    assert all(first == second for first, second in counts.values()), counts
