"""Bad input, on the page and in the API: a clear answer with a code of its own, and no row more or less anywhere."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from bursar.catalogue.models import Backend
from bursar.kernel.clock import stated_time
from bursar.provisioning import services
from bursar.provisioning.models import Order, Resource
from bursar.structure.models import Person
from tests.factories.catalogue import make_offering
from tests.factories.provisioning import World, make_resource, make_world, place_order, run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

NOBODY = 10**9


@pytest.fixture(autouse=True)
def clock(at: datetime) -> Iterator[None]:
    with stated_time(at):
        yield


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    form = {"type": "object", "properties": {"nodes": {"type": "integer", "title": "Nodes", "minimum": 1}}}
    return standing(lambda: make_world(at=at, order_form=form), at=at)


@pytest.fixture
def world(made: World) -> World:
    return deepcopy(made)


def row_counts() -> dict[str, int]:
    """How many rows each table holds, sessions apart."""
    with connection.cursor() as cursor:
        tables = sorted(set(connection.introspection.table_names(cursor)) - {"django_session"})
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for name in tables))
        return dict(cursor.fetchall())


@contextmanager
def nothing_written() -> Iterator[None]:
    before = row_counts()
    yield
    assert row_counts() == before


@dataclass(frozen=True)
class Said:
    """An answer: its status, the codes in it, and its words as a reader sees them."""

    status: int
    codes: set[str]
    words: str


def logged_in(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def on_page(person: Person, url: str, sent: dict[str, Any]) -> Said:
    response = logged_in(person).post(url, sent)
    codes = set()
    for name in ("form", "schema_form"):
        form = (response.context or {}).get(name)
        if form is not None and form.is_bound:
            codes |= {error.code for errors in form.errors.as_data().values() for error in errors if error.code}
    trouble = (response.context or {}).get("trouble")
    if trouble is not None:
        codes.add(trouble.code)
    words = " ".join(re.sub(r"<[^>]+>", " ", unescape(response.content.decode())).split())
    return Said(response.status_code, codes, words)


def in_api(person: Person, method: str, path: str, sent: Any) -> Said:
    response = logged_in(person).generic(method, f"/api/v1{path}", json.dumps(sent), content_type="application/json")
    told = response.json()
    codes = {told["code"], *(error["code"] for error in told.get("errors", []))}
    return Said(response.status_code, codes, told["detail"])


# ------------------------------------------------------------------------------------------------ an order
def order_page(world: World, **changes: Any) -> tuple[str, dict[str, Any]]:
    sent = {
        "workspace": world.workspace.pk,
        "plan": world.plan_id,
        "name": "Run 1",
        "limits.storage": 20,
        "form-nodes": 2,
        "key": "page-1",
    }
    offering = changes.pop("offering", world.offering)
    return f"{reverse('order_create')}?offering={getattr(offering, 'pk', offering)}", {**sent, **changes}


def order_api(world: World, **changes: Any) -> dict[str, Any]:
    sent = {
        "workspace_id": world.workspace.pk,
        "offering_id": world.offering.pk,
        "plan_id": world.plan_id,
        "name": "Run 1",
        "limits": {"storage": 20},
        "form": {"nodes": 2},
    }
    return {**sent, **changes}


def test_order__good__is_taken_on_the_page_and_in_the_api(world: World) -> None:
    """What the rows below change one thing of."""
    url, sent = order_page(world)
    assert on_page(world.pi, url, sent).status == 302
    response = logged_in(world.pi).post("/api/v1/orders", order_api(world), content_type="application/json")
    assert response.status_code == 201
    assert Order.objects.count() == 2


BAD_ORDERS: list[tuple[str, dict[str, Any], int, str, dict[str, Any], int, str]] = [
    # what; the page: what is changed, status, code; the API: the same
    ("a negative limit", {"limits.storage": -1}, 422, "limit_negative",
     {"limits": {"storage": -1}}, 422, "limit_negative"),
    ("a limit over the maximum", {"limits.storage": 501}, 422, "limit_too_large",
     {"limits": {"storage": 501}}, 422, "limit_too_large"),
    ("a limit that is no number", {"limits.storage": "many"}, 422, "invalid",
     {"limits": {"storage": "many"}}, 422, "invalid_request"),
    ("a form value of the wrong type", {"form-nodes": "many"}, 422, "invalid_form",
     {"form": {"nodes": "many"}}, 422, "invalid_form"),
    ("a form value out of bounds", {"form-nodes": 0}, 422, "invalid_form", {"form": {"nodes": 0}}, 422, "invalid_form"),
    ("an unknown plan", {"plan": NOBODY}, 422, "invalid_choice", {"plan_id": NOBODY}, 422, "plan_not_available"),
    ("an unknown workspace", {"workspace": NOBODY}, 422, "invalid_choice",
     {"workspace_id": NOBODY}, 404, "workspace_not_found"),
    ("an unknown offering", {"offering": NOBODY}, 404, "offering_not_found",
     {"offering_id": NOBODY}, 404, "offering_not_visible"),
]  # fmt: skip


@pytest.mark.parametrize("row", BAD_ORDERS, ids=[row[0] for row in BAD_ORDERS])
def test_order__bad_input__has_its_own_code_and_changes_nothing(world: World, row: Any) -> None:
    _what, page_changes, page_status, page_code, api_changes, api_status, api_code = row
    with nothing_written():
        url, sent = order_page(world, **page_changes)
        said = on_page(world.pi, url, sent)
        assert (said.status, page_code in said.codes) == (page_status, True), said
        told = in_api(world.pi, "POST", "/orders", order_api(world, **api_changes))
        assert (told.status, api_code in told.codes) == (api_status, True), told
        assert told.words


def test_order__an_offering_for_others__is_not_there(world: World) -> None:
    hidden = make_offering(world.provider, visibility="organizations", organizations=[world.provider.organization])
    plan = hidden.plans.get().pk
    with nothing_written():
        said = on_page(world.pi, *order_page(world, offering=hidden, plan=plan))
        assert (said.status, said.codes) == (404, {"offering_not_found"})
        assert hidden.name not in said.words
        told = in_api(world.pi, "POST", "/orders", order_api(world, offering_id=hidden.pk, plan_id=plan))
        assert (told.status, told.codes) == (404, {"offering_not_visible"})
        assert hidden.name not in told.words


def test_order__for_a_project_in_which_one_has_no_role__is_refused(world: World) -> None:
    with nothing_written():
        said = on_page(world.manager, *order_page(world))
        assert (said.status, said.codes) == (422, {"invalid_choice"})
        assert world.project.name not in said.words
        told = in_api(world.manager, "POST", "/orders", order_api(world))
        assert (told.status, told.codes) == (404, {"workspace_not_found"})


def test_approve__without_the_role__is_refused_with_the_roles_that_could(world: World) -> None:
    order = place_order(world, form={"nodes": 1})
    with nothing_written():
        said = on_page(world.member, reverse("order_approve", args=[order.pk]), {"side": "consumer"})
        assert (said.status, said.codes) == (403, {"not_allowed"})
        assert "Principal investigator" in said.words
        told = in_api(world.member, "POST", f"/orders/{order.pk}/approve", {"side": "consumer"})
        assert (told.status, told.codes) == (403, {"not_allowed"})
        assert "Principal investigator" in told.words
    order.refresh_from_db()
    assert order.state == "pending_consumer"


def test_second_order__on_a_resource__is_refused_while_the_first_is_open(world: World) -> None:
    resource = make_resource(world, form={"nodes": 1}, limits={"storage": 20})
    run_jobs(only="reconcile")
    services.confirm_work(resource_id=resource.pk, by=world.manager, at=world.at + timedelta(seconds=1))
    services.submit_change(resource_id=resource.pk, limits={"storage": 30}, by=world.pi, at=world.at)
    with nothing_written():
        said = on_page(world.pi, reverse("resource_terminate", args=[resource.pk]), {"comment": ""})
        assert (said.status, said.codes) == (422, {"open_order_exists"})
        change = {"plan": world.plan_id, "limits.storage": 40, "key": "k"}
        said = on_page(world.pi, reverse("resource_change", args=[resource.pk]), change)
        assert (said.status, said.codes) == (422, {"open_order_exists"})
        for path, sent in (("terminate", {}), ("change", {"limits": {"storage": 40}})):
            told = in_api(world.pi, "POST", f"/resources/{resource.pk}/{path}", sent)
            assert (told.status, told.codes) == (409, {"open_order_exists"})


# ------------------------------------------------------------------------------------------------ an unknown category
def component(category: int) -> dict[str, Any]:
    fields = {"key": "gpu", "title": "GPU", "unit_name": "GPU-hours", "billing": "usage"}
    return {**fields, "category": category, "category_id": category}


def test_unknown_category__in_a_gift_a_component_and_a_report__is_named(world: World) -> None:
    manager = world.manager
    offering = world.offering.pk
    gift = {"category_id": NOBODY, "organization_id": world.university.pk, "quota_ticks": 1}
    report = {
        "report_id": "r-1",
        "category_id": NOBODY,
        "workspace_id": world.workspace.pk,
        "amount_ticks": 1,
        "period_start": "2026-11-21T10:00:00Z",
        "period_end": "2026-11-21T11:00:00Z",
    }
    draft = make_offering(world.provider, backend=world.backend, active=False)
    fields: dict[str, Any] = {key: value for key, value in component(NOBODY).items() if key != "category_id"}
    with nothing_written():
        said = on_page(manager, reverse("allocation_create_root", args=[NOBODY]), {"quota": "1"})
        assert said.status == 404
        said = on_page(manager, reverse("provider_offering_components_new", args=[draft.pk]), fields)
        assert (said.status, "invalid_choice" in said.codes) == (422, True)
        told = in_api(manager, "POST", "/allocations", {**gift, "end": "2026-12-31T00:00:00Z"})
        assert (told.status, told.codes) == (404, {"not_found"})
        assert "product category" in told.words
        sent = {key: value for key, value in component(NOBODY).items() if key != "category"}
        told = in_api(manager, "POST", f"/offerings/{draft.pk}/components", sent)
        assert (told.status, told.codes) == (404, {"category_not_found"})
        told = in_api(manager, "GET", f"/categories/{NOBODY}/root-allocations", {})
        assert (told.status, told.codes) == (404, {"not_found"})
        told = in_api(manager, "POST", "/usage/reports", {"reports": [report]})
        assert (told.status, "unknown_category" in told.codes) == (422, True)
    assert offering != draft.pk


# ------------------------------------------------------------------------------------------------ SLURM is away
@pytest.fixture
def slurm(at: datetime, tmp_path: Path) -> World:
    """The real plugin; the folder in which it looks for SLURM's commands holds none."""
    values = {"bin_path": str(tmp_path), "components": {"cpu": "cpu"}}
    return make_world(at=at, plugin="slurm", values=values)


def test_backend_test__slurm_cannot_be_reached__says_so_on_the_page_and_in_the_api(slurm: World) -> None:
    client = logged_in(slurm.manager)
    url = reverse("provider_backend", args=[slurm.backend.pk])
    assert client.post(reverse("provider_backend_test", args=[slurm.backend.pk])).status_code == 302
    page = unescape(client.get(url).content.decode())
    assert "It does not work" in page
    slurm.backend.refresh_from_db()
    assert slurm.backend.health == "broken"
    first = slurm.backend.findings[0]["message"]
    assert first in page
    Backend.objects.update(health="unknown", findings=[])
    told = client.post(f"/api/v1/backends/{slurm.backend.pk}/test").json()
    assert (told["health"], told["findings"][0]["severity"]) == ("broken", "broken")
    assert told["findings"][0]["message"] == first


def test_order__slurm_cannot_be_reached__stays_in_hand_and_says_so(slurm: World) -> None:
    resource = make_resource(slurm, limits={"storage": 20})
    run_jobs(only="reconcile", limit=5)
    resource = Resource.objects.get(pk=resource.pk)
    order = Order.objects.get()
    assert (order.state, resource.state, resource.unreachable_since) == ("executing", "creating", slurm.at)
    assert resource.retry_at is not None
    page = unescape(logged_in(slurm.pi).get(reverse("order", args=[order.pk])).content.decode())
    assert resource.message
    assert resource.message in page
    told = logged_in(slurm.pi).get(f"/api/v1/resources/{resource.pk}").json()
    assert (told["state"], told["message"]) == ("creating", resource.message)
    assert logged_in(slurm.pi).get(f"/api/v1/orders/{order.pk}").json()["state"] == "executing"
