"""What was used in any period: the rollups never say other than the reports, whenever a job ran or was killed."""

import random
import threading
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from importlib import import_module

import pytest
from django.db import connection, transaction

from bursar.accounting import services as accounting
from bursar.accounting.models import Wallet
from bursar.engine.health import Health
from bursar.metering import history, rollups, selectors
from bursar.metering.history import By, Days, PeriodBackwards, PeriodTooLong, Step, StepTooFine
from bursar.metering.models import RollupMark, UsageDetailMonth, UsageMonth, UsageReport
from bursar.metering.services import post_reports
from bursar.metering.tasks import roll_up_everywhere
from tests.factories.catalogue import make_category, make_level_category
from tests.factories.ledger import AT, YEAR_END, YEAR_START, make_allocation, make_report
from tests.factories.structure import make_organization, make_person, make_project, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

TODAY = AT.date()


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
def projects(university):
    names = ("Physics", "Chemistry", "Biology")
    return [make_workspace(make_project(organization=university.organization, name=name)) for name in names]


def post(*reports, at=AT):
    return post_reports(reports=reports, by=None, at=at)


def wallet_of(workspace, category):
    return Wallet.objects.select_related("category", "workspace").get(workspace=workspace, category=category)


def noon(month, day, year=2026):
    return datetime(year, month, day, 12, tzinfo=UTC)


def gather(category, limit=rollups.AT_ONCE):
    while rollups.roll_up(category_id=category.pk, limit=limit):
        pass


# ------------------------------------------------------------------------------------------------ equal to the reports
def test_history__any_period_at_any_time__is_what_the_reports_say(category, university, projects) -> None:
    """Late usage, corrections and batches in a random order; gathered in pieces, now and then; all questions each time."""
    chance = random.Random(20261121)
    whose = [None, make_person().pk, make_person().pk]
    root = make_allocation(university, category, 10_000)
    for project in projects:
        make_allocation(project, category, 4_000, source=root.wallet)
    wallets = [wallet_of(one, category).pk for one in (university, *projects)]
    sent = []
    for _round in range(12):
        batch = []
        for _report in range(chance.randint(1, 6)):
            if sent and chance.random() < 0.3:
                original = sent.pop(chance.randrange(len(sent)))
                batch.append(make_report(original[0], category, chance.randint(0, 50), corrects=original[1].report_id))
                continue
            workspace = chance.choice([university, *projects])
            report = make_report(
                workspace,
                category,
                chance.randint(1, 90),
                until=AT - timedelta(hours=chance.randint(0, 24 * 120)),
                user=chance.choice(["ada", "bob", ""]),
                person_id=chance.choice(whose),
                resource_id=chance.choice([None, 8, 9]),
                labels=chance.choice([{}, {"product": "thin"}, {"product": "fat", "queue": "long"}]),
            )
            sent.append((workspace, report))
            batch.append(report)
        post(*batch)
        if chance.random() < 0.7:
            rollups.roll_up(category_id=category.pk, limit=chance.choice([1, 3, 100]))
        assert rollups.differences(category_id=category.pk) == []

        since = AT - timedelta(minutes=chance.randint(0, 60 * 24 * 130))
        until = since + timedelta(minutes=chance.randint(1, 60 * 24 * 90))
        some = chance.sample(wallets, 2)
        whole = {"category_id": category.pk, "since": since, "until": until}
        for chosen, rows in (
            ({}, UsageReport.objects.all()),
            ({"wallet_id": some[0]}, UsageReport.objects.filter(wallet_id=some[0])),
            ({"resource_id": 9}, UsageReport.objects.filter(resource_id=9)),
        ):
            facts = [
                (one.used_at.astimezone(UTC).date(), one.person_id, one.user, one.posted_ticks)
                for one in rows.filter(category_id=category.pk, used_at__gte=since, used_at__lt=until)
            ]
            by_day, by_person = {}, {}
            for day, person_id, user, ticks in facts:
                by_day[day] = by_day.get(day, 0) + ticks
                by_person[person_id, user] = by_person.get((person_id, user), 0) + ticks
            found = selectors.usage_by_day(**whole, **chosen)
            assert [(one.day, one.ticks) for one in found] == sorted((d, t) for d, t in by_day.items() if t)
            assert selectors.usage_ticks(**whole, **chosen) == sum(by_day.values())
            people = selectors.usage_by_person(**whole, **chosen)
            assert {(one.person_id, one.user): one.ticks for one in people} == {k: t for k, t in by_person.items() if t}
        local = selectors.usage_by_day(**whole, time_zone="Pacific/Auckland")
        assert sum(one.ticks for one in local) == selectors.usage_ticks(**whole)


def test_roll_up__killed_before_its_end__changes_nothing_and_is_taken_up_again(category, university) -> None:
    make_allocation(university, category, 1000)
    post(make_report(university, category, 10), make_report(university, category, 5))
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        rollups.roll_up(category_id=category.pk)
        raise KeyboardInterrupt
    assert (UsageMonth.objects.count(), RollupMark.objects.count()) == (0, 0)
    gather(category)
    gather(category)
    assert [*UsageMonth.objects.values_list("month", "ticks")] == [(date(2026, 11, 1), 15)]


def test_rebuild__what_was_tampered_with__is_found_and_mended(category, university) -> None:
    root = make_allocation(university, category, 1000)
    post(make_report(university, category, 10, user="ada", labels={"product": "thin"}))
    gather(category)
    assert selectors.verify(category_id=category.pk) == []
    wallet_id = root.wallet_id
    UsageMonth.objects.update(ticks=11)
    UsageDetailMonth.objects.update(product="fat")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE drawn_month SET ticks = 9, d21 = 9")
        cursor.execute("UPDATE quota_history SET quota_ticks = 999")
        cursor.execute("UPDATE usage_category_month SET ticks = 12, d21 = 12")
        cursor.execute("UPDATE usage_person_month SET user_name = 'bob'")
        cursor.execute("UPDATE usage_resource_month SET ticks = 13")
        cursor.execute("DELETE FROM usage_product_month")
        cursor.execute("UPDATE usage_person_year SET m10 = 4, m11 = 6")
        cursor.execute("UPDATE usage_resource_year SET ticks = 14")
    found = {
        (one.subject, one.subject_id, one.figure, one.balance, one.reports)
        for one in selectors.verify(category_id=category.pk)
    }
    told = "usage by resource, person and product of 2026-11-21"
    assert {one[:3] for one in found if one[0] == "wallet"} == {
        ("wallet", wallet_id, told),
        ("wallet", wallet_id, "sum of 2026-11-01"),
    }
    assert ("wallet", wallet_id, "sum of 2026-11-01", "11", "10") in found
    assert ("wallet", wallet_id, told, "10", "0") in found
    assert ("wallet", wallet_id, told, "0", "10") in found
    assert ("allocation", root.pk, "drawn on 2026-11-21", "9", "10") in found
    assert {one[2:] for one in found if one[:2] == ("category", category.pk)} == {
        ("usage of 2026-11-21", "12", "10"),
        ("usage by person of 2026-11-21", "10", "0"),
        ("usage by person of 2026-11-21", "0", "10"),
        ("sum by resource of 2026-11-01", "13", "10"),
        ("usage by product of 2026-11-21", "0", "10"),
        ("usage by person in the month from 2026-10-01", "4", "0"),
        ("usage by person in the month from 2026-11-01", "6", "10"),
        ("sum by resource of 2026-01-01", "14", "10"),
    }
    assert len([one for one in found if one[0] == "allocation" and "quota and window" in one[2]]) == 1
    assert rollups.rebuild(category_id=category.pk) > 0
    assert selectors.verify(category_id=category.pk) == []
    assert rollups.roll_up(category_id=category.pk) == 0


def test_roll_up_everywhere__the_job__gathers_each_category(category, drive, university) -> None:
    make_allocation(university, category, 1000)
    make_allocation(university, drive, 1000)
    post(make_report(university, category, 10), make_report(university, drive, 7, is_absolute=True))
    assert roll_up_everywhere(0) > 0
    assert roll_up_everywhere(0) == 0
    assert {*UsageMonth.objects.values_list("category_id", "ticks")} == {(category.pk, 10), (drive.pk, 7)}


@pytest.mark.django_db(transaction=True)
def test_roll_up__several_at_once_while_reports_come__counts_each_once() -> None:
    category = make_category()
    university = make_workspace(make_organization("University"))
    make_allocation(university, category, 1000)
    stop = threading.Event()
    failures = []

    def gathering() -> None:
        try:
            while not stop.is_set():
                rollups.roll_up(category_id=category.pk, limit=3)
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    workers = [threading.Thread(target=gathering) for _ in range(2)]
    for worker in workers:
        worker.start()
    span = {"category_id": category.pk, "since": YEAR_START, "until": YEAR_END}
    try:
        for number in range(1, 21):
            post(make_report(university, category, 1, until=AT - timedelta(days=number)))
            assert selectors.usage_ticks(**span) == number
            assert sum(one.ticks for one in selectors.usage_by_day(**span)) == number
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []
    gather(category)
    assert selectors.verify(category_id=category.pk) == []
    assert sum(UsageMonth.objects.values_list("ticks", flat=True)) == 20


# ------------------------------------------------------------------------------------------------ series
@pytest.mark.parametrize("gathered", [False, True])
def test_series__of_a_tree__tells_change_level_quota_and_utilisation(category, university, projects, gathered) -> None:
    root = make_allocation(university, category, 1000, at=noon(1, 5))
    make_allocation(projects[0], category, 500, source=root.wallet, at=noon(1, 5))
    post(make_report(projects[0], category, 100, until=noon(1, 30)), at=noon(1, 30))
    accounting.change_allocation(allocation=root, quota_ticks=400, by=None, at=noon(2, 2))
    post(
        make_report(projects[0], category, 60, until=noon(2, 2)),
        make_report(university, category, 40, until=noon(2, 4)),
        at=noon(2, 5),
    )
    if gathered:
        gather(category)
    wallet = wallet_of(university, category)
    days = Days(date(2026, 1, 30), date(2026, 2, 5))
    series = history.usage_series(wallet=wallet, days=days, at=noon(2, 5))
    assert (series.step, series.change_ticks) == (Step.DAY, 200)
    assert [(p.first.day, p.change_ticks, p.level_ticks, p.quota_ticks, p.drawn_ticks) for p in series.points] == [
        (30, 100, 100, 1000, 100),
        (31, 0, 100, 1000, 100),
        (1, 0, 100, 1000, 100),
        (2, 60, 160, 400, 160),
        (3, 0, 160, 400, 160),
        (4, 40, 200, 400, 200),
        (5, 0, 200, 400, 200),
    ]
    assert series.points[-1].utilisation == Fraction(1, 2)
    alone = history.usage_series(wallet=wallet, days=days, at=noon(2, 5), below=False)
    assert [p.change_ticks for p in alone.points] == [0, 0, 0, 0, 0, 40, 0]
    weeks = history.usage_series(wallet=wallet, days=days, at=noon(2, 5), step=Step.WEEK)
    assert [(p.first, p.last, p.change_ticks, p.level_ticks) for p in weeks.points] == [
        (date(2026, 1, 30), date(2026, 2, 1), 100, 100),
        (date(2026, 2, 2), date(2026, 2, 5), 100, 200),
    ]
    months = history.usage_series(
        wallet=wallet, days=Days(date(2025, 12, 15), date(2026, 2, 3)), at=noon(2, 5), step=Step.MONTH
    )
    assert [(p.first, p.change_ticks, p.level_ticks, p.quota_ticks) for p in months.points] == [
        (date(2025, 12, 15), 0, 0, 0),
        (date(2026, 1, 1), 100, 100, 1000),
        (date(2026, 2, 1), 60, 160, 400),
    ]


@pytest.mark.parametrize("gathered", [False, True])
def test_series__of_most_of_a_category__is_the_whole_without_the_others(
    category, university, projects, gathered, monkeypatch
) -> None:
    root = make_allocation(university, category, 1000)
    for project in projects:
        make_allocation(project, category, 500, source=root.wallet)
    alone = make_workspace(make_organization("Elsewhere"))
    make_allocation(alone, category, 10)
    post(
        *(make_report(place, category, 1, until=AT - timedelta(days=40)) for place in (*projects, alone)),
        make_report(alone, category, 7),
        make_report(projects[0], category, 3, until=noon(10, 1)),
    )
    if gathered:
        gather(category)
    wallet = wallet_of(university, category)

    def told(many):
        monkeypatch.setattr(history, "_MANY", many)
        found = []
        for days in (Days(date(2026, 9, 30), date(2026, 10, 13)), Days(date(2026, 9, 30), TODAY)):
            for step in Step:
                series = history.usage_series(wallet=wallet, days=days, at=AT, step=step)
                found.append([(point.change_ticks, point.level_ticks) for point in series.points])
        return found

    assert told(1) == told(500)
    assert told(1)[2] == [(0, 0), (6, 6)]


def test_series__of_a_level__stands_from_day_to_day_and_falls_when_the_quota_ends(drive, university) -> None:
    make_allocation(university, drive, 100, start=noon(3, 1), end=noon(3, 6), at=noon(3, 1))
    for day, level in ((2, 30), (4, 80)):
        post(make_report(university, drive, level, until=noon(3, day), is_absolute=True), at=noon(3, day))
    post(make_report(university, drive, 50, until=noon(3, 3), is_absolute=True), at=noon(3, 8))  # late: of no account
    post(make_report(university, drive, 20, until=noon(3, 8), is_absolute=True), at=noon(3, 8))
    series = history.usage_series(
        wallet=wallet_of(university, drive), days=Days(date(2026, 3, 1), date(2026, 3, 9)), at=noon(3, 8)
    )
    assert [(p.change_ticks, p.level_ticks, p.quota_ticks, p.drawn_ticks) for p in series.points] == [
        (0, 0, 100, 0),
        (30, 30, 100, 30),
        (0, 30, 100, 30),
        (50, 80, 100, 80),
        (0, 80, 100, 80),
        (0, 80, 0, 0),
        (0, 80, 0, 0),
        (-60, 20, 0, 0),
        (0, 20, 0, 0),
    ]
    assert series.points[-1].utilisation is None


def test_series__a_period_that_cannot_be_told__is_refused(category, university) -> None:
    make_allocation(university, category, 1)
    wallet = wallet_of(university, category)
    with pytest.raises(PeriodBackwards):
        Days(TODAY, TODAY - timedelta(days=1))
    with pytest.raises(PeriodTooLong):
        Days(date(1976, 11, 21), TODAY)
    assert len(history.usage_series(wallet=wallet, days=Days(date(1976, 12, 1), TODAY), at=AT).points) == 600
    year_and_more = Days(TODAY - timedelta(days=400), TODAY)
    with pytest.raises(StepTooFine):
        history.usage_series(wallet=wallet, days=year_and_more, at=AT, step=Step.DAY)
    assert history.usage_series(wallet=wallet, days=year_and_more, at=AT).step is Step.MONTH
    assert Days(date.max, date.max).whole_months == []
    assert history.stretches(Days(date(9999, 12, 30), date.max), Step.DAY)[-1] == (date.max, date.max)


# ------------------------------------------------------------------------------------------------ breakdowns
@pytest.mark.parametrize("gathered", [False, True])
def test_breakdown__of_a_tree__counts_each_wallet_once_with_its_whole_subtree(
    category, university, projects, gathered
) -> None:
    physics, chemistry, biology = projects
    below = make_workspace(make_project(organization=university.organization, parent=physics.project, name="Quarks"))
    root = make_allocation(university, category, 1000)
    to_physics = make_allocation(physics, category, 500, source=root.wallet)
    to_chemistry = make_allocation(chemistry, category, 500, source=root.wallet)
    make_allocation(biology, category, 500, source=root.wallet)
    make_allocation(below, category, 100, source=to_physics.wallet)
    make_allocation(below, category, 100, source=to_chemistry.wallet)  # it stands below both, and counts once
    ada = make_person("ada@example.org")
    first = make_report(physics, category, 30, user="ada", person_id=ada.pk, resource_id=8, labels={"product": "thin"})
    post(
        first,
        make_report(below, category, 25, user="bob", resource_id=9, labels={"product": "fat"}),
        make_report(chemistry, category, 20, user="bob", until=AT - timedelta(days=40)),
        make_report(university, category, 5),
        make_report(biology, category, 99, until=AT - timedelta(days=300)),
    )
    post(make_report(physics, category, 10, corrects=first.report_id))
    if gathered:
        gather(category)
    wallet = wallet_of(university, category)
    days = Days(TODAY - timedelta(days=60), TODAY)

    def told(**how):
        found = history.usage_breakdown(wallet=wallet, days=days, **how)
        return (
            [(one.name, one.ticks) for one in found.parts],
            found.other_ticks,
            found.other_count,
            found.hidden_ticks,
            found.total_ticks,
        )

    assert told(by=By.CHILD) == ([("Physics", 35), ("Chemistry", 20), ("University", 5)], 0, 0, 0, 60)
    assert told(by=By.CHILD, top=1) == ([("Physics", 35)], 25, 2, 0, 60)
    assert told(by=By.CHILD, below=False) == ([("University", 5)], 0, 0, 0, 5)
    assert told(by=By.PERSON) == ([("bob", 45), ("ada", 10), ("", 5)], 0, 0, 0, 60)
    assert told(by=By.PERSON, top=1) == ([("bob", 45)], 15, 2, 0, 60)
    seen = [to_physics.wallet_id]
    assert told(by=By.PERSON, seen=seen) == ([("ada", 10)], 0, 0, 50, 60)
    assert told(by=By.PRODUCT) == ([("", 25), ("fat", 25), ("thin", 10)], 0, 0, 0, 60)
    by_resource = history.usage_breakdown(wallet=wallet, days=days, by=By.RESOURCE)
    assert [(one.key, one.ticks) for one in by_resource.parts] == [(None, 25), (9, 25), (8, 10)]
    people = history.usage_breakdown(wallet=wallet, days=days, by=By.PERSON)
    assert [one.key for one in people.parts] == [None, ada.pk, None]


@pytest.mark.parametrize("gathered", [False, True])
def test_breakdown__of_most_of_a_category__is_the_whole_without_the_others(
    category, university, projects, gathered, monkeypatch
) -> None:
    root = make_allocation(university, category, 1000)
    for project in projects:
        make_allocation(project, category, 500, source=root.wallet)
    alone = make_workspace(make_organization("Elsewhere"))
    make_allocation(alone, category, 10)
    people = [None, make_person().pk, make_person().pk]
    ada = {"user": "ada", "person_id": people[1], "resource_id": 8, "labels": {"product": "thin"}}
    bob = {"user": "bob", "resource_id": 9, "labels": {"product": "fat"}}
    first = make_report(projects[0], category, 30, **ada)
    post(
        first,
        *(make_report(place, category, 5, until=AT - timedelta(days=40), **bob) for place in (*projects, alone)),
        make_report(alone, category, 7, **ada),
        make_report(alone, category, 4, user="eve"),
        make_report(projects[1], category, 3, until=noon(10, 1)),
    )
    post(make_report(projects[0], category, 10, corrects=first.report_id))
    before = [  # of each month since November 2024, none of this autumn
        make_report(
            [*projects, alone][back % 4], category, 1 + back, until=AT - timedelta(days=back), user=f"u{back % 5}",
            person_id=people[back % 3], resource_id=back % 4 + 1,
        )
        for back in range(60, 750, 11)
    ]  # fmt: skip
    post(*before)
    if gathered:
        gather(category)
    wallet = wallet_of(university, category)

    def told(many, days):
        monkeypatch.setattr(history, "_MANY", many)
        found = {}
        for by in (By.PERSON, By.RESOURCE, By.PRODUCT):
            one = history.usage_breakdown(wallet=wallet, days=days, by=by, top=2)
            parts = [(part.key, part.name, part.ticks) for part in one.parts]
            found[by] = (parts, one.other_ticks, one.other_count, one.total_ticks)
        return found

    autumn = Days(date(2026, 9, 30), date(2026, 11, 22))
    assert told(1, autumn) == {
        By.PERSON: ([(None, "bob", 15), (people[1], "ada", 10)], 3, 1, 28),
        By.RESOURCE: ([(9, "", 15), (8, "", 10)], 3, 1, 28),
        By.PRODUCT: ([(None, "fat", 15), (None, "thin", 10)], 3, 1, 28),
    }
    for days in (
        autumn,
        Days(date(2026, 10, 1), date(2026, 10, 31)),
        Days(date(2026, 10, 12), date(2026, 11, 21)),
        Days(TODAY, TODAY),
        Days(date(2025, 1, 1), date(2025, 12, 31)),  # a whole year, most of one, parts of two, more than two
        Days(date(2025, 1, 1), date(2025, 11, 30)),
        Days(date(2025, 3, 1), date(2025, 4, 30)),
        Days(date(2025, 11, 15), date(2026, 11, 14)),
        Days(date(2025, 12, 1), date(2026, 1, 31)),
        Days(date(2024, 11, 3), date(2026, 11, 21)),
    ):
        assert told(500, days) == told(1, days)
        assert told(1, days)[By.PERSON][3] > 0


def test_migration__of_what_was_gathered_before__fills_what_a_category_used_by_whom(
    category, university, drive
) -> None:
    make_allocation(university, category, 1000)
    make_allocation(university, drive, 1000)
    ada = {"user": "ada", "person_id": make_person().pk}
    post(
        make_report(university, category, 10, resource_id=8, labels={"product": "thin"}, **ada),
        make_report(university, category, 5, resource_id=9, until=AT - timedelta(days=40), **ada),
        make_report(university, drive, 7, is_absolute=True),
    )
    gather(category)
    gather(drive)
    post(make_report(university, category, 1, user="ada"))  # not gathered yet
    tables = [*rollups.OF_CATEGORY, *rollups.OF_CATEGORY_BY_YEAR]
    kept = {table: _rows(table) for table in tables}
    assert [len(rows) for rows in kept.values()] == [3, 3, 3, 2, 3]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"UPDATE {table} SET ticks = 99")
    for name in ("0009_rollups_of_a_nation", "0011_years_of_a_nation"):
        import_module(f"bursar.metering.migrations.{name}").fill(None, connection.schema_editor())
    assert {table: _rows(table) for table in tables} == kept
    assert selectors.verify(category_id=category.pk) == selectors.verify(category_id=drive.pk) == []


def _rows(table: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
        return cursor.fetchall()


# ------------------------------------------------------------------------------------------------ health
@pytest.mark.parametrize("gathered", [False, True])
def test_health__of_each_child__and_over_commitment(category, university, projects, gathered) -> None:
    physics, chemistry, biology = projects
    root = make_allocation(university, category, 1000)
    to_physics = make_allocation(physics, category, 400, source=root.wallet)
    make_allocation(chemistry, category, 600, source=root.wallet)
    make_allocation(biology, category, 500, source=root.wallet)
    post(
        make_report(physics, category, 360),
        make_report(chemistry, category, 50, until=AT - timedelta(days=29)),
        make_report(biology, category, 300, until=AT - timedelta(days=30)),
    )
    if gathered:
        gather(category)
    wallet = wallet_of(university, category)
    given, rows = history.children_health(wallet=wallet, at=AT)
    assert [(str(row.wallet.workspace), row.state, row.quota_ticks, row.drawn_ticks) for row in rows] == [
        ("Biology", Health.IDLE, 500, 300),
        ("Chemistry", Health.UNDER_USED, 600, 50),
        ("Physics", Health.AT_RISK, 400, 360),
    ]
    assert (given.held_ticks, given.given_ticks, given.ratio, given.expiry) == (1000, 1500, Fraction(3, 2), YEAR_END)
    elapsed = Fraction(int((AT - YEAR_START).total_seconds()), 365 * 86_400)
    assert given.recommended == Fraction(900 * 1500, 1000) / (710 / elapsed)
    assert history.commitment_at(wallet=wallet, at=AT) == (1000, 1500)
    accounting.change_allocation(allocation=to_physics, quota_ticks=500, by=None, at=AT + timedelta(days=1))
    assert history.commitment_at(wallet=wallet, at=AT) == (1000, 1500)
    assert history.commitment_at(wallet=wallet, at=AT + timedelta(days=1)) == (1000, 1600)
    assert history.commitment_at(wallet=wallet, at=YEAR_END) == (0, 0)


def test_history__a_larger_tree_and_a_longer_period__cost_no_more_queries(
    category, university, projects, django_assert_max_num_queries
) -> None:
    root = make_allocation(university, category, 1000)
    wallet = wallet_of(university, category)
    make_allocation(projects[0], category, 10, source=root.wallet)
    post(make_report(projects[0], category, 1))

    def ask(days) -> None:
        history.usage_series(wallet=wallet, days=days, at=AT)
        for by in By:
            history.usage_breakdown(wallet=wallet, days=days, by=by, seen=[wallet.pk])
        history.children_health(wallet=wallet, at=AT)

    with django_assert_max_num_queries(50) as few:
        ask(Days(TODAY, TODAY))
    for project in projects[1:]:
        make_allocation(project, category, 10, source=root.wallet)
        post(make_report(project, category, 1, until=AT - timedelta(days=90)))
    with django_assert_max_num_queries(len(few)):
        ask(Days(TODAY - timedelta(days=700), TODAY))
