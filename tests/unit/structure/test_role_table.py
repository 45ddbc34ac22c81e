"""The role table as it was agreed, cell by cell, and the laws that hold for any table of ours."""

import pytest

from bursar.structure.roles import (
    GIVES,
    ORGANIZATION_ROLES,
    PERSONAL_PERMISSIONS,
    PLATFORM_ROLES,
    PROJECT_ROLES,
    ROLE_TABLE,
    ROLE_TITLES,
    SCOPE_TABLE,
    SCOPE_TITLES,
    Permission,
    Role,
    TokenLimits,
    TokenScope,
    roles_with,
)

#                                     platform  organization                   provider   reviewer project
#                                     op  sup   owner manager billing          mgr  offer          PI mgr member
AGREED = """
operate_platform                      x   .     .     .       .            .    .     .        .  .   .
read_platform                         x   x     .     .       .            .    .     .        .  .   .
view_organization                     x   x     x     x       x            x    x     x        .  .   .
edit_organization                     x   .     x     .       .            .    .     .        .  .   .
manage_organization_members           x   .     x     x       .            .    .     .        .  .   .
create_project                        x   .     x     x       .            .    .     .        .  .   .
view_billing                          x   x     x     .       x            .    .     .        .  .   .
manage_budgets                        x   .     x     x       .            .    .     .        .  .   .
allocate                              x   .     x     x       .            .    .     .        x  x   .
view_project                          x   x     x     x       x            .    .     .        x  x   x
edit_project                          x   .     x     x       .            .    .     .        x  x   .
manage_project_members                x   .     x     x       .            .    .     .        x  x   .
create_subproject                     x   .     x     x       .            .    .     .        x  x   .
place_order                           x   .     x     x       .            .    .     .        x  x   x
approve_order                         x   .     x     x       .            .    .     .        x  x   .
view_usage                            x   x     x     x       .            .    .     .        x  x   .
view_costs                            x   x     x     x       x            .    .     .        x  x   .
apply_for_grants                      x   .     x     x       .            .    .     .        x  x   .
view_grants                           x   x     x     x       .            x    .     x        x  x   .
judge_grants                          x   .     x     x       .            x    .     x        x  x   .
manage_grants                         x   .     x     x       .            x    .     .        x  x   .
view_provider                         x   x     x     .       .            x    x     .        .  .   .
edit_provider                         x   .     x     .       .            x    .     .        .  .   .
manage_categories                     x   .     x     .       .            x    .     .        .  .   .
manage_backends                       x   .     x     .       .            x    .     .        .  .   .
manage_offerings                      x   .     x     .       .            x    x     .        .  .   .
handle_orders                         x   .     x     .       .            x    x     .        .  .   .
manage_accounts                       x   .     x     .       .            x    x     .        .  .   .
allocate_root                         x   .     x     .       .            x    .     .        .  .   .
report_usage                          x   .     x     .       .            x    .     .        .  .   .
write_off                             x   .     x     .       .            x    .     .        .  .   .
view_revenue                          x   x     x     .       x            x    .     .        .  .   .
manage_invoices                       x   .     x     .       .            x    .     .        .  .   .
"""
ORDER = [
    Role.PLATFORM_OPERATOR,
    Role.PLATFORM_SUPPORT,
    Role.ORGANIZATION_OWNER,
    Role.ORGANIZATION_MANAGER,
    Role.BILLING_VIEWER,
    Role.PROVIDER_MANAGER,
    Role.OFFERING_MANAGER,
    Role.GRANT_REVIEWER,
    Role.PRINCIPAL_INVESTIGATOR,
    Role.PROJECT_MANAGER,
    Role.PROJECT_MEMBER,
]
CELLS = {
    (role, Permission(words[0])): mark == "x"
    for words in (line.split() for line in AGREED.strip().splitlines())
    for role, mark in zip(ORDER, words[1:], strict=True)
}


def test_agreed_table__names__every_cell() -> None:
    assert set(CELLS) == {(role, permission) for role in Role for permission in Permission}


@pytest.mark.parametrize(("role", "permission"), sorted(CELLS))
def test_role_table__cell__is_as_agreed(role: Role, permission: Permission) -> None:
    assert (permission in ROLE_TABLE[role]) is CELLS[role, permission]


def test_roles__each__has_a_title_and_is_of_one_scope() -> None:
    assert set(ROLE_TITLES) == set(ROLE_TABLE) == set(GIVES) == set(Role)
    assert sorted([*PLATFORM_ROLES, *ORGANIZATION_ROLES, *PROJECT_ROLES]) == sorted(Role)


@pytest.mark.parametrize("giver", Role)
def test_gives__no_role__gives_more_than_it_has(giver: Role) -> None:
    for given in GIVES[giver]:
        assert ROLE_TABLE[given] <= ROLE_TABLE[giver]


def test_gives__as_agreed() -> None:
    nobody: frozenset[Role] = frozenset()
    assert {
        Role.PLATFORM_OPERATOR: frozenset(Role),
        Role.PLATFORM_SUPPORT: nobody,
        Role.ORGANIZATION_OWNER: ORGANIZATION_ROLES | PROJECT_ROLES,
        Role.ORGANIZATION_MANAGER: PROJECT_ROLES | {Role.ORGANIZATION_MANAGER, Role.GRANT_REVIEWER},
        Role.BILLING_VIEWER: nobody,
        Role.PROVIDER_MANAGER: nobody,
        Role.OFFERING_MANAGER: nobody,
        Role.GRANT_REVIEWER: nobody,
        Role.PRINCIPAL_INVESTIGATOR: PROJECT_ROLES,
        Role.PROJECT_MANAGER: frozenset({Role.PROJECT_MANAGER, Role.PROJECT_MEMBER}),
        Role.PROJECT_MEMBER: nobody,
    } == GIVES


def test_token_scopes__each_permission__is_in_one() -> None:
    assert set(SCOPE_TABLE) == set(SCOPE_TITLES) == set(TokenScope)
    covered = frozenset().union(*SCOPE_TABLE.values())
    assert covered == frozenset(Permission)


def test_token_scopes__writing__is_in_exactly_one() -> None:
    for permission in set(Permission) - SCOPE_TABLE[TokenScope.READ]:
        assert len([scope for scope in TokenScope if permission in SCOPE_TABLE[scope]]) == 1, permission


def test_token_limits__several_scopes__allow_what_any_does() -> None:
    limits = TokenLimits(frozenset({TokenScope.USAGE, TokenScope.ORDERS}))
    assert limits.allow(Permission.REPORT_USAGE)
    assert limits.allow(Permission.PLACE_ORDER)
    assert not limits.allow(Permission.ALLOCATE)
    assert not TokenLimits(frozenset({TokenScope.PROFILE})).allow(Permission.VIEW_PROJECT)


def test_personal_workspace__owner__orders_and_approves_but_hands_nothing_on() -> None:
    assert {
        Permission.VIEW_PROJECT,
        Permission.PLACE_ORDER,
        Permission.APPROVE_ORDER,
        Permission.VIEW_USAGE,
        Permission.APPLY_FOR_GRANTS,
    } == PERSONAL_PERMISSIONS


def test_roles_with__permission__are_those_of_its_row() -> None:
    for permission in Permission:
        assert roles_with(permission) == {role for role in Role if CELLS[role, permission]}
