"""Wallets and allocations."""

from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import AwareDatetime, Field

from bursar.accounting import selectors, services, visibility
from bursar.accounting.models import Allocation, Wallet
from bursar.accounting.selectors import AllocationState, WalletState
from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.catalogue.models import ProductCategory
from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_
from bursar.metering import forecasts
from bursar.metering import selectors as metering
from bursar.structure.errors import NotFound
from bursar.structure.models import Workspace
from bursar.structure.roles import Permission, may, workspaces_where

router = Router(tags=["Accounting"])

Ticks = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


# ------------------------------------------------------------------------------------------------ shapes
class WorkspaceOut(Schema):
    id: int
    kind: Literal["project", "personal", "organization"]
    name: str
    project_id: int | None
    organization_id: int | None
    person_id: int | None

    @staticmethod
    def resolve_name(row: Workspace) -> str:
        return str(row)


class CategoryBrief(Schema):
    id: int
    name: str
    title: str
    unit_name: str = Field(description="as people say it: core-hours")
    ticks_per_unit: int = Field(description="3600 core-seconds in a core-hour")


class WhyOut(Schema):
    """What keeps a wallet locked: a full allocation on the way up, or (null) that none is open."""

    wallet_id: int
    workspace: str
    allocation_id: int | None
    quota_ticks: int
    uncovered_ticks: int
    distance: int = Field(description="steps up from the locked wallet")


class WalletOut(Schema):
    id: int
    workspace: WorkspaceOut
    category: CategoryBrief
    quota_ticks: int = Field(description="what its open allocations add up to")
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    available_ticks: int | None = Field(description="null: free to use, no bound")
    locked: bool
    over: bool
    until: datetime | None = Field(description="the last end of its open allocations")
    why: list[WhyOut]


class AllocationOut(Schema):
    id: int
    wallet_id: int
    workspace: WorkspaceOut = Field(description="who holds it")
    source_wallet_id: int | None = Field(description="null: a root allocation, from the provider")
    source: str = Field(description="the name of the source's workspace, or of the provider")
    category: CategoryBrief
    quota_ticks: int
    drawn_ticks: int
    start: datetime
    end: datetime = Field(description="half-open")
    priority: int = Field(description="lower numbers are used first")
    note: str
    state: Literal["planned", "open", "grace", "closed"]


class BranchOut(Schema):
    depth: int
    parent_wallet_id: int | None
    wallet: WalletOut
    via_allocation_ids: list[int] = Field(description="the allocations from the wallet above")
    given_ticks: int = Field(description="what its open allocations to others add up to")
    below_ticks: int = Field(description="what flows through it for those below")
    is_again: bool = Field(description="it came before, below another source; what it gave on stands there")


class AllocationCreate(Strict):
    """Who gets it is one of `workspace_id`, `project_id`, `organization_id`."""

    category_id: int
    source_wallet_id: int | None = Field(None, description="null: from the provider (root)")
    workspace_id: int | None = None
    project_id: int | None = None
    organization_id: int | None = None
    quota_ticks: Ticks
    start: AwareDatetime | None = Field(None, description="now when empty")
    end: AwareDatetime
    priority: int = Field(0, ge=-32768, le=32767)
    note: str = Field("", max_length=500)


class AllocationChange(Strict):
    """What is left out stays as it is."""

    quota_ticks: Ticks | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None


class TransferIn(Strict):
    to_allocation_id: int
    amount_ticks: Ticks


class WriteOffIn(Strict):
    amount_ticks: Ticks
    reason: str = Field(max_length=500)


class WalletDayOut(Schema):
    day: date
    ticks: int


class WalletPersonOut(Schema):
    person_id: int | None = Field(description="null: nobody we know")
    user: str = Field(description="the name of the user at the provider")
    ticks: int


class WalletUsageOut(Schema):
    category: CategoryBrief
    since: datetime
    until: datetime
    used_ticks: int
    by_day: list[WalletDayOut]
    by_person: list[WalletPersonOut] | None = Field(description="null: you may see the sums only")


class RangeOut(Schema):
    """Order statistics of the futures at 10, 50 and 90%."""

    low: int
    middle: int
    high: int


class ForfeitOut(Schema):
    allocation_id: int
    end: datetime
    ticks: RangeOut | None = Field(description="null: it ends more than two years from now")


class FanPointOut(Schema):
    at: datetime
    ticks: RangeOut


class ForecastOut(Schema):
    """By resampling past weeks. The same wallet, day and books give the same answer."""

    wallet_id: int
    category: CategoryBrief
    known: Literal["yes", "too_short", "nothing_held", "free"] = Field(
        description="too_short: less than two whole weeks of history; nothing_held: no allocation is open or planned; "
        "free: free to use, there is no bound"
    )
    weeks: int = Field(description="whole weeks of history that it rests on")
    early: datetime | None = Field(description="by when 10% of the futures have run out; null: fewer before `until`")
    likely: datetime | None = Field(description="the same for 50%")
    late: datetime | None = Field(description="the same for 90%")
    samples: int = Field(description="futures that were drawn")
    run_out: int = Field(description="how many of them run out before `until`")
    until: datetime | None = Field(description="the last end of its allocations, at most two years from now")
    bound_ticks: int = Field(description="what can be used from now on; of a level, how high it may stand")
    forfeits: list[ForfeitOut] = Field(
        description="what is unused at each end; empty for a level, which forfeits nothing"
    )
    fan: list[FanPointOut] = Field(
        description="what is used from now until an instant; of a level, where it stands then"
    )


def _wallet_out(state: WalletState) -> dict[str, Any]:
    wallet = state.wallet
    return {
        "id": wallet.pk,
        "workspace": wallet.workspace,
        "category": wallet.category,
        **{
            name: getattr(state, name)
            for name in (
                "quota_ticks", "used_ticks", "uncovered_ticks", "written_off_ticks", "available_ticks", "locked", "over",
                "until", "why",
            )
        },
    }  # fmt: skip


def _allocation_out(state: AllocationState) -> dict[str, Any]:
    allocation = state.allocation
    source = allocation.source
    return {
        "id": allocation.pk,
        "wallet_id": allocation.wallet_id,
        "workspace": allocation.wallet.workspace,
        "source_wallet_id": allocation.source_id,
        "source": str(source.workspace if source else allocation.category.provider),
        "category": allocation.category,
        "quota_ticks": allocation.quota_ticks,
        "drawn_ticks": state.drawn_ticks,
        "start": allocation.start,
        "end": allocation.end,
        "priority": allocation.priority,
        "note": allocation.note,
        "state": state.state,
    }


def _answer(request: HttpRequest, allocation_id: int) -> dict[str, Any]:
    allocation = visibility.allocation_seen(allocation_id, person_of(request), at_of(request))
    return _allocation_out(selectors.allocation_state(allocation=allocation, at=at_of(request)))


def _wallet(request: HttpRequest, wallet_id: int) -> Wallet:
    return visibility.wallet_seen(wallet_id, person_of(request), at_of(request))


def _state(request: HttpRequest, wallet: Wallet) -> WalletState:
    return selectors.wallet_states(wallets=[wallet], at=at_of(request))[wallet.pk]


# ------------------------------------------------------------------------------------------------ reading
class WorkspaceQuery(Schema):
    kind: Literal["project", "personal", "organization"] | None = None
    project_id: int | None = None
    organization_id: int | None = None


@router.get("/workspaces", response=Page[WorkspaceOut], summary="Workspaces you can see: what holds wallets")
def list_workspaces(request: HttpRequest, paging: Paging, query: Annotated[WorkspaceQuery, Query()]) -> Any:
    rows = workspaces_where(person_of(request), Permission.VIEW_PROJECT, at_of(request))
    chosen = {key: value for key, value in query.dict().items() if value is not None}
    rows = rows.filter(**chosen).select_related("project", "organization", "person").order_by("pk")
    return page_of(request, rows, paging)


class WalletQuery(Schema):
    workspace_id: int | None = None
    project_id: int | None = None
    organization_id: int | None = Field(None, description="of the organization itself")
    category_id: int | None = None
    locked: bool | None = None


@router.get("/wallets", response=Page[WalletOut], summary="Wallets you can see, as they stand now")
def list_wallets(request: HttpRequest, paging: Paging, query: Annotated[WalletQuery, Query()]) -> Any:
    names = {"project_id": "workspace__project_id", "organization_id": "workspace__organization_id"}
    chosen = {names.get(key, key): value for key, value in query.dict().items() if value is not None}
    rows = visibility.wallets_seen(person_of(request), at_of(request)).filter(**chosen).order_by("pk")
    page = page_of(request, rows, paging)
    states = selectors.wallet_states(wallets=page["items"], at=at_of(request))
    page["items"] = [_wallet_out(states[wallet.pk]) for wallet in page["items"]]
    return page


@router.get("/wallets/{wallet_id}", response={200: WalletOut, **PROBLEMS}, summary="One wallet, and why it is locked")
def get_wallet(request: HttpRequest, wallet_id: int) -> Any:
    return _wallet_out(_state(request, _wallet(request, wallet_id)))


@router.get("/wallets/{wallet_id}/tree", response={200: list[BranchOut], **PROBLEMS}, summary="The tree below a wallet")
def get_tree(request: HttpRequest, wallet_id: int) -> Any:
    """Depth first, the wallet itself first; one with several sources stands below each of them, what it gave on below the first."""
    rows = selectors.tree_below(wallet=_wallet(request, wallet_id), at=at_of(request))
    return [
        {
            "depth": row.depth,
            "parent_wallet_id": row.parent_id,
            "wallet": _wallet_out(row.state),
            "via_allocation_ids": [one.allocation.pk for one in row.via],
            "given_ticks": row.given_ticks,
            "below_ticks": row.below_ticks,
            "is_again": row.is_again,
        }
        for row in rows
    ]


@router.get(
    "/wallets/{wallet_id}/allocations",
    response={200: Page[AllocationOut], **PROBLEMS},
    summary="What a wallet holds, or what others hold from it",
)
def list_allocations(
    request: HttpRequest, wallet_id: int, paging: Paging, direction: Literal["in", "out"] = "in"
) -> Any:
    wallet = _wallet(request, wallet_id)
    read = selectors.allocations_into if direction == "in" else selectors.allocations_out_of
    page = page_of(request, read(wallet=wallet, at=at_of(request)), paging)
    page["items"] = [_allocation_out(one) for one in page["items"]]
    return page


@router.get(
    "/categories/{category_id}/root-allocations",
    response={200: Page[AllocationOut], **PROBLEMS},
    summary="What a provider gave from a product category",
)
def list_roots(request: HttpRequest, category_id: int, paging: Paging) -> Any:
    category = _category(category_id)
    if not may(person_of(request), Permission.VIEW_PROVIDER, category.provider.organization, at_of(request)):
        raise NotFound(noun="product category")
    page = page_of(request, selectors.roots_of(category=category, at=at_of(request)), paging)
    page["items"] = [_allocation_out(one) for one in page["items"]]
    return page


class UsageQuery(Schema):
    since: AwareDatetime | None = Field(None, description="30 days before `until` when empty")
    until: AwareDatetime | None = Field(None, description="half-open; now when empty")


@router.get(
    "/wallets/{wallet_id}/usage", response={200: WalletUsageOut, **PROBLEMS}, summary="Usage by day and by person"
)
def get_usage(request: HttpRequest, wallet_id: int, query: Annotated[UsageQuery, Query()]) -> Any:
    wallet = _wallet(request, wallet_id)
    until = query.until or at_of(request)
    since = query.since or until - timedelta(days=30)
    chosen: dict[str, Any] = {
        "category_id": wallet.category_id, "wallet_id": wallet.pk, "since": since, "until": until,
    }  # fmt: skip
    sees_people = may(person_of(request), Permission.VIEW_USAGE, wallet.workspace, at_of(request))
    return {
        "category": wallet.category,
        "since": since,
        "until": until,
        "used_ticks": metering.usage_ticks(**chosen),
        "by_day": metering.usage_by_day(**chosen),
        "by_person": metering.usage_by_person(**chosen) if sees_people else None,
    }


@router.get(
    "/wallets/{wallet_id}/forecast",
    response={200: ForecastOut, **PROBLEMS},
    summary="When a wallet is likely to run out, and what is likely to be forfeited",
)
def get_forecast(request: HttpRequest, wallet_id: int) -> Any:
    """Each as a range: 10, 50 and 90%. It supposes that usage goes on as it was, and that nothing else is given."""
    wallet = _wallet(request, wallet_id)
    found = forecasts.forecast_of(wallet=wallet, at=at_of(request))
    return {"category": wallet.category, **{one.name: getattr(found, one.name) for one in fields(found)}}


# ------------------------------------------------------------------------------------------------ writing
@dataclass(eq=False)
class RecipientUnclear(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "recipient_unclear"
    message: ClassVar[str] = N_("Name who gets it by exactly one of workspace_id, project_id and organization_id.")


def _category(category_id: int) -> ProductCategory:
    category = ProductCategory.objects.select_related("provider__organization").filter(pk=category_id).first()
    if category is None:
        raise NotFound(noun="product category")
    return category


def _recipient(payload: AllocationCreate, allowed: QuerySet[Workspace]) -> Workspace:
    named = {
        "pk": payload.workspace_id,
        "project_id": payload.project_id,
        "organization_id": payload.organization_id,
    }
    given = {key: value for key, value in named.items() if value is not None}
    if len(given) != 1:
        raise RecipientUnclear
    found = allowed.filter(**given).first()
    if found is None:
        raise NotFound(noun="workspace")
    return found


@router.post("/allocations", response={201: AllocationOut, **PROBLEMS}, summary="Give quota")
def create_allocation(request: HttpRequest, payload: AllocationCreate) -> Any:
    """A root allocation as the provider, or a sub-allocation from a wallet of yours."""
    at, by = at_of(request), person_of(request)
    category = _category(payload.category_id)
    if payload.source_wallet_id is None:
        source, allowed = None, visibility.recipients_of_roots(by, category, at)
    else:
        source = _wallet(request, payload.source_wallet_id)
        allowed = visibility.recipients_below(source)
    allocation = services.allocate(
        workspace=_recipient(payload, allowed),
        category=category,
        source=source,
        quota_ticks=payload.quota_ticks,
        start=payload.start or at,
        end=payload.end,
        priority=payload.priority,
        note=payload.note,
        by=by,
        at=at,
    )
    return Status(201, _answer(request, allocation.pk))


@router.get("/allocations/{allocation_id}", response={200: AllocationOut, **PROBLEMS}, summary="One allocation")
def get_allocation(request: HttpRequest, allocation_id: int) -> Any:
    return _answer(request, allocation_id)


def _allocation(request: HttpRequest, allocation_id: int) -> Allocation:
    return visibility.allocation_seen(allocation_id, person_of(request), at_of(request))


@router.patch(
    "/allocations/{allocation_id}", response={200: AllocationOut, **PROBLEMS}, summary="Change quota or period"
)
def change_allocation(request: HttpRequest, allocation_id: int, payload: AllocationChange) -> Any:
    services.change_allocation(
        allocation=_allocation(request, allocation_id),
        **payload.dict(exclude_none=True),
        by=person_of(request),
        at=at_of(request),
    )
    return _answer(request, allocation_id)


@router.post(
    "/allocations/{allocation_id}/revoke", response={200: AllocationOut, **PROBLEMS}, summary="Take an allocation back"
)
def revoke_allocation(request: HttpRequest, allocation_id: int) -> Any:
    """It closes now; what is drawn stays counted."""
    services.revoke_allocation(allocation=_allocation(request, allocation_id), by=person_of(request), at=at_of(request))
    return _answer(request, allocation_id)


@router.post(
    "/allocations/{allocation_id}/transfer",
    response={200: list[AllocationOut], **PROBLEMS},
    summary="Move unused quota to another allocation of the same source",
)
def transfer_quota(request: HttpRequest, allocation_id: int, payload: TransferIn) -> Any:
    services.transfer_quota(
        giver=_allocation(request, allocation_id),
        taker=_allocation(request, payload.to_allocation_id),
        amount_ticks=payload.amount_ticks,
        by=person_of(request),
        at=at_of(request),
    )
    return [_answer(request, allocation_id), _answer(request, payload.to_allocation_id)]


@router.post(
    "/wallets/{wallet_id}/write-off", response={200: WalletOut, **PROBLEMS}, summary="Write off uncovered usage"
)
def write_off(request: HttpRequest, wallet_id: int, payload: WriteOffIn) -> Any:
    wallet = _wallet(request, wallet_id)
    services.write_off(
        wallet=wallet,
        amount_ticks=payload.amount_ticks,
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
    )
    return _wallet_out(_state(request, wallet))
