"""Whether a ledger is what its journal says: everything that can be recomputed, compared to the tick, in one state of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from bursar.accounting import checkpoints
from bursar.accounting import selectors as accounting
from bursar.accounting.books import lock
from bursar.accounting.services import categories_with_ledger
from bursar.catalogue.models import ProductCategory
from bursar.events.models import Event
from bursar.events.services import Happening, record
from bursar.metering import selectors as metering
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Membership
from bursar.structure.roles import Role

log = logging.getLogger(__name__)

# So many are told in an event; the command and the API tell all.
TOLD_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A figure that is kept and is not what it is recomputed to.

    against   what it was recomputed from: journal, reports, or (of checkpoints) nothing but whether they differ
    subject   wallet, allocation, scope (of a wallet), category or checkpoint; `subject_id` is a wallet's for a scope
    """

    against: str
    subject: str
    subject_id: int
    figure: str
    kept: str
    recomputed: str


def verify(*, category_id: int) -> list[Discrepancy]:
    """Recompute a category's balances, locks, levels and checkpoints; empty when all is well.

    Reports may come in meanwhile: what is compared belongs to one state.
    """
    with one_state(category_id):
        return [
            *(
                Discrepancy("journal", one.subject, one.subject_id, one.figure, one.balance, one.journal)
                for one in accounting.verify(category_id=category_id)
            ),
            *(
                Discrepancy("reports", one.subject, one.subject_id, one.figure, one.balance, one.reports)
                for one in metering.verify(category_id=category_id)
            ),
            *(
                Discrepancy("journal", "checkpoint", number, f"wallet {wallet} allocation {allocation}", "", "")
                for wallet, allocation, number in checkpoints.differences(category_id)
            ),
        ]


@contextmanager
def one_state(category_id: int) -> Iterator[None]:
    """Let all that is read inside belong to one state of a category's ledger.

    On its own it is a snapshot, which holds nobody up; inside a transaction, where there can be none any more, it is the
    category's lock.
    """
    if connection.in_atomic_block:
        lock(category_id)
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def verify_everything(*, at: datetime) -> int:
    """Verify every ledger and raise the alarm where one differs; the number of ledgers that do.

    The alarm is an event, each time; a mail goes out when a ledger begins to differ. When it agrees again that is told too.
    """
    differing = 0
    failures: list[Exception] = []
    for category_id in categories_with_ledger():
        try:
            found = verify(category_id=category_id)
            tell(category_id=category_id, found=found, at=at)
        except Exception as failure:  # one that cannot be read must not hide the others; the job still fails
            log.exception("the ledger of category %s could not be verified", category_id)
            failures.append(failure)
            continue
        differing += bool(found)
    if failures:
        raise failures[0]
    return differing


@transaction.atomic
def tell(*, category_id: int, found: list[Discrepancy], at: datetime) -> None:
    """Write down what a verification came to, where that is news: it differs, or it agrees again."""
    alarmed = category_id in categories_that_differ([category_id])
    if not found and not alarmed:
        return
    category = ProductCategory.objects.select_related("provider").get(pk=category_id)
    facts: dict[str, Any] = {"category_id": category_id, "count": len(found)}
    if found:
        facts["discrepancies"] = [asdict(one) for one in found[:TOLD_MAX]]
        log.error("the ledger of category %s differs from its journal: %s", category_id, found[:TOLD_MAX])
    record(
        Happening(
            kind="ledger.discrepancy" if found else "ledger.agrees",
            subject_type="category",
            subject_id=category_id,
            facts=facts,
            provider_id=category.provider.organization_id,
        ),
        by_id=None,
        at=at,
    )
    if found and not alarmed:
        operators = Membership.objects.held_at(at).filter(role=Role.PLATFORM_OPERATOR)
        for person_id in operators.values_list("person_id", flat=True).distinct().order_by("person_id"):
            ask_for_mail(
                "ledger_discrepancy", to_person_id=person_id, facts={"category": category_id, "count": len(found)}
            )


def categories_that_differ(category_ids: list[int] | None = None) -> dict[int, datetime]:
    """The categories whose last verification found something, and when it did.

    category_ids   only these
    """
    rows = Event.objects.filter(subject_type="category", kind__in=("ledger.discrepancy", "ledger.agrees"))
    if category_ids is not None:
        rows = rows.filter(subject_id__in=category_ids)
    last = rows.order_by("subject_id", "-id").distinct("subject_id").values_list("subject_id", "kind", "at")
    return {subject_id: when for subject_id, kind, when in last if kind == "ledger.discrepancy"}
