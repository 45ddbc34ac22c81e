from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from bursar.events.models import Event
from bursar.structure import selectors, services
from bursar.structure.errors import (
    EmailTaken,
    InvalidValue,
    InvestigatorMustHandOver,
    LastOwner,
    NotFound,
    OrganizationArchived,
    OrganizationInUse,
    OutsideParent,
    PersonInactive,
    ProjectClosed,
    ProjectPeriod,
    ProjectStillOpen,
    ProjectTreeTooDeep,
    SlugTaken,
    SshKeyKnown,
    SubprojectsStillOpen,
    TooManySshKeys,
    TooManyTokens,
    UnknownScope,
)
from bursar.structure.lifecycle import ProjectState
from bursar.structure.models import Membership, Organization, Person, Project, Workspace
from bursar.structure.roles import NotAllowed, Permission, Role, may
from tests.factories.structure import (
    LONG_AGO,
    make_membership,
    make_operator,
    make_organization,
    make_person,
    make_project,
    make_workspace,
)

pytestmark = pytest.mark.django_db


# ------------------------------------------------------------------------------------------------ people
def test_register_person__personal_workspace__comes_with_it(at) -> None:
    person = services.register_person(email="Ada@Example.org", full_name=" Ada  L ", verified=True, by=None, at=at)
    assert (person.email, person.full_name, person.has_usable_password()) == ("ada@example.org", "Ada L", False)
    workspace = make_workspace(person)
    assert (workspace.kind, workspace.person) == ("personal", person)
    assert may(person, Permission.PLACE_ORDER, workspace, at)
    assert Event.objects.get().kind == "person.registered"


@pytest.mark.django_db(transaction=True)
def test_register_person__same_address_at_once__is_one_person(at_once, at) -> None:
    outcomes = at_once(
        lambda: services.register_person(email="ada@example.org", full_name="A", by=None, at=at),
        lambda: services.register_person(email="ADA@example.org", full_name="B", by=None, at=at),
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EmailTaken", "Person"]
    assert Person.objects.count() == Workspace.objects.count() == 1


def test_register_person__by_no_operator__is_refused(at) -> None:
    with pytest.raises(NotAllowed):
        services.register_person(email="ada@example.org", full_name="A", by=make_person(), at=at)
    make_person("taken@example.org")
    with pytest.raises(EmailTaken):
        services.register_person(email="TAKEN@example.org", full_name="A", by=None, at=at)


def test_edit_person__of_others__is_for_operators(at) -> None:
    person = make_person(full_name="Ada")
    values = {"full_name": "Eve", "language": "en", "time_zone": "UTC"}
    with pytest.raises(NotAllowed):
        services.edit_person(person=person, **values, by=make_person(), at=at)
    services.edit_person(person=person, **values, by=make_operator(), at=at)
    person.refresh_from_db()
    assert person.full_name == "Eve"


@pytest.mark.parametrize("change", [{"language": "xx"}, {"time_zone": "Mars/Olympus"}])
def test_edit_person__impossible_value__is_refused(change, at) -> None:
    person = make_person()
    values = {"full_name": "Eve", "language": "en", "time_zone": "UTC", **change}
    with pytest.raises(InvalidValue):
        services.edit_person(person=person, **values, by=person, at=at)


def test_deactivate__who_others_depend_on__is_refused(at) -> None:
    owner, pi = make_person(), make_person()
    make_organization(owner=owner)
    make_project(pi=pi)
    with pytest.raises(LastOwner):
        services.deactivate_person(person=owner, by=None, at=at)
    with pytest.raises(InvestigatorMustHandOver):
        services.deactivate_person(person=pi, by=None, at=at)
    assert Person.objects.filter(is_active=False).count() == 0


def test_deactivate__sessions_and_tokens__end(at, client) -> None:
    person = make_person()
    client.force_login(person)
    made = services.create_token(person=person, name="t", scopes=["read"], days=3, by=person, at=at)
    assert client.get("/profile/").status_code == 200
    services.deactivate_person(person=person, by=None, at=at)
    made.row.refresh_from_db()
    assert made.row.revoked_at == at
    assert client.get("/profile/").status_code == 302
    services.reactivate_person(person=person, by=None, at=at)
    person.refresh_from_db()
    assert person.is_active


def test_ssh_keys__same_twice_or_too_many__are_refused(at, monkeypatch) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMaXgGsi/eCI5DJbKeN7OqfBkNWOIXE21MijSjbg6H79"
    person = make_person()
    row = services.add_ssh_key(person=person, name="", public_key=f"{key} a@b", by=person, at=at)
    assert row.name == "a@b"
    with pytest.raises(SshKeyKnown):
        services.add_ssh_key(person=person, name="again", public_key=key, by=person, at=at)
    other = make_person()
    services.add_ssh_key(person=other, name="", public_key=key, by=other, at=at)
    monkeypatch.setattr("bursar.structure.services.people.SSH_KEYS_MAX", 1)
    with pytest.raises(TooManySshKeys):
        services.add_ssh_key(person=person, name="", public_key=_another(), by=person, at=at)
    with pytest.raises(NotAllowed):
        services.remove_ssh_key(key=row, by=other, at=at)
    services.remove_ssh_key(key=row, by=person, at=at)
    assert person.ssh_keys.count() == 0


def _another() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def test_tokens__too_many_or_unknown_scope__are_refused(at, monkeypatch) -> None:
    person = make_person()
    for scopes in ([], ["everything"], ["read", "everything"]):
        with pytest.raises(UnknownScope):
            services.create_token(person=person, name="t", scopes=scopes, days=3, by=person, at=at)
    with pytest.raises(NotAllowed):
        services.create_token(person=person, name="t", scopes=["read"], days=3, by=make_person(), at=at)
    with pytest.raises(NotAllowed):
        services.create_token(
            person=person, name="t", scopes=["read"], days=3, organization=make_organization(), by=person, at=at
        )
    monkeypatch.setattr("bursar.structure.services.tokens.TOKENS_MAX", 1)
    services.create_token(person=person, name="t", scopes=["read"], days=3, by=person, at=at)
    with pytest.raises(TooManyTokens):
        services.create_token(person=person, name="t", scopes=["read"], days=3, by=person, at=at)
    assert person.api_tokens.count() == 1


# ------------------------------------------------------------------------------------------------ organizations
def test_create_organization__short_name__is_made_and_counted_on(at) -> None:
    names = [services.create_organization(name="Ångström & Co", by=None, at=at).slug for _ in range(3)]
    assert names == ["angstrom-co", "angstrom-co-2", "angstrom-co-3"]
    assert services.create_organization(name="天文台", by=None, at=at).slug == "organization"
    with pytest.raises(SlugTaken):
        services.create_organization(name="Other", slug="angstrom-co", by=None, at=at)


def test_create_organization__vat_number__is_checked_and_made_compact(at) -> None:
    row = services.create_organization(name="F", country="fi", vat_number="FI 20774740", by=None, at=at)
    assert (row.country, row.vat_number) == ("FI", "FI20774740")
    with pytest.raises(InvalidValue):
        services.create_organization(name="F", country="FI", vat_number="FI 20774741", by=None, at=at)


def test_edit_organization__changes__are_told_before_and_after(at) -> None:
    owner = make_person()
    row = make_organization("Old", owner=owner)
    same = {"country": "", "vat_number": "", "currency": "EUR", "time_zone": "UTC", "url": ""}
    services.edit_organization(organization=row, name="New", **same, by=owner, at=at)
    event = Event.objects.latest("id")
    assert (event.kind, event.facts) == ("organization.edited", {"changes": {"name": ["Old", "New"]}})
    count = Event.objects.count()
    services.edit_organization(organization=row, name="New", **same, by=owner, at=at)
    assert Event.objects.count() == count


def test_archive_organization__with_open_projects__is_refused(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    project = make_project(organization=organization)
    operator = make_operator()
    with pytest.raises(OrganizationInUse):
        services.archive_organization(organization=organization, by=operator, at=at)
    services.end_project(project=project, end=at, by=owner, at=at)
    with pytest.raises(NotAllowed):
        services.archive_organization(organization=organization, by=owner, at=at)
    services.archive_organization(organization=organization, by=operator, at=at)
    with pytest.raises(OrganizationArchived):
        make_project(organization=organization)
    assert selectors.organization_seen(organization.pk, owner, at).archived_at == at
    services.unarchive_organization(organization=organization, by=operator, at=at)
    make_project(organization=organization)


# ------------------------------------------------------------------------------------------------ projects
def test_create_project__by_an_owner__has_workspace_and_investigator(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    pi = make_person()
    project = services.create_project(
        organization=organization, name="Comets", principal_investigator=pi, start=at, by=owner, at=at
    )
    assert make_workspace(project).kind == "project"
    assert [(m.person, m.role) for m in project.memberships.all()] == [(pi, "principal_investigator")]
    kinds = Event.objects.filter(project_id=project.pk).order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["project.created", "membership.given"]


@pytest.mark.parametrize("case", range(9))
def test_create_project__refused__leaves_nothing(case, at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    pi = make_person()
    parent = make_project(organization=organization, pi=pi, end=at + timedelta(days=100), slug="comets")
    closed = make_project(organization=organization, end=at)
    inactive = make_person()
    services.deactivate_person(person=inactive, by=None, at=at)
    inactive.refresh_from_db()
    usual = {
        "organization": organization,
        "name": "X",
        "principal_investigator": pi,
        "start": at,
        "end": at + timedelta(days=9),
        "by": owner,
    }
    expected, change = [
        (NotAllowed, {"by": pi}),
        (NotAllowed, {"by": make_person(), "parent": parent}),
        (ProjectPeriod, {"end": at}),
        (SlugTaken, {"slug": "comets"}),
        (PersonInactive, {"principal_investigator": inactive}),
        (ProjectClosed, {"parent": closed}),
        (OutsideParent, {"parent": parent, "end": None}),
        (OutsideParent, {"parent": parent, "end": at + timedelta(days=101)}),
        (OutsideParent, {"parent": parent, "start": LONG_AGO - timedelta(days=1)}),
    ][case]
    before = (Project.objects.count(), Workspace.objects.count(), Event.objects.count(), Membership.objects.count())
    with pytest.raises(expected):
        services.create_project(**{**usual, **change}, at=at)
    after = (Project.objects.count(), Workspace.objects.count(), Event.objects.count(), Membership.objects.count())
    assert after == before


def test_create_project__below_another__knows_its_path_and_its_depth(at) -> None:
    project = make_project()
    pi = Membership.objects.get(project=project).person
    path = [project.pk]
    for _ in range(7):
        project = services.create_project(
            organization=make_organization(),  # that of the parent counts
            parent=project,
            name="Below",
            principal_investigator=pi,
            start=at,
            by=pi,
            at=at,
        )
        path.append(project.pk)
        assert project.path == path
    assert {p.organization_id for p in Project.objects.all()} == {project.organization_id}
    with pytest.raises(ProjectTreeTooDeep):
        make_project(parent=project)


@pytest.mark.django_db(transaction=True)
def test_create_project__same_name_at_once__gets_two_short_names(at_once, at) -> None:
    organization = make_organization()
    pi = make_person()

    def create():
        return services.create_project(
            organization=organization, name="Comets", principal_investigator=pi, start=at, by=None, at=at
        )

    outcomes = at_once(create, create)
    assert sorted(outcome.slug for outcome in outcomes) == ["comets", "comets-2"]


def test_end_and_archive__step_by_step(at) -> None:
    project = make_project(pi=(pi := make_person()))
    child = make_project(parent=project, pi=pi)
    with pytest.raises(ProjectStillOpen):
        services.archive_project(project=project, by=pi, at=at)
    with pytest.raises(SubprojectsStillOpen):
        services.end_project(project=project, end=at, by=pi, at=at)
    services.end_project(project=child, end=at, by=pi, at=at)
    project = services.end_project(project=project, end=at, by=pi, at=at)
    assert project.state(at) == ProjectState.ENDED
    with pytest.raises(SubprojectsStillOpen):
        services.archive_project(project=project, by=pi, at=at)
    services.archive_project(project=child, by=pi, at=at)
    project = services.archive_project(project=project, by=pi, at=at)
    assert project.state(at) == ProjectState.ARCHIVED
    with pytest.raises(ProjectClosed):
        services.unarchive_project(project=child, by=pi, at=at)
    with pytest.raises(ProjectClosed):
        services.end_project(project=project, end=at + timedelta(days=3), by=pi, at=at)
    assert services.unarchive_project(project=project, by=pi, at=at).state(at) == ProjectState.ENDED


def test_edit_project__end_before_a_sub_project_ends__is_refused(at) -> None:
    project = make_project(pi=(pi := make_person()))
    make_project(parent=project, end=at + timedelta(days=50))
    values = {"name": "X", "description": "", "field_of_science": "", "start": project.start}
    with pytest.raises(SubprojectsStillOpen):
        services.edit_project(project=project, **values, end=at + timedelta(days=49), by=pi, at=at)
    edited = services.edit_project(project=project, **values, end=at + timedelta(days=50), by=pi, at=at)
    assert edited.end == at + timedelta(days=50)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"; rm -rf ~ #', "{{ 7*7 }}", "天文学", "' OR 1=1 --"])
def test_project__hostile_name__is_text_on_every_page(name, at, client) -> None:
    project = make_project(name=name, pi=(pi := make_person(full_name=name)), description=name)
    client.force_login(pi)
    for address in ("/projects/", f"/projects/{project.pk}/", f"/projects/{project.pk}/members/", "/memberships/"):
        body = client.get(address).content.decode()
        assert "<script>alert" not in body
        assert (
            name.replace("&", "&amp;")
            .replace("<", "&lt;")
            .replace(">", "&gt;")
            .replace('"', "&quot;")
            .replace("'", "&#x27;")
            in body
        )


def test_constraint__project_of_its_own__is_refused_by_the_database() -> None:
    project = make_project()
    with pytest.raises(IntegrityError), transaction.atomic():
        Project.objects.filter(pk=project.pk).update(parent=project)
    with pytest.raises(IntegrityError), transaction.atomic():
        Project.objects.filter(pk=project.pk).update(end=project.start)
    with pytest.raises(IntegrityError), transaction.atomic():
        Workspace.objects.filter(project=project).update(organization=project.organization)


# ------------------------------------------------------------------------------------------------ what is seen
def test_selectors__stranger__sees_nothing(at) -> None:
    project = make_project()
    stranger = make_person()
    assert list(selectors.projects_seen(stranger, at)) == list(selectors.organizations_seen(stranger, at)) == []
    with pytest.raises(NotFound):
        selectors.project_seen(project.pk, stranger, at)
    with pytest.raises(NotFound):
        selectors.organization_seen(project.organization_id, stranger, at)
    with pytest.raises(NotFound):
        selectors.membership_seen(Membership.objects.get().pk, stranger, at)
    for ask in (selectors.members_of, selectors.invitations_of, selectors.events_of):
        for scope in (project, project.organization, None):
            with pytest.raises(NotAllowed):
                ask(scope, stranger, at)
    with pytest.raises(NotAllowed):
        selectors.people_seen(stranger, at)


def test_projects_seen__counts__are_of_now(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    project = make_project(organization=organization)
    make_membership(scope=project)
    make_membership(scope=project, until=at)
    make_project(organization=organization, end=at)
    (row,) = selectors.with_state(selectors.projects_seen(owner, at), "active", at)
    assert (row.member_count, row.investigator) == (
        2,
        Membership.objects.get(project=project, role=Role.PRINCIPAL_INVESTIGATOR).person.full_name,
    )
    (seen,) = selectors.organizations_seen(owner, at)
    assert (seen.project_count, seen.member_count) == (1, 1)


@pytest.mark.parametrize("state", ProjectState)
def test_with_state__agrees_with_the_row(state, at) -> None:
    make_project()
    make_project(start=at + timedelta(days=1))
    make_project(end=at)
    archived = make_project(end=at)
    services.archive_project(project=archived, by=None, at=at)
    assert set(selectors.with_state(Project.objects.all(), state.value, at)) == {
        row for row in Project.objects.all() if row.state(at) == state
    }
    assert len(selectors.with_state(Project.objects.all(), state.value, at)) == 1


def test_people_with__permission__are_those_nearby_and_not_the_operators(at) -> None:
    organization = make_organization(owner=(owner := make_person()))
    project = make_project(organization=organization, pi=(pi := make_person()))
    make_operator()
    make_membership(scope=project)
    manager = make_membership(role=Role.PROJECT_MANAGER, scope=project).person
    assert set(selectors.people_with(Permission.APPROVE_ORDER, project, at)) == {owner, pi, manager}
    assert set(selectors.people_with(Permission.APPROVE_ORDER, organization, at)) == {owner}
    for person in selectors.people_with(Permission.APPROVE_ORDER, project, at):
        assert may(person, Permission.APPROVE_ORDER, project, at)


@pytest.mark.slow
def test_lists__of_many_rows__take_as_many_queries_as_of_few(at, client) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    owner = make_person()
    make_membership(person=owner, role=Role.PLATFORM_OPERATOR, scope=None)
    organization = make_organization(owner=owner)
    project = make_project(organization=organization, pi=owner)
    child = make_project(parent=project, pi=owner)
    services.invite(email="first@example.org", role=Role.PROJECT_MEMBER, scope=project, by=owner, at=at)
    services.create_token(person=owner, name="t", scopes=["read"], days=3, by=owner, at=at)
    client.force_login(owner)
    addresses = [
        "/",
        "/organizations/",
        f"/organizations/{organization.pk}/",
        f"/organizations/{organization.pk}/projects/",
        f"/organizations/{organization.pk}/members/",
        f"/organizations/{organization.pk}/history/",
        "/projects/",
        f"/projects/{project.pk}/",
        f"/projects/{child.pk}/",
        f"/projects/{project.pk}/members/",
        f"/projects/{project.pk}/history/",
        "/memberships/",
        "/profile/tokens/",
        "/operator/people/",
        "/operator/events/",
    ]

    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        return len(captured)

    for address in addresses:
        count(address)
    few = {address: count(address) for address in addresses}
    for number in range(4):
        make_organization(owner=owner)
        make_project(parent=project, pi=owner)
        make_membership(scope=project)
        make_membership(scope=organization, role=Role.BILLING_VIEWER)
        services.invite(email=f"i{number}@example.org", role=Role.PROJECT_MEMBER, scope=project, by=owner, at=at)
        services.create_token(person=owner, name="t", scopes=["read"], days=3, by=owner, at=at)
    assert {address: count(address) for address in addresses} == few


def test_clock__of_services__is_the_stated_one() -> None:
    then = datetime(2020, 2, 29, 23, 59, tzinfo=UTC)
    row = services.create_organization(name="Then", by=None, at=then)
    assert Event.objects.get().at == then
    assert isinstance(row, Organization)
