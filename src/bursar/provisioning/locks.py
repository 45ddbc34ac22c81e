"""One worker at a time works at a thing, without a transaction held open while a backend is asked.

Session locks of PostgreSQL: they vanish with the connection of a killed worker, so nothing has to be cleaned up. They need
a connection of one's own for the time of the work (a pooler that shares connections between statements breaks them).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from django.db import connection


class Space(IntEnum):
    """The first half of a lock's name."""

    RESOURCE = 71_001
    USAGE = 71_002
    QUOTA = 71_003
    ACCOUNTS = 71_004
    SIGNING = 71_005


@contextmanager
def try_lock(space: Space, key: int) -> Iterator[bool]:
    """Yields whether the lock is ours; it is given back at the end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [space, key])
        (held,) = cursor.fetchone()
    try:
        yield held
    finally:
        if held:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [space, key])
