from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.config import doctor, installation, postgres
from bursar.config.doctor import Verdict
from bursar.kernel.clock import stated_time

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def worker_seen(at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (%s)", [at])


def ask(client: Client) -> tuple[int, dict[str, object]]:
    with stated_time(NOON):
        answer = client.get("/healthz")
    return answer.status_code, answer.json()


def test_healthz__worker_seen_just_now__is_ok(client: Client) -> None:
    worker_seen(NOON - timedelta(seconds=30))
    assert ask(client) == (
        200,
        {
            "status": "ok",
            "database": True,
            "migrations": True,
            "worker": True,
            "worker_seen_at": "2026-11-21T11:59:30+00:00",
        },
    )


def test_healthz__worker_silent__is_degraded_but_serves(client: Client) -> None:
    worker_seen(NOON - timedelta(seconds=31))
    status, body = ask(client)
    assert (status, body["status"], body["worker"]) == (200, "degraded", False)


def test_healthz__no_worker_ever__is_degraded(client: Client) -> None:
    status, body = ask(client)
    assert (status, body["status"], body["worker_seen_at"]) == (200, "degraded", None)


def test_healthz__migration_missing__is_down(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'events' AND name = '0004_in_order_of_time'")
    assert ask(client) == (503, {"status": "down", "database": True, "migrations": False, "worker": None})


def test_healthz__no_table_of_migrations__is_down(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO elsewhere")
    assert ask(client) == (503, {"status": "down", "database": True, "migrations": False, "worker": None})


def test_healthz__asked_each_second__asks_three_small_things(client: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert ask(client)[0] == 200
    assert len(asked) == 3
    assert not any("pg_class" in query["sql"] for query in asked)


def test_healthz__database_away__is_down(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> list[str]:
        raise DatabaseError("gone")

    monkeypatch.setattr(installation, "is_current", away)
    assert ask(client) == (503, {"status": "down", "database": False, "migrations": None, "worker": None})


def test_doctor__migration_missing__says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # That of the tests runs; this would start the machine's own.
    monkeypatch.setattr(postgres, "ensure_running", lambda: "")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'events' AND name = '0004_in_order_of_time'")
    findings = {f.subject: f for f in doctor._database()}
    assert findings["database"].verdict == Verdict.OK
    assert findings["tables"].verdict == Verdict.ERROR
    assert findings["tables"].text == "a step behind this version: events.0004_in_order_of_time"
    assert findings["tables"].remedy == "bursar upgrade"


def test_doctor__clock_differs__says_by_how_much() -> None:
    with stated_time(datetime.now(UTC) - timedelta(minutes=5)):
        (finding,) = doctor._clock()
    assert finding.verdict == Verdict.ERROR
    assert finding.text.startswith("differs from the database's by 300.")


def test_doctor__check_breaks__is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def _broken():
        raise RuntimeError("unexpected")

    monkeypatch.setattr(doctor, "CHECKS", (_broken, doctor._disk))
    findings = list(doctor.examine())
    assert [(f.subject, f.verdict) for f in findings] == [("broken", Verdict.ERROR), ("disk", Verdict.OK)]
    assert findings[0].text == "RuntimeError: unexpected"
