"""Taking over what is at a backend and was not ordered here: it becomes somebody's resource as it stands.

It gets a done order, because everything that a resource is billed and judged by begins with one, and because the customer's
side sees there who did it, when, and what it draws. Nobody on that side is asked: what was there goes on as it was, and can be
taken over only into a workspace that may draw on it already.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils.translation import gettext

from bursar.catalogue import registry
from bursar.catalogue.models import Backend, Component, Offering
from bursar.catalogue.waiting import WAIT_SECONDS, NotInTime, within
from bursar.kernel.errors import At, DomainError
from bursar.kernel.refusals import words
from bursar.plugins import wire
from bursar.plugins.contract import BackendUnreachable, DesiredResource, Imports, can
from bursar.provisioning import gate, pricing
from bursar.provisioning.errors import (
    AbilityMissing,
    BackendMissing,
    ImportableUnknown,
    NotThere,
    TakenAlready,
    TakeOversAtFault,
    ThingNamedTwice,
    TooManyAtOnce,
    WorkspaceNotFound,
)
from bursar.provisioning.lifecycle import OrderState, ResourceAction, ResourceState
from bursar.provisioning.models import Order, OrderDecision, Resource, Side
from bursar.provisioning.queue import ask_to_reconcile, ask_to_sync
from bursar.provisioning.services._common import RESOURCE_RELATED, decide, hold_ledgers_of, step_resource, tell
from bursar.provisioning.services.orders import (
    LIMIT_MAX,
    NAME_LENGTH_MAX,
    check_limits,
    check_name,
    check_offering,
    check_plan,
    check_room,
    check_workspace,
    make_resource,
    money_of,
    wish_anew,
)
from bursar.provisioning.services.outcome import post_levels
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require

logger = logging.getLogger(__name__)

AT_ONCE_MAX: Final = 100
FOUND_MAX: Final = 5_000
BACKEND_ID_LENGTH_MAX: Final = 255
NOTES_LENGTH_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Found:
    """A thing at the backend, with what it is called there; `resource` is what it is here already."""

    backend_id: str
    name: str
    limits: Mapping[str, int]
    form: Mapping[str, Any]
    state: Mapping[str, Any]
    resource: Resource | None = None


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Whose resource a thing becomes.

    workspace   None = none of those that may be chosen
    name        "" = as it is called at the backend
    """

    backend_id: str
    workspace: Workspace | None
    plan_id: int | None
    name: str = ""


def importable(*, offering: Offering, by: Person | None, at: datetime) -> list[Found]:
    """What the backend tells that it holds, by its names there; what is a resource here already says so.

    Not in a transaction: the backend is asked while the caller waits.
    raises   NotAllowed; BackendMissing; AbilityMissing; ImportableUnknown
    """
    require(by, Permission.HANDLE_ORDERS, offering.provider.organization, at)
    backend = offering.backend
    if backend is None:
        raise BackendMissing(offering=offering.name)
    there = _asked(backend, offering)
    taken = _taken(backend, list(there))
    return [
        Found(t.backend_id, t.name, t.limits, t.form, t.state, taken.get(t.backend_id))
        for t in sorted(there.values(), key=lambda found: (found.name.casefold(), found.backend_id))
    ]


def _asked(backend: Backend, offering: Offering) -> dict[str, Found]:
    """Backend id -> thing, as the plugin tells it now."""
    hidden: list[str] = []
    if backend.at_site:
        return _told_by_agent(backend)
    try:
        plugin = registry.make(backend)
        if not can(plugin, Imports):
            raise AbilityMissing(offering=offering.name, ability="take over")
        hidden = list(registry.secrets_of(backend).values())
        found = within(WAIT_SECONDS, lambda: _read(plugin))
    except AbilityMissing:
        raise
    except NotInTime:
        why = gettext("It did not answer within {seconds} seconds.").format(seconds=WAIT_SECONDS)
        raise ImportableUnknown(backend=backend.name, why=why) from None
    except (BackendUnreachable, DomainError) as error:
        raise ImportableUnknown(backend=backend.name, why=registry.redact(str(error), hidden)) from None
    except Exception as error:  # a stranger's code
        logger.exception("a plugin broke while telling what is there")
        why = gettext("The plugin broke: {error}. The server's log says where.").format(error=type(error).__name__)
        raise ImportableUnknown(backend=backend.name, why=why) from None
    return {thing.backend_id: thing for thing in found}


def _read(plugin: Imports) -> list[Found]:
    told = plugin.importable()
    if not isinstance(told, Sequence) or len(told) > FOUND_MAX:
        raise ValueError(f"more than {FOUND_MAX} things, or no list")
    return [_checked(thing) for thing in told]


def _told_by_agent(backend: Backend) -> dict[str, Found]:
    """raises   ImportableUnknown"""
    if backend.found_at is None:
        why = gettext("Its agent has not told yet what is there. It does so within some minutes of its start.")
        raise ImportableUnknown(backend=backend.name, why=why)
    try:
        found = [_checked(thing) for thing in wire.load(list[DesiredResource], backend.found)]
    except ValueError as error:
        raise ImportableUnknown(backend=backend.name, why=str(error)[:300]) from None
    return {thing.backend_id: thing for thing in found}


def _checked(thing: DesiredResource) -> Found:
    """raises   ValueError for what no backend should tell"""
    if not 0 < len(thing.backend_id) <= BACKEND_ID_LENGTH_MAX or not thing.backend_id.isprintable():
        raise ValueError("a backend id that is none")
    name = " ".join("".join(c if c.isprintable() else " " for c in thing.name).split())[:NAME_LENGTH_MAX]
    limits = dict(thing.limits)
    if any(type(limit) is not int or not 0 <= limit <= LIMIT_MAX for limit in limits.values()):
        raise ValueError("a limit that is none")
    form, state = dict(thing.form), dict(thing.state)
    if len(json.dumps([form, state])) > NOTES_LENGTH_MAX:
        raise ValueError("a form and state of more than can be kept")
    return Found(thing.backend_id, name or thing.backend_id[:NAME_LENGTH_MAX], limits, form, state)


def _taken(backend: Backend, backend_ids: Sequence[str]) -> dict[str, Resource]:
    """Backend id -> the live resource that it is, whether it was ordered or taken over."""
    live = (
        Resource.objects.filter(offering__backend=backend, backend_id__in=backend_ids)
        .exclude(state=ResourceState.TERMINATED)
        .select_related(*RESOURCE_RELATED)
    )
    return {resource.backend_id: resource for resource in live.order_by("-pk")}


def take_over(*, offering: Offering, wishes: Sequence[TakeOver], by: Person | None, at: datetime) -> list[Resource]:
    """Make things at the backend resources of these workspaces, all of them or none.

    Each is ready at once, with the limits it has; what was used before is no wallet's. Where the backend does not tell a limit
    that the offering has, it is asked to hold the usual one. Members and quota are told to it next.
    raises   as `importable`; TooManyAtOnce; TakeOversAtFault, which holds for each at fault: ThingNamedTwice, NotThere,
             TakenAlready, OfferingNotVisible, OfferingNotActive, WorkspaceEnded, WorkspaceNotStarted, PlanNotAvailable,
             PlanSoldOut, NameNeeded, LimitTooSmall, LimitTooLarge, NoValidAllocation
    """
    require(by, Permission.HANDLE_ORDERS, offering.provider.organization, at)
    if not 1 <= len(wishes) <= AT_ONCE_MAX:
        raise TooManyAtOnce(limit=AT_ONCE_MAX)
    backend = offering.backend
    if backend is None:
        raise BackendMissing(offering=offering.name)
    there = _asked(backend, offering)
    return _take(offering, backend, wishes, there, by, at)


@transaction.atomic
def _take(
    offering: Offering,
    backend: Backend,
    wishes: Sequence[TakeOver],
    there: Mapping[str, Found],
    by: Person | None,
    at: datetime,
) -> list[Resource]:
    # As whoever posts usage: the ledgers first, then the backend. Two at once: the second sees what the first took.
    hold_ledgers_of(backend)
    Backend.objects.select_for_update().only("pk").get(pk=backend.pk)
    taken = _taken(backend, [wish.backend_id for wish in wishes])
    components = list(offering.components.select_related("category__provider__organization"))
    faults: list[At] = []
    made: list[Resource] = []
    named: set[str] = set()
    for index, wish in enumerate(wishes):
        found_id = wish.backend_id[:100]
        try:
            if wish.backend_id in named:
                raise ThingNamedTwice(found_id=found_id)
            named.add(wish.backend_id)
            if (resource := taken.get(wish.backend_id)) is not None:
                raise TakenAlready(found_id=found_id, resource=resource.name, workspace=str(resource.workspace))
            if wish.backend_id not in there:
                raise NotThere(found_id=found_id)
            if wish.workspace is None:
                raise WorkspaceNotFound
            with transaction.atomic():
                made.append(
                    _take_one(offering, backend, wish, wish.workspace, there[wish.backend_id], components, by, at)
                )
        except DomainError as refusal:
            faults.append(At(index, refusal))
        except IntegrityError as error:
            if getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") != "taken_over_once":
                raise
            # Another offering of a backend that was exchanged meanwhile: the database is the last to know.
            faults.append(At(index, TakenAlready(found_id=found_id, resource="–", workspace="–")))
    if faults:
        first = words(faults[0].refusal, gettext)
        raise TakeOversAtFault(count=len(faults), first=first, each=tuple(faults))
    return made


def _take_one(
    offering: Offering,
    backend: Backend,
    wish: TakeOver,
    workspace: Workspace,
    thing: Found,
    components: list[Component],
    by: Person | None,
    at: datetime,
) -> Resource:
    check_offering(offering, workspace, kind=Order.Kind.CREATE)
    check_workspace(workspace, start=None, at=at)
    plan = check_plan(offering, workspace, wish.plan_id)
    limited = {c.key for c in components if c.billing == Component.Billing.LIMIT}
    known = {key: limit for key, limit in thing.limits.items() if key in limited}
    limits = check_limits(components, known)
    gate.require_payer(workspace, plan, components, at=at)
    gate.require_allocations(workspace, components, at=at)
    check_room(plan)
    order = _done_order(
        offering, workspace, check_name(wish.name or thing.name), plan, limits, thing, components, by, at
    )
    resource = make_resource(order, components, at=at)
    resource.backend_id, resource.plugin_state = thing.backend_id, dict(thing.state)
    resource.taken_over_from, resource.taken_over_at = backend, at
    resource.observed_generation, resource.observed_at = resource.generation, at
    resource.first_ok_at = at
    facts = {"taken_over": True, "backend": backend.pk, "backend_id": thing.backend_id}
    step_resource(resource, ResourceAction.COMPLETE, by=by, at=at, order=order, facts=facts)
    resource.save()
    order.resource, order.state, order.generation = resource, OrderState.DONE.value, resource.generation
    order.executed_at = order.closed_at = at
    order.save()
    tell("resource.taken_over", resource, by=by, at=at, facts={**facts, "order": order.pk})
    post_levels(resource, components, at=at)
    if known != limits:
        # The backend was not heard to hold these: it is asked to, as after a change.
        step_resource(resource, ResourceAction.CHANGE, by=by, at=at, order=order, facts={"why": "taken over"})
        wish_anew(resource)
        resource.save()
        ask_to_reconcile(resource.pk)
    else:
        ask_to_sync(resource.pk)
    return resource


def _done_order(
    offering: Offering,
    workspace: Workspace,
    name: str,
    plan: Any,
    limits: dict[str, int],
    thing: Found,
    components: list[Component],
    by: Person | None,
    at: datetime,
) -> Order:
    estimate = pricing.estimate_for(plan, components, limits, at=at, first=False, switched=False)
    order = Order(
        kind=Order.Kind.CREATE,
        workspace=workspace,
        offering=offering,
        plan=plan,
        name=name,
        limits=limits,
        form=dict(thing.form),
        comment=gettext("Taken over as it was at the backend, where it is called {name}.").format(
            name=thing.backend_id
        ),
        estimate_month=money_of(estimate.month),
        estimate_once=money_of(estimate.once),
        currency=offering.provider.organization.currency,
        estimate_ticks={str(category): ticks for category, ticks in estimate.ticks.items()},
        state=OrderState.PENDING_START.value,
        created_by=by,
        created_at=at,
    )
    order.save()  # without verdicts: no policy was asked
    reason = gettext("It was there already.")
    decide(order, Side.CONSUMER, OrderDecision.Decision.NOT_ASKED, by=None, at=at, reason=reason)
    decide(order, Side.PROVIDER, OrderDecision.Decision.APPROVED, by=by, at=at, reason=reason)
    return order
