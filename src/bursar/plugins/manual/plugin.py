"""A person at the provider does it and says so; the plugin only compares what was asked with what was said.

What was said stands in the resource's state under the key "manual"; `confirm` writes it, README.md defines it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bursar import __version__
from bursar.kernel.i18n import N_
from bursar.plugins.contract import (
    BackendSettings,
    DesiredResource,
    Done,
    Finding,
    Health,
    NeedsAction,
    Observation,
    Outcome,
    Plugin,
    Presence,
    Severity,
)

STATE_KEY: Final = "manual"
TEXT_LENGTH_MAX: Final = 300


class Said(BaseModel):
    """What the provider's person last said about a resource.

    done_generation   the greatest generation that was said to stand at the backend; 0 = none yet
    presence          ok | paused | absent: how the resource was left
    """

    model_config = ConfigDict(extra="ignore")

    done_generation: int = Field(default=0, ge=0)
    presence: Presence = Presence.ABSENT
    backend_id: str = ""
    access: dict[str, str] = Field(default_factory=dict)


def confirm(
    state: Mapping[str, Any],
    generation: int,
    backend_id: str = "",
    access: Mapping[str, str] | None = None,
    *,
    presence: Presence = Presence.OK,
) -> dict[str, Any]:
    """The state of a resource after a person said: what generation `generation` asks for stands, and it is `presence`.

    state        the resource's state so far; what else stands in it is kept, and nothing is changed in place
    backend_id   how the provider calls it; "" and None keep what was said before
    presence     OK after making, changing or resuming it, PAUSED after pausing, ABSENT after removing
    raises       ValueError for another presence: nobody can say that it is half made
    """
    if presence not in (Presence.OK, Presence.PAUSED, Presence.ABSENT):
        raise ValueError("a person says ok, paused or absent")
    before = said(state)
    after = Said(
        done_generation=max(before.done_generation, generation),
        presence=presence,
        backend_id=backend_id or before.backend_id,
        access=dict(access) if access is not None else before.access,
    )
    return {**state, STATE_KEY: after.model_dump(mode="json")}


def said(state: Mapping[str, Any]) -> Said:
    """What a person said so far, read from a resource's state; nothing where there is nothing readable."""
    try:
        return Said.model_validate(state.get(STATE_KEY, {}))
    except ValidationError:
        return Said()


class ManualSettings(BackendSettings):
    instructions: str = Field(
        default="",
        title=N_("Instructions"),
        description=N_("What the person who does the work should know; shown with each task."),
        max_length=4000,
    )
    contact: str = Field(
        default="",
        title=N_("Contact"),
        description=N_("Who does the work: a name, an address or a queue."),
        max_length=200,
    )


class ManualPlugin(Plugin):
    key: ClassVar[str] = "manual"
    title: ClassVar[str] = N_("By hand")
    summary: ClassVar[str] = N_("A person at the provider does what is asked and confirms it on the order's page.")
    version: ClassVar[str] = __version__
    Settings: ClassVar[type[BackendSettings]] = ManualSettings
    settings: ManualSettings

    def check_health(self) -> Health:
        if self.settings.contact:
            return Health((Finding(Severity.OK, N_("Contact"), self.settings.contact),), version=self.version)
        advice = N_("Name a person, an address or a queue in the settings.")
        finding = Finding(Severity.WARNING, N_("Contact"), N_("Nobody is named who does the work."), advice)
        return Health((finding,), version=self.version)

    # ------------------------------------------------------------------------------------------------------ provisions

    def ensure(self, resource: DesiredResource) -> Outcome:
        """Done once this generation was said to stand; a later generation asks again."""
        found = said(resource.state)
        if found.presence is not Presence.ABSENT and found.done_generation >= resource.generation:
            return Done(backend_id=found.backend_id, state=dict(resource.state), access=dict(found.access))
        verb = {
            (Presence.OK, True): "Pause",
            (Presence.PAUSED, False): "Resume",
            (Presence.ABSENT, True): "Set up",
            (Presence.ABSENT, False): "Set up",
        }.get((found.presence, resource.paused), "Change")
        return self._ask(verb, resource, _wanted(resource))

    def remove(self, resource: DesiredResource) -> Outcome:
        """Done once it was said to be gone, and for what nobody ever said was there."""
        if said(resource.state).presence is Presence.ABSENT:
            return Done(state=dict(resource.state))
        return self._ask("Remove", resource)

    def observe(self, resource: DesiredResource) -> Observation:
        found = said(resource.state)
        return Observation(found.presence, facts={"done_generation": found.done_generation})

    # ---------------------------------------------------------------------------------------------------------- pauses

    def pause(self, resource: DesiredResource) -> Outcome:
        return self._left(resource, Presence.PAUSED, "Pause")

    def resume(self, resource: DesiredResource) -> Outcome:
        return self._left(resource, Presence.OK, "Resume")

    def _left(self, resource: DesiredResource, presence: Presence, verb: str) -> Outcome:
        found = said(resource.state)
        if found.presence is presence:
            return Done(backend_id=found.backend_id, state=dict(resource.state), access=dict(found.access))
        if found.presence is Presence.ABSENT:
            return self._ask("Set up", resource, _wanted(resource))
        return self._ask(verb, resource)

    def _ask(self, verb: str, resource: DesiredResource, wanted: str = "") -> NeedsAction:
        backend_id = said(resource.state).backend_id
        known_as = f" ({_line(backend_id)})" if backend_id else ""
        parts = [f"{verb} “{_line(resource.name)}”{known_as}.", wanted, self.settings.instructions]
        if self.settings.contact:
            parts.append(f"Contact: {self.settings.contact}.")
        parts.append("Then confirm it here.")
        return NeedsAction("\n".join(part for part in parts if part))


def _wanted(resource: DesiredResource) -> str:
    """What the resource should be, one line per thing."""
    lines = [f"Plan: {_line(resource.plan)}."]
    lines += [f"{_line(key)}: {limit}." for key, limit in sorted(resource.limits.items())]
    lines += [f"{_line(key)}: {_line(value)}." for key, value in sorted(resource.form.items())]
    people = ", ".join(f"{_line(m.full_name)} <{_line(m.email)}>" for m in resource.members)
    if people:
        lines.append(f"Members: {people}.")
    if resource.paused:
        lines.append("Leave it paused.")
    return "\n".join(lines)


def _line(value: object) -> str:
    """A stranger's text on one visible line: it must not be able to write a task of its own."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())[:TEXT_LENGTH_MAX]
