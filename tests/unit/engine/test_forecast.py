"""Forecasts of histories whose every week is alike are certain; where weeks differ, the seed decides."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from bursar.engine.forecast import (
    DAY,
    HORIZON_DAYS,
    Forecast,
    Grant,
    Method,
    Range,
    RunOut,
    Stretch,
    draw,
    forecast,
    forecast_level,
)
from bursar.engine.ledger.errors import Overflow

NOW = 20_000 * DAY  # midnight, Wednesday
STEADY = [24] * 28


def day(number: float) -> int:
    return NOW + round(number * DAY)


def grant(left: int, end: float, start: float = -30, **more: int) -> Grant:
    return Grant(left, day(start), day(end), **more)


def seen(*grants: Grant, usage: list[int] = STEADY, now: int = NOW, **more: object) -> Forecast:
    return forecast(usage=usage, now=now, grants=grants, seed=1, samples=100, **more)  # type: ignore[arg-type]


def certain(at: float | None) -> RunOut:
    return RunOut(None, None, None, 0) if at is None else RunOut(*[day(at)] * 3, 100)


def all_of(ticks: int) -> Range:
    return Range(ticks, ticks, ticks)


@pytest.mark.parametrize(
    "grants, run_out, forfeited",
    [
        ([grant(240, 20)], 10, [0]),
        ([grant(480, 10)], None, [240]),
        ([grant(240, 10)], None, [0]),  # what is used at the very end is no run-out: nothing is open then
        ([grant(252, 20)], 10.5, [0]),
        ([grant(0, 20)], 0, [0]),
        # what expires first is used first, unless a priority says otherwise
        ([grant(480, 30), grant(240, 20)], None, [0, 0]),
        ([grant(490, 30), grant(250, 5)], 25 + 10 / 24, [0, 130]),
        ([grant(480, 30, priority=1), grant(480, 15, priority=2)], 20, [0, 480]),
        # a planned one adds room when it opens, and one that lies behind a gap is no run-out
        ([grant(240, 10), grant(120, 30, start=10)], 15, [0, 0]),
        ([grant(480, 10), grant(480, 30, start=20)], None, [240, 240]),
        # run out before the planned one opens
        ([grant(120, 40), grant(9999, 50, start=8)], 5, [0, 9999 - 42 * 24]),
    ],
)  # fmt: skip
def test_forecast__steady_usage__runs_out_and_forfeits(
    grants: list[Grant], run_out: float | None, forfeited: list[int]
) -> None:
    found = seen(*grants)
    assert (found.run_out, found.forfeited) == (certain(run_out), tuple(map(all_of, forfeited)))


def test_forecast__in_the_middle_of_a_day__counts_the_rest_of_it() -> None:
    found = seen(grant(24, 20), now=day(0.25))
    assert found.run_out == certain(1.25)
    assert found.fan[0] == (day(0.25), all_of(0))
    assert found.fan[1] == (day(7.25), all_of(168))


def test_forecast__a_weekend__keeps_its_place_in_the_week() -> None:
    weekend = [10, 10, 10, 0, 0, 10, 10] * 3  # the day before NOW is the last: NOW is like the first
    assert seen(grant(30, 20), usage=weekend).run_out == certain(3)
    assert seen(grant(31, 20), usage=weekend).run_out == certain(5.1)


def test_forecast__less_than_two_weeks__says_nothing() -> None:
    found = seen(grant(1, 9), usage=[5] * 13)
    assert found == Forecast(weeks=1, samples=100)
    assert not found.is_known


def test_forecast__nothing_was_used__never_runs_out_and_forfeits_all() -> None:
    found = seen(grant(77, 9), grant(5, 400), usage=[0] * 60)
    assert (found.run_out, found.forfeited) == (certain(None), (all_of(77), all_of(5)))


def test_forecast__a_source_that_has_less__runs_out_with_it() -> None:
    above = [Stretch(NOW, free=(120, 1000), kept=(120, 1000))]
    found = seen(grant(480, 20, source=0), stretches=above)
    assert (found.run_out, found.forfeited) == (certain(5), (all_of(360),))


def test_forecast__two_sources_that_share_what_is_above__are_not_counted_twice() -> None:
    above = [Stretch(NOW, free=(240, 240, 240), kept=(240, 240, 240))]
    found = seen(grant(240, 20, source=0), grant(240, 20, source=1), stretches=above)
    assert (found.run_out, found.forfeited) == (certain(10), (all_of(0), all_of(240)))


def test_forecast__a_source_that_is_renewed__is_all_there_again() -> None:
    renewed = [Stretch(NOW, (240, 240), (240, 240)), Stretch(day(5), (240, 240), (0, 0))]
    assert seen(grant(999, 20, source=0), stretches=renewed).run_out == certain(15)
    goes_on = [Stretch(NOW, (240, 240), (240, 240)), Stretch(day(5), (240, 240), (240, 240))]
    assert seen(grant(999, 20, source=0), stretches=goes_on).run_out == certain(10)
    ends = [Stretch(NOW, (240, 240), (240, 240)), Stretch(day(5), (0, 0), (0, 0))]
    assert seen(grant(999, 20, source=0), stretches=ends).run_out == certain(5)


def test_forecast__what_stands_uncovered__is_covered_first() -> None:
    found = seen(grant(0, 10), grant(240, 30, start=10), uncovered=48)
    assert found.forfeited == (all_of(0), all_of(0))
    assert found.run_out == certain(0)
    assert seen(grant(240, 30), uncovered=48).run_out == certain(8)


def test_forecast__the_holder_ends__uses_nothing_more() -> None:
    found = seen(grant(240, 20), stops=day(5))
    assert (found.run_out, found.forfeited) == (certain(None), (all_of(120),))
    assert seen(grant(240, 20), stops=day(-5)).forfeited == (all_of(240),)


def test_forecast__an_end_beyond_the_horizon__is_left_open() -> None:
    found = seen(grant(10**6, HORIZON_DAYS + 1), grant(240, -1))
    assert (found.run_out, found.forfeited) == (certain(None), (None, None))
    assert found.fan[-1] == (day(HORIZON_DAYS), all_of(24 * HORIZON_DAYS))


def test_forecast__weeks_that_differ__give_these_ranges() -> None:
    bursts = [100 if (number // 7) % 4 == 1 else 4 for number in range(7 * 26)]
    found = forecast(usage=bursts, now=NOW, grants=[grant(4000, 365)], seed=20)
    again = forecast(usage=bursts, now=NOW, grants=[grant(4000, 365)], seed=20)
    other = forecast(usage=bursts, now=NOW, grants=[grant(4000, 365)], seed=21)
    assert found == again
    assert found != other
    assert found.run_out is not None
    days = [None if at is None else (at - NOW) // DAY for at in astuple(found.run_out)[:3]]
    assert days == [55, 120, None]
    assert (found.run_out.samples, found.forfeited) == (866, (Range(0, 0, 1235),))


def test_forecast__growing_usage__is_expected_to_grow_on_in_half_of_the_futures() -> None:
    growing = [1000 + 20 * (number // 7) for number in range(7 * 20)]
    plain = forecast(usage=growing, now=NOW, grants=[grant(10**9, 56)], seed=3, method=Method(trend=0)).fan[-1][1]
    found = forecast(usage=growing, now=NOW, grants=[grant(10**9, 56)], seed=3).fan[-1][1]
    truth = sum(1000 + 20 * (number // 7) for number in range(7 * 20, 7 * 28))
    assert plain.high < truth < found.high


def test_draw__a_longer_horizon__goes_on_where_a_shorter_one_ends() -> None:
    weeks = np.arange(70).reshape(10, 7)
    short, long = (draw(weeks, days, 5, 50, Method()) for days in (30, 300))
    assert np.array_equal(short, long[:, :30])


def test_forecast__amounts_that_do_not_fit__are_refused() -> None:
    with pytest.raises(Overflow):
        seen(grant(5, 400), usage=[2**60] * 14)
    with pytest.raises(Overflow):
        seen(grant(5, 400), usage=[2**63] * 14)


def test_forecast__the_greatest_quota__does_not_wrap() -> None:
    found = seen(grant(2**63 - 1, 20), grant(2**63 - 1, 20))
    assert (found.run_out, found.forfeited) == (certain(None), (all_of(2**63 - 1 - 480), all_of(2**63 - 1)))


# ------------------------------------------------------------------------------------------------ levels
def level(changes: list[int], now_at: int, *rooms: tuple[int, int], **more: object) -> Forecast:
    settings = {"now": NOW, "last": day(30), "seed": 1, "samples": 100, **more}
    return forecast_level(changes=changes, level=now_at, rooms=rooms, **settings)  # type: ignore[arg-type]


def test_forecast_level__a_steady_rise__reaches_the_quota() -> None:
    found = level([10] * 28, 50, (NOW, 100))
    assert (found.run_out, found.forfeited) == (certain(10), ())
    assert level([10] * 28, 50, (NOW, 300)).run_out == certain(None)


def test_forecast_level__less_room_from_an_instant_on__runs_out_there() -> None:
    assert level([10] * 28, 50, (NOW, 300), (day(5), 40)).run_out == certain(5)
    assert level([10] * 28, 50, (NOW, 300), (day(5), 100)).run_out == certain(10)


def test_forecast_level__a_fall__stops_at_zero() -> None:
    found = level([-10] * 28, 50, (NOW, 100))
    assert found.fan[-1] == (day(30), all_of(-50))
    assert found.run_out == certain(None)


def test_forecast_level__full_already__has_run_out_now() -> None:
    assert level([0] * 28, 50, (NOW, 0)).run_out == certain(0)
    assert not level([0] * 13, 50, (NOW, 0)).is_known
    assert replace(level([0] * 28, 50, (NOW, 5)), fan=()) == Forecast(weeks=4, samples=100, run_out=certain(None))
