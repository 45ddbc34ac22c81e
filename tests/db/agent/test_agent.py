"""An agent at a provider's site and the server: the first order, cut lines, what exists at the site, hostile words, rivals."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Requests

from bursar.agent.client import Away, Refused
from bursar.agent.store import InUse, Store
from bursar.agent.work import NotInCharge
from bursar.catalogue.models import Agent as AgentRow
from bursar.catalogue.models import Offering
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.plugins.contract import BackendUnreachable, Busy
from bursar.plugins.contract import Refused as PluginRefused
from bursar.provisioning.errors import ImportableUnknown
from bursar.provisioning.models import LocalAccount, Order
from bursar.provisioning.services.imports import TakeOver, importable, take_over
from tests.factories.provisioning import World, make_resource, make_world, run_jobs
from tests.factories.site import Site, make_site, make_token, move_to_site, ready, work_off

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

HOUR = 3600


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: move_to_site(make_world(at=at)), at=at)


@pytest.fixture
def world(made: World, at: datetime) -> Iterator[World]:
    with stated_time(at):
        yield deepcopy(made)


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    site = make_site(world, tmp_path / "agent")
    yield site
    if site.store is not None:
        site.store.close()


def test_order__approved__is_made_with_members_and_quota_and_done(world: World, site: Site) -> None:
    _, resource = ready(world, site)
    held = site.machine.resources[resource.pk]
    assert held["limits"] == {"storage": 10}
    assert held["members"] == sorted(f"u{person.pk}" for person in (world.pi, world.member))
    assert held["quota"] == {"cpu": (100 * HOUR, False)}
    assert resource.quota == [["cpu", 100 * HOUR, False]]
    assert (resource.backend_id, resource.members) == (f"m{resource.pk}", held["members"])
    assert Order.objects.get().state == "done"
    assert set(LocalAccount.objects.values_list("username", flat=True)) == set(held["members"])


def test_loop__of_the_server__leaves_a_backend_at_the_site_alone(world: World, site: Site) -> None:
    resource = make_resource(world)
    run_jobs()
    resource.refresh_from_db()
    assert (resource.state, resource.attempts, site.machine.asked) == ("creating", 0, [])


@pytest.mark.parametrize("verb", ["ensure", "set_members", "enforce_quota"])
def test_backend__away_at_one_step__is_asked_again_and_says_so(world: World, site: Site, verb: str) -> None:
    fates = [BackendUnreachable("No route to thor.")]
    site.machine.trouble = lambda asked, _pk: fates.pop() if asked == verb and fates else None
    resource = make_resource(world)
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, resource.message) == ("creating", "No route to thor.")
    assert agent.status()["trouble"][0]["message"] == "No route to thor."
    assert agent.status()["outstanding"] == 1
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, resource.message, agent.status()["outstanding"]) == ("ok", "", 0)


def test_account__backend_away_or_refusing__holds_up_nobody_and_is_made_later(world: World, site: Site) -> None:
    fates: list[Any] = [BackendUnreachable("LDAP is away."), PluginRefused("No number is free.")]
    site.machine.trouble = lambda verb, _pk: fates.pop() if verb == "ensure_account" and fates else None
    agent, resource = ready(world, site)
    refused = LocalAccount.objects.get(message="No number is free.")
    assert (refused.state, LocalAccount.objects.filter(state="active").count()) == ("wanted", 0)
    assert {one["message"] for one in agent.status()["trouble"]} == {"LDAP is away.", "No number is free."}
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    assert site.machine.resources[resource.pk]["members"] == sorted(f"u{p.pk}" for p in (world.pi, world.member))
    assert (agent.status()["trouble"], agent.status()["outstanding"]) == ([], 0)


def test_import__what_is_at_the_site__is_told_and_can_be_taken_over(world: World, site: Site) -> None:
    agent, offering = site.start(), Offering.objects.get(pk=world.offering.pk)
    with pytest.raises(ImportableUnknown, match="has not told yet"):
        importable(offering=offering, by=world.manager, at=world.at)
    site.machine.foreign = {"old-1": {"storage": 5}, "old-2": {"storage": 7}}
    agent.tell_importable()
    offering = Offering.objects.get(pk=world.offering.pk)
    there = importable(offering=offering, by=world.manager, at=world.at)
    assert [(one.backend_id, one.limits) for one in there] == [("old-1", {"storage": 5}), ("old-2", {"storage": 7})]
    (resource,) = take_over(
        offering=offering,
        wishes=[TakeOver("old-1", world.workspace, world.plan_id)],
        by=world.manager,
        at=world.at,
    )
    agent.catch_up()
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, resource.matches, resource.backend_id) == ("ok", True, "old-1")


def test_backend__busy__is_asked_again_after_the_time_it_said(world: World, site: Site) -> None:
    answers = [Busy(30, "Disks are made.")]
    site.machine.trouble = lambda verb, _pk: answers.pop() if verb == "ensure" and answers else None
    resource = make_resource(world)
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, resource.message, len(agent.queue)) == ("creating", "Disks are made.", 1)


@pytest.mark.parametrize("fate", ["lost", "unanswered"])
def test_line__cut_at_each_question_in_turn__ends_as_wished(world: World, site: Site, fate: str) -> None:
    resource = make_resource(world)
    for place in range(40):
        count = 0

        def cut(path: str, place: int = place) -> str:
            nonlocal count
            count += 1
            return fate if count == place + 1 else ""

        site.line.cut = lambda _path: ""
        agent = site.start()
        site.line.cut = cut
        try:
            agent.catch_up()
            work_off(agent)
        except Away:
            pass
        if count <= place:
            break
    resource.refresh_from_db()
    assert (resource.state, Order.objects.get().state) == ("ok", "done")
    assert site.machine.resources[resource.pk]["quota"] == {"cpu": (100 * HOUR, False)}
    assert place >= 6


# ------------------------------------------------------------------------------------------------ hostile words
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"clock": "2026-11-21T12:00:00Z", "status": {"a": 1e400}}', 422),
        ('{"clock": "2026-11-21T12:00:00Z", "status": {"a": NaN}}', 422),
        ('{"clock": "2026-11-21T12:00:00Z", "status": {"a": "\\u0000 \\ud800"}}', 200),
        ('{"clock": "2026-11-21T12:00:00Z", "status": {"a": ' + "[" * 30 + "]" * 30 + "}}", 422),
        ('{"clock": "2026-11-21T12:00:00Z", "health": {"99999999999999999999": {"findings": []}}}', 422),
    ],
)
def test_beat__words_that_no_table_can_keep__are_refused_or_cleaned(site: Site, text: str, status: int) -> None:
    site.start()
    headers = {"Authorization": f"Bearer {site.line.token}", "Bursar-Agent": str(site.line.session)}
    answer = Requests(headers=headers).post("/api/v1/provider/agent/beat", text, content_type="application/json")
    assert answer.status_code == status, answer.content
    if status == 200:
        assert AgentRow.objects.get().status == {"a": " ?"}


# ------------------------------------------------------------------------------------------------ who is in charge
def test_rival__with_the_same_token__is_refused_on_both_sides_and_takes_over_later(
    world: World, site: Site, tmp_path: Path
) -> None:
    agent = site.start()
    other = Site(tmp_path / "other", site.machine, type(site.line)(site.line.token), world.backend.name)
    with pytest.raises(Refused) as refusal:
        other.start()
    assert (refusal.value.status, refusal.value.code) == (409, "agent_in_charge")
    assert "login1.example" in refusal.value.detail
    agent.beat()
    assert site.said[-1].startswith("Another agent, on login1.example (127.0.0.1), was refused at 2026-11-21T12:00:00")
    assert Event.objects.filter(kind="agent.refused").count() == 1
    with stated_time(world.at + timedelta(seconds=61)):
        other.start()
        with pytest.raises(NotInCharge):
            agent.beat()
    assert other.store is not None
    other.store.close()


def test_rival__in_the_same_folder__is_refused_by_the_folder(site: Site) -> None:
    site.start()
    with pytest.raises(InUse):
        Store(site.folder)


def test_leave__in_good_order__lets_another_in_at_once(world: World, site: Site, tmp_path: Path) -> None:
    site.start().leave()
    other = Site(tmp_path / "other", site.machine, type(site.line)(site.line.token), world.backend.name)
    other.start()
    assert other.store is not None
    other.store.close()


def test_token__without_the_scope_or_of_a_member__is_refused(world: World, site: Site) -> None:
    for person, scopes in ((world.manager, ["read"]), (world.pi, ["provider", "usage"])):
        site.line.token = make_token(world, person, scopes)
        with pytest.raises(Refused) as refusal:
            site.start()
        assert refusal.value.status in {403, 404}
