"""Who may do what in which scope: one table, read by services, selectors, pages, API and tests.

A role is held in a scope: the platform, an organization, or a project. A role held in an organization holds in all its
projects; a role held in a project holds in its sub-projects, except that of a plain member.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_

if TYPE_CHECKING:
    from bursar.structure.models import (
        Membership,
        Organization,
        Person,
        Project,
        Workspace,
    )


class Role(StrEnum):
    PLATFORM_OPERATOR = "platform_operator"
    PLATFORM_SUPPORT = "platform_support"
    ORGANIZATION_OWNER = "organization_owner"
    ORGANIZATION_MANAGER = "organization_manager"
    BILLING_VIEWER = "billing_viewer"
    PROVIDER_MANAGER = "provider_manager"
    OFFERING_MANAGER = "offering_manager"
    PRINCIPAL_INVESTIGATOR = "principal_investigator"
    PROJECT_MANAGER = "project_manager"
    PROJECT_MEMBER = "project_member"

    @property
    def title(self) -> str:
        return ROLE_TITLES[self]


ROLE_TITLES: Final = {
    Role.PLATFORM_OPERATOR: _("Platform operator"),
    Role.PLATFORM_SUPPORT: _("Platform support"),
    Role.ORGANIZATION_OWNER: _("Organization owner"),
    Role.ORGANIZATION_MANAGER: _("Organization manager"),
    Role.BILLING_VIEWER: _("Billing viewer"),
    Role.PROVIDER_MANAGER: _("Provider manager"),
    Role.OFFERING_MANAGER: _("Offering manager"),
    Role.PRINCIPAL_INVESTIGATOR: _("Principal investigator"),
    Role.PROJECT_MANAGER: _("Project manager"),
    Role.PROJECT_MEMBER: _("Project member"),
}

PLATFORM_ROLES: Final = frozenset({Role.PLATFORM_OPERATOR, Role.PLATFORM_SUPPORT})
ORGANIZATION_ROLES: Final = frozenset(
    {
        Role.ORGANIZATION_OWNER,
        Role.ORGANIZATION_MANAGER,
        Role.BILLING_VIEWER,
        Role.PROVIDER_MANAGER,
        Role.OFFERING_MANAGER,
    }
)
PROJECT_ROLES: Final = frozenset(
    {Role.PRINCIPAL_INVESTIGATOR, Role.PROJECT_MANAGER, Role.PROJECT_MEMBER}
)


class Permission(StrEnum):
    # the platform
    OPERATE_PLATFORM = "operate_platform"  # create organizations, authorize providers, appoint operators
    READ_PLATFORM = "read_platform"  # read everything, the audit log included
    # an organization
    VIEW_ORGANIZATION = "view_organization"
    EDIT_ORGANIZATION = "edit_organization"
    MANAGE_ORGANIZATION_MEMBERS = "manage_organization_members"
    CREATE_PROJECT = "create_project"
    VIEW_BILLING = "view_billing"
    ALLOCATE = "allocate"  # hand quota of the scope's own wallets to others
    # a project (or personal workspace)
    VIEW_PROJECT = "view_project"
    EDIT_PROJECT = "edit_project"
    MANAGE_PROJECT_MEMBERS = "manage_project_members"
    CREATE_SUBPROJECT = "create_subproject"
    PLACE_ORDER = "place_order"  # to create, change or terminate a resource
    APPROVE_ORDER = "approve_order"  # for the consumer's side
    VIEW_USAGE = "view_usage"  # by person, not only the sums
    # an organization as a provider
    VIEW_PROVIDER = "view_provider"
    EDIT_PROVIDER = "edit_provider"
    MANAGE_CATEGORIES = "manage_categories"
    MANAGE_BACKENDS = "manage_backends"
    MANAGE_OFFERINGS = "manage_offerings"
    HANDLE_ORDERS = "handle_orders"  # approve, reject, say what was done
    MANAGE_ACCOUNTS = "manage_accounts"  # set local accounts of people
    ALLOCATE_ROOT = "allocate_root"
    REPORT_USAGE = "report_usage"
    WRITE_OFF = "write_off"


_P = Permission
_PROJECT_READ: Final = frozenset({_P.VIEW_PROJECT})
_PROJECT_MEMBER: Final = _PROJECT_READ | {_P.PLACE_ORDER}
_PROJECT_MANAGER: Final = _PROJECT_MEMBER | {
    _P.EDIT_PROJECT,
    _P.MANAGE_PROJECT_MEMBERS,
    _P.CREATE_SUBPROJECT,
    _P.APPROVE_ORDER,
    _P.VIEW_USAGE,
    _P.ALLOCATE,
}
_OFFERING_MANAGER: Final = frozenset(
    {
        _P.VIEW_ORGANIZATION,
        _P.VIEW_PROVIDER,
        _P.MANAGE_OFFERINGS,
        _P.HANDLE_ORDERS,
        _P.MANAGE_ACCOUNTS,
    }
)
_PROVIDER_MANAGER: Final = _OFFERING_MANAGER | {
    _P.EDIT_PROVIDER,
    _P.MANAGE_CATEGORIES,
    _P.MANAGE_BACKENDS,
    _P.ALLOCATE_ROOT,
    _P.REPORT_USAGE,
    _P.WRITE_OFF,
}
_ORGANIZATION_MANAGER: Final = _PROJECT_MANAGER | {
    _P.VIEW_ORGANIZATION,
    _P.MANAGE_ORGANIZATION_MEMBERS,
    _P.CREATE_PROJECT,
}
_ORGANIZATION_OWNER: Final = (
    _ORGANIZATION_MANAGER | _PROVIDER_MANAGER | {_P.EDIT_ORGANIZATION, _P.VIEW_BILLING}
)

ROLE_TABLE: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.PLATFORM_OPERATOR: frozenset(Permission),
    Role.PLATFORM_SUPPORT: frozenset(
        {
            _P.READ_PLATFORM,
            _P.VIEW_ORGANIZATION,
            _P.VIEW_BILLING,
            _P.VIEW_PROJECT,
            _P.VIEW_USAGE,
            _P.VIEW_PROVIDER,
        }
    ),
    Role.ORGANIZATION_OWNER: _ORGANIZATION_OWNER,
    Role.ORGANIZATION_MANAGER: _ORGANIZATION_MANAGER,
    Role.BILLING_VIEWER: frozenset(
        {_P.VIEW_ORGANIZATION, _P.VIEW_BILLING, _P.VIEW_PROJECT}
    ),
    Role.PROVIDER_MANAGER: _PROVIDER_MANAGER,
    Role.OFFERING_MANAGER: _OFFERING_MANAGER,
    Role.PRINCIPAL_INVESTIGATOR: _PROJECT_MANAGER,
    Role.PROJECT_MANAGER: _PROJECT_MANAGER,
    Role.PROJECT_MEMBER: _PROJECT_MEMBER,
}

# What the owner of a personal workspace may do there.
PERSONAL_PERMISSIONS: Final = frozenset(
    {_P.VIEW_PROJECT, _P.PLACE_ORDER, _P.APPROVE_ORDER, _P.VIEW_USAGE}
)


def roles_with(permission: Permission) -> frozenset[Role]:
    return frozenset(
        role for role, permissions in ROLE_TABLE.items() if permission in permissions
    )


@dataclass(eq=False)
class NotAllowed(DomainError):
    """The role table says no; nothing was changed."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "not_allowed"
    message: ClassVar[str] = N_(
        "You may not do this here: it needs one of these roles: {roles}."
    )
    permission: str
    roles: str


def _held_now(person: "Person", at: datetime) -> "QuerySet[Membership]":
    from bursar.structure.models import Membership  # models import the roles

    return Membership.objects.filter(person=person).held_at(at)


def may(
    person: "Person | None",
    permission: Permission,
    scope: "Organization | Project | Workspace | None",
    at: datetime,
) -> bool:
    """Whether the person may do this in the scope (None = the platform) at the instant.

    person None is the system, which may do everything; an inactive person may do nothing.
    """
    from bursar.structure.models import Organization, Project, Workspace

    if person is None:
        return True
    if not person.is_active or person.pk is None:
        return False
    if isinstance(scope, Workspace):
        if scope.person_id is not None:
            if scope.person_id == person.pk:
                return permission in PERSONAL_PERMISSIONS
            scope = None
        else:
            scope = scope.project or scope.organization
    places = Q(organization=None, project=None)
    if isinstance(scope, Organization):
        places |= Q(organization=scope)
    elif isinstance(scope, Project):
        places |= Q(organization_id=scope.organization_id) | Q(project_id=scope.pk)
        above = [pk for pk in scope.path if pk != scope.pk]
        if above:
            places |= Q(project_id__in=above) & ~Q(role=Role.PROJECT_MEMBER)
    return (
        _held_now(person, at).filter(places, role__in=roles_with(permission)).exists()
    )


def require(
    person: "Person | None",
    permission: Permission,
    scope: "Organization | Project | Workspace | None",
    at: datetime,
) -> None:
    """raises   NotAllowed, naming the roles that could"""
    if not may(person, permission, scope, at):
        could = sorted(str(role.title) for role in roles_with(permission))
        raise NotAllowed(permission=permission.value, roles=", ".join(could))


def on_platform(person: "Person", permission: Permission, at: datetime) -> bool:
    return may(person, permission, None, at)


def organizations_where(
    person: "Person", permission: Permission, at: datetime
) -> "QuerySet[Organization]":
    """The organizations in which the person has the permission by a role there or on the platform."""
    from bursar.structure.models import Organization

    if on_platform(person, permission, at):
        return Organization.objects.all()
    held = _held_now(person, at).filter(
        role__in=roles_with(permission), organization__isnull=False
    )
    return Organization.objects.filter(pk__in=held.values("organization_id"))


def projects_where(
    person: "Person", permission: Permission, at: datetime
) -> "QuerySet[Project]":
    """The projects in which the person has the permission, by whatever role and scope."""
    from bursar.structure.models import Project

    if on_platform(person, permission, at):
        return Project.objects.all()
    held = _held_now(person, at).filter(role__in=roles_with(permission))
    direct = held.filter(project__isnull=False)
    from_above = list(
        direct.exclude(role=Role.PROJECT_MEMBER).values_list("project_id", flat=True)
    )
    where = Q(pk__in=direct.values("project_id")) | Q(
        organization_id__in=held.filter(organization__isnull=False).values(
            "organization_id"
        )
    )
    if from_above:
        where |= Q(path__overlap=from_above)
    return Project.objects.filter(where)
