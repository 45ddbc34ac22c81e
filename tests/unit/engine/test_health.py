"""Health and over-commitment: each boundary of each rule."""

from fractions import Fraction

import pytest

from bursar.engine.health import (
    DAY,
    Health,
    Held,
    expected,
    health,
    next_expiry,
    over_commitment,
    recommended_over_commitment,
)
from bursar.engine.quota import QuotaChange, Stage, quota_at, stages

NOW = 1000 * DAY


def held(quota: int, drawn: int, begun: int = 100, left: int = 100) -> Held:
    """Open since so many days, for so many more."""
    return Held(quota, drawn, NOW - begun * DAY, NOW + left * DAY)


def planned(quota: int, starts: int, left: int) -> Held:
    return Held(quota, 0, NOW + starts * DAY, NOW + left * DAY)


@pytest.mark.parametrize(
    ("what", "allocations", "used_lately", "is_over_time", "state"),
    [
        ("nothing is open", [], True, True, None),
        ("it has ended", [held(100, 50, left=0)], True, True, None),
        ("it starts a microsecond later", [Held(100, 0, NOW + 1, NOW + DAY)], True, True, None),
        ("just short of nine tenths", [held(1000, 899)], True, True, Health.OK),
        ("nine tenths", [held(1000, 900)], True, True, Health.AT_RISK),
        ("nine tenths of two together", [held(500, 500), held(500, 400)], True, True, Health.AT_RISK),
        ("just short of that", [held(500, 500), held(500, 399)], True, True, Health.OK),
        ("four fifths of what holds in 30 days", [held(500, 200, left=30), held(500, 200)], True, True, Health.AT_RISK),
        ("just short of four fifths", [held(500, 200, left=30), held(500, 199)], True, True, Health.OK),
        ("it ends a microsecond after 30 days", [Held(1000, 800, NOW - 100 * DAY, NOW + 30 * DAY + 1)], True, True, Health.OK),
        ("it ends in 30 days", [held(1000, 800, left=30)], True, True, Health.AT_RISK),
        ("it ends in 30 days and as much follows", [held(1000, 800, left=20), planned(1000, 20, 400)], True, True, Health.OK),
        ("less follows", [held(1000, 800, left=20), planned(999, 20, 400)], True, True, Health.AT_RISK),
        ("less follows, filled by less", [held(1000, 799, left=20), planned(999, 20, 400)], True, True, Health.OK),
        ("what follows starts after 30 days", [held(1000, 800, left=20), planned(1000, 31, 400)], True, True, Health.AT_RISK),
        ("it ends soon and nothing was ever used", [held(1000, 0, begun=10, left=20)], False, True, Health.UNDER_USED),
        ("nothing used for 30 days", [held(1000, 600)], False, True, Health.IDLE),
        ("nothing used, open for 30 days", [held(1000, 0, begun=30, left=1)], False, True, Health.IDLE),
        ("nothing used, not open that long", [Held(1000, 0, NOW - 30 * DAY + 1, NOW + DAY)], False, True, Health.UNDER_USED),
        ("nearly all used, none of it lately", [held(1000, 950)], False, True, Health.AT_RISK),
        ("a level that stands", [held(1000, 600)], False, False, Health.OK),
        ("a level of nothing", [held(1000, 0)], False, False, Health.IDLE),
        ("half of an even use", [held(1000, 250)], True, True, Health.OK),
        ("less than half of it", [held(1000, 249)], True, True, Health.UNDER_USED),
        ("half of it over two windows", [held(1000, 0, begun=10, left=90), held(1000, 300)], True, True, Health.OK),
        ("less of it over two windows", [held(1000, 0, begun=10, left=90), held(1000, 299)], True, True, Health.UNDER_USED),
        ("a quota of nothing", [held(0, 0)], True, True, Health.OK),
    ],
)  # fmt: skip
def test_health__each_boundary__is_told(
    what: str, allocations: list[Held], used_lately: bool, is_over_time: bool, state: Health | None
) -> None:
    assert health(allocations, used_lately=used_lately, is_over_time=is_over_time, now=NOW) == state, what


def test_expected__windows_of_different_ages__are_each_told_by_their_own() -> None:
    assert expected([held(300, 0, begun=1, left=2), held(100, 0, begun=3, left=1), planned(9, 1, 2)], NOW) == 175


def test_over_commitment__is_given_for_held() -> None:
    assert over_commitment(1100, 1000) == Fraction(11, 10)
    assert over_commitment(0, 1000) == 0
    assert over_commitment(5, 0) is None


def test_next_expiry__what_is_less_than_a_tenth_or_not_open__does_not_count() -> None:
    given = [held(10, 0, left=1), held(91, 0, left=50), held(0, 0, left=2), planned(900, 1, 3)]
    assert next_expiry(given, NOW) == NOW + 50 * DAY
    assert next_expiry([held(10, 0, left=1), held(90, 0, left=50)], NOW) == NOW + DAY
    assert next_expiry([], NOW) is None


@pytest.mark.parametrize(
    ("what", "given", "used_here", "is_over_time", "ratio"),
    [
        # Half of the time gone, 300 of 1000 used: 600 by the end. With 1.5 times as much given it would be 900 of 1000.
        ("half way", [held(1000, 300)], 0, True, Fraction(3, 2)),
        # The total counts, not what the last days brought: 450 in 100 of 200 days make 900.
        ("at the mark exactly", [held(1000, 450)], 0, True, Fraction(1)),
        ("two ends", [held(600, 150), held(400, 90, begun=300, left=300)], 0, True, Fraction(900, 300 + 120)),
        ("the giver uses itself", [held(1000, 300)], 300, True, Fraction(1)),
        ("the giver uses all itself", [held(1000, 300)], 900, True, Fraction(0)),
        ("a level stays", [held(1000, 300)], 0, False, Fraction(3)),
        ("one that has just begun has no pace", [held(1000, 300), held(500, 0, begun=0)], 0, True, Fraction(9, 4)),
        ("nothing used", [held(1000, 0)], 0, True, None),
        ("nothing given", [], 0, True, None),
    ],
)
def test_recommended_over_commitment__each_case__is_exact(
    what: str, given: list[Held], used_here: int, is_over_time: bool, ratio: Fraction | None
) -> None:
    found = recommended_over_commitment(given, held=1000, used_here=used_here, is_over_time=is_over_time, now=NOW)
    assert found == ratio, what
    assert recommended_over_commitment(given, held=0, used_here=used_here, is_over_time=is_over_time, now=NOW) is None


def test_stages__each_change__holds_from_its_own_instant() -> None:
    history = stages(
        [
            QuotaChange(50, 100, 10, 200),  # made at 50, agreed from 10 on
            QuotaChange(60, 20),
            QuotaChange(90, -40, None, 120),
            QuotaChange(110, 0, None, 110),  # revoked
        ]
    )
    assert history == [
        Stage(10, 100, 10, 200),
        Stage(60, 120, 10, 200),
        Stage(90, 80, 10, 120),
        Stage(110, 80, 10, 110),
    ]
    told = [(at, quota_at({7: history}, at).get(7)) for at in (9, 10, 59, 60, 89, 90, 109, 110, 119)]
    assert told == [
        (9, None),
        (10, 100),
        (59, 100),
        (60, 120),
        (89, 120),
        (90, 80),
        (109, 80),
        (110, None),
        (119, None),
    ]


def test_stages__a_planned_allocation_moved__is_open_in_its_last_window_alone() -> None:
    history = stages([QuotaChange(5, 7, 20, 30), QuotaChange(10, 0, 40, 50)])
    assert [quota_at({1: history}, at) for at in (20, 40, 50)] == [{}, {1: 7}, {}]
