"""What an agent at a provider's site does in the loop's place: each verb writes one answer of a plugin that runs there.

The agent takes the same steps as the loop (`plugins.steps`); its desk is these verbs, through the API. Only the agent that is
in charge of a resource's backend is heard, and only about the wish that it answers to.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from bursar.catalogue.errors import AgentNotInCharge
from bursar.catalogue.models import Agent, Backend, ServiceProvider
from bursar.events.services import look_again
from bursar.kernel.clock import now
from bursar.plugins.contract import Busy, ComponentQuota, Done, NeedsAction, Outcome, Refused
from bursar.plugins.steps import GroupWork, QuotaOffer
from bursar.provisioning import account_steps, quota
from bursar.provisioning.desired import desired_of
from bursar.provisioning.errors import AccountNotOffered, ResourceNotFound
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES
from bursar.provisioning.models import LocalAccount, Resource
from bursar.provisioning.services import outcome, quotas
from bursar.provisioning.services._common import RESOURCE_RELATED

SUBJECT = "resource"
DRIFT = 20
"""A share of a wallet that changed by less than a twentieth is told at the next turn, not at once."""


def leave_to_agent(resource_id: int, *, in_step: bool = False) -> bool:
    """Have a resource's agent look at it, where it has one; False: its backend runs here.

    in_step   only if its members or its share of a wallet are not what the agent was last told
    """
    resource = Resource.objects.select_related(*RESOURCE_RELATED).filter(pk=resource_id).first()
    backend = None if resource is None else resource.offering.backend
    if resource is None or backend is None or not backend.at_site:
        return False
    account_steps.want_accounts_of(resource)
    if not in_step or (resource.matches and resource.state in LIVE_RESOURCE_STATES and _is_out_of_step(resource)):
        with transaction.atomic():
            look_again(SUBJECT, [resource.pk])
    return True


def leave_accounts_to_agent(backend_id: int) -> bool:
    """Have a backend's agent look at the accounts that are not held as they are to be; False: the backend runs here."""
    backend = Backend.objects.filter(pk=backend_id, runs_at=Backend.RunsAt.SITE).first()
    if backend is None:
        return False
    account_steps.name_wanted(backend)
    unsettled = account_steps.work_on(LocalAccount.objects.filter(backend=backend).values_list("pk", flat=True))
    with transaction.atomic():
        look_again("account", sorted(unsettled))
    return True


def _is_out_of_step(resource: Resource) -> bool:
    at = now()
    (desired,) = desired_of([resource], at=at)
    names = sorted(member.username for member in desired.members if member.username)
    if any(not member.username for member in desired.members) or (resource.members or []) != names:
        return True
    told = {component: (available, locked) for component, available, locked in resource.quota or ()}
    for share in quota.quota_of(resource, at=at):
        available, locked = told.get(share.component, (0, not share.locked))
        if locked != share.locked or (available is None) != (share.available is None):
            return True
        if available is not None and share.available is not None:
            beyond = abs(available - share.available)
            if beyond and (beyond > share.available // DRIFT or share.available == 0):
                return True
    return False


def resource_of(*, provider: ServiceProvider, agent: Agent, resource_id: int) -> Resource:
    """raises   ResourceNotFound: there is none of this provider; AgentNotInCharge: its backend is not this agent's"""
    resource = (
        Resource.objects.select_related(*RESOURCE_RELATED).filter(pk=resource_id, offering__provider=provider).first()
    )
    if resource is None:
        raise ResourceNotFound
    backend = resource.offering.backend
    if backend is None or backend.agent_id != agent.pk:
        raise AgentNotInCharge
    return resource


def note_made(
    *,
    resource: Resource,
    generation: int,
    backend_id: str,
    state: Mapping[str, Any],
    access: Mapping[str, str],
    at: datetime,
) -> bool:
    return outcome.note_made(
        resource_id=resource.pk, generation=generation, backend_id=backend_id, state=state, access=access, at=at
    )


def note_removed(*, resource: Resource, generation: int, at: datetime) -> bool:
    return outcome.note_removed(resource_id=resource.pk, generation=generation, at=at)


def note_members(*, resource: Resource, usernames: Sequence[str], at: datetime) -> bool:
    return bool(Resource.objects.filter(pk=resource.pk).update(members=list(usernames), members_at=at))


def want_accounts(*, resource: Resource) -> None:
    """Ask for the accounts that a resource's users lack, where accounts come by themselves."""
    account_steps.want_accounts_of(resource)


def group_work(*, resource: Resource) -> GroupWork | NeedsAction | None:
    return account_steps.group_work(resource)


def note_group(*, resource: Resource, work: GroupWork) -> bool:
    """raises   ResourceNotFound when the group is not that of the resource's project"""
    if resource.workspace.project_id != work.group.project_id:
        raise ResourceNotFound
    account_steps.note_group(resource, work)
    return True


def account_of(*, provider: ServiceProvider, agent: Agent, account_id: int) -> LocalAccount:
    """raises   AccountNotOffered: there is none of this provider; AgentNotInCharge: its backend is not this agent's"""
    account = (
        LocalAccount.objects.select_related("person", "backend__provider__organization")
        .filter(pk=account_id, backend__provider=provider)
        .first()
    )
    if account is None:
        raise AccountNotOffered
    if account.backend.agent_id != agent.pk:
        raise AgentNotInCharge
    return account


def note_account(*, account: LocalAccount, work: account_steps.Work, answer: Outcome) -> bool:
    """What a backend answered about an account; False: something else is wanted of it by now."""
    if account_steps.work_on([account.pk]).get(account.pk) != work:
        return False
    account_steps.note_answer(account, work, answer)
    return True


def offer_quota(*, resource: Resource, at: datetime) -> QuotaOffer:
    return quotas.offer_quota(resource_id=resource.pk, workspace_id=resource.workspace_id, at=at)


def note_quota(*, resource: Resource, number: int, shares: Sequence[ComponentQuota], at: datetime) -> bool:
    return quotas.confirm_quota(
        resource_id=resource.pk, workspace_id=resource.workspace_id, number=number, shares=shares, at=at
    )


def note_answer(*, resource: Resource, generation: int, paused: bool, answer: Outcome, at: datetime) -> bool:
    """How a wish ended for now. Answers whether it was still the wish."""
    named: dict[str, Any] = {"resource_id": resource.pk, "generation": generation, "at": at}
    match answer:
        case Done():
            return outcome.note_matching(**named, paused=paused)
        case Busy(seconds, message, state):
            return outcome.note_busy(**named, retry_after_seconds=seconds, message=message, state=state)
        case NeedsAction(what):
            return outcome.note_work(**named, what=what)
        case Refused(why):
            return outcome.note_refused(**named, why=why)


def note_unreachable(*, resource: Resource, generation: int, message: str, at: datetime) -> bool:
    return outcome.note_unreachable(resource_id=resource.pk, generation=generation, message=message, at=at)


def note_in_step(*, resource: Resource, message: str, unreachable: bool, at: datetime) -> None:
    """What keeps members and quota of a matching resource from being told; "" = nothing does."""
    outcome.note_out_of_step(resource_id=resource.pk, message=message, unreachable=unreachable, at=at)
