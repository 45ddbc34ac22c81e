"""Invoices made straight from their tables: what stands on paper and in exports, whatever computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from bursar.billing.models import Buyer, Cut, Invoice, InvoiceLine, InvoiceTax, Seller
from bursar.catalogue.models import Component, Offering, Plan, PlanComponent, ServiceProvider
from bursar.provisioning.models import Resource
from bursar.structure.models import Organization, Project, Workspace
from tests.factories.catalogue import make_category, make_component, make_offering, make_plan, make_provider
from tests.factories.structure import LONG_AGO, make_organization, make_project, make_workspace

MONTH = date(2026, 10, 1)
ISSUED = datetime(2026, 11, 8, 9, 0, tzinfo=UTC)
_numbers = count(1)


@dataclass
class Trade:
    """A centre that sells two things to a university's project, with who stands on its invoices."""

    provider: ServiceProvider
    customer: Organization
    project: Project
    workspace: Workspace
    offering: Offering
    plan: Plan
    cpu: Component
    disk: Component
    prices: Mapping[int, PlanComponent]
    resource: Resource


def make_trade(
    *,
    provider: ServiceProvider | None = None,
    customer: Organization | None = None,
    currency: str = "EUR",
    resource: str = "Run 1",
    project: str = "Ice cores",
    workspace: Workspace | None = None,
) -> Trade:
    """workspace   of the customer's project; a new one when none is given"""
    if provider is None:
        seller = make_organization(
            f"Centre {next(_numbers)}",
            country="DE",
            vat_number="DE136695976",
            currency=currency,
            time_zone="Europe/Berlin",
        )
        provider = make_provider(seller)
    Seller.objects.get_or_create(
        provider=provider,
        defaults={
            "legal_name": "Centre for Computing GmbH",
            "address": "Hauptstraße 1\n10115 Berlin",
            "email": "billing@centre.example",
            "bank_account": "DE89 3704 0044 0532 0130 00",
            "number_prefix": "CC-",
            "bills_from": date(2026, 1, 1),
            "closed_until": date(2026, 1, 1),
        },
    )
    customer = customer or make_organization(f"University {next(_numbers)}", country="DE")
    Buyer.objects.get_or_create(
        organization=customer,
        defaults={"legal_name": "University of the North", "address": "Campus 7\n24118 Kiel", "reference": "PO-4711"},
    )
    workspace = workspace or make_workspace(make_project(organization=customer, name=project))
    made = workspace.project
    assert made is not None
    offering = make_offering(provider, components=[], active=False, plan="")
    cpu = make_component(
        offering, key="cpu", title="CPU time", billing="usage", category=make_category(provider), unit_name="core-hours"
    )
    disk = make_component(offering, key="disk", title="Storage", billing="limit", unit_name="GB")
    plan = make_plan(offering, name="Standard", prices={cpu: Decimal("0.04"), disk: Decimal("0.25")})
    found = Resource.objects.create(
        workspace=workspace,
        offering=offering,
        name=resource,
        plan=plan,
        desired_plan=plan,
        state="ok",
        created_at=LONG_AGO,
    )
    prices = {one.component_id: one for one in PlanComponent.objects.filter(plan=plan)}
    return Trade(provider, customer, made, workspace, offering, plan, cpu, disk, prices, found)


def line(
    trade: Trade,
    component: Component | None,
    quantity: Decimal | int | str,
    amount: Decimal | int | str,
    *,
    kind: str = "charge",
    percent: Decimal | int | str = 19,
    **more: Any,
) -> InvoiceLine:
    """A line that is not written yet; its price is that of the trade's plan."""
    price = trade.prices[component.pk] if component else None
    fields: dict[str, Any] = {
        "month": MONTH,
        "workspace": trade.workspace,
        "resource": trade.resource if component else None,
        "component": component,
        "plan": trade.plan if component else None,
        "price": price,
        "quantity": Decimal(quantity),
        "unit_price": price.price if price else Decimal(amount),
        "amount": Decimal(amount),
        "tax_category": "standard",
        "tax_percent": Decimal(percent),
    }
    return InvoiceLine(kind=kind, **{**fields, **more})


def make_invoice(
    trade: Trade,
    lines: Sequence[InvoiceLine] | None = None,
    *,
    month: date = MONTH,
    issued: bool = True,
    paid: Decimal | int | str = 0,
    due_on: date = date(2026, 12, 8),
    operations: Mapping[str, int] | None = None,
    **more: Any,
) -> Invoice:
    """An invoice with its lines and with the taxes that follow from them, rounded half away from zero to cents.

    operations   product category -> its last ledger operation that was known
    lines        usually 100 core-hours at 0.04 and 12 days of 40 GB at 0.25
    """
    if lines is None:
        lines = [
            line(trade, trade.cpu, 100, 4),
            line(trade, trade.disk, "15.4838709677", "3.87", basis={"first": "2026-10-20", "last": "2026-10-31"}),
        ]
    digits = Decimal(1) if trade.provider.organization.currency == "JPY" else Decimal("0.01")
    nets: dict[tuple[str, Decimal, str], Decimal] = {}
    for one in lines:
        key = (one.tax_category, one.tax_percent, one.tax_note)
        nets[key] = nets.get(key, Decimal(0)) + one.amount
    taxes = {key: (net * key[1] / 100).quantize(digits, rounding="ROUND_HALF_UP") for key, net in nets.items()}
    net, tax = sum(nets.values(), Decimal(0)), sum(taxes.values(), Decimal(0))
    paid = Decimal(paid)
    frozen: dict[str, Any] = {}
    if issued:
        seller = Seller.objects.get(provider=trade.provider)
        seller.last_invoice += 1
        seller.save()
        number = seller.last_invoice
        state = "issued" if not paid else "paid" if paid >= net + tax else "part_paid"
        cut = Cut.objects.create(fact=0, price=0, tax_rate=0, operations=dict(operations or {}), taken_at=ISSUED)
        frozen = {
            "state": state,
            "cut": cut,
            "number": number,
            "number_text": f"{seller.number_prefix}{number:05}",
            "issued_at": ISSUED,
            "due_on": due_on,
            "fingerprint": "ab" * 32,
        }
    invoice = Invoice.objects.create(
        customer=trade.customer,
        provider=trade.provider,
        currency=trade.provider.organization.currency,
        month=month,
        time_zone=trade.provider.organization.time_zone,
        net=net,
        tax=tax,
        total=net + tax,
        paid=paid,
        computed_at=ISSUED,
        **more,
    )
    for position, one in enumerate(lines, start=1):
        one.invoice, one.position = invoice, position
    InvoiceLine.objects.bulk_create(lines)
    InvoiceTax.objects.bulk_create(
        InvoiceTax(invoice=invoice, category=c, percent=p, note=n, net=value, tax=taxes[c, p, n])
        for (c, p, n), value in nets.items()
    )
    if frozen:  # last: once it is issued nothing of it can be written
        Invoice.objects.filter(pk=invoice.pk).update(**frozen)
        invoice = Invoice.objects.select_related("provider__organization", "customer").get(pk=invoice.pk)
    return invoice
