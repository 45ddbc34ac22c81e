"""API tokens: made (shown once), used, rolled, revoked."""

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
from bursar.structure.errors import (
    ExpiryOutOfRange,
    NotWithToken,
    OverlapOutOfRange,
    TokenOver,
    TokenRefused,
    TokenRolled,
    TokenRollsItself,
    TooManyTokens,
    UnknownScope,
)
from bursar.structure.models import ApiToken, Organization, Person
from bursar.structure.roles import Permission, TokenLimits, TokenScope, require
from bursar.structure.services._common import tell
from bursar.structure.text import clean_line

PREFIX: Final = "bur_"
DAYS_MAX: Final = 366
TOKENS_MAX: Final = 50
OVERLAP_DAYS: Final = 7
ADDRESS_LENGTH_MAX: Final = 45
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
    made = _make(person, organization, clean_line(name, field="name", limit=100), wanted, at, at + timedelta(days=days))
    row = made.row
    tell(
        "api_token.created",
        row,
        scope=organization,
        by=by,
        at=at,
        facts={"person_id": person.pk, "scopes": wanted, "expires_at": row.expires_at.isoformat()},
    )
    return made


def _make(
    person: Person,
    organization: Organization | None,
    name: str,
    scopes: list[str],
    at: datetime,
    expires_at: datetime,
) -> NewToken:
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        person=person,
        organization=organization,
        name=name,
        prefix=token[:10],
        token_hash=token_hash(token),
        scopes=scopes,
        created_at=at,
        expires_at=expires_at,
    )
    return NewToken(row, token)


@transaction.atomic
def roll_token(*, token: ApiToken, overlap_days: int = OVERLAP_DAYS, by: Person | None, at: datetime) -> NewToken:
    """Make a successor with the same name, scopes, organization and length of life; the old one goes on for a while.

    So a program changes its credential without a gap. The old one ends by itself after `overlap_days` (0: now), and never
    later than it would have. With a token, only that very token can be rolled, and only if it has the scope `roll`.
    raises   NotWithToken, TokenRollsItself; NotAllowed for somebody else's token, or one of an organization that the person
             may not see any more; TokenOver; TokenRolled; OverlapOutOfRange; TooManyTokens
    """
    if by is not None and by.limits is not None:
        if TokenScope.ROLL not in by.limits.scopes:
            raise NotWithToken(scope=TokenScope.ROLL.value)
        if by.limits.token_id != token.pk:
            raise TokenRollsItself
    if by is not None and by.pk != token.person_id:
        require(by, Permission.OPERATE_PLATFORM, None, at)
    if not 0 <= overlap_days <= DAYS_MAX:
        raise OverlapOutOfRange(limit=DAYS_MAX)
    # As the person and not as the token: what a token of usage alone may see says nothing about the person.
    person = Person.objects.select_for_update().get(pk=token.person_id)
    row = ApiToken.objects.select_for_update(of=("self",)).select_related("organization", "successor").get(pk=token.pk)
    if row.successor is not None:
        raise TokenRolled(successor=f"{row.successor.prefix}…")
    if row.revoked_at is not None or row.expires_at <= at:
        raise TokenOver
    if row.organization is not None:
        require(person, Permission.VIEW_ORGANIZATION, row.organization, at)
    # Each rolled one lives on for a while: twice as many, or rolling over and over would have no bound.
    if ApiToken.objects.filter(person=person, revoked_at=None, expires_at__gt=at).count() >= 2 * TOKENS_MAX:
        raise TooManyTokens(limit=2 * TOKENS_MAX)
    # Nothing else shortens a life, and it is rolled once: this is what it was given.
    life = row.expires_at - row.created_at
    made = _make(person, row.organization, row.name, list(row.scopes), at, at + life)
    row.successor, row.rolled_at = made.row, at
    row.rolled_by_itself = by is not None and by.limits is not None
    row.expires_at = min(row.expires_at, at + timedelta(days=overlap_days))
    row.save(update_fields=["successor", "rolled_at", "rolled_by_itself", "expires_at"])
    tell(
        "api_token.rolled",
        row,
        scope=row.organization,
        by=by,
        at=at,
        facts={
            "person_id": row.person_id,
            "successor_id": made.row.pk,
            "by_itself": row.rolled_by_itself,
            "expires_at": row.expires_at.isoformat(),
        },
    )
    return made


@transaction.atomic
def revoke_token(*, token: ApiToken, by: Person | None, at: datetime) -> ApiToken:
    """Revoking twice is once. Successors that a program made with it are revoked with it: who stole a token may have rolled
    it. Those that a person made in the browser stay.

    raises   NotAllowed for somebody else's token; NotWithToken for another one than that in use
    """
    row = ApiToken.objects.select_for_update(of=("self",)).select_related("organization").get(pk=token.pk)
    if by is not None and by.limits is not None and TokenScope.PROFILE not in by.limits.scopes:
        raise NotWithToken(scope=TokenScope.PROFILE.value)
    if by is not None and by.pk != row.person_id:
        require(by, Permission.OPERATE_PLATFORM, None, at)
    ended: ApiToken | None = row
    while ended is not None:
        if ended.revoked_at is None:
            ended.revoked_at = at
            ended.save(update_fields=["revoked_at"])
            tell("api_token.revoked", ended, scope=row.organization, by=by, at=at, facts={"person_id": row.person_id})
        if not ended.rolled_by_itself or ended.successor_id is None:
            break
        ended = ApiToken.objects.select_for_update(of=("self",)).filter(pk=ended.successor_id).first()
    return row


def authenticate_token(*, token: str, at: datetime, address: str = "") -> ApiToken:
    """The row of a valid token; its `person` carries the token's limits for the role table.

    The last use, and the address it came from, is written at most once a minute.
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
        token_id=row.pk,
    )
    if row.last_used_at is None or row.last_used_at <= at - LAST_USE_EVERY:
        ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=at - LAST_USE_EVERY), pk=row.pk).update(
            last_used_at=at, last_used_from=address[:ADDRESS_LENGTH_MAX]
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
