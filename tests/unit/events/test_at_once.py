"""A new database gets the tables of all migrations in one step."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from bursar.events.migrations._at_once import AllAtOnce

ID = ("id", models.BigAutoField(primary_key=True))


def replaced(monkeypatch: pytest.MonkeyPatch, *operations: Operation) -> list[tuple[str, str]]:
    """A migration of the app `made_up` that does this."""
    module = ModuleType("bursar.made_up.migrations.0001_initial")
    module.Migration = type("Migration", (), {"operations": list(operations)})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return [("made_up", "0001_initial")]


class Said:
    """In the place of Django's schema editor: keeps what would be said, in order."""

    def __init__(self) -> None:
        self.connection = SimpleNamespace(alias="default")
        self.all: list[str] = []
        self.deferred_sql: list[str] = []

    def create_model(self, model: Any) -> None:
        self.all.append(f"table {model._meta.db_table}: {', '.join(field.name for field in model._meta.fields)}")
        self.deferred_sql += [f"index {index.name}" for index in model._meta.indexes]

    def execute(self, statement: str) -> None:
        self.all.append(statement)


def test_at_once__fields_and_indexes_that_came_later__table_is_made_with_them_and_sql_comes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(_apps: Any, editor: Any) -> None:
        editor.execute("filled")

    step = AllAtOnce(
        replaced(
            monkeypatch,
            migrations.CreateModel("Thing", [ID], options={"db_table": "thing"}),
            migrations.RunPython(fill),
            migrations.SeparateDatabaseAndState(
                database_operations=[migrations.RunPython(lambda _apps, editor: editor.execute("by sql"))],
                state_operations=[migrations.CreateModel("Drawn", [ID], options={"db_table": "drawn"})],
            ),
            migrations.CreateModel("Foreign", [ID], options={"db_table": "foreign", "managed": False}),
            migrations.AddField("thing", "name", models.CharField(max_length=9)),
            migrations.AddField("thing", "passing", models.CharField(max_length=9)),
            migrations.AddIndex("thing", models.Index(fields=["name"], name="thing_name")),
            migrations.AddIndex("thing", models.Index(fields=["id"], name="thing_id")),
            migrations.RemoveIndex("thing", "thing_id"),
        )
    )
    state, said = ProjectState(), Said()
    before = state.clone()

    step.state_forwards("made_up", state)
    step.database_forwards("made_up", said, before, state)

    assert said.all == ["table thing: id, name, passing", "index thing_name", "filled", "by sql"]
    assert said.deferred_sql == []
    assert set(state.models) == {("made_up", "thing"), ("made_up", "drawn"), ("made_up", "foreign")}


@pytest.mark.parametrize(
    "operation",
    [
        migrations.DeleteModel("Thing"),
        migrations.RenameField("thing", "a", "b"),
        migrations.AlterModelTable("thing", "t"),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_at_once__what_its_end_does_not_tell__is_refused(monkeypatch: pytest.MonkeyPatch, operation: Operation) -> None:
    with pytest.raises(TypeError, match=type(operation).__name__):
        AllAtOnce(replaced(monkeypatch, operation))


def test_loader__of_each_app__replaces_its_first_migrations_without_a_gap_and_in_their_order() -> None:
    loader = MigrationLoader(None, replace_migrations=False)
    ours = [config.label for config in apps.get_app_configs() if config.name.startswith("bursar.")]
    found = {}
    for (app, name), migration in loader.disk_migrations.items():
        if app in ours and migration.replaces:
            kept = sorted(one for label, one in loader.disk_migrations if label == app and one != name)
            assert [one for _, one in migration.replaces] == kept[: len(migration.replaces)]
            assert {label for label, _ in migration.replaces} == {app}
            assert [type(one) for one in migration.operations] == [AllAtOnce]
            found[app] = len(migration.replaces)
    assert sorted(found) == sorted(app for app in ours if app in loader.migrated_apps)
