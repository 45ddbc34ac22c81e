"""The mails of the ledger: one that differs from its journal."""

from datetime import datetime
from typing import Any

from bursar.catalogue.models import ProductCategory
from bursar.delivery.mails import Facts, address, mail
from bursar.metering.verification import categories_that_differ
from bursar.structure.models import Person


@mail("ledger_discrepancy")
def _differs(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    category = ProductCategory.objects.select_related("provider__organization").filter(pk=facts["category"]).first()
    if category is None or category.pk not in categories_that_differ([category.pk]):
        return None
    return {"category": category, "count": facts["count"], "link": address("operator_events")}
