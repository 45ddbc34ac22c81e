"""The mail of a budget: thresholds that were passed, and what follows."""

from datetime import datetime
from typing import Any

from bursar.billing.budgets import source_of
from bursar.billing.models import Budget, BudgetCrossing
from bursar.delivery.mails import Facts, address, mail
from bursar.kernel.money import Money
from bursar.provisioning import holds
from bursar.provisioning.models import SpendingHold
from bursar.structure.models import Person


@mail("budget_crossed")
def _crossed(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    budget = Budget.objects.select_related("organization", "project").filter(pk=facts["budget"]).first()
    rows = list(BudgetCrossing.objects.filter(pk__in=facts["crossings"], ended_at=None).order_by("percent", "pk"))
    if budget is None or not rows:
        return None  # it was raised meanwhile
    highest = rows[-1]
    return {
        "budget": budget,
        "scope": budget.project or budget.organization,
        "percent": max(row.percent for row in rows),
        "spent": Money.rounded(highest.spent, budget.currency),
        "amount": Money.rounded(highest.amount, budget.currency),
        "actions": {row.action for row in rows},
        "running": [one.resource for one in _standing(rows, at=at) if one.state == "cannot"],
        "link": address("budget", budget.pk),
    }


def _standing(rows: list[BudgetCrossing], *, at: datetime) -> list[holds.Standing]:
    sources = [source_of(row) for row in rows]
    hold = SpendingHold.objects.filter(source__in=sources, effect=SpendingHold.Effect.RESOURCES, lifted_at=None).first()
    return [] if hold is None else holds.standing_under(hold, at=at)
