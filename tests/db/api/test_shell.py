"""Who asks, and how trouble is told."""

import json
from typing import Any

import psycopg
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from ninja import NinjaAPI, Schema

from bursar.api.auth import WRONG_TOKENS_MAX
from bursar.kernel import clock
from bursar.structure.roles import TokenScope
from bursar.structure.services.tokens import create_token
from tests.factories.structure import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_attempts_yet() -> None:
    cache.clear()


def bearer(token: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


def a_token(**more: Any) -> str:
    person = more.pop("person", None) or make_person()
    at = clock.now()
    return create_token(person=person, name="t", scopes=[TokenScope.READ], days=1, by=person, at=at, **more).token


def test_request__without_a_login__is_a_problem_that_says_how(client: Client) -> None:
    response = client.get("/api/v1/wallets")

    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
    assert response.json()["code"] == "not_authenticated"
    assert response["WWW-Authenticate"] == 'Bearer realm="bursar"'
    assert response.json()["request_id"] == response["X-Request-ID"]


def test_request__with_a_token__is_answered(client: Client) -> None:
    assert client.get("/api/v1/wallets", **bearer(a_token())).json()["items"] == []


def test_request__with_a_wrong_token__is_401(client: Client) -> None:
    assert client.get("/api/v1/wallets", **bearer("bur_nonsense")).status_code == 401


def test_request__after_too_many_wrong_tokens__is_429_also_with_a_right_one(client: Client) -> None:
    token = a_token()
    for _ in range(WRONG_TOKENS_MAX):
        client.get("/api/v1/wallets", **bearer("bur_nonsense"))

    response = client.get("/api/v1/wallets", **bearer(token))

    assert (response.status_code, response.json()["code"]) == (429, "too_many_attempts")
    assert response["Retry-After"] == "600"
    elsewhere = client.get("/api/v1/wallets", **bearer(token), REMOTE_ADDR="192.0.2.7")
    assert elsewhere.status_code == 200


def test_request__by_session_without_csrf_token__writes_nothing() -> None:
    person = make_person()
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)

    assert client.get("/api/v1/wallets").status_code == 200
    refused = client.post("/api/v1/allocations", data="{}", content_type="application/json")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")


def test_request__unknown_address__is_a_problem(client: Client) -> None:
    response = client.get("/api/v1/no/such/thing", **bearer(a_token()))
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_request__wrong_method__names_the_right_ones(client: Client) -> None:
    response = client.delete("/api/v1/wallets", **bearer(a_token()))

    assert (response.status_code, response.json()["code"], response["Allow"]) == (405, "method_not_allowed", "GET")


def test_request__fields_of_the_wrong_type__each_is_located(client: Client) -> None:
    response = client.post(
        "/api/v1/allocations",
        data=json.dumps({"category_id": "x", "quota_ticks": 1.5, "end": "2027-01-01T00:00:00Z", "more": 1}),
        content_type="application/json",
        **bearer(a_token()),
    )

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert {error["location"] for error in response.json()["errors"]} == {
        "body.category_id",
        "body.quota_ticks",
        "body.more",
    }


def test_request__body_that_is_no_json__is_400(client: Client) -> None:
    response = client.post("/api/v1/allocations", data="{", content_type="application/json", **bearer(a_token()))
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def test_request__a_fault_of_ours__is_told_without_its_words(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("bursar.api.accounting.visibility.wallets_seen", broken)

    response = client.get("/api/v1/wallets", **bearer(a_token()))

    assert (response.status_code, response.json()["code"]) == (500, "unexpected")
    assert "hunter2" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "address, kind", [("/api/v1/wallets", "application/problem+json"), ("/allocations/", "text/html")]
)
def test_request__the_database_goes_away__is_told_to_come_again(address: str, kind: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_person())
    assert client.get(address).status_code == 200
    ours = connection.cursor().execute("SELECT pg_backend_pid()").fetchone()[0]
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [ours])

    away = client.get(address)
    connection.close_if_unusable_or_obsolete()  # as the server does after each request
    afterwards = client.get(address)

    assert (away.status_code, away["Content-Type"].partition(";")[0]) == (503, kind)
    assert "The database cannot be reached." in away.content.decode()
    assert afterwards.status_code == 200


def test_request_id__given_by_a_proxy__is_kept(client: Client) -> None:
    assert client.get("/api/v1/wallets", headers={"X-Request-ID": "abcdef-123"})["X-Request-ID"] == "abcdef-123"
    assert client.get("/api/v1/wallets", headers={"X-Request-ID": "<b>"})["X-Request-ID"] != "<b>"


def test_openapi__of_the_whole__every_operation_has_a_name_of_its_own() -> None:
    from bursar.api.api import api

    assert isinstance(api, NinjaAPI)
    names = [told["operationId"] for each in api.get_openapi_schema()["paths"].values() for told in each.values()]
    assert len(names) == len(set(names))


def test_openapi__what_is_refused__is_a_problem_in_its_own_kind_of_content() -> None:
    from bursar.api.api import api

    described = api.get_openapi_schema()
    # Numbers until it was written out as JSON once, text from then on.
    answers = {int(key): told for key, told in described["paths"]["/api/v1/allocations"]["post"]["responses"].items()}
    assert {status: list(told["content"]) for status, told in answers.items()} == {
        201: ["application/json"],
        **{refused: ["application/problem+json"] for refused in (401, 403, 404, 409, 422)},
    }
    assert answers[409]["content"]["application/problem+json"] == {"schema": {"$ref": "#/components/schemas/Problem"}}
    schemas = described["components"]["schemas"]
    assert schemas["Problem"]["properties"]["errors"]["items"] == {"$ref": "#/components/schemas/FieldProblem"}
    assert sorted(schemas["FieldProblem"]["properties"]) == ["code", "location", "message"]


def test_docs__anybody__describe_every_operation(client: Client) -> None:
    from bursar.api.api import api

    page = client.get("/api/v1/docs")

    assert page.status_code == 200
    for path in api.get_openapi_schema()["paths"]:
        assert path in page.content.decode()


def test_openapi__schemas__have_a_name_of_their_own() -> None:
    """Of two with one name the description holds the last, also where the other is meant."""
    modules: dict[str, set[str]] = {}
    left = [Schema]
    while left:
        for schema in left.pop().__subclasses__():
            left.append(schema)
            if schema.__module__.startswith("bursar."):
                modules.setdefault(schema.__name__, set()).add(schema.__module__)
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
    assert len(modules) > 100
