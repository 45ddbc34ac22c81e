"""API tokens: made (shown once), used, revoked."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from django.db import transaction
from django.db.models import Q

from bursar.structure import prepared
from bursar.structure.errors import ExpiryOutOfRange, NotWithToken, TokenRefused, TooManyTokens, UnknownScope
from bursar.structure.models import ApiToken, Organization, Person
from bursar.structure.roles import Permission, TokenLimits, TokenScope, require
from bursar.structure.services._common import tell
from bursar.structure.text import clean_line

PREFIX: Final = "bur_"
DAYS_MAX: Final = 366
TOKENS_MAX: Final = 50
LAST_USE_EVERY: Final = timedelta(minutes=1)  # a write per request would make every read a write


@dataclass(frozen=True, slots=True)
class NewToken:
    """The row and the token itself, which cannot be had again."""

    row: ApiToken
    token: str


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def create_token(
    *,
    person: Person,
    name: str,
    scopes: Collection[TokenScope | str],
    days: int,
    organization: Organization | None = None,
    by: Person | None,
    at: datetime,
) -> NewToken:
    """Make a token of the person for themselves; it can never do more than the person can.

    organization   narrows it to what the person may do there
    raises   NotWithToken (a token makes no tokens); NotAllowed for anybody else's token or an organization that the
             person may not see; UnknownScope; ExpiryOutOfRange; TooManyTokens; TextMissing, TextTooLong, TextNotAllowed
    """
    if by is not None and by.limits is not None:
        raise NotWithToken(scope="–")
    if by is not None and by.pk != person.pk:
        require(by, Permission.OPERATE_PLATFORM, None, at)
    known = {scope.value for scope in TokenScope}
    wanted = sorted({str(scope) for scope in scopes})
    if not wanted or not set(wanted) <= known:
        raise UnknownScope(possible=", ".join(sorted(known)))
    if not 1 <= days <= DAYS_MAX:
        raise ExpiryOutOfRange(limit=DAYS_MAX)
    if organization is not None:
        require(person, Permission.VIEW_ORGANIZATION, organization, at)
    Person.objects.select_for_update().get(pk=person.pk)
    if ApiToken.objects.filter(person=person, revoked_at=None, expires_at__gt=at).count() >= TOKENS_MAX:
        raise TooManyTokens(limit=TOKENS_MAX)
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        person=person,
        organization=organization,
        name=clean_line(name, field="name", limit=100),
        prefix=token[:10],
        token_hash=token_hash(token),
        scopes=wanted,
        created_at=at,
        expires_at=at + timedelta(days=days),
    )
    tell(
        "api_token.created",
        row,
        scope=organization,
        by=by,
        at=at,
        facts={"person_id": person.pk, "scopes": wanted, "expires_at": row.expires_at.isoformat()},
    )
    return NewToken(row, token)


@transaction.atomic
def revoke_token(*, token: ApiToken, by: Person | None, at: datetime) -> ApiToken:
    """Revoking twice is once.

    raises   NotAllowed for somebody else's token; NotWithToken for another one than that in use
    """
    row = ApiToken.objects.select_for_update(of=("self",)).select_related("organization").get(pk=token.pk)
    if by is not None and by.limits is not None and TokenScope.PROFILE not in by.limits.scopes:
        raise NotWithToken(scope=TokenScope.PROFILE.value)
    if by is not None and by.pk != row.person_id:
        require(by, Permission.OPERATE_PLATFORM, None, at)
    if row.revoked_at is None:
        row.revoked_at = at
        row.save(update_fields=["revoked_at"])
        tell("api_token.revoked", row, scope=row.organization, by=by, at=at, facts={"person_id": row.person_id})
    return row


def authenticate_token(*, token: str, at: datetime) -> ApiToken:
    """The row of a valid token; its `person` carries the token's limits for the role table.

    The last use is written at most once a minute.
    raises   TokenRefused
    """
    if not token.startswith(PREFIX) or len(token) > 100:
        raise TokenRefused
    found = next(prepared.fetch(_valid_token(), [token_hash(token), at], ApiToken, Person), None)
    if found is None:
        raise TokenRefused
    row, person = found
    row.person = person
    row.person.limits = TokenLimits(
        scopes=_scopes(*row.scopes),
        organization_id=row.organization_id,
    )
    if row.last_used_at is None or row.last_used_at <= at - LAST_USE_EVERY:
        ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=at - LAST_USE_EVERY), pk=row.pk).update(
            last_used_at=at
        )
    return row


@cache
def _scopes(*names: str) -> frozenset[TokenScope]:
    """Those of these names that there still are."""
    return frozenset(scope for scope in TokenScope if scope.value in names)


@cache
def _valid_token() -> str:
    return (
        f"SELECT {prepared.columns(t=ApiToken, p=Person)} FROM api_token t JOIN person p ON p.id = t.person_id "  # noqa: S608  names of ours
        "WHERE t.token_hash = %s AND t.revoked_at IS NULL AND t.expires_at > %s AND p.is_active"
    )
