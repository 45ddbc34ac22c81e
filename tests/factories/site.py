"""A provider's site: an agent whose questions reach the server without a network, on lines that a test may cut."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from django.test import Client as Requests
from pydantic import SecretStr

from bursar.agent.client import Away, Refused
from bursar.agent.configuration import BackendPart, Configuration, Pace, Server
from bursar.agent.store import Store
from bursar.agent.work import Agent
from bursar.catalogue.models import Backend
from bursar.plugins.contract import (
    BackendSettings,
    ComponentQuota,
    DesiredResource,
    Done,
    Finding,
    Group,
    Health,
    Member,
    Observation,
    Outcome,
    Plugin,
    Presence,
    Severity,
    UsageBatch,
    UsageRecord,
    found,
)
from bursar.provisioning.models import Resource
from bursar.structure.models import Person
from bursar.structure.services.tokens import create_token
from tests.factories.provisioning import World, make_resource, run_jobs


def move_to_site(world: World) -> World:
    """The world's backend runs in an agent from now on."""
    Backend.objects.filter(pk=world.backend.pk).update(runs_at="site", settings={}, secrets=b"", plugin="manual")
    world.backend.refresh_from_db()
    return world


def make_token(
    world: World, person: Person | None = None, scopes: Sequence[str] = ("provider", "usage", "read")
) -> str:
    person = person or world.manager
    return create_token(person=person, name="agent", scopes=scopes, days=30, by=person, at=world.at).token


@dataclass
class Line:
    """In place of the agent's HTTP client: the same questions, put to the application in this process.

    cut   asked before and after each question; what it answers is what happens to it: "" = nothing, "lost" = it does not
          arrive, "unanswered" = it arrives and its answer is lost
    """

    token: str
    cut: Callable[[str], str] = lambda _path: ""
    session: UUID | None = None
    asked: list[str] = field(default_factory=list)
    server_ahead_seconds: float | None = 0.0

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, query, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._call("POST", path, {}, body or {})

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("PUT", path, {}, body)

    def close(self) -> None:
        pass

    def _call(self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any] | None) -> Any:
        fate = self.cut(path)
        if fate == "lost":
            raise Away("the line was cut")
        self.asked.append(f"{method} {path}")
        headers = {"Authorization": f"Bearer {self.token}"}
        if self.session is not None:
            headers["Bursar-Agent"] = str(self.session)
        requests = Requests(headers=headers, raise_request_exception=False)
        told = (
            requests.get(f"/api/v1{path}", query)
            if method == "GET"
            else requests.generic(method, f"/api/v1{path}", json.dumps(body), content_type="application/json")
        )
        if fate == "unanswered":
            raise Away("the answer was lost")
        if told.status_code >= 500:
            raise AssertionError(f"{method} {path}: {told.status_code} {told.content[:500]!r}")
        answer = json.loads(told.content) if told.content else None
        if told.status_code >= 400:
            raise Refused(told.status_code, answer["code"], f"{answer['detail']} {answer.get('errors', '')}")
        return answer


@dataclass
class Machine:
    """What a backend holds, by resource: the thing itself, apart from the plugin that works on it."""

    resources: dict[int, dict[str, Any]] = field(default_factory=dict)
    accounts: dict[int, str] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    groups: dict[int, Group] = field(default_factory=dict)
    foreign: dict[str, dict[str, int]] = field(default_factory=dict)
    records: list[UsageRecord] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)
    trouble: Callable[[str, int], Outcome | Exception | None] = lambda _verb, _pk: None


class MachinePlugin(Plugin):
    """All that the contract knows, on a `Machine`."""

    key: ClassVar[str] = "manual"
    title: ClassVar[str] = "Machine"
    summary: ClassVar[str] = "For tests."
    version: ClassVar[str] = "1"
    Settings: ClassVar[type[BackendSettings]] = BackendSettings

    def __init__(self, machine: Machine) -> None:
        super().__init__(BackendSettings())
        self.machine = machine

    def _asked(self, verb: str, pk: int) -> Outcome | None:
        self.machine.asked.append((verb, pk))
        fate = self.machine.trouble(verb, pk)
        if isinstance(fate, Exception):
            raise fate
        return fate

    def check_health(self) -> Health:
        return Health((Finding(Severity.OK, "Machine", "runs"),), "1.0")

    def ensure(self, resource: DesiredResource) -> Outcome:
        if fate := self._asked("ensure", resource.id):
            return fate
        held = self.machine.resources.setdefault(resource.id, {"members": [], "quota": {}, "paused": False})
        self.machine.foreign.pop(resource.backend_id, None)
        changed = ("Its limits were others.",) if "limits" in held and held["limits"] != dict(resource.limits) else ()
        held["limits"] = dict(resource.limits)
        return Done(backend_id=resource.backend_id or f"m{resource.id}", changed=changed)

    def remove(self, resource: DesiredResource) -> Outcome:
        if fate := self._asked("remove", resource.id):
            return fate
        self.machine.resources.pop(resource.id, None)
        return Done()

    def observe(self, resource: DesiredResource) -> Observation:
        held = self.machine.resources.get(resource.id)
        return Observation(Presence.ABSENT if held is None else Presence.PAUSED if held["paused"] else Presence.OK)

    def pause(self, resource: DesiredResource) -> Outcome:
        return self._set("pause", resource, "paused", True)

    def resume(self, resource: DesiredResource) -> Outcome:
        return self._set("resume", resource, "paused", False)

    def ensure_account(self, member: Member) -> Outcome:
        if fate := self._asked("ensure_account", member.person_id):
            return fate
        self.machine.blocked.discard(member.person_id)
        return Done(backend_id=self.machine.accounts.setdefault(member.person_id, f"u{member.person_id}"))

    def block_account(self, member: Member) -> Outcome:
        if fate := self._asked("block_account", member.person_id):
            return fate
        self.machine.blocked.add(member.person_id)
        return Done()

    def remove_account(self, member: Member) -> Outcome:
        if fate := self._asked("remove_account", member.person_id):
            return fate
        self.machine.accounts.pop(member.person_id, None)
        return Done()

    def ensure_group(self, group: Group) -> Outcome:
        if fate := self._asked("ensure_group", group.project_id):
            return fate
        self.machine.groups[group.project_id] = group
        return Done(backend_id=group.name)

    def remove_group(self, group: Group) -> Outcome:
        if fate := self._asked("remove_group", group.project_id):
            return fate
        self.machine.groups.pop(group.project_id, None)
        return Done()

    def importable(self) -> Sequence[DesiredResource]:
        return [found(name, name, limits) for name, limits in sorted(self.machine.foreign.items())]

    def set_members(self, resource: DesiredResource) -> Outcome:
        names = sorted(member.username for member in resource.members if member.username)
        return self._set("set_members", resource, "members", names)

    def enforce_quota(self, resource: DesiredResource, quota: Sequence[ComponentQuota]) -> Outcome:
        shares = {one.component: (one.available, one.locked) for one in quota}
        return self._set("enforce_quota", resource, "quota", shares)

    def _set(self, verb: str, resource: DesiredResource, key: str, value: Any) -> Outcome:
        if fate := self._asked(verb, resource.id):
            return fate
        self.machine.resources[resource.id][key] = value
        return Done()

    def measure(self, resources: Sequence[DesiredResource], mark: str) -> UsageBatch:
        wanted = {resource.id for resource in resources}
        known = int(mark or 0)
        fresh = self.machine.records[known:]
        return UsageBatch([one for one in fresh if one.resource_id in wanted], str(known + len(fresh)))


class SiteConfiguration(Configuration):
    """A file whose backend is the machine of a test."""

    model_config = {"arbitrary_types_allowed": True}
    machine: Any = None

    def plugin(self, part: BackendPart) -> Plugin:
        return MachinePlugin(self.machine)

    def token(self) -> SecretStr:
        return SecretStr("unused")


@dataclass
class Site:
    """A folder, a machine and a line, from which agents are started: each is a new process as far as it can tell."""

    folder: Path
    machine: Machine
    line: Line
    backend: str
    said: list[str] = field(default_factory=list)
    store: Store | None = None

    def start(self) -> Agent:
        """As after a crash: nothing but the folder and the machine is left of the one before."""
        if self.store is not None:
            self.store.close()
        self.store = Store(self.folder)
        self.line.session = None
        configuration = SiteConfiguration(
            server=Server(url="https://bursar.example", token_file=Path("/dev/null")),
            agent=Pace(folder=self.folder, host="login1.example"),
            backend=[BackendPart(name=self.backend, plugin="manual")],
            machine=self.machine,
        )
        agent = Agent(configuration, self.line, self.store, self.said.append)  # type: ignore[arg-type]
        agent.come_forward()
        return agent


def make_site(world: World, folder: Path) -> Site:
    return Site(folder, Machine(), Line(make_token(world)), world.backend.name)


def work_off(agent: Agent) -> None:
    """Let the worker do its jobs, read the feed and do what is due now, until nothing is.

    The queue's clock stands meanwhile: what is put off stays put off, however long a slow machine takes.
    """
    started = agent.queue.now()
    agent.queue.now = lambda: started
    try:
        while True:
            ran = run_jobs()
            while agent.read_events(wait=0):
                pass
            due = agent.queue.take(wait=False)
            if due is not None:
                agent.queue.done(due.key, agent.work(due))
            elif not ran:
                return
    finally:
        agent.queue.now = time.monotonic


def ready(world: World, site: Site) -> tuple[Agent, Resource]:
    """A resource that an agent made, and the agent."""
    resource = make_resource(world)
    agent = site.start()
    agent.catch_up()
    work_off(agent)
    resource.refresh_from_db()
    assert resource.state == "ok"
    return agent, resource
