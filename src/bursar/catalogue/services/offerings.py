"""An offering from its draft to the shelf and back."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from bursar.catalogue import registry
from bursar.catalogue.checklist import publication_checklist
from bursar.catalogue.errors import (
    BackendNotFound,
    InvalidInput,
    OfferingIncomplete,
    OfferingKept,
    OfferingStepNotOpen,
)
from bursar.catalogue.lifecycle import OfferingAction, OfferingState, after
from bursar.catalogue.models import (
    Backend,
    Component,
    Offering,
    OfferingCategory,
    Plan,
    PlanComponent,
    ProductCategory,
    ServiceProvider,
)
from bursar.catalogue.order_form import validate_schema
from bursar.catalogue.selectors import prices_in_force
from bursar.catalogue.services._common import (
    check,
    lock_offering,
    names_once,
    require_for_provider,
    set_fields,
    tell,
)
from bursar.catalogue.services.categories import seal_category
from bursar.plugins.contract import ComponentSpec
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Permission
from bursar.structure.text import slug_of

TEXT_FIELDS: Final = ("name", "summary", "description", "terms_of_use", "access_instructions")


@transaction.atomic
def create_offering(
    *,
    provider: ServiceProvider,
    name: str,
    by: Person | None,
    at: datetime,
    slug: str = "",
    summary: str = "",
    description: str = "",
    shelf: OfferingCategory | None = None,
    backend: Backend | None = None,
) -> Offering:
    """A draft. With a backend it starts with the components and the order form that the backend's plugin proposes.

    raises   NotAllowed; ProviderNotAuthorized; InvalidInput; NameTaken; BackendNotFound (of another provider);
             PluginNotFound, PluginBroken, InvalidSettings, SecretsUnreadable
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, provider, at)
    offering = Offering(
        provider=provider,
        name=name,
        slug=slug or slug_of(name, otherwise="offering", limit=60),
        summary=summary,
        description=description,
        shelf=shelf,
        order_form=validate_schema({}),
    )
    check(offering)
    with names_once({"offering_slug_once_per_provider": ("slug", offering.slug)}):
        offering.save()
    tell("offering.created", offering, provider, by=by, at=at, name=offering.name)
    if backend is not None:
        _connect(offering, backend)
        tell("offering.connected", offering, provider, by=by, at=at, backend=backend.pk)
    return offering


@transaction.atomic
def edit_offering(*, offering: Offering, by: Person | None, at: datetime, **changes: Any) -> Offering:
    """Change name, summary, description, terms of use, access instructions, shelf, or (until it was on the shelf) slug.

    raises   NotAllowed; ProviderNotAuthorized; OfferingKept; InvalidInput; NameTaken; OfferingIncomplete
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    unknown = set(changes) - {*TEXT_FIELDS, "shelf", "slug"}
    if unknown:
        raise TypeError(f"not fields to edit: {unknown}")
    changed = set_fields(offering, changes)
    if "slug" in changed and offering.activated_at is not None:
        raise OfferingKept(fields=str(_("short name")))
    check(offering)
    if changed:
        keep_complete(offering)
        with names_once({"offering_slug_once_per_provider": ("slug", offering.slug)}):
            offering.save(update_fields=changed)
        tell("offering.edited", offering, offering.provider, by=by, at=at, fields=changed)
    return offering


@transaction.atomic
def connect_offering(
    *, offering: Offering, backend: Backend, by: Person | None, at: datetime, with_defaults: bool = True
) -> Offering:
    """Choose the backend that makes it real; until it was on the shelf. With `with_defaults` the components and the
    order form that the plugin proposes are put in where the offering has none of its own yet.

    raises   NotAllowed; ProviderNotAuthorized; OfferingKept; BackendNotFound (of another provider);
             PluginNotFound, PluginBroken, InvalidSettings, SecretsUnreadable
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    if offering.backend_id == backend.pk:
        return offering
    if offering.activated_at is not None:
        raise OfferingKept(fields=str(_("backend")))
    _connect(offering, backend, with_defaults=with_defaults)
    tell("offering.connected", offering, offering.provider, by=by, at=at, backend=backend.pk)
    return offering


def _connect(offering: Offering, backend: Backend, *, with_defaults: bool = True) -> None:
    # The lock waits for a removal of the backend that is under way.
    found = Backend.objects.select_for_update().filter(pk=backend.pk, provider_id=offering.provider_id).first()
    if found is None:
        raise BackendNotFound
    offering.backend = found
    offering.save(update_fields=["backend"])
    if not with_defaults:
        return
    defaults = registry.defaults_of(found)
    if not offering.components.exists():
        categories = list(ProductCategory.objects.filter(provider_id=offering.provider_id, archived_at=None))
        for position, spec in enumerate(defaults.components):
            component = component_of(offering, spec, categories, position)
            check(component)
            component.save()
    if not offering.order_form.get("properties"):
        offering.order_form = validate_schema(dict(defaults.order_form))
        offering.save(update_fields=["order_form"])


def component_of(
    offering: Offering, spec: ComponentSpec, categories: Collection[ProductCategory], position: int
) -> Component:
    """The component a plugin proposes, drawing on the provider's category of the same type and unit where there is
    exactly one.
    """
    same = [
        c
        for c in categories
        if c.product_type == spec.product_type
        and c.unit_name.casefold() == spec.unit.casefold()
        and c.ticks_per_unit % spec.measured_per_unit == 0
    ]
    category = same[0] if len(same) == 1 else None
    return Component(
        offering=offering,
        key=spec.key,
        title=spec.title,
        unit_name=spec.unit,
        billing=spec.billing.value,
        limit_min=spec.limit_min,
        limit_max=spec.limit_max,
        limit_default=spec.limit_default,
        measured_unit=spec.measured_unit,
        category=category,
        ticks_per_unit=category.ticks_per_unit if category else spec.measured_per_unit,
        ticks_per_measured=category.ticks_per_unit // spec.measured_per_unit if category else 1,
        position=position,
    )


@transaction.atomic
def set_order_form(*, offering: Offering, schema: Any, by: Person | None, at: datetime) -> Offering:
    """raises   NotAllowed; ProviderNotAuthorized; InvalidOrderForm"""
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    checked = validate_schema(schema)
    if checked != offering.order_form:
        offering.order_form = checked
        offering.save(update_fields=["order_form"])
        tell("offering.form_set", offering, offering.provider, by=by, at=at, fields=checked["x-order"])
    return offering


@transaction.atomic
def set_visibility(
    *,
    offering: Offering,
    visibility: str,
    by: Person | None,
    at: datetime,
    organizations: Collection[Organization] = (),
    projects: Collection[Project] = (),
) -> Offering:
    """Who may see and order it: everyone, chosen organizations with all their projects, or chosen projects with those
    below.

    Only the list of the chosen kind is kept.
    raises   NotAllowed; ProviderNotAuthorized; InvalidInput; OfferingIncomplete
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    if visibility not in Offering.Visibility.values:
        raise InvalidInput.of({"visibility": _("Choose everyone, organizations or projects.")})
    offering.visibility = visibility
    offering.visible_organizations.set(organizations if visibility == Offering.Visibility.ORGANIZATIONS else ())
    offering.visible_projects.set(projects if visibility == Offering.Visibility.PROJECTS else ())
    keep_complete(offering)
    offering.save(update_fields=["visibility"])
    tell(
        "offering.visibility_set",
        offering,
        offering.provider,
        by=by,
        at=at,
        visibility=visibility,
        organizations=sorted(o.pk for o in organizations),
        projects=sorted(p.pk for p in projects),
    )
    return offering


@transaction.atomic
def activate_offering(*, offering: Offering, by: Person | None, at: datetime) -> Offering:
    """Put it on the shelf. From the first time on, what it counts and where it runs is kept.

    raises   NotAllowed; ProviderNotAuthorized; OfferingStepNotOpen; OfferingIncomplete naming what is missing
    """
    offering = _step(offering, OfferingAction.ACTIVATE, by, at)
    offering.paused_reason = ""
    missing = [item for item in publication_checklist(offering) if item.missing]
    if missing:
        raise OfferingIncomplete(
            requirements="; ".join(str(item.title) for item in missing),
            missing=tuple(item.requirement.value for item in missing),
        )
    if offering.activated_at is None:
        offering.activated_at = at
        for category_id in sorted({c.category_id for c in offering.components.all() if c.category_id is not None}):
            seal_category(category_id=category_id, at=at)
    offering.save(update_fields=["state", "paused_reason", "activated_at"])
    tell("offering.activated", offering, offering.provider, by=by, at=at)
    return offering


@transaction.atomic
def pause_offering(*, offering: Offering, by: Person | None, at: datetime, reason: str = "") -> Offering:
    """It stays on the shelf and takes no new orders; the reason is shown.

    raises   NotAllowed; ProviderNotAuthorized; OfferingStepNotOpen
    """
    offering = _step(offering, OfferingAction.PAUSE, by, at)
    offering.paused_reason = reason
    check(offering)
    offering.save(update_fields=["state", "paused_reason"])
    tell("offering.paused", offering, offering.provider, by=by, at=at, reason=reason)
    return offering


@transaction.atomic
def archive_offering(*, offering: Offering, by: Person | None, at: datetime) -> Offering:
    """It leaves the shelf; what was sold goes on.

    raises   NotAllowed; ProviderNotAuthorized; OfferingStepNotOpen
    """
    offering = _step(offering, OfferingAction.ARCHIVE, by, at)
    offering.save(update_fields=["state"])
    tell("offering.archived", offering, offering.provider, by=by, at=at)
    return offering


@transaction.atomic
def reopen_offering(*, offering: Offering, by: Person | None, at: datetime) -> Offering:
    """From the archive back, paused.

    raises   NotAllowed; ProviderNotAuthorized; OfferingStepNotOpen
    """
    offering = _step(offering, OfferingAction.REOPEN, by, at)
    offering.save(update_fields=["state"])
    tell("offering.reopened", offering, offering.provider, by=by, at=at)
    return offering


@transaction.atomic
def delete_draft(*, offering: Offering, by: Person | None, at: datetime) -> None:
    """Remove an offering that never stood on the shelf, with its components and plans.

    raises   NotAllowed; ProviderNotAuthorized; OfferingKept
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    if offering.activated_at is not None:
        raise OfferingKept(fields=str(_("record")))
    tell("offering.deleted", offering, offering.provider, by=by, at=at, name=offering.name)
    offering.delete()


@transaction.atomic
def copy_offering(*, offering: Offering, name: str, by: Person | None, at: datetime) -> Offering:
    """A new draft with everything of this one: texts, backend, components, open plans with the prices in force, form,
    visibility.

    raises   NotAllowed; ProviderNotAuthorized; InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    copy = Offering(
        provider=offering.provider,
        shelf=offering.shelf,
        name=name,
        slug=_free_slug(offering.provider, slug_of(name, otherwise="offering", limit=60)),
        backend=offering.backend,
        order_form=offering.order_form,
        visibility=offering.visibility,
        **{field: getattr(offering, field) for field in TEXT_FIELDS if field != "name"},
    )
    check(copy)
    with names_once({"offering_slug_once_per_provider": ("slug", copy.slug)}):
        copy.save()
    copy.visible_organizations.set(offering.visible_organizations.all())
    copy.visible_projects.set(offering.visible_projects.all())
    components: dict[int, Component] = {}
    for component in offering.components.all():
        original = component.pk
        component.pk, component.offering = None, copy
        component._state.adding = True
        component.save()
        components[original] = component
    plans = list(offering.plans.filter(archived_at=None).prefetch_related("organizations"))
    prices = prices_in_force([plan.pk for plan in plans], at)
    for plan in plans:
        original, organizations = plan.pk, list(plan.organizations.all())
        new = Plan.objects.create(
            offering=copy,
            name=plan.name,
            description=plan.description,
            unit=plan.unit,
            resources_max=plan.resources_max,
            position=plan.position,
        )
        new.organizations.set(organizations)
        PlanComponent.objects.bulk_create(
            PlanComponent(
                plan=new,
                component=components[c],
                amount=p.amount,
                price=p.price,
                tier_kind=p.tier_kind,
                tiers=p.tiers,
                valid_from=at,
            )
            for (plan_id, c), p in prices.items()
            if plan_id == original
        )
    tell("offering.created", copy, copy.provider, by=by, at=at, name=copy.name, copied_from=offering.pk)
    return copy


def _free_slug(provider: ServiceProvider, wanted: str) -> str:
    taken = set(Offering.objects.filter(provider=provider).values_list("slug", flat=True))
    number, slug = 2, wanted
    while slug in taken:
        slug = f"{re.sub(r'-[0-9]+$', '', wanted)[:55]}-{number}"
        number += 1
    return slug


def keep_complete(offering: Offering) -> None:
    """An offering on the shelf stays complete whatever is edited; a backend that stops working by itself is not an
    edit.

    raises   OfferingIncomplete
    """
    if offering.state != OfferingState.ACTIVE:
        return
    missing = [item for item in publication_checklist(offering) if item.lasting and item.missing]
    if missing:
        raise OfferingIncomplete(
            requirements="; ".join(str(item.title) for item in missing),
            missing=tuple(item.requirement.value for item in missing),
        )


def _step(offering: Offering, action: OfferingAction, by: Person | None, at: datetime) -> Offering:
    """The locked offering in the state that follows; the caller saves it.

    raises   NotAllowed; ProviderNotAuthorized; OfferingStepNotOpen
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    state = after(OfferingState(offering.state), action)
    if state is None:
        raise OfferingStepNotOpen(state=offering.state, action=action.value)
    offering.state = state
    return offering
