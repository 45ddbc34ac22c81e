"""Who may do what in which scope: one table, read by services, selectors, pages, API and tests.

A role is held in a scope: the platform, an organization, or a project. A role held in an organization holds in all its
projects; a role held in a project holds in its sub-projects, except that of a plain member.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_
from bursar.structure import prepared

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
    GRANT_REVIEWER = "grant_reviewer"
    PRINCIPAL_INVESTIGATOR = "principal_investigator"
    PROJECT_MANAGER = "project_manager"
    PROJECT_MEMBER = "project_member"

    @property
    def title(self) -> Promise:  # type: ignore[override]
        return ROLE_TITLES[self]


ROLE_TITLES: Final = {
    Role.PLATFORM_OPERATOR: _("Platform operator"),
    Role.PLATFORM_SUPPORT: _("Platform support"),
    Role.ORGANIZATION_OWNER: _("Organization owner"),
    Role.ORGANIZATION_MANAGER: _("Organization manager"),
    Role.BILLING_VIEWER: _("Billing viewer"),
    Role.PROVIDER_MANAGER: _("Provider manager"),
    Role.OFFERING_MANAGER: _("Offering manager"),
    Role.GRANT_REVIEWER: _("Grant reviewer"),
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
        Role.GRANT_REVIEWER,
    }
)
PROJECT_ROLES: Final = frozenset({Role.PRINCIPAL_INVESTIGATOR, Role.PROJECT_MANAGER, Role.PROJECT_MEMBER})


class Permission(StrEnum):
    # the platform
    OPERATE_PLATFORM = "operate_platform"  # create organizations, authorize providers, appoint operators
    READ_PLATFORM = "read_platform"  # read everything, the audit log included
    # an organization
    VIEW_ORGANIZATION = "view_organization"
    EDIT_ORGANIZATION = "edit_organization"
    MANAGE_ORGANIZATION_MEMBERS = "manage_organization_members"
    CREATE_PROJECT = "create_project"
    VIEW_BILLING = "view_billing"  # invoices, credits and costs of all its projects
    MANAGE_BUDGETS = "manage_budgets"  # set, raise and lower budgets; agree to what one holds
    ALLOCATE = "allocate"  # hand quota of the scope's own wallets to others
    # a project (or personal workspace)
    VIEW_PROJECT = "view_project"
    EDIT_PROJECT = "edit_project"
    MANAGE_PROJECT_MEMBERS = "manage_project_members"
    CREATE_SUBPROJECT = "create_subproject"
    PLACE_ORDER = "place_order"  # to create, change or terminate a resource
    APPROVE_ORDER = "approve_order"  # for the consumer's side
    VIEW_USAGE = "view_usage"  # by person, not only the sums
    VIEW_COSTS = "view_costs"  # what it costs, and its budgets
    APPLY_FOR_GRANTS = "apply_for_grants"  # ask for quota on behalf of it
    # an organization or a project as a giver of grants
    VIEW_GRANTS = "view_grants"  # read what is asked of it
    JUDGE_GRANTS = "judge_grants"  # change amounts, approve, reject, hand over
    MANAGE_GRANTS = "manage_grants"  # who may ask, forms, rules, gifts
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
    VIEW_REVENUE = "view_revenue"  # what its customers are billed
    MANAGE_INVOICES = "manage_invoices"  # issue, note payments, give credits and credit notes


_P = Permission
_PROJECT_READ: Final = frozenset({_P.VIEW_PROJECT})
_PROJECT_MEMBER: Final = _PROJECT_READ | {_P.PLACE_ORDER}
_PROJECT_MANAGER: Final = _PROJECT_MEMBER | {
    _P.EDIT_PROJECT,
    _P.MANAGE_PROJECT_MEMBERS,
    _P.CREATE_SUBPROJECT,
    _P.APPROVE_ORDER,
    _P.VIEW_USAGE,
    _P.VIEW_COSTS,
    _P.ALLOCATE,
    _P.APPLY_FOR_GRANTS,
    _P.VIEW_GRANTS,
    _P.JUDGE_GRANTS,
    _P.MANAGE_GRANTS,
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
    _P.VIEW_REVENUE,
    _P.MANAGE_INVOICES,
    _P.VIEW_GRANTS,
    _P.JUDGE_GRANTS,
    _P.MANAGE_GRANTS,
}
_ORGANIZATION_MANAGER: Final = _PROJECT_MANAGER | {
    _P.VIEW_ORGANIZATION,
    _P.MANAGE_ORGANIZATION_MEMBERS,
    _P.CREATE_PROJECT,
    _P.MANAGE_BUDGETS,
}
_ORGANIZATION_OWNER: Final = _ORGANIZATION_MANAGER | _PROVIDER_MANAGER | {_P.EDIT_ORGANIZATION, _P.VIEW_BILLING}

ROLE_TABLE: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.PLATFORM_OPERATOR: frozenset(Permission),
    Role.PLATFORM_SUPPORT: frozenset(
        {
            _P.READ_PLATFORM,
            _P.VIEW_ORGANIZATION,
            _P.VIEW_BILLING,
            _P.VIEW_PROJECT,
            _P.VIEW_USAGE,
            _P.VIEW_COSTS,
            _P.VIEW_GRANTS,
            _P.VIEW_PROVIDER,
            _P.VIEW_REVENUE,
        }
    ),
    Role.ORGANIZATION_OWNER: _ORGANIZATION_OWNER,
    Role.ORGANIZATION_MANAGER: _ORGANIZATION_MANAGER,
    Role.BILLING_VIEWER: frozenset(
        {_P.VIEW_ORGANIZATION, _P.VIEW_BILLING, _P.VIEW_PROJECT, _P.VIEW_COSTS, _P.VIEW_REVENUE}
    ),
    Role.PROVIDER_MANAGER: _PROVIDER_MANAGER,
    Role.OFFERING_MANAGER: _OFFERING_MANAGER,
    Role.GRANT_REVIEWER: frozenset({_P.VIEW_ORGANIZATION, _P.VIEW_GRANTS, _P.JUDGE_GRANTS}),
    Role.PRINCIPAL_INVESTIGATOR: _PROJECT_MANAGER,
    Role.PROJECT_MANAGER: _PROJECT_MANAGER,
    Role.PROJECT_MEMBER: _PROJECT_MEMBER,
}

# What the owner of a personal workspace may do there.
PERSONAL_PERMISSIONS: Final = frozenset(
    {_P.VIEW_PROJECT, _P.PLACE_ORDER, _P.APPROVE_ORDER, _P.VIEW_USAGE, _P.APPLY_FOR_GRANTS}
)


@cache
def roles_with(permission: Permission) -> frozenset[Role]:
    return frozenset(role for role, permissions in ROLE_TABLE.items() if permission in permissions)


@dataclass(eq=False)
class TokenTooNarrow(DomainError):
    """The person might, the token may not; nothing was changed."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "token_too_narrow"
    message: ClassVar[str] = N_("This token may not do this: it needs one of these scopes: {scopes}.")
    permission: str
    scopes: str


@dataclass(eq=False)
class NotAllowed(DomainError):
    """The role table says no; nothing was changed."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "not_allowed"
    message: ClassVar[str] = N_("You may not do this here: it needs one of these roles: {roles}.")
    permission: str
    roles: str


# Which roles a holder may give and take in the scope of their own role. No role gives what it does not contain.
_PROJECT_GIVES: Final = frozenset({Role.PROJECT_MANAGER, Role.PROJECT_MEMBER})
GIVES: Final[Mapping[Role, frozenset[Role]]] = {
    Role.PLATFORM_OPERATOR: frozenset(Role),
    Role.PLATFORM_SUPPORT: frozenset(),
    Role.ORGANIZATION_OWNER: ORGANIZATION_ROLES | PROJECT_ROLES,
    Role.ORGANIZATION_MANAGER: PROJECT_ROLES | {Role.ORGANIZATION_MANAGER, Role.GRANT_REVIEWER},
    Role.BILLING_VIEWER: frozenset(),
    Role.PROVIDER_MANAGER: frozenset(),
    Role.OFFERING_MANAGER: frozenset(),
    Role.GRANT_REVIEWER: frozenset(),
    Role.PRINCIPAL_INVESTIGATOR: PROJECT_ROLES,
    Role.PROJECT_MANAGER: _PROJECT_GIVES,
    Role.PROJECT_MEMBER: frozenset(),
}


class TokenScope(StrEnum):
    """What an API token may be used for."""

    READ = "read"
    PROFILE = "profile"
    STRUCTURE = "structure"
    ORDERS = "orders"
    ALLOCATIONS = "allocations"
    GRANTS = "grants"
    PROVIDER = "provider"
    USAGE = "usage"
    BILLING = "billing"
    ROLL = "roll"

    @property
    def title(self) -> Promise:  # type: ignore[override]
        return SCOPE_TITLES[self]


SCOPE_TITLES: Final = {
    TokenScope.READ: _("Read what you may see"),
    TokenScope.PROFILE: _("Change your profile and SSH keys"),
    TokenScope.STRUCTURE: _("Create and edit organizations and projects, manage members"),
    TokenScope.ORDERS: _("Place and approve orders"),
    TokenScope.ALLOCATIONS: _("Hand out quota"),
    TokenScope.GRANTS: _("Apply for grants and judge applications"),
    TokenScope.PROVIDER: _("Manage offerings, backends, orders and accounts of a provider"),
    TokenScope.USAGE: _("Report usage of a provider"),
    TokenScope.BILLING: _("Issue invoices, note payments, give credits, set budgets"),
    TokenScope.ROLL: _("Replace itself by a successor of the same rights before it ends"),
}

_READS: Final = frozenset(
    {
        _P.READ_PLATFORM,
        _P.VIEW_ORGANIZATION,
        _P.VIEW_BILLING,
        _P.VIEW_PROJECT,
        _P.VIEW_USAGE,
        _P.VIEW_COSTS,
        _P.VIEW_GRANTS,
        _P.VIEW_PROVIDER,
        _P.VIEW_REVENUE,
    }
)
# Every permission is in exactly one scope apart from the reads, which each scope contains as far as it needs them.
SCOPE_TABLE: Final[Mapping[TokenScope, frozenset[Permission]]] = {
    TokenScope.READ: _READS,
    TokenScope.PROFILE: frozenset(),
    TokenScope.STRUCTURE: _READS
    | {
        _P.OPERATE_PLATFORM,
        _P.EDIT_ORGANIZATION,
        _P.MANAGE_ORGANIZATION_MEMBERS,
        _P.CREATE_PROJECT,
        _P.EDIT_PROJECT,
        _P.MANAGE_PROJECT_MEMBERS,
        _P.CREATE_SUBPROJECT,
    },
    TokenScope.ORDERS: _READS | {_P.PLACE_ORDER, _P.APPROVE_ORDER},
    TokenScope.ALLOCATIONS: _READS | {_P.ALLOCATE, _P.ALLOCATE_ROOT},
    TokenScope.GRANTS: _READS | {_P.APPLY_FOR_GRANTS, _P.JUDGE_GRANTS, _P.MANAGE_GRANTS},
    TokenScope.PROVIDER: _READS
    | {
        _P.EDIT_PROVIDER,
        _P.MANAGE_CATEGORIES,
        _P.MANAGE_BACKENDS,
        _P.MANAGE_OFFERINGS,
        _P.HANDLE_ORDERS,
        _P.MANAGE_ACCOUNTS,
        _P.WRITE_OFF,
    },
    TokenScope.USAGE: frozenset({_P.VIEW_PROVIDER, _P.REPORT_USAGE}),
    TokenScope.BILLING: _READS | {_P.MANAGE_INVOICES, _P.MANAGE_BUDGETS},
    TokenScope.ROLL: frozenset(),
}


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What an API token leaves of its person's rights.

    organization_id   None = wherever the person holds a role
    token_id          the token in use
    """

    scopes: frozenset[TokenScope]
    organization_id: int | None = None
    token_id: int | None = None

    def allow(self, permission: Permission) -> bool:
        return any(permission in SCOPE_TABLE[scope] for scope in self.scopes)


def _held_now(person: "Person", at: datetime) -> "QuerySet[Membership]":
    """Memberships that count at the instant, within the limits of a token where one is used."""
    from bursar.structure.models import Membership  # models import the roles

    held = Membership.objects.filter(person=person).held_at(at)
    if person.limits is not None and person.limits.organization_id is not None:
        only = person.limits.organization_id
        held = held.filter(Q(organization_id=only) | Q(project__organization_id=only))
    return held


# The roles that count in a scope: the platform's, the organization's, the project's and those of the projects above it, there
# without plain members. Asked with nearly every request, so it is written out instead of being composed each time.
_HELD_IN: Final = """
SELECT DISTINCT m.role FROM membership m LEFT JOIN project p ON p.id = m.project_id
WHERE m.person_id = %(person)s AND m.start <= %(at)s AND (m.until IS NULL OR m.until > %(at)s) AND m.ended_at IS NULL
  AND (%(only)s::bigint IS NULL OR %(only)s::bigint IN (m.organization_id, p.organization_id))
  AND (m.organization_id IS NULL AND m.project_id IS NULL
       OR m.organization_id = %(organization)s::bigint OR m.project_id = %(project)s::bigint
       OR m.project_id = ANY(%(above)s::bigint[]) AND m.role <> %(member)s)
"""


def roles_of(person: "Person", scope: "Organization | Project | None", at: datetime) -> frozenset[Role]:
    """The roles of an active person that count in the scope at the instant, wherever they are held."""
    from bursar.structure.models import Organization, Project  # models import the roles

    if not person.is_active or person.pk is None:
        return frozenset()
    project = scope if isinstance(scope, Project) else None
    organization_id = scope.pk if isinstance(scope, Organization) else project and project.organization_id
    parameters: dict[str, Any] = {
        "person": person.pk,
        "at": at,
        "only": person.limits and person.limits.organization_id,
        "organization": organization_id,
        "project": project and project.pk,
        "above": [pk for pk in project.path if pk != project.pk] if project else [],
        "member": Role.PROJECT_MEMBER.value,
    }
    with prepared.cursor() as cursor:
        cursor.execute(_HELD_IN, parameters)
        return frozenset(Role(role) for (role,) in cursor.fetchall())


def permissions_in(person: "Person", scope: "Organization | Project | None", at: datetime) -> frozenset[Permission]:
    """All that the person may do in the scope at the instant, with one query: for pages that show many buttons."""
    found: frozenset[Permission] = frozenset().union(*(ROLE_TABLE[role] for role in roles_of(person, scope, at)))
    return found if person.limits is None else frozenset(p for p in found if person.limits.allow(p))


def roles_for_scope(scope: "Organization | Project | None") -> frozenset[Role]:
    """The roles that exist in such a scope."""
    from bursar.structure.models import Organization, Project

    if isinstance(scope, Project):
        return PROJECT_ROLES
    if isinstance(scope, Organization):
        return ORGANIZATION_ROLES
    return PLATFORM_ROLES


def roles_to_give(person: "Person | None", scope: "Organization | Project | None", at: datetime) -> frozenset[Role]:
    """The roles that the person (None = the system) may give to others in the scope, and take from them."""
    possible = roles_for_scope(scope)
    if person is None:
        return possible
    permission = {
        PROJECT_ROLES: Permission.MANAGE_PROJECT_MEMBERS,
        ORGANIZATION_ROLES: Permission.MANAGE_ORGANIZATION_MEMBERS,
        PLATFORM_ROLES: Permission.OPERATE_PLATFORM,
    }[possible]
    if person.limits is not None and not person.limits.allow(permission):
        return frozenset()
    given: frozenset[Role] = frozenset().union(
        *(GIVES[role] for role in roles_of(person, scope, at) if permission in ROLE_TABLE[role])
    )
    return given & possible


def may(
    person: "Person | None",
    permission: Permission,
    scope: "Organization | Project | Workspace | None",
    at: datetime,
) -> bool:
    """Whether the person may do this in the scope (None = the platform) at the instant.

    person None is the system, which may do everything; an inactive person may do nothing.
    """
    from bursar.structure.models import Workspace

    if person is None:
        return True
    if not person.is_active or person.pk is None:
        return False
    if person.limits is not None and not person.limits.allow(permission):
        return False
    if isinstance(scope, Workspace):
        if scope.person_id is not None:
            if scope.person_id == person.pk and permission in PERSONAL_PERMISSIONS:
                return person.limits is None or person.limits.organization_id is None
            scope = None
        else:
            scope = scope.project or scope.organization
    return not roles_of(person, scope, at).isdisjoint(roles_with(permission))


def require(
    person: "Person | None",
    permission: Permission,
    scope: "Organization | Project | Workspace | None",
    at: datetime,
) -> None:
    """raises   NotAllowed, naming the roles that could; TokenTooNarrow, naming the scopes"""
    if person is not None and person.limits is not None and not person.limits.allow(permission):
        scopes = [scope.value for scope in TokenScope if permission in SCOPE_TABLE[scope]]
        raise TokenTooNarrow(permission=permission.value, scopes=", ".join(scopes))
    if not may(person, permission, scope, at):
        could = sorted(str(role.title) for role in roles_with(permission))
        raise NotAllowed(permission=permission.value, roles=", ".join(could))


def on_platform(person: "Person", permission: Permission, at: datetime) -> bool:
    return may(person, permission, None, at)


def _could(person: "Person", permission: Permission) -> bool:
    if not person.is_active or person.pk is None:
        return False
    return person.limits is None or person.limits.allow(permission)


def organizations_where(person: "Person", permission: Permission, at: datetime) -> "QuerySet[Organization]":
    """The organizations in which the person has the permission by a role there or on the platform."""
    from bursar.structure.models import Organization

    if not _could(person, permission):
        return Organization.objects.none()
    if on_platform(person, permission, at):
        return Organization.objects.all()
    held = _held_now(person, at).filter(role__in=roles_with(permission), organization__isnull=False)
    return Organization.objects.filter(pk__in=held.values("organization_id"))


def projects_where(person: "Person", permission: Permission, at: datetime) -> "QuerySet[Project]":
    """The projects in which the person has the permission, by whatever role and scope."""
    from bursar.structure.models import Project

    if not _could(person, permission):
        return Project.objects.none()
    if on_platform(person, permission, at):
        return Project.objects.all()
    held = _held_now(person, at).filter(role__in=roles_with(permission))
    direct = held.filter(project__isnull=False)
    from_above = list(direct.exclude(role=Role.PROJECT_MEMBER).values_list("project_id", flat=True))
    where = Q(pk__in=direct.values("project_id")) | Q(
        organization_id__in=held.filter(organization__isnull=False).values("organization_id")
    )
    if from_above:
        where |= Q(path__overlap=from_above)
    return Project.objects.filter(where)


def memberships_held(person: "Person", at: datetime) -> "list[Membership]":
    """What an active person holds at the instant, within the limits of a token: for asking several things of it."""
    if not person.is_active or person.pk is None:
        return []
    return list(_held_now(person, at))


def workspaces_where(person: "Person", permission: Permission, at: datetime) -> "QuerySet[Workspace]":
    """The workspaces in which the person has the permission, their own personal one included."""
    return workspaces_by(memberships_held(person, at), person, permission)


def workspaces_by(held: "Iterable[Membership]", person: "Person", permission: Permission) -> "QuerySet[Workspace]":
    """As `workspaces_where`, from memberships that were read already: it asks the database nothing.

    held   of the person, those that count now
    """
    from bursar.structure.models import Workspace

    if not _could(person, permission):
        return Workspace.objects.none()
    counting = [one for one in held if one.role in roles_with(permission)]
    if any(one.organization_id is None and one.project_id is None for one in counting):
        return Workspace.objects.all()
    organizations = [one.organization_id for one in counting if one.organization_id is not None]
    projects = [one.project_id for one in counting if one.project_id is not None]
    from_above = [one.project_id for one in counting if one.project_id is not None and one.role != Role.PROJECT_MEMBER]
    where = Q(project_id__in=projects)
    if from_above:
        where |= Q(project__path__overlap=from_above)
    if organizations:
        where |= Q(project__organization_id__in=organizations) | Q(organization_id__in=organizations)
    if (person.limits is None or person.limits.organization_id is None) and permission in PERSONAL_PERMISSIONS:
        where |= Q(person=person)
    return Workspace.objects.filter(where)
