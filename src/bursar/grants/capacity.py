"""What a giver can still give of a category during a period, read from the ledger's rows."""

from collections.abc import Iterable, Sequence
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
    promised = _rows(Allocation.objects.filter(category=category, source=wallet, closed_at=None))
    return _within(giver, category, wallet, held, promised, percent_of(giver, category), micros(start), micros(end))


def _within(
    giver: Workspace,
    category: ProductCategory,
    wallet: Wallet,
    held: Sequence[Held],
    promised: Sequence[Held],
    percent: int,
    begins: int,
    ends: int,
) -> Room:
    """raises   NotOffered; NotYetOffered, NotOfferedThatLong, naming the day"""
    first = held_from(held, begins)
    if first is None:
        raise NotOffered(giver=str(giver), category=category.title)
    if first > begins:
        raise NotYetOffered(giver=str(giver), category=category.title, start=_day(first))
    last = held_until(held, begins)
    if last < ends:
        raise NotOfferedThatLong(giver=str(giver), category=category.title, end=_day(last))
    left = left_to_promise(held, promised, start=begins, end=ends, percent=percent)
    quota = min(
        sum(one.quota for one in held if one.is_open(at))
        for at in {begins, *(one.start for one in held if begins < one.start < ends)}
    )
    return Room(wallet, quota, left)


def percent_of(giver: Workspace, category: ProductCategory) -> int:
    """How many per cent of what it holds a giver may promise."""
    if not category.allows_overallocation:
        return 100
    stated = GiverSettings.objects.filter(workspace=giver).values_list("promise_percent", flat=True).first()
    return stated or 100


@dataclass(frozen=True, slots=True)
class _Row:
    made: datetime
    closed: datetime | None
    application_id: int | None
    held: Held


class Past:
    """What a giver could have promised at instants that are over, as far as the ledger's rows still tell.

    Allocations that were made later, for the asking application itself, or had been closed by then, are left out. Quota
    that was changed since counts as it is now, and what the giver used by itself is left aside: the rows do not say when
    it was drawn. The rows of all categories are read at once, however many instants are asked about.
    """

    def __init__(self, giver: Workspace, categories: Iterable[ProductCategory]) -> None:
        self.giver = giver
        self.categories = {category.pk: category for category in categories}
        wallets = Wallet.objects.filter(workspace=giver, category__in=self.categories).select_related("workspace")
        self.wallets = {wallet.category_id: wallet for wallet in wallets}
        self.percents = {key: percent_of(giver, category) for key, category in self.categories.items()}
        self.held = self._rows("wallet")
        self.promised = self._rows("source")

    def _rows(self, side: str) -> dict[int, list[_Row]]:
        rows = Allocation.objects.filter(**{f"{side}__in": self.wallets.values()}, quota_ticks__gt=0)
        found: dict[int, list[_Row]] = {}
        names = ("category_id", "made_at", "closed_at", "awarded__award__application_id", "quota_ticks", "start", "end")
        for category, made, closed, application, quota, start, end in rows.values_list(*names):
            held = Held(quota, 0, micros(start), micros(end))
            found.setdefault(category, []).append(_Row(made, closed, application, held))
        return found

    def room(self, category_id: int, *, at: datetime, start: datetime, end: datetime, application_id: int) -> Room:
        """raises   as `room`"""
        category = self.categories[category_id]
        if is_root(self.giver, category):
            return Room(None, None, None)
        wallet = self.wallets.get(category_id)
        if wallet is None or not category.allows_suballocation:
            raise NotOffered(giver=str(self.giver), category=category.title)
        held, promised = (
            [
                row.held
                for row in rows.get(category_id, ())
                if row.made <= at and (row.closed is None or row.closed > at) and row.application_id != application_id
            ]
            for rows in (self.held, self.promised)
        )
        percent = self.percents[category_id]
        return _within(self.giver, category, wallet, held, promised, percent, micros(start), micros(end))


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
