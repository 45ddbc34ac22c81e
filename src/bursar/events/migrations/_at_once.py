"""A new database is given the tables as they are, not one after the other as they came to be.

Django draws a picture of all models for each step of each migration, which is nearly all that making a new database takes. A
migration with `AllAtOnce` replaces those of an app and tells nothing anew: the models are what the replaced ones lead to, and
what those say in SQL or Python is said in their order. A database that has some of them goes on with them, step by step.
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from django.db import migrations
from django.db.migrations.operations.base import Operation

# Those of which the end is enough.
_ONLY_STATE: Final = (
    migrations.AddField,
    migrations.AlterField,
    migrations.AddIndex,
    migrations.RemoveIndex,
    migrations.AddConstraint,
    migrations.RemoveConstraint,
    migrations.AlterModelOptions,
)


class AllAtOnce(Operation):
    """What the named migrations of an app come to, as one step.

    replaced   (app, name) of each, in their order; they are all of the app's up to here
    raises     TypeError where one does what cannot be told by its end alone
    """

    reversible = False

    def __init__(self, replaced: Sequence[tuple[str, str]]) -> None:
        self.replaced = replaced
        self._operations: list[Operation] = [
            operation
            for app, name in replaced
            for operation in import_module(f"bursar.{app}.migrations.{name}").Migration.operations
        ]
        self._created: list[migrations.CreateModel] = []
        self._said: list[Operation] = []
        for operation in _in_the_database(self._operations):
            if isinstance(operation, migrations.CreateModel):
                if operation.options.get("managed", True):
                    self._created.append(operation)
            elif isinstance(operation, migrations.RunSQL | migrations.RunPython):
                self._said.append(operation)
            elif not isinstance(operation, _ONLY_STATE):
                raise TypeError(f"{type(operation).__name__} cannot be taken together with others")

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.replaced], {}

    def describe(self) -> str:
        return f"Make all tables of {self.replaced[0][0]}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        state.__dict__.pop("apps", None)  # drawn once, when all of it is known
        for operation in self._operations:
            operation.state_forwards(app_label, state)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for created in self._created:
            schema_editor.create_model(to_state.apps.get_model(app_label, created.name))
        # Foreign keys and indexes, which Django leaves to the end of a migration: what is said next builds on them.
        while schema_editor.deferred_sql:
            schema_editor.execute(schema_editor.deferred_sql.pop(0))
        for operation in self._said:
            operation.database_forwards(app_label, schema_editor, to_state, to_state)


def _in_the_database(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Without what concerns only Django's picture of it."""
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from _in_the_database(operation.database_operations)
        else:
            yield operation
