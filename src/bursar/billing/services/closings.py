"""Closing a month because somebody asked for it on a page: by a job, whose way can be looked at."""

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils.translation import gettext

from bursar.billing.errors import ClosingUnderWay
from bursar.billing.models import Closing
from bursar.billing.services._common import lock_seller, seller_of, terms_of
from bursar.billing.services.invoices import close_month, is_closed, month_in_words
from bursar.catalogue.models import ServiceProvider
from bursar.events.jobs import defer
from bursar.kernel import clock
from bursar.kernel.errors import DomainError
from bursar.kernel.i18n import N_
from bursar.kernel.refusals import words
from bursar.structure.models import Person
from bursar.structure.roles import Permission, require

log = logging.getLogger(__name__)

SILENT_AFTER: Final = timedelta(minutes=10)
TOLD_EVERY: Final = timedelta(seconds=1)
BROKEN: Final = N_("It stopped by a fault of the program, which is in its log. What was issued stays issued.")


@transaction.atomic
def ask_to_close(*, provider: ServiceProvider, month: date, by: Person | None, at: datetime) -> Closing | None:
    """Have a month closed by a job. Of one that nothing was heard of for long, another job goes on with what is left.

    returns   None when the month is closed already
    raises    NotAllowed; MonthNotBilled, MonthNotOver, OlderMonthOpen, ClosingUnderWay
    """
    from bursar.billing.tasks import close_seller_month  # tasks import the services

    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    seller = lock_seller(seller_of(provider, at))
    month = month.replace(day=1)
    if is_closed(seller, terms_of(provider), month, at):
        return None
    running = Closing.objects.filter(provider=provider, ended_at=None).first()
    if running is not None and not is_silent(running, at):
        raise ClosingUnderWay(month=month_in_words(running.month), seller=str(seller))
    if running is not None:
        _end(running, at, refusal=gettext(BROKEN))
    closing = Closing.objects.create(provider=provider, month=month, by=by, asked_at=at, moved_at=at)
    defer(close_seller_month, closing_id=closing.pk)
    return closing


def is_silent(closing: Closing, at: datetime) -> bool:
    """Whether its job is likely to be dead."""
    return closing.ended_at is None and at - closing.moved_at > SILENT_AFTER


@dataclass(slots=True)
class _Teller:
    """Writes down how far a closing is, not more often than somebody looks."""

    closing: Closing
    told_at: datetime

    def __call__(self, step: str, done: int, count: int) -> None:
        at = clock.now()
        if step == self.closing.step and done < count and at - self.told_at < TOLD_EVERY:
            return
        self.closing.step = step
        self.told_at = at
        Closing.objects.filter(pk=self.closing.pk).update(step=step, done=done, count=count, moved_at=at)


def carry_out(*, closing_id: int, at: datetime) -> int:
    """Close the month that was asked for, in transactions of its own, and note what came of it; how many were issued.

    Run twice, it does what is left, or nothing.
    """
    closing = (
        Closing.objects.select_related("provider__organization", "by").filter(pk=closing_id, ended_at=None).first()
    )
    if closing is None:
        return 0
    Closing.objects.filter(pk=closing.pk).update(moved_at=at)
    try:
        closed = close_month(
            provider=closing.provider, month=closing.month, by=closing.by, at=at, told=_Teller(closing, at)
        )
    except DomainError as refusal:
        _end(closing, clock.now(), refusal=words(refusal, gettext))
        return 0
    except Exception:
        _end(closing, clock.now(), refusal=gettext(BROKEN))
        raise
    _end(closing, clock.now(), issued=closed.issued)
    return closed.issued


def _end(closing: Closing, at: datetime, *, issued: int = 0, refusal: str = "") -> None:
    Closing.objects.filter(pk=closing.pk, ended_at=None).update(
        ended_at=at, moved_at=at, issued=issued, refusal=refusal
    )
