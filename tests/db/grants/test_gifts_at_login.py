"""Gifts that are given at login: to whom, how often, and that nothing of it ever stands in the way of a login."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.core.context import request_context
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.cache import cache
from django.db import DatabaseError
from django.test import Client, RequestFactory
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.accounting import services as accounting
from bursar.events.models import Event
from bursar.grants import services, tasks
from bursar.grants.models import Gift, GiftClaim
from bursar.grants.services import Line, gifts
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.structure.models import Person
from tests.db.structure.test_login import PASSWORD, deliver, link_in, log_in, register
from tests.factories.grants import HOUR, Grants, given_to, make_grants
from tests.factories.provisioning import run_jobs
from tests.factories.structure import make_person, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

UNI = (Line("allow", "mail_domain", "uni.example"),)


@pytest.fixture(autouse=True)
def _no_limits_from_before() -> None:
    cache.clear()


@pytest.fixture
def grants(at: datetime) -> Grants:
    return make_grants(at)


def offer(grants: Grants, **more: Any) -> Gift:
    facts: dict[str, Any] = {
        "workspace": grants.north,
        "title": "Fifty core-hours",
        "amounts": {grants.cpu.pk: 50 * HOUR},
        "start": grants.at,
        "end": grants.at + timedelta(days=360),
        "claims_max": 2,
        "lines": UNI,
        "at_login": True,
        "by": grants.north_owner,
        "at": grants.at,
        **more,
    }
    return services.offer_gift(**facts)


def give(grants: Grants, person: Person, at: datetime | None = None) -> list[str]:
    given = services.give_gifts_at_login(person=person, at=at or grants.at)
    return [claim.gift.title for claim in given]


def test_log_in__first_time_with_a_password__is_given_by_the_job(grants: Grants) -> None:
    offer(grants)
    with stated_time(grants.at):
        client = Client()
        register(client, email="new@uni.example")
        assert not ProcrastinateJob.objects.filter(queue_name="grants").exists()
        confirm = link_in(deliver(grants.at)[0])
        client.post(confirm)
        log_in(client, email="new@uni.example")
        assert run_jobs(only="give_gifts") == ["give_gifts_at_login"]
        person = Person.objects.get(email="new@uni.example")
        assert given_to(make_workspace(person)) == {("CPU on Thor", grants.north.pk): 50 * HOUR}
        told = Event.objects.get(kind="gift.claimed")
        assert (told.actor_id, told.facts) == (None, {"period": 0, "person_id": person.pk, "at_login": True})
        # Another login is another question, and the same answer.
        client.post("/account/logout/")
        log_in(client, email="new@uni.example")
        assert run_jobs(only="give_gifts") == ["give_gifts_at_login"]
    assert GiftClaim.objects.count() == 1


def test_log_in__first_time_with_an_identity_provider__is_given_by_the_job(
    grants: Grants, rf: RequestFactory, settings: Any
) -> None:
    app = {"provider_id": "edugain", "name": "eduGAIN", "client_id": "x", "secret": "y", "settings": {}}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    offer(grants, lines=[Line("allow", "identity_provider", "edugain")])
    request = rf.get("/")
    request.session = Client().session
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    user = Person(email="new@elsewhere.example", full_name="Nora New", created_at=grants.at)
    account = SocialAccount(provider="edugain", uid="nora")
    request.user = AnonymousUser()
    login = SocialLogin(
        user=user,
        account=account,
        email_addresses=[EmailAddress(email=user.email, verified=True)],
        provider=get_adapter().get_provider(request, "edugain"),
    )
    with stated_time(grants.at), request_context(request):
        complete_social_login(request, login)
        run_jobs(only="give_gifts")
    person = Person.objects.get(email="new@elsewhere.example")
    assert given_to(make_workspace(person)) == {("CPU on Thor", grants.north.pk): 50 * HOUR}


def test_log_in__nothing_is_given_at_login__asks_for_no_job(grants: Grants) -> None:
    offer(grants, at_login=False)
    closed = offer(grants)
    services.close_gift(gift_id=closed.pk, by=grants.north_owner, at=grants.at)
    make_person("old@uni.example", password=PASSWORD)
    with stated_time(grants.at):
        log_in(Client(), email="old@uni.example")
    assert not ProcrastinateJob.objects.filter(queue_name="grants").exists()


def test_log_in__asking_fails__is_a_login_all_the_same(grants: Grants, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(grants)
    make_person("old@uni.example", password=PASSWORD)

    def broken(*_args: Any, **_facts: Any) -> None:
        raise DatabaseError("the queue is away")

    monkeypatch.setattr(gifts, "defer", broken)
    client = Client()
    with stated_time(grants.at):
        assert log_in(client, email="old@uni.example").status_code == 302
        assert client.get("/applications/").status_code == 200


def test_log_in__twice_before_the_job_ran__asks_once(grants: Grants) -> None:
    offer(grants)
    make_person("old@uni.example", password=PASSWORD)
    with stated_time(grants.at):
        for _tab in range(2):
            log_in(Client(), email="old@uni.example")
    assert ProcrastinateJob.objects.filter(queue_name="grants", status="todo").count() == 1


def test_give__mark_switched_on_later__at_the_next_login_of_everybody(grants: Grants) -> None:
    gift = offer(grants, at_login=False)
    assert give(grants, grants.applicant) == []
    with pytest.raises(DomainError) as refusal:
        services.set_gift_at_login(gift_id=gift.pk, at_login=True, by=grants.reviewer, at=grants.at)
    assert refusal.value.code == "not_allowed"
    for _twice in range(2):
        services.set_gift_at_login(gift_id=gift.pk, at_login=True, by=grants.north_owner, at=grants.at)
    assert Event.objects.filter(kind="gift.at_login_set").count() == 1
    assert give(grants, grants.applicant) == ["Fifty core-hours"]
    services.set_gift_at_login(gift_id=gift.pk, at_login=False, by=grants.north_owner, at=grants.at)
    assert give(grants, grants.reviewer) == []


def test_give__every_six_months__at_the_first_login_of_each_period(grants: Grants) -> None:
    offer(grants, every_months=6, claims_max=9)
    later = grants.at + timedelta(days=190)
    assert give(grants, grants.applicant) == ["Fifty core-hours"]
    assert give(grants, grants.applicant, grants.at + timedelta(days=100)) == []
    assert give(grants, grants.applicant, later) == ["Fifty core-hours"]
    assert give(grants, grants.applicant, later) == []
    assert give(grants, grants.applicant, grants.at + timedelta(days=360)) == []  # it has ended


def test_give__not_meant_for_them_taken_used_up_or_not_active__gives_nothing(grants: Grants) -> None:
    gift = offer(grants)
    assert give(grants, grants.stranger) == []
    services.claim_gift(gift_id=gift.pk, by=grants.applicant, at=grants.at)
    assert give(grants, grants.applicant) == []
    grants.reviewer.is_active = False
    assert give(grants, grants.reviewer) == []
    assert give(grants, grants.north_owner) == ["Fifty core-hours"]
    assert give(grants, grants.south_owner) == []  # its cap of two
    gift.refresh_from_db()
    assert (gift.claimed, GiftClaim.objects.count()) == (2, 2)


def test_give__more_than_the_giver_holds__takes_no_other_gift_with_it(grants: Grants) -> None:
    offer(grants, title="Too much", amounts={grants.cpu.pk: 2_000_000 * HOUR})
    offer(grants, title="Storage", amounts={grants.disk.pk: 5})
    assert give(grants, grants.applicant) == ["Storage"]
    assert given_to(grants.personal) == {("Storage on Thor", grants.north.pk): 5}
    assert list(Gift.objects.order_by("pk").values_list("claimed", flat=True)) == [0, 1]


def test_give__broken_in_the_middle__leaves_nothing_and_the_job_goes_on_later(
    grants: Grants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: the transaction was never committed, the job is taken up again."""
    offer(grants, amounts={grants.cpu.pk: HOUR, grants.disk.pk: 5})
    real, calls = accounting.allocate, []

    def dies_at_the_second(**facts: Any) -> Any:
        calls.append(facts)
        if len(calls) == 2:
            raise SystemExit
        return real(**facts)

    with stated_time(grants.at), monkeypatch.context() as patch:
        patch.setattr(accounting, "allocate", dies_at_the_second)
        with pytest.raises(SystemExit):
            tasks.give_gifts_at_login(person_id=grants.applicant.pk)
    assert given_to(grants.personal) == {}
    assert not GiftClaim.objects.exists()
    with stated_time(grants.at):
        for _twice in range(2):
            tasks.give_gifts_at_login(person_id=grants.applicant.pk)
    wanted = {("CPU on Thor", grants.north.pk): HOUR, ("Storage on Thor", grants.north.pk): 5}
    assert given_to(grants.personal) == wanted
