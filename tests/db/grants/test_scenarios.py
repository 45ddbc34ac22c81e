"""The stories by which grants are known elsewhere, in our own words: who applies, who decides, what then is there."""

from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount

from bursar.accounting.services import revoke_allocation
from bursar.events.models import Event
from bursar.grants import selectors, services
from bursar.grants.admission import givers_for
from bursar.grants.models import Application, Award, Comment
from bursar.grants.selectors import Filters
from bursar.grants.services import Amount, Line
from bursar.kernel.errors import DomainError
from bursar.structure import services as structure
from bursar.structure.models import Membership, Project
from bursar.structure.roles import Role
from tests.factories.grants import HOUR, Grants, amounts_of, given_to, make_grants, project_with, states_of
from tests.factories.ledger import make_allocation
from tests.factories.structure import make_membership, make_organization, make_person, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> Grants:
    return standing(lambda: make_grants(at))


@pytest.fixture
def grants(made: Grants) -> Grants:
    return deepcopy(made)


def refused(call: Any, **facts: Any) -> str:
    """The code with which a call is refused; everything else fails the test."""
    with pytest.raises(DomainError) as refusal:
        call(**facts)
    return refusal.value.code


# ------------------------------------------------------------------------------------------------ the whole path
def test_award__new_project__makes_project_role_and_allocations(grants: Grants) -> None:
    row = grants.apply(
        (grants.north, grants.cpu, 100 * HOUR),
        (grants.north, grants.disk, 5),
        (grants.south, grants.cpu, 40 * HOUR),
        project_name="Lattice physics",
        members=("grace@uni.example",),
    )
    grants.approve(row, grants.north, grants.reviewer)
    assert states_of(row) == ("submitted", {grants.north.pk: "approved", grants.south.pk: "pending"})
    assert not Project.objects.filter(name="Lattice physics").exists()
    grants.approve(row, grants.south, grants.south_owner)
    row.refresh_from_db()
    project = Project.objects.get(name="Lattice physics")
    assert (row.state, row.workspace) == ("approved", make_workspace(project))
    assert project.organization == grants.north.organization
    held = Membership.objects.filter(project=project).values_list("person_id", "role")
    assert list(held) == [(grants.applicant.pk, Role.PRINCIPAL_INVESTIGATOR)]
    assert list(project.invitations.values_list("email", "role")) == [("grace@uni.example", Role.PROJECT_MEMBER)]
    assert given_to(make_workspace(project)) == {
        ("CPU on Thor", grants.north.pk): 100 * HOUR,
        ("Storage on Thor", grants.north.pk): 5,
        ("CPU on Thor", grants.south.pk): 40 * HOUR,
    }
    kinds = list(Event.objects.filter(subject_type="application").order_by("id").values_list("kind", flat=True))
    assert kinds == [
        "application.drafted",
        "application.submitted",
        "application.asked",
        "application.asked",
        "application.part_approved",
        "application.part_approved",
        "application.awarded",
    ]


def test_award__provider_as_giver__makes_root_allocation(grants: Grants) -> None:
    centre = make_workspace(grants.centre)
    seller = make_person()
    make_membership(person=seller, role=Role.PROVIDER_MANAGER, scope=grants.centre)
    services.set_giver(workspace=centre, is_open=True, lines=[Line("allow", "anyone")], by=seller, at=grants.at)
    row = grants.apply((centre, grants.cpu, 7 * HOUR))
    grants.approve(row, centre, seller)
    assert given_to(grants.personal) == {("CPU on Thor", 0): 7 * HOUR}


# ------------------------------------------------------------------------------------------------ G1, G2, G5, G12
def test_comment__on_an_application__is_kept_once(grants: Grants) -> None:  # G1
    row = grants.apply()
    services.comment_application(application_id=row.pk, text="test", by=grants.applicant, at=grants.at)
    seen = selectors.details(row.pk, grants.reviewer, grants.at).comments
    assert [(c.text, c.by_id) for c in seen] == [("test", grants.applicant.pk)]


def test_lists__submitter_who_also_judges__sees_it_once(grants: Grants) -> None:  # G2
    row = grants.apply(by=grants.north_owner)
    seen = selectors.applications_seen(grants.north_owner, grants.at)
    assert list(seen.values_list("pk", flat=True)) == [row.pk]
    assert list(selectors.queue(grants.reviewer, grants.at, Filters()).values_list("pk", flat=True)) == [row.pk]


def test_lists__open_and_closed__are_told_apart(grants: Grants) -> None:  # G5
    first, second = (grants.apply((grants.north, grants.cpu, hours * HOUR)) for hours in (10, 20))
    grants.approve(second, grants.north, grants.reviewer)
    for state, row in (("open", first), ("closed", second)):
        for listed in (selectors.queue, selectors.applications):
            viewer = grants.reviewer if listed is selectors.queue else grants.applicant
            assert [one.pk for one in listed(viewer, grants.at, Filters(state=state))] == [row.pk]


def test_lists__pages_of_one__hold_each_once(grants: Grants) -> None:  # G12
    made = [grants.apply().pk for _ in range(3)]
    rows = selectors.queue(grants.reviewer, grants.at, Filters())
    assert [[row.pk for row in rows[n : n + 1]] for n in range(4)] == [[made[2]], [made[1]], [made[0]], []]


# ------------------------------------------------------------------------------------------------ G3, G4, G9, G10, G22
def test_revise__after_the_award__is_refused(grants: Grants) -> None:  # G3
    row = grants.apply()
    grants.approve(row, grants.north, grants.reviewer)
    wish = grants.wish((grants.north, grants.cpu, 999 * HOUR), comment="more")
    code = refused(
        services.revise_application, application_id=row.pk, revision=1, wish=wish, by=grants.applicant, at=grants.at
    )
    assert code == "application_step_not_open"
    assert amounts_of(row) == {(grants.north.pk, grants.cpu.pk): 100 * HOUR}


def test_award__project_cannot_be_made__nothing_is_awarded(grants: Grants) -> None:  # G4
    row = grants.apply(project_name="Nobody's")
    structure.deactivate_person(person=grants.applicant, by=None, at=grants.at)
    assert refused(grants.approve, row=row, giver=grants.north, by=grants.reviewer) == "person_inactive"
    assert states_of(row) == ("submitted", {grants.north.pk: "pending"})
    assert not Award.objects.exists()
    assert not Project.objects.filter(name="Nobody's").exists()


def test_reject__one_of_two_givers__whole_falls_and_says_why(grants: Grants) -> None:  # G9
    row = grants.apply((grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 1000 * HOUR))
    grants.approve(row, grants.north, grants.reviewer)
    services.reject_part(
        application_id=row.pk, giver=grants.south, revision=1, reason="Too much.", by=grants.south_owner, at=grants.at
    )
    assert states_of(row) == ("rejected", {grants.north.pk: "approved", grants.south.pk: "rejected"})
    assert row.why == "University of South: Too much."
    assert given_to(grants.personal) == {}


def test_reject__parts_that_stand_alone__rest_is_awarded(grants: Grants) -> None:
    row = grants.apply(
        (grants.north, grants.cpu, 10 * HOUR), (grants.south, grants.cpu, 1000 * HOUR), is_separable=True
    )
    services.reject_part(
        application_id=row.pk, giver=grants.south, revision=1, reason="No.", by=grants.south_owner, at=grants.at
    )
    assert states_of(row) == ("submitted", {grants.north.pk: "pending", grants.south.pk: "rejected"})
    grants.approve(row, grants.north, grants.reviewer)
    assert states_of(row)[0] == "approved"
    assert given_to(grants.personal) == {("CPU on Thor", grants.north.pk): 10 * HOUR}


def test_approve__by_the_applicant__is_refused(grants: Grants) -> None:  # G10
    row = grants.apply()
    assert refused(grants.approve, row=row, giver=grants.north, by=grants.applicant) == "not_allowed"
    own = grants.apply(by=grants.north_owner)
    assert refused(grants.approve, row=own, giver=grants.north, by=grants.north_owner) == "own_application"
    assert states_of(own) == ("submitted", {grants.north.pk: "pending"})
    grants.approve(row, grants.north, grants.reviewer)
    assert states_of(row)[0] == "approved"


def test_steps__out_of_turn_or_by_the_wrong_person__are_refused(grants: Grants) -> None:  # G22
    project = project_with(make_person())
    member = make_person()
    make_membership(person=member, role=Role.PROJECT_MEMBER, scope=project)
    giver = make_workspace(project)
    make_allocation(
        giver,
        grants.cpu,
        100 * HOUR,
        source=grants.wallet(grants.north),
        start=grants.at,
        end=grants.at + timedelta(days=365),
        at=grants.at,
    )
    services.set_giver(workspace=giver, is_open=True, lines=[Line("allow", "anyone")], by=None, at=grants.at)
    row = grants.apply((giver, grants.cpu, HOUR))

    def approving(by: Any, giver: Any = giver, pk: int = row.pk, revision: int = 1) -> str:
        return refused(services.approve_part, application_id=pk, giver=giver, revision=revision, by=by, at=grants.at)

    pi = Membership.objects.get(project=project, role=Role.PRINCIPAL_INVESTIGATOR).person
    assert approving(pi, pk=row.pk + 1000) == "application_not_found"
    assert approving(member) == "application_not_found"  # a plain member reads nothing of it
    assert approving(grants.south_owner, giver=grants.south) == "application_not_found"
    assert approving(grants.applicant) == "not_allowed"
    assert approving(pi, giver=grants.south) == "not_allowed"
    assert approving(pi, revision=2) == "revision_outdated"
    code = refused(services.withdraw_application, application_id=row.pk, by=pi, at=grants.at)
    assert code == "not_allowed"  # a giver does not withdraw
    services.approve_part(application_id=row.pk, giver=giver, revision=1, by=pi, at=grants.at)
    facts = {"application_id": row.pk, "giver": giver, "revision": 1, "by": pi, "at": grants.at}
    assert refused(services.reject_part, reason="late", **facts) == "application_step_not_open"
    assert refused(services.approve_part, **facts) == "application_step_not_open"
    gone = grants.apply((giver, grants.cpu, HOUR))
    services.withdraw_application(application_id=gone.pk, by=grants.applicant, at=grants.at)
    assert approving(pi, pk=gone.pk) == "application_step_not_open"
    refusedly = grants.apply((giver, grants.cpu, HOUR))
    services.reject_part(application_id=refusedly.pk, giver=giver, revision=1, reason="no", by=pi, at=grants.at)
    assert approving(pi, pk=refusedly.pk) == "application_step_not_open"
    assert given_to(grants.personal) == {("CPU on Thor", giver.pk): HOUR}


# ------------------------------------------------------------------------------------------------ G6, G7
def test_withdraw_comment__stranger_author_reviewer__leaves_a_mark(grants: Grants) -> None:  # G6
    row = grants.apply()
    said = services.comment_application(application_id=row.pk, text="rude", by=grants.applicant, at=grants.at)
    code = refused(services.withdraw_comment, comment_id=said.pk, by=grants.stranger, at=grants.at)
    assert code == "application_not_found"
    services.withdraw_comment(comment_id=said.pk, by=grants.reviewer, at=grants.at)
    kept = Comment.objects.get(pk=said.pk)
    assert (kept.text, kept.withdrawn_by, kept.withdrawn_at) == ("", grants.reviewer, grants.at)
    by_reviewer = services.comment_application(application_id=row.pk, text="hm", by=grants.reviewer, at=grants.at)
    code = refused(services.withdraw_comment, comment_id=by_reviewer.pk, by=grants.applicant, at=grants.at)
    assert code == "not_allowed"


def test_comment__internal__is_not_for_the_applicant(grants: Grants) -> None:
    row = grants.apply()
    said = services.comment_application(
        application_id=row.pk, text="weak", is_internal=True, by=grants.reviewer, at=grants.at
    )
    facts = {"application_id": row.pk, "text": "x", "is_internal": True, "at": grants.at}
    assert refused(services.comment_application, by=grants.applicant, **facts) == "not_allowed"
    assert selectors.details(row.pk, grants.applicant, grants.at).comments == ()
    assert [c.pk for c in selectors.details(row.pk, grants.north_owner, grants.at).comments] == [said.pk]
    code = refused(services.withdraw_comment, comment_id=said.pk, by=grants.applicant, at=grants.at)
    assert code == "grant_comment_not_found"


def test_apply__to_itself__is_refused(grants: Grants) -> None:  # G7
    project = project_with(grants.applicant)
    giver = make_workspace(project)
    make_allocation(giver, grants.cpu, 100 * HOUR, start=grants.at, end=grants.end, at=grants.at)
    services.set_giver(workspace=giver, is_open=True, lines=[Line("allow", "anyone")], by=None, at=grants.at)
    assert refused(lambda: grants.apply((giver, grants.cpu, HOUR), workspace=giver)) == "asks_itself"


# ------------------------------------------------------------------------------------------------ G8, G19, G20, G21, G23
def hand_over(grants: Grants, row: Application, **more: Any) -> Any:
    facts = {
        "application_id": row.pk,
        "giver": grants.north,
        "to": grants.south,
        "revision": row.revision,
        "message": "Yours, I think.",
        "by": grants.reviewer,
        "at": grants.at,
        **more,
    }
    return services.hand_over(**facts)


def test_hand_over__whole_part__other_giver_decides_and_is_told(grants: Grants) -> None:  # G8
    row = grants.apply((grants.north, grants.cpu, 50 * HOUR), (grants.north, grants.disk, 3))
    hand_over(grants, row)
    assert states_of(row) == ("submitted", {grants.south.pk: "pending"})
    assert amounts_of(row) == {(grants.south.pk, grants.cpu.pk): 50 * HOUR, (grants.south.pk, grants.disk.pk): 3}
    assert [c.text for c in Comment.objects.filter(application=row)] == ["Yours, I think."]
    assert refused(selectors.application_seen, pk=row.pk, viewer=grants.reviewer, at=grants.at) == (
        "application_not_found"
    )
    assert [one.pk for one in selectors.queue(grants.south_owner, grants.at, Filters())] == [row.pk]
    grants.approve(row, grants.south, grants.south_owner)
    assert given_to(grants.personal)["CPU on Thor", grants.south.pk] == 50 * HOUR


def test_hand_over__to_whom_the_applicant_may_not_ask__is_refused(grants: Grants) -> None:  # G19
    services.set_giver(workspace=grants.south, is_open=True, lines=[], by=None, at=grants.at)
    row = grants.apply()
    assert refused(hand_over, grants=grants, row=row) == "not_admitted"
    assert states_of(row) == ("submitted", {grants.north.pk: "pending"})


def test_hand_over__to_who_lacks_a_part__names_it_and_drops_nothing(grants: Grants) -> None:  # G20
    south_disk = grants.wallet(grants.south, grants.disk).into.get()
    revoke_allocation(allocation=south_disk, by=None, at=grants.at)
    row = grants.apply((grants.north, grants.cpu, HOUR), (grants.north, grants.disk, 1))
    with pytest.raises(DomainError) as refusal:
        hand_over(grants, row)
    assert (refusal.value.code, refusal.value.facts["categories"]) == ("not_handed_over", "Storage on Thor")
    assert amounts_of(row) == {(grants.north.pk, grants.cpu.pk): HOUR, (grants.north.pk, grants.disk.pk): 1}


def test_hand_over__closed_or_without_right_or_to_itself__is_refused(grants: Grants) -> None:  # G21, G23
    row = grants.apply()
    for more, code in (
        ({"to": grants.north}, "hands_over_to_itself"),
        ({"message": " "}, "grant_reason_missing"),
        ({"by": grants.applicant}, "not_allowed"),
        ({"by": grants.stranger}, "application_not_found"),
        ({"application_id": row.pk + 99}, "application_not_found"),
        ({"giver": grants.south, "to": grants.north, "by": grants.south_owner}, "application_not_found"),
    ):
        assert refused(hand_over, grants=grants, row=row, **more) == code
    services.withdraw_application(application_id=row.pk, by=grants.applicant, at=grants.at)
    assert refused(hand_over, grants=grants, row=row) == "application_step_not_open"
    other = grants.apply()
    services.reject_part(
        application_id=other.pk, giver=grants.north, revision=1, reason="no", by=grants.reviewer, at=grants.at
    )
    assert refused(hand_over, grants=grants, row=other) == "application_step_not_open"


# ------------------------------------------------------------------------------------------------ G11, G13, G16, G17, G18
def asked_by(grants: Grants, person: Any) -> list[int]:
    return [giver.workspace.pk for giver in givers_for(person, make_workspace(person), grants.at)]


def test_givers__allow_and_never_lists__never_wins(grants: Grants) -> None:  # G11
    services.set_giver(workspace=grants.south, is_open=False, by=None, at=grants.at)
    services.set_giver(
        workspace=grants.north,
        is_open=True,
        lines=[Line("allow", "mail_domain", "Foo.example"), Line("never", "identity_provider", "bar-org")],
        by=None,
        at=grants.at,
    )
    fits, other, barred = (make_person(f"a@{domain}") for domain in ("foo.example", "x.example", "FOO.example.org"))
    EmailAddress.objects.create(user=barred, email="b@FOO.EXAMPLE", verified=True)
    unverified = make_person("late@foo.example", verified=False)
    SocialAccount.objects.create(user=barred, provider="bar-org", uid="1")
    SocialAccount.objects.create(user=fits, provider="x", uid="2")
    assert [asked_by(grants, one) for one in (fits, other, barred, unverified)] == [[grants.north.pk], [], [], []]
    row = grants.apply(by=fits)
    assert row.state == "submitted"
    assert refused(grants.apply, by=barred) == "not_admitted"


def test_givers__organization_line__looks_at_roles_held_now(grants: Grants) -> None:
    university = make_organization("Home of many")
    services.set_giver(
        workspace=grants.north,
        is_open=True,
        lines=[Line("allow", "organization", "", university)],
        by=None,
        at=grants.at,
    )
    person = make_person()
    assert grants.north.pk not in asked_by(grants, person)
    make_membership(person=person, role=Role.BILLING_VIEWER, scope=university)
    assert grants.north.pk in asked_by(grants, person)


def test_givers__description__is_seen_by_applicants(grants: Grants) -> None:  # G13
    services.set_giver(
        workspace=grants.north,
        is_open=True,
        description="updated",
        lines=[Line("allow", "anyone")],
        by=grants.north_owner,
        at=grants.at,
    )
    found = {g.workspace.pk: g for g in givers_for(grants.applicant, grants.personal, grants.at)}
    settings = found[grants.north.pk].settings
    assert settings is not None
    assert settings.description == "updated"
    facts = {"workspace": grants.north, "is_open": True, "at": grants.at}
    assert refused(services.set_giver, by=grants.reviewer, **facts) == "not_allowed"


def test_givers__source_of_the_recipient__may_be_asked_without_settings(grants: Grants) -> None:  # G16
    for giver in (grants.north, grants.south):
        services.set_giver(workspace=giver, is_open=False, by=None, at=grants.at)
    assert asked_by(grants, grants.applicant) == []
    make_allocation(
        grants.personal,
        grants.cpu,
        10 * HOUR,
        source=grants.wallet(grants.north),
        start=grants.at,
        end=grants.end,
        at=grants.at,
    )
    assert asked_by(grants, grants.applicant) == [grants.north.pk]
    assert grants.apply().state == "submitted"
    lines = [Line("never", "mail_domain", "uni.example")]
    services.set_giver(workspace=grants.north, is_open=False, lines=lines, by=None, at=grants.at)
    assert asked_by(grants, grants.applicant) == []


def test_apply__giver_holds_nothing_or_admits_nobody__is_refused(grants: Grants) -> None:  # G17, G18
    empty = make_workspace(make_organization("Empty"))
    services.set_giver(workspace=empty, is_open=True, lines=[Line("allow", "anyone")], by=None, at=grants.at)
    assert refused(lambda: grants.apply((empty, grants.cpu, HOUR))) == "not_offered"
    services.set_giver(workspace=grants.north, is_open=True, lines=[], by=None, at=grants.at)
    assert refused(lambda: grants.apply((grants.north, grants.cpu, HOUR))) == "not_admitted"
    services.set_giver(workspace=grants.south, is_open=False, lines=[Line("allow", "anyone")], by=None, at=grants.at)
    assert refused(lambda: grants.apply((grants.south, grants.cpu, HOUR))) == "not_admitted"


# ------------------------------------------------------------------------------------------------ G14, G15
@pytest.mark.parametrize("submitter", [Role.PRINCIPAL_INVESTIGATOR, Role.PROJECT_MANAGER])
def test_read__roles_in_the_recipient__managers_see_members_do_not(grants: Grants, submitter: Role) -> None:  # G14
    people = {role: make_person() for role in (Role.PROJECT_MANAGER, Role.PROJECT_MEMBER)}
    pi = make_person()
    project = project_with(pi, [(person, role) for role, person in people.items()])
    people[Role.PRINCIPAL_INVESTIGATOR] = pi
    workspace = make_workspace(project)
    row = grants.apply(workspace=workspace, by=people[submitter])
    for reader in (Role.PRINCIPAL_INVESTIGATOR, Role.PROJECT_MANAGER):
        assert selectors.application_seen(row.pk, people[reader], grants.at) == row
    for reader in (people[Role.PROJECT_MEMBER], grants.stranger, grants.south_owner):
        assert refused(selectors.application_seen, pk=row.pk, viewer=reader, at=grants.at) == "application_not_found"
    for outsider in (people[Role.PROJECT_MEMBER], grants.stranger):
        assert refused(grants.apply, workspace=workspace, by=outsider) == "not_allowed"


def test_submit__what_is_missing_or_wrong__is_named(grants: Grants) -> None:  # G15
    cpu, north = grants.cpu, grants.north
    cases: list[tuple[dict[str, Any], str]] = [
        ({"amounts": (Amount(north.pk, cpu.pk, -100),)}, "amount_not_possible"),
        ({"amounts": (Amount(north.pk, cpu.pk, 0),)}, "amount_not_possible"),
        ({"amounts": (Amount(north.pk, cpu.pk, 2**63),)}, "amount_not_possible"),
        ({"amounts": ()}, "nothing_asked"),
        ({"amounts": (Amount(north.pk, cpu.pk, 1), Amount(north.pk, cpu.pk, 2))}, "asked_twice"),
        ({"amounts": (Amount(north.pk, 0, 1),)}, "not_offered"),
        ({"amounts": (Amount(0, cpu.pk, 1),)}, "giver_not_found"),
        ({"end": None}, "period_missing"),
        ({"end": grants.at - timedelta(days=1)}, "period_not_possible"),
        ({"start": grants.end}, "period_not_possible"),
        ({"end": grants.at + timedelta(days=366)}, "not_offered_that_long"),
        ({"start": grants.at - timedelta(days=9), "end": grants.at + timedelta(days=366 * 11)}, "period_not_possible"),
    ]
    for more, code in cases:
        assert refused(grants.apply, **more) == code, more
    for name, code in (("", "recipient_missing"), ("\u202etxet", "text_not_allowed"), ("x" * 201, "text_too_long")):
        with pytest.raises(DomainError) as refusal:
            services.draft_application(
                recipient=selectors.Recipient.NEW_PROJECT,
                workspace=None if name else grants.personal,
                wish=grants.wish(project_name=name),
                by=grants.applicant,
                at=grants.at,
            )
        assert refusal.value.code == code
    bare = services.draft_application(
        recipient=selectors.Recipient.NEW_PROJECT, wish=grants.wish(), by=grants.applicant, at=grants.at
    )
    code = refused(services.submit_application, application_id=bare.pk, by=grants.applicant, at=grants.at)
    assert code == "project_name_missing"
    row = grants.apply()
    wish = grants.wish((north, cpu, 5 * HOUR))
    facts = {"application_id": row.pk, "revision": 1, "wish": wish, "by": grants.applicant, "at": grants.at}
    assert refused(services.revise_application, **facts) == "grant_reason_missing"
