"""Revisions, agreement, forms, rules and gifts; and each fault that grants are known for elsewhere, absent here."""

import io
import zipfile
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.formats import date_format
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.accounting.models import Allocation
from bursar.accounting.services import revoke_allocation
from bursar.grants import selectors, services
from bursar.grants.errors import PeriodOver
from bursar.grants.models import (
    Application,
    Attachment,
    AttachmentContent,
    Award,
    Decision,
    FormAnswer,
    Gift,
    GiftClaim,
    Recipient,
    RequestedAmount,
    Revision,
)
from bursar.grants.selectors import Filters
from bursar.grants.services import Answers, Line, Rule, Wish
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.structure.models import Membership
from bursar.structure.roles import Role, TokenLimits, TokenScope
from tests.factories.grants import HOUR, Grants, amounts_of, given_to, make_grants, project_with, states_of
from tests.factories.structure import make_organization, make_person, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> Grants:
    return standing(lambda: make_grants(at))


@pytest.fixture
def grants(made: Grants) -> Grants:
    return deepcopy(made)


def refused(call: Any, **facts: Any) -> str:
    with pytest.raises(DomainError) as refusal:
        call(**facts)
    return refusal.value.code


def both(grants: Grants, **more: Any) -> Application:
    return grants.apply((grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 20 * HOUR), **more)


def revise(grants: Grants, row: Application, *amounts: Any, **more: Any) -> Application:
    row.refresh_from_db()
    wish = grants.wish(*amounts, **{"comment": "Because.", **more})
    return services.revise_application(
        application_id=row.pk, revision=row.revision, wish=wish, by=grants.applicant, at=grants.at
    )


def change(grants: Grants, row: Application, ticks: int, **more: Any) -> Application:
    row.refresh_from_db()
    facts = {
        "giver": grants.north,
        "revision": row.revision,
        "amounts": {grants.cpu.pk: ticks},
        "comment": "As much as there is.",
        "by": grants.reviewer,
        "at": grants.at,
        **more,
    }
    return services.change_amounts(application_id=row.pk, **facts)


# ------------------------------------------------------------------------------------------------ revisions
def test_revise__one_part_changed__only_its_approval_is_reset(grants: Grants) -> None:
    row = both(grants)
    grants.approve(row, grants.north, grants.reviewer)
    revise(grants, row, (grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 25 * HOUR))
    assert states_of(row) == ("submitted", {grants.north.pk: "approved", grants.south.pk: "pending"})
    revise(grants, row, (grants.north, grants.cpu, 11 * HOUR), (grants.south, grants.cpu, 25 * HOUR))
    assert states_of(row) == ("submitted", {grants.north.pk: "pending", grants.south.pk: "pending"})
    told = Decision.objects.filter(application=row).values_list("what", "giver_id", "revision")
    assert list(told) == [
        ("submitted", None, 1),
        ("approved", grants.north.pk, 1),
        ("revised", None, 2),
        ("revised", None, 3),
        ("reset", grants.north.pk, 3),
    ]
    changes = selectors.details(row.pk, grants.applicant, grants.at).changes
    assert [(c.giver, c.name, c.before, c.after) for c in changes[3]] == [
        ("University of North", "CPU on Thor", "10 core-hours", "11 core-hours")
    ]


def test_revise__period_changed__everybody_decides_again(grants: Grants) -> None:
    row = both(grants)
    grants.approve(row, grants.north, grants.reviewer)
    lines = ((grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 20 * HOUR))
    revise(grants, row, *lines, end=grants.end + timedelta(days=1))
    assert states_of(row)[1] == {grants.north.pk: "pending", grants.south.pk: "pending"}


def test_revise__giver_taken_out__loses_its_rights_and_the_rest_is_awarded(grants: Grants) -> None:
    row = both(grants)
    grants.approve(row, grants.north, grants.reviewer)
    revise(grants, row, (grants.north, grants.cpu, 10 * HOUR))
    assert states_of(row) == ("approved", {grants.north.pk: "approved"})
    code = refused(selectors.application_seen, pk=row.pk, viewer=grants.south_owner, at=grants.at)
    assert code == "application_not_found"
    assert given_to(grants.personal) == {("CPU on Thor", grants.north.pk): 10 * HOUR}


def test_revise__giver_added__sees_it_at_once(grants: Grants) -> None:
    row = grants.apply()
    assert list(selectors.queue(grants.south_owner, grants.at, Filters())) == []
    revise(grants, row, (grants.north, grants.cpu, 100 * HOUR), (grants.south, grants.cpu, HOUR))
    assert [one.pk for one in selectors.queue(grants.south_owner, grants.at, Filters())] == [row.pk]


def test_revise__nothing_new_or_old_revision__is_refused(grants: Grants) -> None:
    row = grants.apply()
    assert refused(lambda: revise(grants, row)) == "nothing_revised"
    revise(grants, row, (grants.north, grants.cpu, HOUR))
    wish = grants.wish(comment="late")
    facts = {"application_id": row.pk, "revision": 1, "wish": wish, "by": grants.applicant, "at": grants.at}
    assert refused(services.revise_application, **facts) == "revision_outdated"


def test_revise__rejected_part_asked_again__is_refused(grants: Grants) -> None:
    row = both(grants, is_separable=True)
    services.reject_part(
        application_id=row.pk, giver=grants.south, revision=1, reason="no", by=grants.south_owner, at=grants.at
    )
    lines = ((grants.north, grants.cpu, HOUR), (grants.south, grants.cpu, HOUR))
    assert refused(lambda: revise(grants, row, *lines, is_separable=True)) == "part_closed"


def test_change__amounts__wait_for_the_applicant_and_then_are_awarded(grants: Grants) -> None:
    row = both(grants)
    change(grants, row, 6 * HOUR)
    assert row.revisions.count() == 2
    assert states_of(row)[1][grants.north.pk] == "pending"
    grants.approve(row, grants.north, grants.reviewer)
    grants.approve(row, grants.south, grants.south_owner)
    assert states_of(row)[0] == "submitted"
    assert row.agreement_awaited
    facts = {"application_id": row.pk, "at": grants.at}
    assert refused(services.agree, revision=2, by=grants.reviewer, **facts) == "not_allowed"
    assert refused(services.agree, revision=1, by=grants.applicant, **facts) == "revision_outdated"
    services.agree(revision=2, by=grants.applicant, **facts)
    assert states_of(row)[0] == "approved"
    assert given_to(grants.personal) == {
        ("CPU on Thor", grants.north.pk): 6 * HOUR,
        ("CPU on Thor", grants.south.pk): 20 * HOUR,
    }


@pytest.mark.parametrize(("ticks", "waits"), [(5 * HOUR, False), (15 * HOUR, True)])
def test_change__reductions_were_allowed__only_more_waits(grants: Grants, ticks: int, waits: bool) -> None:
    row = both(grants, allows_reductions=True)
    change(grants, row, ticks)
    row.refresh_from_db()
    assert row.agreement_awaited is waits
    assert states_of(row)[1] == {grants.north.pk: "pending", grants.south.pk: "pending"}


def test_change__what_is_not_its_own__is_refused(grants: Grants) -> None:
    row = both(grants, project_name="Mine")
    assert refused(lambda: change(grants, row, 0)) == "nothing_asked"
    assert refused(lambda: change(grants, row, HOUR, comment=" ")) == "grant_reason_missing"
    assert refused(lambda: change(grants, row, HOUR, by=grants.applicant)) == "not_allowed"
    assert refused(lambda: change(grants, row, HOUR, by=grants.reviewer, giver=grants.south)) == "not_allowed"
    change(grants, row, HOUR)
    revision = row.revisions.get(number=2)  # recipient, days and everything else are as the applicant said
    assert (revision.project_name, revision.organization, revision.end) == (
        "Mine",
        grants.north.organization,
        grants.end,
    )
    facts = {"application_id": row.pk, "revision": 2, "by": grants.reviewer, "at": grants.at}
    assert refused(services.revise_application, wish=grants.wish(comment="x"), **facts) == "not_allowed"


# ------------------------------------------------------------------------------------------------ faults known elsewhere
def test_approve__after_the_end_of_the_period__is_refused_with_the_reason(grants: Grants) -> None:
    late = (grants.at + timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    row = grants.apply(end=late)
    with pytest.raises(PeriodOver) as refusal:
        grants.approve(row=row, giver=grants.north, by=grants.reviewer, at=late)
    assert refusal.value.end == date_format(late - timedelta(days=1), "DATE_FORMAT")
    assert states_of(row) == ("submitted", {grants.north.pk: "pending"})


def test_approve__beyond_what_is_held__is_refused_until_the_giver_may_promise_more(grants: Grants) -> None:
    row = grants.apply((grants.north, grants.cpu, 1_000_001 * HOUR))
    with pytest.raises(DomainError) as refusal:
        grants.approve(row, grants.north, grants.reviewer)
    assert refusal.value.code == "beyond_what_is_held"
    assert (refusal.value.facts["asked"], refusal.value.facts["left"]) == ("1000001", "1000000")
    assert states_of(row) == ("submitted", {grants.north.pk: "pending"})
    assert given_to(grants.personal) == {}
    services.set_giver(
        workspace=grants.north,
        is_open=True,
        promise_percent=101,
        lines=[Line("allow", "anyone")],
        by=grants.north_owner,
        at=grants.at,
    )
    grants.approve(row, grants.north, grants.reviewer)
    assert given_to(grants.personal) == {("CPU on Thor", grants.north.pk): 1_000_001 * HOUR}


def test_approve__quota_of_the_giver_went_meanwhile__nothing_of_it_is_awarded(grants: Grants) -> None:
    row = both(grants)
    grants.approve(row, grants.north, grants.reviewer)
    revoke_allocation(allocation=grants.wallet(grants.north).into.get(), by=None, at=grants.at)
    assert refused(grants.approve, row=row, giver=grants.south, by=grants.south_owner) == "not_offered"
    assert states_of(row) == ("submitted", {grants.north.pk: "approved", grants.south.pk: "pending"})
    assert given_to(grants.personal) == {}
    assert not Award.objects.exists()


def test_read__draft_and_strangers__nobody_but_the_applicant(grants: Grants) -> None:
    row = services.draft_application(
        recipient=Recipient.PERSONAL,
        workspace=grants.personal,
        wish=grants.wish(),
        by=grants.applicant,
        at=grants.at,
    )
    for viewer in (grants.reviewer, grants.north_owner, grants.stranger):
        assert refused(selectors.application_seen, pk=row.pk, viewer=viewer, at=grants.at) == "application_not_found"
    services.submit_application(application_id=row.pk, by=grants.applicant, at=grants.at)
    assert selectors.application_seen(row.pk, grants.reviewer, grants.at) == row
    assert refused(selectors.application_seen, pk=row.pk, viewer=grants.stranger, at=grants.at) == (
        "application_not_found"
    )


def test_read__existing_project__other_managers_see_it_and_givers_of_strangers_are_not_told(grants: Grants) -> None:
    manager = make_person()
    project = project_with(grants.applicant, [(manager, Role.PROJECT_MANAGER)])
    row = grants.apply(workspace=make_workspace(project))
    assert [one.pk for one in selectors.applications(manager, grants.at, Filters())] == [row.pk]
    facts = {"person": grants.stranger, "recipient": make_workspace(project), "at": grants.at}
    assert refused(selectors.givers_to_ask, **facts) == "not_allowed"


def test_history__rewritten_by_hand__is_refused_by_the_database(grants: Grants) -> None:
    row = grants.apply()
    grants.approve(row, grants.north, grants.reviewer)
    revision = Revision.objects.get(application=row)
    for change in (
        lambda: Decision.objects.filter(application=row).update(reason="other"),
        lambda: Award.objects.filter(application=row).delete(),
        lambda: Revision.objects.filter(pk=revision.pk).update(comment="other"),
        lambda: RequestedAmount.objects.filter(revision=revision).update(ticks=1),
        lambda: RequestedAmount.objects.create(revision=revision, giver=grants.south, category=grants.cpu, ticks=1),
        lambda: Award.objects.create(application=row, revision=revision, at=grants.at),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_draft__same_key_twice__is_one(grants: Grants) -> None:
    facts = {
        "recipient": Recipient.PERSONAL,
        "workspace": grants.personal,
        "idempotency_key": "k",
        "by": grants.applicant,
        "at": grants.at,
    }
    assert services.draft_application(**facts).pk == services.draft_application(**facts).pk
    project = make_workspace(project_with(grants.applicant))
    facts |= {"recipient": Recipient.PROJECT, "workspace": project}
    assert refused(services.draft_application, **facts) == "application_key_reused"


def test_export__columns_and_formulas__stand_where_they_belong_and_do_nothing(grants: Grants) -> None:
    evil = make_person("evil@uni.example", full_name="=HYPERLINK(1)")
    row = both(grants, by=evil)
    cells = list(selectors.export(grants.reviewer, grants.at, Filters()))
    assert [(c["application"], c["giver"], c["asked_last"], c["unit"]) for c in cells] == [
        (row.pk, "University of North", "10", "core-hours")  # what is asked of the south is not theirs to read
    ]
    assert list(cells[0]) == list(selectors.EXPORT_COLUMNS)
    assert [selectors.harmless(text) for text in ("=1", "+1", "-1", "@a", "\tb", "a=1", None)] == [
        "'=1",
        "'+1",
        "'-1",
        "'@a",
        "'\tb",
        "a=1",
        "",
    ]


def test_search__words_of_people_projects_and_answers__find_it(grants: Grants) -> None:
    services.set_form(
        workspace=grants.north,
        recipient=Recipient.NEW_PROJECT,
        fields=[{"key": "why", "type": "long_text", "title": "Why", "required": True}],
        by=grants.north_owner,
        at=grants.at,
    )
    answers = (Answers(grants.north.pk, {"why": "Gluons are interesting"}),)
    row = grants.apply(project_name="Lattice physics", answers=answers)
    other = grants.apply()

    def found(text: str) -> list[int]:
        return [one.pk for one in selectors.queue(grants.reviewer, grants.at, Filters(text=text))]

    assert found("latt") == found("GLUON inter") == [row.pk]
    assert found("ada") == [other.pk, row.pk]
    assert found(f"#{other.pk}") == [other.pk]
    assert found("nothing") == found("&|!()") == found("ada' | x") == []


def test_queue__many__costs_as_many_queries_as_one(grants: Grants) -> None:
    both(grants)
    few = _queries(grants)
    for _ in range(4):
        both(grants)
    assert _queries(grants) == few
    assert few <= 8


def _queries(grants: Grants) -> int:
    with CaptureQueriesContext(connection) as caught:
        for row in selectors.queue(grants.reviewer, grants.at, Filters()):
            assert [str(a.category) for r in row.present for a in r.amounts.all()]
            assert [str(part.giver) for part in row.present_parts]
    return len(caught)


# ------------------------------------------------------------------------------------------------ drafts in steps
def draft(grants: Grants, *amounts: Any, **more: Any) -> Application:
    facts = {"recipient": Recipient.PERSONAL, "workspace": grants.personal, "by": grants.applicant, "at": grants.at}
    return services.draft_application(**{**facts, "wish": grants.wish(*amounts), **more})


def test_choose__givers_of_a_draft__are_kept_and_others_are_no_longer_asked(grants: Grants) -> None:
    lines = ((grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 20 * HOUR))
    row = draft(grants, *lines)
    facts = {"application_id": row.pk, "by": grants.applicant, "at": grants.at}
    services.choose_givers(givers=[grants.south.pk], **facts)
    assert amounts_of(row) == {(grants.south.pk, grants.cpu.pk): 20 * HOUR}
    services.choose_givers(givers=[grants.north.pk, grants.south.pk], **facts)
    row.refresh_from_db()
    assert row.chosen_givers == sorted([grants.north.pk, grants.south.pk])
    assert amounts_of(row) == {(grants.south.pk, grants.cpu.pk): 20 * HOUR}
    closed = make_workspace(make_organization("Closed"))
    for giver in (closed.pk, 10**9):
        assert refused(services.choose_givers, givers=[giver], **facts) == "giver_not_found"
    # One that closed meanwhile stays until it is taken out.
    services.set_giver(workspace=grants.south, is_open=False, by=None, at=grants.at)
    services.choose_givers(givers=[grants.south.pk], **facts)
    assert refused(services.choose_givers, givers=[], **{**facts, "by": grants.reviewer}) == "application_not_found"
    services.choose_givers(givers=[], **facts)
    assert amounts_of(row) == {}
    sent = grants.apply()
    facts["application_id"] = sent.pk
    assert refused(services.choose_givers, givers=[grants.north.pk], **facts) == "application_step_not_open"


def test_draft__home_of_the_project_before_anybody_is_asked__is_one_that_could_be(grants: Grants) -> None:
    elsewhere = make_organization("Elsewhere")
    north = grants.north.organization
    facts = {"recipient": Recipient.NEW_PROJECT, "workspace": None}
    row = draft(grants, wish=Wish(project_name="Lattice", organization=north), **facts)
    code = refused(lambda: draft(grants, wish=Wish(project_name="Lattice", organization=elsewhere), **facts))
    assert code == "project_home_not_possible"
    # What is submitted is in an organization that was asked.
    wish = grants.wish((grants.south, grants.cpu, HOUR), project_name="Lattice", organization=north)
    own = {"application_id": row.pk, "by": grants.applicant, "at": grants.at}
    services.save_draft(wish=wish, **own)
    assert refused(services.submit_application, **own) == "project_home_not_possible"


def test_hand_over__home_of_the_new_project__moves_with_the_part(grants: Grants) -> None:
    row = grants.apply(project_name="Lattice")
    facts = {"application_id": row.pk, "revision": 1, "message": "Yours.", "at": grants.at}
    services.hand_over(giver=grants.north, to=grants.south, by=grants.north_owner, **facts)
    grants.approve(row, grants.south, grants.south_owner)
    row.refresh_from_db()
    assert row.workspace is not None
    assert row.workspace.project is not None
    assert row.workspace.project.organization == grants.south.organization


def test_page__draft_in_steps__keeps_each_and_may_be_left(grants: Grants) -> None:
    client = Client()
    client.force_login(grants.applicant)
    with stated_time(grants.at):
        begun = client.post("/applications/new/", {"for": str(grants.personal.pk)}).url
        row = Application.objects.get()
        edit = f"/applications/{row.pk}/edit/?step="
        assert begun == f"/applications/{row.pk}/edit/"
        shown = client.get(begun).content.decode()
        assert "Whom do you ask?" in shown
        assert "University of South" in shown
        assert client.get(f"{edit}amounts").url == f"{edit}givers"  # first whom
        assert client.post(f"{edit}givers", {"go": "on"}).status_code == 200
        chosen = {"giver": [grants.north.pk, 10**12], "go": "later"}
        assert client.post(f"{edit}givers", chosen).url == "/applications/"
        row.refresh_from_db()
        assert row.chosen_givers == [grants.north.pk]
        amounts = client.get(f"{edit}amounts").content.decode()
        assert f"amount-{grants.north.pk}-{grants.cpu.pk}" in amounts
        assert f"amount-{grants.south.pk}-{grants.cpu.pk}" not in amounts
        sent = {f"amount-{grants.north.pk}-{grants.cpu.pk}": "10", "go": "on"}
        assert client.post(f"{edit}amounts", sent).url == f"{edit}period"
        sent = {"last_day": (grants.at + timedelta(days=30)).date().isoformat(), "go": "on"}
        assert client.post(f"{edit}period", sent).url == f"{edit}form"
        assert client.post(f"{edit}form", {"go": "on"}).url == f"{edit}summary"
        assert client.post(f"/applications/{row.pk}/submit/").url == f"/applications/{row.pk}/"
    assert states_of(row) == ("submitted", {grants.north.pk: "pending"})


def test_page__draft_that_follows_another__has_its_givers_chosen(grants: Grants) -> None:
    first = grants.apply()
    grants.approve(first, grants.north, grants.reviewer)
    client = Client()
    client.force_login(grants.applicant)
    with stated_time(grants.at):
        client.post("/applications/new/", {"for": str(grants.personal.pk), "follows": str(first.pk)})
        row = Application.objects.latest("pk")
        shown = client.get(f"/applications/{row.pk}/edit/?step=givers").content.decode()
        assert shown.count(" checked>") == 1
        assert 'value="100"' in client.get(f"/applications/{row.pk}/edit/?step=amounts").content.decode()


# ------------------------------------------------------------------------------------------------ forms and files
FIELDS = [
    {"key": "abstract", "type": "text", "title": "Abstract", "required": True, "length_max": 10},
    {"key": "field", "type": "choice", "title": "Field", "choices": ["physics", "law"]},
    {"key": "nodes", "type": "number", "title": "Nodes", "number_min": 1, "number_max": 8},
    {"key": "since", "type": "date", "title": "Since"},
    {"key": "secret", "type": "yes_no", "title": "Secret"},
    {"key": "plan", "type": "file", "title": "Plan"},
]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, ["abstract"]),
        ({"abstract": "x" * 11}, ["abstract"]),
        ({"abstract": "a\nb"}, ["abstract"]),
        ({"abstract": "ok", "field": "art"}, ["field"]),
        ({"abstract": "ok", "nodes": 9}, ["nodes"]),
        ({"abstract": "ok", "nodes": True}, ["nodes"]),
        ({"abstract": "ok", "nodes": "NaN"}, ["nodes"]),
        ({"abstract": "ok", "since": "2026-13-01"}, ["since"]),
        ({"abstract": "ok", "secret": "yes"}, ["secret"]),
        ({"abstract": "ok", "plan": 1}, ["plan"]),
        ({"abstract": "ok", "other": 1}, ["other"]),
    ],
)
def test_submit__answers_do_not_fit_the_form__are_refused_by_field(
    grants: Grants, values: dict[str, Any], wrong: list[str]
) -> None:
    services.set_form(
        workspace=grants.north, recipient=Recipient.PERSONAL, fields=FIELDS, by=grants.north_owner, at=grants.at
    )
    with pytest.raises(DomainError) as refusal:
        grants.apply(answers=(Answers(grants.north.pk, values),))
    assert refusal.value.code == "invalid_answers"
    assert list(refusal.value.facts["errors"]) == wrong


def test_submit__form_changed_meanwhile__is_held_against_the_version_that_was_filled_in(grants: Grants) -> None:
    facts = {"workspace": grants.north, "recipient": Recipient.PERSONAL, "by": grants.north_owner, "at": grants.at}
    first = services.set_form(fields=FIELDS[:1], **facts)
    row = services.draft_application(
        recipient=Recipient.PERSONAL,
        workspace=grants.personal,
        wish=grants.wish(answers=(Answers(grants.north.pk, {"abstract": "old"}, 1),)),
        by=grants.applicant,
        at=grants.at,
    )
    services.set_form(fields=[{"key": "new", "type": "text", "title": "New", "required": True}], **facts)
    services.submit_application(application_id=row.pk, by=grants.applicant, at=grants.at)
    kept = FormAnswer.objects.get(revision__application=row)
    assert (kept.template, kept.values) == (first, {"abstract": "old"})
    assert (
        services.set_form(fields=[{"key": "new", "type": "text", "title": "New", "required": True}], **facts).version
        == 2
    )
    assert refused(lambda: grants.apply(answers=(Answers(grants.north.pk, {}, 9),))) == "form_unknown"
    assert refused(services.set_form, fields=[{"key": "x", "type": "html", "title": "X"}], **facts) == (
        "invalid_form_template"
    )


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "outcome"),
    [
        ("plan.pdf", b"%PDF-1.7 ...", "application/pdf"),
        ("../../etc/plan.PDF", b"%PDF-1.7", "application/pdf"),
        ("plan.pdf", b"<html>", "file_type_not_allowed"),
        ("page.html", b"<html>", "file_type_not_allowed"),
        ("run.svg", b"<svg>", "file_type_not_allowed"),
        ("a.txt", b"a\x00b", "file_type_not_allowed"),
        ("a.csv", "ä".encode("latin-1"), "file_type_not_allowed"),
        ("a.docx", _zip("word/document.xml"), "wordprocessingml"),
        ("a.docx", _zip("word/document.xml", "word/vbaProject.bin"), "file_type_not_allowed"),
        ("a.docx", b"PK\x03\x04", "file_type_not_allowed"),
        ("big.txt", b"a" * (10 * 2**20 + 1), "file_too_large"),
    ],
)
def test_attach__file__is_taken_for_what_its_bytes_are(grants: Grants, name: str, data: bytes, outcome: str) -> None:
    row = grants.apply()
    facts = {"application_id": row.pk, "name": name, "data": data, "by": grants.applicant, "at": grants.at}
    if "_" in outcome:
        assert refused(services.attach_file, **facts) == outcome
        return
    kept = services.attach_file(**facts)
    assert outcome in kept.content_type
    assert "/" not in kept.name
    assert bytes(kept.content.data) == data
    assert refused(services.attach_file, **{**facts, "by": grants.reviewer}) == "not_allowed"
    assert selectors.attachment_seen(kept.pk, grants.reviewer, grants.at) == kept
    assert refused(selectors.attachment_seen, pk=kept.pk, viewer=grants.stranger, at=grants.at) == (
        "attachment_not_found"
    )


def test_remove__file_of_a_draft__leaves_nothing_also_not_as_an_answer(grants: Grants) -> None:
    services.set_form(workspace=grants.north, recipient=Recipient.PERSONAL, fields=FIELDS, by=None, at=grants.at)
    facts = {"by": grants.applicant, "at": grants.at}
    row = services.draft_application(
        recipient=Recipient.PERSONAL, workspace=grants.personal, wish=grants.wish(), **facts
    )
    files = [services.attach_file(application_id=row.pk, name=f"{n}.txt", data=b"a", **facts) for n in "ab"]
    answers = (Answers(grants.north.pk, {"abstract": "ok", "nodes": files[1].pk % 8 + 1, "plan": files[0].pk}),)
    services.save_draft(application_id=row.pk, wish=grants.wish(answers=answers), **facts)
    services.remove_file(attachment_id=files[0].pk, **facts)
    assert list(Attachment.objects.values_list("name", flat=True)) == ["b.txt"]
    assert AttachmentContent.objects.count() == 1
    assert FormAnswer.objects.get().values == {"abstract": "ok", "nodes": files[1].pk % 8 + 1}
    assert refused(services.remove_file, attachment_id=files[0].pk, **facts) == "attachment_not_found"
    services.submit_application(application_id=row.pk, **facts)


def test_remove__file_of_what_was_submitted__leaves_a_mark_and_no_bytes(grants: Grants) -> None:
    services.set_form(workspace=grants.north, recipient=Recipient.PERSONAL, fields=FIELDS, by=None, at=grants.at)
    facts = {"by": grants.applicant, "at": grants.at}
    row = services.draft_application(
        recipient=Recipient.PERSONAL, workspace=grants.personal, wish=grants.wish(), **facts
    )
    plan, other = (services.attach_file(application_id=row.pk, name=f"{n}.txt", data=b"a", **facts) for n in "ab")
    answers = (Answers(grants.north.pk, {"abstract": "ok", "plan": plan.pk}),)
    services.save_draft(application_id=row.pk, wish=grants.wish(answers=answers), **facts)
    services.submit_application(application_id=row.pk, **facts)
    assert refused(services.remove_file, attachment_id=plan.pk, **facts) == "file_answers"
    for person, code in ((grants.reviewer, "not_allowed"), (grants.stranger, "attachment_not_found")):
        assert refused(services.remove_file, attachment_id=other.pk, by=person, at=grants.at) == code
    assert AttachmentContent.objects.count() == 2
    services.remove_file(attachment_id=other.pk, **facts)
    other.refresh_from_db()
    assert (other.removed_by, other.removed_at) == (grants.applicant, grants.at)
    assert list(AttachmentContent.objects.values_list("attachment__name", flat=True)) == ["a.txt"]
    for call in (
        services.remove_file,
        lambda attachment_id, **_facts: selectors.attachment_seen(attachment_id, *facts.values()),
    ):
        assert refused(call, attachment_id=other.pk, **facts) == "attachment_not_found"
    # It is no answer any more, and another may take its place among twenty.
    wrong = (Answers(grants.north.pk, {"abstract": "ok", "plan": other.pk}),)
    assert refused(lambda: revise(grants, row, answers=wrong)) == "invalid_answers"
    revise(grants, row, answers=(Answers(grants.north.pk, {"abstract": "ok"}),))
    services.remove_file(attachment_id=plan.pk, **facts)
    services.withdraw_application(application_id=row.pk, **facts)
    third = Attachment.objects.create(application=row, name="c", size_bytes=1, **facts)
    assert refused(services.remove_file, attachment_id=third.pk, **facts) == "application_step_not_open"


def test_files__by_rest_and_page__follow_the_same_rules(grants: Grants) -> None:
    row = grants.apply()
    client, reviewer = Client(), Client()
    client.force_login(grants.applicant)
    reviewer.force_login(grants.reviewer)
    path = f"/api/v1/grants/applications/{row.pk}/files"
    with stated_time(grants.at):
        for name in ("a.txt", "b.txt"):
            body = {"name": name, "content": "YQ=="}
            assert client.post(path, body, content_type="application/json").status_code == 201
        listed = reviewer.get(f"{path}?limit=1").json()
        assert (listed["total"], [one["name"] for one in listed["items"]]) == (2, ["a.txt"])
        first, second = Attachment.objects.order_by("pk")
        assert reviewer.delete(f"/api/v1/grants/files/{first.pk}").json()["code"] == "not_allowed"
        assert client.delete(f"/api/v1/grants/files/{first.pk}").status_code == 204
        assert client.delete(f"/api/v1/grants/files/{first.pk}").json()["code"] == "attachment_not_found"
        assert [one["removed_at"] for one in client.get(path).json()["items"]] == ["2026-11-21T12:00:00Z", None]
        assert reviewer.post(f"/application-files/{second.pk}/remove/").status_code == 403
        assert client.post(f"/application-files/{second.pk}/remove/").url == f"/applications/{row.pk}/"
        shown = reviewer.get(f"/applications/{row.pk}/").content.decode()
        assert shown.count("removed by Ada Applicant") == 2
        assert client.get(f"/application-files/{second.pk}/").status_code == 404


# ------------------------------------------------------------------------------------------------ rules, tokens
def rule(grants: Grants, **more: Any) -> list[Any]:
    facts: dict[str, Any] = {"recipients": ("personal",), "limits": {grants.cpu.pk: 10 * HOUR}, "enabled": True, **more}
    return services.set_rules(workspace=grants.north, rules=[Rule(**facts)], by=grants.north_owner, at=grants.at)


def test_rules__amount_within_the_limit__is_awarded_at_once_in_its_words(grants: Grants) -> None:
    rule(grants)
    row = grants.apply((grants.north, grants.cpu, 10 * HOUR))
    assert states_of(row)[0] == "approved"
    said = Decision.objects.get(application=row, what="automatic")
    assert said.by is None
    assert said.reason == "For a personal workspace, up to 10 core-hours (CPU on Thor) is approved at once."


@pytest.mark.parametrize(
    ("ticks", "more"),
    [
        (11 * HOUR, {}),
        (10 * HOUR, {"enabled": False}),
        (10 * HOUR, {"recipients": ("new_project",)}),
        (10 * HOUR, {"keeps_percent": 100}),
    ],
)
def test_rules__beyond_what_they_say__a_reviewer_decides(grants: Grants, ticks: int, more: dict[str, Any]) -> None:
    rule(grants, **more)
    row = grants.apply((grants.north, grants.cpu, ticks))
    assert states_of(row) == ("submitted", {grants.north.pk: "pending"})


def tried(grants: Grants, **more: Any) -> dict[int, tuple[str, ...]]:
    facts: dict[str, Any] = {"recipients": ("personal",), "limits": {grants.cpu.pk: 10 * HOUR}, **more}
    return {one.application.pk: one.why for one in selectors.try_rule(Rule(**facts), grants.north, grants.at)}


def decided(grants: Grants, *amounts: Any, **more: Any) -> Application:
    row = grants.apply(*amounts, **more)
    grants.approve(row, grants.north, grants.reviewer, at=more.get("at", grants.at) + timedelta(minutes=30))
    return row


def test_try_rule__past_applications__says_which_would_have_gone_through_and_why_not(grants: Grants) -> None:
    small, large = (decided(grants, (grants.north, grants.cpu, hours * HOUR)) for hours in (5, 50))
    both_kinds = decided(grants, (grants.north, grants.cpu, HOUR), (grants.north, grants.disk, 5))
    project = decided(grants, (grants.north, grants.cpu, HOUR), project_name="Lattice")
    assert tried(grants) == {
        project.pk: ("It is for a new project; the rule is for a personal workspace.",),
        both_kinds.pk: ("The rule says nothing of Storage on Thor.",),
        large.pk: ("CPU on Thor: 50 core-hours are asked, the rule lets through 10.",),
        small.pk: (),
    }
    (one,) = (t for t in selectors.try_rule(Rule(("personal",), {grants.cpu.pk: HOUR}), grants.north, grants.at)
              if t.application == small)  # fmt: skip
    assert (one.state, one.is_by_rule, one.revision, one.fits) == ("approved", False, 1, False)
    assert refused(lambda: rule(grants, limits={10**6: 1})) == "rule_not_possible"


def test_try_rule__quota_that_has_to_stay_free__is_counted_as_it_was_then(grants: Grants) -> None:
    limits = {grants.cpu.pk: 1_000_000 * HOUR}
    first = decided(grants, (grants.north, grants.cpu, 400_000 * HOUR))
    second = decided(grants, (grants.north, grants.cpu, 500_000 * HOUR), at=grants.at + timedelta(hours=1))
    assert tried(grants, limits=limits, keeps_percent=60) == {
        second.pk: ("CPU on Thor: 100000 core-hours would stay free, and 600000 have to.",),
        first.pk: (),
    }
    # What was given since then, and what was closed since, does not change what was free then.
    revoke = {"application_id": first.pk, "giver": grants.north, "reason": "Over.", "by": grants.reviewer}
    services.revoke_grant(at=grants.at + timedelta(hours=2), **revoke)
    assert tried(grants, limits=limits, keeps_percent=60)[second.pk] != ()
    assert tried(grants, limits=limits, keeps_percent=10) == {second.pk: (), first.pk: ()}


def test_try_rule__who_may_ask__is_taken_from_the_lists_of_today(grants: Grants) -> None:
    first = decided(grants, (grants.north, grants.cpu, HOUR))
    second = decided(grants, (grants.north, grants.cpu, HOUR), at=grants.at + timedelta(hours=1))
    other = decided(grants, (grants.north, grants.cpu, HOUR), by=grants.stranger)
    services.set_giver(
        workspace=grants.north,
        is_open=True,
        lines=[Line("allow", "mail_domain", "nowhere.example")],
        by=None,
        at=grants.at,
    )
    assert tried(grants) == {
        other.pk: ("Today Sten Stranger could not ask this giver at all.",),
        second.pk: (),  # drew from it already
        first.pk: ("Today Ada Applicant could not ask this giver at all.",),
    }


def test_try_rule__changed_by_the_giver__is_tried_as_the_applicant_sent_it(grants: Grants) -> None:
    changed = grants.apply((grants.north, grants.cpu, 50 * HOUR), allows_reductions=True)
    change(grants, changed, 5 * HOUR)
    grants.approve(changed, grants.north, grants.reviewer)
    revised = grants.apply((grants.north, grants.cpu, 50 * HOUR))
    revise(grants, revised, (grants.north, grants.cpu, 5 * HOUR))
    grants.approve(revised, grants.north, grants.reviewer)
    rows = selectors.try_rule(Rule(("personal",), {grants.cpu.pk: 10 * HOUR}), grants.north, grants.at)
    assert [(one.application.pk, one.revision, one.why) for one in rows] == [
        (revised.pk, 2, ()),
        (changed.pk, 1, ("CPU on Thor: 50 core-hours are asked, the rule lets through 10.",)),
    ]
    handed = grants.apply((grants.south, grants.cpu, HOUR))
    services.hand_over(application_id=handed.pk, giver=grants.south, to=grants.north, revision=1, message="Yours.",
                       by=grants.south_owner, at=grants.at)  # fmt: skip
    grants.approve(handed, grants.north, grants.reviewer)
    assert tried(grants)[handed.pk] == ("Another giver handed it over; rules look at what applicants send.",)


def test_try_rule__what_it_says__is_what_the_rule_does(grants: Grants) -> None:
    """The trial and the rule are one function: what the trial lets through is let through, and nothing else."""
    facts = {"limits": {grants.cpu.pk: 600_000 * HOUR}, "keeps_percent": 30}
    rule(grants, **facts)
    rows = [grants.apply((grants.north, grants.cpu, hours * HOUR)) for hours in (300_000, 300_000, 200_000)]
    rows.append(grants.apply((grants.north, grants.cpu, 700_000 * HOUR)))
    states = {row.pk: states_of(row)[0] for row in rows}
    assert list(states.values()) == ["approved", "approved", "submitted", "submitted"]
    for row in rows[2:]:
        reject = {
            "application_id": row.pk,
            "giver": grants.north,
            "revision": 1,
            "reason": "No.",
            "by": grants.reviewer,
        }
        services.reject_part(at=grants.at, **reject)
    said = selectors.try_rule(Rule(("personal",), **facts), grants.north, grants.at)
    assert {one.application.pk: one.fits for one in said} == {pk: state == "approved" for pk, state in states.items()}
    assert {one.is_by_rule for one in said if one.fits} == {True}


def test_try_rule__many__costs_as_many_queries_as_one(grants: Grants) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as caught:
            tried(grants, keeps_percent=10)
        return len(caught)

    decided(grants, (grants.north, grants.cpu, HOUR))
    few = count()
    for name in ("A", "B", "C"):
        decided(grants, (grants.north, grants.cpu, HOUR), project_name=name)
        decided(grants, (grants.north, grants.cpu, HOUR), by=grants.stranger)
    assert count() == few


def test_try_rule__by_rest_and_page__says_the_same_words(grants: Grants) -> None:
    large = decided(grants, (grants.north, grants.cpu, 50 * HOUR))
    client = Client()
    client.force_login(grants.north_owner)
    why = "CPU on Thor: 50 core-hours are asked, the rule lets through 10."
    with stated_time(grants.at):
        body = {"recipients": ["personal"], "limits": {str(grants.cpu.pk): 10 * HOUR}}
        answer = client.post(
            f"/api/v1/grants/givers/{grants.north.pk}/rules/try", body, content_type="application/json"
        )
        told = {"application_id": large.pk, "state": "approved", "is_by_rule": False, "revision": 1}
        assert answer.json() == [{**told, "fits": False, "why": [why]}]
        sent = {"recipients": "personal", f"limit-{grants.cpu.pk}": "10", "keeps_percent": "0", "go": "try"}
        assert why in client.post(f"/grants/givers/{grants.north.pk}/rules/", sent).content.decode()


def test_token__without_the_scope__reads_but_does_not_apply_or_judge(grants: Grants) -> None:
    row = grants.apply()
    grants.reviewer.limits = TokenLimits(frozenset({TokenScope.READ}))
    assert selectors.application_seen(row.pk, grants.reviewer, grants.at) == row
    assert refused(grants.approve, row=row, giver=grants.north, by=grants.reviewer) == "token_too_narrow"
    grants.applicant.limits = TokenLimits(frozenset({TokenScope.READ}))
    assert selectors.application_seen(row.pk, grants.applicant, grants.at) == row
    assert refused(services.withdraw_application, application_id=row.pk, by=grants.applicant, at=grants.at) in {
        "token_too_narrow",
        "not_allowed",
    }
    assert refused(grants.apply, project_name="x") == "token_too_narrow"


# ------------------------------------------------------------------------------------------------ after the award
def test_revoke__grant_with_a_reason__closes_the_givers_allocations_only(grants: Grants) -> None:
    row = both(grants)
    grants.approve(row, grants.north, grants.reviewer)
    grants.approve(row, grants.south, grants.south_owner)
    facts = {"application_id": row.pk, "giver": grants.north, "by": grants.reviewer, "at": grants.at}
    assert refused(services.revoke_grant, reason=" ", **facts) == "grant_reason_missing"
    assert services.revoke_grant(reason="The project has ended.", **facts) == 1
    assert given_to(grants.personal) == {("CPU on Thor", grants.south.pk): 20 * HOUR}
    assert refused(services.revoke_grant, reason="again", **facts) == "nothing_to_revoke"
    assert Decision.objects.filter(application=row, what="revoked").values_list("reason", flat=True).get() == (
        "The project has ended."
    )


def test_apply__top_up_of_a_project__is_awarded_to_the_project(grants: Grants) -> None:
    first = grants.apply(project_name="Lattice")
    grants.approve(first, grants.north, grants.reviewer)
    first.refresh_from_db()
    assert first.workspace is not None
    top_up = services.draft_application(
        recipient=Recipient.PROJECT,
        workspace=first.workspace,
        wish=grants.wish((grants.north, grants.cpu, 7 * HOUR)),
        follows=first,
        by=grants.applicant,
        at=grants.at,
    )
    services.submit_application(application_id=top_up.pk, by=grants.applicant, at=grants.at)
    grants.approve(top_up, grants.north, grants.reviewer)
    assert given_to(first.workspace) == {("CPU on Thor", grants.north.pk): 107 * HOUR}
    (earlier,) = selectors.details(top_up.pk, grants.reviewer, grants.at).earlier
    assert (earlier.application, [g.allocation.quota_ticks for g in earlier.granted]) == (first, [100 * HOUR])


# ------------------------------------------------------------------------------------------------ gifts
def offer(grants: Grants, **more: Any) -> Gift:
    facts: dict[str, Any] = {
        "workspace": grants.north,
        "title": "Fifty core-hours",
        "amounts": {grants.cpu.pk: 50 * HOUR},
        "start": grants.at,
        "end": grants.at + timedelta(days=360),
        "claims_max": 2,
        "every_months": 6,
        "lines": [Line("allow", "mail_domain", "uni.example")],
        "by": grants.north_owner,
        "at": grants.at,
        **more,
    }
    return services.offer_gift(**facts)


def test_claim__gift__once_a_period_until_its_cap(grants: Grants) -> None:
    gift = offer(grants)
    claim = {"gift_id": gift.pk, "by": grants.applicant}
    assert [(o.gift.pk, o.is_taken) for o in selectors.gifts_for(grants.applicant, grants.at)] == [(gift.pk, False)]
    assert selectors.gifts_for(grants.stranger, grants.at) == []
    services.claim_gift(at=grants.at, **claim)
    assert refused(services.claim_gift, at=grants.at + timedelta(days=30), **claim) == "gift_taken"
    later = grants.at + timedelta(days=190)
    services.claim_gift(at=later, **claim)
    assert refused(services.claim_gift, gift_id=gift.pk, by=grants.reviewer, at=later) == "gift_used_up"
    assert refused(services.claim_gift, gift_id=gift.pk, by=grants.stranger, at=later) == "gift_not_found"
    assert GiftClaim.objects.count() == 2
    ends = Allocation.objects.filter(wallet__workspace=grants.personal).order_by("id").values_list("end", flat=True)
    assert list(ends) == [datetime(2027, 5, 21, 12, tzinfo=grants.at.tzinfo), gift.end]


def test_claim__more_than_the_giver_holds__is_refused_and_not_counted(grants: Grants) -> None:
    gift = offer(grants, amounts={grants.cpu.pk: 600_000 * HOUR})
    services.claim_gift(gift_id=gift.pk, by=grants.applicant, at=grants.at)
    assert refused(services.claim_gift, gift_id=gift.pk, by=grants.reviewer, at=grants.at) == "beyond_what_is_held"
    gift.refresh_from_db()
    assert (gift.claimed, GiftClaim.objects.count()) == (1, 1)
    services.close_gift(gift_id=gift.pk, by=grants.north_owner, at=grants.at)
    assert refused(services.claim_gift, gift_id=gift.pk, by=grants.south_owner, at=grants.at) == "gift_not_found"


def test_offer__gift_without_the_right_or_the_quota__is_refused(grants: Grants) -> None:
    assert refused(offer, grants=grants, by=grants.reviewer) == "not_allowed"
    assert refused(offer, grants=grants, lines=[]) == "gift_not_possible"
    assert refused(offer, grants=grants, amounts={}) == "gift_not_possible"
    assert refused(offer, grants=grants, amounts={10**6: 1}) == "gift_not_possible"


def test_notices__each_step__are_jobs_for_those_whom_it_concerns(grants: Grants) -> None:
    row = both(grants)
    change(grants, row, 6 * HOUR)
    jobs = ProcrastinateJob.objects.filter(queue_name="mail").order_by("id")
    told = [(job.args["kind"], job.args["to_person_id"]) for job in jobs]
    assert sorted(told) == sorted(
        [
            ("application_submitted", grants.north_owner.pk),
            ("application_submitted", grants.reviewer.pk),
            ("application_submitted", grants.south_owner.pk),
            ("application_changed", grants.applicant.pk),
        ]
    )


def test_read__past_role__ends_with_the_membership(grants: Grants) -> None:
    row = grants.apply()
    later = grants.at + timedelta(days=1)
    held = Membership.objects.get(person=grants.reviewer)
    Membership.objects.filter(pk=held.pk).update(ended_at=later)
    assert refused(grants.approve, row=row, giver=grants.north, by=grants.reviewer, at=later) == "application_not_found"
