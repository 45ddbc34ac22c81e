"""Projects and their sub-projects: made, edited, ended, archived."""

from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Q

from bursar.structure.errors import (
    OutsideParent,
    ProjectClosed,
    ProjectPeriod,
    ProjectStillOpen,
    ProjectTreeTooDeep,
    SlugTaken,
    SubprojectsStillOpen,
)
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, Role, require
from bursar.structure.services._common import tell, write_changes
from bursar.structure.services.memberships import write_membership
from bursar.structure.services.organizations import free_slug, lock_organization, require_open_organization
from bursar.structure.text import clean_line, clean_text, slug_of

DEPTH_MAX: Final = 8


def lock_project(project: Project | int) -> Project:
    pk = project if isinstance(project, int) else project.pk
    return Project.objects.select_for_update(of=("self",)).select_related("organization").get(pk=pk)


@transaction.atomic
def create_project(
    *,
    organization: Organization,
    name: str,
    principal_investigator: Person,
    start: datetime,
    end: datetime | None = None,
    parent: Project | None = None,
    slug: str = "",
    description: str = "",
    field_of_science: str = "",
    by: Person | None,
    at: datetime,
) -> Project:
    """Make a project, or a sub-project of `parent`, with its workspace and its principal investigator.

    raises   NotAllowed (CREATE_PROJECT in the organization, or CREATE_SUBPROJECT in the parent); OrganizationArchived;
             ProjectClosed for a parent that has ended; OutsideParent; ProjectTreeTooDeep; ProjectPeriod; SlugTaken;
             PersonInactive; TextMissing, TextTooLong, TextNotAllowed
    """
    # The lock on the organization makes short names and its archiving a matter of one at a time.
    organization = lock_organization(organization)
    if parent is not None:
        parent = lock_project(parent)
        require(by, Permission.CREATE_SUBPROJECT, parent, at)
        require_open_project(parent, at)
        organization = parent.organization
        if len(parent.path) >= DEPTH_MAX:
            raise ProjectTreeTooDeep(limit=DEPTH_MAX)
    else:
        require(by, Permission.CREATE_PROJECT, organization, at)
    require_open_organization(organization)
    title = clean_line(name, field="name", limit=200)
    _check_period(start, end, parent)
    wanted = slug_of(slug or title, otherwise="project")
    taken = set(
        Project.objects.filter(organization=organization, slug__startswith=wanted[:36]).values_list("slug", flat=True)
    )
    if slug and wanted in taken:
        raise SlugTaken(slug=wanted)
    project = Project.objects.create(
        organization=organization,
        parent=parent,
        name=title,
        slug=free_slug(wanted, taken),
        description=clean_text(description, field="description", limit=10_000),
        field_of_science=clean_line(field_of_science, field="field_of_science", limit=120, required=False),
        start=start,
        end=end,
    )
    project.path = [*(parent.path if parent is not None else ()), project.pk]
    project.save(update_fields=["path"])
    Workspace.objects.create(kind=Workspace.Kind.PROJECT, project=project)
    facts = {"name": project.name, "parent_id": None if parent is None else parent.pk}
    tell("project.created", project, scope=project, by=by, at=at, facts=facts)
    write_membership(
        person=principal_investigator, role=Role.PRINCIPAL_INVESTIGATOR, scope=project, until=None, by=by, at=at
    )
    return project


def _check_period(start: datetime, end: datetime | None, parent: Project | None) -> None:
    if end is not None and end <= start:
        raise ProjectPeriod
    if parent is None:
        return
    if start < parent.start or (parent.end is not None and (end is None or end > parent.end)):
        raise OutsideParent(
            start=f"{parent.start:%Y-%m-%d}", end="–" if parent.end is None else f"{parent.end:%Y-%m-%d}"
        )


def require_open_project(project: Project, at: datetime) -> None:
    """raises   ProjectClosed when it is archived or has ended at the instant; OrganizationArchived"""
    if project.archived_at is not None or (project.end is not None and project.end <= at):
        raise ProjectClosed(project=project.name)
    require_open_organization(project.organization)


@transaction.atomic
def edit_project(
    *,
    project: Project,
    name: str,
    description: str,
    field_of_science: str,
    start: datetime,
    end: datetime | None,
    by: Person | None,
    at: datetime,
) -> Project:
    """Change what a project says of itself. Moving the end is how a project that has ended goes on.

    raises   NotAllowed; ProjectClosed when archived; OrganizationArchived; ProjectPeriod; OutsideParent;
             SubprojectsStillOpen when one would reach beyond the new period; TextMissing, TextTooLong, TextNotAllowed
    """
    lock_organization(project.organization_id)
    row = lock_project(project)
    require(by, Permission.EDIT_PROJECT, row, at)
    if row.archived_at is not None:
        raise ProjectClosed(project=row.name)
    require_open_organization(row.organization)
    _check_period(start, end, row.parent)
    if end is not None:
        _refuse_beyond(row, end)
    changes = write_changes(
        row,
        {
            "name": clean_line(name, field="name", limit=200),
            "description": clean_text(description, field="description", limit=10_000),
            "field_of_science": clean_line(field_of_science, field="field_of_science", limit=120, required=False),
            "start": start,
            "end": end,
        },
    )
    if changes:
        tell("project.edited", row, scope=row, by=by, at=at, facts={"changes": changes})
    return row


def _refuse_beyond(project: Project, end: datetime) -> None:
    beyond = Project.objects.filter(Q(end=None) | Q(end__gt=end), parent=project, archived_at=None).count()
    if beyond:
        raise SubprojectsStillOpen(count=beyond)


@transaction.atomic
def end_project(*, project: Project, end: datetime, by: Person | None, at: datetime) -> Project:
    """Let the project end at the instant `end`, which may be now or later.

    raises   NotAllowed; ProjectClosed when archived; ProjectPeriod; SubprojectsStillOpen
    """
    lock_organization(project.organization_id)
    row = lock_project(project)
    require(by, Permission.EDIT_PROJECT, row, at)
    if row.archived_at is not None:
        raise ProjectClosed(project=row.name)
    _check_period(row.start, end, row.parent)
    _refuse_beyond(row, end)
    if write_changes(row, {"end": end}):
        tell("project.ended", row, scope=row, by=by, at=at, facts={"end": end.isoformat()})
    return row


@transaction.atomic
def archive_project(*, project: Project, by: Person | None, at: datetime) -> Project:
    """Put an ended project out of the way of lists; it stays readable. Archiving twice is once.

    raises   NotAllowed; ProjectStillOpen; SubprojectsStillOpen
    """
    lock_organization(project.organization_id)
    row = lock_project(project)
    require(by, Permission.EDIT_PROJECT, row, at)
    if row.archived_at is not None:
        return row
    if row.end is None or row.end > at:
        raise ProjectStillOpen
    below = Project.objects.filter(parent=row, archived_at=None).count()
    if below:
        raise SubprojectsStillOpen(count=below)
    write_changes(row, {"archived_at": at})
    tell("project.archived", row, scope=row, by=by, at=at)
    return row


@transaction.atomic
def unarchive_project(*, project: Project, by: Person | None, at: datetime) -> Project:
    """raises   NotAllowed; OrganizationArchived; ProjectClosed while the project above is archived"""
    lock_organization(project.organization_id)
    row = lock_project(project)
    require(by, Permission.EDIT_PROJECT, row, at)
    require_open_organization(row.organization)
    if row.parent is not None and row.parent.archived_at is not None:
        raise ProjectClosed(project=row.parent.name)
    if row.archived_at is not None:
        write_changes(row, {"archived_at": None})
        tell("project.unarchived", row, scope=row, by=by, at=at)
    return row
