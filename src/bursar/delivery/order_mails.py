"""The mails of provisioning: an order awaits somebody, what became of it, and work that awaits a person's hands."""

from datetime import datetime
from typing import Any

from bursar.delivery.mails import Facts, address, mail
from bursar.provisioning.lifecycle import OrderState
from bursar.provisioning.models import Order, Resource, Side
from bursar.provisioning.selectors import who_must_approve, why_held
from bursar.structure.models import Person

_AWAITED_STATE = {Side.CONSUMER: OrderState.PENDING_CONSUMER, Side.PROVIDER: OrderState.PENDING_PROVIDER}


def _order(facts: Facts) -> Order | None:
    rows = Order.objects.select_related(
        "workspace__project", "workspace__organization", "workspace__person", "offering", "plan", "created_by"
    )
    return rows.filter(pk=facts["order"]).first()


def _told(order: Order) -> dict[str, Any]:
    return {"order": order, "link": address("order", order.pk)}


@mail("order_awaits")
def _awaits(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    order = _order(facts)
    side = Side(facts["side"])
    if order is None or order.state != _AWAITED_STATE[side]:
        return None  # somebody else has decided meanwhile
    why = [line.text for line in who_must_approve(order) if line.side == side]
    return {**_told(order), "why": why[0] if why else ""}


@mail("order_held")
def _held(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    order = _order(facts)
    if order is None or person is None or order.state != OrderState.HELD:
        return None  # somebody has decided meanwhile, or no budget holds it any more
    return {**_told(order), "why": why_held(order, person, at=at)}


@mail("order_rejected")
@mail("order_canceled")
def _decided(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    order = _order(facts)
    return None if order is None else {**_told(order), "decision": order.decisions.select_related("by").last()}


@mail("order_done")
@mail("order_failed")
def _ended(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    order = _order(facts)
    return None if order is None else _told(order)


@mail("order_commented")
def _commented(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    order = _order(facts)
    return None if order is None else {**_told(order), "comment": order.comments.select_related("by").last()}


@mail("order_assigned")
def _assigned(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    order = _order(facts)
    return None if order is None or order.assignee != person else _told(order)


@mail("work_awaited")
def _work(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    resource = Resource.objects.select_related("offering", "workspace__project").filter(pk=facts["resource"]).first()
    if resource is None or not resource.awaited_work or resource.matches:
        return None
    return {"resource": resource, "link": address("resource_work", resource.pk)}
