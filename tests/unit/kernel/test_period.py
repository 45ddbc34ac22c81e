from datetime import UTC, datetime, timedelta, timezone

import pytest

from bursar.kernel.period import Period

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOON - timedelta(microseconds=1), False),
        (NOON, True),
        (NOON + HOUR - timedelta(microseconds=1), True),
        (NOON + HOUR, False),
        (NOON.astimezone(timezone(HOUR * 5)), True),
    ],
)
def test_holds__instant__start_is_in_and_end_is_out(at: datetime, *, expected: bool) -> None:
    assert Period(NOON, NOON + HOUR).holds(at) is expected


def test_holds__without_end__for_ever() -> None:
    assert Period(NOON).holds(NOON + HOUR * 24 * 365 * 100)
    assert not Period(NOON).holds(NOON - HOUR)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON, NOON),
        (NOON, NOON - HOUR),
        (NOON.replace(tzinfo=None), None),
        (NOON, (NOON + HOUR).replace(tzinfo=None)),
    ],
)
def test_period__empty_or_without_zone__is_a_mistake(start: datetime, end: datetime | None) -> None:
    with pytest.raises(ValueError, match="period"):
        Period(start, end)
