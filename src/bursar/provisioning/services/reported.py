"""Usage told from outside: by workspace and category, or by resource and component, which say what that is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bursar.accounting.books import EPOCH
from bursar.catalogue.models import Component
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.errors import Fault, TooManyReports, fault
from bursar.metering.reports import Report, Told
from bursar.metering.services import REPORTS_MAX, Answer
from bursar.metering.together import post_together
from bursar.provisioning.models import Resource
from bursar.provisioning.quota import is_metered, scope_of_usage, shared_categories
from bursar.structure.models import Person
from bursar.structure.roles import Permission, organizations_where

# In the place of one that could not be read, so that the others keep theirs; it is never looked at.
NOTHING: Final = Report("", 0, 0, 0, EPOCH, EPOCH)


def post_told(
    *, reports: Sequence[Report | Told], faults: Collection[Fault] = (), by: Person | None, at: datetime
) -> Answer:
    """Book reports from outside: all of them or none.

    faults   what is known to be wrong already, by place; those are looked at no further
    raises   as metering's `post_reports`; the faults of both are told together
    """
    if len(reports) > REPORTS_MAX:
        raise TooManyReports(limit=REPORTS_MAX, count=len(reports))
    found = [*faults]
    booked = [one for one in reports if isinstance(one, Report) and one.resource_id is None]
    if len(booked) < len(reports):
        known = {one.index for one in faults}
        booked = []
        for index, answer in enumerate(complete(reports, by=by, at=at)):
            if isinstance(answer, str) and index not in known:
                found.append(fault(index, reports[index].report_id, answer))
            booked.append(NOTHING if isinstance(answer, str) else answer)
    return post_together(reports=booked, faults=found, by=by, at=at)


def complete(reports: Sequence[Report | Told], *, by: Person | None, at: datetime) -> list[Report | str]:
    """By place, the report that each comes down to, or the code of what is wrong with it."""
    resources = _resources(reports, by, at)
    return [_report(one, resources) for one in reports]


@dataclass(frozen=True, slots=True)
class _Resource:
    """What a resource says of usage: whose it is, and on which category each of its components draws.

    shared   the categories on which more than one thing is measured: a report has to say which it is of
    """

    pk: int
    workspace_id: int
    components: dict[str, Component]
    shared: frozenset[int]


def _resources(reports: Sequence[Report | Told], by: Person | None, at: datetime) -> dict[int, _Resource]:
    """The resources that reports name, of providers for whom the person may report. Two queries."""
    wanted = {one.resource_id for one in reports if one.resource_id is not None and abs(one.resource_id) <= TICKS_MAX}
    chosen = Resource.objects.filter(pk__in=wanted)
    if by is not None:
        sellers = organizations_where(by, Permission.REPORT_USAGE, at)
        chosen = chosen.filter(offering__provider__organization__in=sellers)
    rows = list(chosen.values_list("pk", "workspace_id", "offering_id"))
    components: dict[int, dict[str, Component]] = {}
    for one in Component.objects.filter(offering__in={row[2] for row in rows}).select_related("category"):
        components.setdefault(one.offering_id, {})[one.key] = one
    shared = {offering_id: shared_categories(of.values()) for offering_id, of in components.items()}
    return {
        pk: _Resource(pk, workspace_id, components.get(offering_id, {}), shared.get(offering_id, frozenset()))
        for pk, workspace_id, offering_id in rows
    }


def _report(told: Report | Told, resources: dict[int, _Resource]) -> Report | str:
    """The report that it comes down to, or the code of what is wrong."""
    component: Any = getattr(told, "component", "")
    category_id, workspace_id, scope, labels = told.category_id, told.workspace_id, told.scope, told.labels
    if told.resource_id is None:
        if component or category_id is None or workspace_id is None:
            return "wallet_missing"
    else:
        resource = resources.get(told.resource_id)
        if resource is None:
            return "unknown_resource"
        if workspace_id not in {None, resource.workspace_id}:
            return "resource_of_another_workspace"
        workspace_id = resource.workspace_id
        if component or category_id is None:
            used = resource.components.get(component)
            if used is None:
                return "unknown_component"
            if used.category_id is None or not is_metered(used):
                return "component_not_metered"
            if category_id not in {None, used.category_id}:
                return "component_of_another_category"
            category_id = used.category_id
            if told.is_absolute or scope:
                scope = scope_of_usage(resource.pk, component, scope)
            elif category_id in resource.shared:
                labels = {**labels, "component": component}
        elif category_id in resource.shared:
            return "component_missing"
        elif category_id not in {one.category_id for one in resource.components.values()}:
            return "component_of_another_category"
    return Report(
        told.report_id, category_id, workspace_id, told.amount_ticks, told.period_start, told.period_end, told.is_absolute,
        scope, told.corrects, told.resource_id, told.person_id, told.user, told.job, labels,
    )  # fmt: skip
