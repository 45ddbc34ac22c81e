"""Agents at providers' sites: coming forward, staying in charge, leaving. One agent per backend, and per token."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from bursar.catalogue.errors import AgentInCharge, AgentNotInCharge, BackendNotForAgent, BackendNotFound
from bursar.catalogue.models import Agent, Backend, ServiceProvider
from bursar.catalogue.services._common import require_for_provider, tell
from bursar.catalogue.services.backends import FINDINGS_MAX, keep_health
from bursar.plugins.contract import Health
from bursar.structure.models import ApiToken, Person
from bursar.structure.roles import Permission

LEASE: Final = timedelta(seconds=60)
"""So long after an agent was last heard of another may take its place."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A backend as an agent's configuration names it, and what its plugin says of itself."""

    name: str
    plugin: str
    title: str
    version: str
    abilities: Sequence[str]
    components: Sequence[Mapping[str, Any]] = ()
    order_form: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hello:
    """Who comes forward. `instance` lies on the agent's disk; `session` is made anew by each process."""

    instance: UUID
    session: UUID
    host: str
    address: str
    version: str
    clock: datetime
    backends: Sequence[Declared]


def come_forward(
    *, provider: ServiceProvider, hello: Hello, token: ApiToken | None, by: Person, at: datetime
) -> tuple[Agent, dict[str, int]]:
    """Put an agent in charge of its backends; answers it and the backends' ids by name.

    The same instance may come again at any time (it was killed and is back); another one only when the one in charge
    was not heard of for `LEASE`. Who is refused stands with the one in charge, so that both sides learn of it.
    raises   NotAllowed; ProviderNotAuthorized; BackendNotForAgent; AgentInCharge
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, provider, at)
    answer = _try(provider, hello, token, by, at)
    if isinstance(answer[1], dict):
        return answer[0], answer[1]
    holder, what = answer
    rival = {"at": at.isoformat(), "host": hello.host[:255], "address": hello.address, "instance": str(hello.instance)}
    with transaction.atomic():
        Agent.objects.filter(pk=holder.pk).update(rival=rival)
        tell("agent.refused", holder, provider, by=by, at=at, host=holder.host, rival=rival)
    raise AgentInCharge(
        what=what,
        host=holder.host,
        seen_at=holder.seen_at.isoformat(timespec="seconds"),
        lease=int(LEASE.total_seconds()),
    )


@transaction.atomic
def _try(
    provider: ServiceProvider, hello: Hello, token: ApiToken | None, by: Person, at: datetime
) -> tuple[Agent, dict[str, int]] | tuple[Agent, str]:
    ServiceProvider.objects.select_for_update(no_key=True).get(pk=provider.pk)  # two at once: one after the other
    backends = _named(provider, hello.backends)
    live = Agent.objects.filter(provider=provider, stopped_at=None, seen_at__gt=at - LEASE).exclude(
        instance=hello.instance
    )
    wanted = {backend.pk: backend.name for backend in backends.values()}
    same = Q(backends__in=wanted)
    if token is not None:
        same |= Q(token=token)
    holder = live.filter(same).order_by("pk").first()
    if holder is not None:
        held = [wanted[pk] for pk in holder.backends.values_list("pk", flat=True) if pk in wanted]
        return holder, ", ".join(held) or _("this token")
    agent, made = Agent.objects.update_or_create(
        provider=provider,
        instance=hello.instance,
        defaults={
            "session": hello.session,
            "token": token,
            "host": hello.host[:255],
            "address": hello.address[:45],
            "version": hello.version[:40],
            "started_at": at,
            "seen_at": at,
            "stopped_at": None,
            "clock_ahead_ms": round((hello.clock - at) / timedelta(milliseconds=1)),
            "rival": {},
        },
    )
    displaced = Agent.objects.filter(Q(provider=provider, stopped_at=None) & same).exclude(pk=agent.pk)
    Agent.objects.filter(pk__in=set(displaced.values_list("pk", flat=True))).update(stopped_at=at)
    Backend.objects.filter(agent=agent).exclude(pk__in=wanted).update(agent=None)
    for declared in hello.backends:
        backend = backends[declared.name]
        backend.agent = agent
        backend.declared = {
            "title": declared.title[:120],
            "version": declared.version[:80],
            "abilities": sorted(declared.abilities)[:50],
            "components": [dict(each) for each in declared.components][:50],
            "order_form": dict(declared.order_form),
        }
        backend.save(update_fields=["agent", "declared"])
    tell(
        "agent.came" if made else "agent.returned",
        agent,
        provider,
        by=by,
        at=at,
        host=agent.host,
        version=agent.version,
    )
    return agent, {backend.name: pk for pk, backend in ((b.pk, b) for b in backends.values())}


def _named(provider: ServiceProvider, declared: Sequence[Declared]) -> dict[str, Backend]:
    """raises   BackendNotForAgent"""
    there = {
        backend.name: backend
        for backend in Backend.objects.select_for_update(of=("self",)).filter(
            provider=provider, runs_at=Backend.RunsAt.SITE
        )
    }
    for one in declared:
        found = there.get(one.name)
        if found is None or found.plugin != one.plugin:
            known = ", ".join(f"{b.name} ({b.plugin})" for b in there.values()) or _("none")
            raise BackendNotForAgent(name=one.name[:120], plugin=one.plugin[:40], known=known)
    return {one.name: there[one.name] for one in declared}


def agent_of(*, provider: ServiceProvider, session: UUID | None) -> Agent:
    """The agent whose running process this is.

    raises   AgentNotInCharge
    """
    agent = Agent.objects.filter(provider=provider, session=session, stopped_at=None).first() if session else None
    if agent is None:
        raise AgentNotInCharge
    return agent


@transaction.atomic
def keep_alive(
    *,
    provider: ServiceProvider,
    session: UUID,
    clock: datetime,
    status: Mapping[str, Any],
    health: Mapping[int, Health],
    by: Person,
    at: datetime,
) -> Agent:
    """An agent says that it lives, and how it and its backends are.

    raises   NotAllowed; ProviderNotAuthorized; AgentNotInCharge
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, provider, at)
    agent_of(provider=provider, session=session)
    agent = Agent.objects.select_for_update().get(provider=provider, session=session)
    agent.seen_at, agent.status = at, dict(status)
    agent.clock_ahead_ms = round((clock - at) / timedelta(milliseconds=1))
    agent.save(update_fields=["seen_at", "status", "clock_ahead_ms"])
    for backend in Backend.objects.filter(agent=agent, pk__in=health).select_related("provider__organization"):
        keep_health(backend, _bounded(health[backend.pk]), by=by, at=at)
    return agent


@transaction.atomic
def keep_found(
    *,
    provider: ServiceProvider,
    agent: Agent,
    backend_id: int,
    found: Sequence[Mapping[str, Any]],
    by: Person,
    at: datetime,
) -> None:
    """What an agent found at its backend that was not made for Bursar; each time the whole of it.

    raises   NotAllowed; ProviderNotAuthorized; BackendNotFound; AgentNotInCharge
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, provider, at)
    backend = Backend.objects.select_for_update().filter(pk=backend_id, provider=provider).first()
    if backend is None:
        raise BackendNotFound
    if backend.agent_id != agent.pk:
        raise AgentNotInCharge
    backend.found, backend.found_at = [dict(one) for one in found], at
    backend.save(update_fields=["found", "found_at"])


def _bounded(health: Health) -> Health:
    return Health(tuple(health.findings[:FINDINGS_MAX]), health.version[:80])


@transaction.atomic
def leave(*, provider: ServiceProvider, session: UUID, by: Person, at: datetime) -> None:
    """An agent stops in good order; another may come at once.

    raises   NotAllowed; ProviderNotAuthorized; AgentNotInCharge
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, provider, at)
    agent = agent_of(provider=provider, session=session)
    Agent.objects.filter(pk=agent.pk).update(stopped_at=at, seen_at=at)
    tell("agent.left", agent, provider, by=by, at=at, host=agent.host)


def note_seen(*, agent: Agent, at: datetime) -> None:
    """Keep that an agent was heard of; at most once in five seconds, so that reading does not become writing."""
    if agent.seen_at <= at - timedelta(seconds=5):
        Agent.objects.filter(pk=agent.pk, seen_at__lt=at).update(seen_at=at)


def agents_of(provider: ServiceProvider) -> Collection[Agent]:
    """Those in charge of something, then those heard of in the last 30 days; for a page that may be seen already."""
    return list(Agent.objects.filter(provider=provider).prefetch_related("backends").order_by("-seen_at")[:50])
