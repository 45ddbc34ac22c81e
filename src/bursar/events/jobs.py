"""Putting a job in the queue in the same transaction as the change it serves."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.tasks import Task


def defer(
    task: Task[Any, Any, Any], *, queueing_lock: str | None = None, run_at: datetime | None = None, **facts: Any
) -> int | None:
    """Queue a job over Django's own connection, so that it appears when the caller's transaction commits.

    Inside a worker the queue's connector is a pool of its own: a job deferred through it would be seen before the
    transaction that asked for it commits, or although that was rolled back.

    queueing_lock   at most one waiting job bears it
    run_at          not before this instant
    facts           the task's arguments, JSON values
    returns         the job's id; None when a job with this queueing lock waits already
    """
    deferrer = task.configure(queueing_lock=queueing_lock, schedule_at=run_at)
    try:
        with transaction.atomic():  # a refused insert must not break the caller's transaction
            return JobManager(DjangoConnector()).defer_job(deferrer.make_new_job(**facts)).id
    except AlreadyEnqueued:
        return None


def waiting(queueing_locks: Collection[str]) -> frozenset[str]:
    """Those of the locks that a waiting job bears, by one question: to defer what waits already costs three statements."""
    jobs = ProcrastinateJob.objects.filter(status=Status.TODO.value, queueing_lock__in=queueing_locks)
    return frozenset(lock for lock in jobs.values_list("queueing_lock", flat=True) if lock is not None)
