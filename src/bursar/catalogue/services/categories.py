"""Product categories, the units of account, and the products in them."""

from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from bursar.catalogue.errors import CategoryArchived, CategoryInUse, CategorySealed, InvalidInput
from bursar.catalogue.lifecycle import OfferingState
from bursar.catalogue.models import Offering, Product, ProductCategory, ServiceProvider
from bursar.catalogue.services._common import check, field_titles, names_once, require_for_provider, set_fields, tell
from bursar.structure.models import Person
from bursar.structure.roles import Permission

SEALED_FIELDS: Final = ("name", "product_type", "charging", "unit_name", "ticks_per_unit")


@transaction.atomic
def create_category(
    *,
    provider: ServiceProvider,
    name: str,
    title: str,
    product_type: str,
    charging: str,
    unit_name: str,
    by: Person | None,
    at: datetime,
    ticks_per_unit: int = 1,
    description: str = "",
    requires_allocation: bool = True,
    allows_suballocation: bool = True,
    allows_overallocation: bool = True,
    grace_days: int = 7,
) -> ProductCategory:
    """A new unit of account of the provider.

    ticks_per_unit   smallest amounts in one unit, >= 1 (3600 core-seconds in a core-hour)
    raises           NotAllowed; ProviderNotAuthorized; InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_CATEGORIES, provider, at)
    category = ProductCategory(
        provider=provider,
        name=name,
        title=title,
        description=description,
        product_type=product_type,
        charging=charging,
        unit_name=unit_name,
        ticks_per_unit=ticks_per_unit,
        requires_allocation=requires_allocation,
        allows_suballocation=allows_suballocation,
        allows_overallocation=allows_overallocation,
        grace_days=grace_days,
    )
    _save_category(category)
    tell("category.created", category, provider, by=by, at=at, name=name, unit=unit_name, ticks_per_unit=ticks_per_unit)
    return category


@transaction.atomic
def edit_category(*, category: ProductCategory, by: Person | None, at: datetime, **changes: Any) -> ProductCategory:
    """Change any of the fields of `create_category`; those in SEALED_FIELDS only until the category is sealed.

    raises   NotAllowed; ProviderNotAuthorized; CategorySealed; InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_CATEGORIES, category.provider, at)
    category = _lock_category(category)
    changed = set_fields(category, changes)
    sealed = [name for name in changed if name in SEALED_FIELDS]
    if sealed and category.sealed_at is not None:
        raise CategorySealed(category=category.title, fields=field_titles(ProductCategory, sealed))
    _save_category(category)
    if changed:
        tell("category.edited", category, category.provider, by=by, at=at, fields=changed)
    return category


def seal_category(*, category_id: int, at: datetime) -> None:
    """From now on somebody counts in this category: its unit can never change. Called in the caller's transaction with
    the first wallet, and with the first activation of an offering that draws on it. Twice is once.
    """
    ProductCategory.objects.filter(pk=category_id, sealed_at=None).update(sealed_at=at)


@transaction.atomic
def archive_category(*, category: ProductCategory, by: Person | None, at: datetime) -> ProductCategory:
    """No new component may draw on it; wallets and what is sold go on. Twice is once.

    raises   NotAllowed; ProviderNotAuthorized; CategoryInUse while an offering on the shelf draws on it
    """
    require_for_provider(by, Permission.MANAGE_CATEGORIES, category.provider, at)
    category = _lock_category(category)
    users = Offering.objects.filter(
        components__category=category, state__in=[OfferingState.ACTIVE, OfferingState.PAUSED]
    ).distinct()
    names = list(users.order_by("name").values_list("name", flat=True))
    if names:
        raise CategoryInUse(category=category.title, offerings=", ".join(names))
    if category.archived_at is None:
        category.archived_at = at
        category.save(update_fields=["archived_at"])
        tell("category.archived", category, category.provider, by=by, at=at)
    return category


@transaction.atomic
def unarchive_category(*, category: ProductCategory, by: Person | None, at: datetime) -> ProductCategory:
    """raises   NotAllowed; ProviderNotAuthorized"""
    require_for_provider(by, Permission.MANAGE_CATEGORIES, category.provider, at)
    category = _lock_category(category)
    if category.archived_at is not None:
        category.archived_at = None
        category.save(update_fields=["archived_at"])
        tell("category.unarchived", category, category.provider, by=by, at=at)
    return category


@transaction.atomic
def create_product(
    *,
    category: ProductCategory,
    name: str,
    title: str,
    by: Person | None,
    at: datetime,
    ticks_per_charge: int = 0,
    specs: dict[str, Any] | None = None,
    description: str = "",
) -> Product:
    """A concrete slice of a category.

    ticks_per_charge   what it draws per minute, hour or day of the category (once: while it exists), >= 0
    raises             NotAllowed; ProviderNotAuthorized; CategoryArchived; InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_CATEGORIES, category.provider, at)
    category = _lock_category(category)
    if category.archived_at is not None:
        raise CategoryArchived(category=category.title)
    product = Product(
        category=category,
        name=name,
        title=title,
        description=description,
        specs=specs or {},
        ticks_per_charge=ticks_per_charge,
    )
    _save_product(product)
    tell("product.created", product, category.provider, by=by, at=at, name=name, category=category.pk)
    return product


@transaction.atomic
def edit_product(*, product: Product, by: Person | None, at: datetime, **changes: Any) -> Product:
    """Change title, description, specs or ticks_per_charge. The name stays: programs use it.

    raises   NotAllowed; ProviderNotAuthorized; InvalidInput
    """
    require_for_provider(by, Permission.MANAGE_CATEGORIES, product.category.provider, at)
    product = Product.objects.select_for_update(of=("self",)).select_related("category__provider").get(pk=product.pk)
    changed = set_fields(product, changes)
    _save_product(product)
    if changed:
        tell("product.edited", product, product.category.provider, by=by, at=at, fields=changed)
    return product


@transaction.atomic
def archive_product(*, product: Product, by: Person | None, at: datetime) -> Product:
    """raises   NotAllowed; ProviderNotAuthorized"""
    return _set_product_archived(product, at, by=by, at=at)


@transaction.atomic
def unarchive_product(*, product: Product, by: Person | None, at: datetime) -> Product:
    """raises   NotAllowed; ProviderNotAuthorized"""
    return _set_product_archived(product, None, by=by, at=at)


def _set_product_archived(
    product: Product, archived_at: datetime | None, *, by: Person | None, at: datetime
) -> Product:
    provider = product.category.provider
    require_for_provider(by, Permission.MANAGE_CATEGORIES, provider, at)
    product = Product.objects.select_for_update().get(pk=product.pk)
    if (product.archived_at is None) != (archived_at is None):
        product.archived_at = archived_at
        product.save(update_fields=["archived_at"])
        kind = "product.unarchived" if archived_at is None else "product.archived"
        tell(kind, product, provider, by=by, at=at)
    return product


def _lock_category(category: ProductCategory) -> ProductCategory:
    return (
        ProductCategory.objects.select_for_update(of=("self",))
        .select_related("provider__organization")
        .get(pk=category.pk)
    )


def _save_category(category: ProductCategory) -> None:
    check(category)
    _at_least("ticks_per_unit", category.ticks_per_unit, 1)
    if category.grace_days > 366:
        raise _invalid("grace_days", _("It may be at most 366 days."))
    with names_once({"category_name_once_per_provider": ("name", category.name)}):
        category.save()


def _save_product(product: Product) -> None:
    check(product)
    _at_least("ticks_per_charge", product.ticks_per_charge, 0)
    if not isinstance(product.specs, dict):
        raise _invalid("specs", _("It must be an object of names and values."))
    with names_once({"product_name_once_per_category": ("name", product.name)}):
        product.save()


def _at_least(field: str, value: int, smallest: int) -> None:
    if value < smallest:
        raise _invalid(field, _("It must be at least %(smallest)s.") % {"smallest": smallest})


def _invalid(field: str, text: str) -> InvalidInput:
    return InvalidInput.of({field: text})
