"""What the agent keeps on its disk: read and kept together, twice is once, whatever the order."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bursar.agent.store import InUse, Store
from bursar.plugins.contract import UsageRecord

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "agent")
    yield made
    made.close()


def event(number: int, pk: int = 1, **state: Any) -> dict[str, Any]:
    return {"number": number, "subject": "resource", "id": pk, "state": {"backend_id": 1, **state}}


def outstanding(store: Store) -> list[tuple[int, int]]:
    return [(subject.id, subject.number) for subject in store.outstanding()]


def test_store__fresh__has_a_number_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    known = store.instance()
    assert store.mark is None
    store.close()
    again = Store(tmp_path)
    assert again.instance() == known
    again.close()


def test_store__opened_twice__is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InUse):
        Store(tmp_path / "agent")
    Store(tmp_path / "agent", read_only=True).close()


def test_events__told_twice__are_worked_at_once(store: Store) -> None:
    for _ in range(2):
        store.keep_events([event(1), event(2, 2)], mark=2)
    assert outstanding(store) == [(1, 1), (2, 2)]
    store.note_done("resource", 1, 1)
    store.note_done("resource", 2, 2)
    assert (outstanding(store), store.mark) == ([], 2)


def test_events__a_newer_one_while_the_older_was_worked_at__stays_outstanding(store: Store) -> None:
    store.keep_events([event(1)], mark=1)
    store.keep_events([event(3)], mark=3)
    store.note_done("resource", 1, 1)
    assert outstanding(store) == [(1, 3)]


def test_events__an_older_one_told_late__keeps_the_higher_number(store: Store) -> None:
    store.keep_events([event(5, colour="new")], mark=5)
    store.note_done("resource", 1, 5)
    store.keep_events([event(4, colour="newer still")], mark=None)
    subject = store.subject("resource", 1)
    assert subject is not None
    # Each state is that of its reading, so the one that is read last is the newest, whatever its number.
    assert (subject.number, subject.done, subject.state and subject.state["colour"]) == (5, 5, "newer still")


def test_snapshot__without_what_was_known__leaves_nothing_outstanding_of_it(store: Store) -> None:
    store.keep_events([event(1), event(2, 2)], mark=2)
    store.keep_events([event(7, 2)], mark=None)
    store.begin_anew({"resource": [2]}, 7)
    assert (outstanding(store), store.mark) == ([(2, 7)], 7)


def test_snapshot__read_while_the_feed_went_on__leaves_what_came_meanwhile_outstanding(store: Store) -> None:
    store.keep_events([event(8, 3)], mark=8)
    store.begin_anew({"resource": []}, 7)
    assert outstanding(store) == [(3, 8)]


def test_feed__that_begins_lower__is_worked_at_again(store: Store) -> None:
    store.keep_events([event(50)], mark=50)
    store.note_done("resource", 1, 50)
    store.forget_numbers()
    store.keep_events([event(4)], mark=4)
    assert (outstanding(store), store.mark) == ([(1, 4)], 4)


def test_snapshot__forgets_what_ended_long_ago_and_keeps_what_may_still_be_measured(store: Store) -> None:
    ends = {1: "2026-11-01T00:00:00+00:00", 2: "2026-11-20T00:00:00+00:00", 3: None}
    store.keep_events([event(pk, pk, terminated_at=end) for pk, end in ends.items()], mark=3)
    store.keep_events([{**event(4, 9), "subject": "order"}], mark=4)
    store.begin_anew({"resource": [3], "order": []}, 5, ended_before="2026-11-17T00:00:00+00:00")
    assert ([one.id for one in store.subjects("resource")], store.subjects("order")) == ([2, 3], [])


def test_records__and_their_mark__are_kept_together_and_dropped_one_by_one(store: Store) -> None:
    records = [UsageRecord(f"job-{n}", 1, "cpu", n, AT, AT) for n in range(3)]
    store.keep_records("thor", 9, records, "mark-3", AT.isoformat())
    spooled = store.spooled("thor", 10)
    assert ([one.record for one in spooled], store.measured_to("thor", 9)) == (records, "mark-3")
    store.drop([spooled[0].place])
    store.note_stuck(spooled[1].place, "it cannot be read")
    assert [one.record.id for one in store.spooled("thor", 10)] == ["job-2"]
    assert store.spool() == {
        "count": 1,
        "oldest_at": AT.isoformat(),
        "stuck": [{"id": "job-1", "why": "it cannot be read"}],
    }
    assert (store.spooled_of(1), store.spooled("odin", 10), store.measured_to("odin", 9)) == (1, [], "")


def test_folder__is_closed_to_others(tmp_path: Path) -> None:
    Store(tmp_path / "agent").close()
    assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "agent" / "agent.sqlite").stat().st_mode & 0o777 == 0o600
