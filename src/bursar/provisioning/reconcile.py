"""The loop: compares what is wished of a resource with what its backend was found to hold, and takes repeatable steps.

A plugin is asked outside of any transaction; what it answers is written in a short one that first looks whether the wish is
still the same. Killed anywhere, the loop begins again at the first step that is not known to be done: plugins are safe to be
asked again.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bursar.catalogue import registry
from bursar.catalogue.models import Backend
from bursar.kernel.clock import now
from bursar.plugins.contract import Busy, Done, NeedsAction, Plugin, Refused, words_of
from bursar.plugins.steps import GroupWork, QuotaOffer, Step, Unreachable, Wish, asked, bring, keep, mend
from bursar.provisioning import account_steps
from bursar.provisioning.desired import wishes_of
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, ResourceState
from bursar.provisioning.locks import Space, try_lock
from bursar.provisioning.models import Resource
from bursar.provisioning.queue import ask_to_reconcile
from bursar.provisioning.services import messages, outcome, quotas, usage
from bursar.provisioning.services._common import RESOURCE_RELATED

WISHES_AT_ONCE = 5


class Desk:
    """Keeps a plugin's answers about one resource in the tables."""

    def __init__(self, resource: Resource, backend: Backend) -> None:
        self.resource = resource
        self.backend = backend

    @property
    def _named(self) -> dict[str, Any]:
        return {"resource_id": self.resource.pk, "generation": self.resource.generation}

    def wish(self) -> Wish:
        """As it stands now."""
        (wish,) = wishes_of([_load(self.resource.pk) or self.resource], at=now())
        return wish

    def note_made(self, wish: Wish, made: Done) -> Wish | None:
        still = outcome.note_made(
            **self._named, backend_id=made.backend_id, state=made.state, access=made.access, at=now()
        )
        return self.wish() if still else None

    def note_removed(self, wish: Wish) -> Wish | None:
        return self.wish() if outcome.note_removed(**self._named, at=now()) else None

    def keep_accounts(self, plugin: Plugin, wish: Wish) -> Step:
        answer = account_steps.accounts_of(plugin, self.resource)
        return answer, self.wish()

    def group_work(self, wish: Wish) -> GroupWork | Refused | NeedsAction | None:
        return account_steps.group_work(self.resource)

    def note_group(self, wish: Wish, work: GroupWork) -> Wish | None:
        account_steps.note_group(self.resource, work)
        return wish

    def note_members(self, wish: Wish, usernames: Sequence[str]) -> Wish | None:
        Resource.objects.filter(pk=self.resource.pk).update(members=list(usernames), members_at=now())
        return wish

    def offer_quota(self, wish: Wish) -> QuotaOffer | None:
        return quotas.offer_quota(resource_id=self.resource.pk, workspace_id=self.resource.workspace_id, at=now())

    def note_quota(self, wish: Wish, offer: QuotaOffer) -> Wish | None:
        quotas.confirm_quota(
            resource_id=self.resource.pk,
            workspace_id=self.resource.workspace_id,
            number=offer.number,
            shares=offer.shares,
            at=now(),
        )
        return wish

    def last_usage_is_in(self, wish: Wish) -> bool:
        return usage.pull(self.resource.offering_id)


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


def _backend_of(resource: Resource) -> tuple[Backend, Plugin]:
    """raises   Unreachable"""
    backend = resource.offering.backend
    if backend is None:
        raise Unreachable("The offering has no backend.")
    if not backend.enabled:
        raise Unreachable(f"The backend {backend.name} is switched off.")
    return backend, asked(lambda: registry.make(backend))


def _take_up(resource_id: int) -> bool:
    """One wish, from its first step to its end. Answers whether another wish came meanwhile."""
    resource = _load(resource_id)
    if resource is None or resource.matches or resource.state in {ResourceState.FAILED, ResourceState.TERMINATED}:
        return False
    named: dict[str, Any] = {"resource_id": resource.pk, "generation": resource.generation}
    try:
        backend, plugin = _backend_of(resource)
        desk = Desk(resource, backend)
        (wish,) = wishes_of([resource], at=now())
        answer = bring(plugin, wish, desk)
    except Unreachable as error:
        return not outcome.note_unreachable(**named, message=str(error), at=now())
    if answer is None:
        return True
    if isinstance(answer, Done):
        return not outcome.note_matching(**named, paused=resource.desired_paused, at=now())
    if isinstance(answer, Busy):
        return not outcome.note_busy(
            **named,
            retry_after_seconds=answer.retry_after_seconds,
            message=answer.message,
            state=answer.state,
            at=now(),
        )
    if isinstance(answer, NeedsAction):
        return not outcome.note_work(**named, what=answer.what, at=now())
    assert isinstance(answer, Refused)
    # A refusal is an end for this wish: a wish that follows from it has a job of its own.
    outcome.note_refused(**named, why=answer.why, at=now())
    return Resource.objects.filter(pk=resource.pk, generation__gt=resource.generation).exists()


def sync(resource_id: int, *, force: bool = False) -> bool:
    """Keep the members and the quota of a resource that matches its wish in step. Answers whether it could be done now."""
    with try_lock(Space.RESOURCE, resource_id) as held:
        resource = _load(resource_id) if held else None
        if not held:
            return False
        if resource is None or not resource.matches or resource.state not in LIVE_RESOURCE_STATES:
            return True  # the loop tells them with the rest
        if resource.offering.backend is None or not resource.offering.backend.enabled:
            return True
        try:
            backend, plugin = _backend_of(resource)
            (wish,) = wishes_of([resource], at=now())
            step = keep(plugin, wish, Desk(resource, backend), force=force)
        except Unreachable as error:
            outcome.note_out_of_step(resource_id=resource.pk, message=str(error), unreachable=True, at=now())
            return False
        answer = Done() if step is None else step[0]
        if isinstance(answer, Busy):
            return False
        message = words_of(answer)
        outcome.note_out_of_step(resource_id=resource.pk, message=message, unreachable=False, at=now())
        return True


def mend_resource(resource_id: int) -> bool:
    """Compare a resource that matches with what its backend really holds, and put back what was changed there by hand.

    Answers whether it could be done now; what was mended is said on the resource's page.
    """
    with try_lock(Space.RESOURCE, resource_id) as held:
        resource = _load(resource_id) if held else None
        if resource is None or not resource.matches or resource.state not in LIVE_RESOURCE_STATES:
            return held
        try:
            backend, plugin = _backend_of(resource)
            desk = Desk(resource, backend)
            mended = mend(plugin, desk.wish(), desk)
        except Unreachable as error:
            outcome.note_out_of_step(resource_id=resource.pk, message=str(error), unreachable=True, at=now())
            return False
        if mended is not None and mended[1]:
            messages.note_mended(resource=resource, words=" ".join(mended[1]), at=now())
        return mended is not None and isinstance(mended[0], Done)


def keep_accounts(backend_id: int) -> bool:
    """Have a backend's accounts made, blocked and removed as they are to be. Answers whether all could be done now."""
    with try_lock(Space.ACCOUNTS, backend_id) as held:
        backend = Backend.objects.select_related("provider__organization").filter(pk=backend_id).first()
        if not held:
            return False
        if backend is None or not backend.enabled:
            return True
        try:
            plugin = asked(lambda: registry.make(backend))
            answers = [step(plugin, backend) for step in (account_steps.end_what_must_end, account_steps.make_accounts)]
        except Unreachable:
            return False
        return all(isinstance(answer, Done) for answer in answers)
