"""A centre that sells for money and a university that buys: orders, backends' answers and usage by the real services."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from bursar.accounting import services as accounting
from bursar.billing import services as billing
from bursar.billing.models import Invoice, InvoiceLine
from bursar.catalogue import services as catalogue
from bursar.catalogue.models import Component, Plan, PlanComponent
from bursar.metering.reports import Told
from bursar.metering.services import post_reports
from bursar.provisioning import services as provisioning
from bursar.provisioning.models import Order, Resource, Side
from bursar.provisioning.services import outcome
from bursar.provisioning.services.reported import post_told
from bursar.structure import services as structure
from bursar.structure.models import Organization, Workspace
from tests.factories.catalogue import make_plan
from tests.factories.ledger import make_report
from tests.factories.provisioning import World, approve_all, make_world, place_order
from tests.factories.structure import make_organization, make_project, make_workspace

LONG_AGO = datetime(2026, 5, 1, tzinfo=UTC)
_numbers = count(1)

USAGE_AND_FIXED = (
    {"key": "cpu", "title": "CPU time", "billing": "usage", "unit_name": "core-hours", "category": "cpu"},
    {"key": "base", "title": "Base", "billing": "fixed", "unit_name": "pieces", "ticks_per_unit": 1},
    {
        "key": "storage",
        "title": "Storage",
        "billing": "limit",
        "unit_name": "GB",
        "category": "disk",
        "limit_max": 1000,
    },
)


@dataclass
class Shop:
    """A world with prices. plan   the one plan of its offering, unless more were made"""

    world: World
    plan: Plan
    components: Mapping[str, Component]

    @property
    def provider(self) -> Any:
        return self.world.provider

    @property
    def customer(self) -> Organization:
        return self.world.university


def make_shop(
    prices: Mapping[str, Any] | None = None,
    *,
    components: Iterable[Mapping[str, Any]] = USAGE_AND_FIXED,
    currency: str = "EUR",
    time_zone: str = "UTC",
    country: str = "DE",
    customer_country: str = "DE",
    vat_number: str = "",
    customer_vat_number: str = "",
    bills_from: date = date(2026, 7, 1),
    unit: str = "month",
    at: datetime = LONG_AGO,
) -> Shop:
    """prices   component key -> price, or (price, amount); usually 4 per core-hour and a fixed piece at 6"""
    world = make_world(at=at, components=[], active=False, plan="", quota_hours=100_000, quota_gb=100_000)
    for organization, of, vat in (
        (world.provider.organization, country, vat_number),
        (world.university, customer_country, customer_vat_number),
    ):
        structure.edit_organization(
            organization=organization, name=organization.name, country=of, vat_number=vat, currency=currency,
            time_zone=time_zone, url="", by=None, at=at,
        )  # fmt: skip
    world.provider.organization.refresh_from_db()
    world.university.refresh_from_db()
    categories = {"cpu": world.cpu, "disk": world.disk}
    made = {}
    for stated in components:
        fields = dict(stated)
        category = categories.get(fields.pop("category", ""))
        fields.setdefault("ticks_per_unit", category.ticks_per_unit if category else 1)
        tax_category = fields.pop("tax_category", "standard")
        component = catalogue.add_component(offering=world.offering, by=None, at=at, category=category, **fields)
        Component.objects.filter(pk=component.pk).update(tax_category=tax_category)
        made[component.key] = component
    plan = make_plan(world.offering, name="Standard", unit=unit, at=at)
    catalogue.activate_offering(offering=world.offering, by=None, at=at)
    world.offering.refresh_from_db()
    shop = Shop(world, plan, made)
    set_prices(shop, {"cpu": 4, "base": (6, 1)} if prices is None else prices, at=at)
    billing.edit_seller(provider=world.provider, bills_from=bills_from, by=None, at=at)
    return shop


def set_prices(
    shop: Shop, prices: Mapping[str, Any], *, plan: Plan | None = None, at: datetime = LONG_AGO, **more: Any
) -> dict[str, PlanComponent]:
    found = {}
    for key, value in prices.items():
        price, amount = value if isinstance(value, tuple) else (value, 0)
        found[key] = catalogue.set_price(
            plan=plan or shop.plan, component=shop.components[key], price=Decimal(str(price)), amount=amount, by=None, at=at,
            **more,
        )  # fmt: skip
    return found


def another_plan(shop: Shop, prices: Mapping[str, Any], *, at: datetime = LONG_AGO, **more: Any) -> Plan:
    plan = make_plan(shop.world.offering, at=at, **more)
    set_prices(shop, prices, plan=plan, at=at)
    return plan


def another_customer(shop: Shop, *, at: datetime = LONG_AGO) -> Workspace:
    """One more university with a project that has quota of its own."""
    customer = make_organization(at=at)
    workspace = make_workspace(make_project(organization=customer, at=at))
    for category in (shop.world.cpu, shop.world.disk):
        accounting.allocate(
            workspace=workspace, category=category, source=None, quota_ticks=1000 * category.ticks_per_unit, start=at,
            end=at + timedelta(days=365), by=None, at=at,
        )  # fmt: skip
    return workspace


# ------------------------------------------------------------------------------------------------ resources
def make_running(shop: Shop, *, at: datetime, **more: Any) -> Resource:
    """Ordered, agreed to and made at one instant."""
    more.setdefault("plan_id", shop.plan.pk)
    more.setdefault("name", f"Run {next(_numbers)}")
    order = place_order(shop.world, at=at, **{"by": None, **more})
    for side in (Side.CONSUMER, Side.PROVIDER):
        if Order.objects.get(pk=order.pk).state in {"pending_consumer", "pending_provider"}:
            provisioning.approve_order(order_id=order.pk, side=side, by=None, at=at)
    order.refresh_from_db()
    assert order.resource is not None
    return matched(order.resource.pk, at=at)


def matched(resource_id: int, *, at: datetime, paused: bool = False) -> Resource:
    """The backend answers that it matches the wish."""
    resource = Resource.objects.get(pk=resource_id)
    assert outcome.note_matching(resource_id=resource.pk, generation=resource.generation, paused=paused, at=at)
    return Resource.objects.get(pk=resource_id)


def changed(shop: Shop, resource: Resource, *, at: datetime, **more: Any) -> Resource:
    order = provisioning.submit_change(resource_id=resource.pk, by=shop.world.pi, at=at, **more)
    if order.state != "executing":
        approve_all(shop.world, order, at=at)
    return matched(resource.pk, at=at)


def ended(shop: Shop, resource: Resource, *, at: datetime) -> Resource:
    provisioning.submit_termination(resource_id=resource.pk, by=shop.world.pi, at=at)
    return matched(resource.pk, at=at)


def used(
    shop: Shop,
    resource: Resource,
    units: int,
    *,
    on: datetime,
    at: datetime | None = None,
    component: str = "cpu",
    **more: Any,
) -> str:
    """So many units of a component in the hour up to an instant, told at another; the report's name."""
    name = more.pop("report_id", f"used-{next(_numbers)}")
    found = shop.components[component]
    told = Told(
        report_id=name,
        amount_ticks=units * found.ticks_per_unit,
        period_start=on - timedelta(hours=1),
        period_end=on,
        resource_id=resource.pk,
        component=component,
        **more,
    )
    post_told(reports=[told], by=None, at=at or on)
    return name


def corrected(shop: Shop, resource: Resource, name: str, units: int, *, on: datetime, at: datetime) -> None:
    """The report of that name is replaced by another amount."""
    report = make_report(
        shop.world.workspace, shop.world.cpu, units * shop.components["cpu"].ticks_per_unit, until=on, corrects=name,
        resource_id=resource.pk,
    )  # fmt: skip
    post_reports(reports=[report], by=None, at=at)


# ------------------------------------------------------------------------------------------------ invoices
def close(shop: Shop, month: date, *, at: datetime) -> list[Invoice]:
    """Close a month; the invoices that were issued, by number."""
    closed = billing.close_month(provider=shop.provider, month=month, by=None, at=at)
    found = Invoice.objects.filter(provider=shop.provider, number_text__in=closed.numbers).order_by("number")
    return list(found.select_related("cut", "provider__organization", "customer"))


def open_invoice(shop: Shop, month: date, *, at: datetime) -> Invoice:
    billing.refresh(provider=shop.provider, by=None, at=at)
    return Invoice.objects.get(provider=shop.provider, month=month, state="open")


def lines(invoice: Invoice) -> list[tuple[str, str, Decimal]]:
    """Kind, key of the component and amount, in the order of the invoice."""
    rows = InvoiceLine.objects.filter(invoice=invoice).select_related("component").order_by("position")
    return [(row.kind, row.component.key if row.component else "", row.amount) for row in rows]


def when(day: int, month: int = 7, hour: int = 0, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)
