"""What is asked with each request: statements that are written once, where the ORM would compose them each time, and that the
server prepares once for each connection, where it would plan them each time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from django.db.models import Model


class _Counted(CursorDebugWrapper):
    """Logs the statement as it is written: its values never were in it."""

    def debug_sql(self, sql: str | None = None, *args: Any, **_more: Any) -> AbstractContextManager[None]:
        return super().debug_sql(sql, *args)


@contextmanager
def cursor() -> Iterator[CursorWrapper]:
    """A cursor that hands values over beside the statement; each has to be one statement, each time of the same words."""
    # Not `django.db.connection`: that looks up whose thread this is for each word that is said to it.
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    with psycopg.Cursor(database.connection) as made:
        # As Django's own: counted where queries are counted, waited with where something else has to come first.
        wrapper = _Counted if database.queries_logged else CursorWrapper
        yield wrapper(made, database)


def columns(**tables: type[Model]) -> str:
    """All columns of tables by the names that they have in a statement, in the order in which `fetch` wants them."""
    return ", ".join(
        f'{name}."{field.column}"' for name, model in tables.items() for field in model._meta.concrete_fields
    )


def fetch(
    statement: str, parameters: Mapping[str, Any] | Sequence[Any], *models: type[Model]
) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement that selects `columns` of these, each as one instance of each, and what it selects behind them."""
    names = [_names(model) for model in models]
    with cursor() as prepared:
        prepared.execute(statement, parameters)
        rows = prepared.fetchall()
    for row in rows:
        begin, found = 0, []
        for model, of_model in zip(models, names, strict=True):
            end = begin + len(of_model)
            found.append(model.from_db(DEFAULT_DB_ALIAS, of_model, row[begin:end]))
            begin = end
        # What is left over was selected behind the columns.
        yield (*found, *row[begin:])


@cache
def _names(model: type[Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]
