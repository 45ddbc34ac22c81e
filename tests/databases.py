"""A database for each test process, copied from one that the migrations made once.

Migrating takes seconds of computing, copying a fraction of one. The migrated database stays on the server until a
migration changes, so whoever runs a single test does not wait for the migrations either.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.apps import apps
from django.conf import settings
from django.db import connection

MIGRATED = "bursar_test_migrated_"
LOCK = 7_305_301  # any number that no other program locks on this server


@contextmanager
def own_database() -> Iterator[None]:
    """Let Django's connection be to a fresh, migrated database that only this process uses."""
    creation = connection.creation
    usual, own = connection.settings_dict["NAME"], creation._get_test_db_name()
    with creation._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # until this connection is closed
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [MIGRATED])
        known, source = {name for (name,) in cursor.fetchall()}, MIGRATED + digest_of_migrations()
        for old in known - {source}:
            cursor.execute(f'DROP DATABASE IF EXISTS "{old}"')
        if source not in known:
            creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
            connection.close()
            cursor.execute(f'ALTER DATABASE "{own}" RENAME TO "{source}"')
        cursor.execute(f'DROP DATABASE IF EXISTS "{own}"')
        cursor.execute(f'CREATE DATABASE "{own}" TEMPLATE "{source}"')
    _be_connected_to(own)
    try:
        yield
    finally:
        _be_connected_to(usual)
        with creation._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{own}" WITH (FORCE)')


def _be_connected_to(name: str) -> None:
    connection.close()
    settings.DATABASES[connection.alias]["NAME"] = connection.settings_dict["NAME"] = name


def digest_of_migrations() -> str:
    """Of everything that a migration is made of; code that one imports gives it but names."""
    total = hashlib.sha256(django.__version__.encode())
    for app in apps.get_app_configs():
        for file in sorted((Path(app.path) / "migrations").rglob("*")):
            if file.suffix in {".py", ".sql"}:
                total.update(f"\0{app.label}/{file.name}\0".encode())
                total.update(file.read_bytes())
    return total.hexdigest()[:12]
