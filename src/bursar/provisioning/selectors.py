"""Questions about orders and resources, always for somebody who asks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any, Final
from urllib.parse import urlsplit

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from bursar.accounting.models import Wallet
from bursar.accounting.selectors import WalletState
from bursar.catalogue.models import Backend, Component, Offering, Plan, ProductCategory, ServiceProvider
from bursar.catalogue.selectors import offering_of_provider, offerings_open_to, offerings_visible_to
from bursar.engine.estimate import Estimate
from bursar.kernel.errors import DomainError
from bursar.metering.history import Breakdown, By
from bursar.metering.models import UsageReport
from bursar.plugins.contract import ManagesAccounts
from bursar.provisioning import gate, holds, pricing, quota
from bursar.provisioning.abilities import backend_can
from bursar.provisioning.errors import (
    AccountNotOffered,
    OfferingNotVisible,
    OrderNotFound,
    PersonNotThere,
    ResourceNotFound,
    WorkspaceNotFound,
)
from bursar.provisioning.lifecycle import (
    ACCOUNT_TRANSITIONS,
    OPEN_ORDER_STATES,
    AccountState,
    OrderAction,
    OrderState,
    ResourceState,
    order_after,
)
from bursar.provisioning.models import (
    AccountPolicy,
    ApprovalPolicy,
    LocalAccount,
    Order,
    OrderDecision,
    ProviderMessage,
    Resource,
    ResourceFact,
    SetAside,
    Side,
    SpendingHold,
    UsageMark,
)
from bursar.provisioning.people import people_awaited, users_of
from bursar.provisioning.policies import (
    AwaitedLine,
    Verdict,
    explain,
    judge,
    lines_for,
    organization_of,
    words_of_line,
)
from bursar.provisioning.services._common import ORDER_RELATED, RESOURCE_RELATED
from bursar.provisioning.services.accounts import backends_for, people_there
from bursar.provisioning.services.orders import (
    candidate_for,
    check_limits,
    check_uses,
    may_decide,
    money_of,
    verdict_of,
)
from bursar.structure.models import Membership, Person, Workspace
from bursar.structure.roles import (
    Permission,
    Role,
    may,
    organizations_where,
    require,
    workspaces_where,
)

USAGE_DAYS: Final = 30
MESSAGES_SHOWN: Final = 50


# ------------------------------------------------------------------------------------------------ orders
def _orders() -> QuerySet[Order]:
    return Order.objects.select_related(*ORDER_RELATED, "resource", "assignee")


def orders_for(viewer: Person, *, at: datetime) -> QuerySet[Order]:
    """The orders of the workspaces that the viewer may see, and those they placed."""
    seen = workspaces_where(viewer, Permission.VIEW_PROJECT, at).values("pk")
    where = Q(workspace__in=seen)
    if _sees_own(viewer):
        where |= Q(created_by=viewer)
    return _orders().filter(where).order_by("-created_at", "-pk")


def open_orders_by(viewer: Person) -> QuerySet[Order]:
    """The orders that the viewer placed and that are not closed, newest first."""
    if not _sees_own(viewer):
        return _orders().none()
    return _orders().filter(created_by=viewer, state__in=OPEN_ORDER_STATES).order_by("-created_at", "-pk")


def _sees_own(viewer: Person) -> bool:
    """Whether having placed an order is enough to see it: for people it is, for a token only if it reads everywhere."""
    limits = viewer.limits
    return limits is None or (limits.organization_id is None and limits.allow(Permission.VIEW_PROJECT))


def provider_orders(viewer: Person, *, at: datetime) -> QuerySet[Order]:
    """The orders of what the providers sell whose affairs the viewer may see."""
    sellers = organizations_where(viewer, Permission.VIEW_PROVIDER, at).values("pk")
    return _orders().filter(offering__provider__organization__in=sellers).order_by("-created_at", "-pk")


def order_for(viewer: Person, order_id: int, *, at: datetime) -> Order:
    """raises   OrderNotFound, also when the viewer may not see it"""
    order = _orders().filter(pk=order_id).first()
    if order is None or not (
        (order.created_by_id == viewer.pk and _sees_own(viewer))
        or may(viewer, Permission.VIEW_PROJECT, order.workspace, at)
        or may(viewer, Permission.VIEW_PROVIDER, order.offering.provider.organization, at)
    ):
        raise OrderNotFound
    return order


def orders_awaiting(viewer: Person, *, at: datetime, side: Side | None = None) -> QuerySet[Order]:
    """The orders that await a decision of this person, by their roles; oldest first. One query, and one for the roles."""
    where = held = Q(pk__in=())
    memberships = Membership.objects.filter(person=viewer).held_at(at) if viewer.is_active else ()
    answers = viewer.limits is None or viewer.limits.allow(Permission.MANAGE_BUDGETS)
    permitted = {
        Side.CONSUMER: viewer.limits is None or viewer.limits.allow(Permission.APPROVE_ORDER),
        Side.PROVIDER: viewer.limits is None or viewer.limits.allow(Permission.HANDLE_ORDERS),
    }
    for membership in memberships:
        awaited = Q(awaited_roles__contains=[membership.role])
        if membership.organization_id is not None:
            if answers and side != Side.PROVIDER:
                held |= awaited & Q(
                    Q(workspace__project__organization_id=membership.organization_id)
                    | Q(workspace__organization_id=membership.organization_id),
                    state=OrderState.HELD,
                )
            if permitted[Side.CONSUMER] and side != Side.PROVIDER:
                where |= awaited & Q(
                    Q(workspace__project__organization_id=membership.organization_id)
                    | Q(workspace__organization_id=membership.organization_id),
                    state=OrderState.PENDING_CONSUMER,
                )
            if permitted[Side.PROVIDER] and side != Side.CONSUMER:
                where |= awaited & Q(
                    state=OrderState.PENDING_PROVIDER,
                    offering__provider__organization_id=membership.organization_id,
                )
        elif membership.project_id is not None and permitted[Side.CONSUMER] and side != Side.PROVIDER:
            place = Q(workspace__project_id=membership.project_id)
            if membership.role != Role.PROJECT_MEMBER:
                place |= Q(workspace__project__path__contains=[membership.project_id])
            where |= awaited & place & Q(state=OrderState.PENDING_CONSUMER)
    own = ~Q(created_by=viewer)
    return _orders().filter(where & own | held).order_by("created_at", "pk")


def who_must_approve(order: Order) -> list[AwaitedLine]:
    """Each side in words: who is awaited and why, or why nobody is asked."""
    return explain({side: verdict_of(order, side) for side in Side if side in order.verdicts})


@dataclass(frozen=True, slots=True)
class Step:
    """One station of an order on its way. state: done | current | failed | open | skipped"""

    key: str
    state: str
    at: datetime | None
    by: Person | None


@dataclass(frozen=True, slots=True)
class Change:
    """What a change order asks for.

    what            a component's title, or "plan"
    before, after   a limit in `unit`, or the plan's name; None = there was none
    """

    what: str
    before: Any
    after: Any
    unit: str = ""


@dataclass(frozen=True, slots=True)
class OrderDetails:
    """Everything the page of an order shows, for one viewer."""

    order: Order
    lines: list[AwaitedLine]
    steps: list[Step]
    decisions: list[OrderDecision]
    awaited: list[Person]
    comments: list[Any]
    decides_for: Side | None
    may_cancel: bool
    may_retry: bool
    may_handle: bool
    changes: list[Change]
    messages: list[ProviderMessage]
    held_by: list[str]
    may_agree: bool

    @property
    def progress(self) -> int | None:
        """Per cent of the work, as the provider's side said last; None: it said none, or nothing is under way."""
        return _progress(self.order, self.messages)


def _progress(order: Order | None, messages: Sequence[ProviderMessage]) -> int | None:
    if order is None or order.state != OrderState.EXECUTING or not messages or messages[0].at < order.created_at:
        return None
    return messages[0].progress


def order_details(viewer: Person, order_id: int, *, at: datetime) -> OrderDetails:
    """raises   OrderNotFound"""
    order = order_for(viewer, order_id, at=at)
    state = OrderState(order.state)
    side = {OrderState.PENDING_CONSUMER: Side.CONSUMER, OrderState.PENDING_PROVIDER: Side.PROVIDER}.get(state)
    decisions = list(order.decisions.select_related("by"))
    approves = may(viewer, Permission.APPROVE_ORDER, order.workspace, at)
    handles = may(viewer, Permission.HANDLE_ORDERS, order.offering.provider.organization, at)
    places = may(viewer, Permission.PLACE_ORDER, order.workspace, at)
    is_held = state == OrderState.HELD
    return OrderDetails(
        order=order,
        lines=who_must_approve(order),
        steps=_steps(order, decisions),
        decisions=decisions,
        awaited=list(Person.objects.filter(pk__in=people_awaited(order, at=at)).order_by("full_name")),
        comments=list(order.comments.select_related("by")),
        decides_for=side if side is not None and may_decide(viewer, order, side, at) else None,
        may_cancel=order_after(state, OrderAction.CANCEL) is not None
        and (approves or (places and order.created_by_id == viewer.pk)),
        may_retry=order_after(state, OrderAction.RETRY) is not None and (places or handles),
        may_handle=handles,
        changes=_changes(order),
        messages=list(order.messages.select_related("by")[:MESSAGES_SHOWN]),
        held_by=why_held(order, viewer, at=at) if is_held else [],
        may_agree=is_held and may(viewer, Permission.MANAGE_BUDGETS, organization_of(order.workspace), at),
    )


def why_held(order: Order, viewer: Person, *, at: datetime) -> list[str]:
    """A sentence for each hold in force that stops the order; with amounts as far as the viewer may see them."""
    rows = order.holds.filter(hold__lifted_at=None).select_related("hold__organization", "hold__project")
    return [_words_for(row.hold, viewer, at=at) for row in rows]


def _words_for(hold: SpendingHold, viewer: Person, *, at: datetime) -> str:
    scope = hold.project or hold.organization
    return holds.words_of_hold(hold, amounts=may(viewer, Permission.VIEW_COSTS, scope, at))


def why_paused(resource: Resource, viewer: Person, *, at: datetime) -> str:
    """Why a hold, and no person, lets the resource stand still; "" where none does."""
    rows = resource.spending_pauses.filter(ended_at=None).select_related("hold__organization", "hold__project")
    return next((_words_for(row.hold, viewer, at=at) for row in rows), "")


def _steps(order: Order, decisions: Sequence[OrderDecision]) -> list[Step]:
    """Placed, agreed by your side, agreed by the provider, carried out, done: and where it stands."""
    agreed = {
        decision.side: decision
        for decision in decisions
        if decision.decision in {OrderDecision.Decision.APPROVED, OrderDecision.Decision.NOT_ASKED}
    }
    ended_at_side = next((d.side for d in decisions if d.decision == OrderDecision.Decision.REJECTED), None)
    state = OrderState(order.state)
    current = {
        OrderState.PENDING_CONSUMER: "consumer",
        OrderState.HELD: "budget",
        OrderState.PENDING_PROVIDER: "provider",
        OrderState.PENDING_START: "executing",
        OrderState.EXECUTING: "executing",
    }.get(state)
    steps = [Step("placed", "done", order.created_at, order.created_by)]
    for side in Side:
        decision = agreed.get(side)
        if decision is not None:
            steps.append(Step(side.value, "done", decision.at, decision.by))
        elif ended_at_side == side:
            steps.append(Step(side.value, "failed", order.closed_at, None))
        else:
            steps.append(Step(side.value, "current" if current == side.value else "open", None, None))
        if side == Side.CONSUMER:
            steps += _budget_step(order, decisions, state)
    executing = {
        OrderState.EXECUTING: "current",
        OrderState.PENDING_START: "current",
        OrderState.DONE: "done",
        OrderState.FAILED: "failed",
    }.get(state, "open")
    steps.append(Step("executing", executing, order.executed_at, None))
    steps.append(
        Step(
            "done",
            "done" if state == OrderState.DONE else "open",
            order.closed_at if state == OrderState.DONE else None,
            None,
        )
    )
    return steps


def _budget_step(order: Order, decisions: Sequence[OrderDecision], state: OrderState) -> list[Step]:
    """The station of an order that a budget holds or held; none where none did."""
    kinds = OrderDecision.Decision
    held = [i for i, decision in enumerate(decisions) if decision.decision == kinds.HELD]
    if not held:
        return []
    after = decisions[held[-1] + 1 :]
    let = next((d for d in after if d.decision in {kinds.AGREED, kinds.LET_GO}), None)
    if let is not None:
        return [Step("budget", "done", let.at, let.by)]
    said = "current" if state == OrderState.HELD else "failed" if state == OrderState.REJECTED else "open"
    return [Step("budget", said, order.closed_at, None)]


def _changes(order: Order) -> list[Change]:
    if order.kind != Order.Kind.CHANGE:
        return []
    known = {
        key: (title, unit) for key, title, unit in order.offering.components.values_list("key", "title", "unit_name")
    }
    before = order.before.get("limits", {})
    rows = []
    for key, limit in order.limits.items():
        if before.get(key) != limit:
            title, unit = known.get(key, (key, ""))
            rows.append(Change(title, before.get(key), limit, unit))
    if order.before.get("plan") != order.plan_id:
        old = Plan.objects.filter(pk=order.before.get("plan")).values_list("name", flat=True).first()
        rows.insert(0, Change("plan", old, order.plan.name))
    return rows


# ------------------------------------------------------------------------------------------------ before ordering
def workspaces_to_order_for(viewer: Person, offering: Offering, *, at: datetime) -> list[Workspace]:
    """The workspaces for which the viewer may order this offering: projects first, each kind by name."""
    workspaces = (
        workspaces_where(viewer, Permission.PLACE_ORDER, at)
        .filter(
            Q(person=viewer)
            | Q(organization__archived_at=None, organization__isnull=False)
            | Q(project__archived_at=None, project__organization__archived_at=None, project__isnull=False)
        )
        .exclude(project__end__lte=at)
        .select_related("project__organization", "organization", "person")
    )
    kinds = {"project": 0, "personal": 1, "organization": 2}
    chosen = workspaces if offering.visibility == Offering.Visibility.EVERYONE else _narrowed(workspaces, offering)
    return sorted(chosen, key=lambda workspace: (kinds[workspace.kind], str(workspace).casefold()))


def _narrowed(workspaces: QuerySet[Workspace], offering: Offering) -> list[Workspace]:
    if offering.visibility == Offering.Visibility.ORGANIZATIONS:
        organizations = offering.visible_organizations.values("pk")
        return list(workspaces.filter(Q(project__organization__in=organizations) | Q(organization__in=organizations)))
    projects = set(offering.visible_projects.values_list("pk", flat=True))
    return [w for w in workspaces if w.project is not None and projects.intersection(w.project.path)]


def workspaces_to_take_over_for(offering: Offering, *, at: datetime) -> QuerySet[Workspace]:
    """The workspaces that the offering's provider may take something over for: those that have quota of what it draws on.

    Where it draws on nothing, every project. Whether the offering is open to it is said when it is taken over.
    """
    drawn = [category for category in offering.components.values_list("category_id", flat=True) if category is not None]
    workspaces = Workspace.objects.select_related("project__organization", "organization", "person").filter(
        Q(organization__archived_at=None, organization__isnull=False)
        | Q(project__archived_at=None, project__organization__archived_at=None, project__isnull=False)
        | Q(person__is_active=True)
    )
    if drawn:
        return workspaces.filter(Exists(Wallet.objects.filter(workspace=OuterRef("pk"), category__in=drawn))).order_by(
            "project__organization__name", "project__name", "organization__name", "person__full_name", "pk"
        )
    return workspaces.filter(project__isnull=False).order_by("project__organization__name", "project__name", "pk")


def workspace_to_order_for(viewer: Person, workspace_id: int, *, at: datetime) -> Workspace:
    """raises   WorkspaceNotFound"""
    workspace = (
        workspaces_where(viewer, Permission.PLACE_ORDER, at)
        .select_related("project__organization", "organization", "person")
        .filter(pk=workspace_id)
        .first()
    )
    if workspace is None:
        raise WorkspaceNotFound
    return workspace


def offering_to_order(viewer: Person, workspace: Workspace, offering_id: int, *, at: datetime) -> Offering:
    """An offering that the viewer can see; whether the workspace may order it is said when it is ordered.

    raises   OfferingNotVisible
    """
    offering = (
        Offering.objects.filter(
            Q(pk__in=offerings_visible_to(viewer, at).order_by().values("pk"))
            | Q(pk__in=offerings_open_to(workspace).order_by().values("pk")),
            pk=offering_id,
        )
        .select_related("provider__organization", "backend")
        .first()
    )
    if offering is None:
        raise OfferingNotVisible(workspace=str(workspace))
    return offering


def offering_sold(viewer: Person, offering_id: int, *, at: datetime) -> Offering:
    """raises   catalogue's OfferingNotFound, also when it is not sold by the viewer's providers"""
    return offering_of_provider(viewer, offering_id, at)


@dataclass(frozen=True, slots=True)
class DrawPreview:
    """What an order may draw of a category, and how that compares with what is left.

    wanted_ticks   beyond what the resource has drawn already; None = drawn as it is used: nobody can say in advance
    used_ticks     that are expected to be drawn in a month by use; None = nothing was said
    """

    category: ProductCategory
    wanted_ticks: int | None
    state: WalletState | None
    used_ticks: Fraction | None = None

    @property
    def left_ticks(self) -> int | None:
        if self.state is None:
            return None if not self.category.requires_allocation else 0
        return self.state.available_ticks

    @property
    def lasts_months(self) -> int | None:
        """How many whole months what is left lasts at the expected use; None = it has no end, or nobody can say."""
        left = self.left_ticks
        if left is None or self.wanted_ticks is not None or not self.used_ticks:
            return None
        return int(left // self.used_ticks)

    @property
    def is_enough(self) -> bool:
        left = self.left_ticks
        return left is None or (left > 0 if self.wanted_ticks is None else left >= self.wanted_ticks)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would follow from an order, before it is placed."""

    estimate: Estimate
    until: pricing.Until | None
    currency: str
    draws: list[DrawPreview]
    lines: list[AwaitedLine]
    refusal: DomainError | None


def preview_order(
    viewer: Person,
    *,
    offering: Offering,
    workspace: Workspace,
    plan: Plan,
    limits: Mapping[str, Any],
    kind: str = Order.Kind.CREATE,
    resource: Resource | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    uses: Mapping[str, Fraction] | None = None,
    at: datetime,
) -> Preview:
    """The estimate, what is drawn of what is left, and who would have to agree. Writes nothing.

    start    not before; None = at once
    end      of the resource; None = that of the project, where it has one
    uses     component key -> units that are expected to be used in a month
    raises   as `check_limits` and `check_uses` for what cannot be ordered
    """
    components = list(offering.components.select_related("category__provider__organization"))
    checked = check_limits(components, limits)
    switched = resource is not None and resource.plan_id != plan.pk
    uses = check_uses(components, uses or {})
    found = pricing.estimate_for(plan, components, checked, uses=uses, at=at, first=resource is None, switched=switched)
    if resource is not None:
        end = resource.end
    if workspace.project is not None:
        end = min((day for day in (end, workspace.project.end) if day is not None), default=None)
    until = pricing.cost_until(
        plan,
        components,
        checked,
        seller=offering.provider.organization,
        start=max(start or at, at),
        end=end,
        before=resource.limits if resource is not None else {},
        uses=uses,
        at=at,
        first=resource is None,
        switched=switched,
    )
    refusal: DomainError | None = None
    try:
        gate.require_payer(workspace, plan, components, at=at)
        gate.require_allocations(workspace, components, at=at, new=resource is None)
    except DomainError as error:
        refusal = error
    categories = {c.category.pk: c.category for c in components if c.category is not None}
    states = quota.states_of({(workspace.pk, pk) for pk in categories}, at=at)
    expected: dict[int, Fraction] = {}
    for component in components:
        if component.category is not None and component.key in uses:
            ticks = uses[component.key] * component.ticks_per_unit
            expected[component.category.pk] = expected.get(component.category.pk, Fraction(0)) + ticks
    order = Order(
        kind=kind,
        workspace=workspace,
        offering=offering,
        resource=resource,
        plan=plan,
        limits=checked,
        created_by=viewer,
        currency=offering.provider.organization.currency,
        estimate_month=money_of(found.month),
    )
    left = {pk: s.available_ticks if (s := states.get((workspace.pk, pk))) else 0 for pk in found.ticks}
    candidate = candidate_for(order, found, available=left, at=at)
    return Preview(
        estimate=found,
        until=until,
        currency=order.currency,
        draws=[
            DrawPreview(category, candidate.ticks.get(pk), states.get((workspace.pk, pk)), expected.get(pk))
            for pk, category in sorted(categories.items())
        ],
        lines=explain({side: judge(side, candidate, at=at) for side in Side}),
        refusal=refusal,
    )


# ------------------------------------------------------------------------------------------------ resources
def _resources() -> QuerySet[Resource]:
    return Resource.objects.select_related(*RESOURCE_RELATED, "created_by")


def resources_for(viewer: Person, *, at: datetime) -> QuerySet[Resource]:
    """The resources of the workspaces that the viewer may see."""
    seen = workspaces_where(viewer, Permission.VIEW_PROJECT, at).values("pk")
    return _resources().filter(workspace__in=seen).order_by("name", "pk")


def resources_of_mine(viewer: Person, *, at: datetime) -> QuerySet[Resource]:
    """The resources that the viewer may use themselves: of their own projects and of their personal workspace."""
    projects = Membership.objects.filter(person=viewer, project__isnull=False).held_at(at).values("project_id")
    return _resources().filter(Q(workspace__project__in=projects) | Q(workspace__person=viewer)).order_by("name", "pk")


def resources_of(workspace: Workspace) -> QuerySet[Resource]:
    """The resources of a workspace that whoever asks may see already."""
    return _resources().filter(workspace=workspace).order_by("name", "pk")


def provider_resources(viewer: Person, *, at: datetime) -> QuerySet[Resource]:
    """The resources of what the providers sell whose affairs the viewer may see."""
    sellers = organizations_where(viewer, Permission.VIEW_PROVIDER, at).values("pk")
    return _resources().filter(offering__provider__organization__in=sellers).order_by("name", "pk")


def resource_of_provider(provider: ServiceProvider, resource_id: int) -> Resource:
    """raises   ResourceNotFound: there is none of this provider"""
    found = (
        Resource.objects.select_related(*RESOURCE_RELATED).filter(pk=resource_id, offering__provider=provider).first()
    )
    if found is None:
        raise ResourceNotFound
    return found


def resources_named(provider: ServiceProvider, ids: Collection[int]) -> Mapping[int, Resource]:
    """Those of these resources that are the provider's, by id: what a backend names may be nowhere, or another's."""
    if not ids:
        return {}
    return Resource.objects.filter(offering__provider=provider).only("name").in_bulk(list(ids))


def records_set_aside(backend: Backend) -> QuerySet[SetAside]:
    """The records of usage that could not be posted, of a backend that whoever asks may see already; the oldest first."""
    return SetAside.objects.filter(backend=backend).order_by("pk")


def awaited_work(viewer: Person, *, at: datetime) -> QuerySet[Resource]:
    """The resources for which a person at the provider has to do something by hand; the longest wait first."""
    sellers = organizations_where(viewer, Permission.HANDLE_ORDERS, at).values("pk")
    waiting = Resource.objects.exclude(awaited_work="").exclude(observed_generation=F("generation"))
    return (
        waiting.filter(offering__provider__organization__in=sellers)
        .exclude(state=ResourceState.FAILED)
        .select_related(*RESOURCE_RELATED)
        .prefetch_related(
            Prefetch("orders", queryset=Order.objects.filter(state=OrderState.EXECUTING), to_attr="open_orders")
        )
        .order_by("created_at", "pk")
    )


def resource_for(viewer: Person, resource_id: int, *, at: datetime) -> Resource:
    """raises   ResourceNotFound, also when the viewer may not see it"""
    resource = _resources().filter(pk=resource_id).first()
    if resource is None or not (
        may(viewer, Permission.VIEW_PROJECT, resource.workspace, at)
        or may(viewer, Permission.VIEW_PROVIDER, resource.offering.provider.organization, at)
    ):
        raise ResourceNotFound
    return resource


@dataclass(frozen=True, slots=True)
class ComponentUsage:
    """How a component of a resource stands.

    limit         whole units, None = it has no limit
    used_ticks    of the category, posted so far: a sum over time, or the level now
    days          (day, ticks) of the last days, over time only
    """

    component: Component
    limit: int | None
    used_ticks: int
    days: list[tuple[Any, int]]
    state: WalletState | None


@dataclass(frozen=True, slots=True)
class PersonUsage:
    person: Person | None
    username: str
    category: ProductCategory
    ticks: int


@dataclass(frozen=True, slots=True)
class ResourceMember:
    person: Person
    username: str


@dataclass(frozen=True, slots=True)
class ResourceDetails:
    """Everything the page of a resource shows, for one viewer."""

    resource: Resource
    components: list[ComponentUsage]
    by_person: list[PersonUsage]
    locked: list[ProductCategory]
    members: list[ResourceMember]
    open_order: Order | None
    facts: list[ResourceFact]
    mark: UsageMark | None
    may_order: bool
    may_manage: bool
    may_see_people: bool
    may_handle: bool
    messages: list[ProviderMessage]
    paused_because: str

    @property
    def progress(self) -> int | None:
        """Per cent of the work, as the provider's side said last; None: it said none, or nothing is under way."""
        return _progress(self.open_order, self.messages)


def open_order_on(resource: Resource) -> Order | None:
    """The order on a resource that is not closed; there is one at most."""
    return _orders().filter(resource=resource, state__in=OPEN_ORDER_STATES).first()


def resource_details(
    viewer: Person, resource_id: int, *, at: datetime, zone: tzinfo, days: int = USAGE_DAYS
) -> ResourceDetails:
    """raises   ResourceNotFound"""
    resource = resource_for(viewer, resource_id, at=at)
    provider = resource.offering.provider.organization
    sees_people = may(viewer, Permission.VIEW_USAGE, resource.workspace, at) or may(
        viewer, Permission.HANDLE_ORDERS, provider, at
    )
    usernames = dict(
        LocalAccount.objects.filter(backend=resource.offering.backend, state=AccountState.ACTIVE).values_list(
            "person_id", "username"
        )
    )
    users = users_of([resource.workspace], at)[resource.workspace_id]
    return ResourceDetails(
        resource=resource,
        components=component_usage(resource, at=at, zone=zone, days=days),
        by_person=usage_by_person(resource, only=None if sees_people else viewer, since=at - timedelta(days=days)),
        locked=list(quota.locked_resources([resource], at=at).get(resource.pk, ())),
        members=[ResourceMember(person, usernames.get(person.pk, "")) for person in users],
        open_order=open_order_on(resource),
        facts=resource_history(resource),
        mark=UsageMark.objects.filter(offering=resource.offering, backend=resource.offering.backend).first(),
        may_order=may(viewer, Permission.PLACE_ORDER, resource.workspace, at),
        may_manage=may(viewer, Permission.APPROVE_ORDER, resource.workspace, at)
        or may(viewer, Permission.HANDLE_ORDERS, provider, at),
        may_see_people=sees_people,
        may_handle=may(viewer, Permission.HANDLE_ORDERS, provider, at),
        messages=_messages_about(resource),
        paused_because=why_paused(resource, viewer, at=at) if resource.desired_paused else "",
    )


def _messages_about(resource: Resource) -> list[ProviderMessage]:
    """What the provider's side said of a resource and of its orders, the newest first."""
    said = ProviderMessage.objects.filter(Q(resource=resource) | Q(order__in=resource.orders.values("pk")))
    return list(said.select_related("by")[:MESSAGES_SHOWN])


def _scope(resource: Resource, key: str) -> Q:
    scope = quota.scope_of_usage(resource.pk, key)
    return Q(scope=scope) | Q(scope__startswith=f"{scope} ")


def component_usage(resource: Resource, *, at: datetime, zone: tzinfo, days: int = USAGE_DAYS) -> list[ComponentUsage]:
    """Each component with its limit, what was used of it, and by day of the zone."""
    components = list(resource.offering.components.select_related("category"))
    states = quota.states_of(
        {(resource.workspace_id, c.category_id) for c in components if c.category_id is not None}, at=at
    )
    rows = []
    first = (at - timedelta(days=days - 1)).astimezone(zone).date()
    for component in components:
        limit = resource.limits.get(component.key)
        category_id = component.category_id
        if component.category is None or category_id is None:
            rows.append(ComponentUsage(component, limit, 0, [], None))
            continue
        reports = UsageReport.objects.filter(
            _scope(resource, component.key), resource_id=resource.pk, category_id=category_id
        )
        used = reports.aggregate(ticks=Sum("posted_ticks"))["ticks"] or 0
        by_day: list[tuple[Any, int]] = []
        if component.category.is_over_time:
            found = dict(
                reports.filter(used_at__gte=at - timedelta(days=days))
                .annotate(day=TruncDate("used_at", tzinfo=zone))
                .values_list("day")
                .annotate(ticks=Sum("posted_ticks"))
            )
            by_day = [(day, found.get(day, 0)) for day in (first + timedelta(days=n) for n in range(days))]
        rows.append(
            ComponentUsage(component, limit, int(used), by_day, states.get((resource.workspace_id, category_id)))
        )
    return rows


def usage_by_person(
    resource: Resource, *, only: Person | None = None, since: datetime | None = None
) -> list[PersonUsage]:
    """Who used how much of it, most first; `only` shows nobody but that person.

    A report names the local user; who that is, is the provider's mapping of today.
    """
    reports = UsageReport.objects.filter(resource_id=resource.pk)
    if since is not None:
        reports = reports.filter(used_at__gte=since)
    sums = reports.values_list("category_id", "user", "person_id").annotate(ticks=Sum("posted_ticks"))
    accounts = {
        account.username: account.person
        for account in LocalAccount.objects.filter(backend=resource.offering.backend)
        .exclude(username="")
        .select_related("person")
    }
    people = {p.pk: p for p in Person.objects.filter(pk__in={row[2] for row in sums if row[2] is not None})}
    categories = ProductCategory.objects.in_bulk({row[0] for row in sums})
    rows = []
    for category_id, user, person_id, ticks in sums:
        person = people.get(person_id) or accounts.get(user)
        if not categories[category_id].is_over_time or not ticks or (only is not None and person != only):
            continue
        rows.append(PersonUsage(person, user, categories[category_id], int(ticks)))
    return sorted(rows, key=lambda row: (row.category.pk, -row.ticks, row.username))


def names_of_parts(breakdown: Breakdown) -> list[str]:
    """The names of a breakdown's parts, in order: of people and resources as we know them, else as they were reported."""
    keys = [part.key for part in breakdown.parts if part.key is not None]
    known: dict[int, str] = {}
    if breakdown.by is By.PERSON:
        known = {key: str(person) for key, person in Person.objects.in_bulk(keys).items()}
    elif breakdown.by is By.RESOURCE:
        known = dict(Resource.objects.filter(pk__in=keys).values_list("pk", "name"))
    return [known.get(part.key or 0, part.name) for part in breakdown.parts]


def resource_history(resource: Resource) -> list[ResourceFact]:
    """Everything it ever was, the latest first."""
    return list(
        ResourceFact.objects.filter(resource=resource)
        .select_related("plan", "component", "by", "order")
        .order_by("-effective_at", "-pk")
    )


def locked_among(resources: Iterable[Resource], *, at: datetime) -> Mapping[int, list[ProductCategory]]:
    """Resource id -> categories of which nothing is left; a few queries for any number."""
    return quota.locked_resources(resources, at=at)


# ------------------------------------------------------------------------------------------------ accounts, policies
@dataclass(frozen=True, slots=True)
class AccountRow:
    """A person who uses something at a backend, or has an account there.

    state   of the account; "none" while there is none: nobody asked for one, or none is asked for here
    """

    backend: Backend
    person: Person
    account: LocalAccount | None

    @property
    def state(self) -> str:
        return "none" if self.account is None else self.account.state

    @property
    def open_actions(self) -> frozenset[str]:
        """The steps that are possible now."""
        state = None if self.account is None else AccountState(self.account.state)
        return frozenset(action.value for at, action in ACCOUNT_TRANSITIONS if at is state)


def local_accounts(viewer: Person, *, at: datetime, backend_id: int | None = None, state: str = "") -> list[AccountRow]:
    """Who uses the backends of the viewer's providers: those that wait for an account first. state: only of this one."""
    sellers = organizations_where(viewer, Permission.MANAGE_ACCOUNTS, at).values("pk")
    found = Backend.objects.filter(provider__organization__in=sellers).select_related("provider__organization")
    if backend_id is not None:
        found = found.filter(pk=backend_id)
    backends = {backend.pk: backend for backend in found}
    there: dict[int, set[int]] = {pk: set() for pk in backends}
    accounts: dict[tuple[int, int], LocalAccount] = {}
    for account in LocalAccount.objects.filter(backend__in=backends).select_related("set_by", "state_by"):
        accounts[account.backend_id, account.person_id] = account
        there[account.backend_id].add(account.person_id)
    standing = Resource.objects.filter(offering__backend__in=backends).exclude(state=ResourceState.TERMINATED)
    used = set(standing.values_list("offering__backend_id", "workspace_id"))
    workspaces = Workspace.objects.filter(pk__in={pk for _backend, pk in used})
    users = users_of(workspaces.select_related("project", "organization", "person"), at)
    for backend, workspace in used:
        there[backend or 0].update(person.pk for person in users[workspace])
    people = Person.objects.in_bulk({pk for ids in there.values() for pk in ids})
    rows = [
        AccountRow(backends[place], people[pk], accounts.get((place, pk))) for place, ids in there.items() for pk in ids
    ]
    waiting = {"wanted": 0, "none": 1}
    rows.sort(key=lambda row: (waiting.get(row.state, 2), row.backend.name, row.person.full_name, row.person.pk))
    return [row for row in rows if not state or row.state == state]


@dataclass(frozen=True, slots=True)
class MyAccount:
    """A backend that a person may connect to, with their account there, and how it comes to be."""

    backend: Backend
    account: LocalAccount | None
    policy: AccountPolicy

    @property
    def state(self) -> str:
        return "none" if self.account is None else self.account.state

    @property
    def may_connect(self) -> bool:
        """Whether asking does something: a new account, or another way to the provider's page."""
        returns = self.state == AccountState.WANTED and self.policy.arrival == AccountPolicy.Arrival.REDIRECT
        return self.backend.enabled and (self.state in {"none", AccountState.ENDED} or returns or bool(self.retries))

    @property
    def retries(self) -> str:
        """What stood in the way, where the person can do something about it."""
        return self.account.message if self.account is not None and self.state == AccountState.WANTED else ""

    @property
    def may_disconnect(self) -> bool:
        return self.state in {AccountState.WANTED, AccountState.ACTIVE}

    @property
    def address(self) -> str:
        """Where the person would be sent, "" when nowhere."""
        return self.policy.connect_url if self.policy.arrival == AccountPolicy.Arrival.REDIRECT else ""

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def is_made_by_plugin(self) -> bool:
        return backend_can(self.backend, ManagesAccounts)


def my_accounts(person: Person, *, at: datetime, backend_id: int | None = None) -> list[MyAccount]:
    """The backends that a person may connect to, by provider and name; a few queries for any number."""
    found = backends_for(person, at=at).order_by("provider__organization__name", "name", "pk")
    if backend_id is not None:
        found = found.filter(pk=backend_id)
    backends = list(found)
    accounts = {row.backend_id: row for row in LocalAccount.objects.filter(person=person, backend__in=backends)}
    policies = {row.backend_id: row for row in AccountPolicy.objects.filter(backend__in=backends)}
    return [
        MyAccount(backend, accounts.get(backend.pk), policies.get(backend.pk) or AccountPolicy(backend=backend))
        for backend in backends
    ]


def my_account(person: Person, backend_id: int, *, at: datetime) -> MyAccount:
    """raises   AccountNotOffered, also when there is no such backend"""
    found = my_accounts(person, at=at, backend_id=backend_id)
    if not found:
        raise AccountNotOffered
    return found[0]


def backend_to_manage_accounts_of(viewer: Person, backend_id: int, *, at: datetime) -> Backend:
    """raises   catalogue's BackendNotFound; NotAllowed"""
    from bursar.catalogue.errors import BackendNotFound

    backend = Backend.objects.select_related("provider__organization").filter(pk=backend_id).first()
    if backend is None or not may(viewer, Permission.VIEW_PROVIDER, backend.provider.organization, at):
        raise BackendNotFound
    require(viewer, Permission.MANAGE_ACCOUNTS, backend.provider.organization, at)
    return backend


def person_at_backend(backend: Backend, person_id: int, *, at: datetime) -> Person:
    """raises   PersonNotThere when they use nothing there"""
    person = people_there(backend, at=at).filter(pk=person_id).first()
    if person is None:
        raise PersonNotThere
    return person


@dataclass(frozen=True, slots=True)
class PolicyLine:
    policy: ApprovalPolicy
    words: str
    whose: str


def policies_in_words(side: Side, workspace: Workspace, offering: Offering) -> list[PolicyLine]:
    """The lines in force for such orders, in the order in which they are read, as sentences."""
    return [
        PolicyLine(line, words_of_line(line), str(line.offering or line.project or line.organization or ""))
        for line in lines_for(side, workspace, offering)
    ]


@dataclass(frozen=True, slots=True)
class TriedOrder:
    """A past order, what was said then, and what these lines would say."""

    order: Order
    then: Verdict
    now: Verdict


def try_policies(
    *, side: Side, lines: Sequence[ApprovalPolicy] | None, orders: Iterable[Order], at: datetime
) -> list[TriedOrder]:
    """What lines would have said of past orders, with the estimate of that time and what wallets have left today."""
    tried = []
    for order in orders:
        if order.created_by is None or side.value not in order.verdicts:
            continue  # the system's own, or taken over: no policy was asked
        components = list(order.offering.components.select_related("category"))
        found = pricing.estimate_for(
            order.plan, components, order.limits, at=order.created_at, first=order.kind == Order.Kind.CREATE
        )
        candidate = candidate_for(order, found, at=at)
        tried.append(TriedOrder(order, verdict_of(order, side), judge(side, candidate, at=at, lines=lines)))
    return tried
