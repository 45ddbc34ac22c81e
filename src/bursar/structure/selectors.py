"""The questions that read, each for a given viewer at a given instant. What a viewer may not see is not there."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Lower

from bursar.events.guards import guards
from bursar.events.models import Event
from bursar.structure.errors import InvitationUnknown, NotFound
from bursar.structure.models import (
    ApiToken,
    Invitation,
    Membership,
    Organization,
    Person,
    Project,
    SshKey,
    Workspace,
)
from bursar.structure.roles import (
    Permission,
    Role,
    may,
    on_platform,
    organizations_where,
    projects_where,
    require,
    roles_with,
)
from bursar.structure.services.invitations import token_hash

Scope = Organization | Project | None


# ------------------------------------------------------------------------------------------------ organizations
def organizations_seen(viewer: Person, at: datetime) -> QuerySet[Organization]:
    """The organizations a viewer may see, with `project_count` (going on) and `member_count` (now)."""
    projects = _open_projects(at).filter(organization=OuterRef("pk"))
    members = Membership.objects.held_at(at).filter(organization=OuterRef("pk"))
    return organizations_where(viewer, Permission.VIEW_ORGANIZATION, at).annotate(
        project_count=_count(projects, "organization"),
        member_count=_count(members, "organization", distinct="person"),
    )


def organization_seen(pk: int, viewer: Person, at: datetime) -> Organization:
    """raises   NotFound"""
    row = organizations_where(viewer, Permission.VIEW_ORGANIZATION, at).filter(pk=pk).first()
    if row is None:
        raise NotFound(noun="organization")
    return row


def _open_projects(at: datetime) -> QuerySet[Project]:
    return Project.objects.filter(Q(end=None) | Q(end__gt=at), archived_at=None)


def _count(rows: QuerySet[Any], by: str, distinct: str = "pk") -> Coalesce:
    counted = rows.order_by().values(by).annotate(n=Count(distinct, distinct=True)).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), Value(0))


# ------------------------------------------------------------------------------------------------ projects
def projects_seen(viewer: Person, at: datetime) -> QuerySet[Project]:
    """The projects a viewer may see, with their organization, `member_count` and `investigator` (a name)."""
    members = Membership.objects.held_at(at).filter(project=OuterRef("pk"))
    investigator = members.filter(role=Role.PRINCIPAL_INVESTIGATOR).values("person__full_name")[:1]
    return (
        projects_where(viewer, Permission.VIEW_PROJECT, at)
        .select_related("organization", "parent")
        .annotate(
            member_count=_count(members, "project", distinct="person"),
            investigator=Subquery(investigator),
        )
    )


def project_seen(pk: int, viewer: Person, at: datetime) -> Project:
    """raises   NotFound"""
    row = (
        projects_where(viewer, Permission.VIEW_PROJECT, at)
        .select_related("organization", "parent__organization")
        .filter(pk=pk)
        .first()
    )
    if row is None:
        raise NotFound(noun="project")
    return row


def with_state(rows: QuerySet[Project], state: str, at: datetime) -> QuerySet[Project]:
    """Projects that are upcoming, active, ended or archived at the instant."""
    if state == "archived":
        return rows.exclude(archived_at=None)
    rows = rows.filter(archived_at=None)
    over = Q(end__isnull=False, end__lte=at)
    return {
        "upcoming": rows.filter(~over, start__gt=at),
        "active": rows.filter(Q(end=None) | Q(end__gt=at), start__lte=at),
        "ended": rows.filter(over),
    }.get(state, rows.none())


def projects_of_mine(person: Person, at: datetime) -> QuerySet[Project]:
    """The projects in which the person has a role of their own, going on, soonest end first."""
    held = Membership.objects.filter(person=person).held_at(at).filter(project__isnull=False)
    return (
        _open_projects(at)
        .filter(pk__in=held.values("project_id"))
        .select_related("organization")
        .order_by(F("end").asc(nulls_last=True), "name", "pk")
    )


def path_above(project: Project, viewer: Person, at: datetime) -> list[Project]:
    """The projects above this one that the viewer may see, topmost first."""
    above = [pk for pk in project.path if pk != project.pk]
    if not above:
        return []
    seen = {p.pk: p for p in projects_where(viewer, Permission.VIEW_PROJECT, at).filter(pk__in=above)}
    return [seen[pk] for pk in above if pk in seen]


# ------------------------------------------------------------------------------------------------ members
def members_of(scope: Scope, viewer: Person, at: datetime) -> QuerySet[Membership]:
    """Who holds a role in the scope itself now, with their person.

    raises   NotAllowed when the viewer may not see the scope
    """
    _require_view(scope, viewer, at)
    return Membership.objects.held_at(at).in_scope(scope).select_related("person").order_by("person__full_name", "pk")


def _require_view(scope: Scope, viewer: Person, at: datetime) -> None:
    if isinstance(scope, Project):
        require(viewer, Permission.VIEW_PROJECT, scope, at)
    elif isinstance(scope, Organization):
        require(viewer, Permission.VIEW_ORGANIZATION, scope, at)
    else:
        require(viewer, Permission.READ_PLATFORM, None, at)


def membership_seen(pk: int, viewer: Person, at: datetime) -> Membership:
    """A membership that holds now: one's own, or in a scope that the viewer may see.

    raises   NotFound
    """
    row = (
        Membership.objects.held_at(at)
        .select_related("person", "organization", "project__organization")
        .filter(pk=pk)
        .first()
    )
    if row is None or not (row.person_id == viewer.pk or _may_view(row.project or row.organization, viewer, at)):
        raise NotFound(noun="membership")
    return row


def _may_view(scope: Scope, viewer: Person, at: datetime) -> bool:
    if isinstance(scope, Project):
        return projects_where(viewer, Permission.VIEW_PROJECT, at).filter(pk=scope.pk).exists()
    if isinstance(scope, Organization):
        return organizations_where(viewer, Permission.VIEW_ORGANIZATION, at).filter(pk=scope.pk).exists()
    return on_platform(viewer, Permission.READ_PLATFORM, at)


def memberships_of(person: Person, at: datetime) -> QuerySet[Membership]:
    """The roles a person holds now, wherever; soonest end first."""
    return (
        Membership.objects.filter(person=person)
        .held_at(at)
        .select_related("organization", "project__organization")
        .order_by(F("until").asc(nulls_last=True), "role", "pk")
    )


def people_at(project: Project, at: datetime) -> QuerySet[Person]:
    """The active people who hold a role in the project itself at the instant: whom a provider gives accounts."""
    held = Membership.objects.held_at(at).filter(project=project)
    return Person.objects.filter(is_active=True, pk__in=held.values("person_id")).order_by("pk")


def people_with(permission: Permission, scope: Scope, at: datetime, *, platform: bool = False) -> QuerySet[Person]:
    """The active people who have the permission in the scope by a role there or above it: who can be asked.

    platform   whether roles on the platform count too; usually they are not to be bothered
    """
    places = Q(organization=None, project=None) if platform or scope is None else Q(pk__in=())
    if isinstance(scope, Organization):
        places |= Q(organization=scope)
    elif isinstance(scope, Project):
        places |= Q(organization_id=scope.organization_id) | Q(project_id=scope.pk)
        above = [pk for pk in scope.path if pk != scope.pk]
        if above:
            places |= Q(project_id__in=above) & ~Q(role=Role.PROJECT_MEMBER)
    held = Membership.objects.held_at(at).filter(places, role__in=roles_with(permission))
    return Person.objects.filter(is_active=True, pk__in=held.values("person_id")).order_by("full_name", "pk")


# ------------------------------------------------------------------------------------------------ invitations
def invitations_of(scope: Scope, viewer: Person, at: datetime) -> QuerySet[Invitation]:
    """The invitations into a scope, newest first, for those who manage its members.

    raises   NotAllowed
    """
    permission = {
        Project: Permission.MANAGE_PROJECT_MEMBERS,
        Organization: Permission.MANAGE_ORGANIZATION_MEMBERS,
    }.get(type(scope), Permission.OPERATE_PLATFORM)  # type: ignore[arg-type]
    require(viewer, permission, scope, at)
    rows = Invitation.objects.select_related("created_by", "accepted_by")
    if isinstance(scope, Project):
        rows = rows.filter(project=scope)
    elif isinstance(scope, Organization):
        rows = rows.filter(organization=scope)
    else:
        rows = rows.filter(organization=None, project=None)
    return rows.order_by("-created_at", "-pk")


def with_invitation_state(rows: QuerySet[Invitation], state: str, at: datetime) -> QuerySet[Invitation]:
    waiting = Q(accepted_at=None, declined_at=None, revoked_at=None)
    return {
        "open": rows.filter(waiting, expires_at__gt=at),
        "expired": rows.filter(waiting, expires_at__lte=at),
        "accepted": rows.exclude(accepted_at=None),
        "declined": rows.exclude(declined_at=None),
        "revoked": rows.exclude(revoked_at=None),
    }.get(state, rows.none())


def invitation_seen(pk: int, viewer: Person, at: datetime) -> Invitation:
    """An invitation into a scope whose members the viewer manages.

    raises   NotFound
    """
    row = Invitation.objects.select_related("organization", "project__organization", "created_by").filter(pk=pk).first()
    if row is not None:
        scope = row.project or row.organization
        if _manages(scope, viewer, at):
            return row
    raise NotFound(noun="invitation")


def _manages(scope: Scope, viewer: Person, at: datetime) -> bool:
    if isinstance(scope, Project):
        return projects_where(viewer, Permission.MANAGE_PROJECT_MEMBERS, at).filter(pk=scope.pk).exists()
    if isinstance(scope, Organization):
        return organizations_where(viewer, Permission.MANAGE_ORGANIZATION_MEMBERS, at).filter(pk=scope.pk).exists()
    return on_platform(viewer, Permission.OPERATE_PLATFORM, at)


def invitations_for(person: Person, at: datetime) -> QuerySet[Invitation]:
    """The open invitations sent to one of the person's verified addresses, newest first."""
    own = EmailAddress.objects.filter(user=person, verified=True).annotate(lower=Lower("email")).values("lower")
    rows = Invitation.objects.annotate(lower=Lower("email")).filter(lower__in=own)
    return (
        with_invitation_state(rows, "open", at)
        .select_related("organization", "project__organization", "created_by")
        .order_by("-created_at", "-pk")
    )


def invitation_by_token(token: str) -> Invitation:
    """For whoever holds the link.

    raises   InvitationUnknown
    """
    row = (
        Invitation.objects.select_related("organization", "project__organization", "created_by")
        .filter(token_hash=token_hash(token))
        .first()
    )
    if row is None:
        raise InvitationUnknown
    return row


# ------------------------------------------------------------------------------------------------ people, keys, tokens
def people_seen(viewer: Person, at: datetime) -> QuerySet[Person]:
    """Everybody, for the platform's operators and support, with `role_count` and `is_verified`.

    raises   NotAllowed
    """
    require(viewer, Permission.READ_PLATFORM, None, at)
    held = Membership.objects.held_at(at).filter(person=OuterRef("pk"))
    verified = EmailAddress.objects.filter(user=OuterRef("pk"), verified=True, primary=True)
    return Person.objects.annotate(role_count=_count(held, "person"), is_verified=Exists(verified)).order_by(
        "full_name", "pk"
    )


def person_seen(pk: int, viewer: Person, at: datetime) -> Person:
    """raises   NotFound, NotAllowed"""
    if viewer.pk != pk:
        require(viewer, Permission.READ_PLATFORM, None, at)
    row = Person.objects.filter(pk=pk).first()
    if row is None:
        raise NotFound(noun="person")
    return row


def unknown_people(ids: Iterable[int]) -> set[int]:
    """Those of the ids that are nobody's."""
    asked = set(ids)
    return asked.difference(Person.objects.filter(pk__in=asked).values_list("pk", flat=True)) if asked else asked


def login_claim(person: Person, identity_provider: str, claim: str) -> object:
    """What an identity provider last said of a person who logs in by it; None when nothing. Hostile until looked at."""
    extra = (
        SocialAccount.objects.filter(user=person, provider=identity_provider)
        .order_by("-last_login", "-pk")
        .values_list("extra_data", flat=True)
        .first()
    )
    if not isinstance(extra, dict):
        return None
    # The library keeps both answers since 65.11, before that one of them alone.
    told = [part for part in (extra.get("userinfo"), extra.get("id_token"), extra) if isinstance(part, dict)]
    return next((part[claim] for part in told if part.get(claim) not in (None, "")), None)


def ssh_keys_of(person: Person) -> QuerySet[SshKey]:
    return SshKey.objects.filter(person=person).order_by("created_at", "pk")


def ssh_key_of(pk: int, person: Person) -> SshKey:
    """raises   NotFound"""
    row = SshKey.objects.select_related("person").filter(pk=pk, person=person).first()
    if row is None:
        raise NotFound(noun="SSH key")
    return row


def tokens_of(person: Person) -> QuerySet[ApiToken]:
    return (
        ApiToken.objects.filter(person=person)
        .select_related("organization", "successor")
        .order_by("-created_at", "-pk")
    )


def token_of(pk: int, person: Person) -> ApiToken:
    """raises   NotFound"""
    row = ApiToken.objects.select_related("organization", "successor").filter(pk=pk, person=person).first()
    if row is None:
        raise NotFound(noun="token")
    return row


def token_in_use(person: Person) -> ApiToken | None:
    """The token that a program asks with for the person; None in the browser."""
    if person.limits is None or person.limits.token_id is None:
        return None
    return token_of(person.limits.token_id, person)


def workspace_of(owner: Organization | Project | Person) -> Workspace:
    """The workspace of an organization, a project or a person, with its owner."""
    rows = Workspace.objects.select_related("project__organization", "organization", "person")
    if isinstance(owner, Project):
        return rows.get(project=owner)
    return rows.get(organization=owner) if isinstance(owner, Organization) else rows.get(person=owner)


# ------------------------------------------------------------------------------------------------ what happened
def events_of(scope: Scope, viewer: Person, at: datetime) -> QuerySet[Event]:
    """What happened in an organization (its projects included), in a project, or anywhere (None); newest first.

    What needs a permission beyond seeing the place, such as what it spends, is left out for whoever has it not.

    raises   NotAllowed
    """
    rows = Event.objects.order_by("-at", "-id")
    if isinstance(scope, Project):
        require(viewer, Permission.VIEW_PROJECT, scope, at)
        needs = {noun: guard.project for noun, guard in guards().items()}
        return rows.filter(_told(needs, scope, viewer, at), project_id=scope.pk)
    if isinstance(scope, Organization):
        require(viewer, Permission.VIEW_ORGANIZATION, scope, at)
        as_customer = {noun: guard.organization for noun, guard in guards().items()}
        as_provider = {noun: guard.provider for noun, guard in guards().items()}
        return rows.filter(
            Q(_told(as_customer, scope, viewer, at), organization_id=scope.pk)
            | Q(_told(as_provider, scope, viewer, at), provider_id=scope.pk)
        )
    require(viewer, Permission.READ_PLATFORM, None, at)
    return rows


def _told(needs: Mapping[str, str], scope: Scope, viewer: Person, at: datetime) -> Q:
    """Which events the viewer is told. `needs`: what somebody has to have for those of a noun, "" = nobody has it."""
    has = {need for need in set(needs.values()) if need and may(viewer, Permission(need), scope, at)}
    found = Q()
    for noun, need in needs.items():
        if need not in has:
            found &= ~Q(kind__startswith=f"{noun}.")
    return found
