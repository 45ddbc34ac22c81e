"""A wallet's forecast is that of its own books: what it holds, what is free above, what all below it used."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import typer

from bursar.accounting.models import Wallet
from bursar.config.ledger_backtest import report
from bursar.engine.forecast import Range
from bursar.metering.forecasts import Forfeit, Known, WalletForecast, backtest_category, forecast_of
from bursar.metering.services import post_reports
from tests.factories.catalogue import make_category, make_level_category
from tests.factories.ledger import make_allocation, make_report
from tests.factories.structure import make_organization, make_project, make_workspace

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TODAY = datetime(2026, 11, 21, tzinfo=UTC)
BEGAN = TODAY - timedelta(days=28)


def day(number: float) -> datetime:
    return TODAY + timedelta(days=number)


@pytest.fixture
def category(verified):
    return verified(make_category())


@pytest.fixture
def university():
    return make_workspace(make_organization("University"))


@pytest.fixture
def project(university):
    return make_workspace(make_project(organization=university.organization, start=BEGAN, at=BEGAN))


def give(workspace, category, quota, end, *, source=None, start=BEGAN):
    return make_allocation(workspace, category, quota, source=source, start=start, end=end, at=BEGAN)


def use(workspace, category, ticks, days=28, **more):
    reports = [
        make_report(workspace, category, ticks, until=day(-number) + timedelta(hours=2), **more)
        for number in range(1, days + 1)
    ]
    post_reports(reports=reports, by=None, at=NOON)


def seen(workspace, category):
    return forecast_of(wallet=Wallet.objects.get(workspace=workspace, category=category), at=NOON)


def all_of(ticks):
    return Range(ticks, ticks, ticks)


def test_forecast__steady_usage__runs_out_on_one_day_and_forfeits_the_rest(university, category) -> None:
    soon, later = give(university, category, 1000, day(10)), give(university, category, 240, day(40))
    use(university, category, 24)

    found = seen(university, category)

    # 1,000 less 28 * 24 = 328; 228 more are used until its end; then 240 last ten days from then on.
    assert (found.known, found.weeks, found.samples, found.run_out) == (Known.YES, 4, 1000, 1000)
    assert (found.early, found.likely, found.late) == (day(20),) * 3
    assert found.forfeits == (Forfeit(soon.pk, day(10), all_of(100)), Forfeit(later.pk, day(40), all_of(0)))
    assert (found.bound_ticks, found.until) == (328 + 240, day(40))
    assert (found.fan[0].at, found.fan[0].ticks) == (NOON, all_of(0))
    assert (found.fan[1].at, found.fan[1].ticks) == (NOON + timedelta(days=7), all_of(168))
    assert seen(university, category) == found


def test_forecast__of_a_source__counts_what_is_used_below(university, project, category) -> None:
    root = give(university, category, 1000, day(40))
    below = give(project, category, 900, day(40), source=root.wallet)
    use(project, category, 24)

    assert seen(university, category).likely == NOON + timedelta(hours=328)
    found = seen(project, category)
    assert found.likely == NOON + timedelta(hours=228)
    assert found.forfeits == (Forfeit(below.pk, day(40), all_of(0)),)


def test_forecast__a_source_that_has_less__binds(university, project, category) -> None:
    root = give(university, category, 768, day(40))
    below = give(project, category, 2000, day(60), source=root.wallet)
    use(project, category, 24)

    found = seen(project, category)
    assert (found.bound_ticks, found.likely) == (96, NOON + timedelta(hours=96))
    assert found.forfeits == (Forfeit(below.pk, day(60), all_of(2000 - 28 * 24 - 96)),)


def test_forecast__a_source_whose_window_ends__binds_from_then_on(university, project, category) -> None:
    root = give(university, category, 5000, day(5))
    give(project, category, 2000, day(60), source=root.wallet)
    use(project, category, 24)
    assert seen(project, category).likely == day(5)

    give(university, category, 240, day(60), start=day(5))
    found = seen(project, category)
    assert found.likely == day(15)


def test_forecast__a_project_that_ends__uses_nothing_more(university, category) -> None:
    ending = make_workspace(make_project(organization=university.organization, start=BEGAN, end=day(3), at=BEGAN))
    only = give(ending, category, 1000, day(40))
    use(ending, category, 24)

    found = seen(ending, category)
    assert (found.likely, found.run_out) == (None, 0)
    assert found.forfeits == (Forfeit(only.pk, day(40), all_of(328 - 60)),)


def test_forecast__what_stands_uncovered__takes_from_what_comes(university, category) -> None:
    give(university, category, 600, day(2))
    coming = give(university, category, 240, day(40), start=day(2))
    use(university, category, 24)

    found = seen(university, category)
    assert (found.early, found.late) == (NOON, NOON)
    assert found.forfeits[1] == Forfeit(coming.pk, day(40), all_of(0))


@pytest.mark.parametrize("days", [0, 13])
def test_forecast__little_history__says_so(university, category, days) -> None:
    make_allocation(university, category, 1000, start=day(-days), end=day(40), at=day(-days))
    found = seen(university, category)
    assert found == WalletForecast(found.wallet_id, Known.TOO_SHORT, weeks=days // 7)


def test_forecast__nothing_held_or_no_bound__says_so(university, category, verified) -> None:
    only = give(university, category, 1000, day(-3))
    assert seen(university, category).known == Known.NOTHING_HELD
    assert only.wallet_id == seen(university, category).wallet_id
    free = verified(make_category(requires_allocation=False))
    use(university, free, 5, days=1)
    assert seen(university, free).known == Known.FREE


def test_forecast__nothing_used__forfeits_all(university, category) -> None:
    only = give(university, category, 1000, day(40))
    found = seen(university, category)
    assert (found.run_out, found.forfeits) == (0, (Forfeit(only.pk, day(40), all_of(1000)),))


def test_forecast__a_level_that_rises__reaches_what_it_may_stand_at(university, verified) -> None:
    drive = verified(make_level_category())
    give(university, drive, 400, day(90))
    use(university, drive, 10)

    found = seen(university, drive)
    assert (found.known, found.bound_ticks, found.forfeits) == (Known.YES, 400, ())
    assert found.likely == NOON + timedelta(days=12)
    assert found.fan[1].ticks == all_of(350)


def test_forecast__a_level_whose_allocation_ends__has_run_out_where_the_rest_is_too_small(university, verified) -> None:
    drive = verified(make_level_category())
    give(university, drive, 300, day(4))
    give(university, drive, 100, day(90))
    use(university, drive, 10)
    assert seen(university, drive).likely == day(4)


def test_forecast__more_history__costs_no_more_queries(university, category, django_assert_num_queries) -> None:
    give(university, category, 1000, day(40))
    wallet = Wallet.objects.select_related("category", "workspace__project").get()
    for days in (0, 28):
        use(university, category, 24, days=days) if days else None
        with django_assert_num_queries(5):
            forecast_of(wallet=wallet, at=NOON)


def test_backtest__steady_wallets__is_exact(university, project, category) -> None:
    root = give(university, category, 10**6, day(40), start=day(-100))
    give(project, category, 10**6, day(40), source=root.wallet, start=day(-7 * 12))
    use(university, category, 24, days=100)
    use(project, category, 10, days=7 * 12)

    found = backtest_category(category=category, at=NOON, seed=1)

    assert (found.series, found.idle) == (2, 0)
    four, *others = found.tallies
    assert (four.horizon_weeks, four.cases, four.within, four.width, four.truth) == (4, 3, 3, 0, 28 * (2 * 24 + 10))
    assert [one.cases for one in others] == [0, 0, 0]


def test_backtest_command__steady_wallets__prints_their_coverage(university, category, capsys) -> None:
    give(university, category, 10**6, day(40), start=day(-7 * 12))
    use(university, category, 24, days=7 * 12)

    report(category_ids=[category.pk], as_json=True, seed=1, at=NOON)
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["category_id"], told["series"], told["idle"]) == (category.pk, 1, 0)
    assert told["tallies"][0] == {
        "horizon_weeks": 4, "cases": 1, "below_low": 0, "below_middle": 0, "below_high": 0, "within": 1,
        "width": 0, "loss": 0.0, "truth": 672,
    }  # fmt: skip

    report(category_ids=[], as_json=False, seed=1, at=NOON)
    printed = capsys.readouterr().out
    assert f"{category.title}: 1 wallets, 0 idle cases left out" in printed
    assert "within" in printed

    with pytest.raises(typer.Exit):
        report(category_ids=[category.pk, 10**9], as_json=True, seed=1, at=NOON)
    assert "There is no product category 1000000000 that needs an allocation." in capsys.readouterr().err
