"""Bringing usage in: read from a backend since a mark, or told by the provider, and posted to the wallets."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from bursar.accounting.books import lock_all
from bursar.catalogue import registry
from bursar.catalogue.errors import AgentNotInCharge, BackendNotFound
from bursar.catalogue.models import Agent, Backend, Component, Offering, ServiceProvider
from bursar.kernel.clock import now
from bursar.kernel.errors import DomainError
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.errors import Fault, ReportConflict, ReportsAtFault
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
from bursar.provisioning.services import set_aside
from bursar.provisioning.services._common import RESOURCE_RELATED
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require

logger = logging.getLogger(__name__)

# A backend may tell of the last work of a resource a little after it was removed.
AFTERWARDS = timedelta(days=2)
MEASURED_STATES = (*LIVE_RESOURCE_STATES, ResourceState.TERMINATING, ResourceState.FAILED, ResourceState.CREATING)


def is_measured(at: datetime) -> Q:
    """Of resources: whether they may have used something since they were last looked at."""
    return Q(state__in=MEASURED_STATES) & (Q(observed_generation__gt=0) | ~Q(backend_id="")) | Q(
        state=ResourceState.TERMINATED, terminated_at__gt=at - AFTERWARDS
    )


def measured_resources(offering_id: int, *, at: datetime) -> list[Resource]:
    """The resources of an offering that may have used something since they were last looked at."""
    return list(
        Resource.objects.filter(is_measured(at), offering_id=offering_id)
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
        if backend is None or backend.at_site:  # an agent tells by itself
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
        try:
            post(mark=mark, resources=resources, batch=batch, at=now())
        except DomainError as refusal:
            _note_failure(mark, str(refusal), at=at)
            return False
        except Exception as error:
            logger.exception("what a plugin measured could not be posted")
            what = f"What was measured cannot be posted: {type(error).__name__}. The server's log says where."
            _note_failure(mark, what, at=at)
            return False
        return True


def _note_failure(mark: UsageMark, error: str, *, at: datetime) -> None:
    UsageMark.objects.filter(pk=mark.pk).update(
        error=error[:1000], failing_since=at if mark.failing_since is None else mark.failing_since
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a record cannot be posted. `again`: it may be right later by itself (a clock that runs ahead)."""

    record: UsageRecord
    code: str
    why: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of records: how many stand in the ledger, which were set aside, which are to be told again later."""

    posted: int
    set_aside: list[Trouble]
    later: list[Trouble]
    resources: set[int]


@transaction.atomic
def post(*, mark: UsageMark, resources: Sequence[Resource], batch: UsageBatch, at: datetime) -> None:
    """Post what a backend told, and move its mark, in one transaction."""
    taken = post_what_holds(backend=mark.backend, records=batch.records, resources=resources, at=at)
    trouble = [*taken.set_aside, *taken.later]
    told = ""
    if trouble:
        first = trouble[0]
        name = f"{mark.backend_id}/{first.record.component[:40]}/{first.record.id[:80]}"
        told = f"{len(trouble)} records cannot be posted, such as {name}: {first.why}"
    UsageMark.objects.filter(pk=mark.pk).update(
        mark=mark.mark if taken.later else batch.mark,
        read_at=at,
        failing_since=(mark.failing_since or at) if trouble else None,
        error=told[:1000],
    )
    ask_to_sync(*taken.resources)


@transaction.atomic
def post_what_holds(
    *, backend: Backend, records: Sequence[UsageRecord], resources: Sequence[Resource], at: datetime
) -> Taken:
    """Post records of a backend; those at fault are set aside by name, and the rest goes through.

    One bad record must not stop the usage of everybody else at the backend for ever. One from the future (a clock that
    runs ahead) is told again later instead.
    raises   TooManySetAside: nothing is posted then, so that the backend's side keeps what it has
    """
    trouble: list[Trouble] = []
    reports, faults = reports_from(records, resources, backend_id=backend.pk, at=at)
    trouble += faults
    # Of all parts at once: each part takes those of its own in order, but the next may begin with an earlier one.
    lock_all(report.category_id for report, _ in reports)
    posted = 0
    for first in range(0, len(reports), REPORTS_MAX):
        part = reports[first : first + REPORTS_MAX]
        refused = _post_all_but_the_bad([report for report, _ in part], at=at)
        posted += len(part) - len(refused)
        trouble += [
            Trouble(part[index][1], fault.code, fault.message, again=fault.code == "in_the_future")
            for index, fault in refused.items()
        ]
    aside = [one for one in trouble if not one.again]
    if aside:
        logger.warning("%s records of backend %s cannot be posted: %s", len(aside), backend.pk, aside[0].why)
        set_aside.keep(backend=backend, trouble=[(t.record, t.code, t.why) for t in aside], at=at)
    touched = {report.resource_id for report, _ in reports if report.resource_id is not None}
    return Taken(posted, aside, [one for one in trouble if one.again], touched)


def reports_from(
    records: Iterable[UsageRecord], resources: Sequence[Resource], *, backend_id: int, at: datetime
) -> tuple[list[tuple[Report, UsageRecord]], list[Trouble]]:
    """Records as reports to the wallets, in ticks; and what is wrong with those that cannot be.

    The person behind a user name is the provider's mapping of now; it is no part of what makes two reports the same.
    """
    people = dict(
        LocalAccount.objects.filter(backend_id=backend_id).exclude(username="").values_list("username", "person_id")
    )
    components: dict[tuple[int, str], Component] = {
        (component.offering_id, component.key): component
        for component in Component.objects.filter(offering_id__in={r.offering_id for r in resources}).select_related(
            "category"
        )
    }
    by_id = {resource.pk: resource for resource in resources}
    reports: list[tuple[Report, UsageRecord]] = []
    faults: list[Trouble] = []
    for record in records:
        resource = by_id.get(record.resource_id)
        component = components.get((resource.offering_id, record.component)) if resource is not None else None
        if resource is None or component is None:
            what = ("unknown_resource", "resource") if resource is None else ("unknown_component", "component")
            why = f"Record {record.id[:80]}: no such {what[1]} here ({record.component[:40]} of {record.resource_id})."
            faults.append(Trouble(record, what[0], why))
            continue
        if record.period_start.tzinfo is None or record.period_end.tzinfo is None:
            why = f"Record {record.id[:80]}: its times need a zone, such as 2026-05-04T10:00:00Z."
            faults.append(Trouble(record, "time_without_zone", why))
            continue
        if resource.taken_over_at is not None and record.period_end <= resource.taken_over_at:
            continue  # from before it was anybody's here
        if component.category is None or not is_metered(component):
            continue  # it draws on nothing, or its limit says what is used
        if abs(record.amount) > TICKS_MAX // component.ticks_per_measured:
            faults.append(Trouble(record, "amount_too_large", f"Record {record.id[:80]}: more than can be counted."))
            continue
        reports.append(
            (
                Report(
                    # Never cut: two could become one name, and the usage of the second be lost. Too long is set aside.
                    report_id=f"{backend_id}/{component.key}/{record.id}",
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
                ),
                record,
            )
        )
    return reports, faults


def _post_all_but_the_bad(reports: list[Report], *, at: datetime) -> dict[int, Fault]:
    """Post reports of a backend; answers those that were refused, by their place."""
    bad: dict[int, Fault] = {}
    places = list(range(len(reports)))
    while places:
        try:
            post_reports(reports=[reports[place] for place in places], by=None, at=at)
            break
        except (ReportConflict, ReportsAtFault) as refusal:
            refused = {fault.index: fault for fault in refusal.faults}
        bad |= {places[index]: fault for index, fault in refused.items()}
        places = [place for index, place in enumerate(places) if index not in refused]
    return bad


@transaction.atomic
def take_from_agent(
    *,
    provider: ServiceProvider,
    agent: Agent,
    backend_id: int,
    records: Sequence[UsageRecord],
    by: Person,
    at: datetime,
) -> Taken:
    """What an agent measured: what can be posted is, the rest is set aside or to be told again.

    raises   NotAllowed; BackendNotFound; AgentNotInCharge; TooManySetAside
    """
    require(by, Permission.REPORT_USAGE, provider.organization, at)
    backend = Backend.objects.select_related("provider__organization").filter(pk=backend_id, provider=provider).first()
    if backend is None:
        raise BackendNotFound
    if backend.agent_id != agent.pk:
        raise AgentNotInCharge
    named = {record.resource_id for record in records if 0 < record.resource_id <= TICKS_MAX}
    resources = list(
        Resource.objects.filter(pk__in=named, offering__backend=backend)
        .select_related(*RESOURCE_RELATED)
        .order_by("pk")
    )
    taken = post_what_holds(backend=backend, records=records, resources=resources, at=at)
    ask_to_sync(*taken.resources)
    return taken


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
    told, faults = reports_from(own, [resource], backend_id=resource.offering.backend_id or 0, at=at)
    reports, problems = [report for report, _ in told], [fault.why for fault in faults]
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
