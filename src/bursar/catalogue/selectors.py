"""Questions to the catalogue, each for a given viewer or workspace."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from bursar.catalogue import registry
from bursar.catalogue.checklist import Item, publication_checklist
from bursar.catalogue.errors import (
    BackendNotFound,
    CategoryNotFound,
    ComponentNotFound,
    OfferingNotFound,
    OfferingNotOpen,
    PlanNotFound,
    ProductNotFound,
    ProviderNotFound,
    SecretsUnreadable,
    ShelfNotFound,
)
from bursar.catalogue.lifecycle import OfferingState
from bursar.catalogue.models import (
    Backend,
    Component,
    Offering,
    OfferingCategory,
    Plan,
    PlanComponent,
    Product,
    ProductCategory,
    ServiceProvider,
)
from bursar.catalogue.tiers import is_priced, steps_of
from bursar.structure import prepared
from bursar.structure.models import Membership, Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, on_platform, organizations_where, projects_where

__all__ = ["publication_checklist"]

ON_SHELF = (OfferingState.ACTIVE, OfferingState.PAUSED)


# ------------------------------------------------------------------------------------------------ the shop
def offerings_visible_to(viewer: Person, at: datetime) -> QuerySet[Offering]:
    """What stands on the shelf for the person.

    For chosen organizations: whoever holds a role there or in one of its projects. For chosen projects: whoever may
    see the project or one below it. The provider's own people and those who read the whole platform see all of it.
    """
    on_shelf = Offering.objects.filter(state__in=ON_SHELF, provider__revoked_at=None)
    if on_platform(viewer, Permission.READ_PLATFORM, at):
        return on_shelf
    held = Membership.objects.filter(person=viewer).held_at(at)
    organizations = Organization.objects.filter(
        Q(pk__in=held.filter(organization__isnull=False).values("organization_id"))
        | Q(pk__in=held.filter(project__isnull=False).values("project__organization_id"))
    )
    seen = list(projects_where(viewer, Permission.VIEW_PROJECT, at).values_list("path", "pk"))
    projects = {pk for path, own in seen for pk in (*path, own)}
    return on_shelf.filter(
        Q(visibility=Offering.Visibility.EVERYONE)
        | Q(
            Exists(
                Offering.visible_organizations.through.objects.filter(
                    offering_id=OuterRef("pk"), organization_id__in=organizations.values("pk")
                )
            ),
            visibility=Offering.Visibility.ORGANIZATIONS,
        )
        | Q(
            Exists(
                Offering.visible_projects.through.objects.filter(offering_id=OuterRef("pk"), project_id__in=projects)
            ),
            visibility=Offering.Visibility.PROJECTS,
        )
        | Q(provider__organization__in=organizations_where(viewer, Permission.VIEW_PROVIDER, at).values("pk"))
    )


def offerings_open_to(workspace: Workspace) -> QuerySet[Offering]:
    """What a workspace may order from (paused offerings too: the refusal says they are paused).

    A project has what is for its organization, for itself, or for a project above it; an organization's own workspace
    what is for the organization; a personal workspace only what is for everyone.
    """
    on_shelf = Offering.objects.filter(state__in=ON_SHELF, provider__revoked_at=None)
    allowed = Q(visibility=Offering.Visibility.EVERYONE)
    project = workspace.project
    organization_id = project.organization_id if project is not None else workspace.organization_id
    if organization_id is not None:
        allowed |= Q(
            Exists(
                Offering.visible_organizations.through.objects.filter(
                    offering_id=OuterRef("pk"), organization_id=organization_id
                )
            ),
            visibility=Offering.Visibility.ORGANIZATIONS,
        )
    if project is not None:
        allowed |= Q(
            Exists(
                Offering.visible_projects.through.objects.filter(
                    offering_id=OuterRef("pk"), project_id__in=[*project.path, project.pk]
                )
            ),
            visibility=Offering.Visibility.PROJECTS,
        )
    return on_shelf.filter(allowed)


def offering_for_viewer(viewer: Person, offering_id: int, at: datetime) -> Offering:
    """raises   OfferingNotFound"""
    offering = _with_what_it_shows(offerings_visible_to(viewer, at)).filter(pk=offering_id).first()
    if offering is None:
        raise OfferingNotFound
    return offering


def offering_for_workspace(workspace: Workspace, offering_id: int) -> Offering:
    """The offering with provider, backend, components and plans, for an order of this workspace.

    raises   OfferingNotFound
    """
    offering = _with_what_it_shows(offerings_open_to(workspace)).filter(pk=offering_id).first()
    if offering is None:
        raise OfferingNotFound
    return offering


def why_closed(offering: Offering) -> str:
    """Why nothing new can be ordered now, in words; "" when it can."""
    if offering.state != OfferingState.ACTIVE:
        return offering.paused_reason or _("The provider has paused it.")
    if offering.backend is not None and not offering.backend.enabled:
        return _("Its backend is switched off.")
    return ""


def require_open(offering: Offering) -> None:
    """raises   OfferingNotOpen"""
    reason = why_closed(offering)
    if reason:
        raise OfferingNotOpen(offering=offering.name, reason=reason)


def plans_open_to(offering: Offering, workspace: Workspace) -> QuerySet[Plan]:
    """The plans a workspace may take; a personal workspace those that are for everyone."""
    project = workspace.project
    organization_id = project.organization_id if project is not None else workspace.organization_id
    through = Plan.organizations.through.objects.filter(plan_id=OuterRef("pk"))
    return offering.plans.filter(archived_at=None).filter(
        Q(~Exists(through)) | Q(Exists(through.filter(organization_id=organization_id or 0)))
    )


def plan_for_workspace(offering: Offering, workspace: Workspace, plan_id: int) -> Plan:
    """raises   PlanNotFound"""
    plan = plans_open_to(offering, workspace).filter(pk=plan_id).first()
    if plan is None:
        raise PlanNotFound
    return plan


def prices_in_force(plan_ids: Collection[int], at: datetime) -> dict[tuple[int, int], PlanComponent]:
    """(plan, component) -> the price in force at the instant; nothing there = free. One query."""
    rows = (
        PlanComponent.objects.filter(plan_id__in=plan_ids, valid_from__lte=at)
        .order_by("plan_id", "component_id", "-valid_from", "-id")
        .distinct("plan_id", "component_id")
    )
    return {(row.plan_id, row.component_id): row for row in rows}


def price_versions(plan_ids: Collection[int]) -> QuerySet[PlanComponent]:
    """All prices that plans ever had or will have, in the order in which they were written."""
    return PlanComponent.objects.filter(plan_id__in=plan_ids).order_by("pk")


def prices_to_come(plan_ids: Collection[int], at: datetime) -> list[PlanComponent]:
    """Prices that start after the instant, the soonest first; of several with one start the last written."""
    rows = (
        PlanComponent.objects.filter(plan_id__in=plan_ids, valid_from__gt=at)
        .select_related("plan__offering__provider__organization", "component")
        .order_by("plan_id", "component_id", "valid_from", "-id")
        .distinct("plan_id", "component_id", "valid_from")
    )
    return sorted(rows, key=lambda row: (row.valid_from, row.plan_id, row.component_id))


@dataclass(frozen=True, slots=True)
class ListedPlan:
    """A plan of the price list with the prices in force of what costs something; none = it is free."""

    offering: Offering
    plan: Plan
    rows: tuple[tuple[Component, PlanComponent], ...]


def offerings_on_price_list(viewer: Person | None, at: datetime, text: str = "") -> QuerySet[Offering]:
    """What stands on the shelf for the viewer, or for everybody where nobody is logged in, by provider and name.

    text   all its words are in names of the provider, the offering, or one of its plans or components
    """
    if viewer is None:
        found = Offering.objects.filter(
            state__in=ON_SHELF, provider__revoked_at=None, visibility=Offering.Visibility.EVERYONE
        )
    else:
        found = offerings_visible_to(viewer, at)
    for word in text.replace("\x00", " ").split()[:20]:
        plans = Plan.objects.filter(offering=OuterRef("pk"), archived_at=None, name__icontains=word)
        components = Component.objects.filter(offering=OuterRef("pk"), title__icontains=word)
        found = found.filter(
            Q(name__icontains=word)
            | Q(provider__organization__name__icontains=word)
            | Q(Exists(plans))
            | Q(Exists(components))
        )
    return found.select_related("provider__organization").order_by("provider__organization__name", "name", "pk")


def price_list(offerings: Iterable[Offering], at: datetime) -> list[ListedPlan]:
    """The plans that can be ordered of each of the offerings, in their order, with the prices in force. Three queries."""
    by_id = {offering.pk: offering for offering in offerings}
    plans: dict[int, list[Plan]] = {}
    for plan in Plan.objects.filter(offering_id__in=by_id, archived_at=None).order_by("position", "pk"):
        plans.setdefault(plan.offering_id, []).append(plan)
    components: dict[int, list[Component]] = {}
    for component in Component.objects.filter(offering_id__in=by_id).order_by("position", "pk"):
        components.setdefault(component.offering_id, []).append(component)
    prices = prices_in_force([plan.pk for its in plans.values() for plan in its], at)
    return [
        ListedPlan(offering, plan, tuple(priced_rows(plan, components.get(pk, ()), prices)))
        for pk, offering in by_id.items()
        for plan in plans.get(pk, ())
    ]


def priced_rows(
    plan: Plan, components: Iterable[Component], prices: Mapping[tuple[int, int], PlanComponent]
) -> list[tuple[Component, PlanComponent]]:
    """The components of a plan that cost something, each with its price."""
    rows = [(c, prices[plan.pk, c.pk]) for c in components if (plan.pk, c.pk) in prices]
    return [(component, row) for component, row in rows if is_priced(row.price, steps_of(row))]


def _with_what_it_shows(offerings: QuerySet[Offering]) -> QuerySet[Offering]:
    return offerings.select_related("provider__organization", "shelf", "backend").prefetch_related(
        Prefetch("components", Component.objects.select_related("category")),
        Prefetch("plans", Plan.objects.prefetch_related("organizations")),
    )


def search_offerings(offerings: QuerySet[Offering], text: str) -> QuerySet[Offering]:
    """Those that hold all the words, best first; a part of a word counts in names, summaries and the provider's
    name.
    """
    text = " ".join(text.replace("\x00", " ").split())[:200]
    if not text:
        return offerings
    vector = (
        SearchVector("name", weight="A", config="simple")
        + SearchVector("summary", weight="B", config="simple")
        + SearchVector("provider__organization__name", weight="B", config="simple")
        + SearchVector(Coalesce("shelf__title", Value("")), weight="C", config="simple")
        + SearchVector("description", weight="D", config="simple")
    )
    query = SearchQuery(text, search_type="websearch", config="simple")
    parts = Q()
    for word in text.split():
        parts &= Q(name__icontains=word) | Q(summary__icontains=word) | Q(provider__organization__name__icontains=word)
    return (
        offerings.annotate(found=vector, rank=SearchRank(vector, query))
        .filter(Q(found=query) | parts)
        .order_by("-rank", "name", "pk")
    )


def offerings_of_type(offerings: QuerySet[Offering], product_type: str) -> QuerySet[Offering]:
    """Those with a component that draws on a category of this product type."""
    return offerings.filter(
        Exists(Component.objects.filter(offering_id=OuterRef("pk"), category__product_type=product_type))
    )


@dataclass(frozen=True, slots=True)
class ShelfRow:
    """A shelf in the tree. count: offerings on it and below it. depth: 0 at the top."""

    shelf: OfferingCategory
    depth: int
    count: int
    has_children: bool


def shelf_tree(offerings: QuerySet[Offering] | None = None) -> list[ShelfRow]:
    """All shelves, each followed by those below it, with the number of these offerings in each subtree. Two queries at
    most.
    """
    shelves = list(OfferingCategory.objects.all())
    own: dict[int | None, int] = {}
    if offerings is not None:
        own = dict(offerings.order_by().values_list("shelf_id").annotate(Count("pk", distinct=True)))
    children: dict[int | None, list[OfferingCategory]] = {}
    for shelf in shelves:
        children.setdefault(shelf.parent_id, []).append(shelf)

    def below(parent: int | None, depth: int) -> list[ShelfRow]:
        rows: list[ShelfRow] = []
        for shelf in children.get(parent, []):
            under = below(shelf.pk, depth + 1)
            count = own.get(shelf.pk, 0) + sum(row.count for row in under if row.depth == depth + 1)
            rows += [ShelfRow(shelf, depth, count, bool(under)), *under]
        return rows

    return below(None, 0)


def shelves_below(shelf: OfferingCategory, rows: Sequence[ShelfRow]) -> set[int]:
    """The ids of the shelf and all below it. rows: of `shelf_tree`."""
    inside: set[int] = {shelf.pk}
    for row in rows:
        if row.shelf.parent_id in inside:
            inside.add(row.shelf.pk)
    return inside


def shelf_by_id(shelf_id: int) -> OfferingCategory:
    """raises   ShelfNotFound"""
    shelf = OfferingCategory.objects.filter(pk=shelf_id).first()
    if shelf is None:
        raise ShelfNotFound
    return shelf


def providers_of(offerings: QuerySet[Offering]) -> QuerySet[ServiceProvider]:
    """Who sells these, by name."""
    return (
        ServiceProvider.objects.filter(pk__in=offerings.order_by().values("provider_id"))
        .select_related("organization")
        .order_by("organization__name", "pk")
    )


@dataclass(frozen=True, slots=True)
class Card:
    """An offering as a card in the shop.

    price_from   of the first component that costs something, the least price in an open plan, with its plan and component;
                 None = free
    """

    offering: Offering
    product_types: tuple[str, ...]
    price_from: PlanComponent | None
    is_free: bool


def cards(offerings: Sequence[Offering], at: datetime) -> list[Card]:
    """Cards of one page of offerings: a fixed number of queries. The offerings come with provider and shelf."""
    ids = [offering.pk for offering in offerings]
    types: dict[int, list[str]] = {}
    for component in Component.objects.filter(offering_id__in=ids, category__isnull=False).select_related("category"):
        assert component.category is not None
        found = types.setdefault(component.offering_id, [])
        if component.category.product_type not in found:
            found.append(component.category.product_type)
    plans = {plan.pk: plan for plan in Plan.objects.filter(offering_id__in=ids, archived_at=None)}
    least: dict[int, PlanComponent] = {}
    rows = prices_in_force(list(plans), at)
    components = {c.pk: c for c in Component.objects.filter(pk__in={component for _plan, component in rows})}
    for (plan_id, component_id), price in rows.items():
        price.component, price.plan = components[component_id], plans[plan_id]
        offering_id = price.plan.offering_id
        if is_priced(price.price, steps_of(price)) and (
            offering_id not in least or _rank(price) < _rank(least[offering_id])
        ):
            least[offering_id] = price
    return [
        Card(
            offering=offering,
            product_types=tuple(types.get(offering.pk, ())),
            price_from=least.get(offering.pk),
            is_free=offering.pk not in least,
        )
        for offering in offerings
    ]


def _rank(price: PlanComponent) -> tuple[int, int, Decimal]:
    return price.component.position, price.component_id, price.price


# ------------------------------------------------------------------------------------------------ a provider's own
def providers_visible_to(viewer: Person, at: datetime) -> QuerySet[ServiceProvider]:
    """The providers whose affairs the person may see, by name."""
    return (
        ServiceProvider.objects.filter(
            organization__in=organizations_where(viewer, Permission.VIEW_PROVIDER, at).values("pk")
        )
        .select_related("organization")
        .order_by("organization__name", "pk")
    )


def provider_for(viewer: Person, slug: str, at: datetime) -> ServiceProvider:
    """A provider by its organization's short name, for its own people.

    raises   ProviderNotFound
    """
    provider = providers_visible_to(viewer, at).filter(organization__slug=slug).first()
    if provider is None:
        raise ProviderNotFound
    return provider


def providers_run_by(viewer: Person, at: datetime) -> QuerySet[ServiceProvider]:
    """The providers whose work the viewer may see from within, not only as a customer."""
    return ServiceProvider.objects.filter(organization__in=organizations_where(viewer, Permission.VIEW_PROVIDER, at))


def provider_by_id(viewer: Person, provider_id: int, at: datetime) -> ServiceProvider:
    """raises   ProviderNotFound"""
    provider = providers_visible_to(viewer, at).filter(pk=provider_id).first()
    if provider is None:
        raise ProviderNotFound
    return provider


def offerings_of_provider(viewer: Person, at: datetime) -> QuerySet[Offering]:
    """All offerings, drafts too, of the providers whose affairs the person may see."""
    return (
        Offering.objects.filter(provider__in=providers_visible_to(viewer, at).order_by().values("pk"))
        .select_related("provider__organization", "shelf", "backend")
        .order_by("name", "pk")
    )


def offering_of_provider(viewer: Person, offering_id: int, at: datetime) -> Offering:
    """An offering for its provider's people, with components and plans.

    raises   OfferingNotFound
    """
    offering = _with_what_it_shows(offerings_of_provider(viewer, at)).filter(pk=offering_id).first()
    if offering is None:
        raise OfferingNotFound
    return offering


def component_of_offering(offering: Offering, component_id: int) -> Component:
    """raises   ComponentNotFound"""
    component = (
        offering.components.select_related("category", "offering__provider__organization")
        .filter(pk=component_id)
        .first()
    )
    if component is None:
        raise ComponentNotFound
    return component


def component_by_key(offering: Offering, key: str) -> Component:
    """raises   ComponentNotFound"""
    component = offering.components.filter(key=key).first()
    if component is None:
        raise ComponentNotFound
    return component


def plan_of_offering(offering: Offering, plan_id: int) -> Plan:
    """raises   PlanNotFound"""
    plan = offering.plans.select_related("offering__provider__organization").filter(pk=plan_id).first()
    if plan is None:
        raise PlanNotFound
    return plan


def checklists(offerings: Iterable[Offering]) -> Mapping[int, Sequence[Item]]:
    """The checklist of each, by id. The offerings should come with what the checklist reads
    (`with_checklist_parts`).
    """
    return {offering.pk: publication_checklist(offering) for offering in offerings}


def with_checklist_parts(offerings: QuerySet[Offering]) -> QuerySet[Offering]:
    """So that checklists of many offerings take a fixed number of queries."""
    return offerings.select_related("provider", "backend").prefetch_related(
        Prefetch("components", Component.objects.select_related("category")),
        "plans__prices",
        "visible_organizations",
        "visible_projects",
    )


def categories_visible_to(viewer: Person, at: datetime) -> QuerySet[ProductCategory]:
    """The product categories of the providers whose affairs the person may see."""
    return (
        ProductCategory.objects.filter(provider__in=providers_visible_to(viewer, at).order_by().values("pk"))
        .select_related("provider__organization")
        .order_by("title", "pk")
    )


def category_of_provider(viewer: Person, category_id: int, at: datetime) -> ProductCategory:
    """raises   CategoryNotFound"""
    category = categories_visible_to(viewer, at).filter(pk=category_id).first()
    if category is None:
        raise CategoryNotFound
    return category


def categories_with_provider(category_ids: Collection[int]) -> list[ProductCategory]:
    """Categories with their provider and its organization, for whoever books usage in them.

    Asked with each single report, so the statement is written once instead of being composed each time.
    """
    found = []
    tables = (ProductCategory, ServiceProvider, Organization)
    for category, provider, organization in prepared.fetch(_categories_with_provider(), [list(category_ids)], *tables):
        category.provider, provider.organization = provider, organization
        found.append(category)
    return found


@cache
def _categories_with_provider() -> str:
    return (
        f"SELECT {prepared.columns(c=ProductCategory, p=ServiceProvider, o=Organization)} FROM product_category c "  # noqa: S608  names of ours
        "JOIN service_provider p ON p.id = c.provider_id JOIN organization o ON o.id = p.organization_id "
        "WHERE c.id = ANY(%s::bigint[])"
    )


def products_visible_to(viewer: Person, at: datetime) -> QuerySet[Product]:
    return (
        Product.objects.filter(category__provider__in=providers_visible_to(viewer, at).order_by().values("pk"))
        .select_related("category__provider__organization")
        .order_by("title", "pk")
    )


def product_of_provider(viewer: Person, product_id: int, at: datetime) -> Product:
    """raises   ProductNotFound"""
    product = products_visible_to(viewer, at).filter(pk=product_id).first()
    if product is None:
        raise ProductNotFound
    return product


def backends_visible_to(viewer: Person, at: datetime) -> QuerySet[Backend]:
    """The backends of the providers whose affairs the person may see, with their agents; their secrets, and what the
    agents say at length, are not even read.
    """
    return (
        Backend.objects.filter(provider__in=providers_visible_to(viewer, at).order_by().values("pk"))
        .select_related("provider__organization", "agent")
        .annotate(offering_count=Count("offerings"))
        .defer("secrets", "found", "agent__status")
        .order_by("name", "pk")
    )


def backend_of_provider(viewer: Person, backend_id: int, at: datetime) -> Backend:
    """raises   BackendNotFound"""
    backend = backends_visible_to(viewer, at).filter(pk=backend_id).first()
    if backend is None:
        raise BackendNotFound
    return backend


def backends_at_site(provider: ServiceProvider) -> QuerySet[Backend]:
    """The backends that an agent of the provider is to look after."""
    return Backend.objects.filter(provider=provider, runs_at=Backend.RunsAt.SITE).order_by("name", "pk")


def secrets_set(backend: Backend) -> frozenset[str]:
    """The names of the secret settings that have a value; of secrets no key can read, none."""
    try:
        return frozenset(registry.secrets_of(backend))
    except SecretsUnreadable:
        return frozenset()


@dataclass(frozen=True, slots=True)
class ProviderOverview:
    """What a provider's first page counts, and the first thing still to do on the way to a first offering.

    unattended   the backends in use at the provider's site whose agent is silent, was stopped or names them no longer
    """

    categories: int
    products: int
    backends: int
    backends_broken: int
    unattended: Sequence[Backend]
    offerings: Mapping[str, int]

    @property
    def next_step(self) -> str:
        if not self.categories:
            return "category"
        if not self.backends:
            return "backend"
        if not sum(self.offerings.values()):
            return "offering"
        return "" if self.offerings.get(OfferingState.ACTIVE) else "activate"


def provider_overview(provider: ServiceProvider, at: datetime) -> ProviderOverview:
    counts: dict[str, Any] = Backend.objects.filter(provider=provider).aggregate(
        total=Count("pk"), broken=Count("pk", filter=Q(health="broken", enabled=True))
    )
    at_site = backends_at_site(provider).filter(enabled=True).select_related("agent")
    states = Offering.objects.filter(provider=provider).order_by().values_list("state").annotate(Count("pk"))
    return ProviderOverview(
        categories=provider.categories.filter(archived_at=None).count(),
        products=Product.objects.filter(category__provider=provider, archived_at=None).count(),
        backends=counts["total"],
        backends_broken=counts["broken"],
        unattended=[
            backend
            for backend in at_site.defer("secrets", "found", "agent__status")
            if backend.agent_state(at) in {"silent", "stopped", "dropped"}
        ],
        offerings=dict(states),
    )


def organizations_to_authorize() -> QuerySet[Organization]:
    """Organizations that are no providers now, by name; for the operator."""
    return (
        Organization.objects.filter(archived_at=None)
        .exclude(provider__isnull=False, provider__revoked_at=None)
        .order_by("name", "pk")
    )


def all_providers() -> QuerySet[ServiceProvider]:
    """Every provider with how many offerings it has on the shelf; for the operator."""
    return (
        ServiceProvider.objects.select_related("organization", "authorized_by")
        .annotate(active=Count("offerings", filter=Q(offerings__state=OfferingState.ACTIVE)))
        .order_by(F("revoked_at").asc(nulls_first=True), "organization__name", "pk")
    )


def projects_to_choose(organization_ids: Collection[int] = ()) -> QuerySet[Project]:
    """Projects an offering may be shown to, with their organizations, by name."""
    projects = Project.objects.filter(archived_at=None).select_related("organization")
    if organization_ids:
        projects = projects.filter(organization_id__in=organization_ids)
    return projects.order_by("organization__name", "name", "pk")
