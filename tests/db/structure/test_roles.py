"""The role table in its scopes: what is held where reaches how far, and for how long."""

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from bursar.structure import services
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import (
    ORGANIZATION_ROLES,
    PERSONAL_PERMISSIONS,
    PLATFORM_ROLES,
    PROJECT_ROLES,
    ROLE_TABLE,
    SCOPE_TABLE,
    NotAllowed,
    Permission,
    Role,
    TokenLimits,
    TokenScope,
    may,
    organizations_where,
    permissions_in,
    projects_where,
    require,
    roles_to_give,
    workspaces_where,
)
from tests.factories.structure import (
    make_membership,
    make_organization,
    make_person,
    make_project,
    make_workspace,
)

pytestmark = pytest.mark.django_db


def make_places() -> dict[str, Organization | Project]:
    here = make_organization("Here")
    there = make_organization("There")
    top = make_project(organization=here)
    middle = make_project(parent=top)
    below = make_project(parent=middle)
    return {
        "here": here,
        "there": there,
        "top": top,
        "middle": middle,
        "below": below,
        "beside": make_project(organization=here),
        "foreign": make_project(organization=there),
    }


@pytest.fixture(scope="module")
def made(standing: Any) -> dict[str, Organization | Project]:
    return standing(make_places)


@pytest.fixture
def world(made: dict[str, Organization | Project]) -> dict[str, Organization | Project]:
    return deepcopy(made)


def holder(role: Role, world) -> Person:
    person = make_person()
    if role in PLATFORM_ROLES:
        make_membership(person=person, role=role, scope=None)
    elif role in ORGANIZATION_ROLES:
        make_membership(person=person, role=role, scope=world["here"])
    elif role == Role.PRINCIPAL_INVESTIGATOR:
        services.hand_over_project(project=world["middle"], to=person, by=None, at=world["middle"].start)
    else:
        make_membership(person=person, role=role, scope=world["middle"])
    return person


# Where a role that is held on the platform, in "here", or in the project "middle" counts.
REACH = {
    **{role: {"here", "there", "top", "middle", "below", "beside", "foreign"} for role in PLATFORM_ROLES},
    **{role: {"here", "top", "middle", "below", "beside"} for role in ORGANIZATION_ROLES},
    Role.PRINCIPAL_INVESTIGATOR: {"middle", "below"},
    Role.PROJECT_MANAGER: {"middle", "below"},
    Role.PROJECT_MEMBER: {"middle"},
}


@pytest.mark.parametrize("role", Role)
def test_may__role_by_permission_by_place__is_the_table_where_it_reaches(role: Role, world, at) -> None:
    person = holder(role, world)
    for name, scope in world.items():
        granted = ROLE_TABLE[role] if name in REACH[role] else frozenset()
        assert {p for p in Permission if may(person, p, scope, at)} == granted, name
        assert permissions_in(person, scope, at) == granted, name
    platform = ROLE_TABLE[role] if role in PLATFORM_ROLES else frozenset()
    assert {p for p in Permission if may(person, p, None, at)} == platform


@pytest.mark.parametrize("role", Role)
def test_where__lists__agree_with_may(role: Role, world, at) -> None:
    person = holder(role, world)
    own = make_workspace(person)
    can = {row: permissions_in(person, row, at) for row in [*Organization.objects.all(), *Project.objects.all()]}
    platform = permissions_in(person, None, at)
    for permission in Permission:
        allowed = {row for row, permissions in can.items() if permission in permissions}
        assert set(organizations_where(person, permission, at)) | set(projects_where(person, permission, at)) == allowed
        personal = permission in PERSONAL_PERMISSIONS
        assert may(person, permission, own, at) is (personal or permission in platform)
        listed = workspaces_where(person, permission, at).select_related("project", "organization")
        of_others = {row.project or row.organization for row in listed if row.person_id is None}
        assert of_others == allowed
        assert {row.person_id for row in listed if row.person_id is not None} == (
            set(Person.objects.values_list("pk", flat=True))
            if permission in platform
            else {person.pk}
            if personal
            else set()
        )


def test_may__the_system__may_everything(world, at) -> None:
    assert all(may(None, permission, scope, at) for permission in Permission for scope in world.values())


def test_may__inactive_person__may_nothing(world, at) -> None:
    person = holder(Role.ORGANIZATION_MANAGER, world)
    services.deactivate_person(person=person, by=None, at=at)
    person.refresh_from_db()
    assert permissions_in(person, world["here"], at) == frozenset()
    assert not any(may(person, permission, world["here"], at) for permission in Permission)
    assert not organizations_where(person, Permission.VIEW_ORGANIZATION, at).exists()
    assert not projects_where(person, Permission.VIEW_PROJECT, at).exists()
    assert not workspaces_where(person, Permission.PLACE_ORDER, at).exists()


def test_may__membership_with_an_end__holds_up_to_it_exactly(world, at) -> None:
    person = make_person()
    make_membership(person=person, scope=world["middle"], until=at + timedelta(days=1), at=at)
    last = at + timedelta(days=1)
    assert not may(person, Permission.VIEW_PROJECT, world["middle"], at - timedelta(microseconds=1))
    assert may(person, Permission.VIEW_PROJECT, world["middle"], at)
    assert may(person, Permission.VIEW_PROJECT, world["middle"], last - timedelta(microseconds=1))
    assert not may(person, Permission.VIEW_PROJECT, world["middle"], last)
    assert list(projects_where(person, Permission.VIEW_PROJECT, last)) == []


def test_require__no_role__names_those_that_could(world, at) -> None:
    with pytest.raises(NotAllowed) as refusal:
        require(make_person(), Permission.EDIT_ORGANIZATION, world["here"], at)
    assert refusal.value.facts == {
        "permission": "edit_organization",
        "roles": "Organization owner, Platform operator",
    }


@pytest.mark.parametrize(
    ("role", "in_here", "in_middle", "on_platform"),
    [
        (Role.PLATFORM_OPERATOR, ORGANIZATION_ROLES, PROJECT_ROLES, PLATFORM_ROLES),
        (Role.PLATFORM_SUPPORT, set(), set(), set()),
        (Role.ORGANIZATION_OWNER, ORGANIZATION_ROLES, PROJECT_ROLES, set()),
        (Role.ORGANIZATION_MANAGER, {Role.ORGANIZATION_MANAGER, Role.GRANT_REVIEWER}, PROJECT_ROLES, set()),
        (Role.GRANT_REVIEWER, set(), set(), set()),
        (Role.BILLING_VIEWER, set(), set(), set()),
        (Role.PROVIDER_MANAGER, set(), set(), set()),
        (Role.OFFERING_MANAGER, set(), set(), set()),
        (Role.PRINCIPAL_INVESTIGATOR, set(), PROJECT_ROLES, set()),
        (Role.PROJECT_MANAGER, set(), {Role.PROJECT_MANAGER, Role.PROJECT_MEMBER}, set()),
        (Role.PROJECT_MEMBER, set(), set(), set()),
    ],
)
def test_roles_to_give__by_role__as_agreed(role, in_here, in_middle, on_platform, world, at) -> None:
    person = holder(role, world)
    assert roles_to_give(person, world["here"], at) == in_here
    assert roles_to_give(person, world["middle"], at) == in_middle
    assert roles_to_give(person, None, at) == on_platform
    # What one gives in a project one gives in the projects below, and not beside.
    if role in {Role.PRINCIPAL_INVESTIGATOR, Role.PROJECT_MANAGER}:
        assert roles_to_give(person, world["below"], at) == in_middle
        assert roles_to_give(person, world["beside"], at) == set()
        assert roles_to_give(person, world["top"], at) == set()


@pytest.mark.parametrize("scope", TokenScope)
def test_may__with_a_token__is_what_role_and_scope_both_allow(scope: TokenScope, world, at) -> None:
    person = holder(Role.ORGANIZATION_OWNER, world)
    can = permissions_in(person, world["middle"], at)
    person.limits = TokenLimits(frozenset({scope}))
    both = can & SCOPE_TABLE[scope]
    assert {p for p in Permission if may(person, p, world["middle"], at)} == both
    assert permissions_in(person, world["middle"], at) == both
    for permission in Permission:
        assert projects_where(person, permission, at).filter(pk=world["middle"].pk).exists() is (permission in both)
        assert organizations_where(person, permission, at).exists() is (permission in both)
    giving = {Role.PROJECT_MEMBER, Role.PROJECT_MANAGER, Role.PRINCIPAL_INVESTIGATOR}
    assert roles_to_give(person, world["middle"], at) == (giving if scope == TokenScope.STRUCTURE else set())


def test_may__with_a_token_for_one_organization__stays_in_it(world, at) -> None:
    person = holder(Role.PLATFORM_OPERATOR, world)
    make_membership(person=person, role=Role.ORGANIZATION_OWNER, scope=world["here"])
    person.limits = TokenLimits(frozenset(TokenScope), organization_id=world["here"].pk)
    assert permissions_in(person, world["below"], at) == ROLE_TABLE[Role.ORGANIZATION_OWNER]
    for name in ("there", "foreign"):
        assert permissions_in(person, world[name], at) == frozenset()
    assert permissions_in(person, None, at) == frozenset()
    assert not may(person, Permission.PLACE_ORDER, make_workspace(person), at)
    assert list(organizations_where(person, Permission.VIEW_ORGANIZATION, at)) == [world["here"]]
    kinds = {row.kind for row in workspaces_where(person, Permission.PLACE_ORDER, at)}
    assert kinds == {"organization", "project"}
