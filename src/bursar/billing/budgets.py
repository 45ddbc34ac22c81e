"""What is spent of budgets, and who sees them. Reads only; a constant number of queries for any number of budgets."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import BooleanField, Case, F, Q, QuerySet, Sum, Value, When

from bursar.billing.errors import BudgetNotFound
from bursar.billing.models import Budget, BudgetChange, BudgetCrossing, CreditNoteLine, InvoiceLine
from bursar.catalogue.models import Component
from bursar.engine.budget import Crossing, Threshold, expected, is_in, stretch_of
from bursar.engine.rating.calendar import Month
from bursar.kernel.money import Money
from bursar.provisioning import holds
from bursar.provisioning.models import SpendingHold
from bursar.structure.models import Membership, Organization, Person, Project
from bursar.structure.roles import Permission, Role, may

MICROSECOND: Final = timedelta(microseconds=1)
# What a customer is billed; credits that were given do not make it less spent, they pay it.
_SPENT: Final = (InvoiceLine.Kind.CHARGE, InvoiceLine.Kind.ADJUSTMENT, InvoiceLine.Kind.COMPENSATION)
RELATED: Final = ("organization", "project__organization")
SHOWN_AT_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Spending:
    """How a budget stands at an instant.

    stretch    the first day of its month or year; of a total 1970-01-01
    spent      net, in the budget's currency, by invoices of the stretch, open ones too
    expected   what `spent` is likely to be at the end of this month, if use goes on as it went so far
    """

    stretch: date
    spent: Decimal
    expected: Decimal


class _Key(NamedTuple):
    customer: int
    currency: str
    month: date
    project: int | None
    by_use: bool


def today_of(organization: Organization, at: datetime) -> date:
    """The customer's day at an instant: budgets turn with it, though sellers may live elsewhere."""
    return at.astimezone(ZoneInfo(organization.time_zone)).date()


def stretch_at(budget: Budget, at: datetime) -> date:
    return stretch_of(budget.span, today_of(budget.organization, at))


def spending_of(budgets: Collection[Budget], *, at: datetime) -> Mapping[int, Spending]:
    """Budget -> how it stands. An amount counts in the month of the invoice that it is on, an adjustment too: once.

    Credit notes take off what they take back. Three queries.
    """
    sums = _sums(budgets, at=at)
    paths = dict(
        Project.objects.filter(pk__in={key.project for key in sums if key.project is not None}).values_list(
            "pk", "path"
        )
    )
    by_customer: dict[tuple[int, str], list[tuple[_Key, Decimal]]] = defaultdict(list)
    for key, amount in sums.items():
        by_customer[key.customer, key.currency].append((key, amount))
    found = {}
    for budget in budgets:
        stretch, today = stretch_at(budget, at), today_of(budget.organization, at)
        spent = used = Decimal(0)
        for key, amount in by_customer.get((budget.organization_id, budget.currency), ()):
            if budget.project_id is not None and (
                key.project is None or budget.project_id not in paths.get(key.project, ())
            ):
                continue
            if is_in(budget.span, stretch, key.month):
                spent += amount
                if key.by_use and key.month == today.replace(day=1):
                    used += amount
        likely = expected(spent, used, _elapsed(budget.organization, at))
        found[budget.pk] = Spending(stretch, spent, Money.rounded(likely, budget.currency).amount)
    return found


def _elapsed(organization: Organization, at: datetime) -> Fraction:
    """The part of the organization's month that is over."""
    zone = ZoneInfo(organization.time_zone)
    month = Month.of(at, zone)
    start, end = month.start(zone), month.end(zone)
    return Fraction((at - start) // MICROSECOND, (end - start) // MICROSECOND)


def _sums(budgets: Collection[Budget], *, at: datetime) -> Mapping[_Key, Decimal]:
    if not budgets:
        return {}
    where = {
        "customer__in": {budget.organization_id for budget in budgets},
        "currency__in": {budget.currency for budget in budgets},
        "month__gte": min(stretch_at(budget, at) for budget in budgets),
    }
    sums: dict[_Key, Decimal] = defaultdict(Decimal)
    billed = InvoiceLine.objects.filter(**{f"invoice__{name}": value for name, value in where.items()})
    for key, amount in _by_key(billed, ""):
        sums[key] += amount
    taken_back = CreditNoteLine.objects.filter(**{f"line__invoice__{name}": value for name, value in where.items()})
    for key, amount in _by_key(taken_back, "line__"):
        sums[key] -= amount
    return sums


def _by_key(rows: QuerySet[Any], line: str) -> Iterable[tuple[_Key, Decimal]]:
    """line   the way from a row to the line of the invoice"""
    of_use = {
        f"{line}kind": InvoiceLine.Kind.CHARGE,
        f"{line}component__billing": Component.Billing.USAGE,
        f"{line}month": F(f"{line}invoice__month"),
    }
    by_use = Case(When(Q(**of_use), then=Value(True)), default=Value(False), output_field=BooleanField())
    names = (
        f"{line}invoice__customer_id",
        f"{line}invoice__currency",
        f"{line}invoice__month",
        f"{line}workspace__project_id",
    )
    grouped = (
        rows.filter(**{f"{line}kind__in": _SPENT})
        .annotate(is_by_use=by_use)
        .order_by()
        .values(*names, "is_by_use")
        .annotate(sum=Sum("amount"))
    )
    for row in grouped:
        customer, currency, month, project = (row[name] for name in names)
        yield _Key(customer, currency, month, project, row["is_by_use"]), row["sum"]


def thresholds_of(budget: Budget) -> list[Threshold]:
    """Those in force: none of a closed budget."""
    if budget.closed_at is not None:
        return []
    return [Threshold(row.percent, row.action) for row in budget.thresholds.all()]


def crossing_of(row: BudgetCrossing) -> Crossing:
    return Crossing(row.stretch, Threshold(row.percent, row.action))


def source_of(crossing: BudgetCrossing) -> str:
    """The name under which a crossing holds something in provisioning."""
    return f"budget-crossing-{crossing.pk}"


def people_of_budget(budget: Budget, *, at: datetime) -> list[int]:
    """Ids of the active people who are told: owners and managers of the organization, and who leads the project."""
    where = Q(organization=budget.organization_id, role__in=(Role.ORGANIZATION_OWNER, Role.ORGANIZATION_MANAGER))
    if budget.project_id is not None:
        where |= Q(project=budget.project_id, role=Role.PRINCIPAL_INVESTIGATOR)
    held = Membership.objects.held_at(at).filter(where, person__is_active=True)
    return sorted(set(held.values_list("person_id", flat=True)))


# ------------------------------------------------------------------------------------------------ for a viewer
@dataclass(frozen=True, slots=True)
class Shown:
    """A budget as its page shows it. percent   of the amount that is spent, rounded down; None of a budget of nothing"""

    budget: Budget
    spending: Spending
    standing: list[BudgetCrossing]
    may_manage: bool

    @property
    def percent(self) -> int | None:
        if not self.budget.amount:
            return None
        return int(self.spending.spent * 100 // self.budget.amount)

    @property
    def left(self) -> Decimal:
        return self.budget.amount - self.spending.spent


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a budget's trace. what: set | raised | lowered | closed"""

    row: BudgetChange
    what: str


@dataclass(frozen=True, slots=True)
class Details:
    shown: Shown
    changes: list[Change]
    crossings: list[BudgetCrossing]
    resources: list[holds.Standing]


def budgets_of(scope: Organization | Project, viewer: Person, *, at: datetime, closed: bool = False) -> list[Shown]:
    """The budgets of an organization itself, or of a project, that the viewer may see; open ones unless said otherwise."""
    if not may(viewer, Permission.VIEW_COSTS, scope, at):
        return []
    rows = Budget.objects.filter(closed_at__isnull=not closed)
    if isinstance(scope, Project):
        rows = rows.filter(project=scope)
    else:
        rows = rows.filter(organization=scope, project=None)
    return _shown(rows, viewer, scope, at=at)


def budgets_below(organization: Organization, viewer: Person, *, at: datetime) -> list[Shown]:
    """The open budgets of the organization's projects, by the project's name."""
    if not may(viewer, Permission.VIEW_COSTS, organization, at):
        return []
    rows = Budget.objects.filter(organization=organization, project__isnull=False, closed_at=None)
    return _shown(rows.order_by("project__name", "pk"), viewer, organization, at=at)


def _shown(rows: QuerySet[Budget], viewer: Person, scope: Organization | Project, *, at: datetime) -> list[Shown]:
    budgets = list(rows.select_related(*RELATED).prefetch_related("thresholds"))
    found = spending_of(budgets, at=at)
    standing = _standing(budgets)
    manages = may(viewer, Permission.MANAGE_BUDGETS, scope, at)
    return [Shown(b, found[b.pk], standing.get(b.pk, []), manages and b.closed_at is None) for b in budgets]


def _standing(budgets: Iterable[Budget]) -> Mapping[int, list[BudgetCrossing]]:
    rows: dict[int, list[BudgetCrossing]] = defaultdict(list)
    for row in BudgetCrossing.objects.filter(budget__in=budgets, ended_at=None).order_by("percent", "action"):
        rows[row.budget_id].append(row)
    return rows


def budget_for(viewer: Person, budget_id: int, *, at: datetime) -> Budget:
    """raises   BudgetNotFound, also when the viewer may not see it"""
    budget = Budget.objects.select_related(*RELATED).prefetch_related("thresholds").filter(pk=budget_id).first()
    if budget is None or not may(viewer, Permission.VIEW_COSTS, budget.project or budget.organization, at):
        raise BudgetNotFound
    return budget


def budget_details(viewer: Person, budget_id: int, *, at: datetime) -> Details:
    """raises   BudgetNotFound"""
    budget = budget_for(viewer, budget_id, at=at)
    shown = _shown(Budget.objects.filter(pk=budget.pk), viewer, budget.project or budget.organization, at=at)[0]
    pausing = SpendingHold.objects.filter(
        source__in=[source_of(row) for row in shown.standing], effect=SpendingHold.Effect.RESOURCES, lifted_at=None
    ).first()
    return Details(
        shown=shown,
        changes=_changes(budget),
        crossings=list(budget.crossings.all()[:SHOWN_AT_MOST]),
        resources=[] if pausing is None else holds.standing_under(pausing, at=at),
    )


def _changes(budget: Budget) -> list[Change]:
    """The newest first."""
    rows: Sequence[BudgetChange] = list(budget.changes.select_related("by"))
    found, before = [], None
    for row in rows:
        if before is None:
            what = "set"
        elif row.amount == before.amount:
            what = "closed"
        else:
            what = "raised" if row.amount > before.amount else "lowered"
        found.append(Change(row, what))
        before = row
    return found[::-1]
