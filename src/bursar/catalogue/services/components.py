"""What an offering measures or limits."""

from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from bursar.catalogue.errors import CategoryArchived, CategoryNotFound, ComponentKept, InvalidInput
from bursar.catalogue.models import Component, Offering, ProductCategory
from bursar.catalogue.services._common import (
    check,
    field_titles,
    lock_offering,
    names_once,
    require_for_provider,
    set_fields,
    tell,
)
from bursar.catalogue.services.categories import seal_category
from bursar.catalogue.services.offerings import keep_complete
from bursar.structure.models import Person
from bursar.structure.roles import Permission

# What usage, limits and prices already written stand on.
KEPT_FIELDS: Final = (
    "key",
    "unit_name",
    "billing",
    "limit_period",
    "category",
    "ticks_per_unit",
    "ticks_per_measured",
    "measured_unit",
    "free_while_paused",
    "tax_category",
)


@transaction.atomic
def add_component(
    *,
    offering: Offering,
    key: str,
    title: str,
    unit_name: str,
    billing: str,
    by: Person | None,
    at: datetime,
    limit_period: str = Component.LimitPeriod.MONTH,
    limit_min: int | None = None,
    limit_max: int | None = None,
    limit_default: int | None = None,
    category: ProductCategory | None = None,
    ticks_per_unit: int = 1,
    ticks_per_measured: int = 1,
    measured_unit: str = "",
    position: int | None = None,
    free_while_paused: bool = False,
    tax_category: str = "standard",
) -> Component:
    """One more thing that is measured or limited; `key` is the plugin's name for it.

    ticks_per_unit       ticks of the category that one unit draws, >= 1
    ticks_per_measured   ticks that one unit of what the plugin measures draws, >= 1
    tax_category         a word for what it is taxed as; the seller's country has rates for such
    raises               NotAllowed; ProviderNotAuthorized; InvalidInput; NameTaken; CategoryNotFound (of another
                         provider); CategoryArchived
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    component = Component(
        offering=offering,
        key=key,
        title=title,
        unit_name=unit_name,
        billing=billing,
        limit_period=limit_period,
        limit_min=limit_min,
        limit_max=limit_max,
        limit_default=limit_default,
        category=category,
        ticks_per_unit=ticks_per_unit,
        ticks_per_measured=ticks_per_measured,
        measured_unit=measured_unit,
        position=offering.components.count() if position is None else position,
        free_while_paused=free_while_paused,
        tax_category=tax_category,
    )
    _save(component, offering, at, new_category=category is not None)
    tell("offering.component_added", offering, offering.provider, by=by, at=at, key=component.key)
    return component


@transaction.atomic
def edit_component(*, component: Component, by: Person | None, at: datetime, **changes: Any) -> Component:
    """Change any field of `add_component`; those in KEPT_FIELDS only until the offering was on the shelf.

    raises   as `add_component`; ComponentKept
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, component.offering.provider, at)
    offering = lock_offering(component.offering)
    component = Component.objects.select_for_update(of=("self",)).select_related("category").get(pk=component.pk)
    changed = set_fields(component, changes)
    kept = [name for name in changed if name in KEPT_FIELDS]
    if kept and offering.activated_at is not None:
        raise ComponentKept(component=component.title, fields=field_titles(Component, kept))
    _save(component, offering, at, new_category="category" in changed)
    if changed:
        tell("offering.component_edited", offering, offering.provider, by=by, at=at, key=component.key, fields=changed)
    return component


@transaction.atomic
def remove_component(*, component: Component, by: Person | None, at: datetime) -> None:
    """raises   NotAllowed; ProviderNotAuthorized; ComponentKept once the offering was on the shelf"""
    require_for_provider(by, Permission.MANAGE_OFFERINGS, component.offering.provider, at)
    offering = lock_offering(component.offering)
    if offering.activated_at is not None:
        raise ComponentKept(component=component.title, fields=_("record"))
    tell("offering.component_removed", offering, offering.provider, by=by, at=at, key=component.key)
    component.delete()


def _save(component: Component, offering: Offering, at: datetime, *, new_category: bool) -> None:
    check(component)
    errors = _problems(component)
    if errors:
        raise InvalidInput.of(errors)
    if new_category and component.category_id is not None:
        # The lock keeps the category's unit still until this component stands.
        category = (
            ProductCategory.objects.select_for_update()
            .filter(pk=component.category_id, provider_id=offering.provider_id)
            .first()
        )
        if category is None:
            raise CategoryNotFound
        if category.archived_at is not None:
            raise CategoryArchived(category=category.title)
        if offering.activated_at is not None:
            seal_category(category_id=category.pk, at=at)
    with names_once({"component_key_once_per_offering": ("key", component.key)}):
        component.save()
    keep_complete(offering)


def _problems(component: Component) -> dict[str, str]:
    errors: dict[str, str] = {}
    for field in ("ticks_per_unit", "ticks_per_measured"):
        if getattr(component, field) < 1:
            errors[field] = _("It must be at least 1.")
    low, high, usual = component.limit_min, component.limit_max, component.limit_default
    for field in ("limit_min", "limit_max", "limit_default"):
        value = getattr(component, field)
        if value is not None and value < 0:
            errors[field] = _("It may not be negative.")
    if not errors and low is not None and high is not None and low > high:
        errors["limit_max"] = _("It is below the smallest limit.")
    if not errors and usual is not None and ((low is not None and usual < low) or (high is not None and usual > high)):
        errors["limit_default"] = _("It is not within the smallest and the greatest limit.")
    return errors
