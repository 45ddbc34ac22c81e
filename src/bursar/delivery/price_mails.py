"""The mail of prices to come: told once to those who answer for resources that will cost something else."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q

from bursar.catalogue.models import PlanComponent
from bursar.catalogue.selectors import prices_to_come
from bursar.catalogue.tiers import steps_of
from bursar.delivery.mails import Facts, address, mail
from bursar.kernel.money import plain
from bursar.provisioning.lifecycle import ResourceState
from bursar.provisioning.models import Resource
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Membership, Person
from bursar.structure.roles import Role


def tell_of_prices(*, price_ids: Sequence[int], at: datetime) -> int:
    """Ask for one mail to each person who answers for a resource of the plan; says how many. Twice is once.

    Told are the owners of the organization and the principal investigator of the project, or whose personal one it is.
    """
    rows = _to_come(price_ids, at)
    if not rows:
        return 0
    plan = rows[0].plan
    resources = Resource.objects.filter(Q(plan=plan) | Q(desired_plan=plan)).exclude(
        state__in=[ResourceState.TERMINATING, ResourceState.TERMINATED]
    )
    held = (
        Membership.objects.held_at(at)
        .filter(
            Q(role=Role.PRINCIPAL_INVESTIGATOR, project__in=resources.values("workspace__project"))
            | Q(role=Role.ORGANIZATION_OWNER, organization__in=resources.values("workspace__project__organization"))
            | Q(role=Role.ORGANIZATION_OWNER, organization__in=resources.values("workspace__organization"))
        )
        .values("person_id")
    )
    people = Person.objects.filter(
        Q(pk__in=held) | Q(pk__in=resources.filter(workspace__person__isnull=False).values("workspace__person")),
        is_active=True,
    )
    ids = list(people.order_by("pk").values_list("pk", flat=True))
    for person_id in ids:
        ask_for_mail(
            "prices_to_come",
            to_person_id=person_id,
            facts={"prices": list(price_ids)},
            key=f"prices-{min(price_ids)}-{max(price_ids)}-{person_id}",
        )
    return len(ids)


def _to_come(price_ids: Sequence[int], at: datetime) -> list[PlanComponent]:
    """Those of them that have not begun, and that none written later for the same start has replaced."""
    plans = PlanComponent.objects.filter(pk__in=price_ids).values_list("plan_id", flat=True)
    return [row for row in prices_to_come(list(plans), at) if row.pk in price_ids]


@mail("prices_to_come")
def _prices(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    rows = _to_come(facts["prices"], at)
    if not rows:
        return None
    offering = rows[0].plan.offering
    return {
        "offering": offering,
        "plan": rows[0].plan,
        "start": rows[0].valid_from,
        "lines": [_line(row, offering.provider.organization.currency) for row in rows],
        "link": address("offering", offering.pk),
    }


def _line(row: PlanComponent, currency: str) -> dict[str, Any]:
    return {
        "component": row.component,
        "price": f"{plain(row.price)} {currency}",
        "steps": [{"start": plain(step.start), "price": f"{plain(step.price)} {currency}"} for step in steps_of(row)],
    }
