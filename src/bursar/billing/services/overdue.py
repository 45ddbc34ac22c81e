"""What should have been paid by now."""

from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import F

from bursar.billing import notices
from bursar.billing.models import Invoice
from bursar.billing.services._common import happening, today_of
from bursar.events.services import record_all

AT_ONCE: Final = 500


def tell_overdue(*, at: datetime) -> int:
    """Tell of each invoice that is not paid after its last day, by the seller's calendar, once; how many those were."""
    count = 0
    while found := _tell_some(at):
        count += found
    return count


@transaction.atomic
def _tell_some(at: datetime) -> int:
    due = (
        Invoice.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
        .filter(state__in=[Invoice.State.ISSUED, Invoice.State.PART_PAID], overdue_told_at=None, due_on__lt=at.date())
        .filter(total__gt=F("paid") + F("credited"))
        .select_related("provider__organization")
        .order_by("pk")[:AT_ONCE]
    )
    # West of Greenwich the day in question may not be over yet: those are told an hour or some hours later.
    overdue = [one for one in due if one.due_on is not None and one.due_on < today_of(one.provider, at)]
    if not overdue:
        return 0
    Invoice.objects.filter(pk__in=[one.pk for one in overdue]).update(overdue_told_at=at)
    record_all(
        [
            happening(
                "invoice.overdue",
                one,
                customer=one.customer_id,
                provider=one.provider,
                facts={"number": one.number_text},
            )
            for one in overdue
        ],
        by_id=None,
        at=at,
    )
    notices.tell_overdue(overdue, at=at)
    return len(overdue)
