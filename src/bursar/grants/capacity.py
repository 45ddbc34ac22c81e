"""What a giver can still give of a category during a period, read from the ledger's rows."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils.formats import date_format

from bursar.accounting.books import instant, micros
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.engine.promise import Held, held_from, held_until, left_to_promise
from bursar.grants.errors import BeyondWhatIsHeld, NotOffered, NotOfferedThatLong, NotYetOffered
from bursar.grants.models import GiverSettings
from bursar.structure.models import Workspace


@dataclass(frozen=True, slots=True)
class Room:
    """What a giver can promise of a category throughout a period. `left_ticks` None: it is the provider, no bound.

    source   the wallet that a grant draws from; None = the provider itself
    """

    source: Wallet | None
    held_ticks: int | None
    left_ticks: int | None


def is_root(giver: Workspace, category: ProductCategory) -> bool:
    """Whether the giver is the category's provider, whose award makes a root allocation."""
    return giver.organization_id is not None and category.provider.organization_id == giver.organization_id


def room(giver: Workspace, category: ProductCategory, *, start: datetime, end: datetime) -> Room:
    """raises   NotOffered; NotYetOffered, NotOfferedThatLong, naming the day"""
    refused = NotOffered(giver=str(giver), category=category.title)
    if category.archived_at is not None or not category.requires_allocation:
        raise refused
    if is_root(giver, category):
        if category.provider.revoked_at is not None:
            raise refused
        return Room(None, None, None)
    wallet = Wallet.objects.filter(category=category, workspace=giver).select_related("category", "workspace").first()
    if wallet is None or not category.allows_suballocation:
        raise refused
    held = _rows(Allocation.objects.filter(category=category, wallet=wallet, closed_at=None, quota_ticks__gt=0))
    begins, ends = micros(start), micros(end)
    first = held_from(held, begins)
    if first is None:
        raise refused
    if first > begins:
        raise NotYetOffered(giver=str(giver), category=category.title, start=_day(first))
    last = held_until(held, begins)
    if last < ends:
        raise NotOfferedThatLong(giver=str(giver), category=category.title, end=_day(last))
    promised = _rows(Allocation.objects.filter(category=category, source=wallet, closed_at=None))
    percent = 100
    if category.allows_overallocation:
        stated = GiverSettings.objects.filter(workspace=giver).values_list("promise_percent", flat=True).first()
        percent = stated or 100
    left = left_to_promise(held, promised, start=begins, end=ends, percent=percent)
    quota = min(
        sum(one.quota for one in held if one.is_open(at))
        for at in {begins, *(one.start for one in held if begins < one.start < ends)}
    )
    return Room(wallet, quota, left)


def require_room(giver: Workspace, category: ProductCategory, ticks: int, *, start: datetime, end: datetime) -> Room:
    """raises   as `room`; BeyondWhatIsHeld"""
    found = room(giver, category, start=start, end=end)
    if found.left_ticks is not None and ticks > found.left_ticks:
        unit = category.unit
        raise BeyondWhatIsHeld(
            giver=str(giver),
            category=category.title,
            asked=unit.text(ticks),
            left=unit.text(max(0, found.left_ticks)),
            unit=unit.name,
        )
    return found


def _rows(allocations: QuerySet[Allocation]) -> list[Held]:
    rows = allocations.values_list("quota_ticks", "drawn_ticks", "start", "end")
    return [Held(quota, drawn, micros(start), micros(end)) for quota, drawn, start, end in rows]


def _day(count: int) -> str:
    return date_format(instant(count), "DATE_FORMAT")
