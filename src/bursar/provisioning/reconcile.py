"""The loop: compares what is wished of a resource with what its backend was found to hold, and takes repeatable steps.

A plugin is asked outside of any transaction; what it answers is written in a short one that first looks whether the wish is
still the same. Killed anywhere, the loop begins again at the first step that is not known to be done: plugins are safe to be
asked again.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from bursar.catalogue import registry
from bursar.kernel.clock import now
from bursar.kernel.errors import DomainError
from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    DesiredResource,
    Done,
    EnforcesQuota,
    ManagesAccounts,
    ManagesMembers,
    NeedsAction,
    Outcome,
    Pauses,
    Plugin,
    Provisions,
    Refused,
    can,
)
from bursar.provisioning import quota
from bursar.provisioning.desired import desired_of
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, ResourceState
from bursar.provisioning.locks import Space, try_lock
from bursar.provisioning.models import Resource
from bursar.provisioning.queue import ask_to_reconcile, ask_to_sync
from bursar.provisioning.services import accounts, outcome, usage
from bursar.provisioning.services._common import RESOURCE_RELATED

logger = logging.getLogger(__name__)

T = TypeVar("T")

WISHES_AT_ONCE = 5


class Unreachable(Exception):
    """The backend cannot be asked now, whatever the cause; the message is for a person at the provider."""


def asked(work: Callable[[], T]) -> T:
    """Call a stranger's code.

    raises   Unreachable: it said so, or it broke; what broke goes to the log and not to the page
    """
    try:
        return work()
    except BackendUnreachable as error:
        raise Unreachable(str(error)) from error
    except DomainError as error:  # the registry: no such plugin, broken, secrets unreadable
        raise Unreachable(str(error)) from error
    except Exception as error:
        logger.exception("a plugin broke")
        raise Unreachable(f"The plugin broke: {type(error).__name__}. The server's log says where.") from error


def reconcile(resource_id: int) -> None:
    """Bring one resource's backend to match its wish, as far as it goes now."""
    with try_lock(Space.RESOURCE, resource_id) as held:
        if not held:  # somebody is at it, perhaps for an older wish
            ask_to_reconcile(resource_id, run_at=now() + timedelta(seconds=3))
            return
        for _ in range(WISHES_AT_ONCE):
            if not _take_up(resource_id):
                return
    ask_to_reconcile(resource_id)


def _load(resource_id: int) -> Resource | None:
    return Resource.objects.select_related(*RESOURCE_RELATED).filter(pk=resource_id).first()


def _take_up(resource_id: int) -> bool:
    """One wish, from its first step to its end. Answers whether another wish came meanwhile."""
    resource = _load(resource_id)
    if resource is None or resource.matches or resource.state in {ResourceState.FAILED, ResourceState.TERMINATED}:
        return False
    wish = {"resource_id": resource.pk, "generation": resource.generation}
    try:
        backend = resource.offering.backend
        if backend is None:
            raise Unreachable("The offering has no backend.")
        if not backend.enabled:
            raise Unreachable(f"The backend {backend.name} is switched off.")
        plugin = asked(lambda: registry.make(backend))
        answer = _remove(plugin, resource, wish) if resource.desired_gone else _ensure(plugin, resource, wish)
    except Unreachable as error:
        return not outcome.note_unreachable(**wish, message=str(error), at=now())
    if answer is None:
        return True
    if isinstance(answer, Done):
        return not outcome.note_matching(**wish, paused=resource.desired_paused, at=now())
    if isinstance(answer, Busy):
        return not outcome.note_busy(
            **wish, retry_after_seconds=answer.retry_after_seconds, message=answer.message, state=answer.state, at=now()
        )
    if isinstance(answer, NeedsAction):
        return not outcome.note_work(**wish, what=answer.what, at=now())
    assert isinstance(answer, Refused)
    # A refusal is an end for this wish: a wish that follows from it has a job of its own.
    outcome.note_refused(**wish, why=answer.why, at=now())
    return _is_newer(resource)


def _is_newer(resource: Resource) -> bool:
    return Resource.objects.filter(pk=resource.pk, generation__gt=resource.generation).exists()


def _ensure(plugin: Plugin, resource: Resource, wish: dict[str, Any]) -> Outcome | None:
    """Every step to a resource that matches; None when a newer wish came in between.

    Quota and members are set before it is called ready: nobody may use what nothing limits.
    """
    desired = _desired(resource)
    if can(plugin, Provisions):
        answer = asked(lambda: plugin.ensure(desired))
        if not isinstance(answer, Done):
            return answer
        if not outcome.note_made(
            **wish, backend_id=answer.backend_id, state=answer.state, access=answer.access, at=now()
        ):
            return None
        resource = _load(resource.pk) or resource
    for step in (sync_accounts, sync_members, sync_quota):
        answer = step(plugin, resource)
        if not isinstance(answer, Done):
            return answer
    if can(plugin, Pauses) and resource.desired_paused != resource.observed_paused:
        desired = _desired(resource)
        return asked(lambda: plugin.pause(desired) if resource.desired_paused else plugin.resume(desired))
    if resource.desired_paused != resource.observed_paused:
        return Refused("The backend cannot pause.")
    return Done()


def _remove(plugin: Plugin, resource: Resource, wish: dict[str, Any]) -> Outcome | None:
    """Remove it, then read its last usage; only then it is gone."""
    if resource.removed_at is None:
        desired = _desired(resource)
        if can(plugin, Provisions):
            answer = asked(lambda: plugin.remove(desired))
            if not isinstance(answer, Done):
                return answer
        if not outcome.note_removed(**wish, at=now()):
            return None
    if not usage.pull(resource.offering_id):
        return Busy(3, "Its last usage is being read.")
    return Done()


def _desired(resource: Resource) -> DesiredResource:
    (desired,) = desired_of([resource], at=now())
    return desired


# ------------------------------------------------------------------------------------------------ what is kept in step
def sync_accounts(plugin: Plugin, resource: Resource) -> Outcome:
    """Ask for a local account for each user of the resource who has none, where the backend makes accounts."""
    backend = resource.offering.backend
    if backend is None or not can(plugin, ManagesAccounts):
        return Done()
    desired = _desired(resource)
    missing = [
        member for member in (*desired.members, *((desired.owner,) if desired.owner else ())) if not member.username
    ]
    known: set[int] = set()
    for member in missing:
        if member.person_id in known:
            continue
        known.add(member.person_id)
        answer = asked(partial(plugin.ensure_account, member))
        if not isinstance(answer, Done):
            return answer
        if answer.backend_id:
            accounts.note_account(backend=backend, person_id=member.person_id, username=answer.backend_id, at=now())
    return Done()


def sync_members(plugin: Plugin, resource: Resource, *, force: bool = True) -> Outcome:
    """Tell the backend exactly who may use the resource, when it changed or `force`."""
    if not can(plugin, ManagesMembers):
        return Done()
    desired = _desired(resource)
    names = sorted(member.username for member in desired.members if member.username)
    if not force and resource.members == names:
        return Done()
    answer = asked(lambda: plugin.set_members(desired))
    if isinstance(answer, Done):
        Resource.objects.filter(pk=resource.pk).update(members=names, members_at=now())
    return answer


def sync_quota(plugin: Plugin, resource: Resource, *, force: bool = True) -> Outcome:
    """Tell the backend what the resource may still draw, when it changed or `force`."""
    if not can(plugin, EnforcesQuota):
        return Done()
    with try_lock(Space.QUOTA, resource.workspace_id) as held:  # two of one wallet at once could promise it twice
        if not held:
            return Busy(2, "The quota of its workspace is being set.")
        shares = quota.quota_of(resource, at=now())
        told = quota.stored(shares)
        if not force and resource.quota == told:
            return Done()
        desired = _desired(resource)
        answer = asked(lambda: plugin.enforce_quota(desired, shares))
        if isinstance(answer, Done):
            Resource.objects.filter(pk=resource.pk).update(quota=told, quota_at=now())
    if isinstance(answer, Done):
        for fellow in quota.fellows_to_tell(resource, shares, at=now()):
            ask_to_sync(fellow)
    return answer


def sync(resource_id: int, *, force: bool = False) -> bool:
    """Keep the members and the quota of a resource that matches its wish in step. Answers whether it could be done now."""
    with try_lock(Space.RESOURCE, resource_id) as held:
        resource = _load(resource_id) if held else None
        if not held:
            return False
        if resource is None or not resource.matches or resource.state not in LIVE_RESOURCE_STATES:
            return True  # the loop tells them with the rest
        backend = resource.offering.backend
        if backend is None or not backend.enabled:
            return True
        try:
            plugin = asked(lambda: registry.make(backend))
            for answer in (
                sync_accounts(plugin, resource),
                sync_members(plugin, resource, force=force),
                sync_quota(plugin, resource, force=force),
            ):
                if isinstance(answer, Refused | NeedsAction):
                    message = answer.why if isinstance(answer, Refused) else answer.what
                    Resource.objects.filter(pk=resource.pk).update(message=message[:1000])
                    return True
                if isinstance(answer, Busy):
                    return False
        except Unreachable as error:
            Resource.objects.filter(pk=resource.pk, unreachable_since=None).update(unreachable_since=now())
            Resource.objects.filter(pk=resource.pk).update(message=str(error)[:1000])
            return False
        Resource.objects.filter(pk=resource.pk).exclude(message="", unreachable_since=None).update(
            message="", unreachable_since=None
        )
        return True
