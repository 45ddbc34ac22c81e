"""Accounts over REST: a person's own, a provider's, the page of the provider in between, and strangers."""

import json
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from joserfc import jwt
from joserfc.jwk import KeySet

from bursar.kernel.clock import stated_time
from bursar.provisioning.models import LocalAccount
from bursar.structure import services as structure
from bursar.structure.models import Person
from bursar.structure.roles import Role, TokenScope
from tests.factories.catalogue import make_provider
from tests.factories.provisioning import World, make_world
from tests.factories.structure import make_membership, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def clock(at: datetime) -> Any:
    with stated_time(at):
        yield


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_world(at=at), at=at)  # type: ignore[no-any-return]


@pytest.fixture
def world(made: World) -> World:
    return deepcopy(made)


def call(who: Person | str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """who   a person with a session, or a token"""
    client, headers = Client(), {}
    if isinstance(who, str):
        headers = {"Authorization": f"Bearer {who}"}
    else:
        client.force_login(who)
    sent = "" if body is None else json.dumps(body)
    response = client.generic(method, f"/api/v1{path}", sent, content_type="application/json", headers=headers)
    return response.status_code, json.loads(response.content) if response.content else None


def token_of(person: Person, *scopes: str, at: datetime) -> str:
    return structure.create_token(person=person, name="t", scopes=list(scopes), days=9, by=person, at=at).token


def test_account__over_rest__asked_for_answered_blocked_and_given_up(world: World, at: datetime) -> None:
    mine, theirs = f"/me/accounts/{world.backend.pk}", f"/provider/accounts/{world.backend.pk}/{world.member.pk}"
    (row,) = call(world.member, "GET", "/me/accounts")[1]["items"]
    assert (row["state"], row["arrival"], row["may_connect"], row["may_disconnect"]) == (
        "none",
        "automatic",
        True,
        False,
    )
    status, said = call(world.member, "POST", f"{mine}/connect")
    assert (status, said["state"], said["go_to"], said["username"]) == (200, "wanted", "", "")

    program = token_of(world.manager, "provider", at=at)
    (wanted,) = call(program, "GET", "/provider/accounts?state=wanted")[1]["items"]
    assert wanted == {
        "backend_id": world.backend.pk,
        "person_id": world.member.pk,
        "full_name": world.member.full_name,
        "email": world.member.email,
        "state": "wanted",
        "since": "2026-11-21T12:00:00Z",
        "username": "",
        "uid": None,
        "reason": "",
        "message": "",
    }
    status, said = call(program, "PUT", theirs, {"username": "ada", "uid": 4711})
    assert (status, said["state"], said["username"], said["uid"]) == (200, "active", "ada", 4711)
    assert call(program, "GET", "/provider/accounts?state=wanted")[1]["items"] == []

    status, problem = call(program, "POST", f"{theirs}/block", {"reason": " "})
    assert (status, problem["code"]) == (422, "reason_needed")
    status, said = call(program, "POST", f"{theirs}/block", {"reason": "Mining."})
    assert (status, said["state"], said["reason"]) == (200, "blocked", "Mining.")
    (row,) = call(world.member, "GET", "/me/accounts")[1]["items"]
    assert (row["state"], row["reason"], row["may_connect"], row["may_disconnect"]) == (
        "blocked",
        "Mining.",
        False,
        False,
    )
    status, problem = call(world.member, "POST", f"{mine}/disconnect")
    assert (status, problem["code"]) == (409, "account_blocked")
    assert call(program, "POST", f"{theirs}/unblock")[1]["state"] == "active"

    status, said = call(world.member, "POST", f"{mine}/disconnect")
    assert (status, said["state"], said["username"], said["uid"]) == (200, "ended", "ada", 4711)
    status, problem = call(program, "PUT", theirs, {})
    assert (status, problem["code"]) == (409, "account_given_up")
    assert call(world.member, "POST", f"{mine}/connect")[1]["username"] == "ada"
    assert call(program, "DELETE", f"{theirs}?reason=Left.")[0] == 204
    assert call(world.member, "GET", "/me/accounts")[1]["items"][0]["reason"] == "Left."


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"username": "ada", "uid": 0}, 422, "uid_invalid"),
        ({"username": "ada", "uid": 2**31}, 422, "uid_invalid"),
        ({"username": "ada", "uid": 2**70}, 422, "invalid_request"),
        ({"username": "ada", "uid": "x"}, 422, "invalid_request"),
        ({"username": "Ada"}, 422, "username_invalid"),
        ({"username": "a\u0000b"}, 422, "username_invalid"),
        ({}, 422, "username_needed"),
        ({"username": "grace"}, 409, "username_taken"),
        ({"username": "ada", "uid": 5}, 409, "uid_taken"),
        ({"username": "ada", "shell": "/bin/sh"}, 422, "invalid_request"),
    ],
)
def test_answer__bad_input__has_its_own_code_and_changes_nothing(
    world: World, body: dict[str, Any], status: int, code: str
) -> None:
    for person in (world.member, world.pi):
        call(person, "POST", f"/me/accounts/{world.backend.pk}/connect")
    theirs = f"/provider/accounts/{world.backend.pk}"
    assert call(world.manager, "PUT", f"{theirs}/{world.pi.pk}", {"username": "grace", "uid": 5})[0] == 200
    answer, problem = call(world.manager, "PUT", f"{theirs}/{world.member.pk}", body)
    assert (answer, problem["code"]) == (status, code)
    account = LocalAccount.objects.get(person=world.member)
    assert (account.state, account.username, account.uid) == ("wanted", "", None)


def test_provider_side__asked_by_another_provider__is_not_there(world: World, at: datetime) -> None:
    call(world.member, "POST", f"/me/accounts/{world.backend.pk}/connect")
    other, thief = make_provider(at=at), make_person()
    make_membership(person=thief, role=Role.PROVIDER_MANAGER, scope=other.organization, at=at - timedelta(days=1))
    token = token_of(thief, "provider", at=at)
    theirs = f"/provider/accounts/{world.backend.pk}/{world.member.pk}"
    asked = [
        ("PUT", theirs, {"username": "ada"}),
        ("DELETE", theirs, None),
        ("POST", f"{theirs}/block", {"reason": "x"}),
        ("POST", f"{theirs}/unblock", None),
        ("GET", f"/backends/{world.backend.pk}/account-policy", None),
        ("PATCH", f"/backends/{world.backend.pk}/account-policy", {"naming": "anonymous"}),
    ]
    assert [call(token, *one)[0] for one in asked] == [404] * 6
    assert call(token, "GET", "/provider/accounts")[1]["items"] == []
    reading = token_of(world.manager, "read", at=at)
    assert [call(reading, *one)[0] for one in asked] == [403, 403, 403, 403, 200, 403]
    assert LocalAccount.objects.get().state == "wanted"


def test_own_side__with_a_token__needs_the_scope_of_the_profile(world: World, at: datetime) -> None:
    reading, writing = (token_of(world.member, scope, at=at) for scope in (TokenScope.READ, TokenScope.PROFILE))
    path = f"/me/accounts/{world.backend.pk}/connect"
    status, problem = call(reading, "POST", path)
    assert (status, problem["code"]) == (403, "not_with_token")
    assert not LocalAccount.objects.exists()
    assert call(writing, "POST", path)[0] == 200
    assert call(world.owner, "POST", "/me/accounts/999999/connect")[0] == 404
    assert call(world.owner, "POST", f"/me/accounts/{2**70}/connect")[0] == 404


def test_redirect__to_the_provider_and_back__is_a_whole_story(world: World, at: datetime) -> None:
    policy = f"/backends/{world.backend.pk}/account-policy"
    status, problem = call(
        world.manager, "PATCH", policy, {"arrival": "redirect", "connect_url": "http://example.org/"}
    )
    assert (status, problem["code"]) == (422, "address_invalid")
    wanted = {"arrival": "redirect", "connect_url": "https://accounts.example.org/in?from=bursar"}
    assert call(world.manager, "PATCH", policy, wanted)[1] | wanted == call(world.manager, "GET", policy)[1]

    (row,) = call(world.member, "GET", "/me/accounts")[1]["items"]
    assert row["address"] == wanted["connect_url"]  # told before anybody is sent
    said = call(world.member, "POST", f"/me/accounts/{world.backend.pk}/connect")[1]
    address = urlsplit(said["go_to"])
    query = parse_qs(address.query)
    assert (address.scheme, address.netloc, address.path, query["from"]) == (
        "https",
        "accounts.example.org",
        "/in",
        ["bursar"],
    )

    # The provider's page: it reads the token with the published keys, and answers with its own token.
    keys = KeySet.import_key_set(Client().get("/.well-known/jwks.json").json())
    claims = jwt.decode(query["token"][0], keys, algorithms=["ES256"]).claims
    jwt.JWTClaimsRegistry(
        now=lambda: int(at.timestamp()),
        aud={"essential": True, "value": world.provider.organization.slug},
        exp={"essential": True},
    ).validate(claims)
    program = token_of(world.manager, "provider", at=at)
    theirs = f"/provider/accounts/{claims['backend']}/{claims['sub']}"
    assert call(program, "PUT", theirs, {"username": "ada", "uid": 12})[0] == 200
    (row,) = call(world.member, "GET", "/me/accounts")[1]["items"]
    assert (row["state"], row["username"], row["uid"], row["may_connect"]) == ("active", "ada", 12, False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"arrival": "sometimes"}, "invalid_request"),
        ({"uid_first": 2**70}, "invalid_request"),
        ({"uid_first": -5}, "account_policy_invalid"),
        ({"uid_last": 1000}, "account_policy_invalid"),
        ({"naming": "claim"}, "account_policy_invalid"),
        ({"arrival": "redirect"}, "address_invalid"),
        ({"connect_url": "https://[::1"}, "address_invalid"),
        ({"colour": "red"}, "invalid_request"),
    ],
)
def test_policy__bad_input__has_its_own_code_and_changes_nothing(world: World, body: dict[str, Any], code: str) -> None:
    path = f"/backends/{world.backend.pk}/account-policy"
    before = call(world.manager, "GET", path)[1]
    status, problem = call(world.manager, "PATCH", path, body)
    assert (status, problem["code"]) == (422, code)
    assert call(world.manager, "GET", path)[1] == before


def test_lists__as_people_grow__ask_the_same_number_of_queries(world: World, at: datetime) -> None:
    def count() -> list[int]:
        found = []
        for person, path in ((world.manager, "/provider/accounts"), (world.member, "/me/accounts")):
            with CaptureQueriesContext(connection) as captured:
                assert call(person, "GET", path)[0] == 200
            found.append(len([q for q in captured if "django_session" not in q["sql"]]))
        return found

    call(world.member, "POST", f"/me/accounts/{world.backend.pk}/connect")
    before = count()
    for _ in range(5):
        person = make_person()
        make_membership(person=person, role=Role.PROJECT_MEMBER, scope=world.project, at=at - timedelta(days=1))
        call(person, "POST", f"/me/accounts/{world.backend.pk}/connect")
    assert count() == before
