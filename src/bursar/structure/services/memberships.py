"""Roles of people: given with or without an end, changed, ended, handed over. Never deleted."""

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from bursar.structure.errors import (
    AlreadyMember,
    InvestigatorHasNoEnd,
    InvestigatorMustHandOver,
    LastOperator,
    LastOwner,
    MembershipEnded,
    OrganizationArchived,
    PersonInactive,
    ProjectClosed,
    RoleNotForScope,
    RoleTooHigh,
    UntilNotAfterStart,
)
from bursar.structure.models import Membership, Organization, Person, Project
from bursar.structure.roles import (
    PROJECT_ROLES,
    Permission,
    Role,
    require,
    roles_for_scope,
    roles_to_give,
)
from bursar.structure.services._common import Scope, tell

_ADVISORY_PLATFORM_ROLES = 0x6275_7273  # one lock for the scope that has no row of its own


def lock_scope(scope: Scope) -> Scope:
    """Lock what the role is held in, so that "exactly one" and "the last one" are decided one at a time."""
    if isinstance(scope, Project):
        return Project.objects.select_for_update(of=("self",)).select_related("organization").get(pk=scope.pk)
    if isinstance(scope, Organization):
        return Organization.objects.select_for_update().get(pk=scope.pk)
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_PLATFORM_ROLES])
    return None


def scope_of(row: Membership) -> Scope:
    return row.project or row.organization


def require_open_scope(scope: Scope, at: datetime) -> None:
    """raises   ProjectClosed, OrganizationArchived"""
    organization = scope.organization if isinstance(scope, Project) else scope
    if isinstance(scope, Project) and (scope.archived_at is not None or (scope.end is not None and scope.end <= at)):
        raise ProjectClosed(project=scope.name)
    if organization is not None and organization.archived_at is not None:
        raise OrganizationArchived(organization=organization.name)


def require_to_give(by: Person | None, role: Role, scope: Scope, at: datetime) -> None:
    """raises   NotAllowed without the right to manage members; RoleNotForScope; RoleTooHigh"""
    if role not in roles_for_scope(scope):
        raise RoleNotForScope(role=str(role.title))
    if by is None:
        return
    if isinstance(scope, Project):
        require(by, Permission.MANAGE_PROJECT_MEMBERS, scope, at)
    elif isinstance(scope, Organization):
        require(by, Permission.MANAGE_ORGANIZATION_MEMBERS, scope, at)
    else:
        require(by, Permission.OPERATE_PLATFORM, None, at)
    possible = roles_to_give(by, scope, at)
    if role not in possible:
        names = ", ".join(sorted(str(r.title) for r in possible)) or "–"
        raise RoleTooHigh(role=str(role.title), possible=names)


@transaction.atomic
def give_membership(
    *,
    person: Person,
    role: Role,
    scope: Scope,
    until: datetime | None = None,
    by: Person | None,
    at: datetime,
) -> Membership:
    """Give the person the role in an organization, a project or (None) on the platform, from `at` until `until`.

    In a project a person has one role: another one than the present one replaces it.
    raises   NotAllowed, RoleTooHigh; RoleNotForScope; AlreadyMember; PersonInactive; UntilNotAfterStart;
             InvestigatorMustHandOver (the principal investigator is changed by `hand_over_project` only);
             ProjectClosed, OrganizationArchived
    """
    scope = lock_scope(scope)
    require_to_give(by, role, scope, at)
    require_open_scope(scope, at)
    if role == Role.PRINCIPAL_INVESTIGATOR:
        raise InvestigatorMustHandOver
    held = None
    if isinstance(scope, Project):
        held = Membership.objects.filter(person=person, project=scope, ended_at=None).first()
    if held is not None and held.held(at):
        if held.role == Role.PRINCIPAL_INVESTIGATOR:
            raise InvestigatorMustHandOver
        if held.role != role:
            require_to_give(by, Role(held.role), scope, at)
    return write_membership(person=person, role=role, scope=scope, until=until, by=by, at=at)


def write_membership(
    *, person: Person, role: Role, scope: Scope, until: datetime | None, by: Person | None, at: datetime
) -> Membership:
    """Write the row and its event; the caller holds the scope's lock and has decided that it may be.

    Rows that ran out but were not yet noted as ended are ended first.
    raises   PersonInactive, UntilNotAfterStart, InvestigatorHasNoEnd, AlreadyMember
    """
    if not person.is_active:
        raise PersonInactive(person=str(person))
    if until is not None and until <= at:
        raise UntilNotAfterStart
    if role == Role.PRINCIPAL_INVESTIGATOR and until is not None:
        raise InvestigatorHasNoEnd
    noted = Membership.objects.filter(person=person, ended_at=None).in_scope(scope)
    for held in noted.select_for_update(of=("self",)):
        if held.until is not None and held.until <= at:
            _end(held, ended_at=held.until, by=None, at=at)
        elif held.role == role:
            raise AlreadyMember(person=str(person), role=str(role.title))
        elif isinstance(scope, Project):
            _end(held, ended_at=at, by=by, at=at)
    row = Membership.objects.create(
        person=person,
        role=role.value,
        organization=scope if isinstance(scope, Organization) else None,
        project=scope if isinstance(scope, Project) else None,
        start=at,
        until=until,
        created_by=by,
    )
    tell(
        "membership.given",
        row,
        scope=scope,
        by=by,
        at=at,
        facts={"person_id": person.pk, "role": role.value, "until": None if until is None else until.isoformat()},
    )
    return row


def _end(row: Membership, *, ended_at: datetime, by: Person | None, at: datetime) -> None:
    row.ended_at = max(ended_at, row.start)
    row.ended_by = by
    row.save(update_fields=["ended_at", "ended_by"])
    facts = {"person_id": row.person_id, "role": row.role, "ended_at": row.ended_at.isoformat()}
    tell("membership.ended", row, scope=scope_of(row), by=by, at=at, facts=facts)


def _lock_membership(membership: Membership, at: datetime) -> tuple[Membership, Scope]:
    found = Membership.objects.select_related("project__organization", "organization").get(pk=membership.pk)
    scope = lock_scope(scope_of(found))
    row = (
        Membership.objects.select_for_update(of=("self",))
        .select_related("person", "project__organization", "organization")
        .get(pk=membership.pk)
    )
    if not row.held(at) and not (row.ended_at is None and row.start > at):
        raise MembershipEnded
    return row, scope


@transaction.atomic
def change_role(*, membership: Membership, role: Role, by: Person | None, at: datetime) -> Membership:
    """End the membership and give another role in the same scope with the same end.

    raises   NotAllowed, RoleTooHigh, RoleNotForScope, MembershipEnded, InvestigatorMustHandOver, LastOwner,
             LastOperator, AlreadyMember, ProjectClosed, OrganizationArchived
    """
    row, scope = _lock_membership(membership, at)
    require_to_give(by, Role(row.role), scope, at)
    require_to_give(by, role, scope, at)
    require_open_scope(scope, at)
    if Role.PRINCIPAL_INVESTIGATOR in {Role(row.role), role}:
        raise InvestigatorMustHandOver
    if row.role == role:
        raise AlreadyMember(person=str(row.person), role=str(role.title))
    _refuse_last(row, scope, at)
    _end(row, ended_at=at, by=by, at=at)
    return write_membership(person=row.person, role=role, scope=scope, until=row.until, by=by, at=at)


@transaction.atomic
def change_until(*, membership: Membership, until: datetime | None, by: Person | None, at: datetime) -> Membership:
    """Move the end of a membership; None = no end.

    raises   NotAllowed, RoleTooHigh; MembershipEnded; UntilNotAfterStart; InvestigatorHasNoEnd; ProjectClosed,
             OrganizationArchived; LastOwner, LastOperator when the last one without an end would get one
    """
    row, scope = _lock_membership(membership, at)
    require_to_give(by, Role(row.role), scope, at)
    require_open_scope(scope, at)
    if until is not None and until <= at:
        raise UntilNotAfterStart
    if row.role == Role.PRINCIPAL_INVESTIGATOR and until is not None:
        raise InvestigatorHasNoEnd
    if until is not None:
        _refuse_last(row, scope, at)
    before = row.until
    if before != until:
        row.until = until
        row.save(update_fields=["until"])
        facts = {
            "person_id": row.person_id,
            "role": row.role,
            "before": None if before is None else before.isoformat(),
            "until": None if until is None else until.isoformat(),
        }
        tell("membership.until_changed", row, scope=scope, by=by, at=at, facts=facts)
    return row


@transaction.atomic
def change_membership(
    *, membership: Membership, role: Role, until: datetime | None, by: Person | None, at: datetime
) -> Membership:
    """Bring role and end to what is stated; what already is so stays. Both or neither.

    raises   whatever `change_role` and `change_until` do
    """
    row = membership
    if row.role != role:
        row = change_role(membership=row, role=role, by=by, at=at)
    if row.until != until:
        row = change_until(membership=row, until=until, by=by, at=at)
    return row


@transaction.atomic
def end_membership(*, membership: Membership, by: Person | None, at: datetime) -> Membership:
    """Take the role away, or leave: everybody may end their own.

    raises   NotAllowed, RoleTooHigh; MembershipEnded; InvestigatorMustHandOver; LastOwner; LastOperator
    """
    row, scope = _lock_membership(membership, at)
    if by is None or by.pk != row.person_id or by.limits is not None:
        require_to_give(by, Role(row.role), scope, at)
    if row.role == Role.PRINCIPAL_INVESTIGATOR:
        raise InvestigatorMustHandOver
    _refuse_last(row, scope, at)
    _end(row, ended_at=at, by=by, at=at)
    return row


def _refuse_last(row: Membership, scope: Scope, at: datetime) -> None:
    """raises   LastOwner, LastOperator: nobody else holds the role without an end"""
    if row.role not in {Role.ORGANIZATION_OWNER, Role.PLATFORM_OPERATOR}:
        return
    others = Membership.objects.filter(role=row.role, until=None, person__is_active=True).held_at(at).in_scope(scope)
    if others.exclude(pk=row.pk).exists():
        return
    if isinstance(scope, Organization):
        raise LastOwner(organization=scope.name)
    raise LastOperator


@transaction.atomic
def hand_over_project(
    *, project: Project, to: Person, former_role: Role | None = Role.PROJECT_MANAGER, by: Person | None, at: datetime
) -> Membership:
    """Make `to` the principal investigator; the former one becomes `former_role`, or leaves (None).

    raises   NotAllowed, RoleTooHigh (a project manager may not); AlreadyMember when `to` is it; PersonInactive;
             RoleNotForScope; ProjectClosed, OrganizationArchived
    """
    row = lock_scope(project)
    assert isinstance(row, Project)
    require_to_give(by, Role.PRINCIPAL_INVESTIGATOR, row, at)
    require_open_scope(row, at)
    if former_role is not None and former_role not in PROJECT_ROLES - {Role.PRINCIPAL_INVESTIGATOR}:
        raise RoleNotForScope(role=str(former_role.title))
    if not to.is_active:
        raise PersonInactive(person=str(to))
    former = (
        Membership.objects.select_for_update(of=("self",))
        .select_related("person", "project__organization")
        .filter(project=row, role=Role.PRINCIPAL_INVESTIGATOR, ended_at=None)
        .first()
    )
    if former is not None:
        if former.person_id == to.pk:
            raise AlreadyMember(person=str(to), role=str(Role.PRINCIPAL_INVESTIGATOR.title))
        _end(former, ended_at=at, by=by, at=at)
    fresh = write_membership(person=to, role=Role.PRINCIPAL_INVESTIGATOR, scope=row, until=None, by=by, at=at)
    if former is not None and former_role is not None and former.person.is_active:
        write_membership(person=former.person, role=former_role, scope=row, until=None, by=by, at=at)
    tell(
        "project.handed_over",
        row,
        scope=row,
        by=by,
        at=at,
        facts={"from_person_id": None if former is None else former.person_id, "to_person_id": to.pk},
    )
    return fresh


def note_expired_memberships(*, at: datetime, limit: int = 500) -> int:
    """Write down the end of memberships whose `until` has passed, each with its event; answer how many.

    Rights end by the clock whether or not this has run; the events are for those who are told.
    """
    noted = 0
    due = Membership.objects.filter(ended_at=None, until__lte=at).order_by("until")[:limit]
    for pk in list(due.values_list("pk", flat=True)):
        with transaction.atomic():
            row = (
                Membership.objects.select_for_update(of=("self",), skip_locked=True)
                .select_related("project__organization", "organization")
                .filter(Q(until__lte=at), pk=pk, ended_at=None)
                .first()
            )
            if row is not None and row.until is not None:
                _end(row, ended_at=row.until, by=None, at=at)
                noted += 1
    return noted
