"""Reports are booked exactly once; a request is booked whole or not at all."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from msgspec.structs import replace

from bursar.accounting import selectors as accounting
from bursar.accounting.models import Posting, Wallet
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering import selectors
from bursar.metering.errors import ReportConflict, ReportsAtFault, TooManyReports
from bursar.metering.models import ReportIdentity, UsageReport
from bursar.metering.services import REPORTS_MAX, post_reports
from bursar.structure.roles import NotAllowed, Role
from tests.factories.catalogue import make_category, make_level_category
from tests.factories.ledger import AT, YEAR_END, YEAR_START, make_allocation, make_report
from tests.factories.structure import make_membership, make_organization, make_person, make_project, make_workspace

pytestmark = pytest.mark.django_db

NO_EARLIER = datetime.min.replace(tzinfo=UTC)
EAST = timezone(timedelta(hours=12))


@pytest.fixture
def category(verified):
    return verified(make_category())


@pytest.fixture
def drive(verified):
    return verified(make_level_category())


@pytest.fixture
def university():
    return make_workspace(make_organization("University"))


@pytest.fixture
def project(university):
    return make_workspace(make_project(organization=university.organization))


def post(*reports, by=None, at=AT):
    return post_reports(reports=reports, by=by, at=at)


def written():
    return (UsageReport.objects.count(), ReportIdentity.objects.count(), Posting.objects.count(), used())


def used():
    return dict(Wallet.objects.values_list("workspace_id", "used_ticks"))


def faults(*reports, at=AT, by=None):
    before = written()
    with pytest.raises(ReportsAtFault) as refusal:
        post(*reports, at=at, by=by)
    assert written() == before
    return [(one.index, one.report_id, one.code) for one in refusal.value.faults]


def test_post__many_with_a_scope__begins_nothing_that_it_has_to_take_back(category, project) -> None:
    reports = [make_report(project, category, 1, scope=f"job {number}") for number in range(500)]
    with CaptureQueriesContext(connection) as asked:
        assert post(*reports).posted == 500
    assert [query["sql"] for query in asked if query["sql"].startswith("ROLLBACK")] == []
    assert used()[project.pk] == 500


def test_post__a_report__is_answered_with_the_balance(category, university, project) -> None:
    root = make_allocation(university, category, 100)
    make_allocation(project, category, 60, source=root.wallet)
    answer = post(make_report(project, category, 25))
    (balance,) = answer.balances
    assert (answer.posted, answer.duplicates) == (1, ())
    assert (balance.workspace_id, balance.used_ticks, balance.available_ticks) == (project.pk, 25, 35)
    assert (balance.uncovered_ticks, balance.locked, balance.over, balance.why) == (0, False, False, ())


def test_post__the_same_report_again__is_a_duplicate_for_ever(category, university) -> None:
    make_allocation(university, category, 100)
    report = make_report(university, category, 25)
    post(report)
    before = written()
    answer = post(report, report, at=AT + timedelta(days=400))
    assert (answer.posted, answer.duplicates) == (0, (report.report_id,) * 2)
    assert answer.balances[0].used_ticks == 25
    assert written() == before


def test_post__twice_in_one_request__counts_once(category, university) -> None:
    report = make_report(university, category, 25)
    answer = post(report, report)
    assert (answer.posted, answer.duplicates, used()) == (1, (report.report_id,), {university.pk: 25})


def test_post__a_duplicate_beside_a_new_report_of_another_wallet__is_answered_with_both(category, university) -> None:
    other = make_workspace(make_organization())
    make_allocation(university, category, 36_000)
    known = make_report(university, category, 7_200)
    post(known)
    answer = post(make_report(other, category, 3_600), known)
    assert (answer.posted, answer.duplicates) == (1, (known.report_id,))
    assert [balance.workspace_id for balance in answer.balances] == [other.pk, university.pk]


def test_post__an_id_with_other_content__is_a_conflict_naming_each_and_nothing_is_booked(category, university) -> None:
    first, second = make_report(university, category, 25), make_report(university, category, 1)
    post(first, second)
    before = written()
    new = make_report(university, category, 7)
    with pytest.raises(ReportConflict) as refusal:
        post(new, replace(first, amount_ticks=26), replace(second, job="other"))
    assert refusal.value.report_ids == (first.report_id, second.report_id)
    assert [(one.index, one.code) for one in refusal.value.faults] == [(1, "report_conflict"), (2, "report_conflict")]
    assert written() == before
    with pytest.raises(ReportConflict):
        post(new, replace(new, amount_ticks=8))
    assert written() == before


def test_post__who_the_user_is_learned_later__is_still_the_same_report(category, university) -> None:
    report = make_report(university, category, 25, user="ada")
    post(report)
    assert post(replace(report, person_id=make_person().pk)).duplicates == (report.report_id,)


@pytest.mark.parametrize("others", [1, 600])
def test_post__of_somebody_who_is_not_there__is_refused_by_its_place(category, university, others) -> None:
    ada = make_person()
    sound = [make_report(university, category, 5, user="ada", person_id=ada.pk) for _ in range(others)]
    bad = [make_report(university, category, 5, person_id=number) for number in (ada.pk + 1000, 0, -1)]
    before = written()
    with pytest.raises(ReportsAtFault) as refusal:
        post(*sound, *bad)
    told = [(one.index, one.report_id, one.code) for one in refusal.value.faults]
    assert told == [(others + place, one.report_id, "unknown_person") for place, one in enumerate(bad)]
    assert written() == before
    post(*sound)
    assert set(UsageReport.objects.values_list("person_id", flat=True)) == {ada.pk}


def test_post__the_same_id_in_two_categories__are_two_reports(category, verified, university) -> None:
    other = verified(make_category())
    report = make_report(university, category, 25)
    assert post(report, replace(report, category_id=other.pk)).posted == 2


def test_post__reports_at_fault__are_all_named_with_their_place_and_nothing_is_booked(category, university) -> None:
    good = make_report(university, category, 1)
    bad = [
        replace(good, report_id=""),
        replace(good, report_id="long", scope="x" * 201),
        replace(good, report_id="much", amount_ticks=2**63),
        replace(good, report_id="empty", period_start=good.period_end),
        replace(good, report_id="naive", period_start=good.period_start.replace(tzinfo=None)),
        replace(good, report_id="ahead", period_end=AT + timedelta(minutes=6)),
        replace(good, report_id="level", amount_ticks=-1, is_absolute=True),
        replace(good, report_id="ancient", period_start=NO_EARLIER.replace(tzinfo=EAST), period_end=NO_EARLIER),
        replace(good, report_id="category", category_id=2**62),
        replace(good, report_id="workspace", workspace_id=2**70),
        replace(good, report_id="original", corrects="nobody"),
    ]
    assert faults(good, *bad) == [
        (1, "", "report_id_missing"),
        (2, "long", "text_too_long"),
        (3, "much", "overflow"),
        (4, "empty", "period_empty"),
        (5, "naive", "period_without_time_zone"),
        (6, "ahead", "in_the_future"),
        (7, "level", "negative_level"),
        (8, "ancient", "long_ago"),
        (9, "category", "unknown_category"),
        (10, "workspace", "unknown_workspace"),
        (11, "original", "unknown_original"),
    ]
    assert Wallet.objects.count() == 0


def test_post__of_a_workspace_that_is_not_there__is_refused_whatever_kind_of_report(category, university) -> None:
    known = make_report(university, category, 1)
    post(known)
    kinds = [
        {"is_absolute": True},
        {"is_absolute": True, "scope": "job"},
        {"scope": "job"},
        {"corrects": known.report_id},
    ]
    bad = [replace(make_report(university, category, 5, **kind), workspace_id=999_999_999) for kind in kinds]
    same = replace(make_report(university, category, 5, corrects=bad[0].report_id), workspace_id=999_999_999)
    for reports in ([bad[0]], [*bad, same], [make_report(university, category, 1), *bad, same]):
        at_fault = [(place, one) for place, one in enumerate(reports) if one.workspace_id == 999_999_999]
        assert faults(*reports) == [(place, one.report_id, "unknown_workspace") for place, one in at_fault]


def test_post__a_report_with_several_faults__is_named_once_and_a_taken_id_before_all_else(category, university) -> None:
    bad = replace(make_report(university, category, 5, person_id=-1), workspace_id=999_999_999)
    assert faults(bad) == [(0, bad.report_id, "unknown_workspace")]
    known = make_report(university, category, 5)
    post(known)
    with pytest.raises(ReportConflict) as refusal:
        post(replace(known, workspace_id=999_999_999))
    assert [(one.index, one.code) for one in refusal.value.faults] == [(0, "report_conflict")]


def test_post__a_little_ahead__counts_as_now(category, university) -> None:
    post(make_report(university, category, 5, until=AT + timedelta(minutes=5)))
    assert UsageReport.objects.get().used_at == AT


def test_post__ten_thousand_and_one__is_refused(category, university) -> None:
    report = make_report(university, category, 1)
    before = written()
    with pytest.raises(TooManyReports):
        post(*[report] * (REPORTS_MAX + 1))
    assert written() == before


def test_post__more_taken_back_than_was_used__names_the_reports(category, university, project) -> None:
    post(make_report(project, category, 10), make_report(university, category, 10))
    good, bad = make_report(project, category, -10), make_report(university, category, -11)
    assert faults(good, bad) == [(1, bad.report_id, "negative_usage")]


def test_post__more_than_can_be_counted__is_refused(category, university) -> None:
    post(make_report(university, category, 2**62))
    more = make_report(university, category, 2**62)
    assert faults(more) == [(0, more.report_id, "overflow")]


def test_post__more_than_can_be_counted__names_only_what_does_not_fit(category, university, project) -> None:
    post(make_report(university, category, 2**62))
    more = make_report(university, category, 2**62)
    fits = make_report(university, category, 2**62 - 2)
    assert faults(make_report(project, category, 5), more, make_report(project, category, 7)) == [
        (1, more.report_id, "overflow")
    ]
    assert faults(fits, more) == [(1, more.report_id, "overflow")]
    assert post(fits).posted == 1


def test_post__more_than_can_be_counted_where_it_comes_together__names_all_that_add(
    category, university, project
) -> None:
    root = make_allocation(university, category, 0)
    make_allocation(project, category, 2**62, source=root.wallet)
    post(make_report(project, category, 2**62))
    reports = [make_report(university, category, 2**62), make_report(university, category, 2**61)]
    assert faults(*reports) == [(index, one.report_id, "overflow") for index, one in enumerate(reports)]


def test_post__what_is_wrong_with_amounts__is_told_with_all_else_in_each_category(
    category, verified, university, project
) -> None:
    other = verified(make_category())
    post(make_report(university, category, 10), make_report(university, other, 10))
    fits = make_report(university, category, -6)
    bad = [
        make_report(university, category, -5),
        make_report(university, other, -11),
        replace(make_report(project, category, 1), workspace_id=999_999_999),
    ]
    codes = ["negative_usage", "negative_usage", "unknown_workspace"]
    assert faults(fits, *bad) == [(n + 1, one.report_id, codes[n]) for n, one in enumerate(bad)]
    assert faults(fits, *bad[:2]) == [(n + 1, one.report_id, codes[n]) for n, one in enumerate(bad[:2])]
    assert post(fits).posted == 1


def test_post__by_another_provider__is_refused(category, verified, university) -> None:
    provider = category.provider.organization
    mine = make_membership(scope=provider, role=Role.PROVIDER_MANAGER).person
    other = verified(make_category())
    stranger = make_membership(scope=university.organization, role=Role.ORGANIZATION_OWNER).person
    report = make_report(university, category, 1)
    before = written()
    with pytest.raises(NotAllowed):
        post(report, by=stranger)
    assert written() == before
    foreign = make_report(university, other, 1)
    assert faults(report, foreign, by=mine) == [(1, foreign.report_id, "not_your_category")]
    assert post(report, by=mine).posted == 1


def test_post__a_level__moves_usage_by_the_difference(drive, university) -> None:
    make_allocation(university, drive, 100)
    post(make_report(university, drive, 30, is_absolute=True))
    post(make_report(university, drive, 10, is_absolute=True, until=AT + timedelta(minutes=1)))
    assert used() == {university.pk: 10}


def test_post__an_older_level_that_arrives_late__is_recorded_and_changes_nothing(drive, university) -> None:
    post(make_report(university, drive, 30, is_absolute=True, scope="home"))
    late = make_report(university, drive, 80, is_absolute=True, scope="home", until=AT - timedelta(days=1))
    post(late)
    assert used() == {university.pk: 30}
    assert UsageReport.objects.get(report_id=late.report_id).posted_ticks == 0


def test_post__levels_of_one_request__count_in_order_of_their_periods(drive, university) -> None:
    newer = make_report(university, drive, 30, is_absolute=True, scope="home")
    older = make_report(university, drive, 80, is_absolute=True, scope="home", until=AT - timedelta(days=1))
    moved = make_report(university, drive, 5, scope="home", until=AT - timedelta(hours=2))
    post(newer, moved, older)
    posted = dict(UsageReport.objects.values_list("report_id", "posted_ticks"))
    assert posted == {older.report_id: 80, moved.report_id: 5, newer.report_id: -55}


def test_post__a_difference_with_a_scope__moves_its_level(drive, university) -> None:
    post(make_report(university, drive, 30, is_absolute=True, scope="home"))
    post(make_report(university, drive, 5, scope="home"))
    post(make_report(university, drive, 40, is_absolute=True, scope="home", until=AT + timedelta(minutes=2)))
    assert used() == {university.pk: 40}


def test_post__a_level_of_more_than_can_be_counted__is_refused(category, university) -> None:
    most = make_report(university, category, TICKS_MAX, scope="home")
    post(most)
    post(make_report(university, category, -TICKS_MAX, scope="work"))
    assert used() == {university.pk: 0}
    more = make_report(university, category, 1, scope="home")
    less = make_report(university, category, -TICKS_MAX, scope="work")
    assert faults(more) == [(0, more.report_id, "overflow")]
    assert faults(more, less) == [(0, more.report_id, "overflow"), (1, less.report_id, "overflow")]
    post(make_report(university, category, 5, scope="else"))
    post(make_report(university, category, TICKS_MAX - 1, corrects=most.report_id))
    assert post(more).posted == 1
    back = make_report(university, category, TICKS_MAX, corrects=most.report_id)
    assert faults(back) == [(0, back.report_id, "overflow")]


def test_post__levels_of_scopes_and_of_the_whole__are_never_mixed(drive, university) -> None:
    post(make_report(university, drive, 30, is_absolute=True, scope="home"))
    whole = make_report(university, drive, 50, is_absolute=True)
    assert faults(whole) == [(0, whole.report_id, "mixed_levels")]


def test_post__a_correction__posts_the_difference_at_the_originals_time(category, university) -> None:
    make_allocation(university, category, 100, start=YEAR_START, end=AT - timedelta(days=2), at=YEAR_START)
    make_allocation(university, category, 100, start=AT - timedelta(days=2), at=YEAR_START)
    day_of_use = AT - timedelta(days=3)
    original = make_report(university, category, 10, until=day_of_use, user="ada", job="7")
    post(original)
    first = make_report(university, category, 15, corrects=original.report_id)
    last = make_report(university, category, 12, corrects=original.report_id)
    post(first)
    post(last)
    posted = dict(UsageReport.objects.values_list("report_id", "posted_ticks"))
    assert posted == {original.report_id: 10, first.report_id: 5, last.report_id: -3}
    assert set(UsageReport.objects.values_list("used_at", "user", "job")) == {
        (original.used_at, "ada", "7"),
    }
    states = {
        one.allocation.end: one.drawn_ticks for one in accounting.allocations_into(wallet=Wallet.objects.get(), at=AT)
    }
    assert states == {AT - timedelta(days=2): 12, YEAR_END: 0}
    hours = set(Posting.objects.exclude(used_ticks=0).values_list("effective_at", flat=True))
    assert hours == {day_of_use - timedelta(hours=1)}


def test_post__a_correction_in_the_same_request__counts(category, university) -> None:
    original = make_report(university, category, 10)
    correction = make_report(university, category, 4, corrects=original.report_id)
    post(correction, original)
    assert used() == {university.pk: 4}
    again = make_report(university, category, 4, corrects=correction.report_id)
    assert faults(again) == [(0, again.report_id, "corrects_a_correction")]


def test_post__a_correction_for_another_workspace__is_refused(category, university, project) -> None:
    original = make_report(university, category, 10)
    post(original)
    wrong = make_report(project, category, 4, corrects=original.report_id)
    assert faults(wrong) == [(0, wrong.report_id, "original_of_another_workspace")]


def test_post__a_correction_of_the_level__changes_it_and_of_an_older_one_nothing(drive, university) -> None:
    older = make_report(university, drive, 30, is_absolute=True, scope="home", until=AT - timedelta(hours=1))
    level = make_report(university, drive, 50, is_absolute=True, scope="home")
    post(older, level)
    post(make_report(university, drive, 99, corrects=older.report_id))
    assert used() == {university.pk: 50}
    post(make_report(university, drive, 45, corrects=level.report_id))
    assert used() == {university.pk: 45}
    post(make_report(university, drive, 46, is_absolute=True, scope="home", until=AT + timedelta(minutes=1)))
    assert used() == {university.pk: 46}


@pytest.mark.parametrize("scope", ["home", ""])
def test_post__a_correction_of_a_difference__counts_if_the_difference_came_after_the_level(
    drive, university, scope
) -> None:
    post(make_report(university, drive, 100, is_absolute=True, scope=scope))
    late = make_report(university, drive, 50, scope=scope, until=AT - timedelta(hours=5))
    post(late)
    assert used() == {university.pk: 150}
    post(make_report(university, drive, 5, corrects=late.report_id))
    assert used() == {university.pk: 105}
    post(make_report(university, drive, 60, is_absolute=True, scope=scope, until=AT + timedelta(minutes=1)))
    post(make_report(university, drive, 7, corrects=late.report_id))
    assert used() == {university.pk: 60}


@pytest.mark.parametrize("scope", ["home", ""])
def test_post__a_correction_of_a_difference__counts_nothing_if_the_level_came_after_it(
    drive, university, scope
) -> None:
    moved = make_report(university, drive, 5, scope=scope)
    post(moved)
    post(make_report(university, drive, 50, is_absolute=True, scope=scope, until=AT - timedelta(hours=1)))
    assert used() == {university.pk: 50}
    post(make_report(university, drive, 9, corrects=moved.report_id))
    assert used() == {university.pk: 50}


@pytest.mark.parametrize("scope", ["home", ""])
def test_post__a_correction_of_a_difference_in_the_request_of_a_level__goes_by_their_periods(
    drive, university, scope
) -> None:
    level = make_report(university, drive, 50, is_absolute=True, scope=scope, until=AT - timedelta(hours=1))
    before = make_report(university, drive, 3, scope=scope, until=AT - timedelta(hours=2))
    after = make_report(university, drive, 5, scope=scope)
    post(after, before, level)
    assert used() == {university.pk: 55}
    post(make_report(university, drive, 30, corrects=before.report_id))
    post(make_report(university, drive, 6, corrects=after.report_id))
    assert used() == {university.pk: 56}


def test_post__late_usage_within_grace__lands_in_its_own_window(category, university) -> None:
    old_year = make_allocation(
        university,
        category,
        100,
        start=YEAR_START - timedelta(days=365),
        end=YEAR_START,
        at=YEAR_START - timedelta(days=9),
    )
    make_allocation(university, category, 100, at=YEAR_START - timedelta(days=9))
    now = YEAR_START + timedelta(days=3)
    post(make_report(university, category, 10, until=YEAR_START), at=now)
    old_year.refresh_from_db()
    assert old_year.drawn_ticks == 10


def test_post__an_hour_each__is_journalled_by_the_hour_oldest_first(category, university, project) -> None:
    root = make_allocation(university, category, 25)
    make_allocation(project, category, 15, source=root.wallet)
    hours = [AT - timedelta(hours=n) for n in (3, 2, 1)]
    post(*(make_report(project, category, 10, until=until) for until in reversed(hours)))
    rows = Posting.objects.filter(kind="draw").order_by("effective_at", "allocation_id")
    starts = [until - timedelta(hours=1) for until in hours]
    wallet = Wallet.objects.get(workspace=project)
    mine = rows.filter(wallet_id=wallet.pk).values_list("effective_at", "used_ticks", "drawn_ticks", "uncovered_ticks")
    assert sorted(mine) == [(starts[0], 10, 10, 0), (starts[1], 10, 5, 5), (starts[2], 10, 0, 10)]
    above = rows.exclude(wallet_id=wallet.pk).values_list("effective_at", "drawn_ticks")
    assert [*above] == [(starts[0], 10), (starts[1], 5)]


@pytest.mark.parametrize("each", [1, 200])
def test_post__free_use_of_several_hours__is_journalled_by_the_hour(verified, university, project, each) -> None:
    free = verified(make_category(requires_allocation=False))
    hours = [AT - timedelta(hours=number) for number in range(3)]
    post(
        *(
            make_report(place, free, 5, until=hour)
            for hour in hours
            for place in (university, project)
            for _ in range(each)
        )
    )
    assert used() == {university.pk: 15 * each, project.pk: 15 * each}
    post(*(make_report(project, free, -2, until=hour) for hour in hours[:2] for _ in range(each)))
    rows = Posting.objects.filter(wallet_id=Wallet.objects.get(workspace=project).pk).order_by("id")
    told = [(row.effective_at, row.used_ticks, row.uncovered_ticks) for row in rows]
    an_hour = timedelta(hours=1)
    assert told == [(hour - an_hour, 5 * each, 0) for hour in hours[::-1]] + [
        (hour - an_hour, -2 * each, 0) for hour in hours[1::-1]
    ]


def test_usage__by_day_and_by_person__counts_corrections_at_their_day(category, university) -> None:
    yesterday = AT - timedelta(days=1)
    ada = make_person().pk
    original = make_report(university, category, 10, until=yesterday, user="ada", person_id=ada, resource_id=9)
    post(original, make_report(university, category, 4, user="bob", resource_id=9))
    post(make_report(university, category, 6, corrects=original.report_id))
    span = {"category_id": category.pk, "since": YEAR_START, "until": YEAR_END, "resource_id": 9}
    assert [(one.day, one.ticks) for one in selectors.usage_by_day(**span)] == [(yesterday.date(), 6), (AT.date(), 4)]
    people = [(one.person_id, one.user, one.ticks) for one in selectors.usage_by_person(**span)]
    assert people == [(ada, "ada", 6), (None, "bob", 4)]
    assert selectors.usage_ticks(**span) == 10
    assert len(selectors.reports_of_resource(category_id=category.pk, resource_id=9)) == 3


def test_post__takes_as_many_statements_however_many_reports(
    category, university, django_assert_max_num_queries
) -> None:
    root = make_allocation(university, category, 10_000)
    places = [make_workspace(make_project(organization=university.organization)) for _ in range(8)]
    for place in places:
        make_allocation(place, category, 500, source=root.wallet)
    with django_assert_max_num_queries(20) as first:
        post(make_report(places[0], category, 1))
    with django_assert_max_num_queries(20) as second:
        post(*(make_report(place, category, 1) for place in places))
    assert len(first) == len(second)


def test_reports__lie_in_the_part_of_their_month(category, university) -> None:
    post(make_report(university, category, 1))
    with connection.cursor() as cursor:
        cursor.execute("SELECT add_month_parts('usage_report', '2031-01-15', '2031-03-01')")
        assert cursor.fetchone() == (3,)
        cursor.execute("SELECT add_month_parts('usage_report', '2031-01-15', '2031-03-01')")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT to_regclass('usage_report_2031_02') IS NOT NULL")
        assert cursor.fetchone() == (True,)


def test_post__one_name_among_many_that_the_server_never_counted__reads_that_one_alone(university) -> None:
    category = make_category()  # not verified at the end: most of these identities have no report
    report = make_report(university, category, 5)
    post(report)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO report_identity (category_id, report_id, content_hash, recorded_at) "
            "SELECT %s, 'other-' || number, '', %s FROM generate_series(1, 60000) AS number",
            [category.pk, AT],
        )

        def rows_read() -> int:
            cursor.execute(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'report_identity'"
            )
            return cursor.fetchone()[0]

        before = rows_read()
        answer = post(report)
        assert (answer.posted, answer.duplicates) == (0, (report.report_id,))
        # Once when it is taken for new and the key refuses it, once when it is looked up.
        assert rows_read() - before <= 2


def test_post__a_correction_among_many_reports__reads_the_corrections_of_that_one_alone(category, university) -> None:
    original = make_report(university, category, 5)
    post(original)
    with connection.cursor() as cursor:

        def rows_read(number: int) -> int:
            post(*(make_report(university, category, 1) for _ in range(number)), at=AT + timedelta(minutes=number))
            cursor.execute("ANALYZE usage_report")
            later = AT + timedelta(days=1, minutes=number)
            scanned = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname LIKE 'usage_report_2%'"
            cursor.execute(scanned)
            before = cursor.fetchone()[0]
            post(make_report(university, category, number, corrects=original.report_id), at=later)
            cursor.execute(scanned)
            return int(cursor.fetchone()[0] - before)

        rows_read(600)
        assert rows_read(3_000) == 0
    assert used() == {university.pk: 3_000 + 3_600}
