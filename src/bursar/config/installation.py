"""What an installation consists of, and the steps that bring it up to date. Needs Django to be set up."""

import gc
import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from io import StringIO
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

# A worker writes its heartbeat every 10 s; three missed ones in a row are no accident.
WORKER_SILENCE = timedelta(seconds=30)


def pending_migrations() -> list[str]:
    """What `bursar upgrade` would apply to the database, in order."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def is_current() -> bool:
    """Whether all of this version's migrations are applied: quick enough to be asked each second."""
    with connection.cursor() as cursor:
        # Django's own question lists all tables first, to see whether there is one of migrations.
        cursor.execute("SELECT to_regclass(%s)", [MigrationRecorder.Migration._meta.db_table])
        if cursor.fetchone() == (None,):
            return False
    return _of_this_version() <= set(MigrationRecorder.Migration.objects.values_list("app", "name"))


@cache
def _of_this_version() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def upgrade_database() -> None:
    """Bring the tables up to this version; several processes may try at once, one does it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('bursar upgrade'))")
        try:
            call_command("migrate", interactive=False, verbosity=0)
            call_command("createcachetable", verbosity=0)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('bursar upgrade'))")


def worker_seen_at() -> datetime | None:
    """When a living worker last said so; None when no worker is known."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(last_heartbeat) FROM procrastinate_workers")
        row = cursor.fetchone()
    seen: datetime | None = row[0] if row else None
    return seen


def assets_folder() -> Path:
    return Path(__file__).resolve().parent.parent / "web" / "static" / "dist"


def assets_built() -> bool:
    return all(
        (assets_folder() / name).exists() for name in ("app.js", "app.css", "theme.js", "charts.js", "icons.svg")
    )


def publish_assets() -> bool:
    """Copy the page assets under names made of their contents, so that browsers may keep them forever.

    returns  whether anything had to be copied
    """
    stamp = Path(settings.STATIC_ROOT) / "bursar-stamp"
    wanted = _digest(
        path for folder in settings.STATICFILES_DIRS for path in Path(folder).rglob("*") if path.is_file()
    )  # fmt: skip
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    call_command("collectstatic", interactive=False, verbosity=0, stdout=StringIO())
    stamp.write_text(wanted)
    return True


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path}\0".encode() + path.read_bytes())
    return total.hexdigest()


def close_connections() -> None:
    """Let go of the database, so that it may be stopped or another process may take it over."""
    for each in connections.all(initialized_only=True):
        each.close()
        if hasattr(each, "close_pool"):
            each.close_pool()


def settle_memory() -> None:
    """Leave what was loaded at the start out of the collector's rounds: walking it took longer than answering a request."""
    gc.collect()
    gc.freeze()
