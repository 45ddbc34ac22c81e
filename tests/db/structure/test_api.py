"""The REST of structure: one story with a token, and each refusal with its code."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.kernel import clock
from bursar.structure import services
from bursar.structure.models import Membership, Organization, Project
from bursar.structure.roles import Role, TokenScope
from tests.factories.structure import make_membership, make_operator, make_organization, make_person, make_project

pytestmark = pytest.mark.django_db
ALL = [scope.value for scope in TokenScope]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMaXgGsi/eCI5DJbKeN7OqfBkNWOIXE21MijSjbg6H79 laptop"


@pytest.fixture(autouse=True)
def _stands_still(at):
    with clock.stated_time(at):
        yield


class Program:
    """A client with a token."""

    def __init__(self, person, at, scopes=ALL, organization=None) -> None:
        made = services.create_token(
            person=person, name="test", scopes=scopes, days=30, organization=organization, by=None, at=at
        )
        self.client = Client(headers={"Authorization": f"Bearer {made.token}"})

    def __call__(self, method: str, path: str, body: object = None):
        answer = self.client.generic(
            method,
            f"/api/v1{path}",
            data=b"" if body is None else json.dumps(body),
            content_type="application/json",
        )
        return answer.status_code, (answer.json() if answer.content else None)


def test_story__organization_to_member__by_api(at) -> None:
    operator = Program(make_operator(), at)
    owner = make_person("owner@example.org")
    status, made = operator("POST", "/organizations", {"name": "Nord", "country": "fi", "owner_id": owner.pk})
    assert (status, made["slug"], made["country"]) == (201, "nord", "FI")
    api = Program(owner, at)
    status, project = api("POST", "/projects", {"organization_id": made["id"], "name": "Comets"})
    assert status == 201
    assert project["state"] == "active"
    assert project["path"] == [project["id"]]
    status, child = api("POST", "/projects", {"parent_id": project["id"], "name": "Tails"})
    assert (status, child["path"]) == (201, [project["id"], child["id"]])
    member = make_person("m@example.org")
    status, membership = api(
        "POST",
        f"/projects/{project['id']}/members",
        {"person_id": member.pk, "role": "project_member", "until": "2026-12-01T00:00:00Z"},
    )
    assert (status, membership["person"]["email"], membership["until"]) == (
        201,
        "m@example.org",
        "2026-12-01T00:00:00Z",
    )
    status, page = api("GET", f"/projects/{project['id']}/members")
    assert (status, page["total"]) == (200, 2)
    status, changed = api("PATCH", f"/memberships/{membership['id']}", {"role": "project_manager", "until": None})
    assert (status, changed["role"], changed["until"]) == (200, "project_manager", None)
    status, lead = api("POST", f"/projects/{project['id']}/hand-over", {"to_person_id": member.pk})
    assert (status, lead["role"]) == (200, "principal_investigator")
    status, invited = api(
        "POST", f"/projects/{project['id']}/invitations", {"email": "x@example.org", "role": "project_member"}
    )
    assert (status, invited["state"]) == (201, "open")
    assert "token" not in str(invited)
    status, gone = api("DELETE", f"/invitations/{invited['id']}")
    assert (status, gone["state"]) == (200, "revoked")
    with clock.stated_time(at + timedelta(hours=1)):
        status, ended = api("POST", f"/projects/{child['id']}/end", {})
        assert (status, ended["state"]) == (200, "ended")
        status, archived = api("POST", f"/projects/{child['id']}/archive")
    assert (status, archived["state"]) == (200, "archived")
    status, events = api("GET", f"/projects/{project['id']}/events?kind=project.")
    assert [e["kind"] for e in events["items"]] == ["project.handed_over", "project.created"]


def test_me__profile_and_keys(at) -> None:
    person = make_person("me@example.org", full_name="Me")
    api = Program(person, at)
    status, me = api("GET", "/me")
    assert (status, me["email"], me["memberships"]) == (200, "me@example.org", [])
    status, me = api("PATCH", "/me", {"time_zone": "Europe/Oslo"})
    assert (status, me["time_zone"], me["full_name"]) == (200, "Europe/Oslo", "Me")
    status, key = api("POST", "/me/ssh-keys", {"public_key": KEY})
    assert (status, key["name"], key["fingerprint"]) == (
        201,
        "laptop",
        "SHA256:60Y1daA33e6ker0DtB4qufDXA5Z1WeMkz6/Pl8i1Jzg",
    )
    assert api("POST", "/me/ssh-keys", {"public_key": KEY})[1]["code"] == "ssh_key_known"
    assert api("DELETE", f"/me/ssh-keys/{key['id']}") == (204, None)
    assert api("GET", "/me/ssh-keys")[1]["total"] == 0


def test_create_token__with_a_token__is_refused(at) -> None:
    person = make_person()
    status, problem = Program(person, at)("POST", "/me/tokens", {"name": "more", "scopes": ["read"]})
    assert (status, problem["code"]) == (403, "not_with_token")
    assert person.api_tokens.count() == 1


def test_create_token__in_the_browser__is_shown_once(at, client) -> None:
    person = make_person()
    client.force_login(person)
    answer = client.post(
        "/api/v1/me/tokens", {"name": "more", "scopes": ["read"], "days": 3}, content_type="application/json"
    )
    assert answer.status_code == 201
    token = answer.json()["token"]
    assert token.startswith("bur_")
    assert token not in client.get("/api/v1/me/tokens").content.decode()
    assert Client(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/organizations", {"name": "Nord"}, 403, "not_allowed"),
        ("GET", "/organizations/{other}", None, 404, "not_found"),
        ("GET", "/projects/{foreign}", None, 404, "not_found"),
        ("GET", "/projects/99999999999999999999", None, 404, "not_found"),
        ("PATCH", "/organizations/{own}", {"country": "XX"}, 422, "invalid_value"),
        ("PATCH", "/organizations/{own}", {"currency": "EURO"}, 422, "invalid_request"),
        ("PATCH", "/organizations/{own}", {"nonsense": 1}, 422, "invalid_request"),
        ("PATCH", "/organizations/{own}", {"name": "  "}, 422, "text_missing"),
        ("PATCH", "/organizations/{own}", {"name": "a\u202eb"}, 422, "text_not_allowed"),
        ("PATCH", "/organizations/{own}", {"name": "a\u0000b"}, 422, "text_not_allowed"),
        ("PATCH", "/organizations/{own}", {"url": "javascript:alert(1)"}, 422, "invalid_value"),
        ("PATCH", "/organizations/{own}", {"country": "FI", "vat_number": "12"}, 422, "invalid_value"),
        ("POST", "/projects", {"name": "x"}, 422, "invalid_value"),
        ("POST", "/projects", {"organization_id": "{other}", "name": "x"}, 404, "not_found"),
        ("POST", "/projects", {"organization_id": "{own}", "name": "x", "start": "2026-01-01T00:00:00"}, 422,
         "invalid_request"),
        ("POST", "/projects", {"organization_id": "{own}", "name": "x", "end": "2020-01-01T00:00:00Z"}, 422,
         "project_period"),
        ("POST", "/projects/{project}/members", {"person_id": 0, "role": "project_member"}, 404, "not_found"),
        ("POST", "/projects/{project}/members", {"person_id": "{me}", "role": "organization_owner"}, 422,
         "role_not_for_scope"),
        ("POST", "/projects/{project}/members", {"person_id": "{me}", "role": "king"}, 422, "invalid_request"),
        ("POST", "/projects/{project}/invitations", {"email": "nobody", "role": "project_member"}, 422,
         "invalid_email"),
        ("POST", "/projects/{project}/archive", None, 409, "project_still_open"),
        ("DELETE", "/memberships/{membership}", None, 409, "last_owner"),
        ("GET", "/people", None, 403, "not_allowed"),
        ("GET", "/events", None, 403, "not_allowed"),
        ("POST", "/me/ssh-keys", {"public_key": "ssh-ed25519 AAAA"}, 422, "invalid_ssh_key"),
    ],
)  # fmt: skip
def test_refused__has_its_own_code__and_nothing_changes(at, method, path, body, status, code) -> None:
    me = make_person()
    own = make_organization("Own", owner=me)
    project = make_project(organization=own)
    places = {
        "own": own.pk,
        "other": make_organization("Other").pk,
        "project": project.pk,
        "foreign": make_project().pk,
        "membership": own.memberships.get().pk,
        "me": me.pk,
    }

    def filled(value):
        if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            return places[value[1:-1]]
        return value

    def state():
        return [
            list(model.objects.order_by("pk").values()) for model in (Organization, Project, Membership)
        ], me.ssh_keys.count()

    before = state()
    sent = None if body is None else {key: filled(value) for key, value in body.items()}
    got, problem = Program(me, at)(method, path.format(**places), sent)
    assert (got, problem["code"]) == (status, code), problem
    assert state() == before


def test_token__narrowed_to_an_organization__sees_nothing_else(at) -> None:
    me = make_person()
    here, there = make_organization("Here", owner=me), make_organization("There", owner=me)
    make_membership(person=me, role=Role.PLATFORM_OPERATOR, scope=None)
    api = Program(me, at, organization=here)
    assert [row["name"] for row in api("GET", "/organizations")[1]["items"]] == ["Here"]
    assert api("GET", f"/organizations/{there.pk}")[0] == 404
    assert api("POST", "/organizations", {"name": "More"})[1]["code"] == "not_allowed"
    assert api("PATCH", f"/organizations/{here.pk}", {"name": "Here!"})[0] == 200


def test_token__read_only__writes_nothing(at) -> None:
    me = make_person()
    here = make_organization("Here", owner=me)
    api = Program(me, at, scopes=["read"])
    assert api("GET", f"/organizations/{here.pk}")[0] == 200
    status, problem = api("PATCH", f"/organizations/{here.pk}", {"name": "There"})
    assert (status, problem["code"], problem["facts"]["scopes"]) == (403, "token_too_narrow", "structure")
    assert api("PATCH", "/me", {"full_name": "Other"})[1]["code"] == "not_with_token"
    here.refresh_from_db()
    assert here.name == "Here"


@pytest.mark.parametrize("trouble", ["expired", "revoked", "inactive", "unknown", "malformed"])
def test_token__that_is_not_valid__is_401(at, trouble) -> None:
    me = make_person()
    made = services.create_token(person=me, name="x", scopes=["read"], days=1, by=None, at=at - timedelta(days=1))
    token = made.token
    if trouble == "revoked":
        services.revoke_token(token=made.row, by=me, at=at)
    if trouble == "inactive":
        services.deactivate_person(person=me, by=None, at=at)
    if trouble == "unknown":
        token = "bur_" + "x" * 43
    if trouble == "malformed":
        token = "nonsense"
    with clock.stated_time(at if trouble == "expired" else at - timedelta(hours=1)):
        answer = Client(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/me")
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_token__last_use__is_written_once_a_minute(at) -> None:
    me = make_person()
    made = services.create_token(person=me, name="x", scopes=["read"], days=1, by=None, at=at)
    client = Client(headers={"Authorization": f"Bearer {made.token}"})

    def use(seconds: int):
        with clock.stated_time(at + timedelta(seconds=seconds)), CaptureQueriesContext(connection) as captured:
            assert client.get("/api/v1/me").status_code == 200
        made.row.refresh_from_db()
        writes = [query for query in captured.captured_queries if query["sql"].startswith("UPDATE")]
        return made.row.last_used_at, len(writes)

    assert use(1) == (at + timedelta(seconds=1), 1)
    assert use(60) == (at + timedelta(seconds=1), 0)
    assert use(61) == (at + timedelta(seconds=61), 1)


def test_lists__of_many_rows__take_as_many_queries_as_of_few(at, django_assert_num_queries) -> None:
    me = make_person()
    organization = make_organization(owner=me)
    project = make_project(organization=organization, pi=me)
    api = Program(me, at)
    addresses = [
        "/organizations",
        "/projects",
        f"/projects/{project.pk}/members",
        f"/projects/{project.pk}/events",
        f"/projects/{project.pk}/invitations",
        "/me",
    ]

    def count(address: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert api("GET", address)[0] == 200
        return len(captured)

    count("/me")  # the last use of the token is written now, not below
    few = [count(address) for address in addresses]
    for number in range(5):
        make_project(organization=organization, pi=me)
        make_membership(scope=project)
        services.invite(email=f"i{number}@example.org", role=Role.PROJECT_MEMBER, scope=project, by=me, at=at)
    assert [count(address) for address in addresses] == few
