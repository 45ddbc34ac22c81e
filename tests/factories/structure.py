"""Minimal valid people, organizations, projects and memberships, made by the services as the system."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from bursar.structure import services
from bursar.structure.models import Membership, Organization, Person, Project, Workspace
from bursar.structure.roles import Role

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)  # roles made here hold well before the stated time of a test

_numbers = count(1)


def make_person(
    email: str | None = None,
    *,
    full_name: str | None = None,
    password: str | None = None,
    verified: bool = True,
    at: datetime = LONG_AGO,
) -> Person:
    """Somebody with a verified address and a personal workspace."""
    number = next(_numbers)
    return services.register_person(
        email=email or f"person{number}@example.org",
        full_name=full_name or f"Person {number}",
        password=password,
        verified=verified,
        by=None,
        at=at,
    )


def make_operator(email: str | None = None, **more: Any) -> Person:
    person = make_person(email, **more)
    make_membership(person=person, role=Role.PLATFORM_OPERATOR, scope=None)
    return person


def make_organization(
    name: str | None = None, *, owner: Person | None = None, at: datetime = LONG_AGO, **more: Any
) -> Organization:
    """An organization with its workspace; with an owner only where one is named."""
    return services.create_organization(
        name=name or f"University {next(_numbers)}", owner=owner, by=None, at=at, **more
    )


def make_project(
    *,
    organization: Organization | None = None,
    pi: Person | None = None,
    parent: Project | None = None,
    name: str | None = None,
    start: datetime = LONG_AGO,
    at: datetime = LONG_AGO,
    **more: Any,
) -> Project:
    """A project that goes on, with its workspace and its principal investigator."""
    if organization is None:
        organization = parent.organization if parent is not None else make_organization(at=at)
    return services.create_project(
        organization=organization,
        parent=parent,
        name=name or f"Project {next(_numbers)}",
        principal_investigator=pi or make_person(at=at),
        start=start,
        by=None,
        at=at,
        **more,
    )


def make_membership(
    *,
    person: Person | None = None,
    role: Role = Role.PROJECT_MEMBER,
    scope: Organization | Project | None,
    until: datetime | None = None,
    at: datetime = LONG_AGO,
) -> Membership:
    """A role in an organization, a project or (None) on the platform."""
    return services.give_membership(
        person=person or make_person(at=at), role=role, scope=scope, until=until, by=None, at=at
    )


def make_workspace(of: Organization | Project | Person | None = None) -> Workspace:
    """The workspace of the organization, project or person; of a new project when none is given."""
    owner = of or make_project()
    return Workspace.objects.select_related("project__organization", "organization", "person").get(
        **{type(owner).__name__.lower(): owner}
    )
