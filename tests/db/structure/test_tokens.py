"""Tokens that are rolled: no gap, never more rights, and nothing left when the first is revoked."""

import json
from datetime import UTC, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.events.models import Event
from bursar.kernel import clock
from bursar.structure import services
from bursar.structure.errors import (
    NotWithToken,
    OverlapOutOfRange,
    TokenOver,
    TokenRefused,
    TokenRolled,
    TokenRollsItself,
    TooManyTokens,
)
from bursar.structure.models import ApiToken, Membership
from bursar.structure.roles import NotAllowed, Role, TokenScope
from bursar.structure.services import authenticate_token
from bursar.structure.services.tokens import NewToken
from tests.factories.structure import make_membership, make_organization, make_person

pytestmark = pytest.mark.django_db


def make_token(at, person=None, *, scopes=("usage", "roll"), days=30, **more) -> NewToken:
    person = person or make_person()
    return services.create_token(person=person, name="agent", scopes=scopes, days=days, by=person, at=at, **more)


def works(token: str, at) -> bool:
    try:
        authenticate_token(token=token, at=at)
    except TokenRefused:
        return False
    return True


def roll(made: NewToken, at, **more) -> NewToken:
    return services.roll_token(token=made.row, by=made.row.person, at=at, **more)


def holder(token: str, at):
    """The person as a program with the token is seen."""
    return authenticate_token(token=token, at=at).person


def test_roll__valid_token__both_work_and_the_old_one_ends_after_a_week(at) -> None:
    person = make_person()
    site = make_organization(owner=person)
    old = make_token(at, person, organization=site)
    later = at + timedelta(days=10)
    new = roll(old, later)
    old.row.refresh_from_db()
    assert (old.row.successor, old.row.rolled_at, old.row.rolled_by_itself) == (new.row, later, False)
    assert (new.row.name, new.row.scopes, new.row.organization) == ("agent", ["roll", "usage"], site)
    assert old.row.expires_at == later + timedelta(days=7)
    assert new.row.expires_at == later + timedelta(days=30)
    assert new.token != old.token
    assert works(old.token, later + timedelta(days=7) - timedelta(seconds=1))
    assert not works(old.token, later + timedelta(days=7))
    assert works(new.token, later + timedelta(days=29))
    (event,) = Event.objects.filter(kind="api_token.rolled")
    assert event.facts == {
        "person_id": person.pk,
        "successor_id": new.row.pk,
        "by_itself": False,
        "expires_at": (later + timedelta(days=7)).astimezone(UTC).isoformat(),
    }


@pytest.mark.parametrize(("overlap", "days_left"), [(0, 0), (1, 1), (366, 20)])
def test_roll__chosen_overlap__never_lengthens_the_old_life(at, overlap, days_left) -> None:
    old = make_token(at)
    later = at + timedelta(days=10)
    roll(old, later, overlap_days=overlap)
    old.row.refresh_from_db()
    assert old.row.expires_at == later + timedelta(days=days_left)


@pytest.mark.parametrize("overlap", [-1, 367])
def test_roll__overlap_out_of_range__is_refused(at, overlap) -> None:
    old = make_token(at)
    with pytest.raises(OverlapOutOfRange) as refused:
        roll(old, at, overlap_days=overlap)
    assert str(refused.value) == "The replaced token may go on for 0 to 366 days."
    assert ApiToken.objects.count() == 1


def test_roll__twice__names_the_successor(at) -> None:
    old = make_token(at)
    new = roll(old, at)
    with pytest.raises(TokenRolled) as refused:
        roll(old, at)
    assert str(refused.value) == (
        f"This token was replaced already: its successor begins with {new.row.prefix}…. Roll that one."
    )
    assert ApiToken.objects.count() == 2
    assert roll(new, at).row.name == "agent"


def test_roll__expired_or_revoked__is_refused(at) -> None:
    expired, revoked = make_token(at, days=1), make_token(at)
    services.revoke_token(token=revoked.row, by=revoked.row.person, at=at)
    for made in (expired, revoked):
        with pytest.raises(TokenOver) as refused:
            roll(made, at + timedelta(days=1))
        assert str(refused.value) == "This token has expired or was revoked. Make a new one instead."
    assert ApiToken.objects.count() == 2


def test_roll__somebody_elses__is_refused(at) -> None:
    old = make_token(at)
    with pytest.raises(NotAllowed):
        services.roll_token(token=old.row, by=make_person(), at=at)
    assert ApiToken.objects.count() == 1


def test_roll__organization_left_meanwhile__is_refused(at) -> None:
    person = make_person()
    site = make_organization()
    make_membership(person=person, role=Role.PROVIDER_MANAGER, scope=site)
    old = make_token(at, person, organization=site)
    Membership.objects.filter(person=person).update(ended_at=at)
    with pytest.raises(NotAllowed):
        roll(old, at)
    assert ApiToken.objects.count() == 1


def test_roll__by_itself__needs_the_scope_and_gives_no_more(at) -> None:
    person = make_person()
    site = make_organization(owner=person)
    old = make_token(at, person, organization=site, days=5)
    later = at + timedelta(days=4)
    new = services.roll_token(token=old.row, by=holder(old.token, later), at=later)
    old.row.refresh_from_db()
    assert old.row.rolled_by_itself
    assert (new.row.scopes, new.row.organization) == (["roll", "usage"], site)
    assert new.row.expires_at == later + timedelta(days=5)
    assert old.row.expires_at == at + timedelta(days=5)


def test_roll__by_a_token_without_the_scope__is_refused(at) -> None:
    old = make_token(at, scopes=["profile", "usage"])
    with pytest.raises(NotWithToken) as refused:
        services.roll_token(token=old.row, by=holder(old.token, at), at=at)
    assert refused.value.scope == "roll"
    assert ApiToken.objects.count() == 1


def test_roll__by_another_token__is_refused(at) -> None:
    person = make_person()
    old, other = make_token(at, person), make_token(at, person)
    with pytest.raises(TokenRollsItself):
        services.roll_token(token=old.row, by=holder(other.token, at), at=at)
    assert ApiToken.objects.count() == 2


def test_roll__over_and_over__has_a_bound(at, monkeypatch) -> None:
    monkeypatch.setattr("bursar.structure.services.tokens.TOKENS_MAX", 2)
    made = make_token(at)
    for _ in range(3):
        made = roll(made, at)
    with pytest.raises(TooManyTokens) as refused:
        roll(made, at)
    assert refused.value.limit == 4
    assert ApiToken.objects.count() == 4


def test_revoke__rolled_by_itself__takes_the_successors_with_it(at) -> None:
    first = make_token(at)
    second = services.roll_token(token=first.row, by=holder(first.token, at), at=at)
    third = services.roll_token(token=second.row, by=holder(second.token, at), at=at)
    services.revoke_token(token=first.row, by=first.row.person, at=at)
    assert [works(made.token, at) for made in (first, second, third)] == [False, False, False]
    assert Event.objects.filter(kind="api_token.revoked").count() == 3


def test_revoke__rolled_in_the_browser__leaves_the_successor(at) -> None:
    first = make_token(at)
    second = roll(first, at)
    services.revoke_token(token=first.row, by=first.row.person, at=at)
    assert [works(made.token, at) for made in (first, second)] == [False, True]


def test_constraint__successor_of_two__cannot_be(at) -> None:
    one, other = make_token(at), make_token(at)
    new = roll(one, at)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiToken.objects.filter(pk=other.row.pk).update(successor=new.row, rolled_at=at)
    with pytest.raises(IntegrityError, match="api_token_rolled_has_a_time"), transaction.atomic():
        ApiToken.objects.filter(pk=one.row.pk).update(rolled_at=None)


def test_last_use__each_request__writes_address_and_time_once_a_minute(at) -> None:
    made = make_token(at)
    uses = [(0, "192.0.2.1"), (59, "192.0.2.2"), (60, "2001:db8::7"), (61, "192.0.2.4")]
    found = []
    for seconds, address in uses:
        with CaptureQueriesContext(connection) as asked:
            authenticate_token(token=made.token, at=at + timedelta(seconds=seconds), address=address)
        made.row.refresh_from_db()
        wrote = any(query["sql"].startswith("UPDATE") for query in asked.captured_queries)
        found.append((wrote, made.row.last_used_from, (made.row.last_used_at - at).total_seconds()))
    assert found == [
        (True, "192.0.2.1", 0),
        (False, "192.0.2.1", 0),
        (True, "2001:db8::7", 60),
        (False, "2001:db8::7", 60),
    ]


# ------------------------------------------------------------------------------------------------ by REST and on pages
def ask(token: str, method: str, path: str, body: object = None):
    client = Client(headers={"Authorization": f"Bearer {token}"}, REMOTE_ADDR="198.51.100.9")
    sent = b"" if body is None else json.dumps(body)
    answer = client.generic(method, f"/api/v1{path}", data=sent, content_type="application/json")
    return answer.status_code, answer.json()


def test_api__agent__rolls_itself_and_sees_when_it_ends(at) -> None:
    made = make_token(at, scopes=["usage", "roll"])
    later = at + timedelta(days=25)
    with clock.stated_time(later):
        status, me = ask(made.token, "GET", "/me")
        assert (status, me["token"]["id"], me["token"]["last_used_from"]) == (200, made.row.pk, "198.51.100.9")
        status, new = ask(made.token, "POST", f"/me/tokens/{made.row.pk}/roll", {"overlap_days": 2})
        assert status == 201
        assert (new["scopes"], new["name"], new["successor_id"]) == (["roll", "usage"], "agent", None)
        status, me = ask(made.token, "GET", "/me")
        assert me["token"]["successor_id"] == new["id"]
        assert me["token"]["expires_at"] == (later + timedelta(days=2)).isoformat().replace("+00:00", "Z")
        assert ask(new["token"], "GET", "/me")[1]["token"]["id"] == new["id"]
        status, problem = ask(made.token, "POST", f"/me/tokens/{made.row.pk}/roll", {})
        assert (status, problem["code"]) == (409, "token_rolled")
        status, problem = ask(new["token"], "POST", f"/me/tokens/{made.row.pk}/roll", {})
        assert (status, problem["code"]) == (403, "token_rolls_itself")


def test_api__without_the_scope__is_told_which(at) -> None:
    made = make_token(at, scopes=[s.value for s in TokenScope if s != TokenScope.ROLL])
    with clock.stated_time(at):
        status, problem = ask(made.token, "POST", f"/me/tokens/{made.row.pk}/roll", {})
    assert (status, problem["code"], problem["facts"]["scope"]) == (403, "not_with_token", "roll")


def test_page__roll__shows_the_new_token_once_and_both_rows(at, client) -> None:
    made = make_token(at)
    authenticate_token(token=made.token, at=at, address="192.0.2.77")
    client.force_login(made.row.person)
    with clock.stated_time(at):
        shown = client.get(f"/profile/tokens/{made.row.pk}/roll/").content.decode()
        assert "192.0.2.77" in shown
        answer = client.post(f"/profile/tokens/{made.row.pk}/roll/", {"overlap_days": 7})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/profile/tokens/")
        listed = client.get("/profile/tokens/").content.decode()
        new = ApiToken.objects.exclude(pk=made.row.pk).get()
        assert f'value="{new.prefix}' in listed
        assert f"replaced by {new.prefix}…" in listed
        assert "Being replaced" in listed
        assert f'value="{new.prefix}' not in client.get("/profile/tokens/").content.decode()
        again = client.post(f"/profile/tokens/{made.row.pk}/roll/", {"overlap_days": 7})
        assert (again.status_code, "This token was replaced already" in again.content.decode()) == (422, True)


def test_page__many_tokens__asks_no_more_questions(at, client) -> None:
    person = make_person()
    client.force_login(person)
    counts = []
    with clock.stated_time(at):
        for rounds in (2, 12):
            for _ in range(rounds):
                roll(make_token(at, person), at)
            with CaptureQueriesContext(connection) as asked:
                assert client.get("/profile/tokens/").status_code == 200
            counts.append(len(asked))
    assert counts[0] == counts[1]
