"""Orders, resources and usage by resource."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Body, Query, Router, Schema, Status
from pydantic import AwareDatetime, Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.catalogue.models import Component
from bursar.kernel.money import Money
from bursar.kernel.refusals import words
from bursar.plugins.contract import UsageRecord
from bursar.provisioning import selectors, services
from bursar.provisioning.lifecycle import OrderState, ResourceState
from bursar.provisioning.models import Order, OrderComment, OrderDecision, Resource, ResourceFact, Side
from bursar.provisioning.services.policies import provider_approval_of
from bursar.structure.models import Organization

router = Router()

Name = Annotated[str, Field(max_length=150)]
Limits = Annotated[dict[str, int], Field(max_length=100, description="component key -> whole units")]


# ------------------------------------------------------------------------------------------------ shapes
class AwaitedOut(Schema):
    side: Side
    asked: bool
    text: str = Field(description="who is awaited and why, or why nobody is asked")


class OrderOut(Schema):
    id: int
    kind: Order.Kind
    state: OrderState
    name: str
    workspace_id: int
    workspace: str
    offering_id: int
    offering: str
    resource_id: int | None
    plan_id: int
    plan: str
    limits: dict[str, int]
    form: dict[str, Any]
    before: dict[str, Any] = Field(description="plan and limits before a change")
    start: datetime | None = Field(description="not before; empty = at once")
    end: datetime | None = Field(description="when the resource ends, half-open")
    comment: str
    estimate_month: Decimal = Field(description="about, in `currency`")
    estimate_once: Decimal
    currency: str
    estimate_ticks: dict[str, int] = Field(description="product category id -> ticks it may draw")
    awaited_roles: list[str]
    error: str
    created_by_id: int | None
    created_at: datetime
    executed_at: datetime | None
    closed_at: datetime | None

    @staticmethod
    def resolve_workspace(row: Order) -> str:
        return str(row.workspace)

    @staticmethod
    def resolve_offering(row: Order) -> str:
        return row.offering.name

    @staticmethod
    def resolve_plan(row: Order) -> str:
        return row.plan.name


class DecisionOut(Schema):
    side: Side
    decision: OrderDecision.Decision
    by_id: int | None
    at: datetime
    reason: str


class OrderCommentOut(Schema):
    id: int
    by_id: int
    at: datetime
    text: str


class OrderDetailsOut(OrderOut):
    awaits: list[AwaitedOut]
    awaited_people: list[int] = Field(description="ids of the people whose decision is awaited now")
    decisions: list[DecisionOut]
    comments: list[OrderCommentOut]
    may_decide: Side | None = Field(description="the side for which you may decide now")
    held_by: list[str] = Field(description="why budgets hold it; empty = none does")
    may_agree: bool = Field(description="whether you may let it go on although a budget is spent, or reject it")
    may_cancel: bool
    may_retry: bool

    @staticmethod
    def resolve_awaits(row: Any) -> Any:
        return row.details.lines

    @staticmethod
    def resolve_awaited_people(row: Any) -> list[int]:
        return [person.pk for person in row.details.awaited]

    @staticmethod
    def resolve_decisions(row: Any) -> Any:
        return row.details.decisions

    @staticmethod
    def resolve_comments(row: Any) -> Any:
        return row.details.comments

    @staticmethod
    def resolve_may_decide(row: Any) -> Any:
        return row.details.decides_for

    @staticmethod
    def resolve_held_by(row: Any) -> list[str]:
        return list(row.details.held_by)

    @staticmethod
    def resolve_may_agree(row: Any) -> bool:
        return bool(row.details.may_agree)

    @staticmethod
    def resolve_may_cancel(row: Any) -> bool:
        return bool(row.details.may_cancel)

    @staticmethod
    def resolve_may_retry(row: Any) -> bool:
        return bool(row.details.may_retry)


class OrderCreate(Strict):
    workspace_id: int
    offering_id: int
    plan_id: int
    name: Name
    limits: Limits = {}
    form: dict[str, Any] = Field({}, description="what the offering's order form asks")
    start: AwareDatetime | None = Field(None, description="not before; at once when empty")
    end: AwareDatetime | None = Field(None, description="half-open; without an end when empty")
    comment: str = Field("", max_length=5000)
    terms_accepted: bool = False
    idempotency_key: str = Field("", max_length=80, description="the same key again answers the same order")


class ChangeCreate(Strict):
    plan_id: int | None = Field(None, description="stays when empty")
    limits: Limits = {}
    start: AwareDatetime | None = None
    comment: str = Field("", max_length=5000)
    idempotency_key: str = Field("", max_length=80)


class TerminationCreate(Strict):
    start: AwareDatetime | None = None
    comment: str = Field("", max_length=5000)
    idempotency_key: str = Field("", max_length=80)


class EstimateIn(Strict):
    workspace_id: int
    offering_id: int
    plan_id: int
    limits: Limits = {}
    start: AwareDatetime | None = Field(None, description="not before; at once when empty")
    end: AwareDatetime | None = Field(None, description="half-open; that of the project when empty, where it has one")
    uses: dict[str, Annotated[Decimal, Field(max_digits=20, decimal_places=6)]] = Field(
        {},
        max_length=100,
        description="component key -> units that are expected to be used in a month, of what is billed by use",
    )


class MonthCostOut(Schema):
    month: str = Field(description="of the seller's calendar, as 2026-07")
    amount: Decimal


class UntilOut(Schema):
    end: datetime = Field(description="half-open")
    total: Decimal
    months: list[MonthCostOut] = Field(description="what each month's bill will say, before tax, if nothing is changed")


class DrawOut(Schema):
    category_id: int
    title: str
    unit: str
    ticks_per_unit: int
    wanted_ticks: int | None = Field(description="empty: drawn as it is used")
    left_ticks: int | None = Field(description="empty: nothing limits it")
    is_enough: bool


class EstimateOut(Schema):
    month: Decimal = Field(description="about, of an average month")
    once: Decimal
    until: UntilOut | None = Field(description="exactly, until the end; empty where there is none within twenty years")
    currency: str
    by_use: bool = Field(description="what is billed by use comes on top, except uses that were said")
    draws: list[DrawOut]
    awaits: list[AwaitedOut]
    refusal: str = Field(description="why such an order would be refused now; empty = it would not")


class OrderDecisionIn(Strict):
    side: Side = Field(description="for whom you decide")
    reason: str = Field("", max_length=2000, description="needed to reject")


class OrderReasonIn(Strict):
    reason: str = Field("", max_length=2000)


class TextIn(Strict):
    text: str = Field(max_length=5000)


class ResourceOut(Schema):
    id: int
    name: str
    slug: str | None
    state: ResourceState
    workspace_id: int
    workspace: str
    offering_id: int
    offering: str
    plan_id: int
    limits: dict[str, int] = Field(description="in force")
    desired_plan_id: int
    desired_limits: dict[str, int]
    desired_paused: bool
    desired_gone: bool
    generation: int = Field(description="counted up by each new wish")
    observed_generation: int = Field(description="the last wish that the backend was found to match")
    form: dict[str, Any]
    backend_id: str
    access: dict[str, str]
    message: str
    awaited_work: str
    end: datetime | None
    created_at: datetime
    first_ok_at: datetime | None
    terminated_at: datetime | None

    @staticmethod
    def resolve_workspace(row: Resource) -> str:
        return str(row.workspace)

    @staticmethod
    def resolve_offering(row: Resource) -> str:
        return row.offering.name


class ImportableOut(Schema):
    backend_id: str = Field(description="what it is called at the backend")
    name: str
    limits: dict[str, int] = Field(description="component key -> whole units, as far as the backend tells")
    resource_id: int | None = Field(description="the resource that it is here already")


class TakeOverIn(Strict):
    backend_id: str = Field(max_length=255)
    workspace_id: int
    plan_id: int
    name: str = Field("", max_length=150, description="empty = as it is called at the backend")


class TakeOversIn(Strict):
    resources: list[TakeOverIn] = Field(min_length=1, max_length=100)


class ResourceDayOut(Schema):
    day: str
    ticks: int


class ResourceComponentOut(Schema):
    key: str
    title: str
    unit: str
    limit: int | None
    category_id: int | None
    category_unit: str | None
    ticks_per_unit: int | None
    used_ticks: int
    days: list[ResourceDayOut]


class ResourcePersonOut(Schema):
    person_id: int | None
    username: str
    category_id: int
    ticks: int


class MemberOut(Schema):
    person_id: int
    full_name: str
    username: str = Field(description="the local account; empty = none yet")


class ResourceDetailsOut(ResourceOut):
    locked: list[int] = Field(description="product categories of which nothing is left")
    components: list[ResourceComponentOut]
    by_person: list[ResourcePersonOut]
    members: list[MemberOut]
    open_order_id: int | None
    paused_because: str = Field(description="the budget that keeps it paused; empty = none does")

    @staticmethod
    def resolve_paused_because(row: Any) -> str:
        return str(row.details.paused_because)

    @staticmethod
    def resolve_locked(row: Any) -> list[int]:
        return [category.pk for category in row.details.locked]

    @staticmethod
    def resolve_components(row: Any) -> list[dict[str, Any]]:
        return [_component(usage) for usage in row.details.components]

    @staticmethod
    def resolve_by_person(row: Any) -> list[dict[str, Any]]:
        return [
            {
                "person_id": None if used.person is None else used.person.pk,
                "username": used.username,
                "category_id": used.category.pk,
                "ticks": used.ticks,
            }
            for used in row.details.by_person
        ]

    @staticmethod
    def resolve_members(row: Any) -> list[dict[str, Any]]:
        return [
            {"person_id": m.person.pk, "full_name": m.person.full_name, "username": m.username}
            for m in row.details.members
        ]

    @staticmethod
    def resolve_open_order_id(row: Any) -> int | None:
        return None if row.details.open_order is None else row.details.open_order.pk


def _component(usage: selectors.ComponentUsage) -> dict[str, Any]:
    component: Component = usage.component
    category = component.category
    return {
        "key": component.key,
        "title": component.title,
        "unit": component.unit_name,
        "limit": usage.limit,
        "category_id": component.category_id,
        "category_unit": None if category is None else category.unit_name,
        "ticks_per_unit": None if category is None else category.ticks_per_unit,
        "used_ticks": usage.used_ticks,
        "days": [{"day": day.isoformat(), "ticks": ticks} for day, ticks in usage.days],
    }


class FactOut(Schema):
    what: ResourceFact.What
    state: str
    plan_id: int | None
    component_id: int | None
    limit: int | None
    order_id: int | None
    by_id: int | None
    effective_at: datetime
    recorded_at: datetime


class EndIn(Strict):
    end: AwareDatetime | None = Field(description="half-open; empty = without an end")


class NameIn(Strict):
    name: Name


class WorkDone(Strict):
    backend_id: str = Field("", max_length=255)
    access: dict[str, str] | None = Field(None, description="label -> value; as before when empty")
    note: str = Field("", max_length=2000)


class RecordIn(Strict):
    id: str = Field(max_length=150, description="stable for ever: the same fact always has the same id")
    component: str = Field(max_length=40)
    amount: int = Field(description="measured units of the component")
    period_start: AwareDatetime
    period_end: AwareDatetime
    absolute: bool = Field(False, description="the level of `scope` so far, instead of a difference")
    scope: str = Field("", max_length=100, description="a job, a drive; empty = the whole resource")
    username: str = Field("", max_length=200)
    job: str = Field("", max_length=200)
    labels: dict[str, str] = {}


class UsageRecordsIn(Strict):
    records: list[RecordIn] = Field(max_length=10_000)


class PostedOut(Schema):
    posted: int
    duplicates: list[str]


class ApprovalOut(Schema):
    choice: str | None = Field(description="all | none | organizations; empty = lines of another shape")
    organization_ids: list[int]


class ApprovalIn(Strict):
    choice: services.ProviderApproval
    organization_ids: list[int] = Field([], max_length=1000)


def _details(request: HttpRequest, order_id: int) -> Order:
    """The order, with what it means for who asks."""
    found = selectors.order_details(person_of(request), order_id, at=at_of(request))
    found.order.details = found  # type: ignore[attr-defined]
    return found.order


# ------------------------------------------------------------------------------------------------ orders
@router.get("/orders", response=Page[OrderOut], tags=["Orders"], summary="Orders you can see as a customer")
def list_orders(
    request: HttpRequest,
    paging: Paging,
    state: OrderState | None = None,
    workspace_id: Annotated[int | None, Query()] = None,
) -> Any:
    rows = selectors.orders_for(person_of(request), at=at_of(request))
    if state is not None:
        rows = rows.filter(state=state)
    if workspace_id is not None:
        rows = rows.filter(workspace_id=_key(workspace_id))
    return page_of(request, rows, paging)


def _key(number: int) -> int:
    """A number that the database can hold; others are nobody's."""
    return number if 0 < number < 2**63 else 0


@router.get("/orders/awaiting", response=Page[OrderOut], tags=["Orders"], summary="Orders that await your decision")
def list_awaiting(request: HttpRequest, paging: Paging, side: Side | None = None) -> Any:
    return page_of(request, selectors.orders_awaiting(person_of(request), at=at_of(request), side=side), paging)


@router.get("/provider/orders", response=Page[OrderOut], tags=["Orders"], summary="Orders of what you sell")
def list_provider_orders(request: HttpRequest, paging: Paging, state: OrderState | None = None) -> Any:
    rows = selectors.provider_orders(person_of(request), at=at_of(request))
    return page_of(request, rows if state is None else rows.filter(state=state), paging)


@router.post("/orders", response={201: OrderDetailsOut, **PROBLEMS}, tags=["Orders"], summary="Order a resource")
def create_order(request: HttpRequest, payload: OrderCreate) -> Any:
    person, at = person_of(request), at_of(request)
    workspace = selectors.workspace_to_order_for(person, _key(payload.workspace_id), at=at)
    order = services.submit_order(
        workspace=workspace,
        offering=selectors.offering_to_order(person, workspace, _key(payload.offering_id), at=at),
        plan_id=_key(payload.plan_id),
        limits=payload.limits,
        form=payload.form,
        name=payload.name,
        start=payload.start,
        end=payload.end,
        comment=payload.comment,
        terms_accepted=payload.terms_accepted,
        idempotency_key=payload.idempotency_key,
        by=person,
        at=at,
    )
    return Status(201, _details(request, order.pk))


@router.post(
    "/orders/estimate",
    response={200: EstimateOut, **PROBLEMS},
    tags=["Orders"],
    summary="What an order would cost and draw",
)
def estimate_order(request: HttpRequest, payload: EstimateIn) -> Any:
    """Writes nothing; says as well who would have to agree."""
    person, at = person_of(request), at_of(request)
    workspace = selectors.workspace_to_order_for(person, _key(payload.workspace_id), at=at)
    offering = selectors.offering_to_order(person, workspace, _key(payload.offering_id), at=at)
    found = selectors.preview_order(
        person,
        offering=offering,
        workspace=workspace,
        plan=services.check_plan(offering, workspace, _key(payload.plan_id)),
        limits=payload.limits,
        start=payload.start,
        end=payload.end,
        uses={key: Fraction(quantity) for key, quantity in payload.uses.items()},
        at=at,
    )
    until = found.until
    return {
        "until": until
        and {
            "end": until.end,
            "total": until.total.amount,
            "months": [{"month": str(month), "amount": money.amount} for month, money in until.months],
        },
        "month": Money.rounded(found.estimate.month, found.currency).amount,
        "once": Money.rounded(found.estimate.once, found.currency).amount,
        "currency": found.currency,
        "by_use": found.estimate.by_use,
        "draws": [
            {
                "category_id": draw.category.pk,
                "title": draw.category.title,
                "unit": draw.category.unit_name,
                "ticks_per_unit": draw.category.ticks_per_unit,
                "wanted_ticks": draw.wanted_ticks,
                "left_ticks": draw.left_ticks,
                "is_enough": draw.is_enough,
            }
            for draw in found.draws
        ],
        "awaits": [{"side": line.side, "asked": line.asked, "text": line.text} for line in found.lines],
        "refusal": "" if found.refusal is None else words(found.refusal, _),
    }


@router.get(
    "/orders/{order_id}",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="An order, with who is awaited and why",
)
def get_order(request: HttpRequest, order_id: int) -> Any:
    return _details(request, _key(order_id))


@router.post(
    "/orders/{order_id}/approve",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="Approve an order for one side",
)
def approve_order(request: HttpRequest, order_id: int, payload: OrderDecisionIn) -> Any:
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    services.approve_order(
        order_id=order_id, side=payload.side, reason=payload.reason, by=person_of(request), at=at_of(request)
    )
    return _details(request, order_id)


@router.post(
    "/orders/{order_id}/reject",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="Reject an order for one side",
)
def reject_order(request: HttpRequest, order_id: int, payload: OrderDecisionIn) -> Any:
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    services.reject_order(
        order_id=order_id, side=payload.side, reason=payload.reason, by=person_of(request), at=at_of(request)
    )
    return _details(request, order_id)


@router.post(
    "/orders/{order_id}/agree",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="Let an order go on that a budget holds",
)
def agree_to_spend(request: HttpRequest, order_id: int, payload: OrderReasonIn) -> Any:
    """For whoever answers for the organization’s budgets. The budget stays as it is."""
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    services.agree_to_spend(order_id=order_id, reason=payload.reason, by=person_of(request), at=at_of(request))
    return _details(request, order_id)


@router.post(
    "/orders/{order_id}/refuse",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="Reject an order that a budget holds",
)
def refuse_to_spend(request: HttpRequest, order_id: int, payload: OrderReasonIn) -> Any:
    """The reason is told to whoever placed it."""
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    services.refuse_to_spend(order_id=order_id, reason=payload.reason, by=person_of(request), at=at_of(request))
    return _details(request, order_id)


@router.post(
    "/orders/{order_id}/cancel",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="Take an order back",
)
def cancel_order(request: HttpRequest, order_id: int, payload: OrderReasonIn) -> Any:
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    services.cancel_order(order_id=order_id, reason=payload.reason, by=person_of(request), at=at_of(request))
    return _details(request, order_id)


@router.post(
    "/orders/{order_id}/retry",
    response={200: OrderDetailsOut, **PROBLEMS},
    tags=["Orders"],
    summary="Try a failed order again",
)
def retry_order(request: HttpRequest, order_id: int) -> Any:
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    services.retry_order(order_id=order_id, by=person_of(request), at=at_of(request))
    return _details(request, order_id)


@router.post(
    "/orders/{order_id}/comments",
    response={201: OrderCommentOut, **PROBLEMS},
    tags=["Orders"],
    summary="Write a remark that both sides see",
)
def comment_order(request: HttpRequest, order_id: int, payload: TextIn) -> Status[OrderComment]:
    selectors.order_for(person_of(request), _key(order_id), at=at_of(request))
    return Status(
        201,
        services.comment_order(order_id=order_id, text=payload.text, by=person_of(request), at=at_of(request)),
    )


# ------------------------------------------------------------------------------------------------ resources
@router.get("/resources", response=Page[ResourceOut], tags=["Resources"], summary="Resources you can see as a customer")
def list_resources(
    request: HttpRequest,
    paging: Paging,
    state: ResourceState | None = None,
    workspace_id: Annotated[int | None, Query()] = None,
) -> Any:
    rows = selectors.resources_for(person_of(request), at=at_of(request))
    if state is not None:
        rows = rows.filter(state=state)
    if workspace_id is not None:
        rows = rows.filter(workspace_id=_key(workspace_id))
    return page_of(request, rows, paging)


@router.get("/provider/resources", response=Page[ResourceOut], tags=["Resources"], summary="Resources of what you sell")
def list_provider_resources(request: HttpRequest, paging: Paging, state: ResourceState | None = None) -> Any:
    rows = selectors.provider_resources(person_of(request), at=at_of(request))
    return page_of(request, rows if state is None else rows.filter(state=state), paging)


@router.get(
    "/provider/work", response=Page[ResourceOut], tags=["Resources"], summary="Resources that await work by hand"
)
def list_work(request: HttpRequest, paging: Paging) -> Any:
    return page_of(request, selectors.awaited_work(person_of(request), at=at_of(request)), paging)


@router.get(
    "/resources/{resource_id}",
    response={200: ResourceDetailsOut, **PROBLEMS},
    tags=["Resources"],
    summary="A resource with its usage by day and by person",
)
def get_resource(
    request: HttpRequest, resource_id: int, days: Annotated[int, Query(ge=1, le=366)] = selectors.USAGE_DAYS
) -> Any:
    found = selectors.resource_details(
        person_of(request), _key(resource_id), at=at_of(request), zone=timezone.get_current_timezone(), days=days
    )
    found.resource.details = found  # type: ignore[attr-defined]
    return found.resource


@router.get(
    "/resources/{resource_id}/history",
    response=Page[FactOut],
    tags=["Resources"],
    summary="Every state, plan and limit it ever had, latest first",
)
def get_history(request: HttpRequest, resource_id: int, paging: Paging) -> Any:
    resource = selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return page_of(request, selectors.resource_history(resource), paging)


@router.post(
    "/resources/{resource_id}/change",
    response={201: OrderDetailsOut, **PROBLEMS},
    tags=["Resources"],
    summary="Order another plan or other limits",
)
def change_resource(request: HttpRequest, resource_id: int, payload: ChangeCreate) -> Any:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    order = services.submit_change(resource_id=resource_id, by=person_of(request), at=at_of(request), **payload.dict())
    return Status(201, _details(request, order.pk))


@router.post(
    "/resources/{resource_id}/terminate",
    response={201: OrderDetailsOut, **PROBLEMS},
    tags=["Resources"],
    summary="Order its end",
)
def terminate_resource(request: HttpRequest, resource_id: int, payload: TerminationCreate) -> Any:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    order = services.submit_termination(
        resource_id=resource_id, by=person_of(request), at=at_of(request), **payload.dict()
    )
    return Status(201, _details(request, order.pk))


@router.post(
    "/resources/{resource_id}/pause",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Let it stand still",
)
def pause_resource(request: HttpRequest, resource_id: int) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.pause_resource(resource_id=resource_id, by=person_of(request), at=at_of(request))


@router.post(
    "/resources/{resource_id}/resume",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Let it run again",
)
def resume_resource(request: HttpRequest, resource_id: int) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.resume_resource(resource_id=resource_id, by=person_of(request), at=at_of(request))


@router.put(
    "/resources/{resource_id}/end",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Say when it ends by itself",
)
def set_end(request: HttpRequest, resource_id: int, payload: EndIn) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.set_end(resource_id=resource_id, end=payload.end, by=person_of(request), at=at_of(request))


@router.put(
    "/resources/{resource_id}/name",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Give it another name",
)
def rename_resource(request: HttpRequest, resource_id: int, payload: NameIn) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.rename_resource(
        resource_id=resource_id, name=payload.name, by=person_of(request), at=at_of(request)
    )


@router.post(
    "/resources/{resource_id}/ask-again",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Have its backend asked now",
)
def ask_again(request: HttpRequest, resource_id: int) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.ask_again(resource_id=resource_id, by=person_of(request), at=at_of(request))


@router.post(
    "/resources/{resource_id}/actions/{action}",
    response={200: dict[str, str], **PROBLEMS},
    tags=["Resources"],
    summary="Have the plugin's own action carried out",
)
def act(request: HttpRequest, resource_id: int, action: str, form: Annotated[dict[str, Any], Body()]) -> Any:
    resource = selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.act(resource=resource, action=action, form=form, by=person_of(request), at=at_of(request))


@router.post(
    "/resources/{resource_id}/work/done",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Say that the work by hand is done",
)
def confirm_work(request: HttpRequest, resource_id: int, payload: WorkDone) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.confirm_work(resource_id=resource_id, by=person_of(request), at=at_of(request), **payload.dict())


@router.post(
    "/resources/{resource_id}/work/refuse",
    response={200: ResourceOut, **PROBLEMS},
    tags=["Resources"],
    summary="Say that the work by hand cannot be done",
)
def refuse_work(request: HttpRequest, resource_id: int, payload: OrderReasonIn) -> Resource:
    selectors.resource_for(person_of(request), _key(resource_id), at=at_of(request))
    return services.refuse_work(
        resource_id=resource_id, reason=payload.reason, by=person_of(request), at=at_of(request)
    )


@router.post(
    "/resources/{resource_id}/usage",
    response={200: PostedOut, **PROBLEMS},
    tags=["Resources"],
    summary="Report usage of a resource, each record once for ever",
)
def report_usage(request: HttpRequest, resource_id: int, payload: UsageRecordsIn) -> Any:
    """All records are taken or none. The same id with the same content again changes nothing."""
    records = [UsageRecord(resource_id=resource_id, **record.dict()) for record in payload.records]
    answer = services.report_usage(
        resource_id=_key(resource_id), records=records, by=person_of(request), at=at_of(request)
    )
    return {"posted": answer.posted, "duplicates": list(answer.duplicates)}


# ------------------------------------------------------------------------------------------------ approval
@router.get(
    "/provider/offerings/{offering_id}/importable",
    response={200: list[ImportableOut], **PROBLEMS},
    tags=["Resources"],
    summary="What is at the backend of an offering and could be taken over",
)
def list_importable(request: HttpRequest, offering_id: int) -> Any:
    """The backend is asked while you wait. What is a resource here already names it."""
    person, at = person_of(request), at_of(request)
    offering = selectors.offering_sold(person, _key(offering_id), at=at)
    return [
        {
            "backend_id": found.backend_id,
            "name": found.name,
            "limits": found.limits,
            "resource_id": None if found.resource is None else found.resource.pk,
        }
        for found in services.importable(offering=offering, by=person, at=at)
    ]


@router.post(
    "/provider/offerings/{offering_id}/take-over",
    response={201: list[ResourceOut], **PROBLEMS},
    tags=["Resources"],
    summary="Make what is at the backend resources of workspaces, all or none",
)
def take_over(request: HttpRequest, offering_id: int, payload: TakeOversIn) -> Any:
    """Each is ready at once, with a done order that says who did it; what it had used before is no wallet's."""
    person, at = person_of(request), at_of(request)
    offering = selectors.offering_sold(person, _key(offering_id), at=at)
    wanted = {_key(wish.workspace_id) for wish in payload.resources}
    workspaces = {w.pk: w for w in selectors.workspaces_to_take_over_for(offering, at=at).filter(pk__in=wanted)}
    wishes = [
        services.TakeOver(wish.backend_id, workspaces.get(wish.workspace_id), _key(wish.plan_id), wish.name)
        for wish in payload.resources
    ]
    return Status(201, services.take_over(offering=offering, wishes=wishes, by=person, at=at))


@router.get(
    "/provider/offerings/{offering_id}/approval",
    response={200: ApprovalOut, **PROBLEMS},
    tags=["Orders"],
    summary="Who at the provider approves orders of an offering",
)
def get_approval(request: HttpRequest, offering_id: int) -> Any:
    choice, organizations = provider_approval_of(
        selectors.offering_sold(person_of(request), _key(offering_id), at=at_of(request))
    )
    return {"choice": choice, "organization_ids": [organization.pk for organization in organizations]}


@router.put(
    "/provider/offerings/{offering_id}/approval",
    response={200: ApprovalOut, **PROBLEMS},
    tags=["Orders"],
    summary="Say who at the provider approves orders of an offering",
)
def set_approval(request: HttpRequest, offering_id: int, payload: ApprovalIn) -> Any:
    person, at = person_of(request), at_of(request)
    offering = selectors.offering_sold(person, _key(offering_id), at=at)
    organizations = list(Organization.objects.filter(pk__in=[_key(pk) for pk in payload.organization_ids]))
    services.set_provider_approval(
        offering=offering, choice=payload.choice, organizations=organizations, by=person, at=at
    )
    return get_approval(request, offering_id)
