"""Placing an order, deciding about it, and starting what it asks for."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import slugify

from bursar.catalogue.models import Component, Offering, Plan
from bursar.catalogue.order_form import validate_values
from bursar.catalogue.selectors import offerings_open_to, plans_open_to, why_closed
from bursar.engine.estimate import Estimate
from bursar.kernel.quantity import Count
from bursar.provisioning import gate, holds, pricing, quota
from bursar.provisioning.errors import (
    BackendMissing,
    CommentNeeded,
    EndAfterProject,
    EndInThePast,
    HeldByBudget,
    KeyReused,
    LimitNegative,
    LimitNotWhole,
    LimitTooLarge,
    LimitTooSmall,
    NameNeeded,
    NotAwaited,
    NotBilledByUse,
    NothingChanges,
    OfferingNotActive,
    OfferingNotVisible,
    OpenOrderExists,
    OrderStepNotOpen,
    OwnOrder,
    PlanNotAvailable,
    PlanSoldOut,
    ReasonNeeded,
    ResourceStepNotOpen,
    StartInThePast,
    TermsNotAccepted,
    UnknownComponent,
    UseNegative,
    WorkspaceEnded,
    WorkspaceNotStarted,
)
from bursar.provisioning.lifecycle import (
    LIVE_RESOURCE_STATES,
    OPEN_ORDER_STATES,
    OrderAction,
    OrderState,
    ResourceAction,
    ResourceState,
)
from bursar.provisioning.models import Order, OrderComment, OrderDecision, OrderHold, Resource, Side, SpendingHold
from bursar.provisioning.people import people_awaited
from bursar.provisioning.policies import (
    Candidate,
    Verdict,
    judge,
    organization_of,
    role_names,
    scope_of,
)
from bursar.provisioning.queue import ask_to_reconcile
from bursar.provisioning.services._common import (
    decide,
    keep_plan_and_limits,
    keep_state,
    lock_order,
    lock_resource,
    step_order,
    step_resource,
    tell,
)
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, Role, may, require, roles_of

Kind, Decision = Order.Kind, OrderDecision.Decision
NAME_LENGTH_MAX: Final = 150
LIMIT_MAX: Final = 2**53  # what every JSON reader holds exactly


# ------------------------------------------------------------------------------------------------ what is asked for
def check_name(name: str) -> str:
    """raises   NameNeeded"""
    name = name.strip()
    if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise NameNeeded(length_max=NAME_LENGTH_MAX)
    return name


def check_limits(components: list[Component], limits: Mapping[str, Any]) -> dict[str, int]:
    """The limits with usual ones put in where none is stated.

    raises   UnknownComponent, LimitNotWhole, LimitNegative, LimitTooSmall, LimitTooLarge
    """
    limited = {c.key: c for c in components if c.billing == Component.Billing.LIMIT}
    checked: dict[str, int] = {}
    for key in limits:
        if key not in limited:
            raise UnknownComponent(component=str(key)[:40], possible=", ".join(limited) or "–")
    for key, component in limited.items():
        field = f"limits.{key}"
        limit = limits.get(key)
        if limit is None:
            limit = component.limit_default if component.limit_default is not None else (component.limit_min or 0)
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise LimitNotWhole(component=component.title, unit=component.unit_name, field=field)
        if limit < 0:
            raise LimitNegative(component=component.title, limit=limit, unit=component.unit_name, field=field)
        if component.limit_min is not None and limit < component.limit_min:
            raise LimitTooSmall(
                component=component.title,
                limit=Count(limit),
                limit_min=Count(component.limit_min),
                unit=component.unit_name,
                field=field,
            )
        most = LIMIT_MAX // component.ticks_per_unit if component.limit_max is None else component.limit_max
        if limit > most:
            raise LimitTooLarge(
                component=component.title,
                limit=Count(limit),
                limit_max=Count(most),
                unit=component.unit_name,
                field=field,
            )
        checked[key] = limit
    return checked


def check_uses(components: list[Component], uses: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Units that are expected to be used in a month, of components that are billed by use.

    raises   NotBilledByUse, UseNegative
    """
    used = {c.key: c for c in components if c.billing == Component.Billing.USAGE}
    for key, quantity in uses.items():
        if key not in used:
            raise NotBilledByUse(component=str(key)[:40], possible=", ".join(used) or "–")
        if quantity < 0:
            raise UseNegative(component=used[key].title, unit=used[key].unit_name, field=f"uses.{key}")
    return dict(uses)


def check_workspace(workspace: Workspace, *, start: datetime | None, at: datetime) -> None:
    """raises   WorkspaceEnded, WorkspaceNotStarted"""
    project, organization = workspace.project, organization_of(workspace)
    begins = max(at, start) if start else at
    if (organization is not None and organization.archived_at is not None) or (
        project is not None and (project.archived_at is not None or (project.end is not None and project.end <= begins))
    ):
        raise WorkspaceEnded(workspace=str(workspace))
    if project is not None and project.start > begins:
        raise WorkspaceNotStarted(workspace=str(workspace), start=date_format(project.start, "DATE_FORMAT"))
    if workspace.person is not None and not workspace.person.is_active:
        raise WorkspaceEnded(workspace=str(workspace))


def check_end(workspace: Workspace, end: datetime | None, *, start: datetime | None, at: datetime) -> None:
    """raises   EndInThePast, EndAfterProject"""
    if end is None:
        return
    if end <= at or (start is not None and end <= start):
        raise EndInThePast
    project = workspace.project
    if project is not None and project.end is not None and end > project.end:
        last = timezone.localtime(project.end - timedelta(microseconds=1))
        raise EndAfterProject(workspace=project.name, project_end=date_format(last, "DATE_FORMAT"))


def check_offering(offering: Offering, workspace: Workspace, *, kind: str) -> None:
    """raises   OfferingNotVisible, OfferingNotActive, BackendMissing"""
    if kind == Kind.CREATE:
        if not offerings_open_to(workspace).filter(pk=offering.pk).exists():
            raise OfferingNotVisible(workspace=str(workspace))
        if reason := why_closed(offering):
            raise OfferingNotActive(offering=offering.name, reason=reason)
    if offering.backend_id is None:
        raise BackendMissing(offering=offering.name)


def check_plan(
    offering: Offering, workspace: Workspace, plan_id: int | None, *, resource: Resource | None = None
) -> Plan:
    """raises   PlanNotAvailable"""
    if resource is not None and resource.plan_id == plan_id:
        return resource.plan  # what one has may be kept although it is no longer sold
    plan = None if plan_id is None else plans_open_to(offering, workspace).filter(pk=plan_id).first()
    if plan is None:
        raise PlanNotAvailable(workspace=str(workspace))
    return plan


def check_room(plan: Plan, *, ahead_of: Order | None = None) -> None:
    """A place is taken by whatever bears the plan or is to bear it, and by each open order for it.

    ahead_of   an open order that is to be carried out: only those placed before it take a place from it
    raises     PlanSoldOut
    """
    if plan.resources_max is None:
        return
    # Two for the last place: the second waits here.
    locked = Plan.objects.select_for_update(no_key=True).get(pk=plan.pk)
    bears = Q(plan=plan) | Q(desired_plan=plan)
    taken = Resource.objects.filter(bears).exclude(state=ResourceState.TERMINATED).count()
    orders = Order.objects.filter(plan=plan, state__in=OPEN_ORDER_STATES)
    if ahead_of is not None:
        orders = orders.filter(pk__lt=ahead_of.pk)
    is_new = Q(resource=None) | ~Q(resource__plan=plan) & ~Q(resource__desired_plan=plan)
    taken += orders.filter(is_new).count()
    if locked.resources_max is not None and taken >= locked.resources_max:
        raise PlanSoldOut(plan=plan.name, resources_max=locked.resources_max)


# ------------------------------------------------------------------------------------------------ placing an order
@transaction.atomic
def submit_order(
    *,
    workspace: Workspace,
    offering: Offering,
    plan_id: int | None,
    limits: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    name: str,
    start: datetime | None = None,
    end: datetime | None = None,
    comment: str = "",
    terms_accepted: bool = False,
    idempotency_key: str = "",
    by: Person | None,
    at: datetime,
) -> Order:
    """Order a new resource. It goes on as far as nobody has to be asked.

    limits            component key -> whole units; those not stated take the usual limit
    form              what was filled in of the offering's order form
    idempotency_key   the same key and wish by the same person again answers the order that was placed
    raises            in this order: NotAllowed; OfferingNotVisible, OfferingNotActive, BackendMissing; WorkspaceEnded,
                      WorkspaceNotStarted; PlanNotAvailable; NameNeeded; UnknownComponent, LimitNotWhole, LimitNegative,
                      LimitTooSmall, LimitTooLarge; catalogue's InvalidForm; StartInThePast, EndInThePast, EndAfterProject;
                      TermsNotAccepted; KeyReused; NobodyPays; NoValidAllocation, QuotaUsedUp; PlanSoldOut
    """
    require(by, Permission.PLACE_ORDER, workspace, at)
    check_offering(offering, workspace, kind=Kind.CREATE)
    check_workspace(workspace, start=start, at=at)
    plan = check_plan(offering, workspace, plan_id)
    name = check_name(name)
    components = list(offering.components.select_related("category"))
    checked_limits = check_limits(components, limits or {})
    checked_form = validate_values(offering.order_form, form or {})
    if start is not None and start < at and start.date() < at.date():
        raise StartInThePast
    check_end(workspace, end, start=start, at=at)
    if offering.terms_of_use and not terms_accepted and by is not None:
        raise TermsNotAccepted
    order = Order(
        kind=Kind.CREATE,
        workspace=workspace,
        offering=offering,
        plan=plan,
        name=name,
        limits=checked_limits,
        form=checked_form,
        start=start,
        end=end,
        comment=comment.strip()[:5000],
        terms_accepted_at=at if offering.terms_of_use and terms_accepted else None,
        idempotency_key=idempotency_key[:80],
        created_by=by,
        created_at=at,
    )
    if (known := _placed_before(order)) is not None:
        return known
    gate.require_payer(workspace, plan, components, at=at)
    gate.require_allocations(workspace, components, at=at, new=True)
    check_room(plan)
    return _place(order, components, by=by, at=at, first=True, switched=False)


@transaction.atomic
def submit_change(
    *,
    resource_id: int,
    plan_id: int | None = None,
    limits: Mapping[str, Any] | None = None,
    start: datetime | None = None,
    comment: str = "",
    idempotency_key: str = "",
    by: Person | None,
    at: datetime,
) -> Order:
    """Order another plan or other limits for a resource; what is not stated stays.

    idempotency_key   the same key and wish by the same person again answers the order that was placed, whatever became of
                      it or of the resource
    raises            ResourceNotFound; NotAllowed; KeyReused; ResourceStepNotOpen; as `submit_order`; NothingChanges;
                      OpenOrderExists
    """
    resource = lock_resource(resource_id)
    require(by, Permission.PLACE_ORDER, resource.workspace, at)
    if (known := _change_placed_before(resource, plan_id, limits or {}, start, idempotency_key, by)) is not None:
        return known
    offering = resource.offering
    if resource.state not in {ResourceState.OK, ResourceState.PAUSED} and not (
        resource.state == ResourceState.FAILED and resource.first_ok_at is not None and not resource.desired_gone
    ):
        raise_if_open_order(resource)
        raise ResourceStepNotOpen(state=ResourceState(resource.state).label, action="change")
    check_offering(offering, resource.workspace, kind=Kind.CHANGE)
    check_workspace(resource.workspace, start=start, at=at)
    components = list(offering.components.select_related("category"))
    plan = check_plan(offering, resource.workspace, plan_id or resource.plan_id, resource=resource)
    checked = check_limits(components, {**_known(resource.limits, components), **(limits or {})})
    if start is not None and start < at and start.date() < at.date():
        raise StartInThePast
    order = Order(
        kind=Kind.CHANGE,
        workspace=resource.workspace,
        offering=offering,
        resource=resource,
        plan=plan,
        name=resource.name,
        limits=checked,
        form=resource.form,
        before={"plan": resource.plan_id, "limits": resource.limits},
        start=start,
        comment=comment.strip()[:5000],
        idempotency_key=idempotency_key[:80],
        created_by=by,
        created_at=at,
    )
    if plan.pk == resource.plan_id and checked == resource.limits:
        raise NothingChanges
    raise_if_open_order(resource)
    gate.require_payer(resource.workspace, plan, components, at=at)
    gate.require_allocations(resource.workspace, components, at=at)
    if plan.pk != resource.plan_id:
        check_room(plan)
    return _place(order, components, by=by, at=at, first=False, switched=plan.pk != resource.plan_id)


@transaction.atomic
def submit_termination(
    *,
    resource_id: int,
    start: datetime | None = None,
    comment: str = "",
    idempotency_key: str = "",
    by: Person | None,
    at: datetime,
) -> Order:
    """Order the end of a resource.

    raises   ResourceNotFound; NotAllowed; ResourceStepNotOpen; KeyReused; OpenOrderExists
    """
    resource = lock_resource(resource_id)
    require(by, Permission.PLACE_ORDER, resource.workspace, at)
    order = Order(
        kind=Kind.TERMINATE,
        workspace=resource.workspace,
        offering=resource.offering,
        resource=resource,
        plan=resource.plan,
        name=resource.name,
        limits=resource.limits,
        form=resource.form,
        start=start,
        comment=comment.strip()[:5000],
        idempotency_key=idempotency_key[:80],
        created_by=by,
        created_at=at,
    )
    if (known := _placed_before(order)) is not None:
        return known
    raise_if_open_order(resource)
    if resource.state not in {*LIVE_RESOURCE_STATES, ResourceState.FAILED}:
        raise ResourceStepNotOpen(state=ResourceState(resource.state).label, action="terminate")
    return _place(order, [], by=by, at=at, first=False, switched=False)


def _known(limits: Mapping[str, int], components: list[Component]) -> dict[str, int]:
    keys = {component.key for component in components if component.billing == Component.Billing.LIMIT}
    return {key: limit for key, limit in limits.items() if key in keys}


def raise_if_open_order(resource: Resource) -> None:
    """raises   OpenOrderExists"""
    open_orders = Order.objects.filter(resource=resource, state__in=OPEN_ORDER_STATES)
    for order_id in open_orders.values_list("pk", flat=True)[:1]:
        raise OpenOrderExists(order_id=order_id)


# What an order of each kind chooses. The rest is copied from a resource, and may be another by the time it is asked again.
_CHOSEN: Final = {
    Kind.CREATE: ("kind", "workspace_id", "offering_id", "plan_id", "name", "limits", "form", "start", "end"),
    Kind.CHANGE: ("kind", "resource_id", "plan_id", "limits", "start"),
    Kind.TERMINATE: ("kind", "resource_id", "start"),
}


def _order_of_key(idempotency_key: str, by: Person | None) -> Order | None:
    if not idempotency_key:
        return None
    orders = Order.objects.select_related("workspace", "offering", "plan")
    return orders.filter(created_by=by, idempotency_key=idempotency_key[:80]).first()


def _placed_before(order: Order) -> Order | None:
    """The order that bears this key already.

    raises   KeyReused when it wishes something else
    """
    known = _order_of_key(order.idempotency_key, order.created_by)
    if known is not None and any(getattr(known, name) != getattr(order, name) for name in _CHOSEN[Kind(order.kind)]):
        raise KeyReused(order_id=known.pk)
    return known


def _change_placed_before(
    resource: Resource,
    plan_id: int | None,
    limits: Mapping[str, Any],
    start: datetime | None,
    idempotency_key: str,
    by: Person | None,
) -> Order | None:
    """The same of a change. What it does not state is what stood when it was placed, not what stands now.

    raises   KeyReused when it wishes something else
    """
    known = _order_of_key(idempotency_key, by)
    if known is None:
        return None
    if (known.kind, known.resource_id, known.start) == (Kind.CHANGE, resource.pk, start):
        stood = {key: limit for key, limit in known.before.get("limits", {}).items() if key in known.limits}
        wanted = {key: limit for key, limit in {**stood, **limits}.items() if limit is not None}
        if known.plan_id == (plan_id or known.before.get("plan")) and wanted.items() <= known.limits.items():
            return known
    raise KeyReused(order_id=known.pk)


def candidate_for(
    order: Order, estimate: Estimate, *, available: Mapping[int, int | None] | None = None, at: datetime
) -> Candidate:
    """What the policies are shown of an order."""
    ticks = dict(estimate.ticks)
    if order.kind == Kind.CHANGE and order._state.adding and order.resource is not None:
        ticks = quota.beyond_what_stands(order.resource, ticks)
    return Candidate(
        kind=order.kind,
        workspace=order.workspace,
        offering=order.offering,
        by=order.created_by,
        month=order.estimate_month,
        currency=order.currency,
        is_free=estimate.is_free,
        ticks=ticks,
        available=gate.available(order.workspace, list(ticks), at=at) if available is None else available,
    )


def money_of(amount: Fraction) -> Decimal:
    """An estimate as it is kept, to a ten-thousandth of the currency."""
    return Decimal(round(amount * 10_000)) / 10_000


def _place(
    order: Order, components: list[Component], *, by: Person | None, at: datetime, first: bool, switched: bool
) -> Order:
    estimate = pricing.estimate_for(order.plan, components, order.limits, at=at, first=first, switched=switched)
    order.estimate_month, order.estimate_once = money_of(estimate.month), money_of(estimate.once)
    order.currency = order.offering.provider.organization.currency
    order.estimate_ticks = {str(category): ticks for category, ticks in estimate.ticks.items()}
    if order.kind == Kind.TERMINATE:
        order.estimate_month = order.estimate_once = Decimal(0)
    candidate = candidate_for(order, estimate, at=at)
    order.verdicts = {side.value: judge(side, candidate, at=at).stored() for side in Side}
    try:
        with transaction.atomic():
            order.save()
    except IntegrityError as error:
        constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", "")
        if constraint == "order_once_per_key":  # the same click at the same time, in another process
            known = _placed_before(order)
            assert known is not None
            return known
        if constraint == "one_open_order_per_resource":
            assert order.resource is not None
            raise_if_open_order(order.resource)
        raise
    tell("order.placed", order, by=by, at=at, facts={"kind": order.kind, "plan": order.plan_id, "limits": order.limits})
    _advance(order, at=at)
    return order


# ------------------------------------------------------------------------------------------------ going on
def verdict_of(order: Order, side: Side) -> Verdict:
    return Verdict.from_stored(order.verdicts[side])


_SIDE_AWAITED: Final = {OrderState.PENDING_CONSUMER: Side.CONSUMER, OrderState.PENDING_PROVIDER: Side.PROVIDER}


def _advance(order: Order, *, at: datetime) -> None:
    """Take every step that nobody has to be asked for, save the order, and tell those who are."""
    awaited = list(order.awaited_roles)
    while (side := _SIDE_AWAITED.get(OrderState(order.state))) is not None:
        verdict = verdict_of(order, side)
        if verdict.asked:
            order.awaited_roles = list(verdict.approvers)
            break
        decide(order, side, Decision.NOT_ASKED, by=None, at=at)
        _pass(order, side, at=at)
    if order.state == OrderState.PENDING_START and (order.start is None or order.start <= at):
        _execute(order, OrderAction.START, at=at)
    order.save()
    if order.state == OrderState.HELD:
        return  # whoever is awaited was told when it was held
    if order.awaited_roles and order.awaited_roles != awaited:
        tell("order.awaits", order, by=None, at=at, facts={"side": side, "roles": order.awaited_roles})
        for person_id in people_awaited(order, at=at):
            ask_for_mail("order_awaits", to_person_id=person_id, facts={"order": order.pk, "side": str(side)})


def _pass(order: Order, side: Side, *, at: datetime) -> None:
    """One side has agreed: on to what comes next, unless a budget holds what the customer's side wants."""
    found = holds.that_hold(order, at=at) if side == Side.CONSUMER else []
    if not found:
        step_order(order, OrderAction.APPROVE, at=at)
        return
    step_order(order, OrderAction.HOLD, at=at)
    order.awaited_roles = [role.value for role in holds.AGREEING_ROLES]
    note_holds(order, found, at=at)
    decide(order, Side.CONSUMER, Decision.HELD, by=None, at=at)
    tell("order.held", order, by=None, at=at, facts={"holds": [hold.pk for hold in found]})
    for person_id in people_awaited(order, at=at):
        ask_for_mail("order_held", to_person_id=person_id, facts={"order": order.pk})


def note_holds(order: Order, found: list[SpendingHold], *, at: datetime) -> None:
    """Keep because of which holds an order waits; known ones stay as they are."""
    OrderHold.objects.bulk_create([OrderHold(order=order, hold=hold, at=at) for hold in found], ignore_conflicts=True)


def go_on(order: Order, *, at: datetime) -> None:
    """A held order is held no more: take its next steps. The caller has locked it and says who decided."""
    step_order(order, OrderAction.APPROVE, at=at)
    order.awaited_roles = []
    _advance(order, at=at)


def reject_held(order: Order, *, by: Person, at: datetime, reason: str) -> None:
    """A held order is not to be carried out; its orderer is told why."""
    step_order(order, OrderAction.REJECT, at=at)
    decide(order, Side.CONSUMER, Decision.REJECTED, by=by, at=at, reason=reason)
    order.save()
    tell("order.rejected", order, by=by, at=at, facts={"side": Side.CONSUMER.value, "reason": reason, "held": True})
    _tell_orderer("order_rejected", order, by=by)


def _execute(order: Order, action: OrderAction, *, at: datetime, by: Person | None = None) -> None:
    """Make what the order asks for the resource's wish; the caller saves the order."""
    step_order(order, action, at=at)
    order.error, order.closed_at = "", None
    components = list(order.offering.components.select_related("category"))
    if order.kind != Kind.TERMINATE:
        check_workspace(order.workspace, start=None, at=at)
        gate.require_allocations(order.workspace, components, at=at)
    resource = order.resource
    if resource is None or order.plan_id not in {resource.plan_id, resource.desired_plan_id}:
        check_room(order.plan, ahead_of=order if action == OrderAction.START else None)
    if resource is None:
        resource = make_resource(order, components, at=at)
        order.resource = resource
        tell("resource.creating", resource, by=order.created_by, at=at)
    else:
        if order.kind == Kind.CREATE:
            step_resource(resource, ResourceAction.CREATE, by=by, at=at, order=order)
        elif order.kind == Kind.CHANGE:
            step_resource(resource, ResourceAction.CHANGE, by=by, at=at, order=order)
            resource.desired_plan, resource.desired_limits = order.plan, order.limits
        else:
            step_resource(resource, ResourceAction.TERMINATE, by=by, at=at, order=order)
            resource.desired_gone = True
        wish_anew(resource)
    order.generation = resource.generation
    order.executed_at = order.executed_at or at
    resource.save()
    tell("order.executing", order, by=by, at=at, facts={"generation": resource.generation})
    ask_to_reconcile(resource.pk)


def wish_anew(resource: Resource) -> None:
    """Count the wish up, so that an answer to an older one cannot pass for an answer to this."""
    resource.generation += 1
    resource.attempts, resource.retry_at = 0, None
    resource.message = resource.awaited_work = ""


def make_resource(order: Order, components: list[Component], *, at: datetime) -> Resource:
    resource = Resource.objects.create(
        workspace=order.workspace,
        offering=order.offering,
        name=order.name,
        form=order.form,
        end=order.end,
        plan=order.plan,
        limits=order.limits,
        desired_plan=order.plan,
        desired_limits=order.limits,
        created_by=order.created_by,
        created_at=at,
    )
    resource.slug = f"{slugify(order.name)[:40].strip('-') or 'resource'}-{resource.pk}"
    resource.save(update_fields=["slug"])
    keep_state(resource, by=order.created_by, at=at, order=order)
    keep_plan_and_limits(
        resource,
        plan=order.plan,
        limits=order.limits,
        components=components,
        by=order.created_by,
        at=at,
        order=order,
    )
    return resource


# ------------------------------------------------------------------------------------------------ deciding
def may_decide(person: Person, order: Order, side: Side, at: datetime) -> bool:
    """Whether this person is one of those whose decision counts for this side of the order."""
    try:
        require_to_decide(person, order, side, at)
    except (NotAwaited, OwnOrder):
        return False
    return may(person, _permission(side), _place_of(order, side), at)


def _permission(side: Side) -> Permission:
    return Permission.APPROVE_ORDER if side == Side.CONSUMER else Permission.HANDLE_ORDERS


def _place_of(order: Order, side: Side) -> Any:
    return order.workspace if side == Side.CONSUMER else order.offering.provider.organization


def require_to_decide(by: Person, order: Order, side: Side, at: datetime) -> None:
    """raises   NotAwaited, OwnOrder"""
    approvers = verdict_of(order, side).approvers
    place = scope_of(order.workspace) if side == Side.CONSUMER else order.offering.provider.organization
    held = roles_of(by, place, at)
    if Role.PLATFORM_OPERATOR in held or (side == Side.CONSUMER and order.workspace.person == by):
        return
    if held.isdisjoint(approvers):
        raise NotAwaited(roles=role_names(approvers))
    if order.created_by == by:
        raise OwnOrder(roles=role_names(approvers))


def _side_of(order: Order, action: OrderAction) -> Side:
    side = _SIDE_AWAITED.get(OrderState(order.state))
    if side is None:
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=action.value)
    return side


@transaction.atomic
def approve_order(*, order_id: int, side: Side, reason: str = "", by: Person, at: datetime) -> Order:
    """Agree for one side; the order goes on as far as nobody else has to be asked.

    side     whom the decision is for: an answer meant for one side never counts for the other
    raises   OrderNotFound; NotAllowed; OrderStepNotOpen; NotAwaited; OwnOrder; NoValidAllocation; WorkspaceEnded;
             PlanSoldOut
    """
    order = lock_order(order_id)
    require(by, _permission(side), _place_of(order, side), at)
    if _side_of(order, OrderAction.APPROVE) != side:
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=OrderAction.APPROVE.value)
    require_to_decide(by, order, side, at)
    decide(order, side, Decision.APPROVED, by=by, at=at, reason=reason.strip()[:2000])
    order.awaited_roles = []
    tell("order.approved", order, by=by, at=at, facts={"side": side.value})
    _pass(order, side, at=at)
    _advance(order, at=at)
    return order


@transaction.atomic
def reject_order(*, order_id: int, side: Side, reason: str, by: Person, at: datetime) -> Order:
    """Say no for one side, and why; the orderer is told.

    raises   OrderNotFound; NotAllowed; OrderStepNotOpen; NotAwaited; OwnOrder; ReasonNeeded
    """
    order = lock_order(order_id)
    require(by, _permission(side), _place_of(order, side), at)
    if _side_of(order, OrderAction.REJECT) != side:
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=OrderAction.REJECT.value)
    require_to_decide(by, order, side, at)
    if not reason.strip():
        raise ReasonNeeded
    step_order(order, OrderAction.REJECT, at=at)
    decide(order, side, Decision.REJECTED, by=by, at=at, reason=reason.strip()[:2000])
    order.save()
    tell("order.rejected", order, by=by, at=at, facts={"side": side.value, "reason": reason.strip()[:2000]})
    _tell_orderer("order_rejected", order, by=by)
    return order


@transaction.atomic
def cancel_order(*, order_id: int, reason: str = "", by: Person | None, at: datetime) -> Order:
    """Take an order back before it is carried out: by whoever placed it, or who may approve for the customer's side.

    raises   OrderNotFound; NotAllowed; OrderStepNotOpen
    """
    order = lock_order(order_id)
    if by is None or order.created_by != by or not may(by, Permission.PLACE_ORDER, order.workspace, at):
        require(by, Permission.APPROVE_ORDER, order.workspace, at)
    step_order(order, OrderAction.CANCEL, at=at)
    decide(order, Side.CONSUMER, Decision.CANCELED, by=by, at=at, reason=reason.strip()[:2000])
    order.save()
    tell("order.canceled", order, by=by, at=at, facts={"reason": reason.strip()[:2000]})
    _tell_orderer("order_canceled", order, by=by)
    return order


@transaction.atomic
def retry_order(*, order_id: int, by: Person | None, at: datetime) -> Order:
    """Have a failed order carried out again: by either side.

    raises   OrderNotFound; NotAllowed; OrderStepNotOpen; OpenOrderExists; HeldByBudget; WorkspaceEnded; NoValidAllocation;
             PlanSoldOut; ResourceStepNotOpen
    """
    order = lock_order(order_id)
    provider = order.offering.provider.organization
    side = Side.CONSUMER
    if by is not None and may(by, Permission.HANDLE_ORDERS, provider, at):
        side = Side.PROVIDER
    else:
        require(by, Permission.PLACE_ORDER, order.workspace, at)
    if order.state == OrderState.FAILED and order.resource is not None:
        raise_if_open_order(order.resource)
        check_not_overtaken(order)
    if order.state == OrderState.FAILED:
        require_not_held(order, at=at)
    _execute(order, OrderAction.RETRY, at=at, by=by)
    decide(order, side, Decision.RETRIED, by=by, at=at)
    order.save()
    return order


def require_not_held(order: Order, *, at: datetime) -> None:
    """A hold that this order was let through for already stops it no more.

    raises   HeldByBudget
    """
    agreed = order.decisions.filter(decision=Decision.AGREED).exists()
    known = set(order.holds.values_list("hold_id", flat=True)) if agreed else set()
    for hold in holds.that_hold(order, at=at):
        if hold.pk not in known:
            raise HeldByBudget(why=holds.words_of_hold(hold, amounts=False), roles=role_names(holds.AGREEING_ROLES))


def check_not_overtaken(order: Order) -> None:
    """An old wish must not undo a later one.

    raises   OrderStepNotOpen
    """
    later = Order.objects.filter(resource=order.resource, pk__gt=order.pk, executed_at__isnull=False)
    if later.exclude(state=OrderState.FAILED).exists():
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=OrderAction.RETRY.value)


@transaction.atomic
def comment_order(*, order_id: int, text: str, by: Person, at: datetime) -> OrderComment:
    """Write a remark that both sides see.

    raises   OrderNotFound; NotAllowed; CommentNeeded
    """
    order = lock_order(order_id)
    if not may(by, Permission.HANDLE_ORDERS, order.offering.provider.organization, at):
        require(by, Permission.VIEW_PROJECT, order.workspace, at)
    writing = (Permission.PLACE_ORDER, Permission.HANDLE_ORDERS)
    if by.limits is not None and not any(by.limits.allow(permission) for permission in writing):
        require(by, Permission.PLACE_ORDER, order.workspace, at)  # seeing is enough for people, not for tokens
    if not text.strip():
        raise CommentNeeded
    comment = OrderComment.objects.create(order=order, by=by, at=at, text=text.strip()[:5000])
    tell("order.commented", order, by=by, at=at)
    _tell_orderer("order_commented", order, by=by)
    return comment


@transaction.atomic
def assign_order(*, order_id: int, assignee: Person | None, by: Person, at: datetime) -> Order:
    """Say who of the provider's people handles an order; it may be handed on at any time.

    raises   OrderNotFound; NotAllowed, also when the assignee may not handle it
    """
    order = lock_order(order_id)
    provider = order.offering.provider.organization
    require(by, Permission.HANDLE_ORDERS, provider, at)
    if assignee is not None:
        require(assignee, Permission.HANDLE_ORDERS, provider, at)
    order.assignee = assignee
    order.save(update_fields=["assignee"])
    tell("order.assigned", order, by=by, at=at, facts={"assignee": None if assignee is None else assignee.pk})
    if assignee is not None and assignee != by:
        ask_for_mail("order_assigned", to_person_id=assignee.pk, facts={"order": order.pk})
    return order


@transaction.atomic
def start_order(*, order_id: int, at: datetime) -> Order:
    """Begin an agreed order whose start has come; when it may not begin any more it fails and says why.

    raises   OrderNotFound; OrderStepNotOpen
    """
    from bursar.kernel.errors import DomainError

    order = lock_order(order_id)
    if order.state != OrderState.PENDING_START or (order.start is not None and order.start > at):
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=OrderAction.START.value)
    try:
        with transaction.atomic():
            _execute(order, OrderAction.START, at=at)
            order.save()
    except DomainError as refusal:
        order = lock_order(order_id)
        fail_order(order, str(refusal), at=at)
    return order


def fail_order(order: Order, error: str, *, at: datetime) -> None:
    """Keep the error and tell the orderer and the provider's people."""
    step_order(order, OrderAction.FAIL, at=at)
    order.error = error[:2000]
    order.save()
    tell("order.failed", order, by=None, at=at, facts={"error": order.error})
    _tell_orderer("order_failed", order, by=None)


def complete_order(order: Order, *, at: datetime) -> None:
    step_order(order, OrderAction.COMPLETE, at=at)
    order.error = ""
    order.save()
    tell("order.done", order, by=None, at=at)
    _tell_orderer("order_done", order, by=None)


def _tell_orderer(kind: str, order: Order, *, by: Person | None) -> None:
    if order.created_by_id is not None and (by is None or by.pk != order.created_by_id):
        ask_for_mail(kind, to_person_id=order.created_by_id, facts={"order": order.pk})
