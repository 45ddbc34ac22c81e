"""Who hears of invoices; which words they get is delivery's matter."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from bursar.billing.models import Buyer, Invoice
from bursar.events.jobs import defer
from bursar.events.models import Event
from bursar.events.services import Happening, record_all
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Membership
from bursar.structure.roles import Permission, Role, roles_with

SENT = "invoice.sent"


def ask_to_send(invoices: Iterable[Invoice], *, at: datetime) -> None:
    """Have issued invoices sent once this transaction has committed: issuing waits for no paper."""
    from bursar.billing.tasks import send_invoices  # tasks import the services that ask

    ids = sorted(invoice.pk for invoice in invoices)
    if ids:
        defer(send_invoices, invoice_ids=ids)


@transaction.atomic
def send(*, invoice_ids: Collection[int], at: datetime) -> int:
    """Ask for the mails of issued invoices: each once, however often this runs.

    returns   how many mails were asked for
    """
    # Two runs at once: the second waits, and finds what the first noted.
    invoices = list(
        Invoice.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk__in=invoice_ids)
        .exclude(state=Invoice.State.OPEN)
        .select_related("provider")
        .order_by("pk")
    )
    sent = set(
        Event.objects.filter(subject_type="invoice", subject_id__in=invoice_ids, kind=SENT).values_list(
            "subject_id", flat=True
        )
    )
    left = [invoice for invoice in invoices if invoice.pk not in sent]
    mails = _ask(left, "invoice_issued", at)
    record_all(
        [
            Happening(
                SENT, "invoice", invoice.pk, {"number": invoice.number_text}, invoice.customer_id, None,
                invoice.provider.organization_id,
            )
            for invoice in left
        ],
        by_id=None,
        at=at,
    )  # fmt: skip
    return mails


def tell_overdue(invoices: Iterable[Invoice], *, at: datetime) -> int:
    """Ask for the mails that say that invoices are overdue; the caller notes that they were told."""
    return _ask(list(invoices), "invoice_overdue", at)


def _ask(invoices: Collection[Invoice], kind: str, at: datetime) -> int:
    """To the address for invoices; where a customer has none, to those who may see its bills by a role there."""
    customers = {invoice.customer_id for invoice in invoices}
    addresses = dict(
        Buyer.objects.filter(organization__in=customers).exclude(email="").values_list("organization_id", "email")
    )
    people: dict[int, list[int]] = {}
    held = Membership.objects.held_at(at).filter(
        organization__in=customers - addresses.keys(),
        role__in=roles_with(Permission.VIEW_BILLING) & {Role.ORGANIZATION_OWNER, Role.BILLING_VIEWER},
        person__is_active=True,
    )
    for organization, person in sorted(set(held.values_list("organization_id", "person_id"))):
        people.setdefault(organization, []).append(person)
    count = 0
    for invoice in invoices:
        facts: dict[str, Any] = {"invoice": invoice.pk}
        address = addresses.get(invoice.customer_id)
        if address:
            ask_for_mail(kind, to_email=address, facts=facts)
            count += 1
            continue
        for person in people.get(invoice.customer_id, ()):
            ask_for_mail(kind, to_person_id=person, facts=facts)
            count += 1
    return count
