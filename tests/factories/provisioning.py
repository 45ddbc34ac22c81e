"""A small world in which something can be ordered, and the queue's jobs run in the test's own process."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from procrastinate.contrib.django import app

from bursar.accounting import services as accounting
from bursar.catalogue.models import Backend, Offering, ProductCategory, ServiceProvider
from bursar.kernel.clock import now
from bursar.provisioning import services
from bursar.provisioning.models import Order, Resource, Side
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Role
from tests.factories.catalogue import make_backend, make_category, make_level_category, make_offering, make_provider
from tests.factories.structure import (
    make_membership,
    make_organization,
    make_person,
    make_project,
    make_workspace,
)


@dataclass
class World:
    """A university with a project, and a computing centre that sells it something.

    owner, pi, member          of the university and its project
    manager                    provider manager of the centre
    cpu                        core-hours, over time; disk: GB, a level
    """

    provider: ServiceProvider
    manager: Person
    university: Organization
    owner: Person
    project: Project
    pi: Person
    member: Person
    workspace: Workspace
    cpu: ProductCategory
    disk: ProductCategory
    backend: Backend
    offering: Offering
    at: datetime

    @property
    def plan_id(self) -> int:
        return self.offering.plans.order_by("pk")[0].pk


def make_world(
    *,
    plugin: str = "manual",
    values: dict[str, Any] | None = None,
    quota_hours: int | None = 100,
    quota_gb: int | None = 1000,
    at: datetime,
    **offering: Any,
) -> World:
    """quota_hours, quota_gb   what the project is given of each category, from the university's; None = nothing"""
    long_ago = at - timedelta(days=100)
    provider = make_provider(at=long_ago)
    university = make_organization(at=long_ago)
    owner, pi, member, manager = (make_person(at=long_ago) for _ in range(4))
    make_membership(person=owner, role=Role.ORGANIZATION_OWNER, scope=university, at=long_ago)
    make_membership(person=manager, role=Role.PROVIDER_MANAGER, scope=provider.organization, at=long_ago)
    project = make_project(organization=university, pi=pi, at=long_ago)
    make_membership(person=member, role=Role.PROJECT_MEMBER, scope=project, at=long_ago)
    cpu = make_category(provider, at=long_ago)
    disk = make_level_category(provider, at=long_ago)
    backend = make_backend(provider, plugin=plugin, values=values, at=long_ago)
    offering.setdefault(
        "components",
        [
            {
                "key": "cpu",
                "title": "CPU time",
                "billing": "usage",
                "category": cpu,
                "unit_name": "core-hours",
                "measured_unit": "core-seconds",
                "ticks_per_measured": 1,
            },
            {
                "key": "storage",
                "title": "Storage",
                "billing": "limit",
                "category": disk,
                "unit_name": "GB",
                "limit_min": 1,
                "limit_max": 500,
                "limit_default": 10,
            },
        ],
    )
    world = World(
        provider=provider,
        manager=manager,
        university=university,
        owner=owner,
        project=project,
        pi=pi,
        member=member,
        workspace=make_workspace(project),
        cpu=cpu,
        disk=disk,
        backend=backend,
        offering=make_offering(provider, backend=backend, at=long_ago, **offering),
        at=at,
    )
    for category, quota in ((cpu, quota_hours), (disk, quota_gb)):
        if quota is not None:
            give_quota(world, category, quota)
    return world


def give_quota(world: World, category: ProductCategory, units: int, *, end: datetime | None = None) -> None:
    """A root allocation to the university and from it one to the project, both of so many units for a year."""
    end = end or world.at + timedelta(days=365)
    start = world.at - timedelta(days=1)
    common = {"category": category, "quota_ticks": units * category.ticks_per_unit, "start": start, "end": end}
    top = accounting.allocate(workspace=make_workspace(world.university), source=None, by=None, at=world.at, **common)
    accounting.allocate(workspace=world.workspace, source=top.wallet, by=None, at=world.at, **common)


def place_order(world: World, **more: Any) -> Order:
    """An order of the world's offering for its project by its principal investigator."""
    fields: dict[str, Any] = {
        "workspace": world.workspace,
        "offering": world.offering,
        "plan_id": world.plan_id,
        "name": "Run 1",
        "by": world.pi,
        "at": world.at,
    }
    return services.submit_order(**{**fields, **more})


def approve_all(world: World, order: Order, *, at: datetime | None = None) -> Order:
    """Both sides agree."""
    services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=at or world.at)
    return services.approve_order(order_id=order.pk, side=Side.PROVIDER, by=world.manager, at=at or world.at)


def make_resource(world: World, **more: Any) -> Resource:
    """A resource that is being created: its order was approved by both sides, nothing was asked of the backend yet."""
    order = approve_all(world, place_order(world, **more))
    assert order.resource is not None
    return Resource.objects.get(pk=order.resource.pk)


def run_jobs(*, only: str = "", limit: int = 100) -> list[str]:
    """Run the waiting jobs one after the other in this process, later ones too; the names of those that ran.

    only   a part of the name; others stay in the queue, and so do those for later than the stated time
    """
    ran: list[str] = []
    with connection.cursor() as cursor:
        while len(ran) < limit:
            cursor.execute(
                "SELECT id, task_name, args FROM procrastinate_jobs WHERE status = 'todo' AND task_name LIKE %s"
                " AND (scheduled_at IS NULL OR scheduled_at <= %s) AND queue_name <> 'mail' ORDER BY id LIMIT 1",
                [f"%{only}%", now()],
            )
            row = cursor.fetchone()
            if row is None:
                return ran
            job_id, name, args = row
            cursor.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", [job_id])
            app.tasks[name].func(**json.loads(args))
            cursor.execute("UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = %s", [job_id])
            ran.append(name.rpartition(".")[2])
    raise AssertionError(f"the queue does not empty: {ran[-10:]}")
