"""People, organizations, projects, members, invitations, keys and tokens."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import AwareDatetime, Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.structure import selectors, services
from bursar.structure.errors import InvalidValue, NotFound
from bursar.structure.lifecycle import InvitationState, ProjectState
from bursar.structure.models import ApiToken, Invitation, Membership, Organization, Person, Project, SshKey
from bursar.structure.roles import Permission, Role, TokenScope, permissions_in, require
from bursar.structure.services.people import require_self

router = Router()

Search = Annotated[str, Query(max_length=200, description="part of the name")]


# ------------------------------------------------------------------------------------------------ shapes
class PersonOut(Schema):
    id: int
    full_name: str
    email: str


class OrganizationOut(Schema):
    id: int
    name: str
    slug: str
    country: str
    currency: str
    time_zone: str
    url: str
    created_at: datetime
    archived_at: datetime | None


class OrganizationIn(Strict):
    name: str = Field(max_length=200)
    slug: str = Field("", max_length=40, description="made from the name when empty")
    country: str = Field("", max_length=2, description="ISO 3166, two letters")
    vat_number: str = Field("", max_length=40)
    currency: str = Field("EUR", max_length=3, description="ISO 4217")
    time_zone: str = Field("UTC", max_length=64, description="a name of the IANA database")
    url: str = Field("", max_length=200)


class OrganizationCreate(OrganizationIn):
    owner_id: int | None = Field(None, description="the person who becomes its first owner")


class OrganizationEdit(Strict):
    """What is left out stays as it is."""

    name: str | None = Field(None, max_length=200)
    country: str | None = Field(None, max_length=2)
    vat_number: str | None = Field(None, max_length=40)
    currency: str | None = Field(None, max_length=3)
    time_zone: str | None = Field(None, max_length=64)
    url: str | None = Field(None, max_length=200)


class ProjectOut(Schema):
    id: int
    organization_id: int
    parent_id: int | None
    path: list[int] = Field(description="ids from the topmost project to this one")
    name: str
    slug: str
    description: str
    field_of_science: str
    start: datetime
    end: datetime | None = Field(description="half-open; empty = without an end")
    archived_at: datetime | None
    state: ProjectState

    @staticmethod
    def resolve_state(row: Project, context: dict[str, Any]) -> str:
        return row.state(at_of(context["request"])).value


class ProjectCreate(Strict):
    organization_id: int | None = Field(None, description="or else `parent_id`")
    parent_id: int | None = Field(None, description="makes a sub-project of that project")
    name: str = Field(max_length=200)
    slug: str = Field("", max_length=40, description="made from the name when empty")
    description: str = Field("", max_length=10_000)
    field_of_science: str = Field("", max_length=120)
    principal_investigator_id: int | None = Field(None, description="the person who leads it; you when empty")
    start: AwareDatetime | None = Field(None, description="now when empty")
    end: AwareDatetime | None = None


class ProjectEdit(Strict):
    """What is left out stays as it is; an `end` of null takes the end away."""

    name: str | None = Field(None, max_length=200)
    description: str | None = Field(None, max_length=10_000)
    field_of_science: str | None = Field(None, max_length=120)
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None


class ProjectEnd(Strict):
    end: AwareDatetime | None = Field(None, description="now when empty")


class MembershipOut(Schema):
    id: int
    person: PersonOut
    role: Role
    organization_id: int | None
    project_id: int | None
    start: datetime
    until: datetime | None = Field(description="half-open; empty = without an end")


class MembershipCreate(Strict):
    person_id: int
    role: Role
    until: AwareDatetime | None = None


class MembershipEdit(Strict):
    """What is left out stays as it is; an `until` of null takes the end away."""

    role: Role | None = None
    until: AwareDatetime | None = None


class HandOver(Strict):
    to_person_id: int
    former_role: Role | None = Field(Role.PROJECT_MANAGER, description="what the former one becomes; null = leaves")


class InvitationOut(Schema):
    id: int
    email: str
    role: Role
    organization_id: int | None
    project_id: int | None
    member_until: datetime | None
    message: str
    state: InvitationState
    created_at: datetime
    sent_at: datetime | None
    expires_at: datetime

    @staticmethod
    def resolve_state(row: Invitation, context: dict[str, Any]) -> str:
        return row.state(at_of(context["request"])).value


class InvitationCreate(Strict):
    email: str = Field(max_length=254)
    role: Role
    member_until: AwareDatetime | None = None
    message: str = Field("", max_length=2000)
    days: int = Field(14, ge=1, le=90, description="how long the link works")


class SshKeyOut(Schema):
    id: int
    name: str
    public_key: str
    fingerprint: str
    created_at: datetime


class SshKeyCreate(Strict):
    public_key: str = Field(max_length=8192)
    name: str = Field("", max_length=100, description="the key's own comment when empty")


class TokenOut(Schema):
    id: int
    name: str
    prefix: str
    scopes: list[TokenScope]
    organization_id: int | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="to the minute")
    last_used_from: str = Field(description='the address of that use; "" = not known')
    revoked_at: datetime | None
    successor_id: int | None = Field(description="the token that it was rolled to; it then goes on until expires_at")
    rolled_at: datetime | None


class TokenRoll(Strict):
    overlap_days: int = Field(
        7, ge=0, le=366, description="how long the replaced token goes on; never longer than before"
    )


class TokenCreate(Strict):
    name: str = Field(max_length=100)
    scopes: list[TokenScope] = Field(min_length=1)
    days: int = Field(90, ge=1, le=366)
    organization_id: int | None = None


class TokenMade(TokenOut):
    token: str = Field(description="shown this once")


class Me(PersonOut):
    language: str
    time_zone: str
    permissions: list[Permission] = Field(description="on the platform as a whole")
    memberships: list[MembershipOut]
    token: TokenOut | None = Field(description="the token in use; null in the browser")


class MeEdit(Strict):
    full_name: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=12)
    time_zone: str | None = Field(None, max_length=64)


class EventOut(Schema):
    id: int
    at: datetime
    recorded_at: datetime
    kind: str
    actor_id: int | None = Field(description="the person; empty = the system")
    subject_type: str
    subject_id: int
    organization_id: int | None
    project_id: int | None
    facts: dict[str, Any]


class Permissions(Schema):
    permissions: list[Permission]


# ------------------------------------------------------------------------------------------------ finding
def _organization(request: HttpRequest, pk: int) -> Organization:
    return selectors.organization_seen(pk, person_of(request), at_of(request))


def _project(request: HttpRequest, pk: int) -> Project:
    return selectors.project_seen(pk, person_of(request), at_of(request))


def _membership(request: HttpRequest, pk: int) -> Membership:
    return selectors.membership_seen(pk, person_of(request), at_of(request))


def _invitation(request: HttpRequest, pk: int) -> Invitation:
    return selectors.invitation_seen(pk, person_of(request), at_of(request))


def _somebody(pk: int) -> Person:
    """Ids of people are no secret: whoever may give a role may give it to anybody registered."""
    person = Person.objects.filter(pk=pk).first()
    if person is None:
        raise NotFound(noun="person")
    return person


def _changes(payload: Schema, row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    given = payload.dict(exclude_unset=True)
    kept = {name: getattr(row, name) for name in names}
    return kept | {name: value for name, value in given.items() if value is not None or name == "end"}


# ------------------------------------------------------------------------------------------------ oneself
@router.get("/me", response={200: Me, **PROBLEMS}, summary="Who you are and where you hold roles", tags=["Me"])
def read_me(request: HttpRequest) -> Any:
    person = person_of(request)
    return _me(request, person)


def _me(request: HttpRequest, person: Person) -> dict[str, Any]:
    at = at_of(request)
    held = list(selectors.memberships_of(person, at))
    for row in held:
        row.person = person
    return {
        "id": person.pk,
        "full_name": person.full_name,
        "email": person.email,
        "language": person.language,
        "time_zone": person.time_zone,
        "permissions": sorted(permissions_in(person, None, at)),
        "memberships": held,
        "token": selectors.token_in_use(person),
    }


@router.patch("/me", response={200: Me, **PROBLEMS}, summary="Change your name, language or time zone", tags=["Me"])
def edit_me(request: HttpRequest, payload: MeEdit) -> Any:
    person = person_of(request)
    values = _changes(payload, person, ("full_name", "language", "time_zone"))
    edited = services.edit_person(person=person, by=person, at=at_of(request), **values)
    edited.limits = person.limits
    return _me(request, edited)


@router.get("/me/ssh-keys", response={200: Page[SshKeyOut], **PROBLEMS}, summary="Your SSH keys", tags=["Me"])
def list_ssh_keys(request: HttpRequest, paging: Paging) -> Any:
    return page_of(request, selectors.ssh_keys_of(person_of(request)), paging)


@router.post("/me/ssh-keys", response={201: SshKeyOut, **PROBLEMS}, summary="Add an SSH key", tags=["Me"])
def add_ssh_key(request: HttpRequest, payload: SshKeyCreate) -> Status[SshKey]:
    person = person_of(request)
    return Status(201, services.add_ssh_key(person=person, by=person, at=at_of(request), **payload.dict()))


@router.delete("/me/ssh-keys/{key_id}", response={204: None, **PROBLEMS}, summary="Remove an SSH key", tags=["Me"])
def remove_ssh_key(request: HttpRequest, key_id: int) -> Status[None]:
    person = person_of(request)
    services.remove_ssh_key(key=selectors.ssh_key_of(key_id, person), by=person, at=at_of(request))
    return Status(204, None)


@router.get("/me/tokens", response={200: Page[TokenOut], **PROBLEMS}, summary="Your API tokens", tags=["Me"])
def list_tokens(request: HttpRequest, paging: Paging) -> Any:
    require_self(person_of(request), person_of(request), at_of(request))
    return page_of(request, selectors.tokens_of(person_of(request)), paging)


@router.post(
    "/me/tokens",
    response={201: TokenMade, **PROBLEMS},
    summary="Make an API token (from a login in the browser only)",
    tags=["Me"],
)
def create_token(request: HttpRequest, payload: TokenCreate) -> Status[dict[str, Any]]:
    person = person_of(request)
    values = payload.dict()
    place = values.pop("organization_id")
    organization = _organization(request, place) if place is not None else None
    made = services.create_token(person=person, organization=organization, by=person, at=at_of(request), **values)
    return Status(201, {**TokenOut.from_orm(made.row).dict(), "token": made.token})


@router.post(
    "/me/tokens/{token_id}/roll",
    response={201: TokenMade, **PROBLEMS},
    summary="Replace a token by a successor of the same rights, without a gap",
    tags=["Me"],
)
def roll_token(request: HttpRequest, token_id: int, payload: TokenRoll) -> Status[dict[str, Any]]:
    """In the browser any of yours; with a token only the token in use, and only with the scope `roll`."""
    person = person_of(request)
    token = selectors.token_of(token_id, person)
    made = services.roll_token(token=token, by=person, at=at_of(request), **payload.dict())
    return Status(201, {**TokenOut.from_orm(made.row).dict(), "token": made.token})


@router.delete("/me/tokens/{token_id}", response={200: TokenOut, **PROBLEMS}, summary="Revoke a token", tags=["Me"])
def revoke_token(request: HttpRequest, token_id: int) -> ApiToken:
    person = person_of(request)
    return services.revoke_token(token=selectors.token_of(token_id, person), by=person, at=at_of(request))


@router.get(
    "/me/invitations",
    response={200: Page[InvitationOut], **PROBLEMS},
    summary="Open invitations to one of your verified addresses",
    tags=["Me"],
)
def list_my_invitations(request: HttpRequest, paging: Paging) -> Any:
    return page_of(request, selectors.invitations_for(person_of(request), at_of(request)), paging)


@router.post(
    "/me/invitations/{invitation_id}/accept",
    response={200: MembershipOut, **PROBLEMS},
    summary="Accept (from a login in the browser only)",
    tags=["Me"],
)
def accept_invitation(request: HttpRequest, invitation_id: int) -> Membership:
    row = _mine(request, invitation_id)
    return services.accept_invitation(invitation=row, by=person_of(request), at=at_of(request))


@router.post(
    "/me/invitations/{invitation_id}/decline", response={200: InvitationOut, **PROBLEMS}, summary="Decline", tags=["Me"]
)
def decline_invitation(request: HttpRequest, invitation_id: int) -> Invitation:
    row = _mine(request, invitation_id)
    return services.decline_invitation(invitation=row, by=person_of(request), at=at_of(request))


def _mine(request: HttpRequest, pk: int) -> Invitation:
    row = selectors.invitations_for(person_of(request), at_of(request)).filter(pk=pk).first()
    if row is None:
        raise NotFound(noun="invitation")
    return row


# ------------------------------------------------------------------------------------------------ organizations
_ORGANIZATIONS = ["Organizations"]


@router.get(
    "/organizations",
    response={200: Page[OrganizationOut], **PROBLEMS},
    summary="Organizations you can see",
    tags=_ORGANIZATIONS,
)
def list_organizations(request: HttpRequest, paging: Paging, q: Search = "", archived: bool = False) -> Any:
    rows = selectors.organizations_seen(person_of(request), at_of(request)).filter(archived_at__isnull=not archived)
    return page_of(request, rows.filter(name__icontains=q) if q else rows, paging)


@router.post(
    "/organizations",
    response={201: OrganizationOut, **PROBLEMS},
    summary="Create an organization (operators)",
    tags=_ORGANIZATIONS,
)
def create_organization(request: HttpRequest, payload: OrganizationCreate) -> Status[Organization]:
    values = payload.dict()
    owner_id = values.pop("owner_id")
    by, at = person_of(request), at_of(request)
    require(by, Permission.OPERATE_PLATFORM, None, at)
    owner = None if owner_id is None else _somebody(owner_id)
    return Status(201, services.create_organization(owner=owner, by=by, at=at, **values))


@router.get(
    "/organizations/{organization_id}",
    response={200: OrganizationOut, **PROBLEMS},
    summary="An organization",
    tags=_ORGANIZATIONS,
)
def read_organization(request: HttpRequest, organization_id: int) -> Organization:
    return _organization(request, organization_id)


@router.patch(
    "/organizations/{organization_id}",
    response={200: OrganizationOut, **PROBLEMS},
    summary="Edit an organization",
    tags=_ORGANIZATIONS,
)
def edit_organization(request: HttpRequest, organization_id: int, payload: OrganizationEdit) -> Organization:
    row = _organization(request, organization_id)
    names = ("name", "country", "vat_number", "currency", "time_zone", "url")
    values = _changes(payload, row, names)
    return services.edit_organization(organization=row, by=person_of(request), at=at_of(request), **values)


@router.post(
    "/organizations/{organization_id}/archive",
    response={200: OrganizationOut, **PROBLEMS},
    summary="Archive (operators)",
    tags=_ORGANIZATIONS,
)
def archive_organization(request: HttpRequest, organization_id: int) -> Organization:
    row = _organization(request, organization_id)
    return services.archive_organization(organization=row, by=person_of(request), at=at_of(request))


@router.post(
    "/organizations/{organization_id}/unarchive",
    response={200: OrganizationOut, **PROBLEMS},
    summary="Take back from the archive (operators)",
    tags=_ORGANIZATIONS,
)
def unarchive_organization(request: HttpRequest, organization_id: int) -> Organization:
    row = _organization(request, organization_id)
    return services.unarchive_organization(organization=row, by=person_of(request), at=at_of(request))


@router.get(
    "/organizations/{organization_id}/permissions",
    response={200: Permissions, **PROBLEMS},
    summary="What you may do in it",
    tags=_ORGANIZATIONS,
)
def organization_permissions(request: HttpRequest, organization_id: int) -> Any:
    row = _organization(request, organization_id)
    return {"permissions": sorted(permissions_in(person_of(request), row, at_of(request)))}


@router.get(
    "/organizations/{organization_id}/members",
    response={200: Page[MembershipOut], **PROBLEMS},
    summary="Who holds a role in it",
    tags=_ORGANIZATIONS,
)
def list_organization_members(request: HttpRequest, organization_id: int, paging: Paging) -> Any:
    row = _organization(request, organization_id)
    return page_of(request, selectors.members_of(row, person_of(request), at_of(request)), paging)


@router.post(
    "/organizations/{organization_id}/members",
    response={201: MembershipOut, **PROBLEMS},
    summary="Give somebody a role in it",
    tags=_ORGANIZATIONS,
)
def give_organization_role(request: HttpRequest, organization_id: int, payload: MembershipCreate) -> Status[Membership]:
    row, by, at = _organization(request, organization_id), person_of(request), at_of(request)
    require(by, Permission.MANAGE_ORGANIZATION_MEMBERS, row, at)
    return Status(
        201,
        services.give_membership(
            person=_somebody(payload.person_id), role=payload.role, scope=row, until=payload.until, by=by, at=at
        ),
    )


@router.get(
    "/organizations/{organization_id}/invitations",
    response={200: Page[InvitationOut], **PROBLEMS},
    summary="Invitations into it",
    tags=_ORGANIZATIONS,
)
def list_organization_invitations(
    request: HttpRequest, organization_id: int, paging: Paging, state: InvitationState | None = None
) -> Any:
    at = at_of(request)
    rows = selectors.invitations_of(_organization(request, organization_id), person_of(request), at)
    return page_of(request, selectors.with_invitation_state(rows, state, at) if state else rows, paging)


@router.post(
    "/organizations/{organization_id}/invitations",
    response={201: InvitationOut, **PROBLEMS},
    summary="Invite somebody by mail",
    tags=_ORGANIZATIONS,
)
def invite_to_organization(request: HttpRequest, organization_id: int, payload: InvitationCreate) -> Status[Invitation]:
    row = _organization(request, organization_id)
    return Status(
        201, services.invite(scope=row, by=person_of(request), at=at_of(request), **payload.dict()).invitation
    )


@router.get(
    "/organizations/{organization_id}/events",
    response={200: Page[EventOut], **PROBLEMS},
    summary="What happened in it, newest first",
    tags=_ORGANIZATIONS,
)
def list_organization_events(request: HttpRequest, organization_id: int, paging: Paging, kind: str = "") -> Any:
    rows = selectors.events_of(_organization(request, organization_id), person_of(request), at_of(request))
    return page_of(request, rows.filter(kind__startswith=kind) if kind else rows, paging)


# ------------------------------------------------------------------------------------------------ projects
_PROJECTS = ["Projects"]


@router.get("/projects", response={200: Page[ProjectOut], **PROBLEMS}, summary="Projects you can see", tags=_PROJECTS)
def list_projects(
    request: HttpRequest,
    paging: Paging,
    q: Search = "",
    organization_id: int | None = None,
    parent_id: int | None = None,
    state: ProjectState | None = None,
) -> Any:
    at = at_of(request)
    rows = selectors.projects_seen(person_of(request), at)
    if q:
        rows = rows.filter(name__icontains=q)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    if parent_id is not None:
        rows = rows.filter(parent_id=parent_id)
    return page_of(request, selectors.with_state(rows, state, at) if state else rows, paging)


@router.post(
    "/projects", response={201: ProjectOut, **PROBLEMS}, summary="Create a project or sub-project", tags=_PROJECTS
)
def create_project(request: HttpRequest, payload: ProjectCreate) -> Status[Project]:
    by, at = person_of(request), at_of(request)
    values = payload.dict()
    organization_id, parent_id = values.pop("organization_id"), values.pop("parent_id")
    investigator_id = values.pop("principal_investigator_id")
    if (organization_id is None) == (parent_id is None):
        raise InvalidValue(
            field="organization_id",
            value=str(organization_id),
            expected="either an organization_id or, for a sub-project, a parent_id",
        )
    parent = None if parent_id is None else _project(request, parent_id)
    if parent is not None:
        require(by, Permission.CREATE_SUBPROJECT, parent, at)
        organization = parent.organization
    else:
        organization = _organization(request, organization_id)
        require(by, Permission.CREATE_PROJECT, organization, at)
    return Status(
        201,
        services.create_project(
            organization=organization,
            parent=parent,
            principal_investigator=by if investigator_id is None else _somebody(investigator_id),
            start=values.pop("start") or at,
            by=by,
            at=at,
            **values,
        ),
    )


@router.get("/projects/{project_id}", response={200: ProjectOut, **PROBLEMS}, summary="A project", tags=_PROJECTS)
def read_project(request: HttpRequest, project_id: int) -> Project:
    return _project(request, project_id)


@router.patch(
    "/projects/{project_id}", response={200: ProjectOut, **PROBLEMS}, summary="Edit a project", tags=_PROJECTS
)
def edit_project(request: HttpRequest, project_id: int, payload: ProjectEdit) -> Project:
    row = _project(request, project_id)
    values = _changes(payload, row, ("name", "description", "field_of_science", "start", "end"))
    return services.edit_project(project=row, by=person_of(request), at=at_of(request), **values)


@router.post(
    "/projects/{project_id}/end", response={200: ProjectOut, **PROBLEMS}, summary="End a project", tags=_PROJECTS
)
def end_project(request: HttpRequest, project_id: int, payload: ProjectEnd) -> Project:
    at = at_of(request)
    row = _project(request, project_id)
    return services.end_project(project=row, end=payload.end or at, by=person_of(request), at=at)


@router.post(
    "/projects/{project_id}/archive", response={200: ProjectOut, **PROBLEMS}, summary="Archive", tags=_PROJECTS
)
def archive_project(request: HttpRequest, project_id: int) -> Project:
    row = _project(request, project_id)
    return services.archive_project(project=row, by=person_of(request), at=at_of(request))


@router.post(
    "/projects/{project_id}/unarchive",
    response={200: ProjectOut, **PROBLEMS},
    summary="Take back from the archive",
    tags=_PROJECTS,
)
def unarchive_project(request: HttpRequest, project_id: int) -> Project:
    row = _project(request, project_id)
    return services.unarchive_project(project=row, by=person_of(request), at=at_of(request))


@router.get(
    "/projects/{project_id}/permissions",
    response={200: Permissions, **PROBLEMS},
    summary="What you may do in it",
    tags=_PROJECTS,
)
def project_permissions(request: HttpRequest, project_id: int) -> Any:
    row = _project(request, project_id)
    return {"permissions": sorted(permissions_in(person_of(request), row, at_of(request)))}


@router.get(
    "/projects/{project_id}/members",
    response={200: Page[MembershipOut], **PROBLEMS},
    summary="Who holds a role in it",
    tags=_PROJECTS,
)
def list_project_members(request: HttpRequest, project_id: int, paging: Paging) -> Any:
    row = _project(request, project_id)
    return page_of(request, selectors.members_of(row, person_of(request), at_of(request)), paging)


@router.post(
    "/projects/{project_id}/members",
    response={201: MembershipOut, **PROBLEMS},
    summary="Give somebody a role in it",
    tags=_PROJECTS,
)
def give_project_role(request: HttpRequest, project_id: int, payload: MembershipCreate) -> Status[Membership]:
    row, by, at = _project(request, project_id), person_of(request), at_of(request)
    require(by, Permission.MANAGE_PROJECT_MEMBERS, row, at)
    return Status(
        201,
        services.give_membership(
            person=_somebody(payload.person_id), role=payload.role, scope=row, until=payload.until, by=by, at=at
        ),
    )


@router.post(
    "/projects/{project_id}/hand-over",
    response={200: MembershipOut, **PROBLEMS},
    summary="Make somebody else the principal investigator",
    tags=_PROJECTS,
)
def hand_over_project(request: HttpRequest, project_id: int, payload: HandOver) -> Membership:
    row, by, at = _project(request, project_id), person_of(request), at_of(request)
    require(by, Permission.MANAGE_PROJECT_MEMBERS, row, at)
    return services.hand_over_project(
        project=row, to=_somebody(payload.to_person_id), former_role=payload.former_role, by=by, at=at
    )


@router.get(
    "/projects/{project_id}/invitations",
    response={200: Page[InvitationOut], **PROBLEMS},
    summary="Invitations into it",
    tags=_PROJECTS,
)
def list_project_invitations(
    request: HttpRequest, project_id: int, paging: Paging, state: InvitationState | None = None
) -> Any:
    at = at_of(request)
    rows = selectors.invitations_of(_project(request, project_id), person_of(request), at)
    return page_of(request, selectors.with_invitation_state(rows, state, at) if state else rows, paging)


@router.post(
    "/projects/{project_id}/invitations",
    response={201: InvitationOut, **PROBLEMS},
    summary="Invite somebody by mail",
    tags=_PROJECTS,
)
def invite_to_project(request: HttpRequest, project_id: int, payload: InvitationCreate) -> Status[Invitation]:
    row = _project(request, project_id)
    return Status(
        201, services.invite(scope=row, by=person_of(request), at=at_of(request), **payload.dict()).invitation
    )


@router.get(
    "/projects/{project_id}/events",
    response={200: Page[EventOut], **PROBLEMS},
    summary="What happened in it, newest first",
    tags=_PROJECTS,
)
def list_project_events(request: HttpRequest, project_id: int, paging: Paging, kind: str = "") -> Any:
    rows = selectors.events_of(_project(request, project_id), person_of(request), at_of(request))
    return page_of(request, rows.filter(kind__startswith=kind) if kind else rows, paging)


# ------------------------------------------------------------------------------------------------ roles, invitations
@router.patch(
    "/memberships/{membership_id}",
    response={200: MembershipOut, **PROBLEMS},
    summary="Change a role or its end",
    tags=["Memberships"],
)
def edit_membership(request: HttpRequest, membership_id: int, payload: MembershipEdit) -> Membership:
    row, by, at = _membership(request, membership_id), person_of(request), at_of(request)
    given = payload.dict(exclude_unset=True)
    role, until = Role(given.get("role") or row.role), given.get("until", row.until)
    return services.change_membership(membership=row, role=role, until=until, by=by, at=at)


@router.delete(
    "/memberships/{membership_id}",
    response={200: MembershipOut, **PROBLEMS},
    summary="Take a role away, or leave",
    tags=["Memberships"],
)
def end_membership(request: HttpRequest, membership_id: int) -> Membership:
    row = _membership(request, membership_id)
    return services.end_membership(membership=row, by=person_of(request), at=at_of(request))


@router.post(
    "/invitations/{invitation_id}/resend",
    response={200: InvitationOut, **PROBLEMS},
    summary="Send a new link; the old one stops working",
    tags=["Invitations"],
)
def resend_invitation(request: HttpRequest, invitation_id: int) -> Invitation:
    row = _invitation(request, invitation_id)
    return services.resend_invitation(invitation=row, by=person_of(request), at=at_of(request)).invitation


@router.delete(
    "/invitations/{invitation_id}",
    response={200: InvitationOut, **PROBLEMS},
    summary="Revoke an invitation",
    tags=["Invitations"],
)
def revoke_invitation(request: HttpRequest, invitation_id: int) -> Invitation:
    row = _invitation(request, invitation_id)
    return services.revoke_invitation(invitation=row, by=person_of(request), at=at_of(request))


# ------------------------------------------------------------------------------------------------ operators
_OPERATORS = ["Operators"]


@router.get("/people", response={200: Page[PersonOut], **PROBLEMS}, summary="Everybody (operators)", tags=_OPERATORS)
def list_people(request: HttpRequest, paging: Paging, q: Search = "") -> Any:
    rows = selectors.people_seen(person_of(request), at_of(request))
    return page_of(
        request, (rows.filter(full_name__icontains=q) | rows.filter(email__icontains=q)) if q else rows, paging
    )


@router.post(
    "/people/{person_id}/deactivate",
    response={200: PersonOut, **PROBLEMS},
    summary="Shut a person out",
    tags=_OPERATORS,
)
def deactivate_person(request: HttpRequest, person_id: int) -> Person:
    by, at = person_of(request), at_of(request)
    require(by, Permission.OPERATE_PLATFORM, None, at)
    return services.deactivate_person(person=_somebody(person_id), by=by, at=at)


@router.post(
    "/people/{person_id}/reactivate",
    response={200: PersonOut, **PROBLEMS},
    summary="Let a person in again",
    tags=_OPERATORS,
)
def reactivate_person(request: HttpRequest, person_id: int) -> Person:
    by, at = person_of(request), at_of(request)
    require(by, Permission.OPERATE_PLATFORM, None, at)
    return services.reactivate_person(person=_somebody(person_id), by=by, at=at)


@router.get(
    "/platform/members",
    response={200: Page[MembershipOut], **PROBLEMS},
    summary="Who runs the platform",
    tags=_OPERATORS,
)
def list_platform_members(request: HttpRequest, paging: Paging) -> Any:
    return page_of(request, selectors.members_of(None, person_of(request), at_of(request)), paging)


@router.post(
    "/platform/members",
    response={201: MembershipOut, **PROBLEMS},
    summary="Give somebody a role on the platform",
    tags=_OPERATORS,
)
def give_platform_role(request: HttpRequest, payload: MembershipCreate) -> Status[Membership]:
    by, at = person_of(request), at_of(request)
    require(by, Permission.OPERATE_PLATFORM, None, at)
    return Status(
        201,
        services.give_membership(
            person=_somebody(payload.person_id), role=payload.role, scope=None, until=payload.until, by=by, at=at
        ),
    )


@router.get("/events", response={200: Page[EventOut], **PROBLEMS}, summary="The audit log (operators)", tags=_OPERATORS)
def list_events(request: HttpRequest, paging: Paging, kind: str = "", actor_id: int | None = None) -> Any:
    rows = selectors.events_of(None, person_of(request), at_of(request))
    if kind:
        rows = rows.filter(kind__startswith=kind)
    return page_of(request, rows.filter(actor_id=actor_id) if actor_id is not None else rows, paging)
