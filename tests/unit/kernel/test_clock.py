import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from bursar.kernel.clock import now, stated_time

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_now__nothing_stated__is_the_present_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= now() <= datetime.now(UTC)
    assert now().tzinfo is UTC


def test_stated_time__inside__stands_still_and_nests_and_ends() -> None:
    with stated_time(NOON):
        assert now() == NOON
        with stated_time(NOON + timedelta(days=1)):
            assert now() == NOON + timedelta(days=1)
        assert now() == NOON
    assert now() != NOON


def test_stated_time__other_zone__is_told_in_utc() -> None:
    with stated_time(NOON.astimezone(timezone(timedelta(hours=5)))):
        assert (now(), now().tzinfo) == (NOON, UTC)


def test_stated_time__story_fails__ends_all_the_same() -> None:
    with pytest.raises(RuntimeError), stated_time(NOON):
        raise RuntimeError
    assert now() != NOON


def test_stated_time__without_zone__is_a_mistake() -> None:
    with pytest.raises(ValueError, match="time zone"), stated_time(NOON.replace(tzinfo=None)):
        pass


def test_stated_time__another_thread__is_not_touched() -> None:
    seen: list[datetime] = []
    with stated_time(NOON):
        thread = threading.Thread(target=lambda: seen.append(now()))
        thread.start()
        thread.join()
    assert seen != [NOON]


def test_stated_time__two_tasks__each_has_its_own() -> None:
    async def tell(at: datetime) -> datetime:
        with stated_time(at):
            await asyncio.sleep(0)
            return now()

    async def both() -> list[datetime]:
        return await asyncio.gather(tell(NOON), tell(NOON + timedelta(days=1)))

    assert asyncio.run(both()) == [NOON, NOON + timedelta(days=1)]
