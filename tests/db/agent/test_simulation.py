"""Any mix of changes, cut lines, failing backends, restarts and wiped disks: at the end the backend holds what is wished."""

import random
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bursar.accounting import services as accounting
from bursar.accounting.models import Allocation
from bursar.agent.client import Away, Refused
from bursar.agent.work import Agent, NotInCharge
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.plugins.contract import BackendUnreachable, Busy
from bursar.provisioning import services
from bursar.provisioning.desired import desired_of
from bursar.provisioning.models import Order, Resource, Side
from bursar.provisioning.quota import quota_of
from bursar.provisioning.services._common import RESOURCE_RELATED
from bursar.structure.models import Membership
from bursar.structure.roles import Role
from bursar.structure.services.memberships import end_membership
from tests.factories.provisioning import World, give_quota, make_world, place_order, run_jobs
from tests.factories.site import Site, make_site, move_to_site
from tests.factories.structure import make_membership, make_person, make_project, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def more_projects(world: World, count: int) -> list[World]:
    """The world, and the same with another project of the university in its place, each with quota of its own."""
    worlds = [world]
    for _ in range(count - 1):
        project = make_project(organization=world.university, pi=world.pi, at=world.at)
        worlds.append(replace(world, project=project, workspace=make_workspace(project)))
        for category in (world.cpu, world.disk):
            give_quota(worlds[-1], category, 1_000_000)
    return worlds


class Story:
    """One world with its projects, one site, a clock that goes on, and dice."""

    def __init__(self, worlds: list[World], site: Site, seed: int) -> None:
        self.worlds, self.site, self.dice = worlds, site, random.Random(seed)
        self.world = world = worlds[0]
        self.at = world.at
        self.agent: Agent | None = None
        self.done: dict[str, int] = {}

    # -------------------------------------------------------------------------------------------- what people do
    def order(self) -> None:
        order = place_order(self._project(), name=f"Run {self.dice.randrange(10_000)}", at=self.at)
        self._agree(order)

    def _agree(self, order: Order) -> None:
        for side, by in ((Side.CONSUMER, self.world.owner), (Side.PROVIDER, self.world.manager)):
            order.refresh_from_db()
            if order.state == f"pending_{side.value}":
                services.approve_order(order_id=order.pk, side=side, by=by, at=self.at)

    def _project(self) -> World:
        return self.dice.choice(self.worlds)

    def _any(self, **where: Any) -> Resource:
        rows = list(Resource.objects.filter(desired_gone=False, **where).exclude(state="failed").order_by("pk"))
        if not rows:
            raise LookupError
        return self.dice.choice(rows)

    def change(self) -> None:
        resource = self._any(state="ok")
        limits = {"storage": self.dice.randint(1, 50)}
        self._agree(services.submit_change(resource_id=resource.pk, limits=limits, by=self.world.pi, at=self.at))

    def pause(self) -> None:
        services.pause_resource(resource_id=self._any(state="ok").pk, by=self.world.pi, at=self.at)

    def resume(self) -> None:
        services.resume_resource(resource_id=self._any(state="paused").pk, by=self.world.pi, at=self.at)

    def terminate(self) -> None:
        resource = self._any(state__in=["ok", "paused"])
        self._agree(services.submit_termination(resource_id=resource.pk, by=self.world.pi, at=self.at))

    def quota(self) -> None:
        allocation = Allocation.objects.get(
            wallet__workspace=self._project().workspace, wallet__category=self.world.cpu
        )
        ticks = self.dice.choice([0, 10, 50, 100]) * 3600
        accounting.change_allocation(allocation=allocation, quota_ticks=ticks, by=None, at=self.at)

    def join(self) -> None:
        scope = self._project().project
        make_membership(person=make_person(at=self.at), role=Role.PROJECT_MEMBER, scope=scope, at=self.at)

    def part(self) -> None:
        members = Membership.objects.held_at(self.at).filter(project=self._project().project, role=Role.PROJECT_MEMBER)
        end_membership(membership=self.dice.choice(list(members)), by=self.world.pi, at=self.at)

    # -------------------------------------------------------------------------------------------- what happens to it
    def spoil(self) -> None:
        """Somebody changes something at the backend by hand."""
        held = self.site.machine.resources
        if held:
            pk = self.dice.choice(sorted(held))
            self.dice.choice([lambda: held.pop(pk), lambda: held[pk].update(limits={"storage": 7}, paused=False)])()

    def wipe(self) -> None:
        assert self.site.store is not None
        self.site.store.close()
        self.site.store = None
        shutil.rmtree(self.site.folder)
        self.agent = None

    def restart(self) -> None:
        self.agent = None

    def step(self, deeds: list[str], weights: list[int]) -> None:
        self.at += timedelta(seconds=self.dice.randint(1, 20))
        deed = self.dice.choices(deeds, weights)[0]
        with stated_time(self.at):
            try:
                getattr(self, deed)()
                self.done[deed] = self.done.get(deed, 0) + 1
            except (LookupError, IndexError, DomainError):
                pass  # nothing to do it to, or not now: as for anybody
            run_jobs(limit=5000)
            self.let_agent_work()

    def let_agent_work(self) -> None:
        """Some of what is due, as far as line and backend allow; what is paused is due at once here."""
        try:
            if self.agent is None:
                self.agent = self.site.start()
                self.agent.catch_up()
            for _ in range(self.dice.randint(0, 12)):
                self.agent.read_events(wait=0)
                due = self.agent.queue.take(wait=False)
                if due is None:
                    break
                again = self.agent.work(due)
                if again is not None:
                    again.at = 0
                self.agent.queue.done(due.key, again)
        except Away:
            if self.dice.random() < 0.3:
                self.agent = None
        except NotInCharge:
            self.agent = None
        except Refused as refusal:  # after a wiped disk, until the agent of before has not been heard of for a minute
            if refusal.code != "agent_in_charge":
                raise

    def settle(self) -> None:
        """The line and the backend are whole again; everything is read and compared once."""
        self.site.line.cut = lambda _path: ""
        self.site.machine.trouble = lambda _verb, _pk: None
        self.at += timedelta(seconds=120)
        with stated_time(self.at):
            agent = self.site.start()
            for _ in range(3):
                run_jobs(limit=5000)
                agent.mend_all()
                while True:
                    while agent.read_events(wait=0):
                        pass
                    due = agent.queue.take(wait=False)
                    if due is None:
                        break
                    again = agent.work(due)
                    agent.queue.done(due.key, again)
            assert agent.status()["outstanding"] == 0


def wished(world: World, at: datetime) -> dict[int, dict[str, Any]]:
    """What a machine should hold, from the tables alone."""
    rows = list(
        Resource.objects.select_related(*RESOURCE_RELATED).filter(state__in=["ok", "paused", "changing"]).order_by("pk")
    )
    told = {}
    for resource, desired in zip(rows, desired_of(rows, at=at), strict=True):
        assert resource.matches, (resource.pk, resource.state, resource.message)
        told[resource.pk] = {
            "limits": dict(resource.desired_limits),
            "members": sorted(member.username for member in desired.members),
            "paused": resource.desired_paused,
            "locked": {share.component: share.locked for share in quota_of(resource, at=at)},
        }
    return told


@pytest.mark.parametrize(
    ("seed", "projects", "resources", "steps"),
    [(1, 2, 3, 10), pytest.param(3, 50, 1000, 300, marks=pytest.mark.soak)],
    ids=["some", "a thousand"],
)
def test_site__any_mix_of_changes_drops_and_restarts__ends_as_wished(
    at: datetime, tmp_path: Path, request: pytest.FixtureRequest, seed: int, projects: int, resources: int, steps: int
) -> None:
    with stated_time(at):
        world = move_to_site(make_world(at=at, quota_gb=1_000_000))
        site = make_site(world, tmp_path / "agent")
        request.addfinalizer(lambda: site.store and site.store.close())
        worlds = more_projects(world, projects)
        story = Story(worlds, site, seed)
        for _ in range(resources):
            story.order()
    dice = story.dice
    site.line.cut = lambda _path: dice.choices(["", "lost", "unanswered"], [92, 4, 4])[0]
    trouble: list[Any] = [None, BackendUnreachable("away"), Busy(5, "soon")]
    site.machine.trouble = lambda _verb, _pk: dice.choices(trouble, [94, 3, 3])[0]
    deeds = ["order", "change", "pause", "resume", "terminate", "quota", "join", "part", "spoil", "restart", "wipe"]
    for _ in range(steps):
        story.step(deeds, [10, 20, 8, 8, 4, 10, 5, 5, 6, 6, 1])
    story.settle()
    expected = wished(world, story.at)
    held = {
        pk: {
            "limits": one["limits"],
            "members": one["members"],
            "paused": one["paused"],
            "locked": {component: locked for component, (_, locked) in one["quota"].items()},
        }
        for pk, one in site.machine.resources.items()
    }
    assert held == expected
    for one in worlds:
        allocation = Allocation.objects.get(wallet__workspace=one.workspace, wallet__category=one.cpu)
        theirs = Resource.objects.filter(workspace=one.workspace, pk__in=held).values_list("pk", flat=True)
        assert sum(site.machine.resources[pk]["quota"]["cpu"][0] for pk in theirs) <= allocation.quota_ticks
    assert len(story.done) >= 5
    print(f"{steps} steps: {story.done}; {len(expected)} resources")
