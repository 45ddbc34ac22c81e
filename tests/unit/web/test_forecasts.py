"""A forecast in sentences."""

from datetime import UTC, datetime, timedelta

import pytest

from bursar.engine.forecast import Range
from bursar.kernel.quantity import Unit
from bursar.metering.forecasts import FanPoint, Forfeit, Known, WalletForecast
from bursar.web import forecasts

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)
CORE_HOURS = Unit("core-hours", 3600)


def found(*days: int | None, forfeits: tuple[Forfeit, ...] = ()) -> WalletForecast:
    early, likely, late = (None if one is None else AT + timedelta(days=one) for one in days)
    return WalletForecast(
        7, Known.YES, weeks=9, early=early, likely=likely, late=late, samples=1000, forfeits=forfeits, until=UNTIL
    )


@pytest.mark.parametrize(
    "days, sentence",
    [
        ((None, None, None), "Not likely to run out before its end on 31 Dec 2026."),
        ((5, None, None), "May run out from 26 Nov 2026 on, but is likelier to last until its end on 31 Dec 2026."),
        ((5, 9, None), "Runs out from 26 Nov 2026 on (likely 30 Nov 2026), but may last until its end on 31 Dec 2026."),
        ((5, 9, 12), "Runs out between 26 Nov 2026 and 3 Dec 2026 (likely 30 Nov 2026)."),
        ((5, 5, 5), "Runs out on 26 Nov 2026."),
        ((0, 0, 0), "Nothing is left now."),
    ],
)
def test_run_out__each_case__is_one_sentence(days: tuple[int | None, ...], sentence: str) -> None:
    assert forecasts._run_out(found(*days), AT) == sentence


def test_forfeits__what_is_likely_to_be_unused__is_told_by_its_last_day() -> None:
    told = forecasts._forfeits(
        found(
            None, None, None,
            forfeits=(
                Forfeit(1, UNTIL, Range(3600 * 1000, 3600 * 1234, 3600 * 1678)),
                Forfeit(2, UNTIL, Range(3600, 3600, 3600)),
                Forfeit(3, UNTIL, Range(0, 0, 500)),
                Forfeit(4, UNTIL, None),
            ),
        ),
        CORE_HOURS,
    )  # fmt: skip
    assert told == [
        "About 1\u202f200 core-hours likely to be forfeited on 31 Dec 2026 (between 1\u202f000 and 1\u202f700).",
        "About 1 core-hour likely to be forfeited on 31 Dec 2026.",
    ]


@pytest.mark.parametrize(
    "ticks, text",
    [(0, "0"), (3600, "1"), (1, "0.00028"), (3600 * 15, "15"), (3600 * 999, "1\u202f000"), (5400, "1.5")],
)
def test_about__an_amount__has_two_digits(ticks: int, text: str) -> None:
    assert forecasts.about(ticks, CORE_HOURS) == text


def test_chart__nothing_to_be_used__is_not_drawn() -> None:
    idle = WalletForecast(7, Known.YES, weeks=9, fan=(FanPoint(AT, Range(0, 0, 0)), FanPoint(UNTIL, Range(0, 0, 0))))
    assert forecasts._chart(idle, CORE_HOURS, is_level=False) is None


def test_rests_on__few_weeks__warns() -> None:
    assert "can mislead" not in forecasts._rests_on(found(5, 9, 12))
    short = WalletForecast(7, Known.YES, weeks=3)
    assert forecasts._rests_on(short).startswith("Foretold from 3 weeks of usage")
    assert forecasts._rests_on(short).endswith("So little history can mislead.")
