"""A provider's own list of categories and products, put as it should be: what is as it should be is left alone.

Things are known by their names, which are the provider's keys. Putting the same twice changes nothing and tells nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.db import models, transaction
from django.db.models import Min
from django.utils.formats import date_format
from django.utils.translation import gettext

from bursar.catalogue.errors import (
    CategoryCarriesHistory,
    CategorySealed,
    CategoryUnknown,
    NamedTwice,
    PutsAtFault,
    TooManyPuts,
)
from bursar.catalogue.models import Offering, Product, ProductCategory, ServiceProvider
from bursar.catalogue.services._common import check, require_for_provider
from bursar.catalogue.services.categories import (
    create_category,
    create_product,
    edit_category,
    edit_product,
)
from bursar.kernel.errors import At, DomainError
from bursar.kernel.refusals import words
from bursar.structure.models import Person
from bursar.structure.roles import Permission

PUTS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class CategoryPut:
    """fields   those of `create_category`, without the name"""

    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProductPut:
    """category   the name of the category it is in
    fields     those of `create_product`, without the name
    """

    category: str
    name: str
    fields: Mapping[str, Any]


class Change(StrEnum):
    CREATED = "created"
    CHANGED = "changed"
    SAME = "same"


@dataclass(slots=True)
class Stood:
    """What stands after a put, in the order of what was put, each with what was done about it."""

    categories: list[tuple[ProductCategory, Change]] = field(default_factory=list)
    products: list[tuple[Product, Change]] = field(default_factory=list)


@transaction.atomic
def put_catalogue(
    *,
    provider: ServiceProvider,
    categories: Sequence[CategoryPut] = (),
    products: Sequence[ProductPut] = (),
    by: Person | None,
    at: datetime,
) -> Stood:
    """Make categories, and then products in them or in others of the provider, be as said: all of them or none.

    What is not named stays as it is, archived ones too.
    raises   NotAllowed; ProviderNotAuthorized; TooManyPuts; PutsAtFault, which holds for each at fault: NamedTwice,
             InvalidInput, CategoryCarriesHistory, CategoryUnknown, CategoryArchived
    """
    require_for_provider(by, Permission.MANAGE_CATEGORIES, provider, at)
    if not 1 <= len(categories) + len(products) <= PUTS_MAX:
        raise TooManyPuts(limit=PUTS_MAX)
    ServiceProvider.objects.select_for_update().only("pk").get(pk=provider.pk)  # two at once: one after the other
    stood, faults = Stood(), []
    known = {
        c.name: c for c in ProductCategory.objects.filter(provider=provider).select_related("provider__organization")
    }
    named: set[Any] = set()
    for index, wish in enumerate(categories):
        try:
            _once(named, wish.name)
            stood.categories.append(_put_category(provider, known, wish, by, at))
        except DomainError as refusal:
            faults.append(At(index, refusal, "categories"))
    there = {
        (p.category_id, p.name): p
        for p in Product.objects.filter(category__provider=provider).select_related("category__provider__organization")
    }
    failed = {categories[each.index].name for each in faults}
    for index, slice_ in enumerate(products):
        try:
            _once(named, (slice_.category, slice_.name))
            if slice_.category in known:
                stood.products.append(_put_product(known[slice_.category], there, slice_, by, at))
            elif slice_.category not in failed:  # else the category's own fault says it
                raise CategoryUnknown(category=slice_.category[:60])
        except DomainError as refusal:
            faults.append(At(index, refusal, "products"))
    if faults:
        raise PutsAtFault(count=len(faults), first=words(faults[0].refusal, gettext), each=tuple(faults))
    return stood


def put_category(
    *, provider: ServiceProvider, wish: CategoryPut, by: Person | None, at: datetime
) -> tuple[ProductCategory, Change]:
    """One category. raises   as `put_catalogue`, the fault itself"""
    try:
        return put_catalogue(provider=provider, categories=[wish], by=by, at=at).categories[0]
    except PutsAtFault as refusal:
        raise refusal.each[0].refusal from None


def put_product(
    *, provider: ServiceProvider, wish: ProductPut, by: Person | None, at: datetime
) -> tuple[Product, Change]:
    """One product. raises   as `put_catalogue`, the fault itself"""
    try:
        return put_catalogue(provider=provider, products=[wish], by=by, at=at).products[0]
    except PutsAtFault as refusal:
        raise refusal.each[0].refusal from None


def _once(named: set[Any], key: Any) -> None:
    if key in named:
        raise NamedTwice(name=key if isinstance(key, str) else "/".join(key))
    named.add(key)


def _put_category(
    provider: ServiceProvider,
    known: dict[str, ProductCategory],
    wish: CategoryPut,
    by: Person | None,
    at: datetime,
) -> tuple[ProductCategory, Change]:
    found = known.get(wish.name)
    if found is None:
        made = create_category(provider=provider, name=wish.name, by=by, at=at, **wish.fields)
        known[made.name] = made
        return made, Change.CREATED
    changes = _changes(found, ProductCategory(provider=provider, name=wish.name, **wish.fields), wish.fields)
    if not changes:
        return found, Change.SAME
    try:
        known[wish.name] = edit_category(category=found, by=by, at=at, **changes)
    except CategorySealed as refusal:
        assert found.sealed_at is not None
        raise CategoryCarriesHistory(
            category=found.title,
            since=date_format(found.sealed_at, "DATE_FORMAT"),
            carriers=_carriers(found),
            fields=refusal.fields,
        ) from None
    return known[wish.name], Change.CHANGED


def _put_product(
    category: ProductCategory,
    there: Mapping[tuple[int, str], Product],
    wish: ProductPut,
    by: Person | None,
    at: datetime,
) -> tuple[Product, Change]:
    found = there.get((category.pk, wish.name))
    if found is None:
        return create_product(category=category, name=wish.name, by=by, at=at, **wish.fields), Change.CREATED
    changes = _changes(found, Product(category=category, name=wish.name, **wish.fields), wish.fields)
    if not changes:
        return found, Change.SAME
    return edit_product(product=found, by=by, at=at, **changes), Change.CHANGED


def _changes(found: models.Model, wanted: models.Model, names: Mapping[str, Any]) -> dict[str, Any]:
    """What differs, after texts are tidied as they are when they are saved: a blank at the end is no change.

    raises   InvalidInput
    """
    check(wanted)
    return {name: getattr(wanted, name) for name in names if getattr(wanted, name) != getattr(found, name)}


def _carriers(category: ProductCategory) -> str:
    """What counts in a sealed category: it was sealed by its first wallet, or by the first offering that drew on it."""
    offerings = Offering.objects.filter(components__category=category, activated_at__isnull=False).distinct()
    names = list(offerings.order_by("name").values_list("name", flat=True)[:3])
    first = offerings.aggregate(first=Min("activated_at"))["first"]
    by_wallets = first is None or (category.sealed_at is not None and category.sealed_at < first)
    said = [gettext("wallets with their allocations and reports")] if by_wallets else []
    if names:
        said.append(gettext("what was sold of {offerings}").format(offerings=", ".join(f"“{name}”" for name in names)))
    return gettext(" and ").join(said)
