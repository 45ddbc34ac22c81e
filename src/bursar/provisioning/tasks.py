"""The jobs of provisioning. Every one may run twice, and may be killed anywhere."""

import logging
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import F, Q
from procrastinate import JobContext, RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Status

from bursar.catalogue.models import Backend, Offering
from bursar.events.jobs import defer
from bursar.kernel.clock import now
from bursar.kernel.errors import DomainError
from bursar.plugins.contract import EnforcesQuota, ManagesAccounts, ManagesMembers, MeasuresUsage
from bursar.provisioning import account_steps, reconcile, wakes
from bursar.provisioning.abilities import can
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, OPEN_ORDER_STATES, OrderState, ResourceState
from bursar.provisioning.models import Order, Resource
from bursar.provisioning.queue import ask_to_keep_accounts, ask_to_reconcile, ask_to_sync
from bursar.provisioning.services import holds, orders, signing, site, usage

logger = logging.getLogger(__name__)

QUEUE: Final = "provisioning"
_again: Final = RetryStrategy(max_attempts=5, wait=2, exponential_wait=2)


@app.task(name="bursar.provisioning.tasks.reconcile_resource", queue=QUEUE, retry=_again)
def reconcile_resource(resource_id: int) -> None:
    if not site.leave_to_agent(resource_id):
        reconcile.reconcile(resource_id)


@app.task(name="bursar.provisioning.tasks.sync_resource", queue=QUEUE)
def sync_resource(resource_id: int) -> None:
    if site.leave_to_agent(resource_id, in_step=True):
        return
    if not reconcile.sync(resource_id):
        defer(
            sync_resource,
            queueing_lock=f"sync-{resource_id}-later",
            run_at=now() + timedelta(seconds=5),
            resource_id=resource_id,
        )


@app.task(name="bursar.provisioning.tasks.keep_accounts", queue=QUEUE)
def keep_accounts(backend_id: int) -> None:
    if site.leave_accounts_to_agent(backend_id):
        return
    if not reconcile.keep_accounts(backend_id):
        defer(
            keep_accounts,
            queueing_lock=f"accounts-{backend_id}-later",
            run_at=now() + timedelta(seconds=30),
            backend_id=backend_id,
        )


@app.task(name="bursar.provisioning.tasks.pull_usage", queue=QUEUE)
def pull_usage(offering_id: int) -> None:
    usage.pull(offering_id)


# ------------------------------------------------------------------------------------------------ by the clock
# The sixth field of a schedule counts seconds.
@app.periodic(cron="* * * * * */5")
@app.task(
    name="bursar.provisioning.tasks.take_up_stalled_jobs", queue="builtin", pass_context=True, queueing_lock="stalled"
)
async def take_up_stalled_jobs(context: JobContext, timestamp: int) -> None:
    """Give the jobs of killed workers back to the queue: they stay `doing` for ever otherwise."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=4 * settings.WORKER_HEARTBEAT_SECONDS):
        assert job.id is not None
        try:
            await manager.retry_job(job)
            logger.warning("job %s (%s) of a dead worker is taken up again", job.id, job.task_name)
        except UniqueViolation:  # one that bears the same queueing lock waits already, and will do the same
            await manager.finish_job_by_id_async(job_id=job.id, status=Status.ABORTED, delete_job=True)
        except ConnectorException as error:  # another worker was quicker
            logger.info("job %s is no longer anybody's to take up: %s", job.id, error)


@app.periodic(cron="* * * * * */20")
@app.task(name="bursar.provisioning.tasks.pull_all_usage", queue=QUEUE, queueing_lock="pull-all")
def pull_all_usage(timestamp: int) -> None:
    """Read the usage of every offering that has resources and whose backend measures."""
    measured = Resource.objects.filter(
        Q(state__in=usage.MEASURED_STATES) | Q(terminated_at__gt=now() - usage.AFTERWARDS)
    )
    offerings = Offering.objects.filter(
        pk__in=measured.values("offering_id"), backend__enabled=True, backend__runs_at=Backend.RunsAt.SERVER
    )
    for offering in offerings.select_related("backend"):
        if can(offering, MeasuresUsage):
            defer(pull_usage, queueing_lock=f"pull-{offering.pk}", offering_id=offering.pk)


@app.periodic(cron="* * * * *")
@app.task(name="bursar.provisioning.tasks.sweep", queue=QUEUE, queueing_lock="sweep")
def sweep(timestamp: int) -> None:
    """Have everything looked at that ought to move and for which a job may have been lost; begin and end what is due."""
    at = now()
    # An agent asks its backend again by itself; what it has to know it reads in its feed.
    unmatched = (
        Resource.objects.exclude(observed_generation=F("generation"))
        .exclude(state=ResourceState.FAILED)
        .exclude(offering__backend__runs_at=Backend.RunsAt.SITE)
    )
    for resource_id in unmatched.filter(Q(retry_at=None) | Q(retry_at__lte=at)).values_list("pk", flat=True):
        ask_to_reconcile(resource_id)
    due = Order.objects.filter(state=OrderState.PENDING_START, start__lte=at).values_list("pk", flat=True)
    for order_id in due:
        _told(lambda order_id=order_id: orders.start_order(order_id=order_id, at=at), f"start of order {order_id}")
    for resource_id in ended_resources(at=at):
        _told(lambda resource_id=resource_id: end_resource(resource_id), f"end of resource {resource_id}")


def _told(work: Any, what: str) -> None:
    """One that cannot go on must not hold up the others."""
    try:
        work()
    except DomainError as refusal:
        logger.warning("%s: %s", what, refusal)


def ended_resources(*, at: Any) -> list[int]:
    """Resources whose own end or whose project's end has come and that are not on their way out."""
    over = (
        Q(end__lte=at)
        | Q(workspace__project__end__lte=at)
        | Q(workspace__project__archived_at__isnull=False)
        | Q(workspace__project__organization__archived_at__isnull=False)
    )
    ended = Resource.objects.filter(over, desired_gone=False).exclude(state=ResourceState.TERMINATED)
    return list(ended.order_by("pk").values_list("pk", flat=True))


def end_resource(resource_id: int) -> None:
    """Order the termination of a resource in the system's name; open orders on it that did not begin are canceled."""
    at = now()
    for order in Order.objects.filter(resource_id=resource_id, state__in=OPEN_ORDER_STATES):
        if order.state == OrderState.EXECUTING:
            return  # first it becomes what it was ordered to be; the next sweep ends it
        orders.cancel_order(order_id=order.pk, reason="The resource has come to its end.", by=None, at=at)
    orders.submit_termination(resource_id=resource_id, comment="Its end has come.", by=None, at=at)


@app.periodic(cron="* * * * * 5,15,25,35,45,55")
@app.task(name="bursar.provisioning.tasks.read_events", queue=QUEUE, queueing_lock="provisioning-events")
def read_events(timestamp: int) -> None:
    """Have the resources synced whose wallets or members changed."""
    ask_to_sync(*wakes.resources_to_sync())


@app.periodic(cron="*/5 * * * *")
@app.task(name="bursar.provisioning.tasks.sync_all", queue=QUEUE, queueing_lock="sync-all")
def sync_all(timestamp: int) -> None:
    """Have every live resource's members and quota compared with what its backend was told: no event is trusted to arrive."""
    live = Resource.objects.filter(
        state__in=LIVE_RESOURCE_STATES, observed_generation=F("generation"), offering__backend__enabled=True
    )
    offerings = Offering.objects.filter(pk__in=live.values("offering_id")).select_related("backend")
    kept = [o.pk for o in offerings if can(o, EnforcesQuota, ManagesMembers, ManagesAccounts)]
    ask_to_sync(*live.filter(offering__in=kept).values_list("pk", flat=True))


@app.task(name="bursar.provisioning.tasks.mend_resource", queue=QUEUE)
def mend_resource(resource_id: int) -> None:
    reconcile.mend_resource(resource_id)


@app.periodic(cron="37 * * * *")
@app.task(name="bursar.provisioning.tasks.mend_all", queue=QUEUE, queueing_lock="mend-all")
def mend_all(timestamp: int) -> None:
    """Have every live resource compared with what its backend really holds; those at a site are their agents' to compare."""
    live = Resource.objects.filter(
        state__in=LIVE_RESOURCE_STATES, observed_generation=F("generation"), offering__backend__enabled=True
    ).exclude(offering__backend__runs_at=Backend.RunsAt.SITE)
    for resource_id in live.order_by("pk").values_list("pk", flat=True):
        defer(mend_resource, queueing_lock=f"mend-{resource_id}", resource_id=resource_id)


@app.periodic(cron="*/5 * * * * 20")
@app.task(name="bursar.provisioning.tasks.keep_all_accounts", queue=QUEUE, queueing_lock="accounts-all")
def keep_all_accounts(timestamp: int) -> None:
    """Have accounts looked at again that are not known to be held as they are to be: no event is trusted to arrive."""
    for backend_id in account_steps.unsettled():
        ask_to_keep_accounts(backend_id)


@app.periodic(cron="17 3 * * *")
@app.task(name="bursar.provisioning.tasks.keep_signing_keys", queue=QUEUE, queueing_lock="signing-keys")
def keep_signing_keys(timestamp: int) -> None:
    signing.keep_signing_keys(at=now())


@app.periodic(cron="* * * * * 50")
@app.task(name="bursar.provisioning.tasks.settle_holds", queue=QUEUE, queueing_lock="settle-holds")
def settle_holds(timestamp: int) -> None:
    """Let go the orders that no budget holds any more; pause and resume resources as budgets now will have it."""
    for work, what in holds.to_settle(at=now()):
        _told(work, what)
