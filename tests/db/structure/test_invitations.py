from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.events.models import Event
from bursar.structure import selectors, services
from bursar.structure.errors import (
    AlreadyInvited,
    AlreadyMember,
    EmailNotVerified,
    ExpiryOutOfRange,
    InvalidEmail,
    InvestigatorHasNoEnd,
    InvitationClosed,
    InvitationForOther,
    InvitationUnknown,
    InviterMayNot,
    NotWithToken,
    ProjectClosed,
    RoleTooHigh,
    SentJustNow,
    UntilNotAfterStart,
)
from bursar.structure.lifecycle import InvitationState
from bursar.structure.models import Invitation, Membership
from bursar.structure.roles import NotAllowed, Role, TokenLimits, TokenScope
from tests.factories.structure import make_membership, make_organization, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def pi():
    return make_person(full_name="Pia")


@pytest.fixture
def project(pi):
    return make_project(pi=pi)


@pytest.fixture
def sent(project, pi, at):
    return services.invite(email="New@Example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)


def everything() -> list[list[dict]]:
    return [list(model.objects.order_by("pk").values()) for model in (Invitation, Membership, Event, ProcrastinateJob)]


def test_invite__row__holds_the_hash_and_two_weeks(sent, at) -> None:
    row = sent.invitation
    assert (row.email, row.role, row.expires_at, row.sent_at) == (
        "new@example.org",
        "project_member",
        at + timedelta(days=14),
        at,
    )
    assert len(sent.token) == 43
    assert row.token_hash != sent.token
    assert selectors.invitation_by_token(sent.token) == row
    assert row.state(at) == InvitationState.OPEN
    assert row.state(at + timedelta(days=14)) == InvitationState.EXPIRED


@pytest.mark.parametrize("case", range(9))
def test_invite__refused__nothing_changes(case, project, pi, sent, at) -> None:
    member = make_membership(scope=project).person
    manager = make_membership(role=Role.PROJECT_MANAGER, scope=project).person
    ended = make_project(pi=pi, end=at)
    usual = {"email": "x@example.org", "role": Role.PROJECT_MEMBER, "scope": project, "by": pi}
    expected, change = [
        (NotAllowed, {"by": member}),
        (RoleTooHigh, {"by": manager, "role": Role.PRINCIPAL_INVESTIGATOR}),
        (InvalidEmail, {"email": "nobody"}),
        (AlreadyInvited, {"email": "NEW@example.org"}),
        (AlreadyMember, {"email": member.email.upper()}),
        (ExpiryOutOfRange, {"days": 91}),
        (UntilNotAfterStart, {"member_until": at}),
        (InvestigatorHasNoEnd, {"role": Role.PRINCIPAL_INVESTIGATOR, "member_until": at + timedelta(days=3)}),
        (ProjectClosed, {"scope": ended}),
    ][case]
    before = everything()
    with pytest.raises(expected):
        services.invite(**{**usual, **change}, at=at)
    assert everything() == before


def test_invite__again_after_expiry__takes_its_place(sent, project, pi, at) -> None:
    later = at + timedelta(days=15)
    again = services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=later)
    sent.invitation.refresh_from_db()
    assert sent.invitation.state(later) == InvitationState.REVOKED
    assert again.invitation.state(later) == InvitationState.OPEN


def test_accept__with_the_invited_address__gives_the_role(sent, project, pi, at) -> None:
    person = make_person("new@example.org")
    row = services.accept_invitation(token=sent.token, by=person, at=at)
    assert (row.person, row.role, row.project, row.created_by) == (person, "project_member", project, pi)
    sent.invitation.refresh_from_db()
    assert (sent.invitation.accepted_at, sent.invitation.accepted_by) == (at, person)
    assert list(Event.objects.order_by("-id").values_list("kind", flat=True)[:2]) == [
        "membership.given",
        "invitation.accepted",
    ]
    kinds = ProcrastinateJob.objects.order_by("id").values_list("args__kind", "args__to_person_id")
    assert list(kinds)[-1] == ("invitation_accepted", pi.pk)


def test_accept__with_a_membership_end__ends_then(project, pi, at) -> None:
    until = at + timedelta(days=100)
    sent = services.invite(
        email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, member_until=until, by=pi, at=at
    )
    assert services.accept_invitation(token=sent.token, by=make_person("new@example.org"), at=at).until == until


def test_accept__twice__is_once(sent, at) -> None:
    person = make_person("new@example.org")
    first = services.accept_invitation(token=sent.token, by=person, at=at)
    before = everything()
    assert services.accept_invitation(token=sent.token, by=person, at=at) == first
    assert everything() == before


def test_accept__by_somebody_else_afterwards__is_refused(sent, at) -> None:
    services.accept_invitation(token=sent.token, by=make_person("new@example.org"), at=at)
    other = make_person()
    before = everything()
    with pytest.raises(InvitationClosed) as refusal:
        services.accept_invitation(token=sent.token, by=other, other_address=True, at=at)
    assert (refusal.value.state, refusal.value.inviter) == ("accepted", "Pia")
    assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_accept__twice_at_once__makes_one_member(at_once, at) -> None:
    project = make_project(pi=(pi := make_person()))
    sent = services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    person = make_person("new@example.org")
    outcomes = at_once(*[lambda: services.accept_invitation(token=sent.token, by=person, at=at)] * 2)
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], Membership)
    assert Membership.objects.filter(person=person).count() == 1
    assert Event.objects.filter(kind="invitation.accepted").count() == 1


@pytest.mark.django_db(transaction=True)
def test_accept__by_two_people_at_once__lets_one_in(at_once, at) -> None:
    project = make_project(pi=(pi := make_person()))
    sent = services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    first, second = make_person("new@example.org"), make_person()
    outcomes = at_once(
        lambda: services.accept_invitation(token=sent.token, by=first, at=at),
        lambda: services.accept_invitation(token=sent.token, by=second, other_address=True, at=at),
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InvitationClosed", "Membership"]
    assert Membership.objects.filter(project=project).count() == 2


@pytest.mark.django_db(transaction=True)
def test_accept__while_it_is_revoked__is_one_or_the_other(at_once, at) -> None:
    project = make_project(pi=(pi := make_person()))
    sent = services.invite(email="new@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    person = make_person("new@example.org")
    outcomes = at_once(
        lambda: services.accept_invitation(token=sent.token, by=person, at=at),
        lambda: services.revoke_invitation(invitation=sent.invitation, by=pi, at=at),
    )
    names = {type(outcome).__name__ for outcome in outcomes}
    assert names in ({"Membership", "InvitationClosed"}, {"InvitationClosed", "Invitation"})
    row = Invitation.objects.get()
    assert (row.accepted_at is None) is (not Membership.objects.filter(person=person).exists())


def test_accept__with_another_verified_address__only_when_said(sent, at) -> None:
    person = make_person("other@example.org")
    before = everything()
    with pytest.raises(InvitationForOther) as refusal:
        services.accept_invitation(token=sent.token, by=person, at=at)
    assert refusal.value.facts == {"email": "new@example.org", "own": "other@example.org"}
    assert everything() == before
    row = services.accept_invitation(token=sent.token, by=person, other_address=True, at=at)
    assert row.person == person


def test_accept__with_a_second_verified_address__needs_no_saying(sent, at) -> None:
    person = make_person("other@example.org")
    EmailAddress.objects.create(user=person, email="new@example.org", verified=True)
    assert services.accept_invitation(token=sent.token, by=person, at=at).person == person


@pytest.mark.parametrize("email", ["new@example.org", "other@example.org"])
def test_accept__with_an_unverified_address__is_refused(sent, email, at) -> None:
    person = make_person(email, verified=False)
    before = everything()
    with pytest.raises(EmailNotVerified):
        services.accept_invitation(token=sent.token, by=person, other_address=True, at=at)
    assert everything() == before


@pytest.mark.parametrize("how", ["expired", "revoked", "declined"])
def test_accept__no_longer_open__is_refused(sent, pi, how, at) -> None:
    person = make_person("new@example.org")
    when = at + timedelta(days=14) if how == "expired" else at
    if how == "revoked":
        services.revoke_invitation(invitation=sent.invitation, by=pi, at=at)
    if how == "declined":
        services.decline_invitation(token=sent.token, by=None, at=at)
    with pytest.raises(InvitationClosed) as refusal:
        services.accept_invitation(token=sent.token, by=person, at=when)
    assert refusal.value.state == how
    assert not Membership.objects.filter(person=person).exists()


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "\x00", "x" * 10_000])
def test_accept__unknown_token__is_refused(sent, token, at) -> None:
    with pytest.raises(InvitationUnknown):
        services.accept_invitation(token=token, by=make_person("new@example.org"), at=at)


def test_accept__inviter_lost_the_right_meanwhile__is_refused(sent, project, pi, at) -> None:
    services.hand_over_project(project=project, to=make_person(), former_role=None, by=pi, at=at)
    with pytest.raises(InviterMayNot) as refusal:
        services.accept_invitation(token=sent.token, by=make_person("new@example.org"), at=at)
    assert refusal.value.inviter == "Pia"
    assert sent.invitation.state(at) == InvitationState.OPEN


def test_accept__project_ended_meanwhile__is_refused(sent, project, at) -> None:
    services.end_project(project=project, end=at, by=None, at=at)
    with pytest.raises(ProjectClosed):
        services.accept_invitation(token=sent.token, by=make_person("new@example.org"), at=at)


def test_accept__by_who_already_holds_more__keeps_it(project, pi, at) -> None:
    manager = make_person("m@example.org")
    sent = services.invite(email="m@example.org", role=Role.PROJECT_MEMBER, scope=project, by=pi, at=at)
    held = make_membership(person=manager, role=Role.PROJECT_MANAGER, scope=project)
    assert services.accept_invitation(token=sent.token, by=manager, at=at) == held
    assert sent.invitation.__class__.objects.get().accepted_by == manager


def test_accept__as_investigator__takes_the_project_over(project, pi, at) -> None:
    sent = services.invite(email="new@example.org", role=Role.PRINCIPAL_INVESTIGATOR, scope=project, by=pi, at=at)
    heir = make_person("new@example.org")
    services.accept_invitation(token=sent.token, by=heir, at=at)
    held = {m.person: m.role for m in Membership.objects.held_at(at).filter(project=project)}
    assert held == {heir: "principal_investigator", pi: "project_manager"}


def test_accept__without_the_link__only_with_the_invited_address(sent, at) -> None:
    person, other = make_person("new@example.org"), make_person()
    assert list(selectors.invitations_for(person, at)) == [sent.invitation]
    assert list(selectors.invitations_for(other, at)) == []
    with pytest.raises(InvitationForOther):
        services.accept_invitation(invitation=sent.invitation, by=other, other_address=True, at=at)
    with pytest.raises(InvitationForOther):
        services.decline_invitation(invitation=sent.invitation, by=other, at=at)
    assert services.accept_invitation(invitation=sent.invitation, by=person, at=at).person == person
    assert list(selectors.invitations_for(person, at)) == []


def test_accept__with_an_api_token__is_refused(sent, at) -> None:
    person = make_person("new@example.org")
    person.limits = TokenLimits(frozenset(TokenScope))
    with pytest.raises(NotWithToken):
        services.accept_invitation(token=sent.token, by=person, at=at)


def test_resend__new_link__and_the_old_one_is_dead(sent, pi, at) -> None:
    with pytest.raises(SentJustNow):
        services.resend_invitation(invitation=sent.invitation, by=pi, at=at + timedelta(seconds=59))
    later = at + timedelta(days=20)
    again = services.resend_invitation(invitation=sent.invitation, by=pi, at=later)
    assert again.invitation.expires_at == later + timedelta(days=14)
    person = make_person("new@example.org")
    with pytest.raises(InvitationUnknown):
        services.accept_invitation(token=sent.token, by=person, at=later)
    assert services.accept_invitation(token=again.token, by=person, at=later).person == person


def test_resend_or_revoke__by_a_member__is_refused(sent, project, at) -> None:
    member = make_membership(scope=project).person
    before = everything()
    for service in (services.resend_invitation, services.revoke_invitation):
        with pytest.raises(NotAllowed):
            service(invitation=sent.invitation, by=member, at=at + timedelta(hours=1))
    assert everything() == before


def test_decline__link_in_hand__tells_the_inviter(sent, pi, at) -> None:
    services.decline_invitation(token=sent.token, by=None, at=at)
    kinds = ProcrastinateJob.objects.order_by("id").values_list("args__kind", "args__to_person_id")
    assert list(kinds)[-1] == ("invitation_declined", pi.pk)


def test_constraints__second_open_invitation_and_two_ends__are_refused_by_the_database(sent, at) -> None:
    row = Invitation.objects.values().get()
    del row["id"]
    with pytest.raises(IntegrityError), transaction.atomic():
        Invitation.objects.create(**{**row, "email": "NEW@EXAMPLE.ORG", "token_hash": "other"})
    with pytest.raises(IntegrityError), transaction.atomic():
        Invitation.objects.update(accepted_at=at, revoked_at=at)


def test_invite__owner_of_a_new_organization__by_mail_or_at_once(at) -> None:
    from tests.factories.structure import make_operator

    operator, known = make_operator(), make_person("known@example.org")
    first = services.create_organization(name="A", owner_email="KNOWN@example.org", by=operator, at=at)
    assert [m.person for m in first.memberships.all()] == [known]
    second = services.create_organization(name="B", owner_email="new@example.org", by=operator, at=at)
    assert [(i.email, i.role) for i in second.invitations.all()] == [("new@example.org", "organization_owner")]
    with pytest.raises(InvalidEmail):
        services.create_organization(name="C", owner_email="nobody", by=operator, at=at)
    assert not make_organization("D").memberships.exists()
    assert sorted(o.name for o in type(first).objects.all()) == ["A", "B", "D"]
