"""Gifts: offered, closed, taken. Never twice by one person in a period, never beyond what the giver holds."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils.formats import date_format

from bursar.accounting import services as accounting
from bursar.accounting.books import lock as lock_ledger
from bursar.catalogue.models import ProductCategory
from bursar.events.jobs import defer
from bursar.events.services import Happening, record
from bursar.grants import admission, capacity
from bursar.grants.errors import GiftNotFound, GiftNotPossible, GiftTaken, GiftUsedUp
from bursar.grants.models import Criterion, Gift, GiftAmount, GiftClaim
from bursar.grants.notices import ask_for_notices
from bursar.grants.periods import period_of
from bursar.grants.services.givers import Line, check_lines
from bursar.kernel.errors import DomainError
from bursar.kernel.quantity import TICKS_MAX
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require
from bursar.structure.selectors import workspace_of
from bursar.structure.text import clean_line, clean_text

logger = logging.getLogger(__name__)


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
    at_login: bool = False,
    by: Person | None,
    at: datetime,
) -> Gift:
    """Offer so much to everybody whom a line fits, once or every so many months, from `start` until `end`.

    amounts   product category id -> ticks
    at_login  it is given at the first login in each period; it can be taken by a click all the same
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
        at_login=at_login,
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
def set_gift_at_login(*, gift_id: int, at_login: bool, by: Person | None, at: datetime) -> Gift:
    """Give a gift at login from now on, or no longer. Who is known already gets it at their next login, as a newcomer does.

    raises   GiftNotFound; NotAllowed
    """
    gift = _lock(gift_id)
    require(by, Permission.MANAGE_GRANTS, gift.workspace, at)
    if gift.at_login != at_login:
        gift.at_login = at_login
        gift.save()
        _tell("at_login_set", gift, by=by, at=at, facts={"at_login": at_login})
    return gift


@transaction.atomic
def claim_gift(*, gift_id: int, by: Person, at: datetime) -> GiftClaim:
    """Take a gift into one's personal workspace, until its period ends.

    raises   GiftNotFound, also for whom it is not meant; GiftTaken; GiftUsedUp; NotAllowed; NotOffered and its kin;
             BeyondWhatIsHeld
    """
    return _give(_lock(gift_id), by, by=by, at=at)


def ask_for_gifts_at_login(person: Person, at: datetime) -> None:
    """Have somebody who has just logged in given what is given at login: by a job, so that no login waits for a ledger.

    Whatever stands against it is written to the log and hinders nobody; the next login asks again.
    """
    from bursar.grants import tasks

    try:
        if gifts_at_login(at).exists():
            defer(tasks.give_gifts_at_login, queueing_lock=f"gifts-{person.pk}", person_id=person.pk)
    except DatabaseError:
        logger.exception("the gifts for person %s could not be asked for", person.pk)


def give_gifts_at_login(*, person: Person, at: datetime) -> list[GiftClaim]:
    """Give a person what is given at login and they have not got in the present period; what was given.

    Each gift is a transaction of its own: one that is refused (nothing left, its giver holds too little) takes no other
    with it, and is told in the log alone, as the person did not ask for it.
    """
    taken = set(GiftClaim.objects.filter(person=person).values_list("gift_id", "period"))
    asker = admission.asker_of(person, at)
    given = []
    for gift in gifts_at_login(at).filter(claimed__lt=F("claims_max")).prefetch_related("criteria").order_by("pk"):
        if (gift.pk, period_of(gift, at)[0]) in taken or not admission.is_allowed(asker, gift.criteria.all()):
            continue  # seen without a lock; decided below
        try:
            with transaction.atomic():
                locked = _lock(gift.pk)
                if locked.at_login:
                    given.append(_give(locked, person, by=None, at=at))
        except DomainError as refusal:
            logger.info("gift %s was not given to person %s at login: %s", gift.pk, person.pk, refusal.code)
    return given


def gifts_at_login(at: datetime) -> QuerySet[Gift]:
    return Gift.objects.filter(at_login=True, closed_at=None, start__lte=at, end__gt=at)


def _give(gift: Gift, person: Person, *, by: Person | None, at: datetime) -> GiftClaim:
    """Give a locked gift to a person; `by` None = at login."""
    workspace = workspace_of(person)
    require(person, Permission.APPLY_FOR_GRANTS, workspace, at)
    if gift.closed_at is not None or not gift.start <= at < gift.end:
        raise GiftNotFound
    if not admission.is_allowed(admission.asker_of(person, at), gift.criteria.all()):
        raise GiftNotFound
    period, end = period_of(gift, at)
    if GiftClaim.objects.filter(gift=gift, person=person, period=period).exists():
        raise GiftTaken(next=date_format(end, "DATE_FORMAT") if end < gift.end else "–")
    if gift.claimed >= gift.claims_max:
        raise GiftUsedUp
    try:
        with transaction.atomic():
            claim = GiftClaim.objects.create(gift=gift, person=person, period=period, at=at)
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
    _tell("claimed", gift, by=by, at=at, facts={"period": period, "person_id": person.pk, "at_login": by is None})
    if by is None:  # whoever clicked knows
        ask_for_notices("given", gift, [person.pk], by=None, at=at)
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
