"""A plugin whose answers a test decides: for what no real backend can be made to do at a chosen moment."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from bursar.catalogue import registry
from bursar.plugins.contract import (
    BackendSettings,
    ComponentQuota,
    DesiredResource,
    Done,
    Health,
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


def use_puppet(monkeypatch: pytest.MonkeyPatch) -> Puppet:
    """Every backend is moved by this puppet from now on."""
    puppet = Puppet()
    monkeypatch.setattr(registry, "make", lambda _backend: puppet)
    monkeypatch.setattr(registry, "plugin_class", lambda _key: Puppet)
    return puppet
