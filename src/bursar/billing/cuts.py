"""Fixing what is known at a moment, so that the same can be computed again from it for ever (docs/adr/0028)."""

from datetime import datetime
from typing import Final

from django.db import OperationalError, connection, transaction

from bursar.accounting.books import lock
from bursar.billing.errors import BillingBusy
from bursar.billing.models import Cut, Seller
from bursar.catalogue.models import Component

# Numbers are drawn by statements that hold a lock against this one until their transaction ends.
_FACT: Final = ("LOCK TABLE resource_fact IN SHARE MODE", "SELECT coalesce(max(id), 0) FROM resource_fact")
_PRICE: Final = ("LOCK TABLE plan_component IN SHARE MODE", "SELECT coalesce(max(id), 0) FROM plan_component")
_TAX_RATE: Final = ("LOCK TABLE tax_rate IN SHARE MODE", "SELECT coalesce(max(id), 0) FROM tax_rate")
_WAIT: Final = "20s"
_LOCK_NOT_AVAILABLE: Final = "55P03"


def take_cut(*, seller: Seller, at: datetime) -> Cut:
    """Every row that rates has a number up to those of the cut, or it was written after it.

    Whoever writes such rows is waited for, one table and one category at a time and never holding one while waiting for the
    next: so it cannot stand in a circle with those who write several of them in one transaction.
    raises   BillingBusy when somebody writes for longer than we wait
    """
    fact, price, tax_rate = (_last_number(*statements) for statements in (_FACT, _PRICE, _TAX_RATE))
    operations = {str(category): _last_operation(category) for category in _categories(seller)}
    return Cut.objects.create(fact=fact, price=price, tax_rate=tax_rate, operations=operations, taken_at=at)


def _categories(seller: Seller) -> list[int]:
    """The categories on which what the seller bills by use is counted."""
    return sorted(
        pk
        for pk in Component.objects.filter(
            offering__provider_id=seller.provider_id, billing=Component.Billing.USAGE, category__isnull=False
        )
        .values_list("category_id", flat=True)
        .distinct()
        if pk is not None
    )


def _last_number(lock_table: str, last: str) -> int:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_WAIT])
            cursor.execute(lock_table)
            cursor.execute(last)
            row = cursor.fetchone()
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise BillingBusy from None
        raise
    assert row is not None
    return int(row[0])


@transaction.atomic
def _last_operation(category_id: int) -> int:
    """A number greater than that of every operation before, smaller than that of every one after."""
    return lock(category_id).operation_id
