"""Holds because of what is spent: set and lifted from above, agreed to by people, made so by a loop."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction

from bursar.events.services import Happening, record
from bursar.plugins.contract import Pauses
from bursar.provisioning import abilities, holds
from bursar.provisioning.errors import OrderStepNotOpen, ReasonNeeded
from bursar.provisioning.lifecycle import OPEN_ORDER_STATES, OrderAction, OrderState, ResourceState
from bursar.provisioning.models import Order, OrderDecision, Resource, Side, SpendingHold, SpendingPause
from bursar.provisioning.policies import organization_of
from bursar.provisioning.queue import ask_to_settle_holds
from bursar.provisioning.services._common import decide, lock_order, lock_resource, tell
from bursar.provisioning.services.orders import go_on, note_holds, reject_held
from bursar.provisioning.services.resources import require_room_to_run, wish_paused
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Permission, require

Decision = OrderDecision.Decision


@transaction.atomic
def set_hold(
    *,
    source: str,
    effect: SpendingHold.Effect,
    organization: Organization,
    project: Project | None,
    facts: Mapping[str, Any],
    at: datetime,
) -> SpendingHold:
    """Hold new orders, or pause resources, of an organization or a project with those below it, until it is lifted.

    source   what sets it; where a hold of this source and effect stands already, that one is answered
    """
    hold, is_new = SpendingHold.objects.get_or_create(
        source=source,
        effect=effect,
        lifted_at=None,
        defaults={"organization": organization, "project": project, "facts": dict(facts), "set_at": at},
    )
    if is_new:
        _tell_hold("spending.held", hold, at=at)
        ask_to_settle_holds()
    return hold


@transaction.atomic
def lift_holds(*, source: str, at: datetime) -> None:
    """Lift what this source set; what waited for it goes on, what it paused is resumed."""
    for hold in SpendingHold.objects.select_for_update().filter(source=source, lifted_at=None):
        hold.lifted_at = at
        hold.save(update_fields=["lifted_at"])
        _tell_hold("spending.let_go", hold, at=at)
        ask_to_settle_holds()


def _tell_hold(kind: str, hold: SpendingHold, *, at: datetime) -> None:
    record(
        Happening(
            kind=kind,
            subject_type="spending_hold",
            subject_id=hold.pk,
            organization_id=hold.organization_id,
            project_id=hold.project_id,
            facts={"effect": hold.effect, "source": hold.source, **hold.facts},
        ),
        by_id=None,
        at=at,
    )


# ------------------------------------------------------------------------------------------------ deciding
def _lock_held(order_id: int, action: OrderAction, *, by: Person, at: datetime) -> Order:
    order = lock_order(order_id)
    require(by, Permission.MANAGE_BUDGETS, organization_of(order.workspace) or order.workspace, at)
    if order.state != OrderState.HELD:
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=action.value)
    return order


@transaction.atomic
def agree_to_spend(*, order_id: int, reason: str = "", by: Person, at: datetime) -> Order:
    """Let a held order go on although the budget is spent; for all holds that stop it.

    raises   OrderNotFound; NotAllowed; OrderStepNotOpen; NoValidAllocation; WorkspaceEnded
    """
    order = _lock_held(order_id, OrderAction.APPROVE, by=by, at=at)
    decide(order, Side.CONSUMER, Decision.AGREED, by=by, at=at, reason=reason.strip()[:2000])
    tell("order.agreed", order, by=by, at=at)
    go_on(order, at=at)
    return order


@transaction.atomic
def refuse_to_spend(*, order_id: int, reason: str, by: Person, at: datetime) -> Order:
    """Say that a held order is not to be carried out, and why; the orderer is told.

    raises   OrderNotFound; NotAllowed; OrderStepNotOpen; ReasonNeeded
    """
    order = _lock_held(order_id, OrderAction.REJECT, by=by, at=at)
    if not reason.strip():
        raise ReasonNeeded
    reject_held(order, by=by, at=at, reason=reason.strip()[:2000])
    return order


# ------------------------------------------------------------------------------------------------ making it so
def to_settle(*, at: datetime) -> Iterator[tuple[Callable[[], Any], str]]:
    """What has to be done so that orders and resources stand as the holds in force will have it; each is safe twice."""
    for order_id in holds.orders_to_let_go().values_list("pk", flat=True):
        yield partial(let_go, order_id=order_id, at=at), f"held order {order_id}"
    for resource_id in holds.resources_to_pause(at=at):
        yield partial(pause_for_spending, resource_id=resource_id, at=at), f"pause of resource {resource_id}"
    for resource_id in holds.resources_to_resume():
        yield partial(resume_after_spending, resource_id=resource_id, at=at), f"resumption of resource {resource_id}"


@transaction.atomic
def let_go(*, order_id: int, at: datetime) -> None:
    """An order whose holds are lifted goes on, unless another holds it now."""
    order = lock_order(order_id)
    if order.state != OrderState.HELD:
        return
    if found := holds.that_hold(order, at=at):
        note_holds(order, found, at=at)
        return
    decide(order, Side.CONSUMER, Decision.LET_GO, by=None, at=at)
    tell("order.let_go", order, by=None, at=at)
    go_on(order, at=at)


def _is_at_rest(resource: Resource, state: ResourceState) -> bool:
    """Whether it stands so that its wish may be changed; if not, the next round looks again."""
    return resource.state == state and not resource.orders.filter(state__in=OPEN_ORDER_STATES).exists()


@transaction.atomic
def pause_for_spending(*, resource_id: int, at: datetime) -> None:
    """Pause a resource because a hold in force wants it; what a person paused stays theirs."""
    resource = lock_resource(resource_id)
    hold = holds.holds_on(resource.workspace, holds.Effect.RESOURCES).order_by("pk").first()
    if hold is None or resource.desired_paused or resource.desired_gone or not _is_at_rest(resource, ResourceState.OK):
        return
    if not abilities.can(resource.offering, Pauses):
        return
    # One that a person resumed after the hold that paused it was lifted, and that another hold pauses now.
    SpendingPause.objects.filter(resource=resource, ended_at=None).update(ended_at=at)
    SpendingPause.objects.create(resource=resource, hold=hold, paused_at=at)
    wish_paused(resource, True, why="budget", by=None, at=at)


@transaction.atomic
def resume_after_spending(*, resource_id: int, at: datetime) -> None:
    """Let a resource run again that a hold paused.

    raises   NoValidAllocation, QuotaUsedUp: it stays paused, and is asked for again
    """
    resource = lock_resource(resource_id)
    pause = SpendingPause.objects.select_for_update().filter(resource=resource, ended_at=None).first()
    if pause is None or holds.holds_on(resource.workspace, holds.Effect.RESOURCES).exists():
        return
    is_over = not resource.desired_paused or resource.desired_gone or resource.state == ResourceState.TERMINATED
    if not is_over:
        if not _is_at_rest(resource, ResourceState.PAUSED):
            return
        require_room_to_run(resource, at=at)
        wish_paused(resource, False, why="budget", by=None, at=at)
    pause.ended_at = at
    pause.save(update_fields=["ended_at"])
