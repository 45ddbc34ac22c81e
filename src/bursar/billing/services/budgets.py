"""Budgets: set, changed and closed by people; compared with what is spent by a job, and what follows done once."""

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction

from bursar.billing.budgets import (
    RELATED,
    crossing_of,
    people_of_budget,
    source_of,
    spending_of,
    thresholds_of,
)
from bursar.billing.errors import (
    AmountNotInCurrency,
    BudgetClosed,
    BudgetExists,
    BudgetNegative,
    BudgetNotFound,
    BudgetPlaceOver,
    BudgetUnchanged,
    ThresholdInvalid,
)
from bursar.billing.models import Budget, BudgetChange, BudgetCrossing, BudgetThreshold
from bursar.engine.budget import Threshold, Turn, turn
from bursar.events.services import Happening, record
from bursar.kernel.money import Money, minor_digits
from bursar.provisioning.models import SpendingHold
from bursar.provisioning.services import lift_holds, set_hold
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Permission, may, require
from bursar.structure.text import clean_line
from bursar.structure.values import clean_currency

Action = BudgetThreshold.Action
USUAL_THRESHOLDS: Final = (Threshold(75, Action.TELL), Threshold(90, Action.TELL), Threshold(100, Action.TELL))
THRESHOLDS_MAX: Final = 12
WHOLE_DIGITS_MAX: Final = 15
REASON_LENGTH_MAX: Final = 500
_EFFECTS: Final = {Action.HOLD: SpendingHold.Effect.ORDERS, Action.PAUSE: SpendingHold.Effect.RESOURCES}


# ------------------------------------------------------------------------------------------------ what is stated
def check_budget(value: Decimal, currency: str) -> Decimal:
    """raises   BudgetNegative, AmountNotInCurrency"""
    digits = minor_digits(currency)
    if not value.is_finite() or abs(value) >= 10**WHOLE_DIGITS_MAX:
        raise AmountNotInCurrency(currency=currency, digits=digits, whole=WHOLE_DIGITS_MAX)
    if value < 0:
        raise BudgetNegative
    rounded = value.quantize(Decimal(1).scaleb(-digits))
    if rounded != value:
        raise AmountNotInCurrency(currency=currency, digits=digits, whole=WHOLE_DIGITS_MAX)
    return rounded


def check_thresholds(thresholds: Iterable[Threshold]) -> list[Threshold]:
    """raises   ThresholdInvalid"""
    given = list(thresholds)
    known = all(1 <= one.percent <= 1000 and one.action in Action.values for one in given)
    if not known or len(given) > THRESHOLDS_MAX or len(set(given)) < len(given):
        raise ThresholdInvalid(actions=", ".join(Action.values), most=THRESHOLDS_MAX)
    return sorted(given)


# ------------------------------------------------------------------------------------------------ by people
@transaction.atomic
def set_budget(
    *,
    scope: Organization | Project,
    span: Budget.Span,
    amount: Decimal,
    currency: str = "",
    thresholds: Collection[Threshold] = USUAL_THRESHOLDS,
    reason: str = "",
    by: Person | None,
    at: datetime,
) -> Budget:
    """Say how much a project with those below it, or an organization with all its projects, means to spend.

    currency   "" = the organization's; invoices in others are not counted
    raises     NotAllowed; BudgetPlaceOver; structure's InvalidValue; BudgetNegative, AmountNotInCurrency;
               ThresholdInvalid; TextTooLong, TextNotAllowed; BudgetExists
    """
    require(by, Permission.MANAGE_BUDGETS, scope, at)
    organization = scope.organization if isinstance(scope, Project) else scope
    if scope.archived_at is not None or organization.archived_at is not None:
        raise BudgetPlaceOver(place=scope.name)
    currency = clean_currency(currency) if currency else organization.currency
    amount = check_budget(amount, currency)
    wanted = check_thresholds(thresholds)
    reason = clean_line(reason, field="reason", limit=REASON_LENGTH_MAX, required=False)
    budget = Budget(
        organization=organization,
        project=scope if isinstance(scope, Project) else None,
        currency=currency,
        span=span,
        amount=amount,
        made_at=at,
    )
    try:
        with transaction.atomic():
            budget.save()
    except IntegrityError as error:
        if getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") != "budget_once":
            raise
        there = Budget.objects.get(
            organization=organization, project=budget.project, currency=currency, span=span, closed_at=None
        )
        raise BudgetExists(currency=currency, amount=str(Money.rounded(there.amount, currency))) from None
    _write_thresholds(budget, wanted)
    _trace(budget, reason, by=by, at=at)
    _tell("budget.set", budget, by=by, at=at)
    _compare(budget, at=at)
    return budget


@transaction.atomic
def change_budget(*, budget_id: int, amount: Decimal, reason: str, by: Person | None, at: datetime) -> Budget:
    """Raise or lower a budget. What is spent is compared with it at once: what it held may go on, or something may stop.

    raises   BudgetNotFound; NotAllowed; BudgetClosed; BudgetNegative, AmountNotInCurrency; BudgetUnchanged;
             TextMissing, TextTooLong, TextNotAllowed
    """
    budget = _lock(budget_id, by=by, at=at)
    amount = check_budget(amount, budget.currency)
    if amount == budget.amount:
        raise BudgetUnchanged(amount=f"{amount:f}", currency=budget.currency)
    reason = clean_line(reason, field="reason", limit=REASON_LENGTH_MAX)
    kind = "budget.raised" if amount > budget.amount else "budget.lowered"
    before, budget.amount = budget.amount, amount
    budget.save(update_fields=["amount"])
    _trace(budget, reason, by=by, at=at)
    _tell(kind, budget, by=by, at=at, before=f"{before:f}", reason=reason)
    _compare(budget, at=at)
    return budget


@transaction.atomic
def set_thresholds(*, budget_id: int, thresholds: Collection[Threshold], by: Person | None, at: datetime) -> Budget:
    """Say what happens at which part of a budget, in place of what was said before.

    A crossing whose threshold is gone ends, and what it held is let go.

    raises   BudgetNotFound; NotAllowed; BudgetClosed; ThresholdInvalid
    """
    budget = _lock(budget_id, by=by, at=at)
    wanted = check_thresholds(thresholds)
    before = thresholds_of(budget)
    if wanted != sorted(before):
        _write_thresholds(budget, wanted)
        _tell("budget.thresholds_set", budget, by=by, at=at, thresholds=[[t.percent, t.action] for t in wanted])
        _compare(budget, at=at)
    return budget


@transaction.atomic
def close_budget(*, budget_id: int, reason: str, by: Person | None, at: datetime) -> Budget:
    """Compare spending with this budget no longer; what it held is let go.

    raises   BudgetNotFound; NotAllowed; BudgetClosed; TextMissing, TextTooLong, TextNotAllowed
    """
    budget = _lock(budget_id, by=by, at=at)
    reason = clean_line(reason, field="reason", limit=REASON_LENGTH_MAX)
    budget.closed_at = at
    budget.save(update_fields=["closed_at"])
    _trace(budget, reason, by=by, at=at)
    _tell("budget.closed", budget, by=by, at=at, reason=reason)
    _compare(budget, at=at)
    return budget


def _lock(budget_id: int, *, by: Person | None, at: datetime) -> Budget:
    budget = _locked(budget_id)
    scope = None if budget is None else budget.project or budget.organization
    if budget is None or scope is None or not may(by, Permission.VIEW_COSTS, scope, at):
        raise BudgetNotFound
    require(by, Permission.MANAGE_BUDGETS, scope, at)
    if budget.closed_at is not None:
        raise BudgetClosed
    return budget


def _locked(budget_id: int) -> Budget | None:
    return Budget.objects.select_for_update(of=("self",)).select_related(*RELATED).filter(pk=budget_id).first()


def _write_thresholds(budget: Budget, wanted: Collection[Threshold]) -> None:
    there = {Threshold(row.percent, row.action): row.pk for row in budget.thresholds.all()}
    budget.thresholds.filter(pk__in=[pk for one, pk in there.items() if one not in wanted]).delete()
    BudgetThreshold.objects.bulk_create(
        [BudgetThreshold(budget=budget, percent=t.percent, action=t.action) for t in wanted if t not in there]
    )


def _trace(budget: Budget, reason: str, *, by: Person | None, at: datetime) -> None:
    BudgetChange.objects.create(budget=budget, amount=budget.amount, reason=reason, by=by, at=at)


def _tell(kind: str, budget: Budget, *, by: Person | None, at: datetime, **facts: Any) -> None:
    record(
        Happening(
            kind=kind,
            subject_type="budget",
            subject_id=budget.pk,
            organization_id=budget.organization_id,
            project_id=budget.project_id,
            facts={"amount": f"{budget.amount:f}", "currency": budget.currency, "span": budget.span, **facts},
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


# ------------------------------------------------------------------------------------------------ compared with spending
@transaction.atomic
def evaluate_budget(*, budget_id: int, at: datetime) -> Turn:
    """Compare a budget with what is spent; each crossing and what it does are one act, done once.

    returns   what changed; nothing where there is no such budget
    """
    budget = _locked(budget_id)
    return Turn((), ()) if budget is None else _compare(budget, at=at)


def _compare(budget: Budget, *, at: datetime) -> Turn:
    """The caller holds the budget's row: whoever compares at the same time waits, and finds what was done."""
    spending = spending_of([budget], at=at)[budget.pk]
    rows = list(budget.crossings.filter(ended_at=None))
    change = turn(
        stretch=spending.stretch,
        spent=spending.spent,
        amount=budget.amount,
        thresholds=thresholds_of(budget),
        standing=[crossing_of(row) for row in rows],
    )
    for row in rows:
        if crossing_of(row) in change.end:
            _end(budget, row, spent=spending.spent, at=at)
    begun = [_begin(budget, one, spending.stretch, spending.spent, at=at) for one in change.begin]
    if begun:
        for person_id in people_of_budget(budget, at=at):
            facts = {"budget": budget.pk, "crossings": [row.pk for row in begun]}
            ask_for_mail("budget_crossed", to_person_id=person_id, facts=facts)
    return change


def _end(budget: Budget, row: BudgetCrossing, *, spent: Decimal, at: datetime) -> None:
    row.ended_at = at
    row.save(update_fields=["ended_at"])
    lift_holds(source=source_of(row), at=at)
    _tell(
        "budget.uncrossed", budget, by=None, at=at, percent=row.percent, action=row.action,
        stretch=row.stretch.isoformat(), spent=f"{spent:f}",
    )  # fmt: skip


def _begin(budget: Budget, one: Threshold, stretch: Any, spent: Decimal, *, at: datetime) -> BudgetCrossing:
    row = BudgetCrossing.objects.create(
        budget=budget,
        threshold=budget.thresholds.get(percent=one.percent, action=one.action),
        percent=one.percent,
        action=one.action,
        stretch=stretch,
        spent=spent,
        amount=budget.amount,
        at=at,
    )
    facts = {"percent": one.percent, "stretch": stretch.isoformat(), "spent": f"{spent:f}"}
    if (effect := _EFFECTS.get(Action(one.action))) is not None:
        told = {**facts, "amount": f"{budget.amount:f}", "currency": budget.currency, "span": budget.span}
        set_hold(
            source=source_of(row), effect=effect, organization=budget.organization, project=budget.project,
            facts=told, at=at,
        )  # fmt: skip
    _tell("budget.crossed", budget, by=None, at=at, action=one.action, **facts)
    return row


def budgets_to_evaluate(*, at: datetime) -> list[int]:
    """Ids of the budgets whose crossings are not as what is spent will have them. A constant number of queries."""
    budgets = list(Budget.objects.filter(closed_at=None).select_related(*RELATED).prefetch_related("thresholds"))
    standing: dict[int, list[BudgetCrossing]] = {}
    for row in BudgetCrossing.objects.filter(ended_at=None, budget__closed_at=None):
        standing.setdefault(row.budget_id, []).append(row)
    found = spending_of(budgets, at=at)
    nothing = Turn((), ())
    return [
        budget.pk
        for budget in budgets
        if nothing
        != turn(
            stretch=found[budget.pk].stretch,
            spent=found[budget.pk].spent,
            amount=budget.amount,
            thresholds=thresholds_of(budget),
            standing=[crossing_of(row) for row in standing.get(budget.pk, ())],
        )
    ]
