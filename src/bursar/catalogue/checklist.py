"""What an offering needs before it may stand on the shelf."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import prefetch_related_objects
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bursar.catalogue import registry
from bursar.catalogue.errors import (
    AgentNotDeclared,
    InvalidOrderForm,
    InvalidSettings,
    PluginBroken,
    PluginNotFound,
    SecretsUnreadable,
)
from bursar.catalogue.models import Component, Offering, Plan, PlanComponent
from bursar.catalogue.order_form import validate_schema
from bursar.catalogue.tiers import is_priced, steps_of


class Requirement(StrEnum):
    PROVIDER = "provider"
    BASICS = "basics"
    SHELF = "shelf"
    BACKEND = "backend"
    BACKEND_WORKS = "backend_works"
    COMPONENTS = "components"
    CATEGORIES = "categories"
    USE_COUNTED = "use_counted"
    PLANS = "plans"
    PRICES = "prices"
    ORDER_FORM = "order_form"
    VISIBILITY = "visibility"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist. `advice` says what to do; `lasting` is false for what may fail again later by
    itself; what is not `needed` is a warning, and keeps nothing off the shelf.
    """

    requirement: Requirement
    title: str | Promise
    ok: bool
    advice: str | Promise = ""
    lasting: bool = True
    needed: bool = True

    @property
    def missing(self) -> bool:
        return self.needed and not self.ok


def publication_checklist(offering: Offering) -> Sequence[Item]:
    """Every requirement of an offering, in the order in which one fills them in, with how it stands and what to do.

    Reads: the offering's provider, shelf and backend, its components with their categories, its open plans with all
    prices they ever had or will have, whom it is for.
    """
    plans = [plan for plan in offering.plans.all() if plan.archived_at is None]
    prefetch_related_objects(plans, "prices")
    prices = [price for plan in plans for price in plan.prices.all()]
    return [
        _provider(offering),
        _basics(offering),
        _shelf(offering),
        _backend(offering),
        _backend_works(offering),
        _components(offering),
        _categories(offering),
        _use_counted(offering, prices),
        _plans(offering),
        _prices(offering, plans, prices),
        _order_form(offering),
        _visibility(offering),
    ]


def _provider(offering: Offering) -> Item:
    return Item(
        Requirement.PROVIDER,
        _("The provider is authorized"),
        offering.provider.revoked_at is None,
        _("Ask the platform's operator to authorize the organization again."),
    )


def _basics(offering: Offering) -> Item:
    absent = [
        str(title)
        for title, value in (
            (_("a name"), offering.name),
            (_("a summary"), offering.summary),
            (_("a description"), offering.description),
        )
        if not value.strip()
    ]
    return Item(
        Requirement.BASICS,
        _("Name, summary and description are written"),
        not absent,
        _("Write %(absent)s.") % {"absent": ", ".join(absent)},
    )


def _shelf(offering: Offering) -> Item:
    return Item(
        Requirement.SHELF,
        _("It stands on a shelf"),
        offering.shelf_id is not None,
        _("Choose the shelf people look on."),
    )


def _backend(offering: Offering) -> Item:
    title = _("A backend makes it real")
    if offering.backend is None:
        return Item(Requirement.BACKEND, title, False, _("Connect a backend under “Backends” and choose it here."))
    return Item(
        Requirement.BACKEND,
        title,
        offering.backend.enabled,
        _("The backend is switched off: switch it on, or choose another."),
        lasting=False,  # a provider must be able to switch off a backend that does harm
    )


def _backend_works(offering: Offering) -> Item:
    title = _("The backend works")
    if offering.backend is None:
        return Item(Requirement.BACKEND_WORKS, title, False, _("Choose a backend first."), lasting=False)
    try:
        registry.require_working(offering.backend)
    except (AgentNotDeclared, PluginNotFound, PluginBroken, InvalidSettings, SecretsUnreadable) as refusal:
        return Item(Requirement.BACKEND_WORKS, title, False, str(refusal), lasting=False)
    advice = {
        "unknown": _("It was never tested: press “Test” on the backend's page."),
        "broken": _("Its last test failed: see the findings on the backend's page."),
    }.get(offering.backend.health)
    return Item(Requirement.BACKEND_WORKS, title, advice is None, advice or "", lasting=False)


def _components(offering: Offering) -> Item:
    return Item(
        Requirement.COMPONENTS,
        _("It says what is measured or limited"),
        bool(offering.components.all()),
        _("Add at least one component."),
    )


def _categories(offering: Offering) -> Item:
    archived = sorted(
        {
            c.category.title
            for c in offering.components.all()
            if c.category is not None and c.category.archived_at is not None
        }
    )
    return Item(
        Requirement.CATEGORIES,
        _("What its components draw on is in use"),
        not archived,
        _("Archived: %(names)s. Take these categories back into use, or draw on others.")
        % {"names": ", ".join(archived)},
    )


def _plans(offering: Offering) -> Item:
    return Item(
        Requirement.PLANS,
        _("There is a plan to order"),
        any(plan.archived_at is None for plan in offering.plans.all()),
        _("Add a plan; one without prices is free."),
    )


def _use_counted(offering: Offering, prices: Sequence[PlanComponent]) -> Item:
    priced = {price.component_id for price in prices if is_priced(price.price, steps_of(price))}
    uncounted = [
        component.title
        for component in offering.components.all()
        if component.billing == Component.Billing.USAGE and component.category_id is None and component.pk in priced
    ]
    return Item(
        Requirement.USE_COUNTED,
        _("What is billed by use is counted"),
        not uncounted,
        _("Let it draw on a product category, which may be one that needs no allocation: %(names)s.")
        % {"names": ", ".join(uncounted)},
    )


def _prices(offering: Offering, plans: Sequence[Plan], prices: Sequence[PlanComponent]) -> Item:
    """A plan that says nothing of what another plan has a price for: it is free there, which may be meant."""
    said = {(price.plan_id, price.component_id) for price in prices}
    priced = {price.component_id for price in prices if is_priced(price.price, steps_of(price))}
    components = [component for component in offering.components.all() if component.pk in priced]
    unsaid = [
        f"{plan.name}: {component.title}"
        for plan in plans
        for component in components
        if (plan.pk, component.pk) not in said
    ]
    return Item(
        Requirement.PRICES,
        _("Each plan says what costs something elsewhere"),
        not unsaid,
        _("Free there, for want of a price: %(names)s. If that is meant, set the price 0.")
        % {"names": ", ".join(unsaid)},
        needed=False,
    )


def _order_form(offering: Offering) -> Item:
    title = _("The order form can be filled in")
    try:
        validate_schema(offering.order_form)
    except InvalidOrderForm as refusal:
        return Item(Requirement.ORDER_FORM, title, False, refusal.problems)
    return Item(Requirement.ORDER_FORM, title, True)


def _visibility(offering: Offering) -> Item:
    title = _("It is said who may see it")
    match offering.visibility:
        case Offering.Visibility.ORGANIZATIONS:
            chosen = bool(offering.visible_organizations.all())
            return Item(Requirement.VISIBILITY, title, chosen, _("Choose at least one organization."))
        case Offering.Visibility.PROJECTS:
            chosen = bool(offering.visible_projects.all())
            return Item(Requirement.VISIBILITY, title, chosen, _("Choose at least one project."))
        case _:
            return Item(
                Requirement.VISIBILITY,
                title,
                offering.visibility == Offering.Visibility.EVERYONE,
                _("Choose everyone, organizations or projects."),
            )
