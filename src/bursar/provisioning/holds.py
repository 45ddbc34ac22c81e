"""What spending holds up: which holds concern a workspace, which orders they stop, and why, in words. Reads only."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from bursar.catalogue.models import Component, Plan
from bursar.kernel.money import Money
from bursar.plugins.contract import Pauses
from bursar.provisioning import pricing
from bursar.provisioning.abilities import can
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, OrderState
from bursar.provisioning.models import Order, Resource, SpendingHold, SpendingPause
from bursar.provisioning.policies import organization_of
from bursar.structure.models import Workspace
from bursar.structure.roles import ORGANIZATION_ROLES, Permission, Role, roles_with

Effect = SpendingHold.Effect

# Who answers for budgets agrees to an order that one holds, or raises it. Their own orders too: they could raise it.
AGREEING_ROLES: Final = tuple(
    role for role in Role if role in ORGANIZATION_ROLES and role in roles_with(Permission.MANAGE_BUDGETS)
)


def holds_on(workspace: Workspace, effect: str) -> QuerySet[SpendingHold]:
    """The holds in force that concern a workspace: of its project, of those above it, of its organization."""
    organization = organization_of(workspace)
    if organization is None:
        return SpendingHold.objects.none()
    path = workspace.project.path if workspace.project is not None else []
    return SpendingHold.objects.filter(
        Q(project=None) | Q(project__in=path), organization=organization, effect=effect, lifted_at=None
    ).select_related("organization", "project")


def that_hold(order: Order, *, at: datetime) -> list[SpendingHold]:
    """The holds because of which an order has to wait. None holds a termination, what is free, or what saves money."""
    if order.kind == Order.Kind.TERMINATE or lowers_only(order):
        return []
    found = list(holds_on(order.workspace, Effect.ORDERS))
    if not found or not pricing.costs_something(order.plan, order.offering.components.all(), at=at):
        return []
    return found


def lowers_only(order: Order) -> bool:
    """Whether a change keeps the plan and raises no limit."""
    if order.kind != Order.Kind.CHANGE or order.before.get("plan") != order.plan_id:
        return False
    before = order.before.get("limits", {})
    return all(limit <= before.get(key, 0) for key, limit in order.limits.items())


def orders_to_let_go() -> QuerySet[Order]:
    """Orders that wait although no hold of theirs is in force any more."""
    in_force = SpendingHold.objects.filter(orders__order=OuterRef("pk"), lifted_at=None)
    return Order.objects.filter(~Exists(in_force), state=OrderState.HELD).order_by("pk")


def concerns(hold: SpendingHold, workspace: Workspace) -> bool:
    """The same question as `holds_on`, of one hold."""
    organization = organization_of(workspace)
    if organization is None or organization.pk != hold.organization_id:
        return False
    return hold.project_id is None or (workspace.project is not None and hold.project_id in workspace.project.path)


def resources_under(hold: SpendingHold) -> QuerySet[Resource]:
    """The living resources that a hold concerns."""
    if hold.project_id is not None:
        where = Q(workspace__project__path__contains=[hold.project_id])
    else:
        where = Q(workspace__organization=hold.organization_id)
        where |= Q(workspace__project__organization=hold.organization_id)
    return (
        Resource.objects.filter(where, state__in=LIVE_RESOURCE_STATES, desired_gone=False)
        .select_related("plan", "offering__backend", "workspace__project")
        .order_by("name", "pk")
    )


class Paid:
    """Which plans cost something, asked once for each."""

    def __init__(self, *, at: datetime) -> None:
        self._at = at
        self._known: dict[int, bool] = {}

    def __call__(self, plan: Plan) -> bool:
        if plan.pk not in self._known:
            components = Component.objects.filter(offering=plan.offering_id)
            self._known[plan.pk] = pricing.costs_something(plan, components, at=self._at)
        return self._known[plan.pk]


def resources_to_pause(*, at: datetime) -> list[int]:
    """Ids of the resources that a hold is to pause and that run still, as far as they can be paused."""
    paid = Paid(at=at)
    found: dict[int, None] = {}
    for hold in SpendingHold.objects.filter(effect=Effect.RESOURCES, lifted_at=None):
        for resource in resources_under(hold).filter(desired_paused=False):
            if can(resource.offering, Pauses) and paid(resource.plan):
                found[resource.pk] = None
    return list(found)


def resources_to_resume() -> list[int]:
    """Ids of the resources that a hold paused and that none is to keep paused any more."""
    in_force = list(SpendingHold.objects.filter(effect=Effect.RESOURCES, lifted_at=None))
    related = ("resource__workspace__project__organization", "resource__workspace__organization")
    return [
        pause.resource_id
        for pause in SpendingPause.objects.filter(ended_at=None).select_related(*related)
        if not any(concerns(hold, pause.resource.workspace) for hold in in_force)
    ]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a resource stands under a hold that pauses. state: paused | person (paused it) | soon | cannot"""

    resource: Resource
    state: str


def standing_under(hold: SpendingHold, *, at: datetime) -> list[Standing]:
    """Each resource that costs something and that the hold concerns; those that cannot be paused are named too."""
    paid = Paid(at=at)
    ours = Exists(SpendingPause.objects.filter(resource=OuterRef("pk"), ended_at=None))
    rows = []
    for resource in resources_under(hold).annotate(by_a_hold=ours):
        if not paid(resource.plan):
            continue
        if resource.desired_paused:
            state = "paused" if resource.by_a_hold else "person"
        else:
            state = "soon" if can(resource.offering, Pauses) else "cannot"
        rows.append(Standing(resource, state))
    return rows


def words_of_hold(hold: SpendingHold, *, amounts: bool) -> str:
    """Why it holds, as a sentence.

    amounts   tell how much is spent of how much: for whoever may see the costs of the hold's project or organization
    """
    if not amounts:
        return _("Of the budget of “{scope}” too much is spent.").format(scope=hold.project or hold.organization)
    facts = hold.facts
    stretch = date.fromisoformat(facts["stretch"])
    period = {
        "month": date_format(stretch, "F Y"),
        "year": str(stretch.year),
    }.get(facts["span"], _("in total"))
    return _("Of the budget of “{scope}” ({period}) {percent} % are spent: {spent} of {amount}.").format(
        scope=hold.project or hold.organization,
        period=period,
        percent=facts["percent"],
        spent=Money.rounded(Decimal(facts["spent"]), facts["currency"]),
        amount=Money.rounded(Decimal(facts["amount"]), facts["currency"]),
    )
