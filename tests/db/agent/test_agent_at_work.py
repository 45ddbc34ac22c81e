"""An agent that has made a resource and goes on, after a restart: usage, locks, members, ends, mending, troubles."""

import shutil
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar.accounting.selectors import wallet_state
from bursar.agent.client import Refused
from bursar.catalogue.models import Agent as AgentRow
from bursar.kernel.clock import stated_time
from bursar.plugins import wire
from bursar.plugins.contract import UsageRecord
from bursar.provisioning import services
from bursar.provisioning.models import Order, Resource, SetAside
from bursar.provisioning.services import set_aside
from bursar.structure.roles import Role
from bursar.structure.services.memberships import end_membership
from tests.factories.provisioning import World, give_quota, make_world
from tests.factories.site import Site, make_site, make_token, move_to_site, ready, work_off
from tests.factories.structure import make_membership, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

HOUR = 3600


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Site]:
    def make() -> tuple[World, Site]:
        world = move_to_site(make_world(at=at))
        site = make_site(world, tmp_path_factory.mktemp("site") / "agent")
        ready(world, site)
        assert site.store is not None
        site.store.close()
        site.store = None
        return world, site

    return standing(make, at=at)


@pytest.fixture
def both(made: tuple[World, Site], at: datetime, tmp_path: Path) -> Iterator[tuple[World, Site]]:
    with stated_time(at):
        world, site = deepcopy(made)
        site.folder = shutil.copytree(site.folder, tmp_path / "agent")
        yield world, site
        if site.store is not None:
            site.store.close()


@pytest.fixture
def world(both: tuple[World, Site]) -> World:
    return both[0]


@pytest.fixture
def site(both: tuple[World, Site]) -> Site:
    return both[1]


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


def test_usage__measured__is_told_once_whatever_is_lost(world: World, site: Site) -> None:
    agent, resource = site.start(), Resource.objects.get()
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
    agent, resource = site.start(), Resource.objects.get()
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
    agent, resource = site.start(), Resource.objects.get()
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
    agent, resource = site.start(), Resource.objects.get()
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
    agent, resource = site.start(), Resource.objects.get()
    ahead = world.at + timedelta(minutes=10)
    site.machine.records.append(usage(resource, "job-1", HOUR, world.at, period_end=ahead))
    agent.measure_all()
    agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"], SetAside.objects.count()) == (0, 1, 0)
    with stated_time(ahead):
        agent.tell_all()
    assert (used(world), agent.status()["spool"]["count"]) == (HOUR, 0)


def test_lock__wallet_used_up__reaches_the_backend_and_is_lifted_by_more_quota(world: World, site: Site) -> None:
    agent, resource = site.start(), Resource.objects.get()
    site.machine.records.append(usage(resource, "job-1", 100 * HOUR, world.at))
    agent.measure_all()
    agent.tell_all()
    work_off(agent)
    assert site.machine.resources[resource.pk]["quota"] == {"cpu": (0, True)}
    give_quota(world, world.cpu, 10)
    work_off(agent)
    assert site.machine.resources[resource.pk]["quota"] == {"cpu": (10 * HOUR, False)}


def test_members__joined_and_left__reach_the_backend(world: World, site: Site) -> None:
    agent, resource = site.start(), Resource.objects.get()
    fresh = make_person(at=world.at)
    membership = make_membership(person=fresh, role=Role.PROJECT_MEMBER, scope=world.project, at=world.at)
    work_off(agent)
    names = sorted(f"u{person.pk}" for person in (world.pi, world.member, fresh))
    assert site.machine.resources[resource.pk]["members"] == names
    end_membership(membership=membership, by=world.pi, at=world.at)
    work_off(agent)
    assert site.machine.resources[resource.pk]["members"] == sorted(f"u{p.pk}" for p in (world.pi, world.member))


def test_end__last_usage_is_read_before_it_is_gone(world: World, site: Site) -> None:
    agent, resource = site.start(), Resource.objects.get()
    site.machine.records.append(usage(resource, "job-9", 5, world.at))
    services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, used(world), site.machine.resources) == ("terminated", 5, {})


def test_account__blocked_and_ended__reach_the_backend_and_the_members(world: World, site: Site) -> None:
    agent, resource = site.start(), Resource.objects.get()
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
    agent, resource = site.start(), Resource.objects.get()
    (group,) = site.machine.groups.values()
    assert (group.project_id, group.usernames) == (
        world.project.pk,
        tuple(site.machine.resources[resource.pk]["members"]),
    )
    services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    work_off(agent)
    resource.refresh_from_db()
    assert (resource.state, site.machine.groups) == ("terminated", {})


def test_mend__taken_away_and_changed_by_hand__is_made_again_and_told(world: World, site: Site) -> None:
    agent, resource = site.start(), Resource.objects.get()
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
    agent, resource = site.start(), Resource.objects.get()
    told = {**wire.dump(usage(resource, "job-1", 60, world.at)), **changes}
    answer = agent.client.post(f"/provider/backends/{world.backend.pk}/usage", {"records": [told]})
    assert ([one["code"] for one in answer["set_aside"]], answer["posted"], used(world)) == ([code], 0, 0)
    assert SetAside.objects.get().code == code


def test_stranger__with_a_token_of_another_provider__sees_and_changes_nothing(
    world: World, site: Site, at: datetime
) -> None:
    agent, resource = site.start(), Resource.objects.get()
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
