"""People: registered, settled in, edited, shut out; and their SSH keys."""

from datetime import datetime
from typing import Final

from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction

from bursar.structure.errors import (
    EmailTaken,
    InvestigatorMustHandOver,
    LastOperator,
    LastOwner,
    NotWithToken,
    SshKeyKnown,
    TooManySshKeys,
)
from bursar.structure.models import ApiToken, Membership, Person, SshKey, Workspace
from bursar.structure.roles import Permission, Role, TokenScope, require
from bursar.structure.services._common import tell, write_changes
from bursar.structure.services.memberships import lock_scope
from bursar.structure.ssh import read_public_key
from bursar.structure.text import clean_email, clean_line
from bursar.structure.values import clean_language, clean_time_zone

SSH_KEYS_MAX: Final = 20


@transaction.atomic
def register_person(
    *,
    email: str,
    full_name: str,
    password: str | None = None,
    verified: bool = False,
    language: str = "en",
    time_zone: str = "UTC",
    by: Person | None,
    at: datetime,
) -> Person:
    """Make a person who can log in (without a password: by a provider, a passkey or a reset link).

    verified   whether somebody has made sure that the mail address is theirs
    raises     NotAllowed when not the system and no operator; InvalidEmail; EmailTaken; TextMissing, TextTooLong,
               TextNotAllowed, InvalidValue
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    address = clean_email(email)
    person = Person(
        email=address,
        full_name=clean_line(full_name, field="full_name", limit=200),
        language=clean_language(language),
        time_zone=clean_time_zone(time_zone),
    )
    person.set_password(password)
    try:
        with transaction.atomic():
            person.save(force_insert=True)
            EmailAddress.objects.create(user=person, email=address, primary=True, verified=verified)
    except IntegrityError:
        raise EmailTaken(email=address) from None
    settle_in(person=person, by=by, at=at)
    return person


@transaction.atomic
def settle_in(*, person: Person, by: Person | None, at: datetime) -> Workspace:
    """Give a person who has just been saved their personal workspace; the companion of every way to register."""
    workspace, fresh = Workspace.objects.get_or_create(person=person, defaults={"kind": Workspace.Kind.PERSONAL})
    if fresh:
        tell("person.registered", person, by=by, at=at)
    return workspace


def require_self(by: Person, person: Person, at: datetime) -> None:
    """Everybody looks after their own profile; with a token only where it has the scope for it.

    raises   NotWithToken; NotAllowed for somebody else who is no operator
    """
    if by.limits is not None and TokenScope.PROFILE not in by.limits.scopes:
        raise NotWithToken(scope=TokenScope.PROFILE.value)
    if by.pk != person.pk:
        require(by, Permission.OPERATE_PLATFORM, None, at)


@transaction.atomic
def edit_person(*, person: Person, full_name: str, language: str, time_zone: str, by: Person, at: datetime) -> Person:
    """raises   NotAllowed, NotWithToken; TextMissing, TextTooLong, TextNotAllowed, InvalidValue"""
    row = Person.objects.select_for_update().get(pk=person.pk)
    require_self(by, row, at)
    changes = write_changes(
        row,
        {
            "full_name": clean_line(full_name, field="full_name", limit=200),
            "language": clean_language(language),
            "time_zone": clean_time_zone(time_zone),
        },
    )
    if changes:
        tell("person.edited", row, by=by, at=at, facts={"fields": sorted(changes)})
    return row


@transaction.atomic
def deactivate_person(*, person: Person, by: Person | None, at: datetime) -> Person:
    """Shut a person out: no login, no token, no role counts; memberships stay on record.

    raises   NotAllowed; LastOperator, LastOwner, InvestigatorMustHandOver: somebody else has to take over first
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    lock_scope(None)
    row = Person.objects.select_for_update().get(pk=person.pk)
    if not row.is_active:
        return row
    _refuse_indispensable(row, at)
    row.is_active = False
    row.save(update_fields=["is_active"])
    ApiToken.objects.filter(person=row, revoked_at=None).update(revoked_at=at)
    _end_sessions(row)
    tell("person.deactivated", row, by=by, at=at)
    return row


def _refuse_indispensable(person: Person, at: datetime) -> None:
    held = Membership.objects.filter(person=person).held_at(at).select_related("organization")
    others = Membership.objects.filter(until=None, person__is_active=True).held_at(at).exclude(person=person)
    for row in held:
        if row.role == Role.PRINCIPAL_INVESTIGATOR:
            raise InvestigatorMustHandOver
        if row.role == Role.PLATFORM_OPERATOR and not others.filter(role=row.role).exists():
            raise LastOperator
        if row.role == Role.ORGANIZATION_OWNER and row.organization is not None:
            lock_scope(row.organization)
            if not others.filter(role=row.role, organization=row.organization).exists():
                raise LastOwner(organization=row.organization.name)


def _end_sessions(person: Person) -> None:
    """Sessions hold their person only inside their data; an inactive one is refused at each request anyway."""
    own = [s.pk for s in Session.objects.iterator() if s.get_decoded().get("_auth_user_id") == str(person.pk)]
    Session.objects.filter(pk__in=own).delete()


@transaction.atomic
def reactivate_person(*, person: Person, by: Person | None, at: datetime) -> Person:
    """raises   NotAllowed"""
    require(by, Permission.OPERATE_PLATFORM, None, at)
    row = Person.objects.select_for_update().get(pk=person.pk)
    if not row.is_active:
        row.is_active = True
        row.save(update_fields=["is_active"])
        tell("person.reactivated", row, by=by, at=at)
    return row


@transaction.atomic
def add_ssh_key(*, person: Person, name: str, public_key: str, by: Person, at: datetime) -> SshKey:
    """Keep a public key of the person; one line as it stands in a `.pub` file.

    name     the key's own comment when empty
    raises   NotAllowed, NotWithToken; InvalidSshKey; SshKeyKnown; TooManySshKeys; TextTooLong, TextNotAllowed
    """
    require_self(by, person, at)
    key = read_public_key(public_key)
    title = clean_line(name, field="name", limit=100, required=False)
    title = title or clean_line(key.comment[:100], field="name", limit=100, required=False) or key.kind
    Person.objects.select_for_update().get(pk=person.pk)
    known = SshKey.objects.filter(person=person, fingerprint=key.fingerprint).first()
    if known is not None:
        raise SshKeyKnown(name=known.name)
    if SshKey.objects.filter(person=person).count() >= SSH_KEYS_MAX:
        raise TooManySshKeys(limit=SSH_KEYS_MAX)
    row = SshKey.objects.create(person=person, name=title, public_key=key.line, fingerprint=key.fingerprint)
    tell("ssh_key.added", row, by=by, at=at, facts={"person_id": person.pk, "fingerprint": key.fingerprint})
    return row


@transaction.atomic
def remove_ssh_key(*, key: SshKey, by: Person, at: datetime) -> None:
    """raises   NotAllowed, NotWithToken"""
    require_self(by, key.person, at)
    tell("ssh_key.removed", key, by=by, at=at, facts={"person_id": key.person_id, "fingerprint": key.fingerprint})
    key.delete()
