"""What every test stands on: a real PostgreSQL, and times stated rather than read."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest


def pytest_configure() -> None:
    from django.conf import settings

    # The real ones are slow on purpose; hundreds of people are made here.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # On a busy machine the time that an example takes says nothing.
    hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("busy")


def pytest_collection_finish() -> None:
    # What was read by now stays to the end; looking through it for garbage again and again takes a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell `make test` what was skipped and why, and what failed: it says so at the end, after all that was printed."""
    told, failed = os.environ.get("BURSAR_NOT_RUN"), os.environ.get("BURSAR_FAILED")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    if told:
        reasons = sorted({report.longrepr[2] for report in reporter.stats.get("skipped", ())})
        with Path(told).open("a") as file:
            file.writelines(f"{reason.removeprefix('Skipped: ')}\n" for reason in reasons)
    if failed:
        reports = [report for kind in ("failed", "error") for report in reporter.stats.get(kind, ())]
        with Path(failed).open("a") as file:
            file.writelines(f"{report.nodeid}: {_why(report)}\n" for report in reports)


def _why(report: Any) -> str:
    """The end of a failure in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    words = str(report.longrepr) if crash is None else f"{Path(crash.path).name}:{crash.lineno}: {crash.message}"
    return " ".join(words.split())[:400]


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: Any
) -> Iterator[None]:
    """Start PostgreSQL when the first test asks for it; under xdist each worker has a database of its own."""
    from bursar.config import postgres
    from tests.databases import own_database

    postgres.ensure_running(testing=True)
    with django_db_blocker.unblock(), own_database(), flushing_to_the_first_rows(), django_db_blocker.block():
        yield


@contextmanager
def flushing_to_the_first_rows() -> Iterator[None]:
    """Empty the tables after a test with transactions of its own, and put back what the migrations put there.

    Django empties by TRUNCATE, which the append-only tables refuse everybody, and forgets the rows of migrations.
    """
    from django.db import connection
    from django.db.backends.base.operations import BaseDatabaseOperations

    with connection.cursor() as cursor:
        at_first: dict[str, bytes] = {}
        for table in connection.introspection.table_names(cursor):
            with cursor.copy(f'COPY (SELECT * FROM "{table}") TO STDOUT') as copy:
                rows = b"".join(bytes(part) for part in copy)
            if rows and table != "django_migrations":
                at_first[table] = rows

    flush = BaseDatabaseOperations.execute_sql_flush

    def flush_to_the_first_rows(self: Any, sql_list: list[str]) -> None:
        flush(self, ["SET LOCAL session_replication_role = replica", *sql_list])
        emptied = " ".join(sql_list)
        with self.connection.cursor() as cursor:
            # Jobs are the queue's own and unknown to Django; those of one test are not to be carried out in the next.
            cursor.execute("TRUNCATE procrastinate_jobs CASCADE")
            cursor.execute("SET session_replication_role = replica")  # the rows come back in any order
            for table, rows in at_first.items():
                if f'"{table}"' in emptied:
                    with cursor.copy(f'COPY "{table}" FROM STDIN') as copy:
                        copy.write(rows)
            cursor.execute("RESET session_replication_role")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseOperations, "execute_sql_flush", flush_to_the_first_rows)
        yield


@pytest.fixture(scope="session")
def at() -> datetime:
    """The stated time of a test."""
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
