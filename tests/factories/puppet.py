"""A plugin whose answers a test decides: for what no real backend can be made to do at a chosen moment."""

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import pytest

from bursar.catalogue import registry
from bursar.plugins.contract import (
    BackendSettings,
    ComponentQuota,
    DesiredResource,
    Done,
    Group,
    Health,
    Member,
    Observation,
    Outcome,
    Plugin,
    Presence,
    UsageBatch,
)


class Puppet(Plugin):
    key: ClassVar[str] = "manual"
    title: ClassVar[str] = "Puppet"
    summary: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    Settings: ClassVar[type[BackendSettings]] = BackendSettings

    def __init__(self) -> None:
        super().__init__(self.Settings())
        self.asked: list[tuple[str, DesiredResource]] = []
        self.quotas: dict[int, list[ComponentQuota]] = {}
        self.answers: dict[str, list[Callable[[DesiredResource], Outcome] | Outcome]] = {}
        self.batches: list[UsageBatch] = []

    def _answer(self, verb: str, resource: DesiredResource) -> Outcome:
        self.asked.append((verb, resource))
        waiting = self.answers.get(verb)
        if not waiting:
            return Done(backend_id=f"b{resource.id}")
        answer = waiting.pop(0)
        return answer(resource) if callable(answer) else answer

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]

    def check_health(self) -> Health:
        return Health(())

    def ensure(self, resource: DesiredResource) -> Outcome:
        return self._answer("ensure", resource)

    def remove(self, resource: DesiredResource) -> Outcome:
        return self._answer("remove", resource)

    def observe(self, resource: DesiredResource) -> Observation:
        return Observation(Presence.OK)

    def pause(self, resource: DesiredResource) -> Outcome:
        return self._answer("pause", resource)

    def resume(self, resource: DesiredResource) -> Outcome:
        return self._answer("resume", resource)

    def set_members(self, resource: DesiredResource) -> Outcome:
        return self._answer("set_members", resource)

    def enforce_quota(self, resource: DesiredResource, quota: Sequence[ComponentQuota]) -> Outcome:
        answer = self._answer("enforce_quota", resource)
        if isinstance(answer, Done):
            self.quotas[resource.id] = list(quota)
        return answer

    def measure(self, resources: Sequence[DesiredResource], mark: str) -> UsageBatch:
        self.asked += [("measure", resource) for resource in resources]
        return self.batches.pop(0) if self.batches else UsageBatch([], mark)


class KeepingPuppet(Puppet):
    """One that also keeps accounts and groups: it makes what it is told, and gives "local<person>" where it is told none."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, Member | Group]] = []

    def _said(self, verb: str, what: Member | Group, name: str) -> Outcome:
        self.told.append((verb, what))
        waiting = self.answers.get(verb)
        answer = waiting.pop(0) if waiting else Done(backend_id=name)
        return answer(what) if callable(answer) else answer  # type: ignore[arg-type]

    def ensure_account(self, member: Member) -> Outcome:
        return self._said("ensure_account", member, member.username or f"local{member.person_id}")

    def block_account(self, member: Member) -> Outcome:
        return self._said("block_account", member, member.username)

    def remove_account(self, member: Member) -> Outcome:
        return self._said("remove_account", member, member.username)

    def ensure_group(self, group: Group) -> Outcome:
        return self._said("ensure_group", group, group.name)

    def remove_group(self, group: Group) -> Outcome:
        return self._said("remove_group", group, group.name)


def use_puppet(monkeypatch: pytest.MonkeyPatch) -> Puppet:
    """Every backend is moved by this puppet from now on."""
    return _use(Puppet(), monkeypatch)


def use_keeping_puppet(monkeypatch: pytest.MonkeyPatch) -> KeepingPuppet:
    """Every backend is moved by this puppet, which keeps accounts, from now on."""
    return _use(KeepingPuppet(), monkeypatch)


P = TypeVar("P", bound=Puppet)


def _use(puppet: P, monkeypatch: pytest.MonkeyPatch) -> P:
    monkeypatch.setattr(registry, "make", lambda _backend: puppet)
    monkeypatch.setattr(registry, "plugin_class", lambda _key: type(puppet))
    return puppet
