"""Who is meant: whose decision is awaited, and who may use a resource."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import Q, QuerySet

from bursar.provisioning.lifecycle import OrderState
from bursar.provisioning.models import Order
from bursar.structure.models import Membership, Person, Workspace
from bursar.structure.roles import PROJECT_ROLES, Role

ORGANIZATION_USERS = (Role.ORGANIZATION_OWNER, Role.ORGANIZATION_MANAGER)


def people_awaited(order: Order, *, at: datetime) -> list[int]:
    """Ids of the active people whose decision the order awaits now; without whoever placed it, unless a budget holds it."""
    if not order.awaited_roles:
        return []
    if order.state == OrderState.PENDING_PROVIDER:
        where = Q(organization_id=order.offering.provider.organization_id)
    elif order.state == OrderState.HELD:
        organization = order.workspace.project.organization if order.workspace.project else order.workspace.organization
        where = Q(organization=organization)
    elif order.workspace.project is not None:
        project = order.workspace.project
        where = Q(organization_id=project.organization_id) | Q(project_id=project.pk)
        where |= Q(project_id__in=project.path) & ~Q(role=Role.PROJECT_MEMBER)
    elif order.workspace.organization_id is not None:
        where = Q(organization_id=order.workspace.organization_id)
    else:
        return [] if order.workspace.person_id is None else [order.workspace.person_id]
    held = Membership.objects.held_at(at).filter(where, role__in=order.awaited_roles, person__is_active=True)
    people = set(held.values_list("person_id", flat=True))
    return sorted(people if order.state == OrderState.HELD else people - {order.created_by_id})


def users_of(workspaces: Iterable[Workspace], at: datetime) -> Mapping[int, list[Person]]:
    """Workspace id -> the active people who may use its resources, by id: the members of the project itself, the owners
    and managers of an organization, the person of a personal workspace. Two queries for any number of workspaces.
    """
    workspaces = list(workspaces)
    by_project = {w.project_id: w.pk for w in workspaces if w.project_id is not None}
    by_organization = {w.organization_id: w.pk for w in workspaces if w.organization_id is not None}
    found: dict[int, dict[int, Person]] = {w.pk: {} for w in workspaces}
    where = Q(project_id__in=by_project, role__in=PROJECT_ROLES) | Q(
        organization_id__in=by_organization, role__in=ORGANIZATION_USERS
    )
    if by_project or by_organization:
        memberships = (
            Membership.objects.held_at(at)
            .filter(where, person__is_active=True)
            .select_related("person")
            .order_by("person_id")
        )
        for membership in memberships:
            if membership.project_id is not None:
                workspace_id = by_project[membership.project_id]
            else:
                assert membership.organization_id is not None
                workspace_id = by_organization[membership.organization_id]
            found[workspace_id][membership.person_id] = membership.person
    persons = {w.person_id: w.pk for w in workspaces if w.person_id is not None}
    for person in Person.objects.filter(pk__in=persons, is_active=True) if persons else ():
        found[persons[person.pk]][person.pk] = person
    return {workspace_id: list(people.values()) for workspace_id, people in found.items()}


def workspaces_used_by(person: Person, at: datetime) -> QuerySet[Workspace]:
    """The workspaces whose resources the person may use: as `users_of`, asked the other way round."""
    if not person.is_active:
        return Workspace.objects.none()
    held = Membership.objects.held_at(at).filter(person=person)
    projects = held.filter(project__isnull=False, role__in=PROJECT_ROLES).values("project_id")
    organizations = held.filter(organization__isnull=False, role__in=ORGANIZATION_USERS).values("organization_id")
    return Workspace.objects.filter(
        Q(person=person) | Q(project_id__in=projects) | Q(organization_id__in=organizations)
    )


def people_of_provider(organization_id: int, *, at: datetime) -> list[int]:
    """Ids of the active people who do what has to be done by hand for a provider."""
    roles = (Role.PROVIDER_MANAGER, Role.OFFERING_MANAGER)
    held = Membership.objects.held_at(at).filter(organization_id=organization_id, person__is_active=True)
    people = set(held.filter(role__in=roles).values_list("person_id", flat=True))
    if not people:
        people = set(held.filter(role=Role.ORGANIZATION_OWNER).values_list("person_id", flat=True))
    return sorted(people)
