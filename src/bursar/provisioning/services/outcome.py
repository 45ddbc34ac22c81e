"""What a backend's answer changes. Each verb is one short transaction that looks first whether the wish is still the same."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext

from bursar.catalogue.models import Component
from bursar.metering.errors import ReportConflict, ReportsAtFault
from bursar.metering.reports import Report
from bursar.metering.services import post_reports
from bursar.provisioning.lifecycle import OrderState, ResourceAction, ResourceState
from bursar.provisioning.models import Order, Resource
from bursar.provisioning.people import people_of_provider
from bursar.provisioning.queue import ask_to_reconcile
from bursar.provisioning.quota import scope_of_usage
from bursar.provisioning.services._common import keep_plan_and_limits, lock_resource, step_resource, tell
from bursar.provisioning.services.orders import complete_order, fail_order, wish_anew
from bursar.structure.mail import ask_for_mail

RETRY_SECONDS_MAX = 600


def current(resource_id: int, generation: int) -> Resource | None:
    """The locked resource while this is still its wish; None when a newer one came, whose answer this is not."""
    resource = lock_resource(resource_id)
    if resource.generation != generation or resource.observed_generation == generation:
        return None
    return resource


def _executing_order(resource: Resource) -> Order | None:
    return (
        Order.objects.select_for_update(of=("self",))
        .select_related("workspace__project__organization", "offering__provider__organization", "plan")
        .filter(resource=resource, state=OrderState.EXECUTING)
        .first()
    )


@transaction.atomic
def note_made(
    *,
    resource_id: int,
    generation: int,
    backend_id: str,
    state: Mapping[str, Any],
    access: Mapping[str, str],
    at: datetime,
) -> bool:
    """Keep what the backend made; it is true whatever is wished by now. Answers whether the wish is still the same."""
    resource = lock_resource(resource_id)
    changed = []
    for field, value in (("backend_id", backend_id[:255]), ("plugin_state", dict(state)), ("access", dict(access))):
        if value and getattr(resource, field) != value:
            setattr(resource, field, value)
            changed.append(field)
    if changed:
        resource.save(update_fields=changed)
    return resource.generation == generation and resource.observed_generation != generation


@transaction.atomic
def note_removed(*, resource_id: int, generation: int, at: datetime) -> bool:
    """Keep when the backend stopped holding it; its last usage is still to be read."""
    resource = current(resource_id, generation)
    if resource is None:
        return False
    if resource.removed_at is None:
        resource.removed_at = at
        resource.message = resource.awaited_work = ""
        resource.save(update_fields=["removed_at", "message", "awaited_work"])
    return True


def note_matching(*, resource_id: int, generation: int, paused: bool, at: datetime) -> bool:
    """The backend matches the wish: it is in force, and the order that made it is done.

    Where the ledger does not take what the resource reserves, that is work for the provider, who reports for the same wallet.
    """
    try:
        return _put_down(resource_id=resource_id, generation=generation, paused=paused, at=at)
    except (ReportsAtFault, ReportConflict) as refusal:
        why = " ".join(dict.fromkeys(gettext(fault.message) for fault in refusal.faults))
        what = gettext("The ledger does not take what this resource reserves. {why}").format(why=why)
        return note_work(resource_id=resource_id, generation=generation, what=what, at=at)


@transaction.atomic
def _put_down(*, resource_id: int, generation: int, paused: bool, at: datetime) -> bool:
    resource = current(resource_id, generation)
    if resource is None:
        return False
    order = _executing_order(resource)
    by = None if order is None else order.created_by
    # Clocks differ, and are set back: of two levels the one of the newer wish has to be the later one.
    seen_at = at if resource.observed_at is None else max(at, resource.observed_at + timedelta(microseconds=1))
    resource.observed_generation, resource.observed_paused, resource.observed_at = generation, paused, seen_at
    resource.message = resource.awaited_work = ""
    resource.unreachable_since = resource.retry_at = None
    resource.attempts = 0
    components = list(resource.offering.components.select_related("category"))
    if resource.desired_gone:
        step_resource(resource, ResourceAction.DISAPPEAR, by=by, at=at, order=order)
        resource.terminated_at = at
    else:
        # The state is the wish's: a resource that rests as wished is paused.
        action = ResourceAction.REST if paused else ResourceAction.COMPLETE
        if not (resource.state == ResourceState.OK and action is ResourceAction.COMPLETE):
            step_resource(resource, action, by=by, at=at, order=order)
        _put_in_force(resource, components, order=order, at=at)
        resource.first_ok_at = resource.first_ok_at or at
    resource.save()
    post_levels(resource, components, at=seen_at)
    if order is not None:
        complete_order(order, at=at)
    return True


def _put_in_force(resource: Resource, components: Sequence[Component], *, order: Order | None, at: datetime) -> None:
    plan = resource.desired_plan if resource.desired_plan_id != resource.plan_id else None
    limits = {key: limit for key, limit in resource.desired_limits.items() if resource.limits.get(key) != limit}
    if plan is None and not limits:
        return
    keep_plan_and_limits(
        resource,
        plan=plan,
        limits=limits,
        components=components,
        by=None if order is None else order.created_by,
        at=at,
        order=order,
    )
    tell(
        "resource.changed",
        resource,
        by=None if order is None else order.created_by,
        at=at,
        facts={"plan": [resource.plan_id, resource.desired_plan_id], "limits": [resource.limits, limits]},
    )
    resource.plan, resource.limits = resource.desired_plan, resource.desired_limits


def post_levels(resource: Resource, components: Sequence[Component], *, at: datetime) -> None:
    """What is reserved by a limit or a plan counts as used, as a level, from the moment it is in force.

    Of components that draw on a category charged once; what is measured comes from the backend. Reservations appear,
    change and go with the resource in the same transaction, so a report's name can be its wish's number.
    """
    fixed: dict[int, int] = {}
    if not resource.desired_gone:
        from bursar.provisioning.pricing import prices_at

        fixed = {component: line.amount for component, line in prices_at(resource.plan, at).items()}
    reports = []
    for component in components:
        if component.category is None or component.category.is_over_time:
            continue
        if component.billing == Component.Billing.LIMIT:
            units = resource.limits.get(component.key, 0)
        elif component.billing == Component.Billing.FIXED:
            units = fixed.get(component.pk, 0)
        else:
            continue
        reports.append(
            Report(
                report_id=f"reserved/{resource.pk}/{component.key}/{resource.generation:08d}",
                category_id=component.category.pk,
                workspace_id=resource.workspace_id,
                amount_ticks=0 if resource.desired_gone else units * component.ticks_per_unit,
                period_start=at - timedelta(microseconds=1),
                period_end=at,
                is_absolute=True,
                scope=scope_of_usage(resource.pk, component.key),
                resource_id=resource.pk,
            )
        )
    if reports:
        post_reports(reports=reports, by=None, at=at)


@transaction.atomic
def note_busy(
    *,
    resource_id: int,
    generation: int,
    retry_after_seconds: int,
    message: str,
    state: Mapping[str, Any] | None = None,
    at: datetime,
) -> bool:
    """The backend is at it: ask again later."""
    resource = current(resource_id, generation)
    if resource is None:
        return False
    if state is not None:
        resource.plugin_state = dict(state)
    resource.message = message[:1000]
    resource.unreachable_since, resource.awaited_work = None, ""
    _ask_later(resource, min(max(retry_after_seconds, 1), RETRY_SECONDS_MAX), at=at)
    return True


@transaction.atomic
def note_unreachable(*, resource_id: int, generation: int, message: str, at: datetime) -> bool:
    """The backend does not answer: the order stays in hand, the page says so, and it is asked again ever less often."""
    resource = current(resource_id, generation)
    if resource is None:
        return False
    resource.message = message[:1000]
    if resource.unreachable_since is None:
        resource.unreachable_since = at
        tell("resource.unreachable", resource, by=None, at=at, facts={"message": resource.message})
    _ask_later(resource, min(2 * 2 ** min(resource.attempts, 5), 60), at=at)
    return True


@transaction.atomic
def note_work(*, resource_id: int, generation: int, what: str, at: datetime) -> bool:
    """A person at the provider has to do something first: it stands in their queue, and they get mail once."""
    resource = current(resource_id, generation)
    if resource is None:
        return False
    if resource.awaited_work != what[:1000]:
        resource.awaited_work = what[:1000]
        tell("resource.work_awaited", resource, by=None, at=at, facts={"what": resource.awaited_work})
        for person_id in people_of_provider(resource.offering.provider.organization_id, at=at):
            ask_for_mail("work_awaited", to_person_id=person_id, facts={"resource": resource.pk})
    resource.message, resource.unreachable_since = "", None
    _ask_later(resource, 60, at=at)
    return True


def _ask_later(resource: Resource, seconds: int, *, at: datetime) -> None:
    resource.attempts += 1
    resource.retry_at = at + timedelta(seconds=seconds)
    resource.save()
    if resource.offering.backend is None or not resource.offering.backend.at_site:  # an agent minds its own time
        ask_to_reconcile(resource.pk, run_at=resource.retry_at)


@transaction.atomic
def note_refused(*, resource_id: int, generation: int, why: str, at: datetime) -> bool:
    """The backend will not: the order failed and says why.

    A refused change is taken back: the wish becomes what is in force again, so that the backend, which may have done a
    part of it, is brought back to it. Where there is nothing to go back to the resource has failed until somebody acts.
    """
    resource = current(resource_id, generation)
    if resource is None:
        return False
    order = _executing_order(resource)
    back = (
        resource.state == ResourceState.CHANGING
        and not resource.desired_gone
        and resource.first_ok_at is not None
        and (
            resource.desired_plan_id != resource.plan_id
            or resource.desired_limits != resource.limits
            or resource.desired_paused != resource.observed_paused
        )
    )
    if back:
        wish_anew(resource)
        resource.desired_plan, resource.desired_limits = resource.plan, resource.limits
        resource.desired_paused = resource.observed_paused
    else:
        step_resource(resource, ResourceAction.FAIL, by=None, at=at, order=order, facts={"why": why[:1000]})
    resource.message, resource.awaited_work = why[:1000], ""
    resource.unreachable_since = resource.retry_at = None
    resource.save()
    tell("resource.refused", resource, by=None, at=at, facts={"why": resource.message})
    if order is not None:
        fail_order(order, why, at=at)
    if back:
        ask_to_reconcile(resource.pk)
    return True


def note_out_of_step(*, resource_id: int, message: str, unreachable: bool, at: datetime) -> None:
    """What keeps the members and the quota of a resource from being told to its backend; "" = nothing does."""
    row = Resource.objects.filter(pk=resource_id)
    if unreachable:
        row.filter(unreachable_since=None).update(unreachable_since=at)
        row.update(message=message[:1000])
    elif message:
        row.update(message=message[:1000])
    else:
        row.exclude(message="", unreachable_since=None).update(message="", unreachable_since=None)
