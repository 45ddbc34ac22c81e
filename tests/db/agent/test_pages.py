"""The provider's pages about what runs at its site, and about what could not be posted: with a real agent, without a browser."""

import re
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from bursar.catalogue import services as catalogue
from bursar.catalogue.models import Agent, Backend
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.plugins.contract import BackendUnreachable, UsageRecord
from bursar.provisioning.models import Resource, SetAside
from bursar.provisioning.services import set_aside
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.catalogue import make_provider
from tests.factories.provisioning import World, make_resource, make_world, run_jobs
from tests.factories.site import Site, make_site, move_to_site, work_off
from tests.factories.structure import make_membership, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

HOUR = 3600


@pytest.fixture(autouse=True)
def clock(at: datetime) -> Any:
    with stated_time(at):
        yield


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: move_to_site(make_world(at=at)), at=at)


@pytest.fixture
def world(made: World) -> World:
    return deepcopy(made)


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    site = make_site(world, tmp_path / "agent")
    yield site
    if site.store is not None:
        site.store.close()


def logged_in(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def text_of(response: Any) -> str:
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())
    return re.sub(r" ([.,:)])", r"\1", text)


def said_after(client: Client, url: str, sent: dict[str, Any]) -> str:
    answer = client.post(url, sent)
    assert answer.status_code == 302
    return text_of(client.get(answer["Location"]))


def page_of(backend: Backend) -> str:
    return reverse("provider_backend", args=[backend.pk])


def records_of(backend: Backend) -> str:
    return reverse("backend_set_aside", args=[backend.pk])


def put_aside(world: World, count: int, resource: Resource | None = None, **changes: Any) -> list[SetAside]:
    """Records of a component that the offering does not have."""
    resource_id = resource.pk if resource else 7
    times = {"period_start": world.at - timedelta(hours=2), "period_end": world.at - timedelta(hours=1)}
    fields = {"component": "gpu", "resource_id": resource_id, "amount": HOUR, **times, **changes}
    records = [UsageRecord(id=f"job-{n}", **fields) for n in range(1, count + 1)]
    trouble = [(record, "unknown_component", "There is no component “gpu”.") for record in records]
    set_aside.keep(backend=world.backend, trouble=trouble, at=world.at)
    return list(SetAside.objects.order_by("pk"))


# ------------------------------------------------------------------------------------------------ connecting
def test_connect__at_the_site_with_an_installed_plugin__needs_only_a_name(world: World) -> None:
    client = logged_in(world.manager)
    url = reverse("provider_backend_create")
    choice = client.get(url)
    assert f'href="?provider={world.provider.organization.slug}&amp;runs=site"' in choice.content.decode()
    site_url = f"{url}?provider={world.provider.organization.slug}&runs=site"
    assert 'runs=site&amp;plugin=slurm"' in client.get(site_url).content.decode()
    form = client.get(f"{site_url}&plugin=slurm").content.decode()
    assert (form.count('name="name"'), form.count('name="plugin"'), form.count('name="ssh_host"')) == (1, 0, 0)
    answer = client.post(f"{site_url}&plugin=slurm", {"name": "Thor"})
    backend = Backend.objects.get(name="Thor")
    assert answer["Location"] == page_of(backend)
    assert (backend.runs_at, backend.plugin, backend.settings, backend.health) == ("site", "slurm", {}, "unknown")


def test_connect__at_the_site_with_a_plugin_of_its_own__is_told_its_key(world: World) -> None:
    client = logged_in(world.manager)
    url = f"{reverse('provider_backend_create')}?provider={world.provider.organization.slug}&runs=site&another=1"
    refused = client.post(url, {"name": "Own", "plugin": "No key!"})
    assert refused.status_code == 422
    assert "A plugin's key: small letters, digits" in text_of(refused)
    assert client.post(url, {"name": "", "plugin": "own"}).status_code == 422
    taken = client.post(url, {"name": world.backend.name, "plugin": "own"})
    assert (taken.status_code, Backend.objects.count()) == (422, 1)
    assert client.post(url, {"name": "Own", "plugin": "own"}).status_code == 302
    backend = Backend.objects.get(name="Own")
    assert (backend.plugin, backend.runs_at) == ("own", "site")
    assert client.get(page_of(backend)).status_code == 200  # though nothing of that name is installed here


def test_connect__at_the_site_with_a_plugin_that_is_not_there__is_not_found(world: World) -> None:
    url = f"{reverse('provider_backend_create')}?provider={world.provider.organization.slug}&runs=site&plugin=zebra"
    assert logged_in(world.manager).get(url).status_code == 404


def test_rename__at_the_site__asks_for_nothing_else(world: World) -> None:
    client = logged_in(world.manager)
    url = reverse("provider_backend_edit", args=[world.backend.pk])
    form = client.get(url).content.decode()
    assert (form.count('name="name"'), form.count('name="contact"')) == (1, 0)
    assert client.post(url, {"name": ""}).status_code == 422
    assert client.post(url, {"name": "Thor II"}).status_code == 302
    world.backend.refresh_from_db()
    assert (world.backend.name, world.backend.settings, world.backend.runs_at) == ("Thor II", {}, "site")


# ------------------------------------------------------------------------------------------------ its page
def test_page__no_agent_yet__says_what_to_do_with_a_file_that_is_right(world: World) -> None:
    page = logged_in(world.manager).get(page_of(world.backend))
    shown = text_of(page)
    assert "No agent yet" in shown
    assert "What to do next" in shown
    assert "Its agent says so when it comes forward." in shown
    written = re.search(r'<pre [^>]*id="agent-file"[^>]*>(.*?)</pre>', page.content.decode(), re.DOTALL)
    assert written is not None
    file = tomllib.loads(unescape(written[1]))
    assert file["server"] == {"url": settings.BASE_URL, "token_file": "/etc/bursar-agent/token"}
    assert [(one["name"], one["plugin"]) for one in file["backend"]] == [(world.backend.name, "manual")]
    for command in ("check", "run --once", "run"):
        assert f"/opt/bursar-agent/bin/bursar agent {command}" in shown
    token = re.search(r'href="([^"]*tokens[^"]*scope=[^"]*)"', page.content.decode())
    assert token is not None
    form = logged_in(world.manager).get(unescape(token[1])).content.decode()
    checked = {value for value in ("read", "provider", "usage") if re.search(f'value="{value}"[^>]*checked', form)}
    assert checked == {"provider", "usage"}
    assert f'<option value="{world.provider.organization_id}" selected>' in form


def test_page__agent_at_work__shows_how_it_is(world: World, site: Site) -> None:
    resource = make_resource(world)
    site.machine.trouble = lambda verb, pk: BackendUnreachable("no disk") if verb == "ensure" else None
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    agent.beat()
    shown = text_of(logged_in(world.manager).get(page_of(world.backend)))
    row = Agent.objects.get()
    status = row.status
    assert "Agent at work" in shown
    assert f"Runs on login1.example {row.address}" in shown
    assert "Last heard of just now" in shown
    assert f"read to {status['read_number']}, done to {status['done_number']}" in shown
    assert f"{status['outstanding']} outstanding" in shown
    assert "What does not go through" in shown
    assert f"{resource.name} since" in shown
    assert "no disk" in shown
    assert "How to set up an agent" in shown
    assert "Its clock" not in shown
    assert "makes and removes resources" in shown


@pytest.mark.parametrize(
    "change, badge, said",
    [
        ({}, "heard", "Last heard of just now"),
        ({"seen_at": timedelta(minutes=-2)}, "heard", "Last heard of 2 minutes ago"),
        ({"seen_at": timedelta(minutes=-3)}, "silent", "Last heard of 3 minutes ago"),
        ({"stopped_at": timedelta()}, "stopped", "Last heard of just now, then stopped"),
    ],
)
def test_page__agent__says_whether_it_is_heard_of(
    world: World, site: Site, change: dict[str, timedelta], badge: str, said: str
) -> None:
    site.start()
    Agent.objects.update(**{name: world.at + by for name, by in change.items()})
    client = logged_in(world.manager)
    page = client.get(page_of(world.backend))
    assert f'data-state="{badge}"' in page.content.decode()
    assert said in text_of(page)
    assert ("text-danger fw-bold" in page.content.decode()) == (badge != "heard")
    assert f'data-state="{badge}"' in client.get(reverse("provider_backends")).content.decode()
    overview = text_of(client.get(reverse("provider", args=[world.provider.organization.slug])))
    assert ("1 backend is not looked after" in overview) == (badge != "heard")


def test_page__agent_that_names_it_no_longer__is_missed(world: World, site: Site) -> None:
    site.start()
    Backend.objects.filter(pk=world.backend.pk).update(agent=None)
    client = logged_in(world.manager)
    page = client.get(page_of(world.backend))
    assert "Its agent names it no longer" in text_of(page)
    assert "What to do next" in text_of(page)
    overview = text_of(client.get(reverse("provider", args=[world.provider.organization.slug])))
    assert f"{world.backend.name}: its agent names it no longer" in overview
    catalogue.set_backend_enabled(backend=world.backend, enabled=False, by=None, at=world.at)
    overview = text_of(client.get(reverse("provider", args=[world.provider.organization.slug])))
    assert "not looked after" not in overview


def test_page__rival_and_clock__are_told(world: World, site: Site) -> None:
    site.start()
    rival = {"at": world.at.isoformat(), "host": "login2.example", "address": "192.0.2.9", "instance": "x"}
    Agent.objects.update(rival=rival, clock_ahead_ms=-61_000)
    shown = text_of(logged_in(world.manager).get(page_of(world.backend)))
    assert "Another agent wanted to look after this and was refused." in shown
    assert "It runs on login2.example (192.0.2.9), just now." in shown
    assert "Its clock 61 s behind" in shown


HOSTILE = {
    "read_number": "<b>1", "done_number": None, "outstanding": 10**30, "spool": [], "measured_at": {"<script>": 7},
    "trouble": [
        None,
        {"subject": "resource 99999999", "message": "<script>alert(1)</script>", "since": "never", "attempts": -1},
        {"subject": 7, "message": {"a": 1}},
    ],
    "mended": [{"resource": "99999999", "what": "x" * 5000}],
    "outputs": [{"verb": "ensure", "command": "/opt/x", "exit_code": 3, "text": "\x1b[31m<img src=x>\x1b[0m", "at": 5}],
}  # fmt: skip


@pytest.mark.parametrize("status", [HOSTILE, [], "x", 7, None, {"outputs": {}}], ids=lambda one: type(one).__name__)
def test_page__whatever_the_agent_says__stands_and_nothing_can_act(world: World, site: Site, status: Any) -> None:
    site.start()
    Agent.objects.update(status=[status][0] if status is not None else {}, rival=[] if status is None else {})
    page = logged_in(world.manager).get(page_of(world.backend))
    html = page.content.decode()
    assert page.status_code == 200
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    if status is HOSTILE:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        assert "&lt;img src=x&gt;</pre>" in html
        assert "code 3" in text_of(page)
        assert 'href="/resources/99999999/"' not in html


def test_page__resource_of_another_provider__is_not_named(world: World, site: Site) -> None:
    other = make_world(at=world.at)
    theirs = make_resource(other, name="Secret thing")
    site.start()
    Agent.objects.update(status={"trouble": [{"subject": f"resource {theirs.pk}", "message": "no"}]})
    shown = text_of(logged_in(world.manager).get(page_of(world.backend)))
    assert f"resource {theirs.pk}" in shown
    assert "Secret thing" not in shown


def test_page__whoever_may_only_look__is_shown_no_way_to_set_up(world: World) -> None:
    looks = make_membership(role=Role.OFFERING_MANAGER, scope=world.provider.organization).person
    shown = text_of(logged_in(looks).get(page_of(world.backend)))
    assert "No agent yet" in shown
    assert "What to do next" not in shown


def test_test__at_the_site__says_what_its_agent_last_found(world: World, site: Site) -> None:
    client = logged_in(world.manager)
    url = reverse("provider_backend_test", args=[world.backend.pk])
    assert "It does not work" in said_after(client, url, {})
    agent = site.start()
    agent.look_at_health()
    agent.beat()
    assert "Its agent last found that it works." in said_after(client, url, {})
    Agent.objects.update(seen_at=world.at - timedelta(minutes=3))
    shown = said_after(client, url, {})
    assert "The agent on login1.example was last heard of at" in shown


# ------------------------------------------------------------------------------------------------ set aside
def test_set_aside__agent_told_what_cannot_be__is_sent_again_after_repair(world: World, site: Site) -> None:
    resource = make_resource(world)
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    times = {"period_start": world.at - timedelta(hours=2), "period_end": world.at - timedelta(hours=1)}
    site.machine.records.append(UsageRecord("job-1", resource.pk, component="gpu", amount=HOUR, **times))
    agent.measure_all()
    agent.tell_all()
    client = logged_in(world.manager)
    assert "1 record of usage could not be posted." in text_of(client.get(page_of(world.backend)))
    shown = text_of(client.get(records_of(world.backend)))
    assert f"job-1 gpu {resource.name}" in shown
    url = reverse("backend_send_again", args=[world.backend.pk])
    assert "1 record still cannot be posted." in said_after(client, url, {"all": "1"})
    component = world.offering.components.get(key="cpu")
    component.pk, component.key = None, "gpu"
    component.save()
    shown = said_after(client, url, {"record": SetAside.objects.get().pk})
    assert "1 record stands now." in shown
    assert "Nothing is set aside" in shown
    assert "could not be posted" not in text_of(client.get(page_of(world.backend)))


def test_set_aside__chosen_and_given_up__with_a_reason_that_stands_in_the_log(world: World) -> None:
    rows = put_aside(world, 3)
    client = logged_in(world.manager)
    url = reverse("backend_give_up", args=[world.backend.pk])
    assert "Choose the records first." in said_after(client, url, {"reason": "Tests."})
    assert "Say why" in said_after(client, url, {"record": [rows[0].pk], "reason": "  "})
    assert SetAside.objects.count() == 3
    shown = said_after(client, url, {"record": [rows[0].pk, rows[2].pk], "reason": "Tests of ours."})
    assert "2 records were given up." in shown
    assert list(SetAside.objects.values_list("record_id", flat=True)) == ["job-2"]
    told = list(Event.objects.filter(kind="usage.given_up").order_by("pk"))
    assert [(one.facts["record"]["id"], one.facts["reason"]) for one in told] == [
        ("job-1", "Tests of ours."),
        ("job-3", "Tests of ours."),
    ]


@pytest.mark.parametrize("given", ["x", "-1", "9" * 30, "1"])
def test_set_aside__record_that_is_not_there__is_not_found_and_nothing_changes(world: World, given: str) -> None:
    put_aside(world, 1)
    SetAside.objects.update(id=77)
    client = logged_in(world.manager)
    for name in ("backend_send_again", "backend_give_up"):
        sent = {"record": ["77", given], "reason": "No."}
        assert client.post(reverse(name, args=[world.backend.pk]), sent).status_code == 404
    assert list(SetAside.objects.values_list("pk", "tries")) == [(77, 1)]


def test_set_aside__of_another_backend__cannot_be_touched(world: World) -> None:
    rows = put_aside(world, 1)
    other = make_provider()
    theirs = catalogue.create_backend(
        provider=other, name="Other", plugin="own", values={}, runs_at="site", by=None, at=world.at
    )
    manager = make_membership(role=Role.PROVIDER_MANAGER, scope=other.organization).person
    client = logged_in(manager)
    assert client.get(records_of(world.backend)).status_code == 404
    url = reverse("backend_give_up", args=[theirs.pk])
    assert client.post(url, {"record": [rows[0].pk], "reason": "Mine."}).status_code == 404
    assert SetAside.objects.count() == 1


def test_set_aside__filters_and_search__narrow(world: World) -> None:
    put_aside(world, 2)
    put_aside(world, 1, component="tape")
    SetAside.objects.filter(component="tape").update(code="wallet_missing", why="There is no wallet.")
    client = logged_in(world.manager)
    url = records_of(world.backend)
    for query, found in {
        "component=tape": 1,
        "component=gpu": 2,
        "code=wallet_missing": 1,
        "code=unknown_component": 2,
        "q=wallet": 1,
        "q=job-2": 1,
        "component=zebra": 3,
    }.items():
        assert f"{found} in all" in text_of(client.get(f"{url}?{query}")), query
    assert "Nothing matches" in text_of(client.get(f"{url}?q=zebra"))


def test_set_aside__whoever_may_not__sees_the_list_without_buttons(world: World) -> None:
    put_aside(world, 1)
    looks = make_membership(role=Role.OFFERING_MANAGER, scope=world.provider.organization).person
    page = logged_in(looks).get(records_of(world.backend))
    assert "job-1" in text_of(page)
    assert 'type="checkbox"' not in page.content.decode()
    assert "Give up" not in text_of(page)
    for name in ("backend_send_again", "backend_give_up"):
        sent = {"all": "1", "record": [SetAside.objects.get().pk], "reason": "No."}
        assert logged_in(looks).post(reverse(name, args=[world.backend.pk]), sent).status_code == 403
    assert logged_in(make_person()).get(records_of(world.backend)).status_code == 404
    assert SetAside.objects.get().tries == 1


def test_set_aside__of_a_backend_beside_bursar__has_the_same_pages(at: datetime) -> None:
    world = make_world(at=at)
    put_aside(world, 1)
    client = logged_in(world.manager)
    assert "1 record of usage could not be posted." in text_of(client.get(page_of(world.backend)))
    assert "job-1" in text_of(client.get(records_of(world.backend)))


def test_lists__more_rows__same_number_of_queries(
    world: World, site: Site, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    resource = make_resource(world)
    run_jobs()
    site.start()
    client = logged_in(world.manager)

    def status(count: int) -> dict[str, Any]:
        row = {
            "subject": f"resource {resource.pk}",
            "message": "no",
            "resource": str(resource.pk),
            "id": "j",
            "why": "w",
        }
        return {"trouble": [row] * count, "mended": [row] * count, "set_aside": [row] * count, "outputs": [row] * count}

    put_aside(world, 1, resource)
    Agent.objects.update(status=status(1))
    addresses = (page_of(world.backend), records_of(world.backend), reverse("provider_backends"))
    counts = []
    for address in addresses:
        client.get(address)
        with django_assert_max_num_queries(60) as first:
            client.get(address)
        counts.append(len(first))
    put_aside(world, 9, resource)
    Agent.objects.update(status=status(20))
    agent = Agent.objects.get()
    for number in range(4):
        backend = catalogue.create_backend(
            provider=world.provider, name=f"B{number}", plugin="own", values={}, runs_at="site", by=None, at=world.at
        )
        Backend.objects.filter(pk=backend.pk).update(agent=agent)
    for address, count in zip(addresses, counts, strict=True):
        with django_assert_num_queries(count):
            client.get(address)
