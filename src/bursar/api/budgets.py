"""Budgets of organizations and projects."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.billing import budgets as selectors
from bursar.billing.budgets import Details, Shown
from bursar.billing.models import Budget, BudgetThreshold
from bursar.billing.services import budgets as services
from bursar.engine.budget import Threshold
from bursar.structure.roles import Permission, require
from bursar.structure.selectors import organization_seen, project_seen

router = Router(tags=["Budgets"])

Amount = Annotated[Decimal, Field(max_digits=20, decimal_places=3, description="net of tax, in `currency`")]
Reason = Annotated[str, Field(max_length=500)]


class ThresholdShape(Strict):
    percent: int = Field(ge=1, le=1000)
    action: BudgetThreshold.Action


class CrossingOut(Schema):
    percent: int
    action: BudgetThreshold.Action
    stretch: date = Field(description="first day of the month or year; of a total 1970-01-01")
    spent: Decimal
    amount: Decimal = Field(description="the budget of then")
    at: datetime
    ended_at: datetime | None


class BudgetOut(Schema):
    id: int
    organization_id: int
    project_id: int | None = Field(description="with those below it; empty = the whole organization")
    currency: str
    span: Budget.Span
    amount: Decimal
    stretch: date = Field(description="the month or year that is counted now; of a total 1970-01-01")
    spent: Decimal = Field(description="by invoices of the stretch without tax, open ones too")
    expected: Decimal = Field(description="at the end of this month, if use goes on as it went so far")
    thresholds: list[ThresholdShape]
    standing: list[CrossingOut] = Field(description="thresholds that are passed now")
    made_at: datetime
    closed_at: datetime | None


class ChangeOut(Schema):
    what: str = Field(description="set | raised | lowered | closed")
    amount: Decimal
    reason: str
    by_id: int | None
    at: datetime


class StandingOut(Schema):
    resource_id: int
    name: str
    state: str = Field(description="paused | person (paused it) | soon | cannot (it runs on)")


class BudgetDetailsOut(BudgetOut):
    changes: list[ChangeOut] = Field(description="the newest first")
    crossings: list[CrossingOut] = Field(description="the newest first")
    resources: list[StandingOut] = Field(description="what it pauses now, and what it cannot")


class BudgetIn(Strict):
    amount: Amount
    span: Budget.Span
    currency: str = Field("", max_length=3, description="the organization’s when empty")
    thresholds: list[ThresholdShape] | None = Field(
        None, max_length=50, description="told at 75, 90 and 100 per cent when left out"
    )
    reason: Reason = ""


class BudgetChangeIn(Strict):
    amount: Amount
    reason: Reason


class ThresholdsIn(Strict):
    thresholds: list[ThresholdShape] = Field(max_length=50)


class BudgetCloseIn(Strict):
    reason: Reason


def _key(number: int) -> int:
    """A number that the database can hold; others are nobody's."""
    return number if 0 < number < 2**63 else 0


def _out(shown: Shown) -> dict[str, Any]:
    budget = shown.budget
    return {
        "id": budget.pk,
        "organization_id": budget.organization_id,
        "project_id": budget.project_id,
        "currency": budget.currency,
        "span": budget.span,
        "amount": budget.amount,
        "stretch": shown.spending.stretch,
        "spent": shown.spending.spent,
        "expected": shown.spending.expected,
        "thresholds": [{"percent": t.percent, "action": t.action} for t in budget.thresholds.all()],
        "standing": shown.standing,
        "made_at": budget.made_at,
        "closed_at": budget.closed_at,
    }


def _details(request: HttpRequest, budget_id: int) -> dict[str, Any]:
    found: Details = selectors.budget_details(person_of(request), budget_id, at=at_of(request))
    return {
        **_out(found.shown),
        "changes": [
            {"what": c.what, "amount": c.row.amount, "reason": c.row.reason, "by_id": c.row.by_id, "at": c.row.at}
            for c in found.changes
        ],
        "crossings": found.crossings,
        "resources": [
            {"resource_id": one.resource.pk, "name": one.resource.name, "state": one.state} for one in found.resources
        ],
    }


def _thresholds(given: list[ThresholdShape]) -> list[Threshold]:
    return [Threshold(one.percent, one.action.value) for one in given]


def _set(request: HttpRequest, scope: Any, payload: BudgetIn) -> Any:
    more = {} if payload.thresholds is None else {"thresholds": _thresholds(payload.thresholds)}
    budget = services.set_budget(
        scope=scope,
        span=payload.span,
        amount=payload.amount,
        currency=payload.currency,
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
        **more,
    )
    return Status(201, _details(request, budget.pk))


def _list(request: HttpRequest, scope: Any, paging: Paging, closed: bool) -> Any:
    require(person_of(request), Permission.VIEW_COSTS, scope, at_of(request))
    found = selectors.budgets_of(scope, person_of(request), at=at_of(request), closed=closed)
    return page_of(request, [_out(shown) for shown in found], paging)


@router.get(
    "/organizations/{organization_id}/budgets",
    response={200: Page[BudgetOut], **PROBLEMS},
    summary="Budgets of an organization as a whole",
)
def list_organization_budgets(request: HttpRequest, organization_id: int, paging: Paging, closed: bool = False) -> Any:
    scope = organization_seen(_key(organization_id), person_of(request), at_of(request))
    return _list(request, scope, paging, closed)


@router.post(
    "/organizations/{organization_id}/budgets",
    response={201: BudgetDetailsOut, **PROBLEMS},
    summary="Set a budget for an organization with all its projects",
)
def set_organization_budget(request: HttpRequest, organization_id: int, payload: BudgetIn) -> Any:
    scope = organization_seen(_key(organization_id), person_of(request), at_of(request))
    return _set(request, scope, payload)


@router.get(
    "/projects/{project_id}/budgets", response={200: Page[BudgetOut], **PROBLEMS}, summary="Budgets of a project"
)
def list_project_budgets(request: HttpRequest, project_id: int, paging: Paging, closed: bool = False) -> Any:
    scope = project_seen(_key(project_id), person_of(request), at_of(request))
    return _list(request, scope, paging, closed)


@router.post(
    "/projects/{project_id}/budgets",
    response={201: BudgetDetailsOut, **PROBLEMS},
    summary="Set a budget for a project with those below it",
)
def set_project_budget(request: HttpRequest, project_id: int, payload: BudgetIn) -> Any:
    return _set(request, project_seen(_key(project_id), person_of(request), at_of(request)), payload)


@router.get(
    "/budgets/{budget_id}",
    response={200: BudgetDetailsOut, **PROBLEMS},
    summary="How a budget stands, with its history",
)
def get_budget(request: HttpRequest, budget_id: int) -> Any:
    return _details(request, _key(budget_id))


@router.post(
    "/budgets/{budget_id}/change", response={200: BudgetDetailsOut, **PROBLEMS}, summary="Raise or lower a budget"
)
def change_budget(request: HttpRequest, budget_id: int, payload: BudgetChangeIn) -> Any:
    """What is spent is compared with it at once."""
    services.change_budget(
        budget_id=_key(budget_id),
        amount=payload.amount,
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, budget_id)


@router.put(
    "/budgets/{budget_id}/thresholds",
    response={200: BudgetDetailsOut, **PROBLEMS},
    summary="Say what happens at which part of a budget",
)
def set_thresholds(request: HttpRequest, budget_id: int, payload: ThresholdsIn) -> Any:
    services.set_thresholds(
        budget_id=_key(budget_id),
        thresholds=_thresholds(payload.thresholds),
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, budget_id)


@router.post(
    "/budgets/{budget_id}/close",
    response={200: BudgetDetailsOut, **PROBLEMS},
    summary="Compare spending with a budget no longer",
)
def close_budget(request: HttpRequest, budget_id: int, payload: BudgetCloseIn) -> Any:
    """What it held is let go."""
    services.close_budget(budget_id=_key(budget_id), reason=payload.reason, by=person_of(request), at=at_of(request))
    return _details(request, budget_id)
