"""Who is told: a giver's reviewers, and those who speak for the applicant."""

from datetime import datetime

from django.db.models import Q

from bursar.grants.models import Application
from bursar.structure.models import Membership, Workspace
from bursar.structure.roles import PLATFORM_ROLES, Permission, Role, roles_with


def reviewers_of(giver: Workspace, at: datetime) -> set[int]:
    """The active people who judge for a giver by a role there; operators, who may everywhere, are not bothered."""
    project, organization_id = giver.project, giver.organization_id
    places = Q(organization_id=organization_id, project=None)
    if project is not None:
        above = [pk for pk in project.path if pk != project.pk]
        places = Q(project=project) | (Q(project_id__in=above) & ~Q(role=Role.PROJECT_MEMBER))
        # In an organization with many projects its owners judge for those that nobody manages.
        if not _judges(places, at).exists():
            places = Q(organization_id=project.organization_id)
    return set(_judges(places, at).values_list("person_id", flat=True))


def _judges(places: Q, at: datetime):  # type: ignore[no-untyped-def]
    roles = roles_with(Permission.JUDGE_GRANTS) - PLATFORM_ROLES
    return Membership.objects.held_at(at).filter(places, role__in=roles, person__is_active=True)


def side_of_applicant(application: Application, at: datetime) -> set[int]:
    """The applicant and, of an existing project, its principal investigator."""
    people = {application.applicant_id}
    workspace = application.workspace
    if workspace is not None and workspace.project_id is not None:
        leading = Membership.objects.held_at(at).filter(
            project_id=workspace.project_id, role=Role.PRINCIPAL_INVESTIGATOR, person__is_active=True
        )
        people |= set(leading.values_list("person_id", flat=True))
    return people
