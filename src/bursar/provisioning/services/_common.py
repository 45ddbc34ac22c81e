"""What the services of this package share: locking in one order, steps of the two life cycles, telling of events."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bursar.accounting.books import lock_all
from bursar.catalogue.models import Backend, Component, Plan
from bursar.events.services import Happening, record
from bursar.provisioning.errors import OrderNotFound, OrderStepNotOpen, ResourceNotFound, ResourceStepNotOpen
from bursar.provisioning.lifecycle import (
    OrderAction,
    OrderState,
    ResourceAction,
    ResourceState,
    order_after,
    resource_after,
)
from bursar.provisioning.models import Order, OrderDecision, Resource, ResourceFact, Side
from bursar.provisioning.policies import organization_of
from bursar.structure.models import Person, Workspace

ORDER_RELATED = (
    "workspace__project__organization",
    "workspace__organization",
    "workspace__person",
    "offering__provider__organization",
    "offering__backend",
    "plan",
    "created_by",
)
RESOURCE_RELATED = (
    "workspace__project__organization",
    "workspace__organization",
    "workspace__person",
    "offering__provider__organization",
    "offering__backend",
    "plan",
    "desired_plan",
)


def lock_resource(resource_id: int) -> Resource:
    """raises   ResourceNotFound"""
    try:
        return Resource.objects.select_for_update(of=("self",)).select_related(*RESOURCE_RELATED).get(pk=resource_id)
    except Resource.DoesNotExist:
        raise ResourceNotFound from None


def lock_order(order_id: int) -> Order:
    """The order, locked after its resource: everybody takes the two in this order.

    raises   OrderNotFound
    """
    found = Order.objects.filter(pk=order_id).values_list("resource_id", flat=True)
    if not found:
        raise OrderNotFound
    resource = lock_resource(found[0]) if found[0] is not None else None
    order = Order.objects.select_for_update(of=("self",)).select_related(*ORDER_RELATED).get(pk=order_id)
    if resource is not None:
        order.resource = resource
    return order


def subject_of(workspace: Workspace, provider_id: int) -> dict[str, Any]:
    """The columns by which an event of the workspace and the provider's organization is found."""
    organization = organization_of(workspace)
    return {
        "organization_id": None if organization is None else organization.pk,
        "project_id": workspace.project_id,
        "provider_id": provider_id,
    }


def tell(
    kind: str, subject: Order | Resource, *, by: Person | None, at: datetime, facts: Mapping[str, Any] | None = None
) -> None:
    """Record an event about an order or a resource."""
    known: dict[str, Any] = {"name": subject.name, "workspace": subject.workspace_id, "offering": subject.offering_id}
    if isinstance(subject, Order) and subject.resource_id is not None:
        known["resource"] = subject.resource_id
    record(
        Happening(
            kind=kind,
            subject_type="order" if isinstance(subject, Order) else "resource",
            subject_id=subject.pk,
            facts={**known, **(facts or {})},
            **subject_of(subject.workspace, subject.offering.provider.organization_id),
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


def step_order(order: Order, action: OrderAction, *, at: datetime) -> None:
    """Set the state that follows; the caller saves and tells.

    raises   OrderStepNotOpen
    """
    state = order_after(OrderState(order.state), action)
    if state is None:
        raise OrderStepNotOpen(state=OrderState(order.state).label, action=action.value)
    order.state = state.value
    if state in {OrderState.DONE, OrderState.FAILED, OrderState.REJECTED, OrderState.CANCELED}:
        order.closed_at = at
    if state not in {OrderState.PENDING_CONSUMER, OrderState.HELD, OrderState.PENDING_PROVIDER}:
        order.awaited_roles = []


def decide(
    order: Order,
    side: Side,
    decision: OrderDecision.Decision,
    *,
    by: Person | None,
    at: datetime,
    reason: str = "",
) -> None:
    OrderDecision.objects.create(order=order, side=side, decision=decision, by=by, at=at, reason=reason)


def step_resource(
    resource: Resource,
    action: ResourceAction,
    *,
    by: Person | None,
    at: datetime,
    order: Order | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Set the state that follows, keep it as a fact, and tell; the caller saves the resource.

    raises   ResourceStepNotOpen
    """
    before = ResourceState(resource.state)
    state = resource_after(before, action)
    if state is None:
        raise ResourceStepNotOpen(state=before.label, action=action.value)
    resource.state = state.value
    if state is before:
        return
    keep_state(resource, by=by, at=at, order=order)
    tell(f"resource.{state.value}", resource, by=by, at=at, facts={"before": before.value, **(facts or {})})


def keep_state(resource: Resource, *, by: Person | None, at: datetime, order: Order | None) -> None:
    ResourceFact.objects.create(
        resource=resource,
        what=ResourceFact.What.STATE,
        state=resource.state,
        order=order,
        by=by,
        effective_at=at,
    )


def keep_plan_and_limits(
    resource: Resource,
    *,
    plan: Plan | None,
    limits: Mapping[str, int],
    components: Iterable[Component],
    by: Person | None,
    at: datetime,
    order: Order | None,
) -> None:
    """Keep what came into force: the plan (None = it stays), and the limits given."""
    rows = []
    if plan is not None:
        rows.append(ResourceFact(resource=resource, what=ResourceFact.What.PLAN, plan=plan))
    by_key = {component.key: component for component in components}
    rows += [
        ResourceFact(resource=resource, what=ResourceFact.What.LIMIT, component=by_key[key], limit=limit)
        for key, limit in limits.items()
        if key in by_key
    ]
    for row in rows:
        row.order, row.by, row.effective_at = order, by, at
    ResourceFact.objects.bulk_create(rows)


def hold_ledgers_of(backend: Backend) -> None:
    """Hold the ledgers on which what a backend provides may draw, before any row that others lock after them."""
    drawn = Component.objects.filter(offering__backend=backend, category__isnull=False)
    lock_all(drawn.values_list("category_id", flat=True))
