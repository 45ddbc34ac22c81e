"""Who may do what: every address is asked by every role, and the answers are those of the role table.

The addresses come from the URL resolver and from the API's schema; what each needs is declared in `who_may`. An address
that is not declared there fails here, so none can be forgotten.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.db import connection, transaction
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from bursar.api.api import api
from bursar.structure import services as structure
from bursar.structure.models import Project
from bursar.structure.roles import TokenScope
from tests.db.web.everything import ACTORS, AT, SOAK, World, standing_world
from tests.db.web.who_may import LOGIN_PAGES_FOR_STRANGERS, OPERATIONS, PAGES, PUBLIC, Case, Rights

pytestmark = [pytest.mark.django_db, pytest.mark.slow, *([pytest.mark.soak] if SOAK else [])]


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with standing_world(django_db_blocker) as made:
        yield made


# ------------------------------------------------------------------------------------------------ asking
WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|COPY|SELECT procrastinate_defer)", re.IGNORECASE)
# What asking itself writes; whoever reads the feed first numbers what others wrote.
NO_MATTER = re.compile(r'"(django_session|cache|structure_apitoken|api_token|feed_head|feed_entry|untold)"')


# Kept, because each new one reads all middleware and static files.
CLIENTS = {csrf: Client(enforce_csrf_checks=csrf, raise_request_exception=False) for csrf in (False, True)}


@dataclass
class Answer:
    status: int
    location: str
    kind: str
    writes: list[str]
    said: str

    @property
    def to_login(self) -> bool:
        return self.status == 302 and self.location.startswith("/account/login/")


def ask(
    method: str,
    path: str,
    *,
    session: str = "",
    token: str = "",
    body: Any = None,
    as_json: bool = False,
    csrf: bool = False,
    is_short: bool = False,
) -> Answer:
    """Ask, look at what was written, and undo it."""
    client = CLIENTS[csrf]
    client.exc_info = None
    client.cookies = SimpleCookie({"sessionid": session} if session else {})
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if is_short:
        headers["HX-Request"] = "true"  # a refusal comes as a short notice then, not as a page with menus
    writes: list[str] = []

    def watch(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = sql if isinstance(sql, str) else str(sql)
        if WRITES.match(text) and not NO_MATTER.search(text[:80]):
            writes.append(text[:200])
        return execute(sql, params, many, context)

    undone = transaction.atomic() if method != "GET" else nullcontext()  # looking writes nothing, see below
    with undone, connection.execute_wrapper(watch):
        if as_json:
            sent = "" if body is None else json.dumps(body)
            response = client.generic(method, path, sent, content_type="application/json", headers=headers)
        else:
            send = client.get if method == "GET" else client.post
            response = send(path, body or {} if method == "POST" else None, headers=headers)
        if method != "GET":
            transaction.set_rollback(True)
    said = "" if response.status_code < 400 else response.content.decode(errors="replace")[:300]
    if response.status_code >= 500 and getattr(client, "exc_info", None):
        said = repr(client.exc_info[1])
    sent_on = response.headers.get("HX-Redirect", "")
    return Answer(
        302 if sent_on else response.status_code,
        sent_on or response.headers.get("Location", ""),
        response.headers.get("Content-Type", ""),
        writes,
        said,
    )


def path_of(case: Case, w: World) -> str:
    values = {name: w.parameter(object_) for name, object_ in case.objects.items()}
    query = f"?{case.query(w)}" if case.query else ""
    if case.route.startswith("/"):
        return "/api/v1" + case.route.format(**values) + query
    return reverse(case.route, kwargs=values) + query


def asked(case: Case, w: World, **who: Any) -> Answer:
    body = case.body(w) if case.body else None
    return ask(case.method, path_of(case, w), body=body, as_json=case.route.startswith("/"), **who)


def fault_of(case: Case, answer: Answer, rights: Rights) -> str:
    """What is wrong with the answer; "" when it is what the role table says."""
    is_api = case.route.startswith("/")
    if answer.status >= 500:
        return "broke"
    if not rights.is_known and not case.rule(rights):
        if case.see is not PUBLIC and not case.see(rights) and answer.status == 404 and not answer.writes:
            return ""  # not even a login would help
        if is_api:
            good = answer.status == 401 and answer.kind == "application/problem+json"
        else:
            good = answer.to_login
        return "" if good and not answer.writes else "a stranger is not asked to log in"
    if case.method == "GET" and answer.writes:
        return f"looking wrote something: {answer.writes[0]}"
    if case.rule(rights):
        if is_api and '"code": "invalid_request"' in answer.said:
            return "what the walk sends does not fit"
        return "refused to one who may" if answer.status in {403, 404} or answer.to_login else ""
    if answer.writes:
        return f"something was written for one who may not: {answer.writes[0]}"
    if answer.status not in {403, 404}:
        return "not refused to one who may not"
    wanted = 403 if case.see(rights) else 404
    return "" if answer.status == wanted else f"{wanted} was expected"


ALL_PAGES = [case for cases in PAGES.values() for case in cases]
ALL_OPERATIONS = [case for cases in OPERATIONS.values() for case in cases]
OF_A_KIND = 2


def _kind_of(case: Case, rights: Rights) -> str:
    here = replace(rights, places=case.places)
    if not here.is_known:
        return "stranger"
    return "may" if case.rule(here) else "sees" if case.see(here) else "does not see"


def _some(number: int, case: Case) -> set[str]:
    """Of those who are answered alike at an address, the operator and so many in turn."""
    kinds: dict[str, list[str]] = {}
    for key, actor in ACTORS.items():
        kinds.setdefault(_kind_of(case, actor.rights), []).append(key)
    found = {"platform_operator@platform"}
    for keys in kinds.values():
        found.update(keys[(number + place) % len(keys)] for place in range(OF_A_KIND))
    return found


SOME: dict[str, set[str]] = {}  # several cases may bear one label
for _number, _case in enumerate([*ALL_PAGES, *ALL_OPERATIONS]):
    SOME.setdefault(_case.label, set()).update(_some(_number, _case))


def with_variants(declared: Case, rights: Rights) -> list[Case]:
    """The other objects of a kind are asked for by those who have a role near them."""
    is_near = rights.key == "owner_of_personal" or any(place in {"project", "sub"} for _role, place in rights.held)
    return declared.variants() if SOAK or is_near else [declared]


def chosen(declared: Case, rights: Rights) -> list[Case]:
    """The cases that are asked: in full all of them; in CI less of what can hardly differ.

    Of those who are answered alike, the operator and two ask at each address, and others at the next. Of a page with a form,
    whoever may both look and send only looks; the operator does both.
    """
    if not SOAK and rights.key not in SOME[declared.label]:
        return []
    variants = with_variants(declared, rights)
    if SOAK or declared.twin is None or rights.key == "platform_operator@platform":
        return variants
    found = []
    for case in variants:
        here = replace(rights, places=case.places)
        if case.method == "GET" or not (declared.rule(here) and declared.twin(here)):
            found.append(case)
    return found


def walk(
    cases: list[Case],
    w: World,
    rights: Rights,
    *,
    choose: Callable[[Case, Rights], list[Case]] = chosen,
    **who: Any,
) -> list[str]:
    faults = []
    for declared in cases:
        for case in choose(declared, rights):
            here = replace(rights, places=case.places)
            answer = asked(case, w, **who)
            fault = fault_of(case, answer, here)
            if fault:
                faults.append(f"{case.label}: {fault} ({answer.status} {answer.location} {answer.said})")
    return faults


# Pages are drawn for these; for the others it is enough that they would be.
SEEN_WHOLE = {"platform_operator@platform", "organization_owner@university", "project_member@project"}


@pytest.mark.parametrize("key", ACTORS, ids=lambda key: key or "stranger")
def test_walk__every_page__answers_as_the_role_table_says(
    world: World, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_short = not SOAK and key not in SEEN_WHOLE
    if is_short:
        monkeypatch.setattr(TemplateResponse, "rendered_content", "")
    faults = walk(ALL_PAGES, world, ACTORS[key].rights, session=world.sessions.get(key, ""), is_short=is_short)
    assert faults == [], "\n" + "\n".join(faults)


@pytest.mark.parametrize("key", ACTORS, ids=lambda key: key or "stranger")
def test_walk__every_operation__answers_as_the_role_table_says(world: World, key: str) -> None:
    faults = walk(ALL_OPERATIONS, world, ACTORS[key].rights, session=world.sessions.get(key, ""))
    assert faults == [], "\n" + "\n".join(faults)


# ------------------------------------------------------------------------------------------------ the walk itself
def let_everybody(*_args: Any, **_more: Any) -> bool:
    return True


def all_projects(*_args: Any, **_more: Any) -> Any:
    return Project.objects.all()


# A check that is taken out; who asks then, where; and that the walk sees it.
PLANTED: list[tuple[str, Any, str, str, str]] = [
    ("structure.services.organizations.require", let_everybody, "PATCH", "/organizations/{organization_id}",
     "organization_manager@university"),
    ("structure.services.projects.require", let_everybody, "POST", "/projects/{project_id}/end",
     "project_member@project"),
    ("structure.services.memberships.require_to_give", let_everybody, "DELETE", "/memberships/{membership_id}",
     "billing_viewer@university"),
    ("catalogue.services._common.require", let_everybody, "PATCH", "/offerings/{offering_id}",
     "platform_support@platform"),
    ("accounting.visibility.require", let_everybody, "POST", "/allocations/{allocation_id}/revoke",
     "project_manager@project"),
    ("provisioning.services.orders.require", let_everybody, "POST", "/resources/{resource_id}/terminate",
     "billing_viewer@university"),
    ("provisioning.services.resources.require", let_everybody, "PUT", "/resources/{resource_id}/name",
     "offering_manager@centre"),
    ("provisioning.selectors.may", let_everybody, "GET", "/orders/{order_id}", "foreigner"),
    ("structure.selectors.projects_where", all_projects, "GET", "project", "nobody"),
    ("web.views.structure.require", let_everybody, "GET", "organization_edit", "organization_manager@university"),
    ("web.views.provider.require", let_everybody, "GET", "provider_backend_edit", "offering_manager@centre"),
]  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED, ids=[row[0] for row in PLANTED])
def test_walk__a_right_that_is_not_asked_for__is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch, planted: Any
) -> None:
    what, instead, method, route, key = planted
    cases = [case for case in (*ALL_PAGES, *ALL_OPERATIONS) if (case.method, case.route) == (method, route)]
    who = {"session": world.sessions[key], "is_short": True, "choose": with_variants}
    assert walk(cases, world, ACTORS[key].rights, **who) == []
    monkeypatch.setattr(f"bursar.{what}", instead)
    assert walk(cases, world, ACTORS[key].rights, **who) != []


def test_walk__in_its_short_form__has_each_address_asked_by_all_kinds_and_all_roles_at_some() -> None:
    for case in [*ALL_PAGES, *ALL_OPERATIONS]:
        kinds = {_kind_of(case, actor.rights) for actor in ACTORS.values()}
        assert {_kind_of(case, ACTORS[key].rights) for key in SOME[case.label]} == kinds, case.label
    times = Counter(key for keys in SOME.values() for key in keys)
    assert min(times[key] for key in ACTORS) > len(SOME) / 10


# ------------------------------------------------------------------------------------------------ nothing is forgotten
def patterns(found: list[Any], before: str = "", spaces: str = "") -> Iterator[tuple[str, str]]:
    """Each address of the project with its name, in its namespace; "" = it has none."""
    for one in found:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from patterns(one.url_patterns, path, f"{spaces}{one.namespace}:" if one.namespace else spaces)
        else:
            yield path, f"{spaces}{one.name}" if one.name else ""


def all_patterns() -> list[tuple[str, str]]:
    return list(patterns(get_resolver().url_patterns))


def test_declarations__of_pages__are_those_that_exist() -> None:
    found = set()
    for path, name in all_patterns():
        is_operation = path.startswith("api/") and name not in {"api:openapi-json", "api:openapi-view", "api:api-root"}
        if not is_operation and not path.startswith("account/"):
            found.add(name)
    assert found - PAGES.keys() == set(), "say in tests/db/web/who_may.py who may do this"
    assert PAGES.keys() - found == set(), "these are declared, and are not there any more"


def test_declarations__of_operations__are_those_that_exist() -> None:
    paths = api.get_openapi_schema()["paths"]
    found = {(method.upper(), path.removeprefix("/api/v1")) for path, told in paths.items() for method in told}
    assert found - OPERATIONS.keys() == set(), "say in tests/db/web/who_may.py who may do this"
    assert OPERATIONS.keys() - found == set(), "these are declared, and are not there any more"
    # What the schema does not show is not there either.
    routed = {path.removeprefix("api/v1") for path, _name in all_patterns() if path.startswith("api/v1/")}
    shown = {re.sub(r"\{(\w+)\}", r"<\1>", path) for _method, path in found}
    assert {re.sub(r"<\w+:", "<", path) for path in routed} - shown == {"/openapi.json", "/docs", "/"}


def test_declarations__each__let_somebody_and_refuse_somebody() -> None:
    """A declaration that nobody meets would hide that the object is not there."""
    for case in [*ALL_PAGES, *ALL_OPERATIONS]:
        if case.route in {"api:api-root", "demo_login"}:
            continue
        for variant in case.variants():
            rights = [Rights(a.key, frozenset(a.held), None, variant.places) for a in ACTORS.values()]
            assert any(case.rule(one) for one in rights), f"nobody may {variant.label}"
            assert case.rule is PUBLIC or not all(case.rule(one) for one in rights), f"everybody may {variant.label}"


def test_page__declared_without_a_form__writes_nothing_when_one_is_sent(world: World) -> None:
    faults = []
    for name, cases in PAGES.items():
        if any(case.method == "POST" for case in cases):
            continue
        session = world.sessions["platform_operator@platform"]
        body = {"name": "x", "step": "archive", "now": "1"}
        answer = ask("POST", path_of(cases[0], world), session=session, body=body)
        if answer.writes or answer.status >= 500:
            faults.append(f"{name}: {answer}")
    assert faults == [], "\n" + "\n".join(faults)


def test_page__declared_as_a_button__cannot_be_looked_at(world: World) -> None:
    session = world.sessions["platform_operator@platform"]
    for cases in PAGES.values():
        if all(case.method == "POST" for case in cases):
            assert ask("GET", path_of(cases[0], world), session=session).status == 405, cases[0].label


# ------------------------------------------------------------------------------------------------ the login library
def test_login_pages__asked_by_anybody__never_break_and_let_strangers_in_where_declared(world: World) -> None:
    faults = []
    values = {"key": "nothing", "uidb36": "a", "provider_id": "none", "pk": 1}
    for path, name in all_patterns():
        if not path.startswith("account/"):
            continue
        address = re.sub(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>", lambda m: str(values[m[1] or m[2]]), path)
        address = "/" + re.sub(r"[\^$]", "", address)
        for method in ("GET", "POST"):
            stranger = ask(method, address)
            known = ask(method, address, session=world.sessions["nobody"])
            if stranger.status >= 500 or known.status >= 500:
                faults.append(f"{method} {address} broke: {stranger} {known}")
            if name and name not in LOGIN_PAGES_FOR_STRANGERS and not stranger.to_login:
                faults.append(f"{method} {address}: a stranger is let in: {stranger}")
    assert faults == [], "\n" + "\n".join(faults)


# ------------------------------------------------------------------------------------------------ tokens, CSRF
OPERATOR = frozenset(ACTORS["platform_operator@platform"].held)


def of_scope(number: int, case: Case, scope: TokenScope) -> bool:
    """In CI each operation is asked with two of the scopes that let it through and with two of the others, in turn."""
    own = [one for one in TokenScope if case.rule(Rights("platform_operator@platform", OPERATOR, frozenset({one})))]
    alike = own if scope in own else [one for one in TokenScope if one not in own]
    return SOAK or scope in {alike[(number + place) % len(alike)] for place in (0, 1)}


def token_of(w: World, key: str, *scopes: TokenScope) -> str:
    person = w.people[key]
    made = structure.create_token(person=person, name="w", scopes=scopes, days=1, by=person, at=AT)
    return made.token


@pytest.mark.parametrize("scope", TokenScope)
def test_token__of_one_scope__may_what_its_person_may_within_that_scope(world: World, scope: TokenScope) -> None:
    faults = []
    with transaction.atomic():
        for key in ("platform_operator@platform", "owner_of_personal"):
            rights = Rights(key, frozenset(ACTORS[key].held), frozenset({scope}))
            cases = [
                case
                for number, case in enumerate(ALL_OPERATIONS)
                if of_scope(number, case, scope)
                if key != "owner_of_personal" or case.route.startswith(("/me", "/orders"))
            ]
            faults += walk(cases, world, rights, choose=with_variants, token=token_of(world, key, scope))
        transaction.set_rollback(True)
    assert faults == [], "\n" + "\n".join(faults)


def test_token__that_only_reads__writes_nothing_anywhere(world: World) -> None:
    faults = []
    with transaction.atomic():
        token = token_of(world, "platform_operator@platform", TokenScope.READ)
        for case in ALL_OPERATIONS:
            answer = asked(case, world, token=token)
            trying = case.route.endswith("/what-if")  # on a copy: sent, but read only
            if answer.writes or (case.method != "GET" and not trying and answer.status not in {403, 404}):
                faults.append(f"{case.label}: {answer}")
        transaction.set_rollback(True)
    assert faults == [], "\n" + "\n".join(faults)


def test_session__without_csrf_token__writes_nothing_anywhere(world: World) -> None:
    session = world.sessions["platform_operator@platform"]
    faults = []
    for case in [*ALL_PAGES, *ALL_OPERATIONS]:
        if case.method == "GET":
            continue
        answer = asked(case, world, session=session, csrf=True)
        if answer.status != 403 or answer.writes:
            faults.append(f"{case.label}: {answer}")
        if case.route.startswith("/") and answer.kind != "application/problem+json":
            faults.append(f"{case.label}: {answer.kind}")
    assert faults == [], "\n" + "\n".join(faults)
