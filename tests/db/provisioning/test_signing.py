"""The keys that sign tokens for providers: when one signs, how long it is shown, and what a token says."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

from bursar.catalogue import secrets
from bursar.catalogue.models import Backend
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.provisioning import tasks
from bursar.provisioning.errors import SigningKeyUnreadable
from bursar.provisioning.models import SigningKey
from bursar.provisioning.services import signing
from bursar.structure.models import Person
from tests.factories.catalogue import make_backend, make_provider
from tests.factories.structure import make_person

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def backend(at: datetime) -> Backend:
    return make_backend(make_provider(at=at), plugin="manual", at=at)


@pytest.fixture
def person(at: datetime) -> Person:
    return make_person(full_name="Ada Lovelace", at=at)


def kids(at: datetime) -> list[str]:
    return [key["kid"] for key in signing.published_keys(at=at)["keys"]]


def read(token: str, at: datetime) -> jwt.Token:
    """As a provider reads it: with the keys that are published at the instant, for ES256 alone."""
    return jwt.decode(token, KeySet.import_key_set(signing.published_keys(at=at)), algorithms=["ES256"])  # type: ignore[arg-type]


def test_token__of_a_person__says_who_for_whom_and_until_when(backend: Backend, person: Person, at: datetime) -> None:
    token = read(signing.token_for(person=person, backend=backend, at=at), at)
    assert token.header == {"alg": "ES256", "kid": SigningKey.objects.get().kid, "typ": "JWT"}
    jti = token.claims.pop("jti")
    assert token.claims == {
        "iss": "http://127.0.0.1:8000",
        "aud": backend.provider.organization.slug,
        "sub": str(person.pk),
        "name": "Ada Lovelace",
        "email": person.email,
        "backend": backend.pk,
        "iat": int(at.timestamp()),
        "nbf": int(at.timestamp()),
        "exp": int(at.timestamp()) + 300,
    }
    again = read(signing.token_for(person=person, backend=backend, at=at), at)
    assert len(jti) == 24
    assert again.claims["jti"] != jti


def test_published__nothing_was_ever_signed__is_empty_and_stays_so(at: datetime) -> None:
    assert signing.published_keys(at=at) == {"keys": []}
    signing.keep_signing_keys(at=at)
    assert not SigningKey.objects.exists()


def test_published__shows_only_the_public_half(backend: Backend, person: Person, at: datetime) -> None:
    signing.token_for(person=person, backend=backend, at=at)
    (key,) = signing.published_keys(at=at)["keys"]
    assert sorted(key) == ["alg", "crv", "kid", "kty", "use", "x", "y"]
    row = SigningKey.objects.get()
    assert b"PRIVATE" not in bytes(row.private)
    assert "PRIVATE KEY" in secrets.decrypt(row.private)["key"]


def test_next_key__is_shown_before_it_signs_and_the_old_one_until_its_last_token_expired(
    backend: Backend, person: Person, at: datetime
) -> None:
    first = signing.signing_key(at=at)
    second = signing.make_signing_key(by=None, at=at + MINUTE)
    takes_over = at + 11 * MINUTE
    assert second.signs_from == takes_over
    assert kids(at + MINUTE) == [first.kid, second.kid]
    assert signing.signing_key(at=takes_over - timedelta(seconds=1)).kid == first.kid
    assert signing.signing_key(at=takes_over).kid == second.kid
    last = signing.token_for(person=person, backend=backend, at=takes_over - timedelta(seconds=1))
    gone = takes_over + signing.TOKEN_LIFETIME + signing.CLOCKS_DIFFER
    assert kids(gone - timedelta(seconds=1)) == [first.kid, second.kid]
    assert read(last, gone - timedelta(seconds=1)).claims["sub"] == str(person.pk)
    assert kids(gone) == [second.kid]
    with pytest.raises(InvalidKeyIdError):
        read(last, gone)


def test_keep__an_old_key__is_followed_once_and_wiped_when_it_has_served_out(at: datetime) -> None:
    first = signing.signing_key(at=at)
    with stated_time(at + signing.RENEWED_AFTER - MINUTE):
        tasks.keep_signing_keys(timestamp=0)
    assert SigningKey.objects.count() == 1
    due = at + signing.RENEWED_AFTER
    for _ in range(2):
        with stated_time(due):
            tasks.keep_signing_keys(timestamp=0)
    assert SigningKey.objects.count() == 2
    first.refresh_from_db()
    assert first.private
    with stated_time(due + timedelta(hours=1)):
        tasks.keep_signing_keys(timestamp=0)
    first.refresh_from_db()
    assert bytes(first.private) == b""
    assert Event.objects.filter(kind="signing_key.made").count() == 2


def test_renew__at_once__ends_the_others_there_and_then(backend: Backend, person: Person, at: datetime) -> None:
    token = signing.token_for(person=person, backend=backend, at=at)
    signing.make_signing_key(by=None, at=at)
    made = signing.make_signing_key(at_once=True, by=None, at=at)
    assert kids(at) == [made.kid]
    assert signing.signing_key(at=at).kid == made.kid
    with pytest.raises(InvalidKeyIdError):
        read(token, at)


def test_rotate__a_new_first_key__opens_it_and_the_old_one_may_go(
    backend: Backend, person: Person, at: datetime, settings: Any
) -> None:
    signing.token_for(person=person, backend=backend, at=at)
    old, new = settings.BURSAR_KEYS, Fernet.generate_key().decode()
    settings.BURSAR_KEYS = [new, *old]
    assert signing.re_encrypt_signing_keys(at=at) == []
    settings.BURSAR_KEYS = [new]
    assert read(signing.token_for(person=person, backend=backend, at=at), at).claims["sub"] == str(person.pk)


def test_key__that_nothing_opens__says_what_the_operator_does(
    backend: Backend, person: Person, at: datetime, settings: Any
) -> None:
    row = signing.signing_key(at=at)
    settings.BURSAR_KEYS = [Fernet.generate_key().decode()]
    assert signing.re_encrypt_signing_keys(at=at) == [row.kid]
    with pytest.raises(SigningKeyUnreadable) as refused:
        signing.token_for(person=person, backend=backend, at=at)
    assert "bursar keys renew --at-once" in str(refused.value)
    signing.make_signing_key(at_once=True, by=None, at=at)
    assert signing.token_for(person=person, backend=backend, at=at)


def test_address__of_the_published_keys__needs_no_login_and_may_be_kept_a_while(at: datetime) -> None:
    with stated_time(at):
        key = signing.signing_key(at=at)
        answer = Client().get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.json() == {"keys": [key.public]}
    assert answer["Content-Type"] == "application/jwk-set+json"
    assert answer["Cache-Control"] == "public, max-age=300"
