"""What every test stands on: a real PostgreSQL, and times stated rather than read."""

from datetime import UTC, datetime

import pytest


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Start PostgreSQL when the first test asks for it; under xdist each worker has a database of its own."""
    from bursar.config import postgres

    postgres.ensure_running(testing=True)


@pytest.fixture
def at() -> datetime:
    """The stated time of a test."""
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
