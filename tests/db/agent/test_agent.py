"""An agent at a provider's site and the server: orders, quota, members, usage, ends; cut lines, wiped disks, rivals."""

import shutil
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Requests

from bursar.accounting.selectors import wallet_state
from bursar.agent.client import Away, Refused
from bursar.agent.store import InUse, Store
from bursar.agent.work import NotInCharge
from bursar.catalogue.models import Agent as AgentRow
from bursar.catalogue.models import Offering
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.plugins import wire
from bursar.plugins.contract import BackendUnreachable, Busy, UsageRecord
from bursar.plugins.contract import Refused as PluginRefused
from bursar.provisioning import services
from bursar.provisioning.errors import ImportableUnknown
from bursar.provisioning.models import LocalAccount, Order, Resource, SetAside
from bursar.provisioning.services import set_aside
from bursar.provisioning.services.imports import TakeOver, importable, take_over
from bursar.structure.roles import Role
from bursar.structure.services.memberships import end_membership
from tests.factories.provisioning import World, make_resource, make_world, run_jobs
from tests.factories.site import Site, make_site, make_token, move_to_site, work_off
from tests.factories.structure import make_membership, make_person

pytestmark = pytest.mark.django_db

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


def usage(resource: Resource, name: str, seconds: int, at: datetime, **more: Any) -> UsageRecord:
    fields: dict[str, Any] = {
        "component": "cpu",
        "period_start": at - timedelta(hours=2),
        "period_end": at - timedelta(hours=1),
    }
    return UsageRecord(name, resource.pk, amount=seconds, **{**fields, **more})


def used(world: World) -> int:
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    return state.used_ticks


def ready(world: World, site: Site) -> tuple[Any, Resource]:
    """A resource that an agent made, and the agent."""
    resource = make_resource(world)
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    resource.refresh_from_db()
    assert resource.state == "ok"
    return agent, resource


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


def test_usage__measured__is_told_once_whatever_is_lost(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    site.machine.records += [usage(resource, "job-1", 2 * HOUR, world.at), usage(resource, "job-2", HOUR, world.at)]
    agent.measure_all()
    site.line.cut = lambda path: "unanswered" if path.endswith("/usage") else ""
    assert not agent.tell_all()
    assert used(world) == 3 * HOUR
    assert agent.status()["spool"]["count"] == 2
    agent = site.start()  # killed; its folder is all that is left
    site.line.cut = lambda _path: ""
    assert agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"]) == (3 * HOUR, 0)


def test_usage__server_away_for_a_day__nothing_is_lost(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    site.line.cut = lambda _path: "lost"
    for hour in range(24):
        site.machine.records.append(usage(resource, f"job-{hour}", 60, world.at))
        agent.measure_all()
        assert not agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"]) == (0, 24)
    site.line.cut = lambda _path: ""
    assert agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"]) == (24 * 60, 0)


def test_usage__disk_wiped__is_read_again_and_counts_once(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    site.machine.records.append(usage(resource, "job-1", HOUR, world.at))
    agent.measure_all()
    agent.tell_all()
    assert site.store is not None
    site.store.close()
    site.store = None
    shutil.rmtree(site.folder)
    with stated_time(world.at + timedelta(seconds=61)):
        agent = site.start()
        agent.catch_up()
        work_off(agent)
        agent.measure_all()
        assert agent.tell_all()
    assert used(world) == HOUR
    assert AgentRow.objects.count() == 2


def test_usage__one_bad_record__is_set_aside_and_sent_again_after_repair(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    good, bad = usage(resource, "job-1", HOUR, world.at), usage(resource, "job-2", 7, world.at, component="gpu")
    site.machine.records += [bad, good]
    agent.measure_all()
    assert agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"]) == (HOUR, 0)
    row = SetAside.objects.get()
    assert (row.record_id, row.component, row.code, row.tries) == ("job-2", "gpu", "unknown_component", 1)
    assert agent.status()["set_aside"] == [{"id": "job-2", "why": row.why}]
    common: dict[str, Any] = {"backend": world.backend, "by": world.manager, "at": world.at}
    assert set_aside.send_again(**common) == (0, 1)
    row.refresh_from_db()
    assert row.tries == 2
    component = world.offering.components.get(key="cpu")
    component.pk, component.key = None, "gpu"
    component.save()
    assert set_aside.send_again(**common) == (1, 0)
    assert (used(world), SetAside.objects.count()) == (HOUR + 7, 0)


def test_usage__from_the_future__stays_at_the_site_until_its_time(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    ahead = world.at + timedelta(minutes=10)
    site.machine.records.append(usage(resource, "job-1", HOUR, world.at, period_end=ahead))
    agent.measure_all()
    agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"], SetAside.objects.count()) == (0, 1, 0)
    with stated_time(ahead):
        agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"]) == (HOUR, 0)


def test_lock__wallet_used_up__reaches_the_backend_and_is_lifted_by_more_quota(world: World, site: Site) -> None:
    from tests.factories.provisioning import give_quota

    agent, resource = ready(world, site)
    site.machine.records.append(usage(resource, "job-1", 100 * HOUR, world.at))
    agent.measure_all()
    agent.tell_all()
    work_off(agent)
    assert site.machine.resources[resource.pk]["quota"] == {"cpu": (0, True)}
    give_quota(world, world.cpu, 10)
    work_off(agent)
    assert site.machine.resources[resource.pk]["quota"] == {"cpu": (10 * HOUR, False)}


def test_members__joined_and_left__reach_the_backend(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    fresh = make_person(at=world.at)
    membership = make_membership(person=fresh, role=Role.PROJECT_MEMBER, scope=world.project, at=world.at)
    work_off(agent)
    names = sorted(f"u{person.pk}" for person in (world.pi, world.member, fresh))
    assert site.machine.resources[resource.pk]["members"] == names
    end_membership(membership=membership, by=world.pi, at=world.at)
    work_off(agent)
    assert site.machine.resources[resource.pk]["members"] == sorted(f"u{p.pk}" for p in (world.pi, world.member))


def test_end__last_usage_is_read_before_it_is_gone(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    site.machine.records.append(usage(resource, "job-9", 5, world.at))
    services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, used(world), site.machine.resources) == ("terminated", 5, {})


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


def test_account__blocked_and_ended__reach_the_backend_and_the_members(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    services.block_account(
        backend=world.backend, person=world.member, reason="Too many jobs.", by=world.manager, at=world.at
    )
    work_off(agent)
    assert site.machine.resources[resource.pk]["members"] == [f"u{world.pi.pk}"]
    assert site.machine.blocked == {world.member.pk}
    services.unblock_account(backend=world.backend, person=world.member, by=world.manager, at=world.at)
    work_off(agent)
    assert (site.machine.blocked, len(site.machine.resources[resource.pk]["members"])) == (set(), 2)
    services.disconnect_account(backend=world.backend, person=world.member, by=world.member, at=world.at)
    work_off(agent)
    assert world.member.pk not in site.machine.accounts
    assert site.machine.resources[resource.pk]["members"] == [f"u{world.pi.pk}"]


def test_group__of_a_project__holds_its_people_and_goes_with_its_last_resource(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    (group,) = site.machine.groups.values()
    assert (group.project_id, group.usernames) == (
        world.project.pk,
        tuple(site.machine.resources[resource.pk]["members"]),
    )
    services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, site.machine.groups) == ("terminated", {})


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


def test_mend__taken_away_and_changed_by_hand__is_made_again_and_told(world: World, site: Site) -> None:
    agent, resource = ready(world, site)
    wished = deepcopy(site.machine.resources[resource.pk])
    del site.machine.resources[resource.pk]
    agent.mend_all()
    work_off(agent)
    assert site.machine.resources[resource.pk] == wished
    site.machine.resources[resource.pk]["limits"] = {"storage": 99}
    agent.mend_all()
    work_off(agent)
    assert site.machine.resources[resource.pk] == wished
    told = [message.text for message in resource.messages.order_by("pk")]
    assert told == ["Mended: It was absent at the backend and was made again.", "Mended: Its limits were others."]
    agent.mend_all()
    work_off(agent)
    assert resource.messages.count() == 2  # nothing was to be mended


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


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"period_start": "2026-11-21T10:00:00"}, "time_without_zone"),
        ({"amount": 2**70}, "amount_too_large"),
        ({"resource_id": 2**70}, "unknown_resource"),
        ({"period_end": "2026-11-21T09:00:00Z"}, "period_empty"),
    ],
)
def test_usage__a_record_that_cannot_be__is_set_aside_by_its_name(
    world: World, site: Site, changes: dict[str, Any], code: str
) -> None:
    agent, resource = ready(world, site)
    told = {**wire.dump(usage(resource, "job-1", 60, world.at)), **changes}
    answer = agent.client.post(f"/provider/backends/{world.backend.pk}/usage", {"records": [told]})
    assert ([one["code"] for one in answer["set_aside"]], answer["posted"], used(world)) == ([code], 0, 0)
    assert SetAside.objects.get().code == code


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


def test_stranger__with_a_token_of_another_provider__sees_and_changes_nothing(
    world: World, site: Site, at: datetime
) -> None:
    agent, resource = ready(world, site)
    assert agent.client.session is not None
    elsewhere = move_to_site(make_world(at=at))
    line = type(site.line)(make_token(elsewhere), session=agent.client.session)
    for call in (
        lambda: line.get(f"/provider/resources/{resource.pk}"),
        lambda: line.post(f"/provider/resources/{resource.pk}/quota-offer"),
        lambda: line.post(f"/provider/resources/{resource.pk}/messages", {"text": "ours"}),
        lambda: line.post(f"/provider/orders/{Order.objects.get().pk}/messages", {"text": "ours"}),
        lambda: line.post(f"/provider/backends/{world.backend.pk}/usage", {"records": []}),
        lambda: line.get(f"/backends/{world.backend.pk}/set-aside"),
        lambda: line.get("/provider/events", provider_id=world.provider.pk),
    ):
        with pytest.raises(Refused) as refusal:
            call()
        assert refusal.value.status in {403, 404, 409}, refusal.value
    line.session = None
    page = line.get("/provider/events")
    assert {(event["subject"], event["id"]) for event in page["events"]} & {("resource", resource.pk)} == set()


def test_token__without_the_scope_or_of_a_member__is_refused(world: World, site: Site) -> None:
    for person, scopes in ((world.manager, ["read"]), (world.pi, ["provider", "usage"])):
        site.line.token = make_token(world, person, scopes)
        with pytest.raises(Refused) as refusal:
            site.start()
        assert refusal.value.status in {403, 404}
