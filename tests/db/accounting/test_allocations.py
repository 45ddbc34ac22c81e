"""Giving, changing, taking back and moving quota, and what is written down of it."""

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from bursar.accounting import selectors, services
from bursar.accounting.errors import ReasonMissing, WalletOfAnotherCategory
from bursar.accounting.models import Allocation, Operation, Posting, Wallet
from bursar.engine.ledger import errors
from bursar.events.models import Event
from bursar.metering.services import post_reports
from bursar.structure.roles import NotAllowed, Role
from tests.factories.catalogue import make_category, make_level_category
from tests.factories.ledger import AT, YEAR_END, YEAR_START, make_allocation, make_report
from tests.factories.structure import (
    make_membership,
    make_organization,
    make_person,
    make_project,
    make_workspace,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def category(verified):
    return verified(make_category())


@pytest.fixture
def university():
    return make_workspace(make_organization("University"))


@pytest.fixture
def project(university):
    return make_workspace(make_project(organization=university.organization))


def post(*reports):
    return post_reports(reports=reports, by=None, at=AT)


def counts():
    return (Wallet.objects.count(), Allocation.objects.count(), Posting.objects.count(), Event.objects.count())


def test_allocate__from_the_provider__opens_and_unlocks_the_wallet(category, university) -> None:
    allocation = make_allocation(university, category, 36_000)
    state = selectors.wallet_state(workspace_id=university.pk, category_id=category.pk, at=AT)
    assert (state.quota_ticks, state.available_ticks, state.locked, state.until) == (36_000, 36_000, False, YEAR_END)
    kinds = [*Event.objects.filter(provider_id=category.provider.organization_id).values_list("kind", flat=True)]
    assert [kind for kind in kinds if kind.startswith(("allocation", "wallet"))] == [
        "allocation.opened",
        "allocation.created",
        "wallet.unlocked",
    ]
    row = Posting.objects.get(allocation_id=allocation.pk)
    assert (row.kind, row.quota_ticks, row.start, row.end, row.turned) == (
        "allocate",
        36_000,
        YEAR_START,
        YEAR_END,
        "opened",
    )
    assert category.pk == row.category_id
    category.refresh_from_db()
    assert category.sealed_at is not None


def test_allocate__by_a_project_member__is_refused_and_nothing_changed(category, university, project) -> None:
    root = make_allocation(university, category, 36_000)
    member = make_membership(scope=project.project, role=Role.PROJECT_MEMBER).person
    before = counts()
    with pytest.raises(NotAllowed):
        services.allocate(
            workspace=project,
            category=category,
            source=root.wallet,
            quota_ticks=1,
            start=YEAR_START,
            end=YEAR_END,
            by=member,
            at=AT,
        )
    assert counts() == before


def test_allocate__root_by_the_owner_of_another_organization__is_refused(category, university) -> None:
    owner = make_membership(scope=university.organization, role=Role.ORGANIZATION_OWNER).person
    before = counts()
    with pytest.raises(NotAllowed):
        services.allocate(
            workspace=university,
            category=category,
            source=None,
            quota_ticks=1,
            start=YEAR_START,
            end=YEAR_END,
            by=owner,
            at=AT,
        )
    assert counts() == before


def test_allocate__by_the_sources_owner__is_done_in_their_name(category, university, project) -> None:
    root = make_allocation(university, category, 36_000)
    owner = make_membership(scope=university.organization, role=Role.ORGANIZATION_OWNER).person
    allocation = services.allocate(
        workspace=project,
        category=category,
        source=root.wallet,
        quota_ticks=7_200,
        start=YEAR_START,
        end=YEAR_END,
        note="first call",
        by=owner,
        at=AT,
    )
    assert (allocation.made_by, allocation.note) == (owner, "first call")
    operation = Operation.objects.get(kind="allocate", actor_id=owner.pk)
    assert operation.reason == "first call"
    assert selectors.sources_for(person=owner, workspace=project, category=category, at=AT) == [root.wallet]
    assert selectors.sources_for(person=make_person(), workspace=project, category=category, at=AT) == []


def test_allocate__a_source_of_another_category__is_refused(category, verified, university, project) -> None:
    other = make_allocation(university, verified(make_category()), 10)
    before = counts()
    with pytest.raises(WalletOfAnotherCategory):
        make_allocation(project, category, 5, source=other.wallet)
    assert counts() == before


def test_allocate__a_source_below_the_recipient__is_refused_and_nothing_changed(category, university, project) -> None:
    root = make_allocation(university, category, 10)
    sub = make_allocation(project, category, 5, source=root.wallet)
    before = counts()
    with pytest.raises(errors.SourceBelowRecipient):
        make_allocation(university, category, 5, source=sub.wallet)
    assert counts() == before


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"start": YEAR_END, "end": YEAR_START}, errors.EndNotAfterStart),
        ({"end": AT}, errors.EndInThePast),
        ({"quota_ticks": -1}, errors.NegativeQuota),
    ],
)
def test_allocate__with_bad_facts__is_refused_and_nothing_changed(category, university, facts, refusal) -> None:
    services.wallet_for(workspace_id=university.pk, category_id=category.pk, at=AT)
    before = counts()
    with pytest.raises(refusal):
        make_allocation(university, category, **{"quota_ticks": 5, **facts})
    assert counts() == before


def test_allocate__in_a_free_category__is_refused(verified, university) -> None:
    category = verified(make_category(requires_allocation=False))
    with pytest.raises(errors.AllocationsNotUsed):
        make_allocation(university, category, 5)
    assert Wallet.objects.count() == 0


def test_allocate__handed_on_where_that_is_not_allowed__is_refused(verified, university, project) -> None:
    category = verified(make_category(allows_suballocation=False))
    root = make_allocation(university, category, 5)
    with pytest.raises(errors.SuballocationNotAllowed):
        make_allocation(project, category, 5, source=root.wallet)


def test_allocate__more_than_is_held_where_that_is_not_allowed__is_refused(verified, university, project) -> None:
    category = verified(make_category(allows_overallocation=False))
    root = make_allocation(university, category, 7_200)
    make_allocation(project, category, 3_600, source=root.wallet)
    second = make_workspace(make_project(organization=university.organization))
    before = counts()
    with pytest.raises(errors.Overallocated) as refusal:
        make_allocation(second, category, 3_601, source=root.wallet)
    assert refusal.value.held == "2 core-hours"
    with pytest.raises(errors.Overallocated):
        services.change_allocation(allocation=root, quota_ticks=3_599, by=None, at=AT)
    with pytest.raises(errors.Overallocated):
        services.revoke_allocation(allocation=root, by=None, at=AT)
    assert counts() == before
    make_allocation(second, category, 3_600, source=root.wallet)


def test_change__a_quota_below_what_is_drawn__says_how_much_in_units(category, university) -> None:
    allocation = make_allocation(university, category, 36_000)
    post(make_report(university, category, 5_400))
    before = counts()
    with pytest.raises(errors.QuotaBelowDrawn) as refusal:
        services.change_allocation(allocation=allocation, quota_ticks=3_600, by=None, at=AT)
    assert str(refusal.value).startswith("1.5 core-hours is drawn")
    allocation.refresh_from_db()
    assert (allocation.quota_ticks, counts()) == (36_000, before)


def test_change__more_quota__draws_what_stands_uncovered(category, university) -> None:
    allocation = make_allocation(university, category, 100)
    post(make_report(university, category, 130))
    state = selectors.wallet_state(workspace_id=university.pk, category_id=category.pk, at=AT)
    assert (state.uncovered_ticks, state.locked, state.over) == (30, True, True)
    assert [(one.allocation_id, one.uncovered_ticks, one.distance) for one in state.why] == [(allocation.pk, 30, 0)]
    services.change_allocation(allocation=allocation, quota_ticks=200, by=None, at=AT)
    state = selectors.wallet_state(workspace_id=university.pk, category_id=category.pk, at=AT)
    assert (state.uncovered_ticks, state.available_ticks, state.locked, state.over) == (0, 70, False, False)
    kinds = Posting.objects.filter(kind__in=["change", "settle"]).values_list("kind", "drawn_ticks", "uncovered_ticks")
    assert sorted(kinds) == [("change", 0, 0), ("settle", 30, -30)]


def test_change__the_start_of_a_running_one__is_refused(category, university) -> None:
    allocation = make_allocation(university, category, 100)
    with pytest.raises(errors.StartIsFixed):
        services.change_allocation(allocation=allocation, start=YEAR_START + timedelta(days=1), by=None, at=AT)
    allocation.refresh_from_db()
    assert allocation.start == YEAR_START


def test_change__by_whoever_stands_above_or_below_the_source__is_refused_and_nothing_changed(
    category, university, project
) -> None:
    root = make_allocation(university, category, 36_000)
    faculty = make_workspace(make_organization("Faculty"))
    middle = make_allocation(faculty, category, 3_600, source=root.wallet)
    allocation = make_allocation(project, category, 360, source=middle.wallet)
    above = make_membership(scope=university.organization, role=Role.ORGANIZATION_OWNER).person
    below = make_membership(scope=project.project, role=Role.PROJECT_MANAGER).person
    before = counts()
    for person in (above, below):
        with pytest.raises(NotAllowed):
            services.change_allocation(allocation=allocation, quota_ticks=720, by=person, at=AT)
    assert counts() == before
    owner = make_membership(scope=faculty.organization, role=Role.ORGANIZATION_OWNER).person
    assert services.change_allocation(allocation=allocation, quota_ticks=720, by=owner, at=AT).quota_ticks == 720


def test_revoke__a_running_one__freezes_what_it_drew_and_locks(category, university, project) -> None:
    root = make_allocation(university, category, 100)
    sub = make_allocation(project, category, 60, source=root.wallet)
    post(make_report(project, category, 25))
    services.revoke_allocation(allocation=sub, by=None, at=AT)
    assert (sub.end, sub.closed_at, sub.drawn_ticks) == (AT, AT, 25)
    state = selectors.wallet_state(workspace_id=project.pk, category_id=category.pk, at=AT)
    assert (state.locked, state.over, state.available_ticks) == (True, False, 0)
    assert [(one.allocation_id, one.distance) for one in state.why] == [(None, 0)]
    with pytest.raises(errors.AllocationClosed):
        services.revoke_allocation(allocation=sub, by=None, at=AT)
    with pytest.raises(errors.AllocationClosed):
        services.change_allocation(allocation=sub, quota_ticks=100, by=None, at=AT)


def test_revoke__of_a_level__gives_back_at_the_source(verified, university, project) -> None:
    category = verified(make_level_category())
    root = make_allocation(university, category, 100)
    sub = make_allocation(project, category, 60, source=root.wallet)
    post(make_report(project, category, 25))
    services.revoke_allocation(allocation=sub, by=None, at=AT)
    root.refresh_from_db()
    assert (root.drawn_ticks, sub.drawn_ticks) == (0, 0)
    state = selectors.wallet_state(workspace_id=project.pk, category_id=category.pk, at=AT)
    assert (state.used_ticks, state.uncovered_ticks, state.over) == (25, 25, True)


def test_transfer__unused_quota__moves_in_one_step(category, university, project) -> None:
    root = make_allocation(university, category, 100)
    second = make_workspace(make_project(organization=university.organization))
    giver = make_allocation(project, category, 60, source=root.wallet)
    taker = make_allocation(second, category, 10, source=root.wallet)
    post(make_report(project, category, 25), make_report(second, category, 12))
    before = counts()
    with pytest.raises(errors.TransferTooLarge):
        services.transfer_quota(giver=giver, taker=taker, amount_ticks=36, by=None, at=AT)
    with pytest.raises(errors.DifferentSources):
        services.transfer_quota(giver=giver, taker=root, amount_ticks=1, by=None, at=AT)
    assert counts() == before
    services.transfer_quota(giver=giver, taker=taker, amount_ticks=35, by=None, at=AT)
    assert (giver.quota_ticks, taker.quota_ticks, taker.drawn_ticks) == (25, 45, 12)


def test_write_off__with_a_reason__leaves_nothing_uncovered(category, university) -> None:
    make_allocation(university, category, 100)
    post(make_report(university, category, 130))
    wallet = Wallet.objects.get()
    before = counts()
    with pytest.raises(ReasonMissing):
        services.write_off(wallet=wallet, amount_ticks=30, reason=" ", by=None, at=AT)
    with pytest.raises(errors.WriteOffTooLarge):
        services.write_off(wallet=wallet, amount_ticks=31, reason="outage", by=None, at=AT)
    assert counts() == before
    services.write_off(wallet=wallet, amount_ticks=30, reason="outage", by=None, at=AT)
    assert (wallet.used_ticks, wallet.uncovered_ticks, wallet.written_off_ticks) == (130, 0, 30)
    assert Operation.objects.get(kind="write_off").reason == "outage"


def test_write_off__by_the_customer__is_refused(category, university) -> None:
    make_allocation(university, category, 100)
    post(make_report(university, category, 130))
    owner = make_membership(scope=university.organization, role=Role.ORGANIZATION_OWNER).person
    with pytest.raises(NotAllowed):
        services.write_off(wallet=Wallet.objects.get(), amount_ticks=30, reason="please", by=owner, at=AT)


def test_apply_due__after_the_end__closes_with_grace_and_tells(category, university) -> None:
    allocation = make_allocation(university, category, 100, end=AT + timedelta(days=1))
    ended, closed = AT + timedelta(days=1), AT + timedelta(days=8)
    assert not services.apply_due(category_id=category.pk, at=AT)
    assert selectors.allocation_state(allocation=allocation, at=ended).state == "grace"
    assert selectors.wallet_state(workspace_id=university.pk, category_id=category.pk, at=ended).locked
    assert not Wallet.objects.get().locked  # a read writes nothing
    assert services.apply_due(category_id=category.pk, at=ended)
    assert Wallet.objects.get().locked
    assert not services.apply_due(category_id=category.pk, at=ended)
    assert services.apply_due(category_id=category.pk, at=closed + timedelta(hours=3))
    allocation.refresh_from_db()
    assert allocation.closed_at == closed  # when it was due, not when somebody woke
    told = Event.objects.filter(kind__in=["wallet.locked", "allocation.closed"]).values_list("kind", flat=True)
    assert [*told] == ["wallet.locked", "allocation.closed"]


def test_locks__below_an_exhausted_root__flip_once_each_and_back(category, university) -> None:
    root = make_allocation(university, category, 100)
    projects = [make_workspace(make_project(organization=university.organization)) for _ in range(3)]
    subs = [make_allocation(one, category, 80, source=root.wallet) for one in projects]
    deeper = make_workspace(make_project(parent=projects[0].project))
    make_allocation(deeper, category, 10, source=subs[0].wallet)
    made_before = Event.objects.count()
    post(make_report(projects[1], category, 50), make_report(projects[2], category, 50))
    flips = Event.objects.filter(kind="wallet.locked", pk__gt=0)
    assert flips.count() == 5
    assert Wallet.objects.filter(locked=True).count() == 5
    states = selectors.wallets_of(workspace=deeper, at=AT)
    assert [(one.workspace, one.distance) for one in states[0].why] == [("University", 2)]
    assert made_before + 5 == Event.objects.count()
    services.change_allocation(allocation=root, quota_ticks=101, by=None, at=AT)
    assert Wallet.objects.filter(locked=True).count() == 0
    assert Event.objects.filter(kind="wallet.unlocked").count() == 5 + 5


def test_tree_below__names_depth_given_and_drawn(category, university, project) -> None:
    root = make_allocation(university, category, 100)
    make_allocation(project, category, 80, source=root.wallet)
    post(make_report(project, category, 30), make_report(university, category, 5))
    rows = selectors.tree_below(wallet=root.wallet, at=AT)
    assert [(row.depth, row.state.used_ticks, row.given_ticks, row.below_ticks) for row in rows] == [
        (0, 5, 80, 30),
        (1, 30, 0, 0),
    ]
    assert [(one.drawn_ticks, one.state) for one in rows[1].via] == [(30, "open")]


def test_tree_below__several_sources__tells_what_was_given_on_once(category) -> None:
    layers = [[make_workspace(make_organization()) for _ in range(4)] for _ in range(4)]
    top = make_allocation(make_workspace(make_organization()), category, 1000).wallet
    above = [top]
    for layer in layers:
        made = [[make_allocation(place, category, 10, source=wallet) for wallet in above] for place in layer]
        above = [allocations[0].wallet for allocations in made]
    rows = selectors.tree_below(wallet=top, at=AT)
    assert len(rows) == 1 + 4 + 3 * 16  # one for each way in
    assert [row.is_again for row in rows].count(False) == 1 + 4 * 4
    assert all(row.parent_id is None or row.depth for row in rows)


@pytest.mark.parametrize("kind", [make_category, make_level_category])
@pytest.mark.parametrize("ends", ["revoked", "ended"])
def test_tree_below__an_allocation_that_closed_unused__is_left_out(verified, university, project, kind, ends) -> None:
    category = verified(kind())
    root = make_allocation(university, category, 100, end=YEAR_END + timedelta(days=365))
    later = AT
    if ends == "revoked":
        services.revoke_allocation(
            allocation=make_allocation(project, category, 60, source=root.wallet), by=None, at=AT
        )
    else:
        make_allocation(project, category, 60, source=root.wallet)
        later = YEAR_END + timedelta(days=30)
        assert services.apply_due(category_id=category.pk, at=later)
    rows = selectors.tree_below(wallet=root.wallet, at=later)
    assert [(row.state.wallet.pk, row.given_ticks, row.below_ticks) for row in rows] == [(root.wallet_id, 0, 0)]
    make_allocation(project, category, 40, source=root.wallet, end=root.end, start=later, at=later)
    rows = selectors.tree_below(wallet=root.wallet, at=later)
    assert [(row.depth, row.given_ticks, len(row.via)) for row in rows] == [(0, 40, 0), (1, 0, 1)]


def test_tree_below__asks_as_often_however_many_are_below(category, university, django_assert_num_queries) -> None:
    root = make_allocation(university, category, 100)

    def add() -> None:
        for _ in range(3):
            place = make_workspace(make_project(organization=university.organization))
            make_allocation(place, category, 10, source=root.wallet)

    for _ in range(2):
        add()
        wallet = services.wallet_for(workspace_id=university.pk, category_id=category.pk, at=AT)
        with django_assert_num_queries(4):
            selectors.tree_below(wallet=wallet, at=AT)


def test_has_valid_allocation__by_window(category, university) -> None:
    ask = {"workspace_id": university.pk, "category_id": category.pk}
    assert not selectors.has_valid_allocation(**ask, at=AT)
    make_allocation(university, category, 1)
    assert selectors.has_valid_allocation(**ask, at=AT)
    assert not selectors.has_valid_allocation(**ask, at=YEAR_END)


def test_available__in_a_free_category__has_no_bound(verified, university) -> None:
    category = verified(make_category(requires_allocation=False))
    ask = {"workspace_id": university.pk, "category_id": category.pk, "at": AT}
    assert selectors.available_ticks(**ask) is None
    post(make_report(university, category, 5))
    state = selectors.wallet_state(**ask)
    assert (state.used_ticks, state.available_ticks, state.locked, state.over) == (5, None, False, False)
    assert selectors.has_valid_allocation(**ask)


@pytest.mark.parametrize("table", ["posting", "ledger_operation", "usage_report", "report_identity"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET category_id = 0", "DELETE FROM {}", "TRUNCATE {}"])
def test_journal__changed_by_anybody__is_refused_by_the_database(category, university, table, statement) -> None:
    make_allocation(university, category, 100)
    post(make_report(university, category, 5))
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(table))


def test_verify__a_balance_that_is_not_its_journal__is_named(category, university) -> None:
    make_allocation(university, category, 100)
    post(make_report(university, category, 5))
    Wallet.objects.update(used_ticks=6)
    found = selectors.verify(category_id=category.pk)
    assert ("used", "6", "5") in [(one.figure, one.balance, one.journal) for one in found]
    Wallet.objects.update(used_ticks=5)


def test_operation__stated_earlier_than_the_clock__counts_as_now_by_the_clock(category, university) -> None:
    make_allocation(university, category, 100)
    make_allocation(university, category, 100, at=AT - timedelta(seconds=3))
    times: list[datetime] = [*Operation.objects.order_by("pk").values_list("recorded_at", flat=True)]
    assert times == [AT, AT]
