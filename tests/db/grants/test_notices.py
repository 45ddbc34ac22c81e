"""Notices: who is told of which step, what they choose, what they read, and that the list shows only what they may see."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.delivery.mails import compose
from bursar.grants import selectors, services
from bursar.grants.models import Notice
from bursar.grants.notices import KINDS, LINES
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.structure.models import Membership, Person
from bursar.structure.roles import TokenLimits, TokenScope, memberships_held
from tests.factories.grants import HOUR, Grants, make_grants

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def grants(at: datetime) -> Grants:
    return make_grants(at)


def client_of(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def told(grants: Grants, person: Person) -> list[tuple[str, str, bool]]:
    rows = selectors.notices(person, grants.at)
    return [(row.kind, selectors.subject_of(row), row.read_at is not None) for row in rows]


def unread(grants: Grants, person: Person) -> int:
    return selectors.unread_notices(person, grants.at)


def test_notices__steps_of_an_application__stand_in_the_lists_of_those_whom_they_concern(grants: Grants) -> None:
    row = grants.apply((grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 20 * HOUR))
    facts = {"application_id": row.pk, "at": grants.at}
    services.comment_application(text="Why so much?", by=grants.reviewer, **facts)
    services.comment_application(text="Rather much.", is_internal=True, by=grants.reviewer, **facts)
    grants.approve(row, grants.north, grants.reviewer)
    grants.approve(row, grants.south, grants.south_owner)
    subject = f"#{row.pk} Ada Applicant"
    assert told(grants, grants.applicant) == [("approved", subject, False), ("commented", subject, False)]
    by_reviewer = [("commented_internally", subject, False), ("commented", subject, False)]
    assert told(grants, grants.south_owner) == [*by_reviewer, ("submitted", subject, False)]
    assert told(grants, grants.reviewer) == [("submitted", subject, False)]
    assert told(grants, grants.stranger) == []
    assert unread(grants, grants.south_owner) == 3
    assert Notice.objects.get(kind="commented", person=grants.applicant).by == grants.reviewer
    assert Notice.objects.get(kind="approved").by is None
    assert KINDS.keys() == LINES.keys()


def test_notices__read__go_behind_those_that_are_not(grants: Grants) -> None:
    first, second = grants.apply(), grants.apply()
    newest = Notice.objects.filter(person=grants.reviewer).latest("id")
    services.read_notice(notice_id=newest.pk, by=grants.reviewer, at=grants.at)
    services.read_notice(notice_id=newest.pk, by=grants.reviewer, at=grants.at + timedelta(hours=1))
    newest.refresh_from_db()
    assert newest.read_at == grants.at
    assert told(grants, grants.reviewer) == [
        ("submitted", f"#{first.pk} Ada Applicant", False),
        ("submitted", f"#{second.pk} Ada Applicant", True),
    ]
    for person in (grants.applicant, grants.north_owner):
        with pytest.raises(DomainError) as refusal:
            services.read_notice(notice_id=newest.pk, by=person, at=grants.at)
        assert refusal.value.code == "notice_not_found"
    assert services.read_notices(by=grants.reviewer, at=grants.at) == 1
    assert services.read_notices(by=grants.reviewer, at=grants.at) == 0
    assert unread(grants, grants.reviewer) == 0
    assert unread(grants, grants.north_owner) == 2


def test_notices__no_longer_theirs_to_see__are_neither_shown_nor_counted(grants: Grants) -> None:
    row = grants.apply()
    assert told(grants, grants.reviewer) == [("submitted", f"#{row.pk} Ada Applicant", False)]
    services.hand_over(
        application_id=row.pk,
        giver=grants.north,
        to=grants.south,
        revision=1,
        message="Yours.",
        by=grants.north_owner,
        at=grants.at,
    )
    assert told(grants, grants.reviewer) == []
    assert unread(grants, grants.reviewer) == 0
    assert told(grants, grants.south_owner) == [("handed_over", f"#{row.pk} Ada Applicant", False)]
    Membership.objects.filter(person=grants.south_owner).update(ended_at=grants.at)
    assert unread(grants, grants.south_owner) == 0


def test_choose__kinds_and_ways__each_by_itself(grants: Grants) -> None:
    others = set(KINDS) - {"submitted"}
    services.set_notices(by_mail=KINDS, in_pages=others, by=grants.reviewer, at=grants.at)
    services.set_notices(by_mail=others, in_pages=[*KINDS, "unknown"], by=grants.north_owner, at=grants.at)
    services.set_notices(by_mail=[], in_pages=[], by=grants.south_owner, at=grants.at)
    grants.apply((grants.north, grants.cpu, HOUR), (grants.south, grants.cpu, HOUR))
    mails = [job.args["to_person_id"] for job in ProcrastinateJob.objects.filter(queue_name="mail")]
    assert mails == [grants.reviewer.pk]
    assert list(Notice.objects.values_list("person_id", flat=True)) == [grants.north_owner.pk]
    assert selectors.unwanted_notices(grants.reviewer) == {("submitted", "page")}
    assert selectors.unwanted_notices(grants.north_owner) == {("submitted", "mail")}


def test_given_at_login__is_told_in_the_list_and_by_mail(grants: Grants) -> None:
    gift = services.offer_gift(
        workspace=grants.north,
        title="Fifty core-hours",
        amounts={grants.cpu.pk: 50 * HOUR},
        start=grants.at,
        end=grants.end,
        claims_max=9,
        lines=[services.Line("allow", "anyone")],
        at_login=True,
        by=None,
        at=grants.at,
    )
    services.give_gifts_at_login(person=grants.applicant, at=grants.at)
    services.claim_gift(gift_id=gift.pk, by=grants.reviewer, at=grants.at)  # who clicked knows
    assert told(grants, grants.applicant) == [("given", "Fifty core-hours", False)]
    assert told(grants, grants.reviewer) == []
    job = ProcrastinateJob.objects.get(queue_name="mail")
    words = compose(job.args["kind"], job.args["facts"], grants.applicant, grants.at)
    assert words is not None
    assert words.subject == "Given to you: Fifty core-hours"
    assert "University of North gives you “Fifty core-hours”" in words.text
    assert "CPU on Thor: 50 core-hours" in words.text


def test_notice__in_the_database__is_about_one_thing(grants: Grants) -> None:
    with pytest.raises(IntegrityError, match="notice_is_about_one_thing"), transaction.atomic():
        Notice.objects.create(person=grants.applicant, kind="given", at=grants.at)


def test_token__without_the_scope__reads_notices_but_marks_none(grants: Grants) -> None:
    grants.apply()
    grants.reviewer.limits = TokenLimits(frozenset({TokenScope.READ}))
    assert unread(grants, grants.reviewer) == 1
    row = Notice.objects.get(person=grants.reviewer)
    for call in (
        lambda: services.read_notice(notice_id=row.pk, by=grants.reviewer, at=grants.at),
        lambda: services.read_notices(by=grants.reviewer, at=grants.at),
        lambda: services.set_notices(by_mail=[], in_pages=[], by=grants.reviewer, at=grants.at),
    ):
        with pytest.raises(DomainError) as refusal:
            call()
        assert refusal.value.code == "not_with_token"
    assert unread(grants, grants.reviewer) == 1


# ------------------------------------------------------------------------------------------------ pages and REST
def test_page__notices__are_listed_marked_and_read_by_opening(grants: Grants) -> None:
    with stated_time(grants.at):
        client = client_of(grants.reviewer)
        assert "Nothing to tell you yet" in client.get("/notices/").content.decode()
        first, second = grants.apply(), grants.apply()
        shown = client.get("/notices/").content.decode()
        assert shown.count("awaits your decision") == 2
        assert 'bell-count">2<' in shown
        newest = Notice.objects.filter(person=grants.reviewer).latest("id")
        answer = client.post(f"/notices/{newest.pk}/read/", {"next": "/notices/?show=unread"})
        assert answer.url == "/notices/?show=unread"
        assert client.post(f"/notices/{newest.pk}/read/", {"next": "https://evil.example/"}).url == "/notices/"
        narrowed = client.get("/notices/?show=unread").content.decode()
        assert f"#{first.pk} " in narrowed
        assert f"#{second.pk} " not in narrowed
        assert client.get(f"/applications/{first.pk}/").status_code == 200
        assert unread(grants, grants.reviewer) == 1  # looking writes nothing
        older = Notice.objects.filter(person=grants.reviewer).earliest("id")
        opened = client.post(f"/notices/{older.pk}/read/", {"next": f"/applications/{first.pk}/"})
        assert opened.url == f"/applications/{first.pk}/"
        assert unread(grants, grants.reviewer) == 0
        assert unread(grants, grants.north_owner) == 2
        assert "bell-count" not in client.get("/").content.decode()
        other = client_of(grants.north_owner)
        assert "Mark all as read" in other.get("/notices/").content.decode()
        assert other.post("/notices/read/").url == "/notices/"
        assert unread(grants, grants.north_owner) == 0


def test_page__choices__keep_what_was_ticked(grants: Grants) -> None:
    with stated_time(grants.at):
        client = client_of(grants.applicant)
        client.post("/applications/notices/", {"page": ["approved", "given"], "mail": ["approved"]})
        choices = client.get("/api/v1/grants/notices/choices").json()
    assert (choices["in_pages"], choices["by_mail"]) == (["approved", "given"], ["approved"])


def test_pages__many_notices__cost_as_many_queries_as_one_and_the_bell_one(grants: Grants) -> None:
    client = client_of(grants.reviewer)

    def queries(path: str) -> list[str]:
        with CaptureQueriesContext(connection) as caught:
            assert client.get(path).status_code == 200
        return [query["sql"] for query in caught]

    with stated_time(grants.at):
        grants.apply()
        few = queries("/notices/")
        home = queries("/organizations/")
        assert len([sql for sql in home if '"grant_notice"' in sql]) == 1
        held = memberships_held(grants.reviewer, grants.at)
        with CaptureQueriesContext(connection) as bell:
            assert selectors.unread_notices(grants.reviewer, grants.at, held) == 1
        assert len(bell) == 1
        for _ in range(4):
            grants.apply(project_name="One more")
            grants.apply()
        assert len(queries("/notices/")) == len(few)
        assert len(queries("/organizations/")) == len(home)


def test_bell__more_than_ninety_nine__says_so(grants: Grants) -> None:
    row = grants.apply()
    Notice.objects.bulk_create(
        [Notice(person=grants.reviewer, kind="commented", application=row, at=grants.at) for _ in range(150)]
    )
    assert unread(grants, grants.reviewer) == 100
    with stated_time(grants.at):
        assert 'bell-count">99+<' in client_of(grants.reviewer).get("/notices/").content.decode()


def test_rest__notices__are_listed_read_and_chosen(grants: Grants) -> None:
    def put(client: Client, path: str, body: Any) -> Any:
        return client.put(path, body, content_type="application/json").json()

    with stated_time(grants.at):
        first, second = grants.apply(), grants.apply()
        client, path = client_of(grants.reviewer), "/api/v1/grants/notices"
        answer = client.get(f"{path}?limit=1").json()
        assert answer["total"] == 2
        (one,) = answer["items"]
        at = "2026-11-21T12:00:00Z"
        assert {key: one[key] for key in one if key != "id"} == {
            "kind": "submitted",
            "text": "awaits your decision",
            "subject": f"#{second.pk} Ada Applicant",
            "application_id": second.pk,
            "gift_id": None,
            "by_id": grants.applicant.pk,
            "at": at,
            "read_at": None,
        }
        assert client.post(f"{path}/{one['id']}/read").json()["read_at"] == at
        unread = client.get(f"{path}?unread=true").json()["items"]
        assert [row["application_id"] for row in unread] == [first.pk]
        assert client.post(f"{path}/read").json() == {"read": 1}
        assert client_of(grants.stranger).post(f"{path}/{one['id']}/read").json()["code"] == "notice_not_found"
        chosen = put(client, f"{path}/choices", {"in_pages": ["submitted"], "by_mail": []})
        assert (chosen["in_pages"], chosen["by_mail"], chosen["kinds"]) == (["submitted"], [], list(KINDS))
