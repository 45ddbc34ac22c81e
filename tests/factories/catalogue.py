"""Minimal valid providers, categories, backends and offerings, made by the services as the system."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

from bursar.catalogue import services
from bursar.catalogue.models import (
    Backend,
    Component,
    Offering,
    OfferingCategory,
    Plan,
    Product,
    ProductCategory,
    ServiceProvider,
)
from bursar.structure.models import Organization
from tests.factories.structure import LONG_AGO, make_organization

_numbers = count(1)

BACKEND_VALUES: Mapping[str, Mapping[str, Any]] = {
    "manual": {"contact": "helpdesk@example.org"},
    "simulator": {"token": "simulator-token-of-the-tests"},
}


def make_provider(organization: Organization | None = None, *, at: datetime = LONG_AGO) -> ServiceProvider:
    """An organization authorized to sell; a new one when none is given."""
    provider = services.authorize_provider(
        organization=organization or make_organization(f"Computing Centre {next(_numbers)}", at=at), by=None, at=at
    )
    return ServiceProvider.objects.select_related("organization").get(pk=provider.pk)


def make_category(
    provider: ServiceProvider | None = None, *, name: str | None = None, at: datetime = LONG_AGO, **more: Any
) -> ProductCategory:
    """Core-hours counted in core-seconds, charged per hour, unless said otherwise."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "title": f"CPU {number}",
        "product_type": "compute",
        "charging": "hour",
        "unit_name": "core-hours",
        "ticks_per_unit": 3600,
    }
    return services.create_category(
        provider=provider or make_provider(at=at),
        name=f"cpu-{number}" if name is None else name,
        by=None,
        at=at,
        **{**fields, **more},
    )


def make_level_category(
    provider: ServiceProvider | None = None, *, at: datetime = LONG_AGO, **more: Any
) -> ProductCategory:
    """Gigabytes as a level."""
    fields: dict[str, Any] = {"product_type": "storage", "charging": "once", "unit_name": "GB", "ticks_per_unit": 1}
    return make_category(provider, at=at, **{**fields, **more})


def make_product(category: ProductCategory | None = None, *, at: datetime = LONG_AGO, **more: Any) -> Product:
    number = next(_numbers)
    fields: dict[str, Any] = {"name": f"node-{number}", "title": f"Node {number}", "ticks_per_charge": 3600}
    return services.create_product(category=category or make_category(at=at), by=None, at=at, **{**fields, **more})


def make_shelf(
    title: str | None = None, *, parent: OfferingCategory | None = None, at: datetime = LONG_AGO, **more: Any
) -> OfferingCategory:
    number = next(_numbers)
    return services.create_shelf(
        title=title or f"Shelf {number}", slug=f"shelf-{number}", parent=parent, by=None, at=at, **more
    )


def make_backend(
    provider: ServiceProvider | None = None,
    *,
    plugin: str = "manual",
    values: Mapping[str, Any] | None = None,
    health: str = "ok",
    name: str | None = None,
    at: datetime = LONG_AGO,
) -> Backend:
    """A configured backend. Its health is written down as stated: nothing is asked of a backend that is not there."""
    backend = services.create_backend(
        provider=provider or make_provider(at=at),
        name=name or f"Backend {next(_numbers)}",
        plugin=plugin,
        values={**BACKEND_VALUES.get(plugin, {}), **(values or {})},
        by=None,
        at=at,
    )
    Backend.objects.filter(pk=backend.pk).update(health=health, checked_at=at)
    backend.refresh_from_db()
    return backend


def make_component(
    offering: Offering,
    *,
    key: str | None = None,
    category: ProductCategory | None = None,
    billing: str = "limit",
    at: datetime = LONG_AGO,
    **more: Any,
) -> Component:
    """A component of an offering; with a category it draws whole units of it, measured in the category's ticks."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "title": f"Component {number}",
        "unit_name": category.unit_name if category else "units",
        "ticks_per_unit": category.ticks_per_unit if category else 1,
    }
    return services.add_component(
        offering=offering,
        key=key or f"component-{number}",
        billing=billing,
        category=category,
        by=None,
        at=at,
        **{**fields, **more},
    )


def make_plan(
    offering: Offering,
    *,
    name: str | None = None,
    prices: Mapping[Component, Decimal | int] | None = None,
    at: datetime = LONG_AGO,
    **more: Any,
) -> Plan:
    """A plan; free without prices."""
    plan = services.add_plan(offering=offering, name=name or f"Plan {next(_numbers)}", by=None, at=at, **more)
    for component, price in (prices or {}).items():
        services.set_price(plan=plan, component=component, price=Decimal(price), by=None, at=at)
    return plan


def make_offering(
    provider: ServiceProvider | None = None,
    *,
    active: bool = True,
    plugin: str = "manual",
    backend: Backend | None = None,
    components: Iterable[Mapping[str, Any]] | None = None,
    category: ProductCategory | None = None,
    order_form: Mapping[str, Any] | None = None,
    visibility: str = "everyone",
    organizations: Iterable[Any] = (),
    projects: Iterable[Any] = (),
    name: str | None = None,
    shelf: OfferingCategory | None = None,
    plan: str = "Standard",
    at: datetime = LONG_AGO,
    **texts: Any,
) -> Offering:
    """An offering with everything it needs: on the shelf, or (active=False) a draft that lacks nothing.

    components   keyword arguments of `make_component`, one mapping each; without them the plugin's own, and where it
                 has none one component "cpu" (limit, 1 to 1000, usually 100) that draws on `category` (a new one when
                 none is given)
    plan         the name of its one plan, free; "" = none
    """
    provider = provider or (backend.provider if backend else category.provider if category else make_provider(at=at))
    backend = backend or make_backend(provider, plugin=plugin, at=at)
    number = next(_numbers)
    offering = services.create_offering(
        provider=provider,
        name=name or f"Offering {number}",
        slug=f"offering-{number}",
        summary=texts.pop("summary", "Cores for computing."),
        description=texts.pop("description", "Many cores."),
        shelf=shelf or make_shelf(at=at),
        backend=backend,
        by=None,
        at=at,
    )
    if components is not None:
        offering.components.all().delete()
        for fields in components:
            make_component(offering, at=at, **fields)
    elif not offering.components.exists():
        make_component(
            offering,
            key="cpu",
            title="CPU time",
            category=category or make_category(provider, at=at),
            measured_unit="core-seconds",
            limit_min=1,
            limit_max=1000,
            limit_default=100,
            at=at,
        )
    if plan:
        make_plan(offering, name=plan, at=at)
    if order_form is not None:
        services.set_order_form(offering=offering, schema=dict(order_form), by=None, at=at)
    if texts:
        services.edit_offering(offering=offering, by=None, at=at, **texts)
    services.set_visibility(
        offering=offering,
        visibility=visibility,
        organizations=list(organizations),
        projects=list(projects),
        by=None,
        at=at,
    )
    if active:
        services.activate_offering(offering=offering, by=None, at=at)
    return Offering.objects.select_related("provider__organization", "backend", "shelf").get(pk=offering.pk)
