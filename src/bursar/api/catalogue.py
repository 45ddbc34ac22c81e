"""Providers, product categories, products, shelves, offerings, backends and plugins."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from ninja import Body, Query, Router, Schema, Status
from pydantic import Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.catalogue import registry, selectors, services
from bursar.catalogue.errors import ProviderNotFound
from bursar.catalogue.models import (
    Backend,
    Component,
    Offering,
    Plan,
    PlanComponent,
    Product,
    ProductCategory,
    ServiceProvider,
)
from bursar.catalogue.tiers import STEPS_MAX, steps_of
from bursar.structure import selectors as structure_selectors
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import NotAllowed, Permission, may, organizations_where, require, roles_with

router = Router()

ProductTypeName = Literal["compute", "storage", "public_link", "license", "network_ip"]
ChargingName = Literal["once", "minute", "hour", "day"]
BillingName = Literal["fixed", "usage", "limit", "one_time", "on_switch"]
PeriodName = Literal["day", "month", "quarter", "year", "total"]
PlanUnitName = Literal["month", "half_month", "day", "hour", "quantity"]
VisibilityName = Literal["everyone", "organizations", "projects"]
Search = Annotated[str, Query(max_length=200, description="words to look for")]
Ticks = Annotated[int, Field(ge=1, le=2**62)]
Limit = Annotated[int, Field(ge=0, le=2**62)]


def given(payload: Schema) -> dict[str, Any]:
    """What was sent, without what was left out."""
    return payload.dict(exclude_unset=True)


def who(request: HttpRequest) -> dict[str, Any]:
    return {"by": person_of(request), "at": at_of(request)}


# ------------------------------------------------------------------------------------------------ providers
class ProviderOut(Schema):
    id: int
    organization_id: int
    name: str
    slug: str = Field(description="the organization's short name")
    description: str = Field(description="Markdown")
    contact_email: str
    currency: str
    authorized_at: datetime
    revoked_at: datetime | None = Field(description="since when it is no longer authorized")

    @staticmethod
    def resolve_name(row: ServiceProvider) -> str:
        return row.organization.name

    @staticmethod
    def resolve_slug(row: ServiceProvider) -> str:
        return row.organization.slug

    @staticmethod
    def resolve_currency(row: ServiceProvider) -> str:
        return row.organization.currency


class ProviderIn(Strict):
    organization_id: int


class ProviderEdit(Strict):
    description: str | None = Field(None, max_length=10_000)
    contact_email: str | None = Field(None, max_length=254)


class RevokeIn(Strict):
    reason: str = Field("", max_length=300)


def _providers(person: Person, at: datetime) -> QuerySet[ServiceProvider]:
    """The viewer's own, and those who sell something to the viewer."""
    return (
        ServiceProvider.objects.filter(
            Q(pk__in=selectors.offerings_visible_to(person, at).order_by().values("provider_id"))
            | Q(pk__in=selectors.providers_visible_to(person, at).order_by().values("pk"))
        )
        .select_related("organization")
        .order_by("organization__name", "pk")
    )


@router.get("/providers", response=Page[ProviderOut], tags=["Providers"], summary="Providers you can see")
def list_providers(request: HttpRequest, paging: Paging) -> Any:
    return page_of(request, _providers(person_of(request), at_of(request)), paging)


@router.post("/providers", response={201: ProviderOut, **PROBLEMS}, tags=["Providers"], summary="Authorize a provider")
def authorize_provider(request: HttpRequest, payload: ProviderIn) -> Any:
    """For the platform's operator; an authorization that was taken back is given again."""
    require(person_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    organization = structure_selectors.organization_seen(payload.organization_id, person_of(request), at_of(request))
    return Status(201, services.authorize_provider(organization=organization, **who(request)))


@router.get(
    "/providers/{provider_id}", response={200: ProviderOut, **PROBLEMS}, tags=["Providers"], summary="A provider"
)
def get_provider(request: HttpRequest, provider_id: int) -> Any:
    found = _providers(person_of(request), at_of(request)).filter(pk=provider_id).first()
    if found is None:
        raise ProviderNotFound
    return found


@router.patch(
    "/providers/{provider_id}", response={200: ProviderOut, **PROBLEMS}, tags=["Providers"], summary="Edit the profile"
)
def edit_provider(request: HttpRequest, provider_id: int, payload: ProviderEdit) -> Any:
    found = selectors.provider_by_id(person_of(request), provider_id, at_of(request))
    values = {"description": found.description, "contact_email": found.contact_email, **changes_of(payload)}
    return services.edit_provider(provider=found, **values, **who(request))


@router.post(
    "/providers/{provider_id}/revoke",
    response={200: ProviderOut, **PROBLEMS},
    tags=["Providers"],
    summary="Take an authorization back",
)
def revoke_provider(request: HttpRequest, provider_id: int, payload: RevokeIn) -> Any:
    found = selectors.provider_by_id(person_of(request), provider_id, at_of(request))
    return services.revoke_provider(provider=found, reason=payload.reason, **who(request))


# ------------------------------------------------------------------------------------------------ categories
class CategoryOut(Schema):
    id: int
    provider_id: int
    name: str
    title: str
    description: str
    product_type: str
    charging: str
    unit_name: str
    ticks_per_unit: int
    requires_allocation: bool
    allows_suballocation: bool
    allows_overallocation: bool
    grace_days: int
    sealed_at: datetime | None = Field(description="since when its unit and charging are kept")
    archived_at: datetime | None


class CategoryEdit(Strict):
    """What is left out stays. name, product_type, charging, unit_name and ticks_per_unit change only until it is sealed."""

    name: str | None = Field(None, max_length=60)
    title: str | None = Field(None, max_length=120)
    description: str | None = Field(None, max_length=2000)
    product_type: ProductTypeName | None = None
    charging: ChargingName | None = None
    unit_name: str | None = Field(None, max_length=40)
    ticks_per_unit: Ticks | None = None
    requires_allocation: bool | None = None
    allows_suballocation: bool | None = None
    allows_overallocation: bool | None = None
    grace_days: int | None = Field(None, ge=0, le=366)


class CategoryIn(Strict):
    provider_id: int
    name: str = Field(max_length=60, description="short and stable")
    title: str = Field(max_length=120)
    description: str = Field("", max_length=2000)
    product_type: ProductTypeName
    charging: ChargingName
    unit_name: str = Field(max_length=40)
    ticks_per_unit: Ticks = 1
    requires_allocation: bool = True
    allows_suballocation: bool = True
    allows_overallocation: bool = True
    grace_days: int = Field(7, ge=0, le=366)


def changes_of(payload: Schema, *, nullable: Iterable[str] = ()) -> dict[str, Any]:
    """What is to change; null for what cannot be empty means: leave it."""
    allowed = set(nullable)
    return {key: value for key, value in given(payload).items() if value is not None or key in allowed}


def _categories(person: Person, at: datetime) -> QuerySet[ProductCategory]:
    """Those of the viewer's own providers, and those that offerings shown to the viewer draw on."""
    shown = Component.objects.filter(offering__in=selectors.offerings_visible_to(person, at).order_by().values("pk"))
    return ProductCategory.objects.filter(
        Q(pk__in=shown.order_by().values("category_id"))
        | Q(pk__in=selectors.categories_visible_to(person, at).order_by().values("pk"))
    ).order_by("title", "pk")


@router.get(
    "/product-categories", response=Page[CategoryOut], tags=["Product categories"], summary="Categories you can see"
)
def list_categories(
    request: HttpRequest, paging: Paging, provider_id: int | None = None, product_type: ProductTypeName | None = None
) -> Any:
    rows = _categories(person_of(request), at_of(request))
    if provider_id is not None:
        rows = rows.filter(provider_id=provider_id)
    if product_type is not None:
        rows = rows.filter(product_type=product_type)
    return page_of(request, rows, paging)


@router.post(
    "/product-categories",
    response={201: CategoryOut, **PROBLEMS},
    tags=["Product categories"],
    summary="Make a category",
)
def create_category(request: HttpRequest, payload: CategoryIn) -> Any:
    values = payload.dict()
    provider = selectors.provider_by_id(person_of(request), values.pop("provider_id"), at_of(request))
    return Status(201, services.create_category(provider=provider, **values, **who(request)))


@router.get(
    "/product-categories/{category_id}",
    response={200: CategoryOut, **PROBLEMS},
    tags=["Product categories"],
    summary="A category",
)
def get_category(request: HttpRequest, category_id: int) -> Any:
    found = _categories(person_of(request), at_of(request)).filter(pk=category_id).first()
    return found or selectors.category_of_provider(person_of(request), category_id, at_of(request))


@router.patch(
    "/product-categories/{category_id}",
    response={200: CategoryOut, **PROBLEMS},
    tags=["Product categories"],
    summary="Edit a category",
)
def edit_category(request: HttpRequest, category_id: int, payload: CategoryEdit) -> Any:
    found = selectors.category_of_provider(person_of(request), category_id, at_of(request))
    return services.edit_category(category=found, **changes_of(payload), **who(request))


@router.post(
    "/product-categories/{category_id}/archive",
    response={200: CategoryOut, **PROBLEMS},
    tags=["Product categories"],
    summary="Archive a category",
)
def archive_category(request: HttpRequest, category_id: int) -> Any:
    found = selectors.category_of_provider(person_of(request), category_id, at_of(request))
    return services.archive_category(category=found, **who(request))


@router.post(
    "/product-categories/{category_id}/unarchive",
    response={200: CategoryOut, **PROBLEMS},
    tags=["Product categories"],
    summary="Take a category back into use",
)
def unarchive_category(request: HttpRequest, category_id: int) -> Any:
    found = selectors.category_of_provider(person_of(request), category_id, at_of(request))
    return services.unarchive_category(category=found, **who(request))


# ------------------------------------------------------------------------------------------------ products
class ProductOut(Schema):
    id: int
    category_id: int
    name: str
    title: str
    description: str
    specs: dict[str, Any]
    ticks_per_charge: int = Field(description="per minute, hour or day of the category; once: while it exists")
    unit_name: str = Field(alias="category.unit_name")
    ticks_per_unit: int = Field(alias="category.ticks_per_unit")
    archived_at: datetime | None


class ProductEdit(Strict):
    title: str | None = Field(None, max_length=120)
    description: str | None = Field(None, max_length=2000)
    specs: dict[str, Any] | None = None
    ticks_per_charge: Limit | None = None


class ProductIn(Strict):
    category_id: int
    name: str = Field(max_length=60)
    title: str = Field(max_length=120)
    description: str = Field("", max_length=2000)
    specs: dict[str, Any] = {}
    ticks_per_charge: Limit = 0


@router.get("/products", response=Page[ProductOut], tags=["Products"], summary="Products you can see")
def list_products(request: HttpRequest, paging: Paging, category_id: int | None = None) -> Any:
    categories = _categories(person_of(request), at_of(request)).order_by().values("pk")
    rows = Product.objects.filter(category__in=categories).select_related("category").order_by("title", "pk")
    return page_of(request, rows if category_id is None else rows.filter(category_id=category_id), paging)


@router.post("/products", response={201: ProductOut, **PROBLEMS}, tags=["Products"], summary="Make a product")
def create_product(request: HttpRequest, payload: ProductIn) -> Any:
    values = payload.dict()
    category = selectors.category_of_provider(person_of(request), values.pop("category_id"), at_of(request))
    return Status(201, services.create_product(category=category, **values, **who(request)))


@router.patch(
    "/products/{product_id}", response={200: ProductOut, **PROBLEMS}, tags=["Products"], summary="Edit a product"
)
def edit_product(request: HttpRequest, product_id: int, payload: ProductEdit) -> Any:
    found = selectors.product_of_provider(person_of(request), product_id, at_of(request))
    return services.edit_product(product=found, **changes_of(payload), **who(request))


@router.post(
    "/products/{product_id}/archive",
    response={200: ProductOut, **PROBLEMS},
    tags=["Products"],
    summary="Archive a product",
)
def archive_product(request: HttpRequest, product_id: int) -> Any:
    found = selectors.product_of_provider(person_of(request), product_id, at_of(request))
    return services.archive_product(product=found, **who(request))


@router.post(
    "/products/{product_id}/unarchive",
    response={200: ProductOut, **PROBLEMS},
    tags=["Products"],
    summary="Take a product back into use",
)
def unarchive_product(request: HttpRequest, product_id: int) -> Any:
    found = selectors.product_of_provider(person_of(request), product_id, at_of(request))
    return services.unarchive_product(product=found, **who(request))


# ------------------------------------------------------------------------------------------------ a provider's own list
Slug = Annotated[str, Field(max_length=60, description="the provider's own key; short and stable")]


class CategoryFields(Strict):
    """The whole category: what is left out takes its usual value."""

    title: str = Field(max_length=120)
    description: str = Field("", max_length=2000)
    product_type: ProductTypeName
    charging: ChargingName
    unit_name: str = Field(max_length=40)
    ticks_per_unit: Ticks = 1
    requires_allocation: bool = True
    allows_suballocation: bool = True
    allows_overallocation: bool = True
    grace_days: int = Field(7, ge=0, le=366)


class ProductFields(Strict):
    """The whole product: what is left out takes its usual value."""

    title: str = Field(max_length=120)
    description: str = Field("", max_length=2000)
    specs: dict[str, Any] = {}
    ticks_per_charge: Limit = 0


class CategoryPutIn(CategoryFields):
    name: Slug


class ProductPutIn(ProductFields):
    category: Slug
    name: Slug


class CataloguePutIn(Strict):
    categories: list[CategoryPutIn] = Field([], max_length=500)
    products: list[ProductPutIn] = Field([], max_length=500)


class CategoryStood(CategoryOut):
    change: Literal["created", "changed", "same"]


class ProductStood(ProductOut):
    change: Literal["created", "changed", "same"]


class CatalogueStood(Schema):
    categories: list[CategoryStood]
    products: list[ProductStood]


def _stood(row: Any, change: str) -> Any:
    row.change = change
    return row


@router.put(
    "/providers/{provider_id}/product-categories/{category_name}",
    response={200: CategoryStood, 201: CategoryStood, **PROBLEMS},
    tags=["Product categories"],
    summary="Have a category of this name be as said",
)
def put_category(request: HttpRequest, provider_id: int, category_name: str, payload: CategoryFields) -> Any:
    """Twice is once: what is so already is not changed and not told. A unit that is counted in cannot change."""
    provider = selectors.provider_by_id(person_of(request), provider_id, at_of(request))
    wish = services.CategoryPut(category_name, payload.dict())
    row, change = services.put_category(provider=provider, wish=wish, **who(request))
    return Status(201 if change == "created" else 200, _stood(row, change))


@router.put(
    "/providers/{provider_id}/product-categories/{category_name}/products/{product_name}",
    response={200: ProductStood, 201: ProductStood, **PROBLEMS},
    tags=["Products"],
    summary="Have a product of this name be as said",
)
def put_product(
    request: HttpRequest, provider_id: int, category_name: str, product_name: str, payload: ProductFields
) -> Any:
    provider = selectors.provider_by_id(person_of(request), provider_id, at_of(request))
    wish = services.ProductPut(category_name, product_name, payload.dict())
    row, change = services.put_product(provider=provider, wish=wish, **who(request))
    return Status(201 if change == "created" else 200, _stood(row, change))


@router.put(
    "/providers/{provider_id}/catalogue",
    response={200: CatalogueStood, **PROBLEMS},
    tags=["Product categories"],
    summary="Have up to 500 categories and products be as said, all or none",
)
def put_catalogue(request: HttpRequest, provider_id: int, payload: CataloguePutIn) -> Any:
    """Products may be in categories of the same request. What is not named stays. Each fault is told at its place."""
    provider = selectors.provider_by_id(person_of(request), provider_id, at_of(request))
    values = payload.dict()
    stood = services.put_catalogue(
        provider=provider,
        categories=[services.CategoryPut(wish.pop("name"), wish) for wish in values["categories"]],
        products=[services.ProductPut(wish.pop("category"), wish.pop("name"), wish) for wish in values["products"]],
        **who(request),
    )
    return {
        "categories": [_stood(*each) for each in stood.categories],
        "products": [_stood(*each) for each in stood.products],
    }


# ------------------------------------------------------------------------------------------------ shelves
class ShelfOut(Schema):
    id: int
    parent_id: int | None
    title: str
    slug: str
    description: str
    icon: str
    position: int


class ShelfRowOut(ShelfOut):
    depth: int = Field(description="0 at the top")
    offerings: int = Field(description="those you can see, on it and below it")


class ShelfIn(Strict):
    title: str = Field(max_length=120)
    slug: str = Field(max_length=60)
    parent_id: int | None = None
    description: str = Field("", max_length=2000)
    icon: str = Field("", max_length=40)
    position: int = Field(0, ge=0, le=30_000)


class ShelfEdit(Strict):
    title: str | None = Field(None, max_length=120)
    slug: str | None = Field(None, max_length=60)
    parent_id: int | None = Field(None, description="null: to the top")
    description: str | None = Field(None, max_length=2000)
    icon: str | None = Field(None, max_length=40)
    position: int | None = Field(None, ge=0, le=30_000)


def _with_parent(values: dict[str, Any]) -> dict[str, Any]:
    if "parent_id" in values:
        parent_id = values.pop("parent_id")
        values["parent"] = selectors.shelf_by_id(parent_id) if parent_id is not None else None
    return values


@router.get("/shelves", response=Page[ShelfRowOut], tags=["Shelves"], summary="The shelf tree")
def list_shelves(request: HttpRequest, paging: Paging) -> Any:
    """Every shelf, each followed by those below it."""
    rows = selectors.shelf_tree(selectors.offerings_visible_to(person_of(request), at_of(request)))
    answer = page_of(request, rows, paging)
    answer["items"] = [
        {**ShelfOut.from_orm(row.shelf).dict(), "depth": row.depth, "offerings": row.count} for row in answer["items"]
    ]
    return answer


@router.post("/shelves", response={201: ShelfOut, **PROBLEMS}, tags=["Shelves"], summary="Put up a shelf")
def create_shelf(request: HttpRequest, payload: ShelfIn) -> Any:
    require(person_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    return Status(201, services.create_shelf(**_with_parent(payload.dict()), **who(request)))


@router.patch(
    "/shelves/{shelf_id}", response={200: ShelfOut, **PROBLEMS}, tags=["Shelves"], summary="Edit or move a shelf"
)
def edit_shelf(request: HttpRequest, shelf_id: int, payload: ShelfEdit) -> Any:
    require(person_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    values = _with_parent(changes_of(payload, nullable=["parent_id"]))
    return services.edit_shelf(shelf=selectors.shelf_by_id(shelf_id), **values, **who(request))


@router.delete(
    "/shelves/{shelf_id}", response={204: None, **PROBLEMS}, tags=["Shelves"], summary="Remove an empty shelf"
)
def delete_shelf(request: HttpRequest, shelf_id: int) -> Any:
    require(person_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    services.delete_shelf(shelf=selectors.shelf_by_id(shelf_id), **who(request))
    return Status(204, None)


# ------------------------------------------------------------------------------------------------ offerings
class OfferingShort(Schema):
    id: int
    provider_id: int
    provider: str
    shelf_id: int | None
    backend_id: int | None
    name: str
    slug: str
    summary: str
    state: str = Field(description="draft, active, paused or archived")
    paused_reason: str
    visibility: str = Field(description="everyone, organizations or projects; empty in an unfinished draft")
    activated_at: datetime | None = Field(description="when it first stood on the shelf")


class OfferingRow(OfferingShort):
    """An offering in a list."""

    @staticmethod
    def resolve_provider(row: Offering) -> str:
        return row.provider.organization.name


class OfferingComponentOut(Schema):
    id: int
    key: str
    title: str
    unit_name: str
    billing: str
    limit_period: str
    limit_min: int | None
    limit_max: int | None
    limit_default: int | None
    category_id: int | None = Field(description="the product category it draws from")
    ticks_per_unit: int = Field(description="ticks of the category that one unit draws")
    ticks_per_measured: int
    measured_unit: str
    position: int
    free_while_paused: bool
    tax_category: str


class PriceStepOut(Schema):
    start: Decimal = Field(description="from this quantity of the month's use on")
    price: Decimal


class PriceOut(Schema):
    component: str = Field(description="the component's key")
    price: Decimal
    amount: int = Field(description="units the plan includes, of fixed components")
    tier_kind: str = Field(
        description="empty: one price; graduated: each unit at the price of its step; volume: all at that of the step reached"
    )
    tiers: list[PriceStepOut] = Field(description="the steps beyond the first, whose price is `price`")
    valid_from: datetime

    @staticmethod
    def resolve_tiers(row: PlanComponent) -> list[dict[str, Decimal]]:
        return [step._asdict() for step in steps_of(row)]

    @staticmethod
    def resolve_component(row: PlanComponent) -> str:
        return row.component.key


class PlanOut(Schema):
    id: int
    name: str
    description: str
    unit: str
    resources_max: int | None
    organization_ids: list[int] = Field(description="who may take it; empty: everyone")
    position: int
    archived_at: datetime | None
    prices: list[PriceOut] = Field(description="in force now; a component without one is free")


class OfferingOut(OfferingShort):
    description: str = Field(description="Markdown")
    terms_of_use: str = Field(description="Markdown")
    access_instructions: str = Field(description="Markdown")
    order_form: dict[str, Any] = Field(description="a JSON Schema subset")
    currency: str
    components: list[OfferingComponentOut]
    plans: list[PlanOut]
    organization_ids: list[int] | None = Field(description="to whom it is visible; only told to the provider")
    project_ids: list[int] | None = Field(description="to whom it is visible; only told to the provider")


class ChecklistItem(Schema):
    requirement: str
    title: str
    ok: bool
    needed: bool = Field(description="false: a warning, which keeps nothing off the shelf")
    advice: str = Field(description="what to do, when it is not ok")


class Checklist(Schema):
    complete: bool
    items: list[ChecklistItem]


class OfferingIn(Strict):
    provider_id: int
    name: str = Field(max_length=150)
    slug: str = Field("", max_length=60, description="made from the name when empty")
    summary: str = Field("", max_length=300)
    description: str = Field("", max_length=20_000)
    shelf_id: int | None = None
    backend_id: int | None = Field(None, description="the draft starts with what its plugin proposes")


class OfferingEdit(Strict):
    name: str | None = Field(None, max_length=150)
    slug: str | None = Field(None, max_length=60)
    summary: str | None = Field(None, max_length=300)
    description: str | None = Field(None, max_length=20_000)
    terms_of_use: str | None = Field(None, max_length=20_000)
    access_instructions: str | None = Field(None, max_length=20_000)
    shelf_id: int | None = None


class BackendChoice(Strict):
    backend_id: int
    with_defaults: bool = Field(True, description="put in the plugin's components and order form where there are none")


class VisibilityIn(Strict):
    visibility: VisibilityName
    organization_ids: list[int] = Field([], max_length=5000)
    project_ids: list[int] = Field([], max_length=5000)


class PauseIn(Strict):
    reason: str = Field("", max_length=300)


class CopyIn(Strict):
    name: str = Field(max_length=150)


class ComponentIn(Strict):
    key: str = Field(max_length=40)
    title: str = Field(max_length=120)
    unit_name: str = Field(max_length=40)
    billing: BillingName
    limit_period: PeriodName = "month"
    limit_min: Limit | None = None
    limit_max: Limit | None = None
    limit_default: Limit | None = None
    category_id: int | None = None
    ticks_per_unit: Ticks = 1
    ticks_per_measured: Ticks = 1
    measured_unit: str = Field("", max_length=40)
    position: int | None = Field(None, ge=0, le=30_000)
    free_while_paused: bool = False
    tax_category: str = Field("standard", max_length=40, description="what it is taxed as: a category of the tax rates")


class ComponentEdit(Strict):
    """What is left out stays; what is counted changes only until the offering was on the shelf."""

    key: str | None = Field(None, max_length=40)
    title: str | None = Field(None, max_length=120)
    unit_name: str | None = Field(None, max_length=40)
    billing: BillingName | None = None
    limit_period: PeriodName | None = None
    limit_min: Limit | None = None
    limit_max: Limit | None = None
    limit_default: Limit | None = None
    category_id: int | None = None
    ticks_per_unit: Ticks | None = None
    ticks_per_measured: Ticks | None = None
    measured_unit: str | None = Field(None, max_length=40)
    position: int | None = Field(None, ge=0, le=30_000)
    free_while_paused: bool | None = None
    tax_category: str | None = Field(None, max_length=40)


class PlanIn(Strict):
    name: str = Field(max_length=120)
    description: str = Field("", max_length=2000)
    unit: PlanUnitName = "month"
    resources_max: int | None = Field(None, ge=1, le=2_000_000_000)
    organization_ids: list[int] = Field([], max_length=5000)


class PlanEdit(Strict):
    name: str | None = Field(None, max_length=120)
    description: str | None = Field(None, max_length=2000)
    unit: PlanUnitName | None = None
    resources_max: int | None = Field(None, ge=1, le=2_000_000_000)
    organization_ids: list[int] | None = Field(None, max_length=5000)


class PriceStepIn(Strict):
    start: Decimal = Field(gt=0, max_digits=20, decimal_places=10)
    price: Decimal = Field(ge=0, max_digits=20, decimal_places=10)


class PriceIn(Strict):
    component: str = Field(max_length=40, description="the component's key")
    price: Decimal = Field(ge=0, max_digits=20, decimal_places=10)
    amount: Limit = 0
    tier_kind: Literal["", "graduated", "volume"] = ""
    tiers: list[PriceStepIn] = Field([], max_length=STEPS_MAX, description="beyond the first step; quantities rise")


class PricesIn(Strict):
    prices: list[PriceIn] = Field(min_length=1, max_length=500)
    valid_from: datetime | None = Field(None, description="empty: now; of what was on the shelf never before now")


def _offering_out(request: HttpRequest, found: Offering, *, own: bool) -> dict[str, Any]:
    """One offering with components, plans and the prices in force; to whom it is visible is told to its provider alone."""
    components = list(found.components.select_related("category").order_by("position", "id"))
    plans = list(found.plans.prefetch_related("organizations").order_by("position", "id"))
    if not own:
        plans = [plan for plan in plans if plan.archived_at is None]
    keys = {component.pk: component for component in components}
    prices: dict[int, list[PlanComponent]] = {}
    for (plan_id, component_id), row in selectors.prices_in_force([p.pk for p in plans], at_of(request)).items():
        row.component = keys[component_id]
        prices.setdefault(plan_id, []).append(row)
    return {
        **OfferingRow.from_orm(found).dict(),
        "description": found.description,
        "terms_of_use": found.terms_of_use,
        "access_instructions": found.access_instructions if own else "",
        "order_form": found.order_form,
        "currency": found.provider.organization.currency,
        "components": components,
        "plans": [_plan_out(plan, prices.get(plan.pk, [])) for plan in plans],
        "organization_ids": sorted(found.visible_organizations.values_list("pk", flat=True)) if own else None,
        "project_ids": sorted(found.visible_projects.values_list("pk", flat=True)) if own else None,
    }


def _plan_out(plan: Plan, prices: Iterable[PlanComponent]) -> dict[str, Any]:
    return {
        "id": plan.pk,
        "name": plan.name,
        "description": plan.description,
        "unit": plan.unit,
        "resources_max": plan.resources_max,
        "organization_ids": sorted(organization.pk for organization in plan.organizations.all()),
        "position": plan.position,
        "archived_at": plan.archived_at,
        "prices": list(prices),
    }


def _own(request: HttpRequest, offering_id: int) -> Offering:
    return selectors.offering_of_provider(person_of(request), offering_id, at_of(request))


def _shown_again(request: HttpRequest, offering_id: int) -> dict[str, Any]:
    return _offering_out(request, _own(request, offering_id), own=True)


def _organizations(ids: Iterable[int]) -> list[Organization]:
    return list(Organization.objects.filter(pk__in=list(ids)).order_by("pk"))


@router.get("/offerings", response=Page[OfferingRow], tags=["Offerings"], summary="Offerings you can see")
def list_offerings(
    request: HttpRequest,
    paging: Paging,
    q: Search = "",
    shelf_id: int | None = None,
    product_type: ProductTypeName | None = None,
    provider_id: int | None = None,
    mine: Annotated[bool, Query(description="all of your providers' own, drafts too")] = False,
) -> Any:
    person, at = person_of(request), at_of(request)
    rows = selectors.offerings_of_provider(person, at) if mine else selectors.offerings_visible_to(person, at)
    rows = selectors.search_offerings(rows.order_by("name", "pk"), q)
    if product_type is not None:
        rows = selectors.offerings_of_type(rows, product_type)
    if provider_id is not None:
        rows = rows.filter(provider_id=provider_id)
    if shelf_id is not None:
        below = selectors.shelves_below(selectors.shelf_by_id(shelf_id), selectors.shelf_tree())
        rows = rows.filter(shelf_id__in=below)
    return page_of(request, rows.select_related("provider__organization"), paging)


@router.post("/offerings", response={201: OfferingOut, **PROBLEMS}, tags=["Offerings"], summary="Write a draft")
def create_offering(request: HttpRequest, payload: OfferingIn) -> Any:
    values = payload.dict()
    person, at = person_of(request), at_of(request)
    provider = selectors.provider_by_id(person, values.pop("provider_id"), at)
    shelf_id, backend_id = values.pop("shelf_id"), values.pop("backend_id")
    made = services.create_offering(
        provider=provider,
        shelf=selectors.shelf_by_id(shelf_id) if shelf_id is not None else None,
        backend=selectors.backend_of_provider(person, backend_id, at) if backend_id is not None else None,
        **values,
        **who(request),
    )
    return Status(201, _shown_again(request, made.pk))


@router.get(
    "/offerings/{offering_id}", response={200: OfferingOut, **PROBLEMS}, tags=["Offerings"], summary="An offering"
)
def get_offering(request: HttpRequest, offering_id: int) -> Any:
    person, at = person_of(request), at_of(request)
    own = selectors.offerings_of_provider(person, at).filter(pk=offering_id).first()
    if own is not None:
        return _offering_out(request, own, own=True)
    return _offering_out(request, selectors.offering_for_viewer(person, offering_id, at), own=False)


@router.patch(
    "/offerings/{offering_id}", response={200: OfferingOut, **PROBLEMS}, tags=["Offerings"], summary="Edit the texts"
)
def edit_offering(request: HttpRequest, offering_id: int, payload: OfferingEdit) -> Any:
    values = changes_of(payload, nullable=["shelf_id"])
    if "shelf_id" in values:
        shelf_id = values.pop("shelf_id")
        values["shelf"] = selectors.shelf_by_id(shelf_id) if shelf_id is not None else None
    services.edit_offering(offering=_own(request, offering_id), **values, **who(request))
    return _shown_again(request, offering_id)


@router.delete(
    "/offerings/{offering_id}", response={204: None, **PROBLEMS}, tags=["Offerings"], summary="Delete a draft"
)
def delete_offering(request: HttpRequest, offering_id: int) -> Any:
    services.delete_draft(offering=_own(request, offering_id), **who(request))
    return Status(204, None)


@router.get(
    "/offerings/{offering_id}/checklist",
    response={200: Checklist, **PROBLEMS},
    tags=["Offerings"],
    summary="What it needs before it can be active",
)
def get_checklist(request: HttpRequest, offering_id: int) -> Any:
    items = selectors.publication_checklist(_own(request, offering_id))
    return {
        "complete": not any(item.missing for item in items),
        "items": [
            {
                "requirement": item.requirement.value,
                "title": str(item.title),
                "ok": item.ok,
                "needed": item.needed,
                "advice": "" if item.ok else str(item.advice),
            }
            for item in items
        ],
    }


@router.post(
    "/offerings/{offering_id}/activate",
    response={200: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Put it on the shelf",
)
def activate_offering(request: HttpRequest, offering_id: int) -> Any:
    """Refused with `offering_incomplete`, naming what is missing, while its checklist is not met."""
    services.activate_offering(offering=_own(request, offering_id), **who(request))
    return _shown_again(request, offering_id)


@router.post(
    "/offerings/{offering_id}/pause", response={200: OfferingOut, **PROBLEMS}, tags=["Offerings"], summary="Pause it"
)
def pause_offering(request: HttpRequest, offering_id: int, payload: PauseIn) -> Any:
    services.pause_offering(offering=_own(request, offering_id), reason=payload.reason, **who(request))
    return _shown_again(request, offering_id)


@router.post(
    "/offerings/{offering_id}/archive",
    response={200: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Archive it",
)
def archive_offering(request: HttpRequest, offering_id: int) -> Any:
    services.archive_offering(offering=_own(request, offering_id), **who(request))
    return _shown_again(request, offering_id)


@router.post(
    "/offerings/{offering_id}/reopen",
    response={200: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Take it out of the archive, paused",
)
def reopen_offering(request: HttpRequest, offering_id: int) -> Any:
    services.reopen_offering(offering=_own(request, offering_id), **who(request))
    return _shown_again(request, offering_id)


@router.post(
    "/offerings/{offering_id}/copy",
    response={201: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Copy it into a new draft",
)
def copy_offering(request: HttpRequest, offering_id: int, payload: CopyIn) -> Any:
    copy = services.copy_offering(offering=_own(request, offering_id), name=payload.name, **who(request))
    return Status(201, _shown_again(request, copy.pk))


@router.put(
    "/offerings/{offering_id}/backend",
    response={200: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Choose its backend",
)
def connect_offering(request: HttpRequest, offering_id: int, payload: BackendChoice) -> Any:
    backend = selectors.backend_of_provider(person_of(request), payload.backend_id, at_of(request))
    offering = _own(request, offering_id)
    services.connect_offering(offering=offering, backend=backend, with_defaults=payload.with_defaults, **who(request))
    return _shown_again(request, offering_id)


@router.put(
    "/offerings/{offering_id}/order-form",
    response={200: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Set its order form",
)
def set_order_form(request: HttpRequest, offering_id: int, payload: Annotated[dict[str, Any], Body()]) -> Any:
    services.set_order_form(offering=_own(request, offering_id), schema=payload, **who(request))
    return _shown_again(request, offering_id)


@router.put(
    "/offerings/{offering_id}/visibility",
    response={200: OfferingOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Say who may see it",
)
def set_visibility(request: HttpRequest, offering_id: int, payload: VisibilityIn) -> Any:
    services.set_visibility(
        offering=_own(request, offering_id),
        visibility=payload.visibility,
        organizations=_organizations(payload.organization_ids),
        projects=list(Project.objects.filter(pk__in=payload.project_ids).order_by("pk")),
        **who(request),
    )
    return _shown_again(request, offering_id)


# ------------------------------------------------------------------------------------------------ components
def _with_category(request: HttpRequest, values: dict[str, Any]) -> dict[str, Any]:
    if "category_id" in values:
        category_id = values.pop("category_id")
        values["category"] = (
            selectors.category_of_provider(person_of(request), category_id, at_of(request))
            if category_id is not None
            else None
        )
    return values


@router.post(
    "/offerings/{offering_id}/components",
    response={201: OfferingComponentOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Add a component",
)
def add_component(request: HttpRequest, offering_id: int, payload: ComponentIn) -> Any:
    offering = _own(request, offering_id)
    return Status(
        201, services.add_component(offering=offering, **_with_category(request, payload.dict()), **who(request))
    )


@router.patch(
    "/offerings/{offering_id}/components/{component_id}",
    response={200: OfferingComponentOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Edit a component",
)
def edit_component(request: HttpRequest, offering_id: int, component_id: int, payload: ComponentEdit) -> Any:
    found = selectors.component_of_offering(_own(request, offering_id), component_id)
    values = changes_of(payload, nullable=["limit_min", "limit_max", "limit_default", "category_id"])
    return services.edit_component(component=found, **_with_category(request, values), **who(request))


@router.delete(
    "/offerings/{offering_id}/components/{component_id}",
    response={204: None, **PROBLEMS},
    tags=["Offerings"],
    summary="Remove a component of a draft",
)
def remove_component(request: HttpRequest, offering_id: int, component_id: int) -> Any:
    found = selectors.component_of_offering(_own(request, offering_id), component_id)
    services.remove_component(component=found, **who(request))
    return Status(204, None)


# ------------------------------------------------------------------------------------------------ plans
def _plan(request: HttpRequest, offering_id: int, plan_id: int) -> Plan:
    return selectors.plan_of_offering(_own(request, offering_id), plan_id)


def _plan_shown(request: HttpRequest, plan: Plan) -> dict[str, Any]:
    prices = selectors.prices_in_force([plan.pk], at_of(request))
    components = {c.pk: c for c in Component.objects.filter(offering_id=plan.offering_id)}
    for (_plan_id, component_id), row in prices.items():
        row.component = components[component_id]
    return _plan_out(plan, prices.values())


@router.post(
    "/offerings/{offering_id}/plans", response={201: PlanOut, **PROBLEMS}, tags=["Offerings"], summary="Add a plan"
)
def add_plan(request: HttpRequest, offering_id: int, payload: PlanIn) -> Any:
    values = payload.dict()
    organizations = _organizations(values.pop("organization_ids"))
    made = services.add_plan(offering=_own(request, offering_id), organizations=organizations, **values, **who(request))
    return Status(201, _plan_shown(request, made))


@router.patch(
    "/offerings/{offering_id}/plans/{plan_id}",
    response={200: PlanOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Edit a plan",
)
def edit_plan(request: HttpRequest, offering_id: int, plan_id: int, payload: PlanEdit) -> Any:
    values = changes_of(payload, nullable=["resources_max"])
    if "organization_ids" in values:
        values["organizations"] = _organizations(values.pop("organization_ids"))
    plan = services.edit_plan(plan=_plan(request, offering_id, plan_id), **values, **who(request))
    return _plan_shown(request, plan)


@router.post(
    "/offerings/{offering_id}/plans/{plan_id}/archive",
    response={200: PlanOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Archive a plan",
)
def archive_plan(request: HttpRequest, offering_id: int, plan_id: int) -> Any:
    return _plan_shown(request, services.archive_plan(plan=_plan(request, offering_id, plan_id), **who(request)))


@router.post(
    "/offerings/{offering_id}/plans/{plan_id}/unarchive",
    response={200: PlanOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Take a plan back into use",
)
def unarchive_plan(request: HttpRequest, offering_id: int, plan_id: int) -> Any:
    return _plan_shown(request, services.unarchive_plan(plan=_plan(request, offering_id, plan_id), **who(request)))


@router.delete(
    "/offerings/{offering_id}/plans/{plan_id}",
    response={204: None, **PROBLEMS},
    tags=["Offerings"],
    summary="Remove a plan of a draft",
)
def remove_plan(request: HttpRequest, offering_id: int, plan_id: int) -> Any:
    services.remove_plan(plan=_plan(request, offering_id, plan_id), **who(request))
    return Status(204, None)


@router.post(
    "/offerings/{offering_id}/plans/{plan_id}/prices",
    response={201: PlanOut, **PROBLEMS},
    tags=["Offerings"],
    summary="Set prices from an instant on",
)
def set_prices(request: HttpRequest, offering_id: int, plan_id: int, payload: PricesIn) -> Any:
    offering = _own(request, offering_id)
    plan = selectors.plan_of_offering(offering, plan_id)
    rows = [
        services.Price(
            selectors.component_by_key(offering, row.component),
            row.price,
            row.amount,
            row.tier_kind,
            [(step.start, step.price) for step in row.tiers],
        )
        for row in payload.prices
    ]
    services.set_prices(plan=plan, prices=rows, valid_from=payload.valid_from, **who(request))
    return Status(201, _plan_shown(request, plan))


@router.get(
    "/offerings/{offering_id}/plans/{plan_id}/prices",
    response={200: Page[PriceOut], **PROBLEMS},
    tags=["Offerings"],
    summary="All prices a plan ever had or will have",
)
def list_prices(request: HttpRequest, offering_id: int, plan_id: int, paging: Paging) -> Any:
    plan = _plan(request, offering_id, plan_id)
    rows = plan.prices.select_related("component").order_by("component__position", "component_id", "valid_from", "pk")
    return page_of(request, rows, paging)


# ------------------------------------------------------------------------------------------------ backends
class FindingOut(Schema):
    severity: str = Field(description="ok, warning or broken")
    subject: str
    message: str
    advice: str = ""


class BackendOut(Schema):
    id: int
    provider_id: int
    name: str
    plugin: str
    runs_at: Literal["server", "site"]
    agent_id: int | None = Field(description="whose word counts, of a backend at the site")
    enabled: bool
    settings: dict[str, Any] | None = Field(description="without secrets; only told to those who manage backends")
    secrets_set: list[str] | None = Field(description="names of the secrets that have a value; never the values")
    health: str = Field(description="unknown, ok, warning or broken")
    findings: list[FindingOut]
    backend_version: str
    checked_at: datetime | None
    last_contact_at: datetime | None


class BackendIn(Strict):
    provider_id: int
    name: str = Field(max_length=120)
    plugin: str = Field(max_length=40)
    settings: dict[str, Any] = Field({}, description="as the plugin's settings model says, secrets among them")
    runs_at: Literal["server", "site"] = Field(
        "server", description="site: at the provider's, in `bursar agent`, which keeps the settings"
    )


class BackendEdit(Strict):
    name: str | None = Field(None, max_length=120)
    settings: dict[str, Any] | None = Field(
        None,
        description="the settings as a whole; a secret that is left out or empty keeps its value, null takes it away",
    )


def _backend_out(backend: Backend, *, manages: bool) -> dict[str, Any]:
    return {
        "id": backend.pk,
        "provider_id": backend.provider_id,
        "name": backend.name,
        "plugin": backend.plugin,
        "runs_at": backend.runs_at,
        "agent_id": backend.agent_id,
        "enabled": backend.enabled,
        "settings": backend.settings if manages else None,
        "secrets_set": sorted(selectors.secrets_set(backend)) if manages else None,
        "health": backend.health,
        "findings": backend.findings,
        "backend_version": backend.backend_version,
        "checked_at": backend.checked_at,
        "last_contact_at": backend.last_contact_at,
    }


def _backend(request: HttpRequest, backend_id: int) -> Backend:
    return selectors.backend_of_provider(person_of(request), backend_id, at_of(request))


def _backend_shown(request: HttpRequest, backend: Backend) -> dict[str, Any]:
    manages = may(person_of(request), Permission.MANAGE_BACKENDS, backend.provider.organization, at_of(request))
    return _backend_out(backend, manages=manages)


@router.get("/backends", response=Page[BackendOut], tags=["Backends"], summary="Backends you can see")
def list_backends(request: HttpRequest, paging: Paging, provider_id: int | None = None) -> Any:
    person, at = person_of(request), at_of(request)
    rows = selectors.backends_visible_to(person, at).defer(None)
    if provider_id is not None:
        rows = rows.filter(provider_id=provider_id)
    managed = set(organizations_where(person, Permission.MANAGE_BACKENDS, at).values_list("pk", flat=True))
    answer = page_of(request, rows, paging)
    answer["items"] = [_backend_out(row, manages=row.provider.organization_id in managed) for row in answer["items"]]
    return answer


@router.post("/backends", response={201: BackendOut, **PROBLEMS}, tags=["Backends"], summary="Connect a backend")
def create_backend(request: HttpRequest, payload: BackendIn) -> Any:
    """Not tested by this; ask for a test with `/backends/{id}/test`."""
    provider = selectors.provider_by_id(person_of(request), payload.provider_id, at_of(request))
    made = services.create_backend(
        provider=provider,
        name=payload.name,
        plugin=payload.plugin,
        values=payload.settings,
        runs_at=payload.runs_at,
        **who(request),
    )
    return Status(201, _backend_shown(request, made))


@router.get("/backends/{backend_id}", response={200: BackendOut, **PROBLEMS}, tags=["Backends"], summary="A backend")
def get_backend(request: HttpRequest, backend_id: int) -> Any:
    return _backend_shown(request, _backend(request, backend_id))


@router.patch(
    "/backends/{backend_id}", response={200: BackendOut, **PROBLEMS}, tags=["Backends"], summary="Edit a backend"
)
def edit_backend(request: HttpRequest, backend_id: int, payload: BackendEdit) -> Any:
    edited = services.edit_backend(
        backend=_backend(request, backend_id), name=payload.name, values=payload.settings, **who(request)
    )
    return _backend_shown(request, edited)


@router.delete(
    "/backends/{backend_id}", response={204: None, **PROBLEMS}, tags=["Backends"], summary="Remove an unused backend"
)
def delete_backend(request: HttpRequest, backend_id: int) -> Any:
    services.delete_backend(backend=_backend(request, backend_id), **who(request))
    return Status(204, None)


@router.post(
    "/backends/{backend_id}/test", response={200: BackendOut, **PROBLEMS}, tags=["Backends"], summary="Test a backend"
)
def check_backend(request: HttpRequest, backend_id: int) -> Any:
    """The plugin looks at the backend, for at most 20 seconds; the findings say what is wrong."""
    services.check_backend(backend=_backend(request, backend_id), **who(request))
    return _backend_shown(request, _backend(request, backend_id))


@router.post(
    "/backends/{backend_id}/enable", response={200: BackendOut, **PROBLEMS}, tags=["Backends"], summary="Switch it on"
)
def enable_backend(request: HttpRequest, backend_id: int) -> Any:
    found = services.set_backend_enabled(backend=_backend(request, backend_id), enabled=True, **who(request))
    return _backend_shown(request, found)


@router.post(
    "/backends/{backend_id}/disable", response={200: BackendOut, **PROBLEMS}, tags=["Backends"], summary="Switch it off"
)
def disable_backend(request: HttpRequest, backend_id: int) -> Any:
    found = services.set_backend_enabled(backend=_backend(request, backend_id), enabled=False, **who(request))
    return _backend_shown(request, found)


# ------------------------------------------------------------------------------------------------ plugins
class PluginOut(Schema):
    key: str
    title: str
    summary: str
    version: str
    abilities: list[str]
    settings: Mapping[str, Any] = Field(description="JSON Schema of a backend's settings; secrets are writeOnly")
    usable: bool
    why: str = Field(description="why it cannot be used")


@router.get("/plugins", response={200: Page[PluginOut], **PROBLEMS}, tags=["Backends"], summary="The plugin registry")
def list_plugins(request: HttpRequest, paging: Paging) -> Any:
    """For those who manage backends somewhere, and those who read the platform."""
    person, at = person_of(request), at_of(request)
    if not (
        may(person, Permission.READ_PLATFORM, None, at)
        or organizations_where(person, Permission.MANAGE_BACKENDS, at).filter(provider__isnull=False).exists()
    ):
        roles = sorted(str(role.title) for role in roles_with(Permission.MANAGE_BACKENDS))
        raise NotAllowed(permission=Permission.MANAGE_BACKENDS.value, roles=", ".join(roles))
    good = [
        {
            "key": entry.key,
            "title": entry.title,
            "summary": entry.summary,
            "version": entry.version,
            "abilities": list(entry.abilities),
            "settings": entry.plugin.Settings.model_json_schema(),
            "usable": True,
            "why": "",
        }
        for entry in registry.installed()
    ]
    bad = [
        {
            "key": each.name,
            "title": each.name,
            "summary": "",
            "version": "",
            "abilities": [],
            "settings": {},
            "usable": False,
            "why": each.why,
        }
        for each in registry.broken()
    ]
    return page_of(request, [*good, *bad], paging)
