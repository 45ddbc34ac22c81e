"""Budgets of a small world, invoices for them straight from their tables, and what became of both."""

import json
from datetime import date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connection

from bursar.billing import budgets
from bursar.billing.models import Budget, BudgetCrossing, Invoice, InvoiceLine
from bursar.billing.services import budgets as services
from bursar.catalogue import services as catalogue
from bursar.events.models import Event
from tests.factories.provisioning import World, make_world

NOVEMBER = date(2026, 11, 1)
SLOT = {"key": "slot", "title": "Slot", "billing": "limit", "unit_name": "slots", "limit_default": 1, "limit_min": 0}
_positions = count(1)


def make_priced_world(*, at: datetime) -> World:
    """A world whose offering costs 2 per slot and month."""
    world = make_world(at=at, quota_hours=None, quota_gb=None, components=[SLOT])
    catalogue.set_price(
        plan=world.offering.plans.get(), component=world.offering.components.get(), price=Decimal(2), by=None, at=at
    )
    return world


def bill(world: World, amount: str, *, workspace: Any = None, month: date = NOVEMBER, **more: Any) -> InvoiceLine:
    """A line of an invoice of the university for a month, by default a charge for the project."""
    currency = more.pop("currency", "EUR")
    customer = more.pop("customer", world.university)
    invoice, _ = Invoice.objects.get_or_create(
        customer=customer, provider=world.provider, currency=currency, month=month, defaults={"time_zone": "UTC"}
    )
    fields: dict[str, Any] = {
        "invoice": invoice,
        "position": next(_positions),
        "kind": "charge",
        "month": month,
        "workspace": workspace or world.workspace,
        "component": world.offering.components.first(),
        "quantity": 1,
        "unit_price": amount,
        "amount": amount,
        "tax_category": "standard",
        "tax_percent": 0,
    }
    return InvoiceLine.objects.create(**{**fields, **more})


def budget_of(world: World, amount: str = "1000", *, scope: Any = None, span: str = "month", **more: Any) -> Budget:
    fields: dict[str, Any] = {"by": world.owner, "at": world.at}
    return services.set_budget(
        scope=scope or world.project, span=Budget.Span(span), amount=Decimal(amount), **{**fields, **more}
    )


def spent(budget: Budget, at: datetime) -> Decimal:
    return budgets.spending_of([budget], at=at)[budget.pk].spent


def crossings(budget: Budget) -> list[tuple[int, str, bool]]:
    rows = BudgetCrossing.objects.filter(budget=budget).order_by("pk")
    return [(row.percent, row.action, row.ended_at is None) for row in rows]


def mails(kind: str = "budget_crossed") -> list[tuple[int, list[int]]]:
    """(person, crossings told) in the order in which they were asked for."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT args FROM procrastinate_jobs WHERE args->>'kind' = %s ORDER BY id", [kind])
        rows = [row[0] for row in cursor.fetchall()]
    rows = [json.loads(row) if isinstance(row, str) else row for row in rows]
    return [(row["to_person_id"], row["facts"]["crossings"]) for row in rows]


def events(budget: Budget) -> list[str]:
    rows = Event.objects.filter(subject_type="budget", subject_id=budget.pk).order_by("pk")
    return [kind.removeprefix("budget.") for kind in rows.values_list("kind", flat=True)]
