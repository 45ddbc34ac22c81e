"""Asking for the loop's attention from services, without importing the tasks."""

from datetime import datetime
from typing import Any, Final

from procrastinate.contrib.django import app

from bursar.events.jobs import defer, waiting

TASKS: Final = "bursar.provisioning.tasks"


def _task(name: str) -> Any:
    return app.tasks[f"{TASKS}.{name}"]


def ask_to_reconcile(resource_id: int, *, run_at: datetime | None = None) -> None:
    """Have the loop look at a resource once the caller's transaction has committed, or at a later time.

    Jobs for now and jobs for later have locks of their own: a job that waits for its hour must not hide a new wish.
    """
    lock = f"reconcile-{resource_id}" if run_at is None else f"reconcile-{resource_id}-later"
    defer(_task("reconcile_resource"), queueing_lock=lock, run_at=run_at, resource_id=resource_id)


def ask_to_sync(*resource_ids: int) -> None:
    """Have matching resources' members and quota told to their backend again where they differ."""
    locks = {f"sync-{resource_id}": resource_id for resource_id in resource_ids}
    for lock in sorted(locks.keys() - waiting(locks)):
        defer(_task("sync_resource"), queueing_lock=lock, resource_id=locks[lock])


def ask_to_keep_accounts(backend_id: int) -> None:
    """Have a backend's accounts made, blocked and removed as they now are to be."""
    defer(_task("keep_accounts"), queueing_lock=f"accounts-{backend_id}", backend_id=backend_id)


def ask_to_settle_holds() -> None:
    """Have what spending holds up, or holds up no more, made so once the caller's transaction has committed."""
    defer(_task("settle_holds"), queueing_lock="settle-holds", timestamp=0)
