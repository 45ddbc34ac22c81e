"""The shelf tree of the shop: few rows, changed by the operator, so each change locks them all."""

from datetime import datetime
from typing import Any

from django.db import transaction

from bursar.catalogue.errors import ShelfCycle, ShelfNotEmpty, ShelfNotFound
from bursar.catalogue.models import Offering, OfferingCategory
from bursar.catalogue.services._common import check, names_once, set_fields, tell
from bursar.structure.models import Person
from bursar.structure.roles import Permission, require


@transaction.atomic
def create_shelf(
    *,
    title: str,
    slug: str,
    by: Person | None,
    at: datetime,
    parent: OfferingCategory | None = None,
    description: str = "",
    icon: str = "",
    position: int = 0,
) -> OfferingCategory:
    """raises   NotAllowed; InvalidInput; NameTaken"""
    require(by, Permission.OPERATE_PLATFORM, None, at)
    shelf = OfferingCategory(
        title=title, slug=slug, parent=parent, description=description, icon=icon, position=position
    )
    _save(shelf)
    tell("shelf.created", shelf, None, by=by, at=at, slug=slug)
    return shelf


@transaction.atomic
def edit_shelf(*, shelf: OfferingCategory, by: Person | None, at: datetime, **changes: Any) -> OfferingCategory:
    """Change title, slug, description, icon or position, or move it below another (`parent`; None = to the top).

    raises   NotAllowed; InvalidInput; NameTaken; ShelfCycle
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    shelves = _lock_all()
    shelf = _of(shelves, shelf.pk)
    changed = set_fields(shelf, changes)
    if "parent" in changed and shelf.parent_id is not None:
        above: int | None = shelf.parent_id
        while above is not None:
            if above == shelf.pk:
                raise ShelfCycle(shelf=shelf.title)
            above = _of(shelves, above).parent_id
    _save(shelf)
    if changed:
        tell("shelf.edited", shelf, None, by=by, at=at, fields=changed)
    return shelf


@transaction.atomic
def delete_shelf(*, shelf: OfferingCategory, by: Person | None, at: datetime) -> None:
    """Remove an empty shelf.

    raises   NotAllowed; ShelfNotEmpty
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    shelves = _lock_all()
    shelf = _of(shelves, shelf.pk)
    below = sum(other.parent_id == shelf.pk for other in shelves.values())
    offerings = Offering.objects.filter(shelf=shelf).count()
    if below or offerings:
        raise ShelfNotEmpty(shelf=shelf.title, shelves=below, offerings=offerings)
    tell("shelf.deleted", shelf, None, by=by, at=at, slug=shelf.slug)
    shelf.delete()


def _lock_all() -> dict[int, OfferingCategory]:
    return {shelf.pk: shelf for shelf in OfferingCategory.objects.select_for_update().order_by("pk")}


def _of(shelves: dict[int, OfferingCategory], pk: int) -> OfferingCategory:
    if pk not in shelves:
        raise ShelfNotFound
    return shelves[pk]


def _save(shelf: OfferingCategory) -> None:
    check(shelf)
    with names_once({"offering_category_slug_key": ("slug", shelf.slug)}):
        shelf.save()
