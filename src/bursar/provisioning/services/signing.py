"""The keys by which Bursar signs short tokens for providers, and the tokens.

The rule of their lives, all of it computed from the rows:

- A key is published from the moment it is made. It signs from `signs_from` on, `SHOWN_BEFORE` later, so that whoever keeps
  a copy of the published keys has it by then. The first key signs immediately; so does one made at once, which ends the
  others there and then.
- A key signs until the next one's `signs_from`.
- It stays published until that instant plus `TOKEN_LIFETIME` plus `CLOCKS_DIFFER`: until every token signed by it has
  expired, by the provider's clock too. Then its private half is wiped.
- The job `keep_signing_keys` makes a new key when the newest is older than `RENEWED_AFTER`; `bursar keys renew` at any time.
"""

import secrets as randomness
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from joserfc import jwt
from joserfc.jwk import ECKey

from bursar.catalogue import secrets
from bursar.catalogue.models import Backend
from bursar.events.services import Happening, record
from bursar.provisioning.errors import SigningKeyUnreadable
from bursar.provisioning.locks import Space
from bursar.provisioning.models import SigningKey
from bursar.structure.models import Person

ALGORITHM: Final = "ES256"
TOKEN_LIFETIME: Final = timedelta(minutes=5)
SHOWN_BEFORE: Final = timedelta(minutes=10)
CLOCKS_DIFFER: Final = timedelta(minutes=5)
RENEWED_AFTER: Final = timedelta(days=90)
# How long a copy of the published keys may be kept; shorter than SHOWN_BEFORE by what a slow provider needs.
COPY_LIFETIME: Final = timedelta(minutes=5)


@transaction.atomic
def make_signing_key(*, at_once: bool = False, by: Person | None, at: datetime) -> SigningKey:
    """A new key, published from now on. It takes over signing after `SHOWN_BEFORE`; the first, or at_once, now.

    at_once   for when the old keys are lost or may be known to others: they are published no longer, so tokens under way
              are refused, and so are new ones by a provider that has not looked at the published keys again
    """
    _one_at_a_time()
    if at_once:
        SigningKey.objects.update(private=b"")
    is_first = not SigningKey.objects.exclude(private=b"").exists()
    kid = randomness.token_hex(8)
    key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": ALGORITHM})
    row = SigningKey.objects.create(
        kid=kid,
        public=key.as_dict(private=False),
        private=secrets.encrypt({"key": key.as_pem(private=True).decode()}),
        made_at=at,
        signs_from=at if at_once or is_first else at + SHOWN_BEFORE,
    )
    happening = Happening("signing_key.made", "signing_key", row.pk, {"kid": row.kid})
    record(happening, by_id=None if by is None else by.pk, at=at)
    return row


def _one_at_a_time() -> None:
    """Two processes that find no key must not make two."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [Space.SIGNING])


def _until(at: datetime) -> list[tuple[SigningKey, datetime | None]]:
    """Each key with the instant from which the next one signs (None = no next one), in the order of signing."""
    keys = list(SigningKey.objects.exclude(private=b"").order_by("signs_from", "pk"))
    ends: list[datetime | None] = [following.signs_from for following in keys[1:]]
    return list(zip(keys, [*ends, None], strict=True)) if keys else []


def _is_over(until: datetime | None, at: datetime) -> bool:
    return until is not None and at >= until + TOKEN_LIFETIME + CLOCKS_DIFFER


def published_keys(*, at: datetime) -> dict[str, Any]:
    """The JSON Web Key Set of the instant: every key by which a token may be signed that is still, or will soon be, valid."""
    return {"keys": [key.public for key, until in _until(at) if not _is_over(until, at)]}


def signing_key(*, at: datetime) -> SigningKey:
    """The key that signs now; the first one is made when it is first asked for."""
    signing = [key for key, _until_then in _until(at) if key.signs_from <= at]
    if signing:
        return signing[-1]
    with transaction.atomic():
        _one_at_a_time()
        signing = [key for key, _until_then in _until(at) if key.signs_from <= at]
        return signing[-1] if signing else make_signing_key(by=None, at=at)


def token_for(*, person: Person, backend: Backend, at: datetime) -> str:
    """A signed token that says who is sent to the backend's provider, for `TOKEN_LIFETIME`.

    Audience is the short name of the provider's organization; `jti` is never given twice: a provider that keeps those of
    the last minutes takes each token once.
    raises   SigningKeyUnreadable
    """
    row = signing_key(at=at)
    try:
        private = secrets.decrypt(row.private)["key"]
    except secrets.InvalidToken:
        raise SigningKeyUnreadable from None
    issued = int(at.timestamp())
    claims = {
        "iss": settings.BASE_URL,
        "aud": backend.provider.organization.slug,
        "sub": str(person.pk),
        "name": person.full_name,
        "email": person.email,
        "backend": backend.pk,
        "jti": randomness.token_urlsafe(18),
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(TOKEN_LIFETIME.total_seconds()),
    }
    return jwt.encode({"alg": ALGORITHM, "kid": row.kid, "typ": "JWT"}, claims, ECKey.import_key(private))


@transaction.atomic
def keep_signing_keys(*, at: datetime) -> SigningKey | None:
    """Wipe what has served out, and make a new key when the newest is old. An installation that never signed needs none.

    returns   the new key, if one was made
    """
    _one_at_a_time()
    rows = _until(at)
    over = [key.pk for key, until in rows if _is_over(until, at)]
    SigningKey.objects.filter(pk__in=over).update(private=b"")
    if not rows or rows[-1][0].made_at + RENEWED_AFTER > at:
        return None
    return make_signing_key(by=None, at=at)


@transaction.atomic
def re_encrypt_signing_keys(*, at: datetime) -> list[str]:
    """Bring the private keys under the first of BURSAR_KEYS; safe to run again.

    returns   the kids of those that no key opens
    """
    _one_at_a_time()
    unreadable = []
    for row in SigningKey.objects.exclude(private=b""):
        try:
            row.private = secrets.re_encrypt(row.private)
        except secrets.InvalidToken:
            unreadable.append(row.kid)
            continue
        row.save(update_fields=["private"])
    return unreadable
