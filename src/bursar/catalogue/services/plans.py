"""Plans and their prices."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction
from django.utils.translation import gettext as _

from bursar.catalogue.errors import ComponentNotFound, InvalidInput, PlanKept, PriceInThePast, UseNeedsCategory
from bursar.catalogue.models import Component, Offering, Plan, PlanComponent
from bursar.catalogue.services._common import check, lock_offering, names_once, require_for_provider, set_fields, tell
from bursar.catalogue.services.announced import tell_of_prices_to_come
from bursar.catalogue.services.offerings import keep_complete
from bursar.catalogue.tiers import Step, is_priced, kept, problems
from bursar.structure.models import Organization, Person
from bursar.structure.roles import Permission


@transaction.atomic
def add_plan(
    *,
    offering: Offering,
    name: str,
    by: Person | None,
    at: datetime,
    unit: str = Plan.Unit.MONTH,
    description: str = "",
    organizations: Collection[Organization] = (),
    resources_max: int | None = None,
    position: int | None = None,
) -> Plan:
    """One more plan; without prices it is free. organizations: who may take it, nobody named = everyone.

    raises   NotAllowed; ProviderNotAuthorized; InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, offering.provider, at)
    offering = lock_offering(offering)
    plan = Plan(
        offering=offering,
        name=name,
        description=description,
        unit=unit,
        resources_max=resources_max,
        position=offering.plans.count() if position is None else position,
    )
    _save(plan)
    plan.organizations.set(organizations)
    tell("offering.plan_added", offering, offering.provider, by=by, at=at, plan=plan.pk, name=plan.name)
    return plan


@transaction.atomic
def edit_plan(
    *,
    plan: Plan,
    by: Person | None,
    at: datetime,
    organizations: Collection[Organization] | None = None,
    **changes: Any,
) -> Plan:
    """Change name, description, resources_max, position, who may take it, or (until the offering was on the shelf) the
    unit.

    raises   NotAllowed; ProviderNotAuthorized; PlanKept; InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_OFFERINGS, plan.offering.provider, at)
    offering = lock_offering(plan.offering)
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    changed = set_fields(plan, changes)
    if "unit" in changed and offering.activated_at is not None:
        raise PlanKept(plan=plan.name)
    _save(plan)
    if organizations is not None and {o.pk for o in organizations} != set(
        plan.organizations.values_list("pk", flat=True)
    ):
        plan.organizations.set(organizations)
        changed.append("organizations")
    if changed:
        tell("offering.plan_edited", offering, offering.provider, by=by, at=at, plan=plan.pk, fields=changed)
    return plan


@transaction.atomic
def archive_plan(*, plan: Plan, by: Person | None, at: datetime) -> Plan:
    """Nobody takes it from now on; who has it keeps it. Twice is once.

    raises   NotAllowed; ProviderNotAuthorized; OfferingIncomplete for the last plan of an offering on the shelf
    """
    return _set_archived(plan, at, by=by, at=at)


@transaction.atomic
def unarchive_plan(*, plan: Plan, by: Person | None, at: datetime) -> Plan:
    """raises   NotAllowed; ProviderNotAuthorized"""
    return _set_archived(plan, None, by=by, at=at)


def _set_archived(plan: Plan, archived_at: datetime | None, *, by: Person | None, at: datetime) -> Plan:
    require_for_provider(by, Permission.MANAGE_OFFERINGS, plan.offering.provider, at)
    offering = lock_offering(plan.offering)
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    if (plan.archived_at is None) == (archived_at is None):
        return plan
    plan.archived_at = archived_at
    plan.save(update_fields=["archived_at"])
    keep_complete(offering)
    kind = "offering.plan_unarchived" if archived_at is None else "offering.plan_archived"
    tell(kind, offering, offering.provider, by=by, at=at, plan=plan.pk)
    return plan


@transaction.atomic
def remove_plan(*, plan: Plan, by: Person | None, at: datetime) -> None:
    """raises   NotAllowed; ProviderNotAuthorized; PlanKept once the offering was on the shelf"""
    require_for_provider(by, Permission.MANAGE_OFFERINGS, plan.offering.provider, at)
    offering = lock_offering(plan.offering)
    if offering.activated_at is not None:
        raise PlanKept(plan=plan.name)
    tell("offering.plan_removed", offering, offering.provider, by=by, at=at, plan=plan.pk, name=plan.name)
    plan.delete()


class Price(NamedTuple):
    """What one unit of a component costs in a plan, and how many units the plan includes.

    price       in the provider's currency, >= 0, at most ten decimals
    tier_kind   "" | graduated | volume: what is billed by use may be sold in steps of a month's use
    tiers       (from quantity, price) beyond the first step, whose price is `price`; quantities rise
    """

    component: Component
    price: Decimal
    amount: int = 0
    tier_kind: str = ""
    tiers: Sequence[tuple[Decimal, Decimal]] = ()


@transaction.atomic
def set_price(
    *,
    plan: Plan,
    component: Component,
    price: Decimal,
    by: Person | None,
    at: datetime,
    amount: int = 0,
    tier_kind: str = "",
    tiers: Sequence[tuple[Decimal, Decimal]] = (),
    valid_from: datetime | None = None,
) -> PlanComponent:
    """What one unit of a component costs in a plan from an instant on, and how many units the plan includes.

    A row is added; of several with one start the last counts. Nothing is added when it already is so. Whoever has the
    plan is told of one that starts later.

    price, tier_kind, tiers   as in `Price`
    valid_from                None = `at`; for an offering that was ever on the shelf not before `at`
    raises                    NotAllowed; ProviderNotAuthorized; ComponentNotFound; PriceInThePast; InvalidInput;
                              UseNeedsCategory
    """
    wanted = Price(component, price, amount, tier_kind, tiers)
    return set_prices(plan=plan, prices=[wanted], by=by, at=at, valid_from=valid_from)[0]


@transaction.atomic
def set_prices(
    *,
    plan: Plan,
    prices: Iterable[Price | tuple[Component, Decimal, int]],
    by: Person | None,
    at: datetime,
    valid_from: datetime | None = None,
) -> list[PlanComponent]:
    """Several prices of one plan at once, each as in `set_price`: all or none."""
    require_for_provider(by, Permission.MANAGE_OFFERINGS, plan.offering.provider, at)
    offering = lock_offering(plan.offering)
    start = at if valid_from is None else valid_from
    if offering.activated_at is not None and start < at:
        raise PriceInThePast(valid_from=start.isoformat(timespec="minutes"))
    rows, added = [], []
    for wanted in prices:
        row, is_new = _set_price(offering, plan, Price(*wanted), start, by=by, at=at)
        rows.append(row)
        if is_new:
            added.append(row)
    if added and start > at and offering.activated_at is not None:
        tell_of_prices_to_come(price_ids=[row.pk for row in added])
    return rows


def _set_price(
    offering: Offering, plan: Plan, wanted: Price, valid_from: datetime, *, by: Person | None, at: datetime
) -> tuple[PlanComponent, bool]:
    """The row that says so, and whether it was added."""
    component = wanted.component
    if component.offering_id != offering.pk:
        raise ComponentNotFound
    steps = [Step(*step) for step in wanted.tiers]
    new = PlanComponent(
        plan=plan,
        component=component,
        price=wanted.price,
        amount=wanted.amount,
        tier_kind=wanted.tier_kind,
        valid_from=valid_from,
    )
    errors = problems(component, wanted.tier_kind, steps)
    if not errors:
        new.tiers = kept(steps)
        check(new)
        errors = {name: _("It may not be negative.") for name in ("price", "amount") if getattr(new, name) < 0}
    if errors:
        raise InvalidInput.of(errors)
    if (
        component.billing == Component.Billing.USAGE
        and component.category_id is None
        and is_priced(wanted.price, steps)
    ):
        raise UseNeedsCategory(component=component.title)
    in_force = (
        PlanComponent.objects.filter(plan=plan, component=component, valid_from__lte=valid_from)
        .order_by("-valid_from", "-id")
        .first()
    )
    if in_force is not None and _says(in_force) == _says(new):
        return in_force, False
    new.save()
    tell(
        "offering.price_set",
        offering,
        offering.provider,
        by=by,
        at=at,
        plan=plan.pk,
        component=component.key,
        price=str(new.price),
        amount=new.amount,
        valid_from=valid_from.isoformat(),
        **({"tier_kind": new.tier_kind, "tiers": new.tiers} if new.tier_kind else {}),
    )
    return new, True


def _says(row: PlanComponent) -> tuple[Decimal, int, str, list[list[str]]]:
    return row.price, row.amount, row.tier_kind, row.tiers


def _save(plan: Plan) -> None:
    check(plan)
    if plan.resources_max is not None and plan.resources_max < 1:
        raise InvalidInput.of({"resources_max": _("It must be at least 1, or empty for no limit.")})
    with names_once({"plan_name_once_per_offering": ("name", plan.name)}):
        plan.save()
