"""The REST of the catalogue: the story from category to shelf with a token, and each refusal with its code."""

import json

import pytest
from django.test import Client

from bursar.catalogue.models import Backend, Offering
from bursar.kernel.clock import stated_time
from bursar.structure import services as structure
from bursar.structure.roles import Role, TokenScope
from tests.factories.catalogue import make_backend, make_category, make_offering, make_plan, make_provider, make_shelf
from tests.factories.structure import make_membership, make_operator, make_organization, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
SECRET = "a-token-of-the-simulator"


@pytest.fixture(autouse=True)
def clock(at):
    with stated_time(at):
        yield


class Program:
    def __init__(self, person, at, scopes=None):
        scopes = [scope.value for scope in TokenScope] if scopes is None else scopes
        made = structure.create_token(person=person, name="test", scopes=scopes, days=30, by=None, at=at)
        self.client = Client(headers={"Authorization": f"Bearer {made.token}"})

    def __call__(self, method, path, body=None):
        data = b"" if body is None else json.dumps(body)
        answer = self.client.generic(method, f"/api/v1{path}", data=data, content_type="application/json")
        return answer.status_code, (answer.json() if answer.content else None)


def manager_of(provider, at, role=Role.PROVIDER_MANAGER):
    return Program(make_membership(role=role, scope=provider.organization).person, at)


def test_story__category_to_shelf__by_api(at):
    operator = Program(make_operator(), at)
    organization = make_organization("Thor Centre")
    api = Program(make_membership(role=Role.ORGANIZATION_OWNER, scope=organization).person, at)
    status, provider = operator("POST", "/providers", {"organization_id": organization.pk})
    assert (status, provider["name"]) == (201, "Thor Centre")
    status, shelf = operator("POST", "/shelves", {"title": "Computing", "slug": "computing"})
    assert status == 201
    status, category = api("POST", "/product-categories", {
        "provider_id": provider["id"], "name": "cpu", "title": "CPU", "product_type": "compute", "charging": "hour",
        "unit_name": "core-hours", "ticks_per_unit": 3600,
    })  # fmt: skip
    assert (status, category["sealed_at"]) == (201, None)
    status, product = api("POST", "/products", {"category_id": category["id"], "name": "n16", "title": "16 cores",
                                                "ticks_per_charge": 57600, "specs": {"cores": 16}})  # fmt: skip
    assert (status, product["unit_name"], product["ticks_per_unit"]) == (201, "core-hours", 3600)
    status, backend = api("POST", "/backends", {
        "provider_id": provider["id"], "name": "Sim", "plugin": "simulator",
        "settings": {"token": SECRET, "url": "http://127.0.0.1:9", "sells": "vm"},
    })  # fmt: skip
    assert status == 201
    assert backend["settings"] == {"url": "http://127.0.0.1:9", "sells": "vm", "timeout_seconds": 10}
    assert (backend["secrets_set"], backend["health"]) == (["token"], "unknown")
    status, draft = api("POST", "/offerings", {"provider_id": provider["id"], "name": "Thor VM", "shelf_id": shelf["id"],
                                               "summary": "A machine.", "description": "Yours.",
                                               "backend_id": backend["id"]})  # fmt: skip
    assert (status, draft["state"], draft["slug"]) == (201, "draft", "thor-vm")
    component = draft["components"][0]
    assert (component["key"], component["category_id"], component["ticks_per_unit"]) == (
        "vm",
        category["id"],
        3600,
    )
    base = f"/offerings/{draft['id']}"
    status, plan = api("POST", f"{base}/plans", {"name": "Standard"})
    assert (status, plan["prices"]) == (201, [])
    status, plan = api("POST", f"{base}/plans/{plan['id']}/prices", {"prices": [{"component": "vm", "price": "0.05"}]})
    assert status == 201
    assert [(p["component"], float(p["price"])) for p in plan["prices"]] == [("vm", 0.05)]
    assert api("PUT", f"{base}/visibility", {"visibility": "everyone"})[0] == 200

    status, problem = api("POST", f"{base}/activate")
    assert (status, problem["code"]) == (409, "offering_incomplete")
    assert problem["facts"]["missing"] == ["backend_works"]
    status, tested = api("POST", f"/backends/{backend['id']}/test")
    assert (status, tested["health"]) == (200, "broken")
    assert tested["findings"][0]["message"].endswith("did not answer. Is it running?")
    checklist = {item["requirement"]: item for item in api("GET", f"{base}/checklist")[1]["items"]}
    assert [key for key, item in checklist.items() if not item["ok"]] == ["backend_works"]
    assert checklist["backend_works"]["advice"] == "Its last test failed: see the findings on the backend's page."
    Backend.objects.update(health="ok")

    status, active = api("POST", f"{base}/activate")
    assert (status, active["state"]) == (200, "active")
    reader = Program(make_person(), at)
    status, found = reader("GET", "/offerings?q=machine")
    assert [row["id"] for row in found["items"]] == [draft["id"]]
    status, seen = reader("GET", base)
    assert (status, seen["organization_ids"], seen["order_form"]["x-order"]) == (
        200,
        None,
        ["name", "flavor", "ssh_key"],
    )
    assert [row["offerings"] for row in reader("GET", "/shelves")[1]["items"]] == [1]
    assert [row["name"] for row in reader("GET", "/product-categories")[1]["items"]] == ["cpu"]
    assert reader("GET", f"/product-categories/{category['id']}")[1]["sealed_at"] == "2026-11-21T12:00:00Z"
    assert [row["name"] for row in reader("GET", "/products")[1]["items"]] == ["n16"]
    assert [row["id"] for row in reader("GET", "/providers")[1]["items"]] == [provider["id"]]

    for step, state in (("pause", "paused"), ("archive", "archived"), ("reopen", "paused")):
        status, row = api("POST", f"{base}/{step}", {"reason": "x"} if step == "pause" else None)
        assert (status, row["state"]) == (200, state)
    assert api("POST", f"{base}/copy", {"name": "Thor VM 2"})[1]["state"] == "draft"
    everything = json.dumps([api("GET", path)[1] for path in (
        "/backends", f"/backends/{backend['id']}", base, "/plugins", "/offerings?mine=true", "/events")])  # fmt: skip
    assert SECRET not in everything


def test_edit_backend__secret_write_only__kept_when_left_out(at):
    backend = make_backend(plugin="simulator", values={"token": SECRET})
    api = manager_of(backend.provider, at)
    status, row = api("PATCH", f"/backends/{backend.pk}", {"settings": {"sells": "vm"}})
    assert (status, row["settings"]["sells"], row["secrets_set"]) == (200, "vm", ["token"])
    status, problem = api("PATCH", f"/backends/{backend.pk}", {"settings": {"token": "two words", "sells": "gold"}})
    assert (status, problem["code"]) == (422, "invalid_settings")
    assert {e["location"]: e["message"] for e in problem["errors"]} == {
        "body.token": "must be one word of visible ASCII characters",
        "body.sells": "Input should be 'hpc' or 'vm'",
    }
    assert "two words" not in json.dumps(problem)
    for role in (Role.OFFERING_MANAGER, Role.PROVIDER_MANAGER):
        status, row = manager_of(backend.provider, at, role)("GET", f"/backends/{backend.pk}")
        managed = role == Role.PROVIDER_MANAGER
        assert (row["settings"] is not None, row["secrets_set"]) == (managed, ["token"] if managed else None)


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/offerings/{o}", None, (404, "offering_not_found")),
        ("PATCH", "/offerings/{o}", {"name": "x"}, (404, "offering_not_found")),
        ("POST", "/offerings/{o}/activate", None, (404, "offering_not_found")),
        ("GET", "/offerings/{o}/checklist", None, (404, "offering_not_found")),
        ("GET", "/backends/{b}", None, (404, "backend_not_found")),
        ("POST", "/backends/{b}/test", None, (404, "backend_not_found")),
        ("PATCH", "/product-categories/{c}", {"title": "x"}, (404, "category_not_found")),
        ("PATCH", "/providers/{p}", {"description": "x"}, (404, "provider_not_found")),
        ("POST", "/shelves", {"title": "x", "slug": "x"}, (403, "not_allowed")),
        ("DELETE", "/shelves/{s}", None, (403, "not_allowed")),
        ("POST", "/providers", {"organization_id": 1}, (403, "not_allowed")),
        ("GET", "/plugins", None, (403, "not_allowed")),
    ],
)
def test_call__by_a_stranger__refused_as_if_it_were_not_there(method, path, body, expected, at):
    offering = make_offering(active=False)
    ids = {"o": offering.pk, "b": offering.backend_id, "c": offering.components.get().category_id,
           "p": offering.provider_id, "s": offering.shelf_id}  # fmt: skip
    status, problem = Program(make_person(), at)(method, path.format(**ids), body)
    assert (status, problem["code"]) == expected
    offering.refresh_from_db()
    assert (offering.state, offering.name) != ("active", "x")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"key": "x", "title": "X", "unit_name": "u", "billing": "usage", "category_id": 999_999},
            (404, "category_not_found"),
        ),
        ({"key": "x", "title": "X", "unit_name": "u", "billing": "gift"}, (422, "invalid_request")),
        ({"key": "x", "title": "X", "unit_name": "u", "billing": "usage", "limit_min": -1}, (422, "invalid_request")),
        (
            {"key": "x", "title": "X", "unit_name": "u", "billing": "usage", "limit_min": 2, "limit_max": 1},
            (422, "invalid_input"),
        ),
        ({"key": "cpu", "title": "X", "unit_name": "u", "billing": "usage"}, (409, "name_taken")),
        ({"key": "x", "title": "X", "unit_name": "u", "billing": "usage", "colour": 1}, (422, "invalid_request")),
    ],
)
def test_add_component__bad_input__its_own_code_and_nothing_added(body, expected, at):
    offering = make_offering(active=False)
    status, problem = manager_of(offering.provider, at)("POST", f"/offerings/{offering.pk}/components", body)
    assert (status, problem["code"]) == expected
    assert offering.components.count() == 1


def test_set_order_form__not_in_the_subset__refused_with_the_place(at):
    offering = make_offering(active=False)
    api = manager_of(offering.provider, at)
    status, problem = api(
        "PUT", f"/offerings/{offering.pk}/order-form", {"type": "object", "properties": {"a": {"type": "list"}}}
    )
    assert (status, problem["code"]) == (422, "invalid_order_form")
    assert [error["location"] for error in problem["errors"]] == ["body.properties.a.type"]
    good = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    assert api("PUT", f"/offerings/{offering.pk}/order-form", good)[1]["order_form"]["x-order"] == ["b", "a"]


def test_edit__kept_things_of_an_offering_once_on_the_shelf__conflict(at):
    offering = make_offering()
    api = manager_of(offering.provider, at)
    component, plan = offering.components.get(), offering.plans.get()
    base = f"/offerings/{offering.pk}"
    for method, path, body, code in (
        ("PATCH", f"{base}/components/{component.pk}", {"billing": "usage"}, "component_kept"),
        ("DELETE", f"{base}/components/{component.pk}", None, "component_kept"),
        ("DELETE", f"{base}/plans/{plan.pk}", None, "plan_kept"),
        ("POST", f"{base}/plans/{plan.pk}/archive", None, "offering_incomplete"),
        ("DELETE", base, None, "offering_kept"),
        ("POST", f"{base}/reopen", None, "offering_step_not_open"),
        ("PATCH", f"/product-categories/{component.category_id}", {"ticks_per_unit": 1}, "category_sealed"),
        ("POST", f"/product-categories/{component.category_id}/archive", None, "category_in_use"),
        ("DELETE", f"/backends/{offering.backend_id}", None, "backend_in_use"),
    ):
        status, problem = api(method, path, body)
        assert (status, problem["code"]) == (409, code), path
    assert Offering.objects.get().state == "active"


def test_edit_component__limit_to_null__bound_is_gone(at):
    offering = make_offering()
    component = offering.components.get()
    api = manager_of(offering.provider, at)
    status, row = api(
        "PATCH", f"/offerings/{offering.pk}/components/{component.pk}", {"limit_max": None, "title": None}
    )
    assert (status, row["limit_max"], row["title"]) == (200, None, component.title)


@pytest.mark.parametrize(
    "path", ["/offerings", "/offerings?mine=true", "/product-categories", "/backends", "/providers", "/products"]
)
def test_list__more_rows__same_number_of_queries(path, at, django_assert_num_queries, django_assert_max_num_queries):
    provider = make_provider()
    api = manager_of(provider, at)

    def grow(count):
        for _ in range(count):
            offering = make_offering(provider, category=make_category(provider), shelf=make_shelf())
            make_plan(offering)

    grow(1)
    api("GET", path)
    with django_assert_max_num_queries(40) as first:
        api("GET", path)
    grow(4)
    with django_assert_num_queries(len(first)):
        assert api("GET", path)[0] == 200
