"""What may be done to a resource without an order: pause, resume, name, end, its own actions, and a new attempt."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.db import transaction

from bursar.catalogue import registry
from bursar.catalogue.order_form import validate_schema, validate_values
from bursar.catalogue.waiting import WAIT_SECONDS, NotInTime, within
from bursar.plugins.contract import (
    Actions,
    ActionSpec,
    Busy,
    Done,
    NeedsAction,
    Outcome,
    Pauses,
    Presence,
    Refused,
    can,
    words_of,
)
from bursar.plugins.manual import plugin as manual
from bursar.plugins.steps import Unreachable, asked
from bursar.provisioning import abilities, gate, holds
from bursar.provisioning.desired import desired_of
from bursar.provisioning.errors import (
    AbilityMissing,
    ActionRefused,
    ActionUnanswered,
    ActionUnknown,
    BackendUnreachableNow,
    NoWorkAwaited,
    PausedByBudget,
    ReasonNeeded,
    ResourceStepNotOpen,
)
from bursar.provisioning.lifecycle import ResourceAction, ResourceState
from bursar.provisioning.models import Order, OrderDecision, Resource, Side
from bursar.provisioning.policies import role_names
from bursar.provisioning.queue import ask_to_reconcile, ask_to_sync
from bursar.provisioning.services import outcome
from bursar.provisioning.services._common import decide, lock_resource, step_resource, tell
from bursar.provisioning.services.orders import check_end, check_name, raise_if_open_order, require_not_held, wish_anew
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require

OFFERS_SECONDS: Final = 5
"""How long a page waits to learn what may be done: it has more to show than that."""
ANSWERS_MAX: Final = 50
LABEL_LENGTH_MAX: Final = 120


def require_either_side(resource: Resource, permission: Permission, by: Person | None, at: datetime) -> None:
    """The provider's people, or those of the customer's side with the permission.

    raises   NotAllowed
    """
    if by is None or may(by, Permission.HANDLE_ORDERS, resource.offering.provider.organization, at):
        return
    require(by, permission, resource.workspace, at)


def _require_ability(resource: Resource, protocol: type, ability: str) -> None:
    if not abilities.can(resource.offering, protocol):
        raise AbilityMissing(offering=resource.offering.name, ability=ability)


def _set_paused(resource_id: int, *, paused: bool, by: Person | None, at: datetime) -> Resource:
    resource = lock_resource(resource_id)
    require_either_side(resource, Permission.PLACE_ORDER, by, at)
    action = "pause" if paused else "resume"
    _require_ability(resource, Pauses, action)
    wanted = ResourceState.OK if paused else ResourceState.PAUSED
    if resource.state != wanted or resource.desired_paused == paused:
        raise ResourceStepNotOpen(state=ResourceState(resource.state).label, action=action)
    raise_if_open_order(resource)
    if not paused:
        _require_no_hold(resource, at=at)
        require_room_to_run(resource, at=at)
    wish_paused(resource, paused, why=action, by=by, at=at)
    return resource


def _require_no_hold(resource: Resource, *, at: datetime) -> None:
    for hold in holds.holds_on(resource.workspace, holds.Effect.RESOURCES)[:1]:
        if holds.Paid(at=at)(resource.plan):
            raise PausedByBudget(why=holds.words_of_hold(hold, amounts=False), roles=role_names(holds.AGREEING_ROLES))


def require_room_to_run(resource: Resource, *, at: datetime) -> None:
    """raises   NoValidAllocation, QuotaUsedUp"""
    components = list(resource.offering.components.select_related("category__provider__organization"))
    gate.require_allocations(resource.workspace, components, at=at, new=True)


def wish_paused(resource: Resource, paused: bool, *, why: str, by: Person | None, at: datetime) -> None:
    """Make it the wish that a locked resource stands still or runs, and have the loop see to it."""
    step_resource(resource, ResourceAction.CHANGE, by=by, at=at, facts={"why": why})
    wish_anew(resource)
    resource.desired_paused = paused
    resource.save()
    ask_to_reconcile(resource.pk)


@transaction.atomic
def pause_resource(*, resource_id: int, by: Person | None, at: datetime) -> Resource:
    """Let a resource stand still; it keeps what it holds.

    raises   ResourceNotFound; NotAllowed; AbilityMissing; ResourceStepNotOpen; OpenOrderExists
    """
    return _set_paused(resource_id, paused=True, by=by, at=at)


@transaction.atomic
def resume_resource(*, resource_id: int, by: Person | None, at: datetime) -> Resource:
    """Let a paused resource run again.

    raises   as `pause_resource`, and PausedByBudget; NoValidAllocation, QuotaUsedUp
    """
    return _set_paused(resource_id, paused=False, by=by, at=at)


@transaction.atomic
def set_end(*, resource_id: int, end: datetime | None, by: Person | None, at: datetime) -> Resource:
    """Say when a resource ends by itself, or that it does not.

    raises   ResourceNotFound; NotAllowed; EndInThePast, EndAfterProject; ResourceStepNotOpen
    """
    resource = lock_resource(resource_id)
    require_either_side(resource, Permission.APPROVE_ORDER, by, at)
    if resource.desired_gone:
        raise ResourceStepNotOpen(state=ResourceState(resource.state).label, action="end")
    check_end(resource.workspace, end, start=None, at=at)
    before, resource.end = resource.end, end
    resource.save(update_fields=["end"])
    tell(
        "resource.end_set",
        resource,
        by=by,
        at=at,
        facts={"end": [None if d is None else d.isoformat() for d in (before, end)]},
    )
    return resource


@transaction.atomic
def rename_resource(*, resource_id: int, name: str, by: Person | None, at: datetime) -> Resource:
    """Give another name; its short name stays, because backends know it.

    raises   ResourceNotFound; NotAllowed; NameNeeded
    """
    resource = lock_resource(resource_id)
    require(by, Permission.PLACE_ORDER, resource.workspace, at)
    before, resource.name = resource.name, check_name(name)
    if before != resource.name:
        resource.save(update_fields=["name"])
        tell("resource.renamed", resource, by=by, at=at, facts={"name": [before, resource.name]})
    return resource


@transaction.atomic
def ask_again(*, resource_id: int, by: Person | None, at: datetime) -> Resource:
    """Have the backend asked at once: of a wish that waits, or once more of one that it refused.

    raises   ResourceNotFound; NotAllowed; OpenOrderExists; HeldByBudget; ResourceStepNotOpen
    """
    resource = lock_resource(resource_id)
    require_either_side(resource, Permission.PLACE_ORDER, by, at)
    if resource.state == ResourceState.FAILED:
        raise_if_open_order(resource)
        if resource.desired_gone:
            action = ResourceAction.TERMINATE
        else:
            wish = Order.objects.filter(resource=resource, executed_at__isnull=False).order_by("-pk").first()
            if wish is not None:
                require_not_held(wish, at=at)
            action = ResourceAction.CREATE if resource.first_ok_at is None else ResourceAction.CHANGE
        step_resource(resource, action, by=by, at=at)
        wish_anew(resource)
        resource.save()
    elif resource.state == ResourceState.TERMINATED:
        raise ResourceStepNotOpen(state=ResourceState(resource.state).label, action="ask again")
    elif resource.matches:
        ask_to_sync(resource.pk)
        return resource
    else:
        resource.retry_at = None
        resource.save(update_fields=["retry_at"])
    ask_to_reconcile(resource.pk)
    return resource


# ------------------------------------------------------------------------------------------------ work done by hand
@transaction.atomic
def confirm_work(
    *,
    resource_id: int,
    backend_id: str = "",
    access: Mapping[str, str] | None = None,
    note: str = "",
    by: Person,
    at: datetime,
) -> Resource:
    """A person at the provider says that what was awaited is done; it counts as the backend's own answer.

    backend_id   what it is called there; "" = as before
    access       label -> value, shown to its users; None = as before
    raises       ResourceNotFound; NotAllowed; NoWorkAwaited
    """
    resource = lock_resource(resource_id)
    require(by, Permission.HANDLE_ORDERS, resource.offering.provider.organization, at)
    if not resource.awaited_work or resource.matches:
        raise NoWorkAwaited
    order = Order.objects.filter(resource=resource, state="executing").first()
    if order is not None:
        decide(order, Side.PROVIDER, OrderDecision.Decision.CONFIRMED, by=by, at=at, reason=note.strip()[:2000])
    tell("resource.work_done", resource, by=by, at=at, facts={"note": note.strip()[:2000]})
    outcome.note_made(
        resource_id=resource.pk,
        generation=resource.generation,
        backend_id=backend_id.strip(),
        state=manual.confirm(
            resource.plugin_state, resource.generation, backend_id.strip(), access, presence=_left(resource)
        ),
        access=access or {},
        at=at,
    )
    if resource.desired_gone:
        outcome.note_removed(resource_id=resource.pk, generation=resource.generation, at=at)
    outcome.note_matching(
        resource_id=resource.pk, generation=resource.generation, paused=resource.desired_paused, at=at
    )
    return lock_resource(resource_id)


def _left(resource: Resource) -> Presence:
    """How a resource stands once what is wished of it is done."""
    if resource.desired_gone:
        return Presence.ABSENT
    return Presence.PAUSED if resource.desired_paused else Presence.OK


@transaction.atomic
def refuse_work(*, resource_id: int, reason: str, by: Person, at: datetime) -> Resource:
    """A person at the provider says that what was awaited cannot be done, and why; the order fails.

    raises   ResourceNotFound; NotAllowed; NoWorkAwaited; ReasonNeeded
    """
    resource = lock_resource(resource_id)
    require(by, Permission.HANDLE_ORDERS, resource.offering.provider.organization, at)
    if not resource.awaited_work or resource.matches:
        raise NoWorkAwaited
    if not reason.strip():
        raise ReasonNeeded
    order = Order.objects.filter(resource=resource, state="executing").first()
    if order is not None:
        decide(order, Side.PROVIDER, OrderDecision.Decision.REFUSED, by=by, at=at, reason=reason.strip()[:2000])
    outcome.note_refused(resource_id=resource.pk, generation=resource.generation, why=reason.strip(), at=at)
    return lock_resource(resource_id)


# ------------------------------------------------------------------------------------------------ a plugin's own actions
def actions_of(resource: Resource, *, at: datetime) -> list[ActionSpec]:
    """What the plugin offers to do to this resource now; nothing while it is not ready, or its plugin is broken or hangs."""
    backend = resource.offering.backend
    if backend is None or not backend.enabled or resource.state != ResourceState.OK or not resource.matches:
        return []
    try:
        plugin = registry.make(backend)
        if not can(plugin, Actions):
            return []
        (desired,) = desired_of([resource], at=at)
        return within(OFFERS_SECONDS, lambda: list(plugin.actions(desired)))
    except Exception:  # a stranger's code must not take the page with it
        return []


def act(
    *, resource: Resource, action: str, form: Mapping[str, Any] | None = None, by: Person, at: datetime
) -> Mapping[str, str]:
    """Have the plugin carry out one of its own actions now; answers what it tells (label -> value).

    Not in a transaction: the backend is asked while the caller waits.
    raises   NotAllowed; ActionUnknown; InvalidForm; NoValidAllocation, QuotaUsedUp; ActionRefused; BackendUnreachableNow;
             ActionUnanswered
    """
    require(by, Permission.PLACE_ORDER, resource.workspace, at)
    spec = next((spec for spec in actions_of(resource, at=at) if spec.key == action), None)
    backend = resource.offering.backend
    if spec is None or backend is None:
        raise ActionUnknown(action=action[:40])
    components = list(resource.offering.components.select_related("category__provider__organization"))
    gate.require_allocations(resource.workspace, components, at=at, new=True)
    values = validate_values(validate_schema(dict(spec.form)), form or {})
    (desired,) = desired_of([resource], at=at)
    plugin = registry.make(backend)
    assert can(plugin, Actions)
    hidden = list(registry.secrets_of(backend).values())

    def ask() -> tuple[Outcome, dict[str, str]]:
        outcome = plugin.act(desired, action, values)
        return outcome, _told_by(outcome, hidden)

    facts = {"action": action}
    try:
        answer, told = within(WAIT_SECONDS, lambda: asked(ask))
    except Unreachable:
        raise BackendUnreachableNow(backend=backend.name) from None
    except NotInTime:
        tell("resource.acted", resource, by=by, at=at, facts={**facts, "answer": "none"})
        raise ActionUnanswered(backend=backend.name, seconds=WAIT_SECONDS) from None
    if isinstance(answer, Refused):
        raise ActionRefused(why=told[""])
    tell("resource.acted", resource, by=by, at=at, facts={**facts, "answer": type(answer).__name__.lower()})
    return told


def _told_by(answer: Outcome, hidden: list[str]) -> dict[str, str]:
    """What a plugin answers, as it may be shown: without secrets, and short.

    raises   TypeError for what is no answer
    """
    if isinstance(answer, Done):
        told = islice(answer.access.items(), ANSWERS_MAX)
        return {registry.redact(label, hidden)[:LABEL_LENGTH_MAX]: registry.redact(str(v), hidden) for label, v in told}
    if isinstance(answer, Busy | NeedsAction | Refused):
        return {"": registry.redact(words_of(answer), hidden)}
    raise TypeError(f"an answer of {type(answer).__name__}")
