"""Invitations by mail: sent, sent again, revoked, accepted, declined."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from allauth.account.models import EmailAddress
from django.db import transaction

from bursar.structure.errors import (
    AlreadyInvited,
    AlreadyMember,
    EmailNotVerified,
    ExpiryOutOfRange,
    InvestigatorHasNoEnd,
    InvitationClosed,
    InvitationForOther,
    InvitationUnknown,
    InviterMayNot,
    NotWithToken,
    PersonInactive,
    SentJustNow,
    TooManyInvitations,
    UntilNotAfterStart,
)
from bursar.structure.lifecycle import InvitationState
from bursar.structure.mail import ask_for_mail, seal
from bursar.structure.models import Invitation, Membership, Organization, Person, Project
from bursar.structure.roles import ROLE_TABLE, Role, TokenScope, roles_to_give
from bursar.structure.services._common import Scope, tell
from bursar.structure.services.memberships import (
    hand_over_project,
    lock_scope,
    require_open_scope,
    require_to_give,
    write_membership,
)
from bursar.structure.text import clean_email, clean_text

DAYS_MAX: Final = 90
DAYS_USUAL: Final = 14
OPEN_MAX: Final = 500  # per organization or project: a mistake in a script shall not mail the world
RESEND_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class SentInvitation:
    """The invitation and the token of its link; the token is nowhere else in clear."""

    invitation: Invitation
    token: str


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def scope_of(invitation: Invitation) -> Scope:
    return invitation.project or invitation.organization


@transaction.atomic
def invite(
    *,
    email: str,
    role: Role,
    scope: Organization | Project | None,
    member_until: datetime | None = None,
    message: str = "",
    days: int = DAYS_USUAL,
    by: Person,
    at: datetime,
) -> SentInvitation:
    """Offer somebody a role by mail; the link in it works for `days` days.

    role     principal investigator: whoever accepts takes the project over
    raises   NotAllowed, RoleTooHigh, RoleNotForScope; InvalidEmail; AlreadyInvited; AlreadyMember; ExpiryOutOfRange;
             UntilNotAfterStart; InvestigatorHasNoEnd; TooManyInvitations; ProjectClosed, OrganizationArchived;
             TextTooLong, TextNotAllowed
    """
    scope = lock_scope(scope)
    require_to_give(by, role, scope, at)
    require_open_scope(scope, at)
    address = clean_email(email)
    if not 1 <= days <= DAYS_MAX:
        raise ExpiryOutOfRange(limit=DAYS_MAX)
    if member_until is not None and member_until <= at:
        raise UntilNotAfterStart(field="member_until")
    if role == Role.PRINCIPAL_INVESTIGATOR and member_until is not None:
        raise InvestigatorHasNoEnd(field="member_until")
    _refuse_member(address, role, scope, at)
    columns = {
        "organization": scope if isinstance(scope, Organization) else None,
        "project": scope if isinstance(scope, Project) else None,
    }
    waiting = Invitation.objects.filter(accepted_at=None, declined_at=None, revoked_at=None, **columns)
    for known in waiting.filter(email__iexact=address, role=role.value).select_for_update(of=("self",)):
        if known.expires_at > at:
            raise AlreadyInvited(email=address)
        _revoke(known, by=None, at=at)  # it ran out unanswered; the new one takes its place
    if waiting.filter(expires_at__gt=at).count() >= OPEN_MAX:
        raise TooManyInvitations(limit=OPEN_MAX)
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=address,
        role=role.value,
        member_until=member_until,
        message=clean_text(message, field="message", limit=2000),
        token_hash=token_hash(token),
        created_by=by,
        created_at=at,
        sent_at=at,
        expires_at=at + timedelta(days=days),
        **columns,
    )
    tell(
        "invitation.sent",
        invitation,
        scope=scope,
        by=by,
        at=at,
        facts={"email": address, "role": role.value, "expires_at": invitation.expires_at.isoformat()},
    )
    _mail(invitation, token)
    return SentInvitation(invitation, token)


def _mail(invitation: Invitation, token: str) -> None:
    facts = {"invitation_id": invitation.pk, "sealed_token": seal(token)}
    ask_for_mail("invitation", to_email=invitation.email, facts=facts)


def _refuse_member(email: str, role: Role, scope: Scope, at: datetime) -> None:
    """raises   AlreadyMember when the address belongs to somebody who holds this role here"""
    rows = Membership.objects.filter(person__email__iexact=email, role=role.value).held_at(at).in_scope(scope)
    row = rows.select_related("person").first()
    if row is not None:
        raise AlreadyMember(person=str(row.person), role=str(role.title))


def _lock_open(invitation: Invitation, at: datetime, *, expired_too: bool = False) -> tuple[Invitation, Scope]:
    """raises   InvitationClosed"""
    found = Invitation.objects.select_related("project__organization", "organization").get(pk=invitation.pk)
    scope = lock_scope(scope_of(found))
    row = (
        Invitation.objects.select_for_update(of=("self",))
        .select_related("project__organization", "organization", "created_by")
        .get(pk=invitation.pk)
    )
    state = row.state(at)
    if state == InvitationState.OPEN or (expired_too and state == InvitationState.EXPIRED):
        return row, scope
    raise InvitationClosed(state=str(state.title), inviter=str(row.created_by))


@transaction.atomic
def resend_invitation(*, invitation: Invitation, by: Person, at: datetime) -> SentInvitation:
    """Send a new link with the whole time again; the former link stops working. An expired one opens again.

    raises   NotAllowed, RoleTooHigh; InvitationClosed; SentJustNow; ProjectClosed, OrganizationArchived
    """
    row, scope = _lock_open(invitation, at, expired_too=True)
    require_to_give(by, Role(row.role), scope, at)
    require_open_scope(scope, at)
    if row.sent_at is not None and at < row.sent_at + timedelta(seconds=RESEND_SECONDS):
        raise SentJustNow(seconds=RESEND_SECONDS)
    if row.member_until is not None and row.member_until <= at:
        raise UntilNotAfterStart(field="member_until")
    token = secrets.token_urlsafe(32)
    row.expires_at = at + timedelta(days=DAYS_USUAL)
    row.sent_at = at
    row.token_hash = token_hash(token)
    row.created_by = by  # whose right counts when it is accepted
    row.save(update_fields=["expires_at", "sent_at", "token_hash", "created_by"])
    tell("invitation.resent", row, scope=scope, by=by, at=at, facts={"email": row.email, "role": row.role})
    _mail(row, token)
    return SentInvitation(row, token)


@transaction.atomic
def revoke_invitation(*, invitation: Invitation, by: Person | None, at: datetime) -> Invitation:
    """raises   NotAllowed, RoleTooHigh; InvitationClosed"""
    row, scope = _lock_open(invitation, at, expired_too=True)
    require_to_give(by, Role(row.role), scope, at)
    _revoke(row, by=by, at=at)
    return row


def _revoke(row: Invitation, *, by: Person | None, at: datetime) -> None:
    row.revoked_at = at
    row.save(update_fields=["revoked_at"])
    facts = {"email": row.email, "role": row.role}
    tell("invitation.revoked", row, scope=scope_of(row), by=by, at=at, facts=facts)


def _find(token: str) -> Invitation:
    invitation = Invitation.objects.filter(token_hash=token_hash(token)).first()
    if invitation is None:
        raise InvitationUnknown
    return invitation


@transaction.atomic
def accept_invitation(
    *,
    token: str = "",
    invitation: Invitation | None = None,
    by: Person,
    other_address: bool = False,
    at: datetime,
) -> Membership:
    """Take the role that was offered. Accepting again answers with the same membership.

    token           of the link; or else
    invitation      one that was sent to a verified address of the person, who then needs no link
    other_address   the person confirms that they accept with an address other than the one that was invited
    raises   InvitationUnknown; InvitationClosed; InvitationForOther; EmailNotVerified; InviterMayNot when who sent it
             may no longer give the role; PersonInactive; ProjectClosed, OrganizationArchived; NotWithToken
    """
    _refuse_token(by)
    found = _find(token) if invitation is None else invitation
    scope = lock_scope(scope_of(found))
    row = (
        Invitation.objects.select_for_update(of=("self",))
        .select_related("project__organization", "organization", "created_by")
        .get(pk=found.pk)
    )
    role = Role(row.role)
    if row.accepted_at is not None and row.accepted_by_id == by.pk:
        former = Membership.objects.filter(person=by).held_at(at).in_scope(scope).first()
        if former is not None:
            return former
    state = row.state(at)
    if state != InvitationState.OPEN:
        raise InvitationClosed(state=str(state.title), inviter=str(row.created_by))
    if not by.is_active:
        raise PersonInactive(person=str(by))
    _check_address(row, by, other_address and bool(token))
    require_open_scope(scope, at)
    if role not in roles_to_give(row.created_by, scope, at):
        raise InviterMayNot(inviter=str(row.created_by))
    row.accepted_at = at
    row.accepted_by = by
    row.save(update_fields=["accepted_at", "accepted_by"])
    facts = {"email": row.email, "role": row.role, "person_id": by.pk}
    tell("invitation.accepted", row, scope=scope, by=by, at=at, facts=facts)
    held = _contains(Membership.objects.filter(person=by).held_at(at).in_scope(scope), role)
    if held is not None:
        return held
    if role == Role.PRINCIPAL_INVESTIGATOR:
        assert isinstance(scope, Project)
        membership = hand_over_project(project=scope, to=by, by=row.created_by, at=at)
    else:
        membership = write_membership(
            person=by, role=role, scope=scope, until=row.member_until, by=row.created_by, at=at
        )
    ask_for_mail(
        "invitation_accepted", to_person_id=row.created_by_id, facts={"invitation_id": row.pk, "person_id": by.pk}
    )
    return membership


def _contains(rows: Iterable[Membership], role: Role) -> Membership | None:
    """One that already is the role, or in a project one that holds as much."""
    for row in rows:
        own = Role(row.role)
        as_much = row.project_id is not None and ROLE_TABLE[own] >= ROLE_TABLE[role]
        if own == role or (as_much and role != Role.PRINCIPAL_INVESTIGATOR):
            return row
    return None


def _check_address(row: Invitation, by: Person, other_address: bool) -> None:
    """raises   EmailNotVerified, InvitationForOther"""
    verified = set(EmailAddress.objects.filter(user=by, verified=True).values_list("email", flat=True))
    verified = {email.lower() for email in verified}
    if row.email.lower() in verified:
        return
    if row.email.lower() == by.email.lower() or by.email.lower() not in verified:
        raise EmailNotVerified(email=by.email)
    if not other_address:
        raise InvitationForOther(email=row.email, own=by.email)


def _refuse_token(by: Person) -> None:
    if by.limits is not None:
        raise NotWithToken(scope=TokenScope.STRUCTURE.value)


@transaction.atomic
def decline_invitation(
    *, token: str = "", invitation: Invitation | None = None, by: Person | None, at: datetime
) -> Invitation:
    """Say no: whoever holds the link may, logged in or not; without it (`invitation`) who has the address.

    raises   InvitationUnknown; InvitationClosed; InvitationForOther, EmailNotVerified; NotWithToken
    """
    if by is not None and by.limits is not None and TokenScope.PROFILE not in by.limits.scopes:
        raise NotWithToken(scope=TokenScope.PROFILE.value)
    row, scope = _lock_open(_find(token) if invitation is None else invitation, at)
    if invitation is not None and by is not None:
        _check_address(row, by, other_address=False)
    row.declined_at = at
    row.save(update_fields=["declined_at"])
    tell("invitation.declined", row, scope=scope, by=by, at=at, facts={"email": row.email, "role": row.role})
    ask_for_mail("invitation_declined", to_person_id=row.created_by_id, facts={"invitation_id": row.pk})
    return row
