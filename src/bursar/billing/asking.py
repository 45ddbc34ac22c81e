"""What somebody asks for and a job does, because it may take longer than a page."""

from datetime import datetime

from django.db import transaction

from bursar.catalogue.models import ServiceProvider
from bursar.events.jobs import defer
from bursar.structure.models import Person
from bursar.structure.roles import Permission, require


@transaction.atomic
def ask_to_refresh(*, provider: ServiceProvider, by: Person | None, at: datetime) -> None:
    """Have a seller's open invoices computed again.

    raises   NotAllowed
    """
    from bursar.billing.tasks import refresh_seller  # tasks import the services

    require(by, Permission.MANAGE_INVOICES, provider.organization, at)
    defer(refresh_seller, provider_id=provider.pk)
