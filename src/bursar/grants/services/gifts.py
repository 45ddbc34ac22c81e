"""Gifts: offered, closed, taken. Never twice by one person in a period, never beyond what the giver holds."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.formats import date_format

from bursar.accounting import services as accounting
from bursar.accounting.books import lock as lock_ledger
from bursar.catalogue.models import ProductCategory
from bursar.events.services import Happening, record
from bursar.grants import admission, capacity
from bursar.grants.errors import GiftNotFound, GiftNotPossible, GiftTaken, GiftUsedUp
from bursar.grants.models import Criterion, Gift, GiftAmount, GiftClaim
from bursar.grants.periods import period_of
from bursar.grants.services.givers import Line, check_lines
from bursar.kernel.quantity import TICKS_MAX
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require
from bursar.structure.selectors import workspace_of
from bursar.structure.text import clean_line, clean_text


@transaction.atomic
def offer_gift(
    *,
    workspace: Workspace,
    title: str,
    amounts: Mapping[int, int],
    start: datetime,
    end: datetime,
    claims_max: int,
    every_months: int = 0,
    lines: Sequence[Line] = (),
    description: str = "",
    by: Person | None,
    at: datetime,
) -> Gift:
    """Offer so much to everybody whom a line fits, once or every so many months, from `start` until `end`.

    amounts   product category id -> ticks
    raises    NotAllowed (MANAGE_GRANTS); GiftNotPossible; InvalidCriterion; NotOffered; TextMissing and its kin
    """
    require(by, Permission.MANAGE_GRANTS, workspace, at)
    criteria = check_lines(lines)
    if not any(line.side == Criterion.Side.ALLOW for line in criteria):
        raise GiftNotPossible(expected="a line that says for whom it is")
    if end <= start or end <= at or not 0 <= every_months <= 120:
        raise GiftNotPossible(expected="an end after its start, in the future, and 0 to 120 months")
    if not amounts or not all(0 < ticks <= TICKS_MAX for ticks in amounts.values()):
        raise GiftNotPossible(expected="an amount of at least one category")
    if not 1 <= claims_max <= 1_000_000:
        raise GiftNotPossible(expected="a bound of 1 to 1,000,000 times in all")
    offered = {offer.category.pk for offer in admission.offers_of([workspace], at).get(workspace.pk, ())}
    if not set(amounts) <= offered:
        raise GiftNotPossible(expected="categories of which the giver has something to give")
    gift = Gift.objects.create(
        workspace=workspace,
        title=clean_line(title, field="title", limit=120),
        description=clean_text(description, field="description", limit=2000),
        start=start,
        end=end,
        every_months=every_months,
        claims_max=claims_max,
        made_by=by,
        made_at=at,
    )
    GiftAmount.objects.bulk_create(
        [GiftAmount(gift=gift, category_id=key, ticks=ticks) for key, ticks in amounts.items()]
    )
    for line in criteria:
        line.gift = gift
    Criterion.objects.bulk_create(criteria)
    _tell("offered", gift, by=by, at=at)
    return gift


@transaction.atomic
def close_gift(*, gift_id: int, by: Person | None, at: datetime) -> Gift:
    """Offer a gift no longer; what was taken stays. Closing twice is once.

    raises   GiftNotFound; NotAllowed
    """
    gift = _lock(gift_id)
    require(by, Permission.MANAGE_GRANTS, gift.workspace, at)
    if gift.closed_at is None:
        gift.closed_at = at
        gift.save()
        _tell("closed", gift, by=by, at=at)
    return gift


@transaction.atomic
def claim_gift(*, gift_id: int, by: Person, at: datetime) -> GiftClaim:
    """Take a gift into one's personal workspace, until its period ends.

    raises   GiftNotFound, also for whom it is not meant; GiftTaken; GiftUsedUp; NotAllowed; NotOffered and its kin;
             BeyondWhatIsHeld
    """
    gift = _lock(gift_id)
    workspace = workspace_of(by)
    require(by, Permission.APPLY_FOR_GRANTS, workspace, at)
    if gift.closed_at is not None or not gift.start <= at < gift.end:
        raise GiftNotFound
    if not admission.is_allowed(admission.asker_of(by, at), gift.criteria.all()):
        raise GiftNotFound
    period, end = period_of(gift, at)
    if GiftClaim.objects.filter(gift=gift, person=by, period=period).exists():
        raise GiftTaken(next=date_format(end, "DATE_FORMAT") if end < gift.end else "–")
    if gift.claimed >= gift.claims_max:
        raise GiftUsedUp
    try:
        with transaction.atomic():
            claim = GiftClaim.objects.create(gift=gift, person=by, period=period, at=at)
    except IntegrityError:
        raise GiftTaken(next=date_format(end, "DATE_FORMAT")) from None
    Gift.objects.filter(pk=gift.pk).update(claimed=F("claimed") + 1)
    amounts = list(gift.amounts.select_related("category__provider__organization").order_by("category_id"))
    for amount in amounts:
        lock_ledger(amount.category_id)
    for amount in amounts:
        category: ProductCategory = amount.category
        room = capacity.require_room(gift.workspace, category, amount.ticks, start=at, end=end)
        accounting.allocate(
            workspace=workspace,
            category=category,
            source=room.source,
            quota_ticks=amount.ticks,
            start=at,
            end=end,
            note=gift.title,
            by=None,
            at=at,
        )
    _tell("claimed", gift, by=by, at=at, facts={"period": period})
    return claim


def _lock(gift_id: int) -> Gift:
    gift = (
        Gift.objects.select_for_update(of=("self",))
        .select_related("workspace__project__organization", "workspace__organization")
        .filter(pk=gift_id)
        .first()
    )
    if gift is None:
        raise GiftNotFound
    return gift


def _tell(kind: str, gift: Gift, *, by: Person | None, at: datetime, facts: Mapping[str, object] | None = None) -> None:
    project = gift.workspace.project
    record(
        Happening(
            kind=f"gift.{kind}",
            subject_type="gift",
            subject_id=gift.pk,
            facts=facts or {},
            organization_id=gift.workspace.organization_id if project is None else project.organization_id,
            project_id=None if project is None else project.pk,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )
