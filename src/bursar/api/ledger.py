"""The ledger asked: its past, what would happen, why, and whether it is right."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from bursar.accounting import explanation, history, visibility
from bursar.accounting import what_if as trial
from bursar.accounting.explanation import OperationTold
from bursar.accounting.history import BalanceAsOf
from bursar.accounting.models import Wallet
from bursar.api.accounting import Ticks, WalletOut, WhyOut, _wallet_out
from bursar.api.auth import at_of, person_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.catalogue.models import ProductCategory
from bursar.metering import explanation as metering
from bursar.metering import verification
from bursar.structure.errors import NotFound
from bursar.structure.roles import Permission, may, require

router = Router(tags=["Ledger"])


def _wallet(request: HttpRequest, wallet_id: int) -> Wallet:
    return visibility.wallet_seen(wallet_id, person_of(request), at_of(request))


def _category(request: HttpRequest, category_id: int) -> ProductCategory:
    category = ProductCategory.objects.select_related("provider__organization").filter(pk=category_id).first()
    if category is None or not may(
        person_of(request), Permission.VIEW_PROVIDER, category.provider.organization, at_of(request)
    ):
        raise NotFound(noun="product category")
    return category


# ------------------------------------------------------------------------------------------------ the past
class AllocationAsOfOut(Schema):
    allocation_id: int
    source_wallet_id: int | None = Field(description="null: a root allocation, from the provider")
    quota_ticks: int
    drawn_ticks: int
    start: datetime | None
    end: datetime | None
    state: Literal["unmade", "planned", "open", "grace", "closed"] = Field(
        description="unmade: it took effect later, but late usage of before was drawn through it"
    )


class BalanceAsOfOut(Schema):
    wallet_id: int
    category_id: int
    unit_name: str
    ticks_per_unit: int
    effective_at: datetime
    known_at: datetime | None = Field(description="null: everything that is known")
    quota_ticks: int
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    available_ticks: int | None = Field(description="null: free to use, no bound")
    locked: bool
    over: bool
    allocations: list[AllocationAsOfOut]


class ChangedOut(Schema):
    allocation_id: int
    quota_ticks: int
    drawn_ticks: int


class DifferenceOut(Schema):
    """The second balance less the first."""

    first: BalanceAsOfOut
    second: BalanceAsOfOut
    quota_ticks: int
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    available_ticks: int | None
    allocations: list[ChangedOut]


class AsOfQuery(Schema):
    effective_at: AwareDatetime | None = Field(None, description="when it was so; as known_at when empty")
    known_at: AwareDatetime | None = Field(None, description="count what was recorded by then; everything when empty")


class DifferenceQuery(Schema):
    from_effective_at: AwareDatetime | None = None
    from_known_at: AwareDatetime | None = None
    to_effective_at: AwareDatetime | None = None
    to_known_at: AwareDatetime | None = None


def _balance_out(one: BalanceAsOf) -> dict[str, Any]:
    category = one.wallet.category
    figures = (
        "effective_at", "known_at", "quota_ticks", "used_ticks", "uncovered_ticks", "written_off_ticks", "available_ticks",
        "locked", "over",
    )  # fmt: skip
    return {
        "wallet_id": one.wallet.pk,
        "category_id": category.pk,
        "unit_name": category.unit_name,
        "ticks_per_unit": category.ticks_per_unit,
        **{name: getattr(one, name) for name in figures},
        "allocations": [
            {
                "allocation_id": each.allocation.pk,
                "source_wallet_id": each.allocation.source_id,
                **{name: getattr(each, name) for name in ("quota_ticks", "drawn_ticks", "start", "end", "state")},
            }
            for each in one.allocations
        ],
    }


@router.get("/wallets/{wallet_id}/as-of", response={200: BalanceAsOfOut, **PROBLEMS}, summary="A wallet as it was")
def get_as_of(request: HttpRequest, wallet_id: int, query: Annotated[AsOfQuery, Query()]) -> Any:
    """At an effective instant, as far as was known at another; without times, as it is. Usage counts in its hour."""
    wallet = _wallet(request, wallet_id)
    return _balance_out(history.balance_as_of(wallet=wallet, at=at_of(request), **query.dict()))


@router.get(
    "/wallets/{wallet_id}/difference",
    response={200: DifferenceOut, **PROBLEMS},
    summary="What changed between two balances of a wallet",
)
def get_difference(request: HttpRequest, wallet_id: int, query: Annotated[DifferenceQuery, Query()]) -> Any:
    wallet, at = _wallet(request, wallet_id), at_of(request)
    first, second = (
        history.balance_as_of(wallet=wallet, effective_at=effective_at, known_at=known_at, at=at)
        for effective_at, known_at in (
            (query.from_effective_at, query.from_known_at),
            (query.to_effective_at, query.to_known_at),
        )
    )
    change = history.difference(first, second)
    names = ("quota_ticks", "used_ticks", "uncovered_ticks", "written_off_ticks", "available_ticks")
    return {
        "first": _balance_out(first),
        "second": _balance_out(second),
        **{name: getattr(change, name) for name in names},
        "allocations": [
            {"allocation_id": one.pk, "quota_ticks": quota, "drawn_ticks": drawn}
            for one, quota, drawn in change.allocations
        ],
    }


# ------------------------------------------------------------------------------------------------ what would happen
class WhatIfStepIn(Strict):
    """`allocate` needs wallet_id, quota_ticks and end (source_wallet_id null: from the provider); `change` allocation_id and
    any of quota_ticks, start, end; `revoke` allocation_id; `transfer` allocation_id, to_allocation_id and amount_ticks;
    `write_off` and `charge` wallet_id and amount_ticks; `rate` wallet_id and amount_ticks for each day, from `at` to `end`."""

    do: Literal["allocate", "change", "revoke", "transfer", "write_off", "charge", "rate"]
    at: AwareDatetime | None = Field(None, description="now when empty")
    wallet_id: int | None = Field(None, description="the wallet of the address when empty")
    source_wallet_id: int | None = None
    allocation_id: int | None = None
    to_allocation_id: int | None = None
    quota_ticks: Ticks | None = None
    amount_ticks: Ticks | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    priority: int = Field(0, ge=-32768, le=32767)


class WhatIfIn(Strict):
    until: AwareDatetime = Field(description="at most ten years ahead")
    steps: list[WhatIfStepIn] = Field([], max_length=trial.STEPS_MAX)
    with_tree: bool = Field(False, description="tell of all wallets below as well")


class TurnOut(Schema):
    at: datetime
    wallet_id: int
    workspace: str
    locked: bool
    why: list[WhyOut] = Field(description="allocations of the steps are called -1, -2, … in their order")


class WhatIfOut(Schema):
    until: datetime
    locked_at: datetime | None = Field(description="when the wallet asked for would lock first")
    wallets: list[WalletOut] = Field(description="as they would be at the end; the one asked for first")
    locks: list[TurnOut] = Field(description="the locks that turn on the way, to the second")


@router.post("/wallets/{wallet_id}/what-if", response={200: WhatIfOut, **PROBLEMS}, summary="What would happen")
def try_what_if(request: HttpRequest, wallet_id: int, payload: WhatIfIn) -> Any:
    """Steps and steady usage on a copy of the wallet and those above it. Nothing is written, so no right to do it is asked;
    wallets and allocations that steps name have to be visible to you."""
    wallet, person, at = _wallet(request, wallet_id), person_of(request), at_of(request)
    steps = [_step(one, wallet_id) for one in payload.steps]
    named = {one for step in steps for one in (step.wallet_id, step.source_id) if one is not None} - {wallet_id}
    if visibility.wallets_seen(person, at).filter(pk__in=named).count() != len(named):
        raise NotFound(noun="wallet")
    for allocation_id in {one for step in steps for one in (step.allocation_id, step.to_allocation_id)} - {None}:
        assert allocation_id is not None
        visibility.allocation_seen(allocation_id, person, at)
    told = trial.what_if(wallet=wallet, steps=steps, until=payload.until, with_tree=payload.with_tree, at=at)
    return {
        "until": told.until,
        "locked_at": told.locked_at,
        "wallets": [_wallet_out(state) for state in told.states],
        "locks": [
            {
                "at": one.at,
                "wallet_id": one.wallet.pk,
                "workspace": str(one.wallet.workspace),
                "locked": one.locked,
                "why": one.why,
            }
            for one in told.turns
        ],
    }


def _step(one: WhatIfStepIn, wallet_id: int) -> trial.Step:
    fields = one.dict(exclude={"do", "source_wallet_id"})
    do = trial.Do(one.do)
    of_wallet = do in {trial.Do.ALLOCATE, trial.Do.WRITE_OFF, trial.Do.CHARGE, trial.Do.RATE}
    if fields["wallet_id"] is None and of_wallet:
        fields["wallet_id"] = wallet_id
    return trial.Step(do=do, source_id=one.source_wallet_id, **fields)


# ------------------------------------------------------------------------------------------------ why
class RemedyOut(Schema):
    wallet_id: int
    workspace: str
    allocation_id: int | None = Field(description="null: the wallet needs an allocation that is open")
    ticks: int = Field(description="at least so much more")


class ExplanationOut(Schema):
    wallet: WalletOut
    remedies: list[RemedyOut] = Field(description="all of them together free it")
    free_at: datetime | None = Field(description="when an allocation that is planned frees it, if nothing is done")
    words: list[str] = Field(description="for people, amounts in the category's unit")


class PostingOut(Schema):
    id: int
    kind: str
    wallet_id: int
    workspace: str
    allocation_id: int | None
    used_ticks: int
    uncovered_ticks: int
    written_off_ticks: int
    drawn_ticks: int
    quota_ticks: int
    start: datetime | None
    end: datetime | None
    turned: Literal["", "opened", "closed"]
    effective_at: datetime


class OperationOut(Schema):
    id: int
    category_id: int
    kind: str
    actor: str = Field(description="empty: the system")
    reason: str
    recorded_at: datetime
    postings_total: int
    postings: list[PostingOut] = Field(description="the differences it made, at most 1,000")


class ReportToldOut(Schema):
    report_id: str
    wallet_id: int
    resource_id: int | None
    person_id: int | None
    is_absolute: bool
    scope: str
    corrects: str
    amount_ticks: int = Field(description="as reported")
    posted_ticks: int = Field(description="by how much the wallet's usage changed")
    period_start: datetime
    period_end: datetime
    used_at: datetime = Field(description="the instant at which it was charged")
    user: str
    job: str
    labels: dict[str, str]
    recorded_at: datetime
    operation: OperationOut = Field(description="what booked it, on its wallet and those above; netted with its batch")


def _operation_out(told: OperationTold) -> dict[str, Any]:
    one = told.operation
    names = [name for name in PostingOut.model_fields if name != "workspace"]
    return {
        **{name: getattr(one, name) for name in ("id", "category_id", "kind", "reason", "recorded_at")},
        "actor": told.actor,
        "postings_total": told.postings_total,
        "postings": [
            {**{name: getattr(row, name) for name in names}, "workspace": told.names.get(row.wallet_id, "")}
            for row in told.postings
        ],
    }


@router.get(
    "/wallets/{wallet_id}/explain",
    response={200: ExplanationOut, **PROBLEMS},
    summary="Why a wallet is locked, and what would free it",
)
def explain_lock(request: HttpRequest, wallet_id: int) -> Any:
    told = explanation.explain_lock(wallet=_wallet(request, wallet_id), at=at_of(request))
    return {
        "wallet": _wallet_out(told.state),
        "remedies": [asdict(one) for one in told.remedies],
        "free_at": told.free_at,
        "words": explanation.sentences(told),
    }


@router.get(
    "/categories/{category_id}/operations/{operation_id}",
    response={200: OperationOut, **PROBLEMS},
    summary="What an operation changed in the ledger",
)
def explain_operation(request: HttpRequest, category_id: int, operation_id: int) -> Any:
    _category(request, category_id)
    told = explanation.explain_operation(category_id=category_id, operation_id=operation_id)
    if told is None:
        raise NotFound(noun="operation")
    return _operation_out(told)


@router.get(
    "/categories/{category_id}/usage-report",
    response={200: ReportToldOut, **PROBLEMS},
    summary="A usage report, and how it became ledger rows",
)
def explain_report(
    request: HttpRequest, category_id: int, report_id: Annotated[str, Query(min_length=1, max_length=200)]
) -> Any:
    _category(request, category_id)
    told = None if "\0" in report_id else metering.explain_report(category_id=category_id, report_id=report_id)
    if told is None:
        raise NotFound(noun="usage report")
    names = [name for name in ReportToldOut.model_fields if name != "operation"]
    return {**{name: getattr(told.report, name) for name in names}, "operation": _operation_out(told.booked)}


# ------------------------------------------------------------------------------------------------ whether it is right
class DiscrepancyOut(Schema):
    against: Literal["journal", "reports"]
    subject: str
    subject_id: int
    figure: str
    kept: str
    recomputed: str


class VerificationOut(Schema):
    category_id: int
    discrepancies: list[DiscrepancyOut] = Field(description="empty: all is well")


class DifferingOut(Schema):
    category_id: int
    since: datetime = Field(description="when it was last found to differ")


@router.post(
    "/categories/{category_id}/verify",
    response={200: VerificationOut, **PROBLEMS},
    summary="Recompute a category's balances and compare",
)
def verify_category(request: HttpRequest, category_id: int) -> Any:
    """To the tick, in one state of the ledger, while reports may come in. It takes as long as the journal is."""
    category = _category(request, category_id)
    require(person_of(request), Permission.MANAGE_CATEGORIES, category.provider.organization, at_of(request))
    found = verification.verify(category_id=category_id)
    verification.tell(category_id=category_id, found=found, at=at_of(request))
    return {"category_id": category_id, "discrepancies": [asdict(one) for one in found]}


@router.post(
    "/ledgers/verify",
    response={200: list[DifferingOut], **PROBLEMS},
    summary="Recompute every ledger and compare",
)
def verify_all(request: HttpRequest) -> Any:
    """The ledgers that differ; what differs in them is in the event `ledger.discrepancy`. A job does it each night."""
    require(person_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    verification.verify_everything(at=at_of(request))
    return _differing()


@router.get(
    "/ledgers/differing",
    response={200: list[DifferingOut], **PROBLEMS},
    summary="The ledgers that differed from their journal when they were last verified",
)
def list_differing(request: HttpRequest) -> Any:
    require(person_of(request), Permission.READ_PLATFORM, None, at_of(request))
    return _differing()


def _differing() -> list[dict[str, Any]]:
    found = sorted(verification.categories_that_differ().items())
    return [{"category_id": category_id, "since": since} for category_id, since in found]
