from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from bursar.events.models import Event
from bursar.structure import services
from bursar.structure.errors import (
    AlreadyMember,
    InvestigatorHasNoEnd,
    InvestigatorMustHandOver,
    LastOperator,
    LastOwner,
    MembershipEnded,
    OrganizationArchived,
    PersonInactive,
    ProjectClosed,
    RoleNotForScope,
    RoleTooHigh,
    UntilNotAfterStart,
)
from bursar.structure.models import Membership
from bursar.structure.roles import NotAllowed, Permission, Role, may
from tests.factories.structure import (
    LONG_AGO,
    make_membership,
    make_operator,
    make_organization,
    make_person,
    make_project,
)

pytestmark = pytest.mark.django_db


def unchanged(before: list[dict]) -> bool:
    return before == list(Membership.objects.order_by("pk").values())


def rows() -> list[dict]:
    return list(Membership.objects.order_by("pk").values())


def told() -> list[str]:
    return list(Event.objects.order_by("id").values_list("kind", flat=True))


def test_give_membership__to_a_new_member__writes_row_and_event(at) -> None:
    project = make_project(pi=(pi := make_person()))
    person = make_person()
    row = services.give_membership(
        person=person, role=Role.PROJECT_MEMBER, scope=project, until=at + timedelta(days=9), by=pi, at=at
    )
    assert (row.start, row.until, row.created_by, row.ended_at) == (at, at + timedelta(days=9), pi, None)
    event = Event.objects.latest("id")
    assert (event.kind, event.actor_id, event.at, event.project_id, event.organization_id) == (
        "membership.given",
        pi.pk,
        at,
        project.pk,
        project.organization_id,
    )
    assert event.facts == {
        "person_id": person.pk,
        "role": "project_member",
        "until": (at + timedelta(days=9)).isoformat(),
    }


def test_give_membership__another_role_in_the_project__replaces_the_first(at) -> None:
    project = make_project()
    first = make_membership(scope=project)
    second = services.give_membership(person=first.person, role=Role.PROJECT_MANAGER, scope=project, by=None, at=at)
    first.refresh_from_db()
    assert first.ended_at == at
    assert [m.pk for m in Membership.objects.held_at(at).filter(person=first.person)] == [second.pk]


def test_give_membership__two_roles_in_an_organization__both_hold(at) -> None:
    organization = make_organization()
    person = make_person()
    make_membership(person=person, role=Role.BILLING_VIEWER, scope=organization)
    make_membership(person=person, role=Role.PROVIDER_MANAGER, scope=organization)
    assert Membership.objects.held_at(at).filter(person=person).count() == 2


def test_give_membership__again_after_it_ran_out__is_a_new_one(at) -> None:
    project = make_project()
    person = make_person()
    first = make_membership(person=person, scope=project, until=at - timedelta(days=1))
    second = services.give_membership(person=person, role=Role.PROJECT_MEMBER, scope=project, by=None, at=at)
    first.refresh_from_db()
    assert (first.ended_at, second.start) == (at - timedelta(days=1), at)


@pytest.mark.parametrize("case", range(11))
def test_give_membership__refused__nothing_changes(case: int, at) -> None:
    organization = make_organization(owner=make_person())
    pi, manager, member, manager_of_organization, stranger = (make_person() for _ in range(5))
    project = make_project(organization=organization, pi=pi)
    make_membership(person=manager, role=Role.PROJECT_MANAGER, scope=project)
    make_membership(person=member, scope=project)
    make_membership(person=manager_of_organization, role=Role.ORGANIZATION_MANAGER, scope=organization)
    inactive = make_person()
    services.deactivate_person(person=inactive, by=None, at=at)
    inactive.refresh_from_db()
    ended = make_project(organization=organization, pi=pi, end=at)
    usual = {"person": stranger, "role": Role.PROJECT_MEMBER, "scope": project, "by": pi}
    expected, change = [
        (NotAllowed, {"by": member}),
        (NotAllowed, {"by": stranger}),
        (RoleTooHigh, {"by": manager_of_organization, "role": Role.ORGANIZATION_OWNER, "scope": organization}),
        (RoleNotForScope, {"role": Role.ORGANIZATION_OWNER}),
        (RoleNotForScope, {"role": Role.PROJECT_MEMBER, "scope": organization, "by": None}),
        (AlreadyMember, {"person": member}),
        (PersonInactive, {"person": inactive}),
        (UntilNotAfterStart, {"until": at}),
        (InvestigatorMustHandOver, {"role": Role.PRINCIPAL_INVESTIGATOR}),
        (InvestigatorMustHandOver, {"person": pi}),
        (ProjectClosed, {"scope": ended}),
    ][case]
    before, events = rows(), told()
    with pytest.raises(expected):
        services.give_membership(**{**usual, **change}, at=at)
    assert unchanged(before)
    assert told() == events


def test_give_membership__manager_cannot_demote__what_he_may_not_give(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    manager = make_membership(role=Role.ORGANIZATION_MANAGER, scope=organization).person
    with pytest.raises(RoleTooHigh):
        services.end_membership(
            membership=Membership.objects.get(person=owner, organization=organization), by=manager, at=at
        )
    assert may(owner, Permission.EDIT_ORGANIZATION, organization, at)


def test_change_role__to_another__keeps_the_end(at) -> None:
    project = make_project(pi=(pi := make_person()))
    row = make_membership(scope=project, until=at + timedelta(days=5))
    fresh = services.change_role(membership=row, role=Role.PROJECT_MANAGER, by=pi, at=at)
    assert (fresh.role, fresh.until) == ("project_manager", at + timedelta(days=5))
    assert told()[-2:] == ["membership.ended", "membership.given"]


def test_change_membership__second_half_refused__first_half_undone(at) -> None:
    project = make_project(pi=(pi := make_person()))
    row = make_membership(scope=project)
    before = rows()
    with pytest.raises(UntilNotAfterStart):
        services.change_membership(
            membership=row, role=Role.PROJECT_MANAGER, until=at - timedelta(days=1), by=pi, at=at
        )
    assert unchanged(before)


def test_change_until__moved_and_taken_away__is_told(at) -> None:
    project = make_project(pi=(pi := make_person()))
    row = make_membership(scope=project)
    services.change_until(membership=row, until=at + timedelta(days=1), by=pi, at=at)
    services.change_until(membership=row, until=None, by=pi, at=at)
    row.refresh_from_db()
    assert row.until is None
    facts = Event.objects.filter(kind="membership.until_changed").order_by("id").values_list("facts", flat=True)
    assert [(f["before"], f["until"]) for f in facts] == [
        (None, (at + timedelta(days=1)).isoformat()),
        ((at + timedelta(days=1)).isoformat(), None),
    ]


def test_change_until__of_the_investigator_or_last_owner__is_refused(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    project = make_project(organization=organization, pi=owner)
    lead = Membership.objects.get(project=project)
    with pytest.raises(InvestigatorHasNoEnd):
        services.change_until(membership=lead, until=at + timedelta(days=1), by=owner, at=at)
    with pytest.raises(LastOwner):
        services.change_until(
            membership=Membership.objects.get(organization=organization), until=at + timedelta(days=1), by=owner, at=at
        )


def test_end_membership__of_oneself__is_leaving(at) -> None:
    project = make_project()
    row = make_membership(scope=project)
    services.end_membership(membership=row, by=row.person, at=at)
    row.refresh_from_db()
    assert (row.ended_at, row.ended_by) == (at, row.person)
    assert not may(row.person, Permission.VIEW_PROJECT, project, at)


def test_end_membership__of_others_without_the_role__is_refused(at) -> None:
    project = make_project()
    row, other = make_membership(scope=project), make_membership(scope=project)
    before = rows()
    with pytest.raises(NotAllowed):
        services.end_membership(membership=row, by=other.person, at=at)
    assert unchanged(before)


def test_end_membership__twice__is_refused(at) -> None:
    row = make_membership(scope=make_project())
    services.end_membership(membership=row, by=None, at=at)
    with pytest.raises(MembershipEnded):
        services.end_membership(membership=row, by=None, at=at)


def test_end_membership__last_owner_or_operator__is_refused(at) -> None:
    organization = make_organization(owner=make_person())
    operator = make_operator()
    before = rows()
    with pytest.raises(LastOwner):
        services.end_membership(membership=Membership.objects.get(organization=organization), by=None, at=at)
    with pytest.raises(LastOperator):
        services.end_membership(membership=Membership.objects.get(person=operator), by=operator, at=at)
    assert unchanged(before)
    # An owner whose time is up is none to count on.
    make_membership(role=Role.ORGANIZATION_OWNER, scope=organization, until=at + timedelta(days=1))
    with pytest.raises(LastOwner):
        services.end_membership(
            membership=Membership.objects.get(organization=organization, until=None), by=None, at=at
        )


def test_end_membership__of_the_investigator__is_refused(at) -> None:
    project = make_project(pi=(pi := make_person()))
    with pytest.raises(InvestigatorMustHandOver):
        services.end_membership(membership=Membership.objects.get(project=project), by=pi, at=at)


def test_hand_over__to_a_member__swaps_roles(at) -> None:
    project = make_project(pi=(pi := make_person()))
    heir = make_membership(scope=project).person
    services.hand_over_project(project=project, to=heir, by=pi, at=at)
    held = {m.person: m.role for m in Membership.objects.held_at(at).filter(project=project)}
    assert held == {heir: "principal_investigator", pi: "project_manager"}
    assert told()[-1] == "project.handed_over"


def test_hand_over__former_one_leaves__is_gone(at) -> None:
    project = make_project(pi=(pi := make_person()))
    heir = make_person()
    services.hand_over_project(project=project, to=heir, former_role=None, by=pi, at=at)
    assert [m.person for m in Membership.objects.held_at(at).filter(project=project)] == [heir]


def test_hand_over__by_a_manager_or_to_whom_it_is__is_refused(at) -> None:
    project = make_project(pi=(pi := make_person()))
    manager = make_membership(role=Role.PROJECT_MANAGER, scope=project).person
    before = rows()
    with pytest.raises(RoleTooHigh):
        services.hand_over_project(project=project, to=manager, by=manager, at=at)
    with pytest.raises(AlreadyMember):
        services.hand_over_project(project=project, to=pi, by=pi, at=at)
    with pytest.raises(RoleNotForScope):
        services.hand_over_project(project=project, to=manager, former_role=Role.BILLING_VIEWER, by=pi, at=at)
    assert unchanged(before)


def test_hand_over__from_a_person_shut_out__leaves_one_investigator(at) -> None:
    project = make_project(pi=(pi := make_person()))
    pi.is_active = False
    pi.save(update_fields=["is_active"])
    heir = make_person()
    services.hand_over_project(project=project, to=heir, by=None, at=at)
    assert [m.person for m in Membership.objects.held_at(at).filter(project=project)] == [heir]


@pytest.mark.django_db(transaction=True)
def test_hand_over__twice_at_once__leaves_exactly_one_investigator(at_once, at) -> None:
    project = make_project(pi=(pi := make_person()))
    first, second = make_person(), make_person()
    outcomes = at_once(
        lambda: services.hand_over_project(project=project, to=first, by=None, at=at),
        lambda: services.hand_over_project(project=project, to=second, by=None, at=at),
    )
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    held = Membership.objects.held_at(at).filter(project=project)
    assert held.filter(role=Role.PRINCIPAL_INVESTIGATOR).count() == 1
    assert {m.person for m in held} == {pi, first, second}


@pytest.mark.django_db(transaction=True)
def test_end_membership__both_last_owners_at_once__leaves_one(in_thread, at) -> None:
    organization = make_organization(owner=make_person())
    make_membership(role=Role.ORGANIZATION_OWNER, scope=organization)
    first, second = Membership.objects.filter(organization=organization)
    with transaction.atomic():
        services.end_membership(membership=first, by=None, at=at)
        other = in_thread(lambda: services.end_membership(membership=second, by=None, at=at))
        assert other.waits()  # for us to commit or give up
    assert isinstance(other.outcome(), LastOwner)
    assert Membership.objects.held_at(at).filter(organization=organization).count() == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"role": Role.PRINCIPAL_INVESTIGATOR},  # a second one
        {"role": Role.PRINCIPAL_INVESTIGATOR, "until": LONG_AGO.replace(year=2030)},
        {"role": Role.ORGANIZATION_OWNER},
        {"role": "king"},
        {"until": LONG_AGO},
    ],
)
def test_constraint__row_that_no_service_writes__is_refused_by_the_database(changed, at) -> None:
    project = make_project()
    row = {"person": make_person(), "role": Role.PROJECT_MEMBER, "project": project, "start": LONG_AGO}
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(**{**row, **changed})


def test_constraint__two_roles_in_one_project__are_refused_by_the_database() -> None:
    row = make_membership(scope=make_project())
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(person=row.person, role=Role.PROJECT_MANAGER, project=row.project, start=LONG_AGO)


def test_note_expired__past_its_end__is_told_once_at_that_instant(at) -> None:
    project = make_project()
    row = make_membership(scope=project, until=at - timedelta(hours=1))
    going_on = make_membership(scope=project, until=at + timedelta(hours=1))
    assert services.note_expired_memberships(at=at) == 1
    assert services.note_expired_memberships(at=at) == 0
    row.refresh_from_db()
    going_on.refresh_from_db()
    assert (row.ended_at, row.ended_by, going_on.ended_at) == (at - timedelta(hours=1), None, None)
    events = Event.objects.filter(kind="membership.ended", subject_id=row.pk)
    assert [e.facts["ended_at"] for e in events] == [(at - timedelta(hours=1)).isoformat()]


def test_give_membership__archived_organization__is_refused(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    services.archive_organization(organization=organization, by=None, at=at)
    with pytest.raises(OrganizationArchived):
        services.give_membership(person=make_person(), role=Role.BILLING_VIEWER, scope=organization, by=owner, at=at)
