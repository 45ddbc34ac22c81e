"""Bringing usage in: read from a backend since a mark, or told by the provider, and posted to the wallets."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from bursar.catalogue import registry
from bursar.catalogue.models import Component, Offering
from bursar.kernel.clock import now
from bursar.kernel.errors import DomainError
from bursar.metering.errors import ReportConflict, ReportsAtFault
from bursar.metering.reports import Report
from bursar.metering.services import REPORTS_MAX, Answer, post_reports
from bursar.plugins.contract import BackendUnreachable, MeasuresUsage, UsageBatch, UsageRecord, can
from bursar.provisioning.desired import desired_of
from bursar.provisioning.errors import ReportOfOther, ResourceNotFound
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, ResourceState
from bursar.provisioning.locks import Space, try_lock
from bursar.provisioning.models import LocalAccount, Resource, UsageMark
from bursar.provisioning.queue import ask_to_sync
from bursar.provisioning.quota import is_metered, scope_of_usage
from bursar.provisioning.services._common import RESOURCE_RELATED
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require

logger = logging.getLogger(__name__)

# A backend may tell of the last work of a resource a little after it was removed.
AFTERWARDS = timedelta(days=2)
MEASURED_STATES = (*LIVE_RESOURCE_STATES, ResourceState.TERMINATING, ResourceState.FAILED, ResourceState.CREATING)


def measured_resources(offering_id: int, *, at: datetime) -> list[Resource]:
    """The resources of an offering that may have used something since they were last looked at."""
    return list(
        Resource.objects.filter(
            Q(state__in=MEASURED_STATES) & (Q(observed_generation__gt=0) | ~Q(backend_id=""))
            | Q(state=ResourceState.TERMINATED, terminated_at__gt=at - AFTERWARDS),
            offering_id=offering_id,
        )
        .select_related(*RESOURCE_RELATED)
        .order_by("pk")
    )


def pull(offering_id: int) -> bool:
    """Read an offering's usage since its mark and post it; the mark moves in the transaction of the last reports.

    Killed anywhere it reads the same stretch again, and records that were posted are known by their names.
    returns  whether everything up to now is in; False: somebody else is reading, or the backend does not answer
    """
    with try_lock(Space.USAGE, offering_id) as held:
        if not held:
            return False
        offering = Offering.objects.select_related("backend", "provider__organization").get(pk=offering_id)
        backend = offering.backend
        if backend is None:
            return True
        mark, _ = UsageMark.objects.get_or_create(backend=backend, offering=offering)
        at = now()
        resources = measured_resources(offering_id, at=at)
        if not resources:
            return True
        try:
            plugin = registry.make(backend)
            if not can(plugin, MeasuresUsage):
                return True
            batch = plugin.measure(desired_of(resources, at=at), mark.mark)
        except (BackendUnreachable, DomainError) as error:
            _note_failure(mark, str(error), at=at)
            return False
        except Exception as error:
            logger.exception("a plugin broke while measuring")
            _note_failure(mark, f"The plugin broke: {type(error).__name__}. The server's log says where.", at=at)
            return False
        post(mark=mark, resources=resources, batch=batch, at=now())
        return True


def _note_failure(mark: UsageMark, error: str, *, at: datetime) -> None:
    UsageMark.objects.filter(pk=mark.pk).update(
        error=error[:1000], failing_since=at if mark.failing_since is None else mark.failing_since
    )


@transaction.atomic
def post(*, mark: UsageMark, resources: Sequence[Resource], batch: UsageBatch, at: datetime) -> None:
    """Post what a backend told, and move its mark, in one transaction."""
    reports, problems = reports_from(batch.records, resources, backend_id=mark.backend_id, at=at)
    again = False
    for first in range(0, len(reports), REPORTS_MAX):
        posted = _post_what_holds(reports[first : first + REPORTS_MAX], at=at)
        problems += posted.problems
        again = again or posted.again
    UsageMark.objects.filter(pk=mark.pk).update(
        mark=mark.mark if again else batch.mark,
        read_at=at,
        failing_since=(mark.failing_since or at) if problems else None,
        error=" ".join(problems)[:1000],
    )
    for resource_id in sorted({report.resource_id for report in reports if report.resource_id is not None}):
        ask_to_sync(resource_id)


def reports_from(
    records: Iterable[UsageRecord], resources: Sequence[Resource], *, backend_id: int, at: datetime
) -> tuple[list[Report], list[str]]:
    """Records as reports to the wallets, in ticks; and what is wrong with those that cannot be.

    The person behind a user name is the provider's mapping of now; it is no part of what makes two reports the same.
    """
    people = dict(LocalAccount.objects.filter(backend_id=backend_id).values_list("username", "person_id"))
    components: dict[tuple[int, str], Component] = {
        (component.offering_id, component.key): component
        for component in Component.objects.filter(offering_id__in={r.offering_id for r in resources}).select_related(
            "category"
        )
    }
    by_id = {resource.pk: resource for resource in resources}
    reports: list[Report] = []
    problems: list[str] = []
    for record in records:
        resource = by_id.get(record.resource_id)
        component = components.get((resource.offering_id, record.component)) if resource is not None else None
        if resource is None or component is None:
            problems.append(f"Record {record.id[:80]}: no such resource or component here ({record.component[:40]}).")
            continue
        if resource.taken_over_at is not None and record.period_end <= resource.taken_over_at:
            continue  # from before it was anybody's here
        if component.category is None or not is_metered(component):
            continue  # it draws on nothing, or its limit says what is used
        reports.append(
            Report(
                report_id=f"{backend_id}/{component.key}/{record.id}"[:200],
                category_id=component.category.pk,
                workspace_id=resource.workspace_id,
                amount_ticks=record.amount * component.ticks_per_measured,
                period_start=record.period_start,
                period_end=record.period_end,
                is_absolute=record.absolute,
                scope=scope_of_usage(resource.pk, component.key, record.scope),
                resource_id=resource.pk,
                person_id=people.get(record.username),
                user=record.username[:200],
                job=record.job[:200],
                labels=dict(record.labels),
            )
        )
    return reports, problems


@dataclass(frozen=True, slots=True)
class Posted:
    """What could not be posted, in words, and whether the mark has to stay so that it is told again."""

    problems: list[str]
    again: bool = False


def _post_what_holds(reports: list[Report], *, at: datetime) -> Posted:
    """Post reports of a backend; those at fault are left out and named.

    One such record must not stop the usage of everybody else at the backend for ever. One from the future (a clock that
    runs ahead) is told again later.
    """
    try:
        post_reports(reports=reports, by=None, at=at)
        return Posted([])
    except (ReportConflict, ReportsAtFault) as refusal:
        bad = {fault.index: fault for fault in refusal.faults}
    rest = [report for index, report in enumerate(reports) if index not in bad]
    logger.warning("%s records of a backend cannot be posted: %s", len(bad), list(bad.values())[:5])
    first = next(iter(bad.values()))
    problem = f"{len(bad)} records cannot be posted, such as {first.report_id}: {first.message}"
    after = _post_what_holds(rest, at=at) if rest else Posted([])
    early = any(fault.code == "in_the_future" for fault in bad.values())
    return Posted([problem, *after.problems], again=early or after.again)


@transaction.atomic
def report_usage(*, resource_id: int, records: Sequence[UsageRecord], by: Person | None, at: datetime) -> Answer:
    """Usage of one resource as its provider tells it: in measured units, to the wallet that the resource draws on.

    Unlike what a backend is read for, all of it is taken or nothing.
    raises   ResourceNotFound; NotAllowed; ReportOfOther; as metering's `post_reports`
    """
    resource = Resource.objects.select_related(*RESOURCE_RELATED).filter(pk=resource_id).first()
    if resource is None or not may(by, Permission.VIEW_PROVIDER, resource.offering.provider.organization, at):
        raise ResourceNotFound
    require(by, Permission.REPORT_USAGE, resource.offering.provider.organization, at)
    own = [replace(record, resource_id=resource.pk) for record in records]
    reports, problems = reports_from(own, [resource], backend_id=resource.offering.backend_id or 0, at=at)
    unmetered = {c.key for c in resource.offering.components.select_related("category") if not is_metered(c)}
    problems += [
        f"{record.id[:80]}: {record.component[:40]} is not measured here."
        for record in own
        if record.component in unmetered
    ]
    if problems:
        raise ReportOfOther(problems=" ".join(problems)[:1000], errors={})
    answer = post_reports(reports=reports, by=by, at=at)
    ask_to_sync(resource.pk)
    return answer
